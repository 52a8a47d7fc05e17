"""`geo`: a variable whose value depends on an address (variables/geo.py), here that of a client behind proxies, too.

(nginx: ngx_http_geo_module.c.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.directive import HTTP, Directive, Scope
from portico.config.reader import Statement
from portico.http.feature import Feature
from portico.http.request import Request
from portico.net.forwarded_for import client_address
from portico.net.networks import Network
from portico.variables.geo import Geo, declare_geos, network_of
from portico.variables.template import variable_name
from portico.variables.variable import Variables

if TYPE_CHECKING:
    from portico.variables.session import Session


@final
class HttpGeo(Geo):
    """One `geo`, with `proxy`: whom trusted proxies name in X-Forwarded-For."""

    def __init__(self, statement: Statement, name: str) -> None:
        super().__init__(statement, name)
        self.proxies: list[Network] = []
        self.recursive = False

    def address(self, session: Session) -> bytes | None:
        address = super().address(session)
        if address is None or not self.proxies:
            return address
        assert isinstance(session, Request)
        return client_address(address, session.fields.get_all(b"x-forwarded-for"), self.proxies, self.recursive)

    def is_option(self, line: Statement) -> bool:
        return line.name in ("proxy", "proxy_recursive") and len(line.args) < 2

    def add(self, line: Statement) -> None:
        if line.name == "proxy_recursive" and not line.args:
            self.recursive = True
        elif line.name == "proxy" and len(line.args) == 1 and line.block is None:
            self.proxies.append(network_of(line, line.args[0].text))
        else:
            super().add(line)


def _geo(statement: Statement) -> HttpGeo:
    made = HttpGeo(statement, variable_name(statement, -1))
    made.read(statement.block or [])
    return made


GEO: Final = Directive[HttpGeo | None](
    "geo", HTTP, _geo, args="1-2", many=True, default=None, raw_block=True,
    syntax="[$ADDRESS] $VARIABLE { ... }",
    doc="Defines a variable: its value is that of the smallest network that has the address (the client's, or that in `$ADDRESS`). "
    "`default` is for everything else; `delete` removes a network; `include` reads lines from a file; `proxy` names trusted "
    "networks, behind which the address is the last one in X-Forwarded-For, or with `proxy_recursive` the last untrusted one. With "
    "`ranges` as the first line, lines are ranges of IPv4 addresses: `192.0.2.1-192.0.2.9 value;`.",
    example="geo $country { default ZZ; 127.0.0.0/24 US; 10.1.0.0/16 UK; }",
)


class GeoFeature(Feature):
    """Makes the variables known."""

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        declare_geos(scope.own_all(GEO), variables, scope.load)


FEATURE: Final = GeoFeature("http_geo", (GEO,))
