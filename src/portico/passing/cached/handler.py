"""`proxy_cache`: a location's responses from the cache, and into it (ngx_http_upstream_cache).

    in memory in this worker, and fresh  ─▶ HIT, without a system call but for the sending
    in the index                         ─▶ open the file; fresh: HIT
    stale                                ─▶ STALE or UPDATING where that is allowed, else ask the upstream: EXPIRED, REVALIDATED
    not there                            ─▶ MISS; with `proxy_cache_lock`, one request fetches it and the others wait

Here it is decided what happens. `CacheKeys` knows the key, `Finder` finds entries, `CachedResponses` makes responses of them,
`CacheWriter` stores new ones, and `CacheResponseHook` is the cache's part in the exchange with the upstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.cache.caching import BYPASS, EXPIRED, HIT, MISS, STALE, UPDATING, Caching
from portico.cache.entry import Damaged, Entry
from portico.cache.index import EXISTS, STATUS_SHIFT
from portico.cache.policy.control import RequestControl, request_control
from portico.cache.policy.rfc9111 import control_for, has_validator, satisfies
from portico.cache.store import Store, digest
from portico.errorlog import CRIT
from portico.http.errors import BodyCutShort, CloseConnection, FileFailed, HTTPError, InternalRedirect
from portico.http.handler import Handler
from portico.http.response import Response
from portico.net.reactor import NetworkSignal
from portico.passing.cached.finder import Finder
from portico.passing.cached.hook import CacheResponseHook
from portico.passing.cached.keys import CacheKeys
from portico.passing.cached.responses import CachedResponses, age_of, head_of
from portico.passing.cached.settings import BY_METHOD, CacheSettings
from portico.passing.cached.settings import UPDATING as WHILE_UPDATING
from portico.passing.cached.storing import Caches, CacheWriter
from portico.passing.cached.update import can_be_updated, update_of
from portico.passing.handler import ProxyHandler
from portico.variables.template import any_set

if TYPE_CHECKING:
    from portico.http.request import Request

_LOOK_SECONDS: Final = 0.05  # between the first two looks whether another worker has what is waited for; each pause is twice as long,
_MOST_LOOK_SECONDS: Final = 0.5  # … up to this (ngx_http_file_cache_lock): a thousand that wait must not take up the worker
_SAFE: Final = (b"GET", b"HEAD", b"OPTIONS", b"TRACE")


@final
class CachedProxy(Handler):
    """`proxy_pass` of a location with `proxy_cache`."""

    def __init__(self, proxy: ProxyHandler, settings: CacheSettings, caches: Caches) -> None:
        self.is_async = True
        self.proxy = proxy
        self.settings = settings
        self.caches = caches
        self.rfc = settings.rfc
        self.keys = CacheKeys(proxy, settings, caches)
        self.ignore = proxy.rules.ignore
        self.finder = Finder(settings, self.ignore)
        self.responses = CachedResponses(proxy.rules, proxy.target, settings)
        self.writer = CacheWriter(settings, caches, self.ignore, proxy.settings.buffer_size)
        self.hook = CacheResponseHook(settings, proxy.fields, self.finder, self.responses, self.writer)
        proxy.attach(self.hook)

    def describe(self) -> str:
        return f"{self.proxy.describe()} with a cache"

    async def handle_async(self, request: Request) -> Response | None:
        store = self.keys.store_of(request)
        if store is None or not BY_METHOD.get(request.method, 0) & self.settings.methods:
            return await self._pass(request, store)
        if request.body is not None:  # the key may hold `$request_body`, and an update in the background needs it
            await self.proxy.read_body(request)
        key = self.keys.key_of(request)
        if self.keys.is_too_long(request, key):
            return await self._pass(request, None)
        now = int(request.reactor.wall())
        bypass = bool(self.settings.bypass) and any_set(self.settings.bypass, request)
        control = request_control(request.fields) if self.rfc else None
        if not bypass and control is None:
            response = self._hit_in_memory(request, store, key, now)
            if response is not None:
                return response
        caching = self._miss(request, store, key, control)
        if bypass:
            caching.status = BYPASS
        else:
            response = await self._find(request, caching, now, control)
            if response is not None:
                caching.release_entry()
                return response
        if control is not None and control.only_if_cached:
            caching.release_claim()
            caching.release_entry()
            raise HTTPError(504)  # RFC 9111 section 5.2.1.7
        response = await self._fetch(request, caching)
        if self.rfc and response is not None:
            self.responses.add_status_of_fetch(request, caching, response)
        return response

    def _hit_in_memory(self, request: Request, store: Store, key: bytes, now: int) -> Response | None:
        """Return the response of a fresh entry that this worker has in memory; None: look further."""
        entry = self.finder.in_memory(request, store, key, now)
        if entry is None or not entry.sound or store.index.valid(entry.row, entry.generation) < now:
            return None
        caching = Caching(store, key, entry.first, entry.second)
        caching.status = HIT
        request.upstream_state().caching = caching
        try:
            return self.responses.response(request, caching, entry)
        except (Damaged, OSError):
            self.finder.damaged(caching, entry)
            return None

    def _miss(self, request: Request, store: Store, key: bytes, control: RequestControl | None) -> Caching:
        """Begin the caching of a request for which nothing usable was in memory."""
        first, second = digest(key)
        caching = Caching(store, key, first, second)
        request.upstream_state().caching = caching
        if request.method == b"HEAD" and self.settings.convert_head:
            caching.method = b"GET"
        if control is not None and control.no_store:
            caching.may_store = False  # RFC 9111 section 5.2.1.5
        if request.fields.connection_tokens and self.proxy.fields.drops_nominated(request):
            # Vary or the key may speak of a field that the upstream does not get: its response is none for requests with that field.
            caching.may_store = False
        return caching

    async def _pass(self, request: Request, store: Store | None) -> Response | None:
        """Pass on a request that the cache has nothing to do with; an unsafe one makes what is stored invalid."""
        request.upstream_state().caching = None
        if not self.rfc or store is None:
            return await self.proxy.handle_async(request)
        is_safe = request.method in _SAFE  # asked first: X-Accel-Redirect makes a GET of it
        try:
            response = await self.proxy.handle_async(request)
        except InternalRedirect:
            if not is_safe:
                self._invalidate(request, store)
            raise
        if response is not None:
            if 200 <= response.status < 400 and not is_safe:
                self._invalidate(request, store)
            if response.upstream is not None:
                self.responses.add_status_of_method(response)
        return response

    def _invalidate(self, request: Request, store: Store) -> None:
        """Drop what is stored under the key, after an unsafe method (RFC 9111 section 4.4)."""
        first, second = digest(self.keys.key_of(request))
        loaded = store.index.is_loaded()  # asked first: another worker may find the last files in between
        if store.index.look(first, second)[0] or not loaded:  # stored, or being fetched
            store.purge(first, second)

    # -- what is stored --------------------------------------------------------------------------------------------------

    async def _find(self, request: Request, caching: Caching, now: int, control: RequestControl | None) -> Response | None:
        """Return a response from the cache; None: the upstream is to be asked, and `caching` says what to do with its response."""
        entry = self.finder.look_up(request, caching, now)
        if entry is not None:
            try:
                if await self.finder.is_sound(caching, entry):
                    return self._use(request, caching, entry, now, control)
            finally:
                entry.release()
        if not self.settings.lock or not caching.may_store or caching.uses < self.settings.min_uses:
            return None
        if control is not None and control.only_if_cached:
            return None
        return await self._wait(request, caching, control)

    def _use(self, request: Request, caching: Caching, entry: Entry, now: int, control: RequestControl | None) -> Response | None:
        """Return the response of an entry, fresh or stale; None: the upstream is to be asked."""
        try:
            fresh = caching.store.index.valid(entry.row, entry.generation) >= now
            if self.rfc and (control is not None or not fresh):
                return self._use_by_rfc(request, caching, entry, now, control, fresh)
            if fresh:
                caching.status = HIT
                return self.responses.response(request, caching, entry)
            return self._use_stale(request, caching, entry, now)
        except (Damaged, OSError):
            self.finder.damaged(caching, entry)
            caching.release_entry()
            caching.status = MISS
            return None

    def _use_by_rfc(
        self, request: Request, caching: Caching, entry: Entry, now: int, control: RequestControl | None, fresh: bool
    ) -> Response | None:
        """Use what is stored by RFC 9111 sections 4.2.4 and 5.2.1: as the upstream allows and the client wants."""
        caching.stale_forbidden = not fresh and control_for(head_of(entry), self.ignore).forbids_stale()
        if control is not None:
            valid = caching.store.index.valid(entry.row, entry.generation)
            if not caching.stale_forbidden and satisfies(control, valid, now, age_of(entry, now)):
                caching.status = HIT if fresh else STALE
                return self.responses.response(request, caching, entry)
            caching.forward_reason = b"request" if fresh else b"stale"
            caching.forced = fresh or control.no_cache or control.max_age >= 0 or control.min_fresh > 0
            if control.only_if_cached:
                return None
        return self._use_stale(request, caching, entry, now)

    def _use_stale(self, request: Request, caching: Caching, entry: Entry, now: int) -> Response | None:
        """Return the response of an entry that is not fresh, or not fresh enough, where it may be served; None: ask the upstream."""
        settings = self.settings
        caching.hold_entry(entry)
        if caching.forward_reason != b"request":
            caching.forward_reason = b"stale"
        head = caching.stored_head = head_of(entry)
        asks = caching.may_store and (settings.revalidate or (self.rfc and has_validator(head)))
        caching.revalidate = asks and head.status in (200, 206)
        window = caching.store.index.updating(entry.row, entry.generation) >= now
        allowed = (settings.use_stale & WHILE_UPDATING != 0 or window) and not caching.stale_forbidden and not caching.forced
        if self.finder.claim(request, caching):
            background = settings.background_update or (self.rfc and window)
            if allowed and background and caching.may_store and can_be_updated(request):
                self._start_update(request, caching, entry, now)
                caching.status = STALE
                return self.responses.response(request, caching, entry)
        elif allowed:
            caching.status = UPDATING
            return self.responses.response(request, caching, entry)
        caching.status = EXPIRED
        return None

    async def _wait(self, request: Request, caching: Caching, control: RequestControl | None) -> Response | None:
        """Wait as `proxy_cache_lock` says; return what another request has fetched, or None to fetch it ourselves."""
        reactor = request.reactor
        deadline = reactor.now + self.settings.lock_timeout
        pause = _LOOK_SECONDS
        seen = 0  # what was looked at last: the generation of a file, or a failure's status below zero
        while True:
            claimed = self.finder.claim(request, caching)
            flags, generation = caching.store.index.look(caching.first, caching.second)
            found = generation if flags & EXISTS else -(flags >> STATUS_SHIFT)
            if found and found != seen:  # somebody was done after we had looked, also when the right to fetch is ours now
                seen = found
                caching.release_claim()
                response = await self._look_again(request, caching, control)
                if response is not None or caching.status == EXPIRED:
                    return response
                continue
            if claimed:
                return None
            if reactor.now >= deadline:
                caching.may_store = False
                return None
            caching.collapsed = True
            await self._pause(request, caching, min(pause, deadline - reactor.now))
            pause = min(2.0 * pause, _MOST_LOOK_SECONDS)
            seen = max(seen, 0)

    async def _look_again(self, request: Request, caching: Caching, control: RequestControl | None) -> Response | None:
        """Return the response of what has been stored meanwhile; None: nothing that can be used."""
        now = int(request.reactor.wall())
        entry = self.finder.look_up(request, caching, now)
        if entry is None:
            return None
        try:
            if await self.finder.is_sound(caching, entry):
                return self._use(request, caching, entry, now, control)
        finally:
            entry.release()
        return None

    async def _pause(self, request: Request, caching: Caching, seconds: float) -> None:
        """Wait for whoever fetches the key; a client that leaves meanwhile ends the request. Raises ClientGone."""
        stream = request.stream
        if stream is not None:
            stream.watch()
        await caching.store.waiting.wait(caching.first, caching.second, seconds)
        if stream is not None:
            stream.unwatch()

    # -- fetching --------------------------------------------------------------------------------------------------------

    async def _fetch(self, request: Request, caching: Caching) -> Response | None:
        """Ask the upstream; return its response, or a stale one when it fails. Raises what `proxy_pass` does."""
        caching.purges = caching.store.index.purges()
        caching.asked_at = int(request.reactor.wall())
        if self.settings.max_range_offset >= 0 and _is_beyond(request, self.settings.max_range_offset):
            caching.may_store = False
            caching.revalidate = False  # a 304 is for the client's conditions
        try:
            return await self.proxy.handle_async(request)
        except HTTPError as error:
            return self._substitute_stale(request, caching, error)
        except BaseException:
            if caching.fill is not None:
                caching.fill.abort()
            raise
        finally:
            caching.release_claim()
            caching.release_entry()

    def _substitute_stale(self, request: Request, caching: Caching, error: HTTPError) -> Response:
        """Return the stale response where it may take an error's place, which is logged then. Else raises the error."""
        entry = caching.entry
        if caching.failure:
            self.writer.store_failure(request, caching, error.status)
        if entry is None or caching.status != EXPIRED or not self.hook.may_use_stale(request, caching, entry, caching.failure):
            raise error
        caching.status = STALE
        try:
            response = self.responses.response(request, caching, entry)
        except (Damaged, OSError):
            self.finder.damaged(caching, entry)
            raise error from None
        if error.reason:
            request.log_error(error.level, error.reason)
        return response

    # -- in the background -------------------------------------------------------------------------------------------------

    def _start_update(self, request: Request, caching: Caching, entry: Entry, now: int) -> None:
        """Fetch anew while the stale response is sent, unless somebody was done between our look and our claim."""
        index = caching.store.index
        _, generation = index.look(entry.first, entry.second)
        update: tuple[Request, Caching] | None = None
        if generation == entry.generation and index.valid(entry.row, generation) < now:
            update = update_of(request, caching)
        if update is None:
            caching.release_claim()
        else:
            request.reactor.spawn(self._run_update(*update))

    async def _run_update(self, request: Request, caching: Caching) -> None:
        runtime = self.caches.runtime
        if runtime is not None:
            runtime.background += 1
        try:
            response = await self._fetch(request, caching)
            if response is not None:
                response.body.close()  # what is not here yet is read on without anybody who waits
        except HTTPError as refused:
            if refused.reason:
                request.log_error(refused.level, refused.reason)
        except (FileFailed, OSError) as failed:
            request.log_error(CRIT, str(failed))
        except (InternalRedirect, CloseConnection, BodyCutShort, NetworkSignal):
            pass  # what there was to say is in the error log
        finally:
            if request.body is not None:
                request.body.close()
            if runtime is not None:
                runtime.background -= 1


def _is_beyond(request: Request, most: int) -> bool:
    """Return whether a request's first range begins at this byte or later, or counts from the end.

    (ngx_http_upstream_cache_check_range.)
    """
    text = request.fields.first.get(b"range")
    if text is None:
        return False
    if most == 0:
        return True
    if len(text) < 7 or text[:6].lower() != b"bytes=":
        return False
    start = text[6:].lstrip(b" ")
    if start.startswith(b"-"):
        return True
    behind = len(start.lstrip(b"0123456789"))
    digits = start[: len(start) - behind]
    return digits != b"" and int(digits[:18]) >= most
