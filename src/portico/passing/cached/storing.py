"""Storing responses of the upstream: whether, where, for how long; and what a 304 makes of what is stored."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, final

from portico.cache.caching import BYPASS
from portico.cache.entry import Damaged, Entry, Meta, Times, open_entry
from portico.cache.fill import Fill
from portico.cache.policy.nginx import Verdict, judge, variant_of
from portico.cache.policy.rfc9111 import differs, is_refreshed_by, merged, without_fields
from portico.cache.policy.rfc9111 import judge as judge_rfc
from portico.codec.http1_response import ResponseHead, parse_response_head
from portico.http.request import SLICES
from portico.passing.cached.responses import head_of
from portico.passing.hook import Sink
from portico.variables.template import any_set

if TYPE_CHECKING:
    from portico.cache.caching import Caching
    from portico.cache.store import Store
    from portico.http.request import Request
    from portico.passing.cached.settings import CacheSettings
    from portico.worker.runtime import Runtime

_TAGS: Final = (b"cache-tag", b"surrogate-key")
_FAMILY: Final = 8  # bytes
_COPIED_AT_ONCE: Final = 1 << 20  # bytes of body; a longer one is copied on a thread, and not for a new Date alone


@final
class Caches:
    """The caches of one configuration by the names of their zones."""

    def __init__(self) -> None:
        self.stores: dict[bytes, Store] = {}
        self.runtime: Runtime | None = None  # of this worker


@final
class CacheSink(Sink):
    """Passes a body on to a fill. A disk that fails ends the storing, not the response; so does a body larger than the cache."""

    def __init__(self, fill: Fill) -> None:
        self.fill = fill

    def write(self, data: bytes) -> None:
        fill = self.fill
        if fill.over:
            return
        most = fill.store.settings.max_size
        if most and fill.length + len(data) > most:
            fill.abort()
            return
        try:
            fill.write(data)
        except OSError as error:
            self.failed(error)

    def finish(self) -> None:
        try:
            self.fill.finish()
        except OSError as error:
            self.failed(error)

    def abort(self) -> None:
        self.fill.abort()

    def is_wanted(self) -> bool:
        return not self.fill.over

    def failed(self, error: OSError) -> None:
        """Store no more of it, and log why."""
        self.fill.abort()
        path = self.fill.store.settings.path
        self.fill.store.complain(f'a response cannot be stored in the cache "{path}" ({error.errno}: {error.strerror})')


@final
class CacheWriter:
    """Stores the responses of one location. `buffer_size`: bytes that a header section may have."""

    def __init__(self, settings: CacheSettings, caches: Caches, ignore: int, buffer_size: int) -> None:
        self.settings = settings
        self.caches = caches
        self.rfc = settings.rfc
        self.ignore = ignore
        self.buffer_size = buffer_size

    def _verdict(self, request: Request, caching: Caching, head: ResponseHead, now: int) -> Verdict:
        """Return whether and for how long a response may be stored; `valid` is 0 when nothing says for how long."""
        if self.rfc:
            return judge_rfc(
                head, caching.asked_at, now, self.ignore, self.settings.valid_for(head.status),
                b"authorization" in request.fields.first, SLICES.of(request) is not None,
            )  # fmt: skip
        verdict = judge(head, now, self.ignore)
        self._apply_default(verdict, head.status, now)
        return verdict

    def _apply_default(self, verdict: Verdict, status: int, now: int) -> None:
        """Let `proxy_cache_valid` say for how long a response is fresh that does not say so itself."""
        if not verdict.valid:
            seconds = self.settings.valid_for(status)
            verdict.valid = now + seconds if seconds else 0

    # -- a new response --------------------------------------------------------------------------------------------------

    def sink(self, request: Request, caching: Caching, head: ResponseHead) -> Sink | None:
        """Return what stores the body of a response; None when it may not be stored."""
        if not caching.may_store or caching.uses < self.settings.min_uses or head.status in (101, 304):
            return None
        if self.rfc and caching.asked_with_head:
            return None
        if 0 < caching.store.settings.max_size < head.content_length:
            return None  # all others would be evicted for it, and then it
        if self.settings.no_cache and any_set(self.settings.no_cache, request):
            return None
        now = int(request.reactor.wall())
        verdict = self._verdict(request, caching, head, now)
        if not verdict.may_store or not verdict.valid:
            return None
        if caching.vary and verdict.vary != caching.vary:
            caching.release_claim()  # what was a variant is the key's own response from now on
            caching.first, caching.second = caching.main_first, caching.main_second
            caching.family = b""
        raw = without_fields(head, verdict.withheld) if verdict.withheld else head.raw
        return self._begin(request, caching, head, verdict, raw, now)

    def _begin(
        self, request: Request, caching: Caching, head: ResponseHead, verdict: Verdict, raw: bytes, now: int
    ) -> Sink | None:
        """Return a sink whose file has its header section; None when it cannot be written."""
        variant = variant_of(verdict.vary, request.fields.names, request.fields.values) if verdict.vary else b""
        family = (caching.family or self._family(caching)) if verdict.vary else b""
        fill = Fill(caching.store, caching.first, caching.second, caching.purges, caching.claimed)
        sink = CacheSink(fill)
        try:
            fill.begin(Meta(caching.key, verdict.vary, variant, _tags(head), raw, family), _times(verdict, now))
        except OSError as error:
            sink.failed(error)
            return None
        caching.fill = fill
        return sink

    def _family(self, caching: Caching) -> bytes:
        """Return the family of the key's entry that a bypass has not looked for, so that its other variants stay; else a new one."""
        store = caching.store
        try:
            entry = open_entry(store.path_of(caching.main_first, caching.main_second)) if caching.status == BYPASS else None
        except (Damaged, OSError):
            entry = None
        if entry is None:
            return os.urandom(_FAMILY)
        entry.close()
        same = entry.meta.key == caching.key and entry.meta.family
        return entry.meta.family if same else os.urandom(_FAMILY)

    def intercepted(self, request: Request, caching: Caching, head: ResponseHead) -> None:
        """Store the status of a response whose place an error page takes, for as long as the response itself might be."""
        now = int(request.reactor.wall())
        verdict = self._verdict(request, caching, head, now)
        if verdict.may_store and verdict.valid >= now and not (self.rfc and verdict.vary):  # it is the same for whoever asks
            self._store_status(request, caching, head.status, verdict.valid, now)

    def store_failure(self, request: Request, caching: Caching, status: int) -> None:
        """Store the status of an error that no upstream has sent (502, 504), for as long as `proxy_cache_valid` says."""
        seconds = self.settings.valid_for(status)
        if not seconds or (self.rfc and b"authorization" in request.fields.first):  # RFC 9111 section 3.5
            return
        now = int(request.reactor.wall())
        self._store_status(request, caching, status, now + seconds, now)

    def _store_status(self, request: Request, caching: Caching, status: int, valid: int, now: int) -> None:
        """Store the status without a file. A request that bypassed the cache stores nothing (nginx does not know its node)."""
        if caching.status == BYPASS or not caching.may_store or caching.uses < self.settings.min_uses:
            return
        if self.rfc and self.settings.no_cache and any_set(self.settings.no_cache, request):
            return  # nginx does not ask
        removed = caching.store.index.store_failure(caching.first, caching.second, status, valid, now, caching.purges)
        if removed is not None:
            caching.store.remove_files([removed])
        caching.store.waiting.wake_all(caching.first, caching.second)

    # -- revalidation ----------------------------------------------------------------------------------------------------

    def revalidated(self, request: Request, caching: Caching, entry: Entry, head: ResponseHead) -> None:
        """Freshen the entry after a 304, for as long as the new header section says, or the old one's status allows."""
        now = int(request.reactor.wall())
        if self.rfc:
            self._freshen(request, caching, entry, head, now)
            return
        verdict = judge(head, now, self.ignore)
        self._apply_default(verdict, head_of(entry).status, now)
        if verdict.may_store and verdict.valid:
            self._refresh(caching, entry, _times(verdict, now))

    def _refresh(self, caching: Caching, entry: Entry, times: Times) -> None:
        """Give the entry new times; a failure to write them is logged."""
        try:
            caching.store.refresh(entry, times)
        except OSError as error:
            caching.store.complain(f'cache times cannot be written ({error.errno}: {error.strerror})')

    def _freshen(self, request: Request, caching: Caching, entry: Entry, head: ResponseHead, now: int) -> None:
        """Let the fields of the 304 take the place of the stored ones (RFC 9111 sections 3.2 and 4.3.4).

        Under another Vary nobody knows whose response it is: it is dropped, as is one whose header section has become longer than any
        that comes from an upstream.
        """
        stored = head_of(entry)
        if not is_refreshed_by(stored, head):
            return
        raw = merged(stored, head)
        new = caching.merged = parse_response_head(raw)
        verdict = self._verdict(request, caching, new, now)
        if verdict.withheld:
            raw = without_fields(new, verdict.withheld)
        times = _times(verdict, now)
        apart = (b"age", b"date") if entry.body_length > _COPIED_AT_ONCE else (b"age",)
        tags = _tags(new) if any(name in head.first for name in _TAGS) else entry.meta.tags  # they may be withheld
        changed = differs(stored, raw, apart) or tags != entry.meta.tags
        if not verdict.may_store or verdict.vary != entry.meta.vary or len(raw) > self.buffer_size:
            caching.store.purge(entry.first, entry.second)
            entry.times = times
            return
        entry.parsed = parse_response_head(raw)
        entry.finished = None
        entry.modified = -2.0
        if not changed:
            self._refresh(caching, entry, times)
        else:
            if entry.body_length > _COPIED_AT_ONCE:
                self._refresh(caching, entry, times)  # fresh again at once; the new header section follows
            entry.times = times
            self._rewrite(request, caching, entry, raw, tags, times)

    def _rewrite(self, request: Request, caching: Caching, entry: Entry, raw: bytes, tags: bytes, times: Times) -> None:
        """Write the same body under another header section; a long one in the background."""
        old = entry.meta
        fill = Fill(caching.store, entry.first, entry.second, caching.purges, caching.claimed)
        sink = CacheSink(fill)
        caching.fill = fill
        try:
            fill.begin(Meta(old.key, old.vary, old.variant, tags, raw, old.family), times)
            if entry.body_length <= _COPIED_AT_ONCE:
                fill.copy(entry)
                fill.finish()
            else:
                entry.acquire()
                request.reactor.spawn(self._copy(sink, entry))
        except OSError as error:
            sink.failed(error)
        except Damaged:
            fill.abort()

    async def _copy(self, sink: CacheSink, entry: Entry) -> None:
        runtime = self.caches.runtime
        if runtime is not None:
            runtime.background += 1
        try:
            await asyncio.get_running_loop().run_in_executor(None, sink.fill.copy, entry)
            sink.fill.finish()
        except OSError as error:
            sink.failed(error)
        except Damaged:
            sink.abort()
        finally:
            sink.abort()
            entry.release()
            if runtime is not None:
                runtime.background -= 1


def _tags(head: ResponseHead) -> bytes:
    """Return the tags by which a response can be purged, separated by blanks."""
    text = b" ".join(b" ".join(head.get_all(name)) for name in _TAGS if name in head.first)
    return b" ".join(text.replace(b",", b" ").split())


def _times(verdict: Verdict, now: int) -> Times:
    """Return the times of an entry that is stored, or fresh again, now."""
    valid = verdict.valid
    updating = valid + verdict.updating if verdict.updating else 0
    return Times(valid, updating, valid + verdict.error if verdict.error else 0, now, verdict.age)
