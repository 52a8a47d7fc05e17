"""Looking for what is kept: in the worker's hands, in the index, in the file; and the right to fetch what is not there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, final

from portico.cache.caching import HIT
from portico.cache.entry import Damaged
from portico.cache.index import CHECKED, EXISTS, STATUS_SHIFT
from portico.cache.policy.nginx import IGNORE_VARY, variant_of
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

    def at_hand(self, request: Request, store: Store, key: bytes, now: int) -> Entry | None:
        """The entry that this worker has open, of the variant that the request asks for."""
        entry = self._hand(store, key, now)
        if entry is None or not entry.meta.vary or self.one_variant:
            return entry
        variant = variant_of(entry.meta.vary, request.fields.names, request.fields.values)
        if variant == entry.meta.variant:
            return entry
        return self._hand(store, variant_name(key, entry.meta.family, variant), now)

    def _hand(self, store: Store, name: bytes, now: int) -> Entry | None:
        entry = store.at_hand(name, now)
        if self.rfc and entry is not None and store.index.valid(entry.row, entry.generation) != entry.times.valid:
            store.forget(name)  # another worker has had it confirmed: the age in our hands is not true any more
            return None
        return entry

    def look_up(self, request: Request, caching: Caching, now: int) -> Entry | None:
        """The entry in the index; whoever gets it gives it back. Sets the digest under which the answer belongs."""
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
        entry.give()
        caching.first, caching.second = digest(name)
        return self._open(caching, name, variant, now)

    def _open(self, caching: Caching, name: bytes, variant: bytes | None, now: int) -> Entry | None:
        store = caching.store
        first, second = caching.first, caching.second
        entry = self._hand(store, name, now)
        if entry is not None:
            entry.hold()
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
            caching.keep = False
            return None
        if entry is not None:
            entry.hold()
        return entry

    def damaged(self, caching: Caching, entry: Entry) -> None:
        """The file is not what it was when it was opened: as if it had not been there."""
        store = caching.store
        store.damaged(store.path_of(entry.first, entry.second), entry.first, entry.second, entry.generation)

    async def is_sound(self, caching: Caching, entry: Entry) -> bool:
        """Whether the body is what was stored. A long one that was not looked at since the start is read once, on a thread."""
        if entry.sound:
            return True
        store = caching.store
        flags, _ = store.index.look(entry.first, entry.second)
        if flags & CHECKED:
            entry.sound = True
            return True
        entry.hold()
        try:
            await asyncio.get_running_loop().run_in_executor(None, entry.check_body)
            store.check_done(entry)
        except Damaged:
            self.damaged(caching, entry)
            return False
        except OSError:
            return False
        finally:
            entry.give()
        return True

    # -- the right to fetch ------------------------------------------------------------------------------------------------

    def claim(self, request: Request, caching: Caching) -> bool:
        """Become the one who fetches the key; False: somebody else, who lives, does."""
        store = caching.store
        now = int(request.reactor.now * 1000)
        age = int(self.settings.lock_age * 1000)
        other = store.index.claim(caching.first, caching.second, store.identity, now, age)
        if other and other != store.identity and not is_alive(other):
            store.index.release(caching.first, caching.second, other)
            other = store.index.claim(caching.first, caching.second, store.identity, now, age)
        caching.claimed = other == 0
        return caching.claimed
