"""A configuration as it serves, without a connection: requests pass phases and filters, then answers."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from portico import errorlog
from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import parse_request_fields
from portico.config import build as config_build
from portico.config.diagnostics import ConfigError
from portico.config.directive import Directive
from portico.config.load import Load
from portico.config.reader import read_text
from portico.errorlog import LogFiles
from portico.features import add_header, expires, index, not_modified, ranges, try_files
from portico.features.rewrite import feature as rewrite
from portico.features.static import feature as static
from portico.http import error_pages, listen, phases, settings
from portico.http.build import build_http
from portico.http.feature import Feature
from portico.http.request import Request
from portico.http.response import Body, Response
from portico.http.routing.uri import normalise
from portico.http.server.http1.output import field_lines
from portico.http.server.http1.prefixes import Prefixes
from portico.http.server.http1.stream import Http1Stream
from portico.http.variables.core import CORE_FAMILIES, CORE_VARIABLES
from portico.net.reactor import Reactor
from portico.net.transport import Transport
from portico.zones.zone import Zones

CORE = Feature("core", (), CORE_VARIABLES, CORE_FAMILIES)
FEATURES: tuple[Feature, ...] = (
    CORE,
    rewrite.FEATURE,
    try_files.FEATURE,
    expires.FEATURE,
    add_header.FEATURE,
    not_modified.FEATURE,
    ranges.FEATURE,
    index.FEATURE,
    static.FEATURE,
)


def directives(features: Sequence[Feature]) -> list[Directive[object]]:
    """All that a configuration of these tests may use."""
    found = [d for feature in features for d in feature.directives]
    for module in (settings, listen, error_pages, errorlog):
        found.extend(value for value in vars(module).values() if isinstance(value, Directive))
    return list(dict.fromkeys(found))


def read(reactor: Reactor, body: Body) -> bytes:
    """A body to its end, and closed. It may ask for turns, and wait for nothing else."""
    pieces: list[bytes] = []
    failures: list[Exception] = []

    async def work() -> None:
        try:
            while True:
                data = body.take()
                if data is None:
                    await body.wait()
                elif data:
                    pieces.append(data)
                else:
                    return
        except Exception as error:
            failures.append(error)

    task = reactor.spawn(work())
    while not task.done:
        reactor.dispatch(0.0)
    body.close()
    if failures:
        raise failures[0]
    return b"".join(pieces)


class Answer:
    """A response with its body read and closed."""

    def __init__(self, request: Request, response: Response) -> None:
        self.request = request
        self.response = response
        self.status = response.status
        self.body = read(request.reactor, response.body)
        lines = b"".join(field_lines(request, response)).decode("latin-1").split("\r\n")
        self.fields = [line.split(": ", 1) for line in lines if line]

    def get(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        """Every field of that name."""
        return [value for key, value in self.fields if key.lower() == name.lower()]


class Site:
    """One server on a directory."""

    def __init__(self, text: str, directory: Path, features: Sequence[Feature] = FEATURES, http: str = "") -> None:
        load = Load(str(directory), "conf/portico.conf")
        text = f"http {{ error_log logs/error.log; {http} server {{ listen 127.0.0.1:8080; {text} }} }}"
        directory.joinpath("logs").mkdir(exist_ok=True)
        log_files = LogFiles()
        root = config_build.build(read_text(text, "x.conf", load), directives(features), load)
        plan = None
        if not load.diagnostics.errors:
            plan = build_http(root, features, Zones(), log_files, "")
        if load.diagnostics.errors:
            raise load.diagnostics.errors[0]
        assert plan is not None
        log_files.open()
        self.log_files = log_files
        self.log_path = directory / "logs" / "error.log"
        self.plan = plan
        self.reactor = Reactor()
        self.sockets = socket.socketpair()
        transport = Transport(self.reactor, self.sockets[0])
        self.client = plan.listeners[0].client(transport, ("127.0.0.1", 50000), 1)
        self.stream = Http1Stream(self.client, transport, Prefixes(self.reactor))

    def close(self) -> None:
        """Give everything back."""
        for sock in self.sockets:
            sock.close()
        self.reactor.epoll.close()
        self.log_files.close()

    def request(self, target: str, fields: str = "", method: str = "GET") -> Request:
        """A request as a connection would make it. `fields`: "Range: bytes=0-1\\nIf-Range: x"."""
        block = "\r\n".join(f"Host: example.com\n{fields}".splitlines())
        parsed = parse_request_fields(block.encode("latin-1"), 11, HeaderOptions())
        line = f"{method} {target} HTTP/1.1".encode()
        request = Request(self.client, line, method.encode(), 11, parsed, self.plan.servers[0])
        request.target = normalise(target.encode("latin-1"), True)
        request.asked_host = b"example.com"
        self.stream.begin(request)
        request.stream = self.stream
        return request

    def ask(self, target: str, fields: str = "", method: str = "GET") -> Answer:
        """Returns the response to a request; its handler may ask for turns, and waits for nothing else. Raises CloseConnection."""
        request = self.request(target, fields, method)
        responses: list[Response] = []
        failures: list[Exception] = []

        async def work() -> None:
            try:
                responses.append(await phases.respond(request))
            except Exception as error:
                failures.append(error)

        task = self.reactor.spawn(work())
        while task.queued:
            self.reactor.dispatch(0.0)
        assert task.done, "a handler waited"
        if failures:
            raise failures[0]
        return Answer(request, responses[0])

    def log(self) -> str:
        """What the error log says so far."""
        return self.log_path.read_text()


def refusal(text: str, directory: Path) -> str:
    """The message with which a configuration is refused."""
    try:
        Site(text, directory).close()
    except ConfigError as error:
        return error.message
    raise AssertionError("the configuration was accepted")
