"""Responses made of entries: status and fields as the upstream sent them, the body from memory or the file.

With `proxy_cache_rfc` they also have `Age` (RFC 9111 section 5.1) and `Cache-Status`, what the cache did (RFC 9211).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.cache.caching import BYPASS, MISS, STALE, UPDATING
from portico.cache.entry import ONE_PIECE
from portico.cache.policy.control import ANY_AGE
from portico.cache.policy.rfc9111 import cache_status
from portico.codec.http1_response import ResponseHead, parse_response_head
from portico.http.finished import FinishedHead
from portico.http.header_section import finished_head
from portico.http.response import (
    ALL_CONDITIONS,
    CACHE_CONDITIONS,
    EMPTY,
    MANY_RANGES,
    NO_RANGES,
    PLAIN_UPSTREAM,
    Body,
    BytesBody,
    FileBody,
    Response,
)
from portico.net.reactor import http_date
from portico.passing.response import ResponseRules, last_modified_of
from portico.passing.target import Target

if TYPE_CHECKING:
    from portico.cache.caching import Caching
    from portico.cache.entry import Entry
    from portico.http.request import Request
    from portico.passing.cached.settings import CacheSettings


@final
class CachedResponses:
    """Makes the cached responses of one location."""

    def __init__(self, rules: ResponseRules, target: Target | None, settings: CacheSettings) -> None:
        self.rules = rules
        self.target = target
        self.rfc = settings.rfc

    def response(self, request: Request, caching: Caching, entry: Entry) -> Response:
        """Return the client's response. Raises Damaged, OSError."""
        merged = caching.merged
        head = merged if isinstance(merged, ResponseHead) else head_of(entry)
        state = request.upstream_state()
        state.fields = head
        state.target = self.target
        caching.stored = entry.times.stored - entry.times.age
        body = EMPTY if request.method == b"HEAD" else _body_of(entry, caching)
        for_all = body is not EMPTY and merged is None and not request.has_conditions()
        for_all = for_all and self.rules.may_finish(request, head)
        finished = entry.finished
        if for_all and isinstance(finished, FinishedHead) and finished.owner is self:
            response = _finished(finished, head, body)
        else:
            response = self._made(request, entry, head, body, for_all)
            if for_all and not _has_reason(response) and self.rules.is_repeatable(response):
                made = finished_head(request, response, self)
                entry.finished = made
                response = _finished(made, head, body)
        if self.rfc:
            self._add_status(request, caching, entry, head, response)
        return response

    def _made(self, request: Request, entry: Entry, head: ResponseHead, body: Body, for_all: bool) -> Response:
        """Return the response with all its fields. `for_all`: nobody asks how old it is, so the date need not be read."""
        response = self.rules.response(request, head, body)
        response.content_length = entry.body_length
        if not for_all and entry.modified < -1.0:
            entry.modified = last_modified_of(head_of(entry))
        self.open_to_conditions(request, response, head, entry.modified, MANY_RANGES)
        if self.rfc:
            if response.upstream is not None and response.upstream.date:
                response.upstream.date = b""  # `_add_status` gives it the one that Age is counted from
            response.replace(b"age", b"", b"")
        return response

    def open_to_conditions(self, request: Request, response: Response, head: ResponseHead, modified: float, ranges: int) -> None:
        """Let 304, 412 and ranges be made of what is stored (RFC 9111 section 4.3.2; nginx: only where the upstream has ranges)."""
        response.conditions = CACHE_CONDITIONS if self.rfc else ALL_CONDITIONS
        response.last_modified = modified
        if self.rules.force_ranges or head.get(b"accept-ranges") is not None:
            response.ranges = ranges if request.location.core.max_ranges != 0 else NO_RANGES
            response.replace(b"accept-ranges", b"", b"")

    # -- proxy_cache_rfc -------------------------------------------------------------------------------------------------

    def _add_status(self, request: Request, caching: Caching, entry: Entry, head: ResponseHead, response: Response) -> None:
        """Add Date, Age and Cache-Status to the response of an entry."""
        times = entry.times
        now = int(request.reactor.wall())
        if b"date" not in self.rules.hidden:
            response.upstream_part().date = head.get(b"date") or http_date(times.stored)
        asked = caching.asked_at != 0
        detail = caching.status if caching.status in (STALE, UPDATING) else b""
        status = cache_status(
            not asked and not caching.collapsed, caching.forward_reason, caching.upstream_status if asked else 0, False,
            caching.collapsed, times.valid + 1 - now, detail,
        )  # fmt: skip
        caching.cache_status_sent = True
        response.add(b"Age", b"%d" % age_of(entry, now))
        response.add(b"Cache-Status", status)

    def add_status_of_fetch(self, request: Request, caching: Caching, response: Response) -> None:
        """Add Cache-Status to the upstream's response: why it was asked, and whether the response is stored."""
        if caching.cache_status_sent:
            return
        fill = caching.fill
        stored = fill is not None and (fill.done or not fill.over)
        ttl = ANY_AGE
        if stored and fill is not None:
            ttl = fill.times.valid + 1 - int(request.reactor.wall())
        reason = caching.forward_reason
        if caching.status == BYPASS:
            reason = b"bypass"
        elif caching.status == MISS and caching.vary:
            reason = b"vary-miss"
        response.add(b"Cache-Status", cache_status(False, reason, 0, stored, caching.collapsed, ttl, b""))

    def add_status_of_method(self, response: Response) -> None:
        """Add Cache-Status to the response to a method that caches have nothing to do with."""
        response.add(b"Cache-Status", cache_status(False, b"method", 0, False, False, ANY_AGE, b""))


def _body_of(entry: Entry, caching: Caching) -> Body:
    """Return a short body, or one that stays in memory, in one piece; a longer one from its file. Raises Damaged, OSError."""
    caching.store.load_body(entry)
    if entry.data is None and entry.body_length > ONE_PIECE:
        return FileBody(entry.fd, entry.body_at, entry.body_length, False, entry)
    return BytesBody(entry.body())


def _finished(finished: FinishedHead, head: ResponseHead, body: Body) -> Response:
    """Return the response with the header section that was finished before."""
    response = Response(head.status, body)
    response.upstream = PLAIN_UPSTREAM
    response.finished = finished
    return response


def _has_reason(response: Response) -> bool:
    """Return whether the upstream has given the status another reason phrase than the standard one."""
    return response.upstream is not None and bool(response.upstream.reason)


def age_of(entry: Entry, now: int) -> int:
    """Return current_age in seconds (RFC 9111 section 4.2.3)."""
    return max(0, now - entry.times.stored + entry.times.age)


def head_of(entry: Entry) -> ResponseHead:
    """Return the upstream's header section, parsed once."""
    head = entry.parsed
    if head is None:
        head = entry.parsed = parse_response_head(entry.meta.head)
    assert isinstance(head, ResponseHead)
    return head
