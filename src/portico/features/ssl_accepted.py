"""Directives of TLS that are checked and have no effect: OCSP stapling and early data, which a connection works without.

Real configurations have them by the thousand, most of them out of one generator. A warning says what is not done.
(nginx: ngx_http_ssl_module.c, ngx_event_openssl_stapling.c.)
"""

from __future__ import annotations

from typing import Final

from portico.config import values
from portico.config.directive import HTTP, SERVER, Directive
from portico.config.reader import Statement
from portico.http.feature import Feature

_SERVERS: Final = HTTP | SERVER
_NO_STATUS: Final = "this version sends no OCSP responses: clients that want to know ask the authority themselves"
_NO_EARLY_DATA: Final = "this version takes no early data: clients send it again when the handshake is done"


def _flag(statement: Statement, missing: str) -> bool:
    """Return whether it is on, and warn once for all places where it is."""
    on = values.flag(statement)
    if on and statement.name not in statement.load.said:
        statement.load.said.add(statement.name)
        statement.warn(f'"{statement.name}" is accepted, but {missing}')
    return on


def _stapling(statement: Statement) -> bool:
    return _flag(statement, _NO_STATUS)


def _early_data(statement: Statement) -> bool:
    return _flag(statement, _NO_EARLY_DATA)


def _text(statement: Statement) -> str:
    return statement.args[0].text


STAPLING: Final = Directive[bool](
    "ssl_stapling", _SERVERS, _stapling, args="1", default=False, default_text="off", syntax="on | off",
    doc="Accepted with a warning, then of no effect: no OCSP response is sent in handshakes.",
    example="ssl_stapling on;",
)
STAPLING_FILE: Final = Directive[str](
    "ssl_stapling_file", _SERVERS, _text, args="1", default="", syntax="FILE",
    doc="An OCSP response to send. Accepted, of no effect as `ssl_stapling` is.",
    example="ssl_stapling_file /etc/ssl/ocsp.der;",
)
STAPLING_RESPONDER: Final = Directive[str](
    "ssl_stapling_responder", _SERVERS, _text, args="1", default="", syntax="URL",
    doc="Whom to ask for OCSP responses. Accepted, of no effect as `ssl_stapling` is.",
    example="ssl_stapling_responder http://ocsp.example.com/;",
)
STAPLING_VERIFY: Final = Directive[bool](
    "ssl_stapling_verify", _SERVERS, values.flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="Whether OCSP responses are verified. Accepted, of no effect as `ssl_stapling` is.",
    example="ssl_stapling_verify on;",
)
EARLY_DATA: Final = Directive[bool](
    "ssl_early_data", _SERVERS, _early_data, args="1", default=False, default_text="off", syntax="on | off",
    doc="Accepted with a warning, then of no effect: requests in early data of TLS 1.3 are not taken, and clients send them again.",
    example="ssl_early_data on;",
)


class AcceptedFeature(Feature):
    """Portico's own name for them."""

    def __init__(self) -> None:
        super().__init__("ssl_accepted", (STAPLING, STAPLING_FILE, STAPLING_RESPONDER, STAPLING_VERIFY, EARLY_DATA))


FEATURE: Final = AcceptedFeature()
