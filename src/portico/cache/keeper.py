"""A cache's upkeep: load what is stored at the start, evict what nobody requests, keep within the limits.

One worker at a time does it for all, in short turns of its loop (nginx has two processes for it, the cache manager and the cache
loader). Which one says the index's lease: it passes on when that worker ends, leaves, dies or hangs (`zones/lease.py`).
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, final

from portico.cache.draft import remove_file, remove_leftover, remove_leftovers
from portico.cache.index import Removed
from portico.cache.store import digest_of_name
from portico.zones.owner import is_alive

if TYPE_CHECKING:
    from portico.cache.store import Store

_LOOK_SECONDS: Final = 1.0
_LEASE_SECONDS: Final = 30.0
_REST_SECONDS: Final = 10.0  # between two rounds when there was nothing to do (ngx_http_file_cache_manager)
_PAUSE: Final = 0.001
_ROWS_AT_ONCE: Final = 5000  # less than a millisecond
_TURN: Final = 0.004  # seconds that a turn may hold the loop, whatever loader_threshold and manager_threshold allow


@final
class Keeper:
    """Looks after one cache, in one of the workers."""

    def __init__(self, store: Store, is_leaving: Callable[[], bool]) -> None:
        self.store = store
        self.is_leaving = is_leaving  # the worker shuts down gracefully, which can take long: another one shall do it
        self.ended = False
        self._next_look = 0.0  # by the monotonic clock, which is never set back

    async def run(self) -> None:
        """Look after the cache in turns, until the worker ends."""
        store = self.store
        settings = store.settings
        if settings.use_temp_path or settings.levels:  # else it is the directory of all entries
            remove_leftovers(store.drafts_path())
        while not self.ended and not self.is_leaving():
            if self._goes_on():
                if not store.index.is_loaded():
                    await self._load()
                await self._tidy()
            await asyncio.sleep(_LOOK_SECONDS)
        self.leave()

    def leave(self) -> None:
        """Let another worker do it. Safe to call twice."""
        self.ended = True
        self.store.index.lease.release(self.store.identity)

    def _goes_on(self) -> bool:
        """Return whether it is for this worker to do the next part; acquire or renew the lease for it."""
        if self.ended or self.is_leaving():
            return False
        settings = self.store.settings
        seconds = _LEASE_SECONDS + max(settings.loader_sleep, settings.manager_sleep)
        return self.store.index.lease.acquire(self.store.identity, seconds)

    async def _load(self) -> None:
        """Insert the files of the directory into the index; remove what a dead worker left half written."""
        settings = self.store.settings
        files = _files(settings.path, settings.others)
        done = False
        while not done and self._goes_on():
            until = time.monotonic() + min(settings.loader_threshold, _TURN)
            for _ in range(settings.loader_files):
                path = next(files, "")
                if not path:
                    done = True
                    break
                self._found(path)
                if time.monotonic() >= until:
                    break
            if not done:
                await asyncio.sleep(settings.loader_sleep)
        if done:
            self.store.index.set_loaded()

    def _found(self, path: str) -> None:
        """Insert one file into the index, or remove it where it cannot be an entry of this cache."""
        name = os.path.basename(path)
        key = digest_of_name(name)
        if key is None:
            remove_leftover(path, name)
            return
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            return
        if not stat.S_ISREG(status.st_mode) or path != self.store.path_of(key[0], key[1]) or not self.store.index.load(
            key[0], key[1], self.store.room_of(status.st_size), int(time.time())
        ):
            remove_file(path)  # not a regular file, of other levels, or more than the index has room for

    async def _tidy(self) -> None:
        """Evict what is inactive or over the limits, when a round is due."""
        store = self.store
        settings = store.settings
        if time.monotonic() < self._next_look:
            return
        now = time.time()
        while self._goes_on():
            removed = store.index.oldest(int(now) - settings.inactive, settings.manager_files)
            if not removed:
                removed = self._over_limits()
            await self._remove(removed)
            if not await self._release_dead() and len(removed) < settings.manager_files:
                break
            await asyncio.sleep(settings.manager_sleep)
        self._next_look = time.monotonic() + min(_REST_SECONDS, max(1.0, settings.inactive / 4.0))

    async def _release_dead(self) -> bool:
        """Release the claims of dead workers that prevented entries from being evicted; return whether there were any."""
        index = self.store.index
        dead = {owner for owner in index.blocking_owners() if not is_alive(owner)}
        start = 0
        while dead:
            start = index.release_dead(dead, start, _ROWS_AT_ONCE)
            if start == 0:
                return True
            await asyncio.sleep(_PAUSE)
        return False

    def _over_limits(self) -> list[Removed]:
        """Return entries evicted to meet `max_size` or `min_free`."""
        settings = self.store.settings
        index = self.store.index
        if settings.max_size and index.size() > settings.max_size:
            return index.shrink(settings.max_size, settings.manager_files)
        if settings.min_free:
            try:
                disk = os.statvfs(settings.path)
            except OSError:
                return []
            missing = settings.min_free - disk.f_bavail * disk.f_frsize
            if missing > 0:
                return index.shrink(max(0, index.size() - missing), settings.manager_files)
        return []

    async def _remove(self, removed: list[Removed]) -> None:
        """Remove the files of evicted entries, in short turns."""
        turn = min(self.store.settings.manager_threshold, _TURN)
        until = time.monotonic() + turn
        for gone in removed:
            self.store.remove_files([gone])
            if time.monotonic() >= until:
                await asyncio.sleep(_PAUSE)
                until = time.monotonic() + turn


def _files(path: str, others: list[str]) -> Iterator[str]:
    """Yield every file below a directory, but for those of other caches inside it."""
    pending = [path]
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(directory) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        if entry.path not in others:
                            pending.append(entry.path)
                    else:
                        yield entry.path
        except OSError:
            continue
