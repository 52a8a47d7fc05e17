"""A configuration whose blocks are about sessions that are no requests of HTTP, and such a session."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from portico.admission.address_rules import parse_source
from portico.admission.connection_count import parse_connection_limit, parse_connection_zone
from portico.admission.request_rate import parse_rate_limit, parse_rate_zone
from portico.config.build import build
from portico.config.directive import MAIN, Directive, Scope
from portico.config.load import Load
from portico.config.reader import Statement, read_text
from portico.errorlog import INFO, ErrorLog, LogFiles, LogTarget
from portico.logs.directives import parse_access_log, parse_log_format
from portico.net.reactor import Reactor
from portico.net.transport import Transport
from portico.variables.client import Client
from portico.variables.geo import Geo, declare_geos
from portico.variables.map import declare_maps, parse_map
from portico.variables.proxy_protocol import PROXY_PROTOCOL_FAMILIES, PROXY_PROTOCOL_VARIABLES
from portico.variables.session import Session
from portico.variables.shared import SHARED_VARIABLES
from portico.variables.split_clients import declare_splits, parse_split
from portico.variables.template import template, variable_name
from portico.variables.variable import Variables

T = TypeVar("T")


def _geo(statement: Statement) -> Geo:
    made = Geo(statement, variable_name(statement, -1))
    made.read(statement.block or [])
    return made


def _declared(name: str, args: str, parse: Callable[[Statement], T], block: bool = False) -> Directive[T | None]:
    return Directive[T | None](name, MAIN, parse, args=args, many=True, default=None, raw_block=block, doc="", example="")


MAP: Final = _declared("map", "2", parse_map, True)
GEO: Final = _declared("geo", "1-2", _geo, True)
SPLIT: Final = _declared("split_clients", "2", parse_split, True)
TEXT: Final = _declared("text", "1", template)
LOG_FORMAT: Final = _declared("log_format", "2+", parse_log_format)
ACCESS_LOG: Final = _declared("access_log", "1+", parse_access_log)
ALLOW: Final = _declared("allow", "1", parse_source)
DENY: Final = _declared("deny", "1", parse_source)
RATE_ZONE: Final = _declared("limit_req_zone", "3", parse_rate_zone)
RATE: Final = _declared("limit_req", "1-3", parse_rate_limit)
CONNECTION_ZONE: Final = _declared("limit_conn_zone", "2", parse_connection_zone)
CONNECTION: Final = _declared("limit_conn", "2", parse_connection_limit)
DIRECTIVES: Final = (
    MAP, GEO, SPLIT, TEXT, LOG_FORMAT, ACCESS_LOG, ALLOW, DENY, RATE_ZONE, RATE, CONNECTION_ZONE, CONNECTION,
)  # fmt: skip


class Served:
    """What a configuration means for one client. Raises its first mistake."""

    def __init__(self, text: str, directory: Path) -> None:
        self.directory = directory
        self.files = LogFiles()
        self.error_log = ErrorLog([LogTarget(INFO, str(directory / "error.log"), None, None)], self.files)
        load = Load(str(directory), "x.conf")
        self.scope: Scope = build(read_text(text, "x.conf", load), DIRECTIVES, load)
        self.variables: Variables[Session] = Variables()
        for variable in (*SHARED_VARIABLES, *PROXY_PROTOCOL_VARIABLES):
            self.variables.add(variable)
        for family in PROXY_PROTOCOL_FAMILIES:
            self.variables.add_family(family)
        declare_maps(self.scope.own_all(MAP), self.variables, load)
        declare_geos(self.scope.own_all(GEO), self.variables, load)
        declare_splits(self.scope.own_all(SPLIT), self.variables, load)
        load.resolve_all(self.variables)
        if load.diagnostics.errors:
            raise load.diagnostics.errors[0]
        self.reactor = Reactor()
        self.sockets = socket.socketpair()
        self.transport = Transport(self.reactor, self.sockets[0])

    def close(self) -> None:
        """Give everything back."""
        self.files.close()
        self.reactor.epoll.close()
        for sock in self.sockets:
            sock.close()

    def session(self, address: str = "192.0.2.7", port: int = 5000, number: int = 42) -> Session:
        """The session of a client that connects from there."""
        return Session(Client(self.transport, ("127.0.0.1", 8080), self.error_log, (address, port), number))

    def render(self, session: Session) -> list[bytes]:
        """Every `text` of the configuration, for the session."""
        return [text.render(session) for text in self.scope.own_all(TEXT) if text is not None]

    def logged(self) -> str:
        """What the error log says."""
        return (self.directory / "error.log").read_text()
