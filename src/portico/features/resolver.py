"""`resolver`, `resolver_timeout`: read and checked. This version has the system look names up, as /etc/resolv.conf says."""

from __future__ import annotations

from typing import Final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, UPSTREAM, Directive
from portico.config.reader import Argument, Statement
from portico.http.feature import Feature
from portico.net.resolver import ResolveError, resolve_blocking

_ANYWHERE: Final = HTTP | SERVER | LOCATION | UPSTREAM
_DNS: Final = "53"


def _resolver(statement: Statement) -> list[str]:
    """Return the name servers. Raises ConfigError in nginx's words (ngx_resolver_create)."""
    servers: list[str] = []
    families = {"ipv4": True, "ipv6": True}
    for argument in statement.args:
        name, equals, value = argument.text.partition("=")
        if equals and name == "valid":
            if values.seconds_of(value) is None:
                raise statement.fail(f"invalid parameter: {argument.text}", argument)
        elif equals and name in families:
            if value not in ("on", "off"):
                raise statement.fail(f"invalid parameter: {argument.text}", argument)
            families[name] = value == "on"
        elif not equals or name != "status_zone":
            _check_server(statement, argument)
            servers.append(argument.text)
    if not any(families.values()):
        raise statement.fail('"ipv4" and "ipv6" cannot both be "off"')
    if not servers:
        raise statement.fail("no name servers defined")
    if "resolver" not in statement.load.said:
        statement.load.said.add("resolver")
        statement.warn('"resolver" is accepted, but this version looks names up by the system, as /etc/resolv.conf says')
    return servers


def _check_server(statement: Statement, argument: Argument) -> None:
    text = argument.text
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, _DNS
    if values.port_of(port) is None:
        raise statement.fail(f'invalid port in resolver "{text}"', argument)
    try:
        resolve_blocking(host.removeprefix("[").removesuffix("]"), int(port))
    except ResolveError:
        raise statement.fail(f'host not found in resolver "{text}"', argument) from None


RESOLVER: Final = Directive[list[str]](
    "resolver", _ANYWHERE, _resolver, args="1+", default=list[str](),
    syntax="ADDRESS ... [valid=TIME] [ipv4=on|off] [ipv6=on|off] [status_zone=ZONE]",
    doc="The name servers that nginx asks while it serves. Checked, then of no effect: Portico has the system look up names, those "
    "of `proxy_pass` with variables too, without blocking its workers.",
    example="resolver 127.0.0.1 valid=30s;",
)  # fmt: skip
RESOLVER_TIMEOUT: Final = Directive[float](
    "resolver_timeout", _ANYWHERE, values.msec, args="1", default=30.0, default_text="30s",
    doc="How long nginx waits for a name server. Checked, then of no effect: /etc/resolv.conf says for how long the system does.",
    example="resolver_timeout 5s;",
)  # fmt: skip

FEATURE: Final = Feature("resolver", (RESOLVER, RESOLVER_TIMEOUT))
