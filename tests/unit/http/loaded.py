"""An `http {}` as loaded, and requests as a connection makes them of bytes; for variables and logs."""

from __future__ import annotations

import socket
from pathlib import Path

from portico import errorlog
from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import parse_request_fields, split_target, valid_host
from portico.config import build as config_build
from portico.config.diagnostics import ConfigError
from portico.config.directive import Directive
from portico.config.load import Load
from portico.config.reader import read_text
from portico.errorlog import LogFiles
from portico.features import access_log
from portico.features.static import feature as static
from portico.http import error_pages, listen, settings
from portico.http.build import build_http
from portico.http.feature import Feature
from portico.http.plan import Location
from portico.http.request import Request
from portico.http.routing.uri import normalise
from portico.http.server.http1.prefixes import Prefixes
from portico.http.server.http1.stream import Http1Stream
from portico.http.variables.core import CORE_FAMILIES, CORE_VARIABLES
from portico.net.reactor import Reactor
from portico.net.transport import Transport
from portico.passing.variables import UPSTREAM_FAMILIES, UPSTREAM_VARIABLES
from portico.zones.zone import Zones

FEATURES = (
    Feature("core", (), CORE_VARIABLES, CORE_FAMILIES),
    Feature("upstream", (), UPSTREAM_VARIABLES, UPSTREAM_FAMILIES),
    access_log.FEATURE,
    static.FEATURE,
)
PLAIN = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def known() -> list[Directive[object]]:
    """All that a configuration of these tests may use."""
    found: list[Directive[object]] = [d for feature in FEATURES for d in feature.directives]
    for module in (settings, listen, error_pages):
        found.extend(value for value in vars(module).values() if isinstance(value, Directive))
    found.append(errorlog.ERROR_LOG)
    return list(dict.fromkeys(found))


class Loaded:
    """One configuration, ready, with one client connection over TCP. Raises its first mistake."""

    def __init__(self, text: str, directory: Path) -> None:
        directory.joinpath("logs").mkdir(exist_ok=True)
        load = Load(str(directory), "conf/x.conf")
        self.log_files = LogFiles()
        root = config_build.build(read_text(f"http {{ {text} }}", "x.conf", load), known(), load)
        plan = None
        if not load.diagnostics.errors:
            plan = build_http(root, FEATURES, Zones(), self.log_files, "")
        if load.diagnostics.errors:
            raise load.diagnostics.errors[0]
        assert plan is not None
        self.plan = plan
        self.directory = directory
        self.log_files.open()
        self.reactor = Reactor()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.peer = socket.create_connection(("127.0.0.1", self.port))
        self.sock, address = listener.accept()
        listener.close()
        self.transport = Transport(self.reactor, self.sock)
        self.client = plan.listeners[0].client(self.transport, address, 7)
        self.stream = Http1Stream(self.client, self.transport, Prefixes(self.reactor))
        self.client.requests = 1

    def close(self) -> None:
        """Give everything back."""
        self.peer.close()
        self.sock.close()
        self.reactor.epoll.close()
        self.log_files.close()

    def request(self, raw: bytes = PLAIN, location: str = "", underscores: bool = True) -> Request:
        """The request that `raw` is, in the location of that name (else on server level)."""
        line, _, block = raw.partition(b"\r\n")
        method, target, _ = line.split(b" ")
        fields = parse_request_fields(block[:-2], 11, HeaderOptions(underscores))
        server = self.plan.servers[0]
        request = Request(self.client, line, method, 11, fields, server)
        host = b"" if fields.host is None else valid_host(fields.host)[0]
        if not target.startswith(b"/"):
            authority, target, _ = split_target(target)
            host = valid_host(authority)[0]
        request.target = normalise(target, True)
        request.asked_host = host
        request.received = len(raw)
        self.stream.begin(request)
        request.stream = self.stream
        if location:
            request.location = self.location(location)
        return request

    def location(self, name: str) -> Location:
        """The location that the path `name` leads to."""
        return self.plan.servers[0].locations.find(name.encode()).value

    def text(self, name: str) -> str:
        """What a log under `logs/` holds."""
        return self.directory.joinpath("logs", name).read_text("latin-1")


def pointed_at(text: str, directory: Path) -> list[str]:
    """What the carets of the mistakes in `http { text }` stand under."""
    load = Load(str(directory), "conf/x.conf")
    root = config_build.build(read_text(f"http {{ {text} }}", "x.conf", load), known(), load)
    if not load.diagnostics.errors:
        build_http(root, FEATURES, Zones(), LogFiles(), "")
    found = []
    for error in load.diagnostics.errors:
        assert error.where is not None
        line = load.files["x.conf"].split("\n")[error.where.line - 1]
        found.append(line[error.where.column - 1 :][: error.span])
    return found


def refusal(text: str, directory: Path) -> ConfigError:
    """The mistake for which a configuration is refused."""
    try:
        Loaded(text, directory).close()
    except ConfigError as error:
        return error
    raise AssertionError("the configuration was accepted")
