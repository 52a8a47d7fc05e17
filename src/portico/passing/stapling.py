"""OCSP stapling: `ssl_stapling` and its family. A server sends with its certificate the proof that it is not revoked.

A response is asked for when a client first wants one; that client, as in nginx, gets none, for no handshake waits. Each worker asks
anew before the response expires: after an hour at most, five minutes at least.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, SERVER, Directive, Scope
from portico.config.files import read_file
from portico.config.reader import Statement
from portico.errorlog import ERR
from portico.net import openssl
from portico.net.certificates import DATA, ContextError, file_failed, label
from portico.net.handshake_certificates import Loader, Pem, Unloadable
from portico.net.openssl_ocsp import FOREVER, GOOD, NO_VERIFY, OCSP, STATUS_NAMES, TRUST_CHAIN, OCSPFailed, ocsp
from portico.net.tls import ServerTLS, StatusSource, TLSTransport, staple_by_source
from portico.passing.ocsp import Inquiry, responder_url
from portico.worker.hook import WorkerHook

if TYPE_CHECKING:
    from portico.errorlog import ErrorLog
    from portico.net.reactor import Reactor
    from portico.worker.runtime import Runtime

_SERVERS: Final = HTTP | SERVER
_LEAST: Final = 300.0  # seconds between two requests for one certificate
_MOST: Final = 3600.0
_IGNORED: Final = '"ssl_stapling" ignored,'


def _file(statement: Statement) -> str:
    name = statement.args[0].text
    return statement.load.readable(statement.load.full_path(name, conf=True)) if name else ""


STAPLING: Final = Directive[bool](
    "ssl_stapling", _SERVERS, values.flag, args="1", default=False, default_text="off",
    doc="Send clients that ask for it the OCSP response which proves that the certificate is not revoked. The certificate has to "
    "name a responder (otherwise the line is ignored, with a warning), and its issuer has to be in the file of `ssl_certificate` or "
    "of `ssl_trusted_certificate`. Each worker asks the responder in the background when the first client wants the response, and "
    "again before it expires; no handshake waits. Not for certificates whose names have variables.",
    example="ssl_stapling on;",
)  # fmt: skip
STAPLING_FILE: Final = Directive[str](
    "ssl_stapling_file", _SERVERS, _file, args="1", default="",
    syntax="FILE",
    doc="A file with the OCSP response to send, in DER form, as `openssl ocsp -respout` writes it: no responder is asked.",
    example="ssl_stapling_file /etc/ssl/site.ocsp;",
)  # fmt: skip
STAPLING_RESPONDER: Final = Directive[str](
    "ssl_stapling_responder", _SERVERS, values.text, args="1", default="",
    syntax="URL",
    doc="The OCSP responder to ask, `http://` only, in place of the one that the certificate names.",
    example="ssl_stapling_responder http://ocsp.example.com/;",
)  # fmt: skip
STAPLING_VERIFY: Final = Directive[bool](
    "ssl_stapling_verify", _SERVERS, values.flag, args="1", default=False, default_text="off",
    doc="Send a response only if it is signed by the issuer, or in its name, up to an authority of `ssl_trusted_certificate`.",
    example="ssl_stapling_verify on;",
)  # fmt: skip
STAPLING_DIRECTIVES: Final[tuple[Directive[object], ...]] = (STAPLING, STAPLING_FILE, STAPLING_RESPONDER, STAPLING_VERIFY)


def stapling_key(scope: Scope) -> str:
    """Return the same key for servers that staple alike; "" for those that do not."""
    if not scope.get(STAPLING):
        return ""
    return repr((scope.get(STAPLING_FILE), scope.get(STAPLING_RESPONDER), scope.get(STAPLING_VERIFY)))


@final
class Staple:
    """The response for one certificate, and when to ask for the next."""

    def __init__(self, name: str, pem: Pem) -> None:
        self.name = name
        self.pem = pem  # has the references
        self.certificate = pem.certificates[0]
        self.inquiry: Inquiry | None = None  # None: the response came from a file
        self.response: bytes = b""
        self.valid: float = 0.0  # both in seconds since the epoch
        self.refresh: float = 0.0
        self.loading: bool = False


@final
class Stapling(StatusSource):
    """The responses of one server."""

    def __init__(self, functions: OCSP, staples: list[Staple]) -> None:
        self._ocsp = functions
        self._staples = staples
        self.log: ErrorLog | None = None  # the worker's

    def status(self, transport: TLSTransport, pointer: int) -> bytes:
        shown = self._ocsp.own_certificate(pointer)
        if not shown:
            return b""
        for staple in self._staples:
            if self._ocsp.is_same(staple.certificate, shown):
                return self._response(staple, transport.reactor)
        return b""

    def _response(self, staple: Staple, reactor: Reactor) -> bytes:
        now = time.time()
        inquiry = staple.inquiry
        if inquiry is not None and not staple.loading and staple.refresh < now:
            staple.loading = True
            reactor.spawn(self._load(staple, inquiry, reactor))
        return staple.response if staple.valid >= now else b""

    async def _load(self, staple: Staple, inquiry: Inquiry, reactor: Reactor) -> None:
        await reactor.turn()  # this began in OpenSSL's callback: let the handshake go on
        staple.refresh = time.time() + _LEAST
        try:
            response, verdict = await inquiry.ask(reactor)
            if verdict.status != GOOD:
                raise OCSPFailed(f'certificate status "{STATUS_NAMES[verdict.status]}" in the OCSP response')
            now = time.time()
            staple.response = response
            staple.valid = verdict.valid
            staple.refresh = max(min(verdict.valid - _LEAST, now + _MOST), now + _LEAST)
        except OCSPFailed as failed:
            if self.log is not None:
                about = f'responder: {inquiry.url.host}, certificate: "{label(staple.name)}"'
                self.log.write(ERR, f"{failed} while requesting certificate status, {about}")
        finally:
            staple.loading = False


@final
class StaplingHook(WorkerHook):
    """Lets the responses of one server be asked for in a worker."""

    def __init__(self, stapling: Stapling) -> None:
        self._stapling = stapling

    def start(self, runtime: Runtime) -> None:
        self._stapling.log = runtime.error_log


def staple_server(scope: Scope, server: ServerTLS, certificates: list[str]) -> StaplingHook | None:
    """Have `server` staple as `scope` asks for; None when there is nothing to be done in the workers. Raises ContextError.

    `certificates` are the names of its certificates, as `ssl_certificate` has them, without variables.
    """
    library, functions = openssl.library(), ocsp()
    if library is None or functions is None:
        _warn(scope, "libssl cannot be reached from this Python")
        return None
    loader = Loader(library)
    context = library.context_pointer(server.context)
    staples: list[Staple] = []
    for name in certificates:
        staple = Staple(name, _certificates(loader, name))
        if scope.get(STAPLING_FILE):
            staple.response = _response_of(scope.get(STAPLING_FILE), functions)
            staple.valid = FOREVER
        else:
            staple.inquiry = _inquiry(scope, functions, staple, context)
            if staple.inquiry is None:
                continue
        staples.append(staple)
    if not staples:
        return None
    stapling = Stapling(functions, staples)
    staple_by_source(server, stapling)
    return StaplingHook(stapling)


def _certificates(loader: Loader, name: str) -> Pem:
    try:
        text = name[len(DATA) :].encode("utf-8", "surrogateescape") if name.startswith(DATA) else read_file(name)
        return loader.certificates(text)
    except (OSError, Unloadable) as error:
        raise ContextError(f'cannot load certificate "{label(name)}": {error}') from None


def _response_of(path: str, functions: OCSP) -> bytes:
    """Return the response in a file. Raises ContextError."""
    reason = file_failed(path)
    if reason:
        raise ContextError(f'BIO_new_file("{path}") failed ({reason})', about="stapling_file")
    data = read_file(path)
    if not functions.is_response(data):
        hint = "the file must hold an OCSP response in DER form: openssl ocsp -respout FILE writes one"
        raise ContextError(f'd2i_OCSP_RESPONSE_bio("{path}") failed', hint, "stapling_file")
    return data


def _inquiry(scope: Scope, functions: OCSP, staple: Staple, context: int) -> Inquiry | None:
    """Return what to ask for a certificate; None, with a warning in nginx's words, when nobody can be asked."""
    name = label(staple.name)
    chain = functions.with_issuer(staple.pem.certificates, context)
    if chain is None:
        _warn(scope, f'issuer certificate not found for certificate "{name}"')
        return None
    text = scope.get(STAPLING_RESPONDER) or functions.responder(staple.certificate)
    if not text:
        _warn(scope, f'no OCSP responder URL in the certificate "{name}"')
        return None
    try:
        url = responder_url(text)
    except ValueError as error:
        _warn(scope, f'{error} in OCSP responder "{text}" in the certificate "{name}"')
        return None
    flags = TRUST_CHAIN if scope.get(STAPLING_VERIFY) else NO_VERIFY
    return Inquiry(functions, staple.certificate, chain, context, flags, url)


def _warn(scope: Scope, reason: str) -> None:
    settings = scope.settings(STAPLING)
    where = settings[-1].where if settings else None
    scope.load.diagnostics.warn(f"{_IGNORED} {reason}", where, "", len(STAPLING.name))
