"""`proxy_cache`: a location's answers from the cache, and into it (ngx_http_upstream_cache).

    at hand in this worker, and fresh  ─▶ HIT, without a system call but for the sending
    in the index                       ─▶ open the file; fresh: HIT
    good no longer                     ─▶ STALE or UPDATING where that is allowed, else ask the upstream: EXPIRED, REVALIDATED
    not there                          ─▶ MISS; with `proxy_cache_lock`, whoever comes second waits
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, final

from portico.cache.caching import BYPASS, EXPIRED, HIT, MISS, REVALIDATED, STALE, UPDATING, Caching
from portico.cache.entry import Damaged, Entry, Meta, Times, open_entry
from portico.cache.fill import Fill
from portico.cache.index import CHECKED, EXISTS, STATUS_SHIFT
from portico.cache.store import Store, digest, variant_name
from portico.codec.dates import parse_date
from portico.codec.http1_response import ResponseHead, parse_response_head
from portico.features.proxy.handler import ProxyHandler
from portico.features.proxy.target import upstream_uri
from portico.http.errors import ERR, BodyCutShort, CloseConnection, HTTPError, InternalRedirect
from portico.http.handler import Handler
from portico.http.output import fields_of
from portico.http.response import BytesBody, FileBody, Response
from portico.http.subrequest import subrequest_of
from portico.http.variables import any_set
from portico.net.reactor import ClientGone, NetworkSignal
from portico.upstream.body import Sink
from portico.upstream.cache_rules import IGNORE_VARY, Verdict, judge, variant_of
from portico.upstream.cache_settings import BY_METHOD, CacheSettings
from portico.upstream.cache_settings import UPDATING as WHILE_UPDATING
from portico.upstream.failure import BY_STATUS, ERROR, INVALID_HEADER, TIMEOUT
from portico.zones.owner import is_alive

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.runtime import Runtime

_NO_ANSWER: Final = ERROR | TIMEOUT | INVALID_HEADER  # what stale-if-error is about, to nginx
_IN_ONE_PIECE: Final = 32768  # bytes of body that are read and sent with the head; longer ones go by sendfile
_LOOK_SECONDS: Final = 0.05  # between two looks whether another worker has what is waited for
_CONDITIONS: Final = (b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since", b"range")
_TAGS: Final = (b"cache-tag", b"surrogate-key")
_FAMILY: Final = 8  # bytes


@final
class Caches:
    """The caches of one configuration by the names of their zones."""

    def __init__(self) -> None:
        self.stores: dict[bytes, Store] = {}
        self.runtime: Runtime | None = None  # of this worker


@final
class Storing(Sink):
    """Passes a body on to a fill. A disk that fails ends the storing, not the answer."""

    def __init__(self, fill: Fill) -> None:
        self.fill = fill

    def write(self, data: bytes) -> None:
        if self.fill.over:
            return
        try:
            self.fill.write(data)
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
class CachedProxy(Handler):
    """`proxy_pass` of a location with `proxy_cache`."""

    def __init__(self, proxy: ProxyHandler, settings: CacheSettings, caches: Caches) -> None:
        self.is_async = True
        self.proxy = proxy
        self.settings = settings
        self.caches = caches
        self.store: Store | None = None  # None: its name has variables
        self.ignore = proxy.rules.ignore
        proxy.cached = self

    def describe(self) -> str:
        return f"{self.proxy.describe()} with a cache"

    async def handle_async(self, request: Request) -> Response | None:
        settings = self.settings
        store = self.store if self.store is not None else self.store_of(request)
        if store is None or not BY_METHOD.get(request.method, 0) & settings.methods:
            request.caching = None
            return await self.proxy.handle_async(request)
        key = self.key_of(request)
        now = int(request.client.transport.reactor.wall())
        bypass = bool(settings.bypass) and any_set(settings.bypass, request)
        if not bypass:
            entry = self._at_hand(request, store, key, now)
            if entry is not None and store.index.valid(entry.slot, entry.generation) >= now:
                caching = Caching(store, key, entry.first, entry.second)
                caching.status = HIT
                request.caching = caching
                try:
                    return self._response(request, caching, entry)
                except (Damaged, OSError):
                    self._damaged(caching, entry)
        first, second = digest(key)
        caching = Caching(store, key, first, second)
        request.caching = caching
        if request.method == b"HEAD" and settings.convert_head:
            caching.method = b"GET"
        if bypass:
            caching.status = BYPASS
        else:
            answer = await self._find(request, caching, now)
            if answer is not None:
                caching.leave()
                return answer
        return await self._fetch(request, caching)

    # -- finding ---------------------------------------------------------------------------------------------------------

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

    def key_of(self, request: Request) -> bytes:
        """What the answer is kept under."""
        key = self.settings.key
        if key is not None:
            return key.render(request)
        target = self.proxy.target
        if target is None:
            return self.proxy.url.render(request)
        return target.url + upstream_uri(request, target, self.proxy.prefix, False)

    def _at_hand(self, request: Request, store: Store, key: bytes, now: int) -> Entry | None:
        """The entry that this worker has open, of the variant that the request asks for."""
        entry = store.at_hand(key, now)
        if entry is None or not entry.meta.vary or self.ignore & IGNORE_VARY:
            return entry
        variant = variant_of(entry.meta.vary, request.fields.names, request.fields.values)
        if variant == entry.meta.variant:
            return entry
        return store.at_hand(variant_name(key, entry.meta.family, variant), now)

    def _look_up(self, request: Request, caching: Caching, now: int) -> Entry | None:
        """The entry in the index. Sets the digest under which the answer belongs."""
        key = caching.key
        caching.vary = b""
        caching.first, caching.second = caching.main_first, caching.main_second
        entry = self._open(caching, key, None, now)
        if entry is None or not entry.meta.vary or self.ignore & IGNORE_VARY:
            return entry
        caching.family = entry.meta.family
        variant = variant_of(entry.meta.vary, request.fields.names, request.fields.values)
        if variant == entry.meta.variant:
            return entry
        caching.vary = entry.meta.vary
        name = variant_name(key, entry.meta.family, variant)
        caching.first, caching.second = digest(name)
        return self._open(caching, name, variant, now)

    def _open(self, caching: Caching, name: bytes, variant: bytes | None, now: int) -> Entry | None:
        store = caching.store
        first, second = caching.first, caching.second
        entry = store.at_hand(name, now)
        if entry is not None:
            return entry
        slot, flags, generation, caching.uses, removed = store.index.use(first, second, now)
        if removed is not None:
            store.remove_files([removed])
        if not flags & EXISTS:
            if flags >> STATUS_SHIFT and store.index.valid(slot, generation) >= now:
                caching.status = HIT
                raise HTTPError(flags >> STATUS_SHIFT)
            if not store.exists_unknown(first, second):
                return None
            slot, flags, generation, _, _ = store.index.use(first, second, now)
        try:
            return store.read(name, caching.key, variant, first, second, slot, generation)
        except OSError as error:
            store.unreadable(error)
            caching.keep = False
            return None

    def _damaged(self, caching: Caching, entry: Entry) -> None:
        """The file is not what it was when it was opened: as if it had not been there."""
        store = caching.store
        store.damaged(store.path_of(entry.first, entry.second), entry.first, entry.second, entry.generation)

    async def _find(self, request: Request, caching: Caching, now: int) -> Response | None:
        """An answer from the cache; None: the upstream is to be asked, and `caching` says what to do with its answer."""
        entry = self._look_up(request, caching, now)
        if entry is not None and not await self._is_sound(caching, entry):
            entry = None
        if entry is None:
            if not self.settings.lock or not caching.keep or caching.uses < self.settings.min_uses:
                return None
            return await self._wait(request, caching)
        return self._use(request, caching, entry, now)

    def _use(self, request: Request, caching: Caching, entry: Entry, now: int) -> Response | None:
        """The answer that an entry gives, fresh or stale; None: the upstream is to be asked."""
        try:
            if caching.store.index.valid(entry.slot, entry.generation) >= now:
                caching.status = HIT
                return self._response(request, caching, entry)
            return self._stale(request, caching, entry, now)
        except (Damaged, OSError):
            self._damaged(caching, entry)
            caching.leave()
            caching.status = MISS
            return None

    async def _is_sound(self, caching: Caching, entry: Entry) -> bool:
        """Whether the body is what was stored. A long one that was not looked at since the start is read once, on a thread."""
        store = caching.store
        flags, _ = store.index.look(entry.first, entry.second)
        if flags & CHECKED:
            return True
        entry.hold()
        try:
            await asyncio.get_running_loop().run_in_executor(None, entry.check_body)
            store.check_done(entry)
        except Damaged:
            store.damaged(store.path_of(entry.first, entry.second), entry.first, entry.second, entry.generation)
            return False
        except OSError:
            return False
        finally:
            entry.give()
        return True

    def _stale(self, request: Request, caching: Caching, entry: Entry, now: int) -> Response | None:
        """What is there is good no longer."""
        settings = self.settings
        index = caching.store.index
        caching.found(entry)
        caching.revalidate = settings.revalidate and _status(entry) in (200, 206)
        allowed = settings.use_stale & WHILE_UPDATING != 0 or index.updating(entry.slot, entry.generation) >= now
        if self._claim(request, caching):
            if allowed and settings.background_update and request.parent is None:
                self._update(request, caching)
                caching.status = STALE
                return self._response(request, caching, entry)
        elif allowed:
            caching.status = UPDATING
            return self._response(request, caching, entry)
        caching.status = EXPIRED
        return None

    def _claim(self, request: Request, caching: Caching) -> bool:
        """Become the one who fetches the key; False: somebody else, who lives, does."""
        store = caching.store
        now = int(request.client.transport.reactor.now * 1000)
        age = int(self.settings.lock_age * 1000)
        other = store.index.claim(caching.first, caching.second, store.identity, now, age)
        if other and other != store.identity and not is_alive(other):
            store.index.release(caching.first, caching.second, other)
            other = store.index.claim(caching.first, caching.second, store.identity, now, age)
        caching.claimed = other == 0
        return caching.claimed

    async def _wait(self, request: Request, caching: Caching) -> Response | None:
        """`proxy_cache_lock`: fetch, or wait for who does."""
        reactor = request.client.transport.reactor
        deadline = reactor.now + self.settings.lock_timeout
        connection = request.connection
        seen = 0  # what was looked at last: the generation of a file, or a failure's status below zero
        while True:
            claimed = self._claim(request, caching)
            flags, generation = caching.store.index.look(caching.first, caching.second)
            found = generation if flags & EXISTS else -(flags >> STATUS_SHIFT)
            if found and found != seen:  # somebody was done after we had looked, also when the right to fetch is ours now
                seen = found
                caching.release()
                answer = self._meanwhile(request, caching)
                if answer is not None or caching.status == EXPIRED:
                    return answer
                continue
            if claimed:
                return None
            if reactor.now >= deadline:
                caching.keep = False
                return None
            if connection is not None:
                connection.abortable = True
                if request.client.transport.peer_closed:
                    raise ClientGone
            await self._released(caching, min(_LOOK_SECONDS, deadline - reactor.now))
            seen = max(seen, 0)
            if connection is not None:
                connection.abortable = False

    def _meanwhile(self, request: Request, caching: Caching) -> Response | None:
        """What somebody else has stored; None: nothing for us (another variant), or good no longer (EXPIRED)."""
        now = int(request.client.transport.reactor.wall())
        entry = self._look_up(request, caching, now)
        return None if entry is None else self._use(request, caching, entry, now)

    async def _released(self, caching: Caching, seconds: float) -> None:
        """Return when this worker has given back the right to fetch the key, or after `seconds`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        store = caching.store
        store.on_release(caching.first, caching.second, wake)
        timer = loop.call_later(max(seconds, 0.001), wake)
        try:
            await future
        finally:
            timer.cancel()
            store.waits_no_more(caching.first, caching.second, wake)

    # -- answering -------------------------------------------------------------------------------------------------------

    def _response(self, request: Request, caching: Caching, entry: Entry) -> Response:
        head = entry.parsed
        if head is None:
            head = entry.parsed = parse_response_head(entry.meta.head)
        assert isinstance(head, ResponseHead)
        request.upstream_fields = head
        request.proxy_target = self.proxy.target
        conditional = _has_conditions(request)
        length = entry.body_length
        if request.method == b"HEAD":
            response = self.proxy.rules.response(request, head, BytesBody(b""))
        elif entry.data is not None or length <= _IN_ONE_PIECE:
            data = entry.body()
            if caching.store.memory and entry.short is None:
                caching.store.keep_body(entry, data)
            if entry.owner is self and not conditional:
                response = Response(head.status, BytesBody(data))
                response.from_upstream = True
                response.head = entry.lines
                return response
            response = self.proxy.rules.response(request, head, BytesBody(data))
        else:
            response = self.proxy.rules.response(request, head, FileBody(entry.fd, entry.body_at, length, False, entry))
        response.content_length = length
        self._open_to_conditions(response, head)
        if not conditional and not self.proxy.edits_heads and self.proxy.is_memorable(response) and request.method != b"HEAD":
            entry.lines = fields_of(request, response)
            entry.owner = self
        return response

    def _open_to_conditions(self, response: Response, head: ResponseHead) -> None:
        """304, 412 and ranges are made of what is kept (RFC 9111 section 4.3.2; nginx: only where the upstream has ranges itself)."""
        response.conditional = True
        response.last_modified = last_modified_of(head)
        if head.get(b"accept-ranges") is not None:
            response.allow_ranges = True
            response.replace(b"accept-ranges", b"", b"")

    # -- fetching --------------------------------------------------------------------------------------------------------

    async def _fetch(self, request: Request, caching: Caching) -> Response | None:
        caching.purges = caching.store.index.purges()
        if 0 <= self.settings.max_range_offset < _range_start(request):
            caching.keep = False
            caching.passes_range = True
        try:
            return await self.proxy.handle_async(request)
        except HTTPError as error:
            entry = caching.entry
            if caching.failure:
                self.keep_failure(request, caching, error.status)
            if entry is None or caching.status != EXPIRED or not self._may_use(request, caching, entry, caching.failure):
                raise
            try:
                answer = self._response(request, caching, entry)
            except (Damaged, OSError):
                self._damaged(caching, entry)
                raise error from None
            if error.reason:
                request.log_error(error.level, error.reason)
            caching.status = STALE
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
        if self.settings.use_stale & failure:
            return True
        if failure & _NO_ANSWER == 0:
            return False
        return caching.store.index.error(entry.slot, entry.generation) >= int(request.client.transport.reactor.wall())

    def instead(self, request: Request, caching: Caching, answer: ResponseHead) -> Response | None:
        """The kept answer in place of the upstream's: it says 304, or has failed."""
        entry = caching.entry
        if entry is None or caching.status != EXPIRED:
            return None
        if answer.status == 304 and caching.revalidate:
            self._renew(request, caching, entry, answer)
            caching.status = REVALIDATED
        elif self._may_use(request, caching, entry, BY_STATUS.get(answer.status, 0)):
            caching.status = STALE
        else:
            return None
        try:
            return self._response(request, caching, entry)
        except (Damaged, OSError):
            self._damaged(caching, entry)
            raise HTTPError(502, "the kept answer that the upstream confirmed is damaged", ERR) from None

    def _renew(self, request: Request, caching: Caching, entry: Entry, answer: ResponseHead) -> None:
        """304: what is kept is good again, for as long as the new head says, or the old one's status allows."""
        now = int(request.client.transport.reactor.wall())
        verdict = judge(answer, now, self.ignore)
        valid = verdict.valid
        if not valid:
            seconds = self.settings.valid_for(_status(entry))
            valid = now + seconds if seconds else 0
        if not verdict.keep or not valid:
            return
        times = _times(verdict, valid, now)
        try:
            caching.store.refresh(entry, times)
        except OSError as error:
            caching.store.complain(f'cache times cannot be written ({error.errno}: {error.strerror})')

    def conditions(self, request: Request, caching: Caching) -> bytes:
        """The lines that ask whether the kept answer is still good; or for the range that the client wants of what is not kept."""
        if caching.passes_range:
            return b"Range: " + request.fields.first[b"range"] + b"\r\n"
        entry = caching.entry
        if entry is None or not caching.revalidate:
            return b""
        head = entry.parsed
        assert isinstance(head, ResponseHead)
        lines = b""
        modified = head.get(b"last-modified")
        if modified is not None and last_modified_of(head) >= 0:
            lines += b"If-Modified-Since: " + modified + b"\r\n"
        tag = head.get(b"etag")
        if tag is not None:
            lines += b"If-None-Match: " + tag + b"\r\n"
        return lines

    def sink(self, request: Request, caching: Caching, answer: ResponseHead, raw: bytes) -> Sink | None:
        """Where to put the body of an answer that may be kept; None when it may not."""
        if not caching.keep or caching.uses < self.settings.min_uses or answer.status in (101, 304):
            return None
        if not self.proxy.rules.buffering(answer, self.proxy.settings.buffering):
            return None  # nginx: only what is buffered is kept
        if self.settings.no_cache and any_set(self.settings.no_cache, request):
            return None
        now = int(request.client.transport.reactor.wall())
        verdict = judge(answer, now, self.ignore)
        if not verdict.keep:
            return None
        valid = verdict.valid
        if not valid:
            seconds = self.settings.valid_for(answer.status)
            if not seconds:
                return None
            valid = now + seconds
        times = _times(verdict, valid, now)
        if caching.vary and verdict.vary != caching.vary:
            caching.release()  # what was a variant is the key's own answer from now on
            caching.first, caching.second = caching.main_first, caching.main_second
            caching.family = b""
        variant = variant_of(verdict.vary, request.fields.names, request.fields.values) if verdict.vary else b""
        tags = b" ".join(b" ".join(answer.get_all(name)) for name in _TAGS if name in answer.first).replace(b",", b" ")
        family = (caching.family or self._family(caching)) if verdict.vary else b""
        fill = caching.store.fill(caching.first, caching.second, caching.purges, caching.claimed)
        storing = Storing(fill)
        try:
            fill.begin(Meta(caching.key, verdict.vary, variant, b" ".join(tags.split()), raw, family), times)
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

    def intercepted(self, request: Request, caching: Caching, answer: ResponseHead) -> None:
        """An error page of our own takes the place of the upstream's answer: the status is kept."""
        if judge(answer, int(request.client.transport.reactor.wall()), self.ignore).keep:
            self.keep_failure(request, caching, answer.status)

    def keep_failure(self, request: Request, caching: Caching, status: int) -> None:
        """`proxy_cache_valid` of an error that Portico answers itself: no upstream (502, 504), or an error page of its own."""
        seconds = self.settings.valid_for(status)
        if not seconds or not caching.keep or caching.uses < self.settings.min_uses:
            return
        now = int(request.client.transport.reactor.wall())
        removed = caching.store.index.store_failure(caching.first, caching.second, status, now + seconds, now)
        if removed is not None:
            caching.store.remove_files([removed])

    def kept(self, response: Response, answer: ResponseHead) -> None:
        """The client's answer is one that is being kept: conditions and ranges apply to it."""
        self._open_to_conditions(response, answer)

    # -- in the background -------------------------------------------------------------------------------------------------

    def _update(self, request: Request, caching: Caching) -> None:
        """Fetch anew while the stale answer goes out."""
        again = subrequest_of(request, request.uri, request.args)
        again.location = request.location
        again.method = caching.method or request.method
        again.plain_uri = request.plain_uri
        again.quoted_uri = request.quoted_uri
        again.connection = None
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
        request.client.transport.reactor.spawn(self._run_update(again, mine))

    async def _run_update(self, request: Request, caching: Caching) -> None:
        runtime = self.caches.runtime
        if runtime is not None:
            runtime.background += 1
        try:
            response = await self._fetch(request, caching)
            if response is not None:
                response.body.close()  # what is not here yet is read on without anybody who waits
        except (HTTPError, InternalRedirect, CloseConnection, BodyCutShort, OSError, NetworkSignal):
            pass  # what there was to say is in the error log
        finally:
            if runtime is not None:
                runtime.background -= 1


def _times(verdict: Verdict, valid: int, now: int) -> Times:
    updating = valid + verdict.updating if verdict.updating else 0
    return Times(valid, updating, valid + verdict.error if verdict.error else 0, now, 0)


def _status(entry: Entry) -> int:
    head = entry.parsed
    if head is None:
        head = entry.parsed = parse_response_head(entry.meta.head)
    assert isinstance(head, ResponseHead)
    return head.status


def last_modified_of(head: ResponseHead) -> float:
    """Last-Modified in seconds since the epoch; -1 when there is none, or none that can be read."""
    text = head.get(b"last-modified")
    return -1.0 if text is None else parse_date(text)


def _has_conditions(request: Request) -> bool:
    first = request.fields.first
    return any(name in first for name in _CONDITIONS)


def _range_start(request: Request) -> int:
    """Where the first range of a request begins; -1 when it asks for none (ngx_http_upstream_cache_check_range)."""
    text = request.fields.first.get(b"range")
    if text is None or not text.lower().startswith(b"bytes="):
        return -1
    digits = text[6:].strip(b" ").partition(b"-")[0].strip(b" ")
    if not digits.isdigit():
        return -1
    return int(digits[:18])
