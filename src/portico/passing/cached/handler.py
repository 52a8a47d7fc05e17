"""`proxy_cache`: a location's answers from the cache, and into it (ngx_http_upstream_cache).

    at hand in this worker, and fresh  ─▶ HIT, without a system call but for the sending
    in the index                       ─▶ open the file; fresh: HIT
    good no longer                     ─▶ STALE or UPDATING where that is allowed, else ask the upstream: EXPIRED, REVALIDATED
    not there                          ─▶ MISS; with `proxy_cache_lock`, whoever comes second waits

Here it is decided what happens. Entries are found by `Finder`, made into answers by `Answers`, and kept by `Keeping`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.cache.caching import BYPASS, EXPIRED, HIT, MISS, REVALIDATED, STALE, UPDATING, Caching
from portico.cache.entry import Damaged, Entry
from portico.cache.index import EXISTS, STATUS_SHIFT
from portico.cache.policy.control import Wishes, wishes_of
from portico.cache.policy.rfc9111 import control_for, has_validator, is_same_as_head, pleases
from portico.cache.store import Store, digest
from portico.errorlog import CRIT, ERR
from portico.http.errors import BodyCutShort, CloseConnection, FileFailed, HTTPError, InternalRedirect
from portico.http.handler import Handler
from portico.http.response import Response
from portico.http.subrequest import clone_of
from portico.net.reactor import NetworkSignal
from portico.passing.cached.finder import Finder
from portico.passing.cached.responses import Answers, age_of, head_of
from portico.passing.cached.settings import BY_METHOD, CacheSettings
from portico.passing.cached.settings import UPDATING as WHILE_UPDATING
from portico.passing.cached.storing import Caches, Keeping
from portico.passing.failure import BY_STATUS, ERROR, HTTP_500, HTTP_502, HTTP_503, HTTP_504, INVALID_HEADER, TIMEOUT
from portico.passing.handler import ProxyHandler
from portico.passing.target import upstream_uri
from portico.variables.template import any_set

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request

_NO_ANSWER: Final = ERROR | TIMEOUT | INVALID_HEADER  # what stale-if-error is about, to nginx
_ANY_ERROR: Final = _NO_ANSWER | HTTP_500 | HTTP_502 | HTTP_503 | HTTP_504  # … and to RFC 5861 section 4
_LOOK_SECONDS: Final = 0.05  # between the first two looks whether another worker has what is waited for; each pause is twice as long,
_MOST_LOOK_SECONDS: Final = 0.5  # … up to this (ngx_http_file_cache_lock): a thousand who wait must not take up the worker
_KEY_ROOM: Final = 599  # bytes that the head of nginx's file has beside the key: what is beyond proxy_buffer_size is not kept
_SAFE: Final = (b"GET", b"HEAD", b"OPTIONS", b"TRACE")
_UPGRADING: Final = frozenset((b"http2-settings",))  # RFC 7540 section 3.2.1: named by clients that would like HTTP/2


@final
class CachedProxy(Handler):
    """`proxy_pass` of a location with `proxy_cache`."""

    def __init__(self, proxy: ProxyHandler, settings: CacheSettings, caches: Caches) -> None:
        self.is_async = True
        self.proxy = proxy
        self.settings = settings
        self.caches = caches
        self.rfc = settings.rfc
        self.store: Store | None = None  # None: its name has variables
        self.ignore = proxy.rules.ignore
        self.finder = Finder(settings, self.ignore)
        self.answers = Answers(proxy, settings)
        self.keeping = Keeping(proxy, settings, caches)
        proxy.cached = self

    def describe(self) -> str:
        return f"{self.proxy.describe()} with a cache"

    async def handle_async(self, request: Request) -> Response | None:
        settings = self.settings
        store = self.store if self.store is not None else self.store_of(request)
        if store is None or not BY_METHOD.get(request.method, 0) & settings.methods:
            request.caching = None
            return await self._pass(request, store)
        await self.read_body(request)
        key = self.key_of(request)
        room = self.proxy.settings.buffer_size
        if len(key) + _KEY_ROOM > room:
            least = (len(key) + _KEY_ROOM + 1023) // 1024 * 1024
            name = f"{self.proxy.settings.prefix}_buffer_size"
            text = f"{name} {room} is not enough for cache key, it should be increased to at least {least}"
            request.log_error(ERR, text)
            request.caching = None
            return await self._pass(request, None)
        now = int(request.reactor.wall())
        bypass = bool(settings.bypass) and any_set(settings.bypass, request)
        wishes = wishes_of(request.fields) if self.rfc else None
        if not bypass:
            entry = self.finder.at_hand(request, store, key, now)
            if entry is not None and entry.sound and wishes is None and store.index.valid(entry.row, entry.generation) >= now:
                caching = Caching(store, key, entry.first, entry.second)
                caching.status = HIT
                request.caching = caching
                try:
                    return self.answers.response(request, caching, entry)
                except (Damaged, OSError):
                    self.finder.damaged(caching, entry)
        first, second = digest(key)
        caching = Caching(store, key, first, second)
        request.caching = caching
        if request.method == b"HEAD" and settings.convert_head:
            caching.method = b"GET"
        if wishes is not None and wishes.no_store:
            caching.keep = False  # RFC 9111 section 5.2.1.5
        if request.fields.connection_tokens and self._withholds(request):
            caching.keep = False
        if bypass:
            caching.status = BYPASS
        else:
            answer = await self._find(request, caching, now, wishes)
            if answer is not None:
                caching.leave()
                return answer
        if wishes is not None and wishes.only_if_cached:
            caching.release()
            caching.leave()
            raise HTTPError(504)  # RFC 9111 section 5.2.1.7
        response = await self._fetch(request, caching)
        if self.rfc and response is not None:
            self.answers.tell_fetched(request, caching, response)
        return response

    def store_of(self, request: Request) -> Store | None:
        """The cache in force; None: off. Raises HTTPError 500 for a name that no cache has."""
        if self.store is not None:
            return self.store
        zone = self.settings.zone
        name = b"" if zone is None else zone.render(request)
        if not name or name == b"off":
            return None
        store = self.caches.stores.get(name)
        if store is None:
            shown = name.decode("utf-8", "backslashreplace")
            raise HTTPError(500, f'cache "{shown}" not found', ERR)
        return store

    async def read_body(self, request: Request) -> None:
        """The key may hold `$request_body`, and an update in the background needs it. Raises what a client's body raises."""
        body = request.body
        if body is not None and self.proxy.settings.request_buffering and not body.was_read():
            await body.read_all()

    def key_of(self, request: Request) -> bytes:
        """What the answer is kept under."""
        key = self.settings.key
        if key is not None:
            return key.render(request)
        target = self.proxy.target
        if target is None:
            url = self.proxy.url.render(request)
        else:
            url = target.url + upstream_uri(request, target, self.proxy.prefix, False)
        if not self.rfc:
            return url
        client = request.client  # RFC 9111 section 2: the key has the URI that the client asked for, host and all
        scheme = b"https" if client.secure else b"http"
        return b"%b://%b:%d %b" % (scheme, request.host, client.server_addr()[1], url)

    def _withholds(self, request: Request) -> bool:
        """Whether a field in Connection keeps another one from the upstream, which Vary or the key may speak of all the same.

        What answers such a request is no answer to those that have the field. (nginx passes on what Connection names.)
        """
        head = self.proxy.head
        if not head.pass_headers:
            return False
        first = request.fields.first
        return any(
            name in first and name not in head.dropped and name not in _UPGRADING for name in request.fields.connection_tokens
        )

    async def _pass(self, request: Request, store: Store | None) -> Response | None:
        """A request that the cache has nothing to do with; one that changes something makes what is kept invalid."""
        if not self.rfc or store is None:
            return await self.proxy.handle_async(request)
        try:
            response = await self.proxy.handle_async(request)
        except InternalRedirect:
            self._invalidate(request, store)
            raise
        if response is not None:
            if 200 <= response.status < 400:
                self._invalidate(request, store)
            if response.from_upstream:
                self.answers.tell_passed(response)
        return response

    def _invalidate(self, request: Request, store: Store) -> None:
        """RFC 9111 section 4.4."""
        if request.method in _SAFE:
            return
        first, second = digest(self.key_of(request))
        loaded = store.index.is_loaded()  # asked first: another worker may find the last files in between
        if store.index.look(first, second)[0] or not loaded:  # stored, or being fetched
            store.purge(first, second)

    # -- what is kept ----------------------------------------------------------------------------------------------------

    async def _find(self, request: Request, caching: Caching, now: int, wishes: Wishes | None) -> Response | None:
        """An answer from the cache; None: the upstream is to be asked, and `caching` says what to do with its answer."""
        entry = self.finder.look_up(request, caching, now)
        if entry is not None:
            try:
                if await self.finder.is_sound(caching, entry):
                    return self._use(request, caching, entry, now, wishes)
            finally:
                entry.give()
        if not self.settings.lock or not caching.keep or caching.uses < self.settings.min_uses:
            return None
        if wishes is not None and wishes.only_if_cached:
            return None
        return await self._wait(request, caching, wishes)

    def _use(self, request: Request, caching: Caching, entry: Entry, now: int, wishes: Wishes | None) -> Response | None:
        """The answer that an entry gives, fresh or stale; None: the upstream is to be asked."""
        try:
            fresh = caching.store.index.valid(entry.row, entry.generation) >= now
            if self.rfc and (wishes is not None or not fresh):
                return self._use_by_wishes(request, caching, entry, now, wishes, fresh)
            if fresh:
                caching.status = HIT
                return self.answers.response(request, caching, entry)
            return self._stale(request, caching, entry, now)
        except (Damaged, OSError):
            self.finder.damaged(caching, entry)
            caching.leave()
            caching.status = MISS
            return None

    def _use_by_wishes(
        self, request: Request, caching: Caching, entry: Entry, now: int, wishes: Wishes | None, fresh: bool
    ) -> Response | None:
        """RFC 9111 sections 4.2.4 and 5.2.1: what the upstream forbids and the client wants."""
        caching.sticks = not fresh and control_for(head_of(entry), self.ignore).forbids_stale()
        if wishes is not None:
            valid = caching.store.index.valid(entry.row, entry.generation)
            if not caching.sticks and pleases(wishes, valid, now, age_of(entry, now)):
                caching.status = HIT if fresh else STALE
                return self.answers.response(request, caching, entry)
            caching.why = b"request" if fresh else b"stale"
            caching.forced = fresh or wishes.no_cache or wishes.max_age >= 0 or wishes.min_fresh > 0
            if wishes.only_if_cached:
                return None
        return self._stale(request, caching, entry, now)

    def _stale(self, request: Request, caching: Caching, entry: Entry, now: int) -> Response | None:
        """What is there is good no longer, or not good enough."""
        settings = self.settings
        caching.found(entry)
        if caching.why != b"request":
            caching.why = b"stale"
        head = caching.stored_head = head_of(entry)
        asks = caching.keep and (settings.revalidate or (self.rfc and has_validator(head)))
        caching.revalidate = asks and head.status in (200, 206)
        window = caching.store.index.updating(entry.row, entry.generation) >= now
        allowed = (settings.use_stale & WHILE_UPDATING != 0 or window) and not caching.sticks and not caching.forced
        if self.finder.claim(request, caching):
            background = settings.background_update or (self.rfc and window)
            if allowed and background and caching.keep and _can_be_asked_again(request):
                index = caching.store.index
                _, generation = index.look(entry.first, entry.second)
                if generation == entry.generation and index.valid(entry.row, generation) < now:
                    self._update(request, caching)
                else:
                    caching.release()  # somebody was done between our look and our claim
                caching.status = STALE
                return self.answers.response(request, caching, entry)
        elif allowed:
            caching.status = UPDATING
            return self.answers.response(request, caching, entry)
        caching.status = EXPIRED
        return None

    async def _wait(self, request: Request, caching: Caching, wishes: Wishes | None) -> Response | None:
        """`proxy_cache_lock`: fetch, or wait for who does."""
        reactor = request.reactor
        deadline = reactor.now + self.settings.lock_timeout
        stream = request.stream
        pause = _LOOK_SECONDS
        seen = 0  # what was looked at last: the generation of a file, or a failure's status below zero
        while True:
            claimed = self.finder.claim(request, caching)
            flags, generation = caching.store.index.look(caching.first, caching.second)
            found = generation if flags & EXISTS else -(flags >> STATUS_SHIFT)
            if found and found != seen:  # somebody was done after we had looked, also when the right to fetch is ours now
                seen = found
                caching.release()
                now = int(reactor.wall())
                entry = self.finder.look_up(request, caching, now)
                if entry is not None:
                    answer: Response | None = None
                    try:
                        if await self.finder.is_sound(caching, entry):
                            answer = self._use(request, caching, entry, now, wishes)
                    finally:
                        entry.give()
                    if answer is not None or caching.status == EXPIRED:
                        return answer
                continue
            if claimed:
                return None
            if reactor.now >= deadline:
                caching.keep = False
                return None
            if stream is not None:
                stream.watch()
            caching.collapsed = True
            await caching.store.waiting.wait(caching.first, caching.second, min(pause, deadline - reactor.now))
            pause = min(2.0 * pause, _MOST_LOOK_SECONDS)
            seen = max(seen, 0)
            if stream is not None:
                stream.unwatch()

    # -- fetching --------------------------------------------------------------------------------------------------------

    async def _fetch(self, request: Request, caching: Caching) -> Response | None:
        caching.purges = caching.store.index.purges()
        caching.asked = int(request.reactor.wall())
        if self.settings.max_range_offset >= 0 and _is_beyond(request, self.settings.max_range_offset):
            caching.keep = False
            caching.revalidate = False  # a 304 is for the client's conditions
        try:
            return await self.proxy.handle_async(request)
        except HTTPError as error:
            entry = caching.entry
            if caching.failure:
                self.keeping.keep_failure(request, caching, error.status)
            if entry is None or caching.status != EXPIRED or not self._may_use(request, caching, entry, caching.failure):
                raise
            caching.status = STALE
            try:
                answer = self.answers.response(request, caching, entry)
            except (Damaged, OSError):
                self.finder.damaged(caching, entry)
                raise error from None
            if error.reason:
                request.log_error(error.level, error.reason)
            return answer
        except BaseException:
            if caching.fill is not None:
                caching.fill.abort()
            raise
        finally:
            caching.release()
            caching.leave()

    def _may_use(self, request: Request, caching: Caching, entry: Entry, failure: int) -> bool:
        """Whether the stale entry answers in place of such a failure."""
        if caching.sticks or caching.forced:
            return False
        if self.settings.use_stale & failure:
            return True
        if failure & (_ANY_ERROR if self.rfc else _NO_ANSWER) == 0:
            return False
        return caching.store.index.error(entry.row, entry.generation) >= int(request.reactor.wall())

    def instead(self, request: Request, caching: Caching, answer: ResponseHead) -> Response | None:
        """The kept answer in place of the upstream's: it says 304, or has failed."""
        entry = caching.entry
        if entry is None or caching.status != EXPIRED:
            return None
        if answer.status == 304 and caching.revalidate:
            self.keeping.renew(request, caching, entry, answer)
            caching.status = REVALIDATED
        elif self._may_use(request, caching, entry, BY_STATUS.get(answer.status, 0)):
            caching.status = STALE
        else:
            if self.rfc and answer.status == 200 and caching.keep and self.keeping.asked_with_head(request, caching):
                self._compare(request, caching, entry, answer)
            return None
        caching.upstream_status = answer.status
        try:
            return self.answers.response(request, caching, entry)
        except (Damaged, OSError):
            self.finder.damaged(caching, entry)
            raise HTTPError(502, "the kept answer that the upstream confirmed is damaged", ERR) from None

    def _compare(self, request: Request, caching: Caching, entry: Entry, answer: ResponseHead) -> None:
        """RFC 9111 section 4.3.5: an answer to HEAD freshens what is kept, or shows that it is good for nothing any more."""
        if is_same_as_head(head_of(entry), answer):
            self.keeping.renew(request, caching, entry, answer)
        else:
            caching.store.purge(entry.first, entry.second)

    # -- in the background -------------------------------------------------------------------------------------------------

    def _update(self, request: Request, caching: Caching) -> None:
        """Fetch anew while the stale answer goes out."""
        again = clone_of(request)
        if request.body is not None:
            try:
                again.body = request.body.copy_for(again)
            except FileFailed:  # no descriptors left
                caching.release()
                return
        again.method = caching.method or request.method
        again.stream = None
        mine = Caching(caching.store, caching.key, caching.first, caching.second)
        mine.main_first, mine.main_second = caching.main_first, caching.main_second
        mine.vary = caching.vary
        mine.family = caching.family
        mine.status = EXPIRED
        mine.claimed = True
        caching.claimed = False
        mine.revalidate = caching.revalidate
        if caching.entry is not None:
            mine.found(caching.entry)
        again.caching = mine
        request.reactor.spawn(self._run_update(again, mine))

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


def _can_be_asked_again(request: Request) -> bool:
    """Whether an update in the background asks what the request has asked: a part of a slice, or a body passed on, is gone then."""
    return request.parent is None and request.slices is None and (request.body is None or request.body.was_read())


def _is_beyond(request: Request, most: int) -> bool:
    """Whether a request's first range begins at this byte or later, or counts from the end (ngx_http_upstream_cache_check_range)."""
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
