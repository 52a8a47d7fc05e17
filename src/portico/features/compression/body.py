"""Compressed bodies.

    source.take() ──► step by step through the coder ──► what is sent
        None (nothing there yet) ──► flush, when somebody may wait for what there is
        b"" (the end)            ──► finish

When the turn is over `take` says None, and `wait` lets the others have theirs. What a library may brood over for long goes to a
thread: then `wait` is for that. One piece is under way at a time, so nothing heaps up when the client is slow.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ALERT
from portico.features.compression.codings import Coder, Coding
from portico.features.compression.forms import Form, Forming
from portico.http.errors import BodyCutShort, HTTPError
from portico.http.response import BYTES, STREAM, Body
from portico.net.reactor import ClientFailed
from portico.worker.hook import WorkerHook

if TYPE_CHECKING:
    from portico.http.server.stream import ClientStream
    from portico.net.reactor import Reactor

_TURN: Final = 0.002  # seconds of work, then others have their turn
_PIECE: Final = 32768  # what comes out is sent in pieces of at least this, unless it is all there is for now
_THREAD_PIECE: Final = 65536
_THREADS: Final = 2
_LARGE: Final = 262144  # a form longer than this is sent in parts


@final
class Threads(WorkerHook):
    """The threads of one worker on which slow content encodings work; started when first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, step: Step) -> asyncio.Future[bytes]:
        """Have a step done."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "compression")
        return asyncio.get_running_loop().run_in_executor(self._pool, step.run)

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


@final
class Step:
    """A piece of work for a coder. By the time that a thread has come to it, `client` may have left."""

    def __init__(self, coder: Coder, data: bytes, flush: bool, finish: bool, client: ClientStream | None) -> None:
        self.coder = coder
        self.data = data
        self.flush = flush
        self.finish = finish
        self.client = client

    def run(self) -> bytes:
        """Return what comes out. Raises ClientFailed when nobody wants it any more."""
        if self.client is not None and self.client.is_broken():
            raise ClientFailed(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        out = self.coder.feed(self.data) if self.data else b""
        if self.finish:
            return out + self.coder.finish()
        return out + self.coder.flush() if self.flush else out


class CompressedSource(Body):
    """A body that can tell how it was compressed, for `$gzip_ratio` and its kin."""

    def __init__(self, kind: int, length: int, coding: Coding) -> None:
        self.kind = kind
        self.length = length
        self.coding = coding
        self.before = 0  # bytes
        self.after = 0


@final
class FormBody(CompressedSource):
    """A compressed form as a whole."""

    def __init__(self, form: Form, coding: Coding, counted: bool) -> None:
        content = form.content
        self.kind = BYTES if len(content) <= _LARGE else STREAM
        self.length = len(content) if counted else -1
        self.coding = coding
        self.before = form.original
        self.after = len(content)
        self._content = content
        self._at = 0

    def take(self) -> bytes | None:
        start = self._at
        end = min(start + _LARGE, len(self._content))
        self._at = end
        return self._content if start == 0 and end == len(self._content) else self._content[start:end]

    async def wait(self) -> None:
        return


@final
class CompressedBody(CompressedSource):
    """What a content encoding makes of `source`, which it owns. `length` is the source's, -1 when unknown."""

    def __init__(self, source: Body, coding: Coding, length: int, flushes: bool, reactor: Reactor, threads: Threads | None) -> None:
        self.kind = STREAM
        self.length = -1
        self.coding = coding
        self.before = 0
        self.after = 0
        self.source = source
        self.coder = coding.make(length)
        self.expected = length
        self.flushes = flushes  # somebody may wait for what is there
        self.reactor = reactor
        self.threads = threads
        self.client: ClientStream | None = None  # who gets it
        self.job: asyncio.Future[bytes] | None = None
        self.held: bytes = b""  # taken from the source, compressed up to `at`
        self.at = 0
        self.unflushed = False
        self.read = False  # the source has come to its end
        self.ending = False  # the job is the last one
        self.finished = False
        self.tired = False
        self.forming: Forming | None = None  # the whole is to be stored

    def take(self) -> bytes | None:
        if self.finished:
            return b""
        if self.tired:
            return None
        out = self._taken_on_thread() if self.threads is not None else self._taken()
        if out:
            self._note(out)
        return out

    def _taken(self) -> bytes | None:
        """Return the next piece, by as many steps as it takes or time allows."""
        out: list[bytes] = []
        size = 0
        while True:
            if self.at == len(self.held):
                taken = None if self.read else self._from_source()
                if taken is None:
                    if not self.read and self.flushes and self.unflushed:
                        self.unflushed = False
                        out.append(self.coder.flush())
                    elif self.read:
                        self.finished = True
                        out.append(self.coder.finish())
                    return b"".join(out) or None
                self.held = taken
                self.at = 0
            self.unflushed = True
            made = self.coder.feed(self._next(self.coding.step))
            if made:
                out.append(made)
                size += len(made)
            self.tired = time.monotonic() - self.reactor.now > _TURN
            if self.tired or size >= _PIECE:
                break
        return b"".join(out) or None

    def _next(self, most: int) -> bytes:
        """At most so many of the bytes that are held: they may be a whole directory's listing."""
        held = self.held
        start = self.at
        end = start + most
        if end < len(held):
            self.at = end
            return held[start:end]
        self.held = b""
        self.at = 0
        return held[start:] if start else held

    def _taken_on_thread(self) -> bytes | None:
        job = self.job
        if job is not None:
            if not job.done():
                return None
            self.job = None
            self.finished = self.ending
            made = job.result()
            if made or self.finished:
                return made
        waiting = False
        while not self.read and not waiting and len(self.held) - self.at < _THREAD_PIECE:
            taken = self._from_source()
            if taken is None:
                waiting = not self.read
            else:
                self.held = self.held[self.at :] + taken
                self.at = 0
        left = len(self.held) - self.at
        flush = waiting and self.flushes and (self.unflushed or left > 0)
        if not self.read and not flush and left < _THREAD_PIECE:
            return None
        self.ending = self.read and left <= _THREAD_PIECE
        step = Step(self.coder, self._next(_THREAD_PIECE), flush, self.ending, self.client)
        self.unflushed = not flush
        if self.ending and self.before <= self.coding.at_once:
            self.finished = True
            return step.run()
        assert self.threads is not None
        self.job = self.threads.submit(step)
        return None

    def _from_source(self) -> bytes | None:
        """More of the source; None when nothing is there for now, or `read` is set. Raises BodyCutShort when its length is wrong."""
        data = self.source.take()
        if data is None:
            return None
        if not data:
            self.read = True
            if 0 <= self.expected != self.before:
                raise BodyCutShort
            return None
        self.before += len(data)
        if 0 <= self.expected < self.before:
            raise BodyCutShort
        return data

    def _note(self, made: bytes) -> None:
        """Count, and keep."""
        self.after += len(made)
        forming = self.forming
        if forming is None:
            return
        if not forming.add(made):
            self.forming = None
        elif self.finished:
            self.forming = None
            forming.finish(self.before)

    async def wait(self) -> None:
        if self.job is not None:
            await self.job
        elif self.tired:
            self.tired = False
            await self.reactor.turn()
        else:
            await self.source.wait()

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        await self.source.absorb(client, seconds)

    def close(self) -> None:
        self.finished = True
        if self.job is not None:
            self.job.cancel()  # nobody wants it: what others want does not wait for it
            self.job = None
        self.held = b""
        self.at = 0
        if self.forming is not None:
            self.forming.give_up()
            self.forming = None
        self.source.close()


def compressed_at_once(source: Body, coding: Coding, length: int) -> Form:
    """Return the whole of a short body in memory. Closes the source. Raises HTTPError when its length is not the one that it gave."""
    coder = coding.make(length)
    out: list[bytes] = []
    read = 0
    try:
        while read <= length:
            data = source.take()
            if not data:
                break
            read += len(data)
            if read <= length:
                out.append(coder.feed(data))
    finally:
        source.close()
    if read != length:
        raise HTTPError(500, f"a body of {length} bytes came to {read}: its file was changed while it was read", ALERT)
    out.append(coder.finish())
    return Form(b"".join(out), length)
