"""`*_cache_purge`: removes a part of a cache, by key, by the beginning of keys, or by tag."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, final

from portico.cache.entry import Damaged, open_entry
from portico.cache.store import Store, digest
from portico.http.errors import HTTPError
from portico.http.handler import Handler
from portico.http.response import EMPTY, Response
from portico.variables.template import Template, any_set

if TYPE_CHECKING:
    from portico.cache.index import Removed
    from portico.http.request import Request
    from portico.net.reactor import Reactor
    from portico.passing.cached.handler import CachedProxy

_ROWS_AT_ONCE: Final = 256
_TURN: Final = 0.004  # seconds that a purge may hold the loop (cache/keeper.py)


@final
class PurgeHandler(Handler):
    """`*_cache_purge`, in front of the cache."""

    def __init__(self, cached: CachedProxy, conditions: list[Template]) -> None:
        self.is_async = True
        self.cached = cached
        self.conditions = conditions

    async def handle_async(self, request: Request) -> Response | None:
        if not any_set(self.conditions, request):
            return await self.cached.handle_async(request)
        store = self.cached.keys.store_of(request)
        if store is None:
            raise HTTPError(404)
        tags = [
            tag for name in (b"cache-tag", b"surrogate-key") for value in request.fields.get_all(name)
            for tag in value.replace(b",", b" ").split()
        ]  # fmt: skip
        await self.cached.proxy.read_body(request)
        key = self.cached.keys.key_of(request)
        if tags:
            found = await _purge_all(request.reactor, store, b"", tags)
        elif key.endswith(b"*"):
            found = await _purge_all(request.reactor, store, key[:-1], [])
        else:
            found = _purge_key(store, key)
        if not found:
            raise HTTPError(404)
        return Response(204, EMPTY)

    def describe(self) -> str:
        return f"{self.cached.describe()} that can be purged"


def _purge_key(store: Store, key: bytes) -> bool:
    """Remove the key's entry. Without it nobody knows the names of its other variants, which go when they are inactive."""
    first, second = digest(key)
    return store.purge(first, second)


async def _purge_all(reactor: Reactor, store: Store, prefix: bytes, tags: list[bytes]) -> bool:
    """Look through all files, a few at a time, and remove those whose key begins with `prefix` or that have one of the tags.

    Return whether there were any.
    """
    while not store.index.is_loaded():
        await asyncio.sleep(0.05)
    store.index.note_purge()
    found = False
    start = 0
    until = time.monotonic() + _TURN
    while True:
        rows, start = store.index.keys(start, _ROWS_AT_ONCE)
        for row in rows:
            if _is_meant(store, row, prefix, tags) and store.purge(row.first, row.second):
                found = True
            if time.monotonic() >= until:
                await reactor.turn()
                until = time.monotonic() + _TURN
        if start == 0:
            return found


def _is_meant(store: Store, row: Removed, prefix: bytes, tags: list[bytes]) -> bool:
    """Return whether an entry has one of the tags, or without tags whether its key begins with `prefix`."""
    try:
        entry = open_entry(store.path_of(row.first, row.second))
    except Damaged:
        return False  # it is never served
    except OSError:
        return True  # no descriptors left, for example: it might be, and what was purged must not come back
    if entry is None:
        return False
    meta = entry.meta
    entry.close()
    if tags:
        own = meta.tags.split()
        return any(tag in own for tag in tags)
    return meta.key.startswith(prefix)
