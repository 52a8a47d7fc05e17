"""Slow passwords: hashed on a thread, so that the loop goes on, and what was right is remembered for a while.

A browser sends its password with every request, and a good scheme takes a tenth of a second for it. What is remembered is a hash
of name, password and stored password under a key of this process: it says nothing about the password outside of this process, and
no longer fits when the user file changes. What was wrong is not remembered. Requests with the same credentials wait for one and
the same hashing; one that nobody waits for any more is not begun, so that clients who come and go do not keep others waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final, final

from portico.features.auth_basic.passwords import verify

REMEMBERED_SECONDS: Final = 60.0
MOST_REMEMBERED: Final = 4096
_THREADS: Final = 2


@final
class Hashing:
    """One password being hashed, and how many requests wait for it."""

    def __init__(self, tag: bytes, future: asyncio.Future[bool]) -> None:
        self.tag = tag
        self.future = future
        self.waiting = 0


@final
class Verifier:
    """One worker's."""

    def __init__(self) -> None:
        self._key: bytes = b""  # made when first used, in the worker: each process has its own
        self._right: dict[bytes, float] = {}  # tag → until when
        self._running: dict[bytes, Hashing] = {}
        self._threads: ThreadPoolExecutor | None = None

    def tag(self, user: bytes, password: bytes, stored: bytes) -> bytes:
        """Return what stands for these credentials. No two can be confused: neither name nor stored password has a colon."""
        if not self._key:
            self._key = os.urandom(32)
        return hashlib.blake2b(user + b":" + stored + b":" + password, key=self._key, digest_size=16).digest()

    def remembers(self, tag: bytes, now: float) -> bool:
        """Return whether these credentials were right a short while ago."""
        until = self._right.get(tag)
        if until is None:
            return False
        if until > now:
            return True
        del self._right[tag]
        return False

    def begin(self, tag: bytes, password: bytes, stored: bytes, now: float) -> Hashing:
        """Return the hashing to wait for: its future says whether the password is right, or raises CryptError. Then `leave`."""
        running = self._running.get(tag)
        if running is None:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "password")
            running = Hashing(tag, asyncio.get_running_loop().run_in_executor(self._threads, verify, password, stored))
            self._running[tag] = running
            made = running
            running.future.add_done_callback(lambda done: self._finished(made, done, now))
        running.waiting += 1
        return running

    def leave(self, hashing: Hashing) -> None:
        """Wait no more."""
        hashing.waiting -= 1
        if not hashing.waiting and not hashing.future.done():
            self._forget(hashing)
            hashing.future.cancel()

    def _forget(self, hashing: Hashing) -> None:
        if self._running.get(hashing.tag) is hashing:
            del self._running[hashing.tag]

    def _finished(self, hashing: Hashing, done: asyncio.Future[bool], now: float) -> None:
        self._forget(hashing)
        if done.cancelled() or done.exception() is not None or not done.result():
            return
        if len(self._right) >= MOST_REMEMBERED:
            del self._right[next(iter(self._right))]  # the oldest
        self._right[hashing.tag] = now + REMEMBERED_SECONDS

    def stop(self) -> None:
        """End with the worker: begin nothing more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


