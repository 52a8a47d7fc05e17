"""Looking entries up: in the worker's memory, in the index, in the file; and the right to fetch what is not there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, final

from portico.cache.caching import HIT
from portico.cache.entry import Damaged
from portico.cache.index import CHECKED, EXISTS, STATUS_SHIFT
from portico.cache.policy.ignored import IGNORE_VARY
from portico.cache.policy.nginx import variant_of
from portico.cache.store import digest, variant_name
from portico.http.errors import HTTPError
from portico.zones.owner import is_alive

if TYPE_CHECKING:
    from portico.cache.caching import Caching
    from portico.cache.entry import Entry
    from portico.cache.store import Store
    from portico.http.request import Request
    from portico.passing.cached.settings import CacheSettings


@final
class Finder:
    """Finds entries for one location."""

    def __init__(self, settings: CacheSettings, ignore: int) -> None:
        self.settings = settings
        self.rfc = settings.rfc
        self.one_variant = ignore & IGNORE_VARY != 0

    def in_memory(self, request: Request, store: Store, key: bytes, now: int) -> Entry | None:
        """Return the entry that this worker has in memory, of the variant that the request asks for; None: it has none."""
        entry = self._in_memory(store, key, now)
        if entry is None or not entry.meta.vary or self.one_variant:
            return entry
        variant = variant_of(entry.meta.vary, request.fields.names, request.fields.values)
        if variant == entry.meta.variant:
            return entry
        return self._in_memory(store, variant_name(key, entry.meta.family, variant), now)

    def _in_memory(self, store: Store, name: bytes, now: int) -> Entry | None:
        entry = store.in_memory(name, now)
        if self.rfc and entry is not None and store.index.valid(entry.row, entry.generation) != entry.times.valid:
            store.forget(name)  # another worker has revalidated it: the age in our memory is not true any more
            return None
        return entry

    def look_up(self, request: Request, caching: Caching, now: int) -> Entry | None:
        """Return the entry in the index, acquired for the caller; None: there is none.

        Sets the digest under which the response is stored. Raises HTTPError for a failure that is stored in place of a response.
        """
        key = caching.key
        caching.vary = b""
        caching.first, caching.second = caching.main_first, caching.main_second
        entry = self._open(caching, key, None, now)
        if entry is None or not entry.meta.vary or self.one_variant:
            return entry
        caching.family = entry.meta.family
        variant = variant_of(entry.meta.vary, request.fields.names, request.fields.values)
        if variant == entry.meta.variant:
            return entry
        caching.vary = entry.meta.vary
        name = variant_name(key, entry.meta.family, variant)
        entry.release()
        caching.first, caching.second = digest(name)
        return self._open(caching, name, variant, now)

    def _open(self, caching: Caching, name: bytes, variant: bytes | None, now: int) -> Entry | None:
        """Return the entry of the digest in `caching`, acquired for the caller. `name`: by which the worker has it in memory."""
        store = caching.store
        first, second = caching.first, caching.second
        entry = self._in_memory(store, name, now)
        if entry is not None:
            entry.acquire()
            return entry
        loaded = store.index.is_loaded()
        row, flags, generation, caching.uses, removed = store.index.use(first, second, now)
        if removed is not None:
            store.remove_files([removed])
        if not flags & EXISTS:
            if flags >> STATUS_SHIFT and store.index.failing(row) >= now:
                caching.status = HIT
                raise HTTPError(flags >> STATUS_SHIFT)
            if loaded or not store.exists_unknown(first, second, now):
                return None
            row, flags, generation, _, _ = store.index.use(first, second, now)
        try:
            entry = store.read(name, caching.key, variant, first, second, row, generation)
        except OSError as error:
            store.unreadable(error)
            caching.may_store = False
            return None
        if entry is not None:
            entry.acquire()
        return entry

    def damaged(self, caching: Caching, entry: Entry) -> None:
        """Drop an entry whose file is not what it was when it was opened."""
        store = caching.store
        store.damaged(store.path_of(entry.first, entry.second), entry.first, entry.second, entry.generation)

    async def is_sound(self, caching: Caching, entry: Entry) -> bool:
        """Return whether the body is what was stored. A long one that was not checked since the start is read once, on a thread."""
        if entry.sound:
            return True
        store = caching.store
        flags, _ = store.index.look(entry.first, entry.second)
        if flags & CHECKED:
            entry.sound = True
            return True
        entry.acquire()
        try:
            await asyncio.get_running_loop().run_in_executor(None, entry.check_body)
            store.check_done(entry)
        except Damaged:
            self.damaged(caching, entry)
            return False
        except OSError:
            return False
        finally:
            entry.release()
        return True

    # -- the right to fetch ------------------------------------------------------------------------------------------------

    def claim(self, request: Request, caching: Caching) -> bool:
        """Acquire the right to fetch the key; return False when another worker, which lives, has it."""
        store = caching.store
        now = int(request.reactor.now * 1000)
        age = int(self.settings.lock_age * 1000)
        other = store.index.claim(caching.first, caching.second, store.identity, now, age)
        if other and other != store.identity and not is_alive(other):
            store.index.release(caching.first, caching.second, other)
            other = store.index.claim(caching.first, caching.second, store.identity, now, age)
        caching.claimed = other == 0
        return caching.claimed
