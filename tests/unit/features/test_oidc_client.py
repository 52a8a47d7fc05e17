"""`auth_oidc`'s requests to a provider: one that never ends, one that says nothing, a resolver that hangs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from portico.balancing.tls import UpstreamSettings, UpstreamTLS
from portico.features.oidc.client import Answer, ProviderClient, Url
from portico.http.fetching import FetchFailed
from portico.net.reactor import Reactor, new_loop

SECONDS = 0.5


class Provider:
    """Says `first`, then `again` and again, to one client after another."""

    def __init__(self, first: bytes, again: bytes) -> None:
        self._first = first
        self._again = again
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._socket.accept()
        with client:
            client.settimeout(2)
            try:
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


def asked(loop: tuple[Reactor, asyncio.SelectorEventLoop], url: str) -> tuple[Answer | FetchFailed, int]:
    """What comes of one request; and how many turns others had meanwhile."""
    done: asyncio.Future[Answer | FetchFailed] = loop[1].create_future()
    turns = 0

    async def ask() -> None:
        try:
            client = ProviderClient(UpstreamTLS(UpstreamSettings()), SECONDS)
            done.set_result(await client.ask(loop[0], Url(url), [], None))
        except FetchFailed as failed:
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
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
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
    assert isinstance(outcome, FetchFailed) and outcome.status == 504
    assert time.monotonic() - began < SECONDS * 4
    assert turns > 3


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
    assert isinstance(outcome, FetchFailed)
    assert (outcome.status, outcome.reason) == (504, "id.example.com did not answer in time")


def test_a_name_that_is_unknown(loop: tuple[Reactor, asyncio.SelectorEventLoop], monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*args: object, **more: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    outcome, _ = asked(loop, "https://id.example.com/")
    assert isinstance(outcome, FetchFailed)
    assert outcome.status == 502 and "id.example.com could not be resolved" in outcome.reason
