"""Addresses of hosts: the one place that asks for them.

The question has two forms:

    resolve_blocking(host, port)                              while a configuration is loaded
    await reactor.resolver.resolve(host, port, seconds)       in a worker

Both ask the system's resolver, getaddrinfo(3), which blocks: a worker asks it on a few threads of its own. Requests that need the
same host at the same time share one query. A query for which nobody waits any more is taken back unless a thread is at work on it;
then it stays known, so that clients who come and go cannot occupy all threads with one host.

Addresses keep the order that the system's resolver gives them (RFC 6724), as in nginx. What a caller sees, `Resolution` and
`ResolveError`, says nothing about how the question was asked.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeAlias, final

from portico.config.values import octets

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]  # as socket.connect() takes it; of IPv6 with flow and scope

RESOLVE_SECONDS: Final = 30.0  # nginx: resolver_timeout
_THREADS: Final = 8


@final
class Resolution:
    """The addresses of a host, each with its family, in the order in which to try them.

    `ttl`: for how many seconds they hold; None where that is not known, as the system's resolver does not tell.
    """

    def __init__(self, addresses: list[tuple[int, SocketAddress]], ttl: float | None) -> None:
        self.addresses = addresses
        self.ttl = ttl


@final
class ResolveError(Exception):
    """A host has no address that we know of. As text: `HOST could not be resolved (REASON)`."""

    def __init__(self, host: str, errno: int, strerror: str) -> None:
        super().__init__(host, errno, strerror)
        self.host = host
        self.errno = errno  # EAI_… of getaddrinfo(3) or an errno; 0 when there was no response in time
        self.strerror = strerror

    @property
    def timed_out(self) -> bool:
        """Return whether the resolver took too long: asking again may help."""
        return self.errno == 0

    @property
    def reason(self) -> str:
        """Return why, as Python words an OSError: `[Errno -2] Name or service not known`."""
        return f"[Errno {self.errno}] {self.strerror}" if self.errno else self.strerror

    def __str__(self) -> str:
        return f"{self.host} could not be resolved ({self.reason})"


def resolve_blocking(host: str, port: int, kind: int = socket.SOCK_STREAM) -> Resolution:
    """Return the addresses of `host`, a name or an address, for sockets of this kind. Raises ResolveError."""
    return _resolution(_ask(host, port, kind), port)


def _ask(host: str, port: int, kind: int) -> list[Any]:
    """Return what getaddrinfo(3) returns. Raises ResolveError."""
    if "\0" in host:  # no name has one, and the C library would ask for what stands before it
        raise ResolveError(host, socket.EAI_NONAME, "Name or service not known")
    try:
        return list(socket.getaddrinfo(octets(host), port, type=kind))
    except OSError as error:
        raise ResolveError(host, error.errno or socket.EAI_FAIL, error.strerror or str(error)) from None


def _resolution(found: list[Any], port: int) -> Resolution:
    addresses: list[tuple[int, SocketAddress]] = []
    for entry in found:
        address = entry[4]
        if entry[0] == socket.AF_INET6:
            addresses.append((int(entry[0]), (str(address[0]), port, int(address[2]), int(address[3]))))
        elif entry[0] == socket.AF_INET:
            addresses.append((int(entry[0]), (str(address[0]), port)))
    return Resolution(addresses, None)


def _literal(host: str, port: int) -> Resolution | None:
    """Return the address that `host` is already; None for a name, and for what only getaddrinfo(3) can read (a scope, `127.1`)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        text = socket.inet_ntop(family, socket.inet_pton(family, host))
    except (OSError, ValueError):  # ValueError: not ASCII
        return None
    address: SocketAddress = (text, port, 0, 0) if family == socket.AF_INET6 else (text, port)
    return Resolution([(int(family), address)], None)


@final
class _Query:
    """One host that is being asked for, and who waits. A waiter's result is True when the query is over, False when its time is."""

    def __init__(self, host: str, loop: asyncio.AbstractEventLoop) -> None:
        self.host = host
        self.loop = loop
        self.waiters: list[asyncio.Future[bool]] = []
        self.job: Future[None] | None = None
        self.found: list[Any] = []
        self.failure: ResolveError | None = None

    def run(self) -> None:
        """Ask, on a thread."""
        try:
            self.found = _ask(self.host, 0, socket.SOCK_STREAM)
        except ResolveError as error:
            self.failure = error
        except Exception as defect:  # or those who wait would wait until their time is over
            self.failure = ResolveError(self.host, socket.EAI_FAIL, f"{type(defect).__name__}: {defect}")


@final
class Resolver:
    """Asks for hosts without blocking the worker that it belongs to."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._max_threads = threads
        self._threads: ThreadPoolExecutor | None = None  # made at the first question, in the worker
        self._queries: dict[str, _Query] = {}

    async def resolve(self, host: str, port: int, seconds: float) -> Resolution:
        """Return the addresses of `host`, a name or an address, within `seconds`.

        Raises ResolveError, and whatever is thrown into the coroutine while it waits, such as ClientGone.
        """
        literal = _literal(host, port)
        if literal is not None:
            return literal
        query = self._queries.get(host)
        if query is None:
            query = self._begin(host)
        loop = query.loop
        waiter: asyncio.Future[bool] = loop.create_future()
        query.waiters.append(waiter)
        timer = loop.call_later(seconds, _wake, waiter, False)
        try:
            in_time = await waiter
        finally:
            timer.cancel()
            self._leave(query, waiter)
        if not in_time:
            raise ResolveError(host, 0, "timed out")
        failure = query.failure
        if failure is not None:  # each of those who wait gets its own
            raise ResolveError(host, failure.errno, failure.strerror)
        return _resolution(query.found, port)

    def _begin(self, host: str) -> _Query:
        query = _Query(host, asyncio.get_running_loop())
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._max_threads, "resolver")
        self._queries[host] = query
        query.job = self._threads.submit(self._work, query)
        return query

    def _work(self, query: _Query) -> None:
        """Run on a thread: ask, and have the worker's loop tell those who wait."""
        query.run()
        query.loop.call_soon_threadsafe(self._finish, query)  # raises, and nobody hears of it, where the worker has ended meanwhile

    def _finish(self, query: _Query) -> None:
        self._forget(query)
        for waiter in query.waiters:
            _wake(waiter, True)

    def _leave(self, query: _Query, waiter: asyncio.Future[bool]) -> None:
        """Wait no more. The last one who leaves takes back a query that no thread has begun."""
        query.waiters.remove(waiter)
        if not query.waiters and query.job is not None and query.job.cancel():
            self._forget(query)

    def _forget(self, query: _Query) -> None:
        if self._queries.get(query.host) is query:
            del self._queries[query.host]


def _wake(waiter: asyncio.Future[bool], in_time: bool) -> None:
    if not waiter.done():
        waiter.set_result(in_time)
