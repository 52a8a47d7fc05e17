"""`auth_oidc`'s requests to a provider: what is sent, one that never ends, one that says nothing, a resolver that hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from portico.balancing.tls import PeerTLSSettings, UpstreamTLS
from portico.codec.url import Url
from portico.features.oidc.provider_requests import ask_provider, provider_url
from portico.http.cached_value import SourceFailed
from portico.net.reactor import Reactor, new_loop
from portico.passing.fetch_message import FetchedResponse

SECONDS = 0.5


class Provider:
    """Says `first`, then `again` and again, to one client after another."""

    def __init__(self, first: bytes, again: bytes) -> None:
        self._first = first
        self._again = again
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.asked: bytes = b""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._socket.accept()
        with client:
            client.settimeout(2)
            try:
                self.asked = client.recv(65536)
                client.sendall(self._first)
                while not self._over.is_set():
                    if self._again:
                        client.sendall(self._again)
                    elif self._over.wait(0.01):
                        break
            except OSError:
                pass  # the client has had enough

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[tuple[Reactor, asyncio.SelectorEventLoop]]:
    reactor = Reactor()
    made = new_loop(reactor)
    yield reactor, made
    made.close()


def asked(
    loop: tuple[Reactor, asyncio.SelectorEventLoop], url: str, authorization: bytes = b"", form: bytes | None = None
) -> tuple[FetchedResponse | SourceFailed, int]:
    """What comes of one request; and how many turns others had meanwhile."""
    done: asyncio.Future[FetchedResponse | SourceFailed] = loop[1].create_future()
    turns = 0

    async def ask() -> None:
        try:
            tls = UpstreamTLS(PeerTLSSettings())
            done.set_result(await ask_provider(loop[0], tls, Url(url), authorization, form, SECONDS))
        except SourceFailed as failed:
            done.set_result(failed)
        except BaseException as error:
            done.set_exception(error)

    def tick() -> None:
        nonlocal turns
        turns += 1
        if not done.done():
            loop[1].call_later(0.01, tick)

    tick()
    loop[1].call_soon(lambda: loop[0].spawn(ask()) and None)
    return loop[1].run_until_complete(asyncio.wait_for(done, 10)), turns


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 4000 + b"\r\na\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    ],
)
def test_a_provider_without_end(loop: tuple[Reactor, asyncio.SelectorEventLoop], first: bytes, again: bytes) -> None:
    provider = Provider(first, again)
    began = time.monotonic()
    try:
        outcome, turns = asked(loop, f"http://127.0.0.1:{provider.port}/")
    finally:
        provider.close()
    assert isinstance(outcome, SourceFailed) and outcome.status == 504
    assert time.monotonic() - began < SECONDS * 4
    assert turns > 3


def test_interim_responses_without_end(loop: tuple[Reactor, asyncio.SelectorEventLoop]) -> None:
    """They are not waited for until the time is over."""
    provider = Provider(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
    try:
        outcome, _ = asked(loop, f"http://127.0.0.1:{provider.port}/")
    finally:
        provider.close()
    assert isinstance(outcome, SourceFailed) and outcome.status == 502


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def test_a_get(loop: tuple[Reactor, asyncio.SelectorEventLoop]) -> None:
    provider = Provider(OK, b"")
    try:
        outcome, _ = asked(loop, f"http://127.0.0.1:{provider.port}/userinfo?a=b", b"Bearer token")
    finally:
        provider.close()
    assert isinstance(outcome, FetchedResponse) and (outcome.status, outcome.body) == (200, b"{}")
    assert provider.asked == (
        b"GET /userinfo?a=b HTTP/1.1\r\n"
        b"Host: 127.0.0.1:%d\r\n"
        b"User-Agent: portico\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n"
        b"Accept: application/json\r\n"
        b"Authorization: Bearer token\r\n"
        b"\r\n" % provider.port
    )


def test_a_form(loop: tuple[Reactor, asyncio.SelectorEventLoop]) -> None:
    provider = Provider(OK, b"")
    try:
        outcome, _ = asked(loop, f"http://127.0.0.1:{provider.port}/token", form=b"grant_type=x")
    finally:
        provider.close()
    assert isinstance(outcome, FetchedResponse)
    assert provider.asked.startswith(b"POST /token HTTP/1.1\r\n")
    assert b"\r\nAuthorization:" not in provider.asked
    assert provider.asked.endswith(
        b"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 12\r\n\r\ngrant_type=x"
    )


def test_a_provider_that_is_not_there(loop: tuple[Reactor, asyncio.SelectorEventLoop]) -> None:
    outcome, _ = asked(loop, "http://127.0.0.1:1/")
    assert isinstance(outcome, SourceFailed)
    assert (outcome.status, outcome.reason) == (502, "127.0.0.1:1: connection failed (111: Connection refused)")


def test_a_worker_without_connections(loop: tuple[Reactor, asyncio.SelectorEventLoop]) -> None:
    room = loop[0].room
    limit, reason = room.limit, room.reason
    room.set_limit(0, "0 worker_connections")
    try:
        outcome, _ = asked(loop, "http://127.0.0.1:1/")
    finally:
        room.set_limit(limit, reason)
    assert isinstance(outcome, SourceFailed)
    assert (outcome.status, outcome.reason) == (500, "127.0.0.1:1: 0 worker_connections are not enough")


@pytest.mark.parametrize("text", ["https://id.example.com/", "http://localhost/", "http://127.0.0.1:8080/", "http://[::1]/"])
def test_urls_that_may_be_asked(text: str) -> None:
    assert provider_url(text).text == text


@pytest.mark.parametrize("text", ["http://id.example.com/", "http://127.0.0.2/", "http://localhost.example.com/"])
def test_urls_that_need_tls(text: str) -> None:
    with pytest.raises(ValueError, match="only a provider on this machine may be asked without TLS"):
        provider_url(text)


def test_a_resolver_that_hangs(loop: tuple[Reactor, asyncio.SelectorEventLoop], monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    known = socket.getaddrinfo

    def look_up(*args: object, **more: object) -> object:
        over.wait(10)
        return known("127.0.0.1", 1)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        outcome, _ = asked(loop, "https://id.example.com/")
    finally:
        over.set()
    assert isinstance(outcome, SourceFailed)
    assert (outcome.status, outcome.reason) == (504, "id.example.com did not respond in time: its host could not be resolved")


def test_a_name_that_is_unknown(loop: tuple[Reactor, asyncio.SelectorEventLoop], monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*args: object, **more: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    outcome, _ = asked(loop, "https://unknown.example.com/")
    assert isinstance(outcome, SourceFailed)
    assert outcome.status == 502 and "unknown.example.com could not be resolved" in outcome.reason
