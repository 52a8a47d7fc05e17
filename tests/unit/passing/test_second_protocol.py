"""A second upstream protocol goes through all that exists: it proxies, streams, retries, caches and stores, over real sockets.

It is `json_lines.py`, which no file of Portico knows: a feature declares its directives, and the catalogue would list the feature.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Answer, Site

import portico.passing.protocol
from portico.features import upstream
from portico.http import phases
from portico.http.body import RequestBody
from portico.http.errors import BodyCutShort
from portico.http.request import Request
from portico.http.response import Response
from portico.passing.groups import groups_of

COMPILED = str(portico.passing.protocol.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")

if not COMPILED:
    from tests.unit.passing.json_lines import FEATURE, line_of

Respond = Callable[[dict[str, object], str], bytes | None]


def a_response(*pieces: str, status: int = 200, **fields: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return line_of({"status": status, "fields": named}) + b"".join(line_of(piece) for piece in pieces) + line_of(None)


class Server:
    """A server of lines on a loopback socket. `respond(request, body)` returns what it sends, None for nothing.

    It closes a connection behind a response that has no end.
    """

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.seen: list[tuple[dict[str, object], str]] = []
        self.connections = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line)
                body = ""
                while (piece := json.loads(lines.readline())) is not None:
                    body += piece
                self.seen.append((request, body))
                response = self.respond(request, body)
                if response is None:
                    return
                sock.sendall(response)
                if not response.endswith(line_of(None)):
                    return

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join(5)


class LinesSite(Site):
    """`lines_pass app` in front of servers of lines."""

    def __init__(self, directory: Path, servers: list[Server], location: str, http: str) -> None:
        listed = " ".join(f"server 127.0.0.1:{server.port};" for server in servers)
        http = f"upstream app {{ {listed} }} lines_temp_path {directory}/temp; {http}"
        text = f"location / {{ {location} add_header X-Cache $upstream_cache_status; lines_pass app; }}"
        super().__init__(text, directory, (*FEATURES, upstream.FEATURE, FEATURE), http)
        self.group = groups_of(self.plan.build)["app"]
        self.servers = servers

    def fetch(self, target: str = "/", fields: str = "", method: str = "GET", body: bytes | None = None) -> Answer:
        """Return the response to a request, waiting for the upstream."""
        request = self.request(target, fields, method)
        if body is not None:
            request.body = RequestBody(request, None)
            request.body.data, request.body.length = body, len(body)
        found: list[Response] = []
        task = self.reactor.spawn(self._respond(request, found))
        until = time.monotonic() + 10
        while not task.done:
            assert time.monotonic() < until, "no response"
            self.reactor.dispatch(0.02)
        return Answer(request, found[0])

    async def _respond(self, request: Request, found: list[Response]) -> None:
        response = await phases.respond(request)
        assert response is not None
        found.append(response)

    def close(self) -> None:
        self.group.stop()
        for server in self.servers:
            server.close()
        super().close()


Make = Callable[..., LinesSite]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a site with a server for each function."""
    made: list[LinesSite] = []

    def site(*responds: Respond, location: str = "", http: str = "") -> LinesSite:
        made.append(LinesSite(tmp_path, [Server(respond) for respond in responds], location, http))
        return made[-1]

    yield site
    for one in made:
        one.close()


def hello(request: dict[str, object], body: str) -> bytes | None:
    return a_response("hel", "lo", X_Own="1")


def closes(request: dict[str, object], body: str) -> bytes | None:
    return None


def test_it_proxies(make: Make) -> None:
    site = make(hello)
    for number in range(3):
        answer = site.fetch(f"/a?b={number}", "X-Client: 7")
        assert (answer.status, answer.body, answer.get("X-Own")) == (200, b"hello", "1")
    requests = [request for request, _ in site.servers[0].seen]
    assert [request["target"] for request in requests] == ["/a?b=0", "/a?b=1", "/a?b=2"]
    assert requests[0]["fields"] == {"X-Client": "7"}
    assert site.servers[0].connections == 1  # it is released and acquired


def test_request_bodies(make: Make) -> None:
    site = make(lambda request, body: a_response(f"{request['method']} {body}"))
    assert site.fetch(method="POST", body=b"hello").body == b"POST hello"


def test_long_bodies_and_interim_responses(make: Make) -> None:
    pieces = ["x" * 10_000] * 100
    site = make(lambda request, body: line_of({"status": 103, "fields": {"Link": "</a>"}}) + a_response(*pieces))
    assert site.fetch().body == b"x" * 1_000_000
    assert site.fetch().body == b"x" * 1_000_000
    assert site.servers[0].connections == 1


@pytest.mark.parametrize("bad", [closes, lambda request, body: b"what?\n", lambda request, body: b"{" * 5000])
def test_it_retries(make: Make, bad: Respond) -> None:
    site = make(bad, hello, location="lines_next_upstream error invalid_header;")
    for _ in range(2):
        answer = site.fetch()
        assert (answer.status, answer.body) == (200, b"hello")
    first = answer.request.attempts()
    assert first is not None and len(site.servers[0].seen) == 1  # it has failed, and is left alone


def test_it_retries_by_status(make: Make) -> None:
    site = make(lambda request, body: a_response(status=503), hello, location="lines_next_upstream http_503;")
    answer = site.fetch()
    assert answer.status == 200
    assert [attempt.status for attempt in answer.request.attempts()] == [503, 200]


def test_what_is_not_idempotent_is_not_retried(make: Make) -> None:
    site = make(closes, hello)
    assert site.fetch(method="POST", body=b"x").status == 502


def test_a_stale_connection_is_no_failure(make: Make) -> None:
    responses = [hello({}, ""), None, hello({}, "")]
    site = make(lambda request, body: responses.pop(0))
    assert site.fetch().body == b"hello"
    answer = site.fetch()
    assert answer.body == b"hello" and site.servers[0].connections == 2
    assert len(answer.request.attempts()) == 1


def test_it_caches(make: Make, tmp_path: Path) -> None:
    site = make(hello, location="lines_cache c; lines_cache_valid 1m;", http=f"lines_cache_path {tmp_path}/c keys_zone=c:1m;")
    first = site.fetch()
    assert (first.body, first.get("X-Cache"), first.get("X-Own")) == (b"hello", "MISS", "1")
    second = site.fetch()
    assert (second.body, second.get("X-Cache"), second.get("X-Own")) == (b"hello", "HIT", "1")
    assert len(site.servers[0].seen) == 1


def test_it_stores(make: Make, tmp_path: Path) -> None:
    tmp_path.joinpath("temp").mkdir()
    site = make(hello, location=f"lines_store {tmp_path}/stored;")
    assert site.fetch().body == b"hello"
    assert tmp_path.joinpath("stored").read_bytes() == b"hello"


def test_a_body_that_breaks_off(make: Make) -> None:
    site = make(lambda request, body: a_response("hel", "lo").removesuffix(line_of(None)))
    with pytest.raises(BodyCutShort):
        site.fetch()
    assert "upstream prematurely closed connection while reading upstream" in site.log()
