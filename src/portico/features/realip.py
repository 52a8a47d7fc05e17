"""`set_real_ip_from`: the client's address as a trusted proxy in front tells it. (nginx: ngx_http_realip_module.c.)

The address is replaced for one request and its subrequests, before anything looks at it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.admission.trusted_proxies import TrustedProxies, parse_trusted
from portico.codec.forwarded import nodes_of
from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.http.feature import Feature, HttpBuild, LocationBuild
from portico.http.handler import PREACCESS, Handler
from portico.net.forwarded_for import Peer, peer_behind
from portico.net.networks import Network, unmapped
from portico.variables.connection import ORIGINAL_ADDRESS_VARIABLES

if TYPE_CHECKING:
    from portico.http.plan import VirtualServer
    from portico.http.request import Request
    from portico.http.response import Response

_FORWARDED: Final = b"forwarded"
_PROXY_PROTOCOL: Final = b"proxy_protocol"
_ALL: Final = HTTP | SERVER | LOCATION


def _header(statement: Statement) -> bytes:
    return statement.args[0].text.lower().encode("utf-8", "surrogateescape")


SET_REAL_IP_FROM: Final = Directive[list[Network]](
    "set_real_ip_from", _ALL, parse_trusted, args="1", many=True, default=list[Network](),
    syntax="ADDRESS | NETWORK | NAME | unix:",
    doc="Trusts what clients at this address say about who is behind them; `unix:` trusts all that come through Unix sockets.",
    example="set_real_ip_from 10.0.0.0/8;",
)
REAL_IP_HEADER: Final = Directive[bytes](
    "real_ip_header", _ALL, _header, args="1", default=b"x-real-ip", default_text="X-Real-IP",
    syntax="FIELD | proxy_protocol",
    doc="The field that tells the client's address: one, or a list of which the last entry counts (see `real_ip_recursive`). An "
    "entry may have a port. `proxy_protocol`: the header that `listen … proxy_protocol` reads. "
    "`Forwarded`: the `for` of its elements (RFC 7239).",
    example="real_ip_header X-Forwarded-For;",
)
REAL_IP_RECURSIVE: Final = Directive[bool](
    "real_ip_recursive", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="With `on` the client is the last address in the field that is not trusted itself, else the last address.",
    example="real_ip_recursive on;",
)


@final
class RealIPHandler(Handler):
    """Replaces the client's address, once for a request."""

    def __init__(self, scope: Scope) -> None:
        self.is_async = False
        self.trusted = TrustedProxies(scope.all(SET_REAL_IP_FROM))
        self.header: bytes = scope.get(REAL_IP_HEADER)
        self.recursive: bool = scope.get(REAL_IP_RECURSIVE)

    def handle(self, request: Request) -> Response | None:
        if request.told_address:
            return None
        client = request.client
        if self.header == _PROXY_PROTOCOL:
            fields = [client.proxied.address] if client.proxied is not None else []
        elif self.header == _FORWARDED:
            fields = [node for value in request.fields.get_all(self.header) for node in nodes_of(value)]
        else:
            fields = request.fields.get_all(self.header)
        if not fields:
            return None
        peer = Peer(unmapped(request.packed_address()), b"")
        found = peer_behind(peer, fields, self.trusted.trusts, self.recursive)
        if found is not peer:
            port = found.port
            if self.header == _PROXY_PROTOCOL and client.proxied is not None and client.proxied.port:
                port = b"%d" % client.proxied.port
            request.replace_address(found.text(), port)
        return None

    def describe(self) -> str:
        return f"real_ip_header {self.header.decode('ascii', 'replace')}"


class RealIPFeature(Feature):
    """On server level the address is known before rewriting, in a location with settings of its own before access is checked."""

    def server_rewrite(self, build: HttpBuild, server: VirtualServer, scope: Scope) -> list[Handler]:
        return [RealIPHandler(scope)] if scope.all(SET_REAL_IP_FROM) else []

    def location(self, build: LocationBuild) -> None:
        scope, server = build.scope, build.server.scope
        directives: tuple[Directive[object], ...] = (SET_REAL_IP_FROM, REAL_IP_HEADER, REAL_IP_RECURSIVE)
        differs = any(scope.setting(directive) is not server.setting(directive) for directive in directives)
        if differs and scope.all(SET_REAL_IP_FROM):
            build.add_handler(PREACCESS, RealIPHandler(scope))


FEATURE: Final = RealIPFeature(
    "http_realip",
    (SET_REAL_IP_FROM, REAL_IP_HEADER, REAL_IP_RECURSIVE),
    ORIGINAL_ADDRESS_VARIABLES,
    configure="--with-http_realip_module",
)
