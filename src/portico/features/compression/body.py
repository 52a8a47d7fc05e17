"""Compressed bodies.

    source.take() ──► step by step through the coder ──► what is sent
        None (nothing there yet) ──► flush, when somebody may wait for what there is
        b"" (the end)            ──► finish

When the turn is over `take` says None, and `wait` lets the others have theirs. What a library may brood over for long goes to a
thread: then `wait` is for that. One piece is under way at a time, so nothing heaps up when the client is slow.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, final

from portico.features.compression.codings import Coder, Coding
from portico.features.compression.forms import Form, FormKey, Forms
from portico.http.errors import ALERT, BodyCutShort, HTTPError
from portico.http.feature import WorkerHook
from portico.http.response import BYTES, STREAM, Body

if TYPE_CHECKING:
    from portico.net.reactor import Reactor
    from portico.net.transport import Transport

_TURN: Final = 0.002  # seconds of work, then others have their turn
_PIECE: Final = 32768  # what comes out is sent in pieces of at least this, unless it is all there is for now
_THREAD_PIECE: Final = 65536
_THREADS: Final = 2
_LARGE: Final = 262144  # a form longer than this is sent in parts


@final
class Threads(WorkerHook):
    """The threads of one worker on which slow codings work; started when first needed."""

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
    """A piece of work for a coder."""

    def __init__(self, coder: Coder, data: bytes, flush: bool, finish: bool) -> None:
        self.coder = coder
        self.data = data
        self.flush = flush
        self.finish = finish

    def run(self) -> bytes:
        """What comes out."""
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
    """What a coding makes of `source`, which it owns. `length` is the source's, -1 when unknown."""

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
        self.job: asyncio.Future[bytes] | None = None
        self.held: bytes = b""  # taken from the source, not compressed yet
        self.unflushed = False
        self.read = False  # the source has come to its end
        self.finished = False
        self.tired = False
        self.forms: Forms | None = None  # where the whole is to be kept, by `key`
        self.key: FormKey | None = None
        self.kept: list[bytes] = []

    def keep(self, forms: Forms, key: FormKey) -> None:
        """Keep what is made, when it is whole."""
        self.forms = forms
        self.key = key

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
        """The next piece, by as many steps as it takes or time allows."""
        out: list[bytes] = []
        size = 0
        step = self.coding.step
        while True:
            data = self.held
            if not data:
                taken = None if self.read else self._from_source()
                if taken is None:
                    if not self.read and self.flushes and self.unflushed:
                        self.unflushed = False
                        out.append(self.coder.flush())
                    elif self.read:
                        self.finished = True
                        out.append(self.coder.finish())
                    return b"".join(out) or None
                data = taken
            if len(data) > step:
                self.held = data[step:]
                data = data[:step]
            else:
                self.held = b""
            self.unflushed = True
            made = self.coder.feed(data)
            if made:
                out.append(made)
                size += len(made)
            self.tired = time.monotonic() - self.reactor.now > _TURN
            if self.tired or size >= _PIECE:
                break
        return b"".join(out) or None

    def _taken_on_thread(self) -> bytes | None:
        job = self.job
        if job is not None:
            if not job.done():
                return None
            self.job = None
            self.finished = self.read
            made = job.result()
            if made or self.finished:
                return made
        waiting = False
        while not self.read and not waiting and len(self.held) < _THREAD_PIECE:
            taken = self._from_source()
            if taken is None:
                waiting = not self.read
            else:
                self.held += taken
        flush = waiting and self.flushes and (self.unflushed or bool(self.held))
        if not self.read and not flush and len(self.held) < _THREAD_PIECE:
            return None
        step = Step(self.coder, self.held, flush, self.read)
        self.held = b""
        self.unflushed = not flush
        if self.read and self.before <= self.coding.at_once:
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
        forms = self.forms
        if forms is None or self.key is None:
            return
        if not forms.takes(self.after):
            self.forms = None
            self.kept = []
            return
        self.kept.append(made)
        if self.finished:
            forms.put(self.key, Form(b"".join(self.kept), self.before))
            self.forms = None
            self.kept = []

    async def wait(self) -> None:
        if self.job is not None:
            await self.job
        elif self.tired:
            self.tired = False
            await self.reactor.turn()
        else:
            await self.source.wait()

    async def absorb(self, client: Transport, seconds: float) -> None:
        await self.source.absorb(client, seconds)

    def close(self) -> None:
        self.finished = True
        self.held = b""
        self.kept = []
        self.forms = None
        self.source.close()


def compressed_at_once(source: Body, coding: Coding, length: int) -> Form:
    """The whole of a short body that is at hand. Closes the source. Raises HTTPError when that is not what it said it was."""
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
