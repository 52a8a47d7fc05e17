"""Keeping an answer of the upstream: whether, where, for how long; and what a 304 makes of what is kept."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, final

from portico.cache.caching import BYPASS
from portico.cache.entry import Damaged, Entry, Meta, Times, open_entry
from portico.cache.fill import Fill
from portico.cache.policy.nginx import Verdict, judge, variant_of
from portico.cache.policy.rfc9111 import differs, is_refreshed_by, merged, without
from portico.cache.policy.rfc9111 import judge as judge_rfc
from portico.codec.http1_response import ResponseHead, parse_response_head
from portico.passing.body import Sink
from portico.passing.cached.responses import head_of, last_modified_of
from portico.variables.template import any_set

if TYPE_CHECKING:
    from portico.cache.caching import Caching
    from portico.cache.store import Store
    from portico.http.request import Request
    from portico.passing.cached.settings import CacheSettings
    from portico.passing.handler import ProxyHandler
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
class Storing(Sink):
    """Passes a body on to a fill. A disk that fails ends the storing, not the answer; so does a body longer than the cache may be."""

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
        """Store no more of it, and say so."""
        self.fill.abort()
        path = self.fill.store.settings.path
        self.fill.store.complain(f'an answer cannot be stored in the cache "{path}" ({error.errno}: {error.strerror})')


@final
class Keeping:
    """What one location keeps."""

    def __init__(self, proxy: ProxyHandler, settings: CacheSettings, caches: Caches) -> None:
        self.proxy = proxy
        self.settings = settings
        self.caches = caches
        self.rfc = settings.rfc
        self.ignore = proxy.rules.ignore

    def _verdict(self, request: Request, caching: Caching, answer: ResponseHead, now: int) -> Verdict:
        """`valid` is 0 when the answer is not to be kept for want of a time."""
        if self.rfc:
            return judge_rfc(
                answer, caching.asked, now, self.ignore, self.settings.valid_for(answer.status),
                b"authorization" in request.fields.first, request.slices is not None,
            )  # fmt: skip
        verdict = judge(answer, now, self.ignore)
        if not verdict.valid:
            seconds = self.settings.valid_for(answer.status)
            verdict.valid = now + seconds if seconds else 0
        return verdict

    # -- a new answer ----------------------------------------------------------------------------------------------------

    def sink(self, request: Request, caching: Caching, answer: ResponseHead, raw: bytes) -> Sink | None:
        """Where to put the body of an answer that may be kept; None when it may not."""
        if not caching.keep or caching.uses < self.settings.min_uses or answer.status in (101, 304):
            return None
        if self.rfc and self.asked_with_head(request, caching):
            return None
        if not self.proxy.rules.buffering(answer, self.proxy.settings.buffering):
            return None  # nginx: only what is buffered is kept
        if 0 < caching.store.settings.max_size < answer.content_length:
            return None  # it would push out all the others, and then go itself
        if self.settings.no_cache and any_set(self.settings.no_cache, request):
            return None
        now = int(request.reactor.wall())
        verdict = self._verdict(request, caching, answer, now)
        if not verdict.keep or not verdict.valid:
            return None
        if caching.vary and verdict.vary != caching.vary:
            caching.release()  # what was a variant is the key's own answer from now on
            caching.first, caching.second = caching.main_first, caching.main_second
            caching.family = b""
        if verdict.withheld:
            raw = without(answer, verdict.withheld)
        return self._begin(request, caching, answer, verdict, raw, now)

    def _begin(
        self, request: Request, caching: Caching, answer: ResponseHead, verdict: Verdict, raw: bytes, now: int
    ) -> Sink | None:
        variant = variant_of(verdict.vary, request.fields.names, request.fields.values) if verdict.vary else b""
        family = (caching.family or self._family(caching)) if verdict.vary else b""
        fill = caching.store.fill(caching.first, caching.second, caching.purges, caching.claimed)
        storing = Storing(fill)
        try:
            fill.begin(Meta(caching.key, verdict.vary, variant, _tags(answer), raw, family), _times(verdict, now))
        except OSError as error:
            storing.failed(error)
            return None
        caching.fill = fill
        return storing

    def _family(self, caching: Caching) -> bytes:
        """The one of the key's entry that nobody has looked for, so that its other variants stay; else a new one."""
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

    def asked_with_head(self, request: Request, caching: Caching) -> bool:
        """Whether the upstream was asked with HEAD (proxy_cache_convert_head off): there is no body to keep."""
        return request.method == b"HEAD" and not caching.method and self.proxy.method is None

    def intercepted(self, request: Request, caching: Caching, answer: ResponseHead) -> None:
        """An error page of our own takes the place of the upstream's answer: the status is kept, as long as the answer may be."""
        now = int(request.reactor.wall())
        verdict = self._verdict(request, caching, answer, now)
        if verdict.keep and verdict.valid >= now and not (self.rfc and verdict.vary):  # it is the same for whoever asks
            self._note_failure(request, caching, answer.status, verdict.valid, now)

    def keep_failure(self, request: Request, caching: Caching, status: int) -> None:
        """`proxy_cache_valid` of an error that comes of there being no upstream (502, 504)."""
        seconds = self.settings.valid_for(status)
        if not seconds or (self.rfc and b"authorization" in request.fields.first):  # RFC 9111 section 3.5
            return
        now = int(request.reactor.wall())
        self._note_failure(request, caching, status, now + seconds, now)

    def _note_failure(self, request: Request, caching: Caching, status: int, valid: int, now: int) -> None:
        """Who was let past the cache leaves nothing there (nginx: its node is not known then)."""
        if caching.status == BYPASS or not caching.keep or caching.uses < self.settings.min_uses:
            return
        if self.rfc and self.settings.no_cache and any_set(self.settings.no_cache, request):
            return  # nginx does not ask
        removed = caching.store.index.store_failure(caching.first, caching.second, status, valid, now, caching.purges)
        if removed is not None:
            caching.store.remove_files([removed])
        caching.store.waiting.wake_all(caching.first, caching.second)

    # -- what is there already -------------------------------------------------------------------------------------------

    def conditions(self, request: Request, caching: Caching | None) -> bytes:
        """The lines that ask whether the kept answer is still good; or the client's own, when the answer is not for the cache."""
        if caching is None:
            return self.proxy.head.conditions(request)
        entry = caching.entry
        if entry is None or not caching.revalidate:
            may_keep = caching.keep and caching.uses >= self.settings.min_uses
            return b"" if may_keep else self.proxy.head.conditions(request)
        head = head_of(entry)
        lines = b""
        modified = head.get(b"last-modified")
        if modified is not None and last_modified_of(head) >= 0:
            lines += b"If-Modified-Since: " + modified + b"\r\n"
        tag = head.get(b"etag")
        if tag is not None:
            lines += b"If-None-Match: " + tag + b"\r\n"
        return lines

    def renew(self, request: Request, caching: Caching, entry: Entry, answer: ResponseHead) -> None:
        """304: what is kept is good again, for as long as the new head says, or the old one's status allows."""
        now = int(request.reactor.wall())
        if self.rfc:
            self._freshen(request, caching, entry, answer, now)
            return
        verdict = judge(answer, now, self.ignore)
        if not verdict.valid:
            seconds = self.settings.valid_for(head_of(entry).status)
            verdict.valid = now + seconds if seconds else 0
        if verdict.keep and verdict.valid:
            self._refresh(caching, entry, _times(verdict, now))

    def _refresh(self, caching: Caching, entry: Entry, times: Times) -> None:
        try:
            caching.store.refresh(entry, times)
        except OSError as error:
            caching.store.complain(f'cache times cannot be written ({error.errno}: {error.strerror})')

    def _freshen(self, request: Request, caching: Caching, entry: Entry, answer: ResponseHead, now: int) -> None:
        """RFC 9111 sections 3.2 and 4.3.4: the fields of the 304 take the place of those that are kept.

        Whose answer it is under another Vary, nobody knows: it is dropped, as is one whose head has become longer than any that
        comes from an upstream.
        """
        stored = head_of(entry)
        if not is_refreshed_by(stored, answer):
            return
        raw = merged(stored, answer)
        head = caching.merged = parse_response_head(raw)
        verdict = self._verdict(request, caching, head, now)
        if verdict.withheld:
            raw = without(head, verdict.withheld)
        times = _times(verdict, now)
        apart = (b"age", b"date") if entry.body_length > _COPIED_AT_ONCE else (b"age",)
        tags = _tags(head) if any(name in answer.first for name in _TAGS) else entry.meta.tags  # they may be withheld from the head
        changed = differs(stored, raw, apart) or tags != entry.meta.tags
        if not verdict.keep or verdict.vary != entry.meta.vary or len(raw) > self.proxy.settings.buffer_size:
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
                self._refresh(caching, entry, times)  # good again at once; the new head follows
            entry.times = times
            self._write_again(request, caching, entry, raw, tags, times)

    def _write_again(self, request: Request, caching: Caching, entry: Entry, raw: bytes, tags: bytes, times: Times) -> None:
        """The same body under another head."""
        old = entry.meta
        fill = caching.store.fill(entry.first, entry.second, caching.purges, caching.claimed)
        storing = Storing(fill)
        caching.fill = fill
        try:
            fill.begin(Meta(old.key, old.vary, old.variant, tags, raw, old.family), times)
            if entry.body_length <= _COPIED_AT_ONCE:
                fill.copy(entry)
                fill.finish()
            else:
                entry.hold()
                request.reactor.spawn(self._copy(storing, entry))
        except OSError as error:
            storing.failed(error)
        except Damaged:
            fill.abort()

    async def _copy(self, storing: Storing, entry: Entry) -> None:
        runtime = self.caches.runtime
        if runtime is not None:
            runtime.background += 1
        try:
            await asyncio.get_running_loop().run_in_executor(None, storing.fill.copy, entry)
            storing.fill.finish()
        except OSError as error:
            storing.failed(error)
        except Damaged:
            storing.abort()
        finally:
            storing.abort()
            entry.give()
            if runtime is not None:
                runtime.background -= 1


def _tags(head: ResponseHead) -> bytes:
    """What a head says that it can be purged by, separated by blanks."""
    text = b" ".join(b" ".join(head.get_all(name)) for name in _TAGS if name in head.first)
    return b" ".join(text.replace(b",", b" ").split())


def _times(verdict: Verdict, now: int) -> Times:
    valid = verdict.valid
    updating = valid + verdict.updating if verdict.updating else 0
    return Times(valid, updating, valid + verdict.error if verdict.error else 0, now, verdict.age)
