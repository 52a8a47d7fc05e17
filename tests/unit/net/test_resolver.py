"""Addresses of hosts: blocking at load, and in a worker on threads, shared, bounded in time, and left by who has no need any more."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from portico.net.reactor import ClientGone, Reactor, new_loop
from portico.net.resolver import Resolution, ResolveError, Resolver, resolve_blocking

T = TypeVar("T")
SECONDS = 5.0


class System:
    """Stands for getaddrinfo(3): what it is asked, and, unless it is told to go on, it says nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, int, int]] = []
        self.answers: dict[bytes, list[tuple[int, tuple[Any, ...]]] | OSError] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.at_work = 0
        self.most_at_work = 0
        self._lock = threading.Lock()

    def getaddrinfo(self, host: bytes, port: int, *, type: int) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:
        with self._lock:
            self.asked.append((host, port, type))
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            assert self.gate.wait(10)
        finally:
            with self._lock:
                self.at_work -= 1
        answer = self.answers.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if isinstance(answer, OSError):
            raise answer
        return [(family, type, 6, "", address) for family, address in answer]


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    made = System()
    made.answers[b"app.test"] = [(socket.AF_INET6, ("2001:db8::1", 80, 0, 0)), (socket.AF_INET, ("192.0.2.1", 80))]
    made.answers[b"other.test"] = [(socket.AF_INET, ("192.0.2.2", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.gate.set()


class Bench:
    """A reactor on its loop."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.loop = new_loop(self.reactor)

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work` as an asyncio task to its end."""

        async def bounded() -> T:
            return await asyncio.wait_for(work(), 10)

        return self.loop.run_until_complete(bounded())

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> Any:
        """Start a task of the reactor; to be called inside `run`."""
        return self.reactor.spawn(coroutine)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let others work until `condition` holds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


APP = [(socket.AF_INET6, ("2001:db8::1", 443, 0, 0)), (socket.AF_INET, ("192.0.2.1", 443))]

# -- the blocking form


def test_the_order_of_the_system_is_kept(system: System) -> None:
    found = resolve_blocking("app.test", 443)
    assert found.addresses == APP
    assert found.ttl is None
    assert system.asked == [(b"app.test", 443, socket.SOCK_STREAM)]


def test_the_kind_of_socket_is_asked_for(system: System) -> None:
    resolve_blocking("other.test", 514, socket.SOCK_DGRAM)
    assert system.asked == [(b"other.test", 514, socket.SOCK_DGRAM)]


def test_octets_that_are_not_utf8_are_asked_for_as_they_are(system: System) -> None:
    with pytest.raises(ResolveError):
        resolve_blocking("caf\udce9.test", 80)
    assert system.asked[0][0] == b"caf\xe9.test"


def test_the_scope_of_an_address_is_kept(system: System) -> None:
    system.answers[b"fe80::1%lo"] = [(socket.AF_INET6, ("fe80::1%lo", 80, 0, 1))]
    assert resolve_blocking("fe80::1%lo", 80).addresses == [(socket.AF_INET6, ("fe80::1%lo", 80, 0, 1))]


def test_a_failure_says_what_was_asked_and_why(system: System) -> None:
    with pytest.raises(ResolveError) as caught:
        resolve_blocking("no.test", 80)
    error = caught.value
    assert (error.host, error.errno, error.strerror) == ("no.test", socket.EAI_NONAME, "Name or service not known")
    assert not error.timed_out
    assert error.reason == "[Errno -2] Name or service not known"
    assert str(error) == "no.test could not be resolved ([Errno -2] Name or service not known)"


def test_a_name_is_not_cut_at_a_nul(system: System) -> None:
    system.answers[b"192.0.2.1"] = system.answers[b"other.test"]
    with pytest.raises(ResolveError, match="Name or service not known"):
        resolve_blocking("192.0.2.1\0.test", 80)
    assert system.asked == []


def test_the_real_resolver_reads_addresses() -> None:
    assert resolve_blocking("127.0.0.1", 80).addresses == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert resolve_blocking("::1", 80).addresses == [(socket.AF_INET6, ("::1", 80, 0, 0))]


# -- the form for workers


def test_names(system: System, bench: Bench) -> None:
    found = bench.run(lambda: bench.reactor.resolver.resolve("app.test", 443, SECONDS))
    assert found.addresses == APP
    assert found.ttl is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", (socket.AF_INET, ("192.0.2.7", 80))),
        ("2001:DB8:0:0::7", (socket.AF_INET6, ("2001:db8::7", 80, 0, 0))),
        ("::ffff:192.0.2.7", (socket.AF_INET6, ("::ffff:192.0.2.7", 80, 0, 0))),
    ],
)
def test_addresses_need_no_thread(system: System, bench: Bench, host: str, address: object) -> None:
    found = bench.run(lambda: bench.reactor.resolver.resolve(host, 80, SECONDS))
    assert found.addresses == [address]
    assert system.asked == []


@pytest.mark.parametrize("host", ["127.1", "fe80::1%lo", "1.2.3.4.example", "", "\u0661.0.0.1"])
def test_what_only_looks_like_an_address_is_left_to_the_system(system: System, bench: Bench, host: str) -> None:
    with pytest.raises(ResolveError):
        bench.run(lambda: bench.reactor.resolver.resolve(host, 80, SECONDS))
    assert [asked[0] for asked in system.asked] == [host.encode()]


def test_a_failure(system: System, bench: Bench) -> None:
    with pytest.raises(ResolveError) as caught:
        bench.run(lambda: bench.reactor.resolver.resolve("no.test", 80, SECONDS))
    assert str(caught.value) == "no.test could not be resolved ([Errno -2] Name or service not known)"
    system.answers[b"no.test"] = [(socket.AF_INET, ("192.0.2.9", 1))]
    found = bench.run(lambda: bench.reactor.resolver.resolve("no.test", 80, SECONDS))
    assert found.addresses == [(socket.AF_INET, ("192.0.2.9", 80))]  # a failure is not remembered


def test_a_defect_is_a_failure_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr(socket, "getaddrinfo", broken)
    with pytest.raises(ResolveError, match="RuntimeError: oh"):
        bench.run(lambda: bench.reactor.resolver.resolve("app.test", 80, SECONDS))


def test_those_who_wait_for_one_host_share_one_query(system: System, bench: Bench) -> None:
    resolver = bench.reactor.resolver
    system.gate.clear()

    async def work() -> list[Resolution]:
        tasks = [asyncio.ensure_future(resolver.resolve("app.test", port, SECONDS)) for port in (443, 80, 443)]
        tasks.append(asyncio.ensure_future(resolver.resolve("other.test", 443, SECONDS)))
        await until(lambda: len(system.asked) == 2)
        system.gate.set()
        return await asyncio.gather(*tasks)

    found = bench.run(work)
    assert [resolution.addresses[-1][1][:2] for resolution in found] == [
        ("192.0.2.1", 443), ("192.0.2.1", 80), ("192.0.2.1", 443), ("192.0.2.2", 443),
    ]  # fmt: skip
    assert sorted(asked[0] for asked in system.asked) == [b"app.test", b"other.test"]
    bench.run(lambda: resolver.resolve("app.test", 443, SECONDS))
    assert len(system.asked) == 3  # what came is not remembered: the next one asks again


def test_a_failure_reaches_all_who_wait(system: System, bench: Bench) -> None:
    resolver = bench.reactor.resolver
    system.gate.clear()

    async def work() -> list[object]:
        tasks = [asyncio.ensure_future(resolver.resolve("no.test", 80, SECONDS)) for _ in range(2)]
        await until(lambda: len(system.asked) == 1)
        system.gate.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    first, second = bench.run(work)
    assert isinstance(first, ResolveError) and isinstance(second, ResolveError) and first is not second


def test_a_resolver_that_hangs(system: System, bench: Bench) -> None:
    resolver = bench.reactor.resolver
    system.gate.clear()
    began = time.monotonic()
    with pytest.raises(ResolveError) as caught:
        bench.run(lambda: resolver.resolve("app.test", 443, 0.1))
    assert 0.09 < time.monotonic() - began < 2.0
    assert caught.value.timed_out
    assert str(caught.value) == "app.test could not be resolved (timed out)"

    async def again() -> Resolution:
        asked = asyncio.ensure_future(resolver.resolve("app.test", 443, SECONDS))
        await asyncio.sleep(0.02)
        system.gate.set()
        return await asked

    assert bench.run(again).addresses == APP
    assert len(system.asked) == 1  # the query that hung was joined, not begun anew


def test_no_more_threads_than_allowed(system: System, bench: Bench) -> None:
    resolver = Resolver(2)
    system.gate.clear()

    async def work() -> list[object]:
        tasks = [asyncio.ensure_future(resolver.resolve(f"{number}.test", 80, SECONDS)) for number in range(6)]
        await until(lambda: system.at_work == 2)
        await asyncio.sleep(0.05)
        assert len(system.asked) == 2
        system.gate.set()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    assert all(isinstance(outcome, ResolveError) for outcome in bench.run(work))
    assert len(system.asked) == 6 and system.most_at_work == 2


def test_a_client_that_leaves(system: System, bench: Bench) -> None:
    """It is told at once, the others go on waiting, and a query that was not begun is never asked."""
    resolver = Resolver(1)
    system.gate.clear()
    outcomes: list[object] = []

    async def request(host: str) -> None:
        try:
            outcomes.append((await resolver.resolve(host, 443, SECONDS)).addresses)
        except ClientGone:
            outcomes.append("gone")

    async def work() -> None:
        first, second = bench.spawn(request("app.test")), bench.spawn(request("app.test"))
        await until(lambda: len(system.asked) == 1)
        queued = bench.spawn(request("other.test"))
        queued.throw(ClientGone())
        first.throw(ClientGone())
        assert outcomes == ["gone", "gone"] and first.done and queued.done and not second.done
        system.gate.set()
        await until(lambda: second.done)

    bench.run(work)
    assert outcomes == ["gone", "gone", APP]
    bench.run(lambda: asyncio.sleep(0.02))
    assert [asked[0] for asked in system.asked] == [b"app.test"]


def test_a_query_that_nobody_waits_for_is_joined_while_a_thread_is_at_work(system: System, bench: Bench) -> None:
    resolver = bench.reactor.resolver
    system.gate.clear()

    async def work() -> Resolution:
        left = asyncio.ensure_future(resolver.resolve("app.test", 443, SECONDS))
        await until(lambda: len(system.asked) == 1)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        joined = asyncio.ensure_future(resolver.resolve("app.test", 443, SECONDS))
        await asyncio.sleep(0.02)
        system.gate.set()
        return await joined

    assert bench.run(work).addresses == APP
    assert len(system.asked) == 1
