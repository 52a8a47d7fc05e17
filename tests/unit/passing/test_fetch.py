"""`fetch` and servers that do anything: over real sockets, with a script for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from portico.balancing.tls import UpstreamTLS
from portico.codec.url import Url
from portico.net.certificates import ContextError, self_signed
from portico.net.reactor import ClientGone, Reactor, Task, new_loop
from portico.passing.fetch import fetch, verifying_tls
from portico.passing.fetch_message import (
    EXHAUSTED,
    HANDSHAKE,
    MALFORMED,
    REDIRECTED,
    TIMEOUT,
    TOO_LONG,
    TRUNCATED,
    UNCONNECTED,
    UNRESOLVED,
    FetchedResponse,
    FetchError,
    FetchRequest,
)

Script = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
SECONDS = 0.4


class Server:
    """Plays one script for each connection that comes, and notes what it was asked."""

    def __init__(self, *scripts: Script, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.asked: list[bytes] = []
        self.over = threading.Event()
        self.ends: list[bytes] = []  # what came when a script had ended: b"" when the client closed
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family)
        self._socket.settimeout(5)
        self.port: int = self._socket.getsockname()[1]
        self._context = context
        self._scripts = scripts
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                with contextlib.suppress(OSError):
                    self._play(script, client)

    def _play(self, script: Script, plain: socket.socket) -> None:
        client = plain
        if self._context is not None:
            client = self._context.wrap_socket(plain, server_side=True)
        with client:
            script(client)

    def close(self) -> None:
        self.over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    # -- scripts

    def says(self, *pieces: bytes, pause: float = 0.0) -> Script:
        """Read the request's header section, send the pieces, and see whether the client closes."""

        def script(client: socket.socket) -> None:
            self.asked.append(read_head(client))
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
            if self._context is None:
                client.shutdown(socket.SHUT_WR)
                self.ends.append(client.recv(1))

        return script

    def repeats(self, first: bytes, again: bytes) -> Script:
        """Send `first`, then `again` and again until it is over."""

        def script(client: socket.socket) -> None:
            self.asked.append(read_head(client))
            client.sendall(first)
            while not self.over.is_set():
                if again:
                    client.sendall(again)
                elif self.over.wait(0.01):
                    break

        return script


def read_head(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            break
        data += more
    return data


class Place:
    """A reactor on its loop, and servers that end with the test."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.loop = new_loop(self.reactor)
        self.servers: list[Server] = []
        self.turns = 0  # how often others had their turn while a fetch was under way
        self.task: Task | None = None

    def server(self, *makers: Callable[[Server], Script], **named: Any) -> Server:
        scripts: list[Script] = []
        made = Server(*[lambda client, at=at: scripts[at](client) for at in range(len(makers))], **named)  # type: ignore[misc]
        scripts.extend(maker(made) for maker in makers)
        self.servers.append(made)
        return made

    def outcome(self, request: FetchRequest, meanwhile: Callable[[Task], None] | None = None) -> FetchedResponse | BaseException:
        """What comes of a fetch. `meanwhile` is called with its task a moment after the beginning."""
        done: asyncio.Future[FetchedResponse | BaseException] = self.loop.create_future()

        async def work() -> None:
            try:
                done.set_result(await fetch(self.reactor, request))
            except BaseException as error:
                done.set_result(error)

        def start() -> None:
            task = self.reactor.spawn(work())
            if meanwhile is not None:
                self.loop.call_later(0.1, meanwhile, task)

        def turn() -> None:
            self.turns += 1
            if not done.done():
                self.loop.call_later(0.01, turn)

        turn()
        self.loop.call_soon(start)
        found = self.loop.run_until_complete(asyncio.wait_for(done, 10))
        assert not self.reactor.owned  # the connection was closed, on whatever way
        return found

    def response(self, request: FetchRequest) -> FetchedResponse:
        found = self.outcome(request)
        if isinstance(found, BaseException):
            raise found
        return found

    def failure(self, request: FetchRequest) -> FetchError:
        found = self.outcome(request)
        assert isinstance(found, FetchError), found
        assert "secret" not in found.reason
        return found

    def close(self) -> None:
        for server in self.servers:
            server.close()
        self.loop.close()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


class Certificates:
    """Certificates for 127.0.0.1, good ones and others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, host in (("good", "127.0.0.1"), ("wrong", "elsewhere.test"), ("stranger", "127.0.0.1")):
            certificate, key = self_signed([host], 2)
            (folder / f"{name}.pem").write_bytes(certificate)
            (folder / f"{name}.key").write_bytes(key)
        both = (folder / "good.pem").read_bytes() + (folder / "wrong.pem").read_bytes()
        (folder / "trusted.pem").write_bytes(both)
        self.trust = verifying_tls(str(folder / "trusted.pem"))

    def context(self, name: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return made


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def a_request(certificates: Certificates, url: str, method: bytes = b"GET", tls: UpstreamTLS | None = None) -> FetchRequest:
    request = FetchRequest(Url(url), tls or certificates.trust, method)
    request.seconds = SECONDS
    return request


def url_of(server: Server, path: str = "/keys?secret", scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.port}{path}"


# -- a response


def test_a_response(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(OK))
    response = place.response(a_request(certificates, url_of(server)))
    assert (response.status, response.body, response.url.target) == (200, b"body", "/keys?secret")
    assert server.asked[0].startswith(b"GET /keys?secret HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)
    server.close()
    assert server.ends == [b""]  # closed by us, and nothing more was sent
    place.servers.clear()


def test_a_response_in_pieces(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(*[OK[at : at + 5] for at in range(0, len(OK), 5)], pause=0.005))
    assert place.response(a_request(certificates, url_of(server))).body == b"body"


def test_any_status_is_a_response(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 2\r\n\r\nno"))
    response = place.response(a_request(certificates, url_of(server)))
    assert (response.status, response.body) == (503, b"no")


def test_ipv6(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(OK), host="::1")
    response = place.response(a_request(certificates, f"http://[::1]:{server.port}/"))
    assert response.body == b"body"
    assert b"\r\nHost: [::1]:%d\r\n" % server.port in server.asked[0]


def test_a_long_body_is_sent_and_received(place: Place, certificates: Certificates) -> None:
    received: list[int] = []

    def script(client: socket.socket) -> None:
        data = read_head(client)
        length = int(data.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        count = len(data.split(b"\r\n\r\n", 1)[1])
        while count < length:
            count += len(client.recv(65536))
        received.append(count)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000000)

    server = place.server(lambda _: script)
    request = a_request(certificates, url_of(server), b"POST")
    request.seconds = 5.0
    request.body = b"y" * 4000000
    assert len(place.response(request).body) == 1000000
    assert received == [4000000]


def test_a_server_that_responds_before_it_has_read_the_request(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"))
    request = a_request(certificates, url_of(server), b"POST")
    request.seconds = 5.0
    request.body = b"y" * 30000
    assert place.response(request).status == 413


def test_another_address_is_tried(place: Place, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    server = place.server(lambda server: server.says(OK))
    hosts = ["127.0.0.2", "127.0.0.2", "127.0.0.1"]  # a host may be listed twice
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    response = place.response(a_request(certificates, f"http://app.test:{server.port}/"))
    assert response.body == b"body"
    assert b"\r\nHost: app.test:%d\r\n" % server.port in server.asked[0]


# -- no response


def test_nobody_listens(place: Place, certificates: Certificates) -> None:
    failure = place.failure(a_request(certificates, "http://127.0.0.1:1/keys?secret"))
    assert (failure.kind, failure.reason) == (UNCONNECTED, "127.0.0.1:1: connection failed (111: Connection refused)")


def test_a_name_that_is_unknown(place: Place, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    failure = place.failure(a_request(certificates, "https://id.test/keys?secret"))
    assert failure.kind == UNRESOLVED
    assert failure.reason == "id.test could not be resolved ([Errno -2] Name or service not known)"


def test_a_name_without_an_address(place: Place, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    failure = place.failure(a_request(certificates, "https://id.test/"))
    assert (failure.kind, failure.reason) == (UNRESOLVED, "id.test has no address")


def test_a_resolver_that_hangs(place: Place, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def look_up(*_: object, **__: object) -> object:
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        failure = place.failure(a_request(certificates, "https://id.test/"))
    finally:
        over.set()
    assert failure.kind == TIMEOUT
    assert failure.reason == "id.test did not respond in time: its host could not be resolved"


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbod", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 4000 + b"\r\na\r\n"),
    ],
    ids=["silent", "half a header section", "half a body", "no chunk", "chunks of one byte with long extensions"],
)
def test_a_server_without_end(place: Place, certificates: Certificates, first: bytes, again: bytes) -> None:
    server = place.server(lambda server: server.repeats(first, again))
    began = time.monotonic()
    failure = place.failure(a_request(certificates, url_of(server)))
    assert (failure.kind, failure.reason) == (TIMEOUT, f"127.0.0.1:{server.port} did not respond in time")
    assert SECONDS * 0.9 < time.monotonic() - began < SECONDS * 4
    assert place.turns > 3  # others were served meanwhile


def test_a_server_that_reads_nothing(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: lambda client: server.over.wait(5) and None)
    request = a_request(certificates, url_of(server), b"POST")
    request.body = b"y" * 20000000
    assert place.failure(request).kind == TIMEOUT


def test_a_port_that_takes_no_connection(place: Place, certificates: Certificates) -> None:
    with socket.socket() as full, contextlib.ExitStack() as others:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # the queue of those who wait to be accepted
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        failure = place.failure(a_request(certificates, f"http://127.0.0.1:{full.getsockname()[1]}/"))
    assert failure.kind == TIMEOUT


@pytest.mark.parametrize(
    ("data", "again", "kind", "reason"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, TOO_LONG, "header section from 127.0.0.1:PORT is longer than 32768 bytes"),
        (b"HTTP/1.1 200 OK\r\n", b"X: secret\r\n" * 100, TOO_LONG, "header section from 127.0.0.1:PORT is longer than 32768 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10000, TOO_LONG, "the response of 127.0.0.1:PORT is longer than 1048576 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", b"", TOO_LONG, "longer than 1048576 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"", MALFORMED, "the response of 127.0.0.1:PORT is compressed"),
        (b"SSH-2.0-OpenSSH secret\r\n", b"", MALFORMED, "127.0.0.1:PORT: upstream sent no valid HTTP/1.0 header"),
        (b"HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\x01\r\n\r\n", b"", MALFORMED, "127.0.0.1:PORT: upstream sent invalid header"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\n", b"", MALFORMED, "127.0.0.1:PORT: upstream sent unknown"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"", MALFORMED, "changed the protocol"),
    ],
)
def test_what_is_not_waited_for(
    place: Place, certificates: Certificates, data: bytes, again: bytes, kind: int, reason: str
) -> None:
    """Bombs, and what is no response: the end comes at once, though the server does not close."""
    server = place.server(lambda server: server.repeats(data, again))
    request = a_request(certificates, url_of(server))
    request.seconds = 8.0
    began = time.monotonic()
    failure = place.failure(request)
    assert failure.kind == kind
    assert reason.replace("PORT", str(server.port)) in failure.reason
    assert time.monotonic() - began < 4.0


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody"])
def test_a_server_that_closes_early(place: Place, certificates: Certificates, data: bytes) -> None:
    server = place.server(lambda server: server.says(data))
    assert place.failure(a_request(certificates, url_of(server))).kind == TRUNCATED


def test_a_server_that_resets(place: Place, certificates: Certificates) -> None:
    def script(client: socket.socket) -> None:
        read_head(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    server = place.server(lambda _: script)
    failure = place.failure(a_request(certificates, url_of(server)))
    assert failure.kind == UNCONNECTED
    assert failure.reason == f"127.0.0.1:{server.port}: connection failed (104: Connection reset by peer)"


def test_no_connection_is_left(place: Place, certificates: Certificates) -> None:
    place.reactor.room.set_limit(0, "0 worker_connections")
    failure = place.failure(a_request(certificates, "http://127.0.0.1:1/"))
    assert (failure.kind, failure.reason) == (EXHAUSTED, "127.0.0.1:1: 0 worker_connections are not enough")


def test_a_client_that_leaves(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.repeats(b"", b""))
    request = a_request(certificates, url_of(server))
    request.seconds = 8.0
    began = time.monotonic()
    outcome = place.outcome(request, lambda task: task.throw(ClientGone()))
    assert isinstance(outcome, ClientGone)
    assert time.monotonic() - began < 4.0


# -- TLS


def test_tls(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(OK), context=certificates.context("good"))
    assert place.response(a_request(certificates, url_of(server, scheme="https"))).body == b"body"


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ("wrong", 'upstream SSL certificate does not match "127.0.0.1"'),
        ("stranger", "upstream SSL certificate verify error: (18:self-signed certificate)"),
    ],
)
def test_a_certificate_that_is_not_good_enough(place: Place, certificates: Certificates, certificate: str, reason: str) -> None:
    server = place.server(lambda server: server.says(OK), context=certificates.context(certificate))
    failure = place.failure(a_request(certificates, url_of(server, scheme="https")))
    assert (failure.kind, failure.reason) == (HANDSHAKE, f"127.0.0.1:{server.port}: {reason}")
    assert server.asked == []


def test_only_the_system_is_trusted_by_default(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(OK), context=certificates.context("good"))
    failure = place.failure(a_request(certificates, url_of(server, scheme="https"), tls=verifying_tls()))
    assert failure.kind == HANDSHAKE and server.asked == []


def test_a_file_of_authorities_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "garbage.pem").write_bytes(b"garbage")
    with pytest.raises(ContextError):
        verifying_tls(str(tmp_path / "garbage.pem"))


def test_a_server_that_speaks_no_tls(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert place.failure(a_request(certificates, url_of(server, scheme="https"))).kind in (HANDSHAKE, TIMEOUT)


def test_a_handshake_without_end(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: lambda client: server.over.wait(5) and None)
    failure = place.failure(a_request(certificates, url_of(server, scheme="https")))
    assert failure.kind == TIMEOUT


def test_a_body_cut_where_tls_did_not_end(place: Place, certificates: Certificates) -> None:
    """Without close_notify nobody knows whether the server has ended the body or somebody on the way."""

    def cut(client: socket.socket) -> None:
        read_head(client)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\nbody")

    def ended(client: socket.socket) -> None:
        cut(client)
        assert isinstance(client, ssl.SSLSocket)
        client.unwrap()

    server = place.server(lambda _: cut, lambda _: ended, context=certificates.context("good"))
    failure = place.failure(a_request(certificates, url_of(server, scheme="https")))
    assert failure.kind == TRUNCATED
    assert place.response(a_request(certificates, url_of(server, scheme="https"))).body == b"body"


# -- redirects


def moved(status: int, location: str) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def test_no_redirect_is_followed_unless_asked(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(moved(302, "/elsewhere")))
    response = place.response(a_request(certificates, url_of(server)))
    assert (response.status, response.get(b"location")) == (302, b"/elsewhere")


def test_a_redirect_is_followed(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(moved(307, "/elsewhere#part")), lambda server: server.says(OK))
    request = a_request(certificates, url_of(server))
    request.redirects = 1
    request.fields = [(b"Authorization", b"Bearer x")]
    response = place.response(request)
    assert (response.body, response.url.target) == (b"body", "/elsewhere")
    assert server.asked[1].startswith(b"GET /elsewhere HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer x\r\n" in server.asked[1]


def test_credentials_stay_with_their_server(place: Place, certificates: Certificates) -> None:
    other = place.server(lambda server: server.says(OK))
    server = place.server(lambda server: server.says(moved(302, url_of(other))))
    request = a_request(certificates, url_of(server))
    request.redirects = 1
    request.fields = [(b"Authorization", b"Bearer x"), (b"cookie", b"a=b"), (b"Accept", b"*/*")]
    assert place.response(request).body == b"body"
    assert b"uthorization" not in other.asked[0] and b"ookie" not in other.asked[0] and b"\r\nAccept: */*\r\n" in other.asked[0]


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/secret", "https://user:secret@b.test/", "//[", "http://\xe9/"])
def test_a_redirect_to_what_is_no_url(place: Place, certificates: Certificates, location: str) -> None:
    server = place.server(lambda server: server.says(moved(302, location)))
    request = a_request(certificates, url_of(server))
    request.redirects = 1
    failure = place.failure(request)
    assert (failure.kind, failure.reason) == (REDIRECTED, f"127.0.0.1:{server.port} redirects to what is no URL")


def test_a_redirect_away_from_tls(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(moved(302, "http://127.0.0.1:1/secret")), context=certificates.context("good"))
    request = a_request(certificates, url_of(server, scheme="https"))
    request.redirects = 1
    failure = place.failure(request)
    assert (failure.kind, failure.reason) == (REDIRECTED, f"127.0.0.1:{server.port} redirects from https to http")


def test_too_many_redirects(place: Place, certificates: Certificates) -> None:
    turns = [lambda server: server.says(moved(302, "/again"))] * 3
    server = place.server(*turns)
    request = a_request(certificates, url_of(server))
    request.seconds = 5.0
    request.redirects = 2
    failure = place.failure(request)
    assert (failure.kind, len(server.asked)) == (REDIRECTED, 3)


def test_what_was_posted_is_not_sent_elsewhere(place: Place, certificates: Certificates) -> None:
    server = place.server(lambda server: server.says(moved(307, "/elsewhere")))
    request = a_request(certificates, url_of(server), b"POST")
    request.redirects = 3
    request.body = b"secret"
    assert place.response(request).status == 307


def test_the_time_is_that_of_all_redirects_together(place: Place, certificates: Certificates) -> None:
    turns = [lambda server: server.says(b"", moved(302, "/again"), pause=0.15)] * 6
    server = place.server(*turns)
    request = a_request(certificates, url_of(server))
    request.redirects = 10
    began = time.monotonic()
    assert place.failure(request).kind == TIMEOUT
    assert time.monotonic() - began < SECONDS * 3
