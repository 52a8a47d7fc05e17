"""An answer made of what is kept: status and fields as the upstream sent them, the body from memory or the file.

With `proxy_cache_rfc` it also tells its age (RFC 9111 section 5.1) and what the cache did (`Cache-Status`, RFC 9211).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.cache.caching import BYPASS, MISS, STALE, UPDATING
from portico.cache.entry import ONE_PIECE
from portico.cache.policy.control import ANY_AGE
from portico.cache.policy.rfc9111 import cache_status
from portico.codec.dates import parse_date
from portico.codec.http1_response import ResponseHead, parse_response_head
from portico.http.finished import FinishedHead
from portico.http.handler import can_be_finished
from portico.http.header_section import finished_head
from portico.http.response import EMPTY, Body, BytesBody, FileBody, Response
from portico.net.reactor import http_date

if TYPE_CHECKING:
    from portico.cache.caching import Caching
    from portico.cache.entry import Entry
    from portico.http.request import Request
    from portico.passing.cached.settings import CacheSettings
    from portico.passing.handler import ProxyHandler


@final
class Answers:
    """The answers of one location."""

    def __init__(self, proxy: ProxyHandler, settings: CacheSettings) -> None:
        self.proxy = proxy
        self.rfc = settings.rfc

    def response(self, request: Request, caching: Caching, entry: Entry) -> Response:
        """The client's answer. Raises Damaged, OSError."""
        merged = caching.merged
        head = merged if isinstance(merged, ResponseHead) else head_of(entry)
        request.upstream_fields = head
        request.proxy_target = self.proxy.target
        caching.stored = entry.times.stored - entry.times.age
        body = EMPTY if request.method == b"HEAD" else _body_of(entry, caching)
        for_all = body is not EMPTY and merged is None and not request.has_conditions()
        for_all = for_all and can_be_finished(self.proxy.editors, request, head)
        finished = entry.finished
        if for_all and isinstance(finished, FinishedHead) and finished.owner is self:
            response = _known(finished, head, body)
        else:
            response = self._made(request, entry, head, body, for_all)
            if for_all and not response.reason and self.proxy.is_memorable(response):
                made = finished_head(request, response, self)
                entry.finished = made
                response = _known(made, head, body)
        if self.rfc:
            self._tell_kept(request, caching, entry, head, response)
        return response

    def _made(self, request: Request, entry: Entry, head: ResponseHead, body: Body, for_all: bool) -> Response:
        """The answer with all its fields. `for_all`: nobody asks how old it is, so the date need not be read."""
        response = self.proxy.rules.response(request, head, body)
        response.content_length = entry.body_length
        if not for_all and entry.modified < -1.0:
            entry.modified = last_modified_of(head_of(entry))
        self.open_to_conditions(request, response, head, entry.modified)
        if self.rfc:
            response.date = b""
            response.replace(b"age", b"", b"")
        return response

    def open_to_conditions(self, request: Request, response: Response, head: ResponseHead, modified: float) -> None:
        """304, 412 and ranges are made of what is kept (RFC 9111 section 4.3.2; nginx: only where the upstream has ranges itself)."""
        response.conditional = True
        response.by_caches = self.rfc
        response.last_modified = modified
        if self.proxy.force_ranges or head.get(b"accept-ranges") is not None:
            response.allow_ranges = request.location.core.max_ranges != 0
            response.replace(b"accept-ranges", b"", b"")

    # -- proxy_cache_rfc -------------------------------------------------------------------------------------------------

    def _tell_kept(self, request: Request, caching: Caching, entry: Entry, head: ResponseHead, response: Response) -> None:
        times = entry.times
        now = int(request.reactor.wall())
        if b"date" not in self.proxy.rules.hidden:
            response.date = head.get(b"date") or http_date(times.stored)
        asked = caching.asked != 0
        detail = caching.status if caching.status in (STALE, UPDATING) else b""
        status = cache_status(
            not asked and not caching.collapsed, caching.why, caching.upstream_status if asked else 0, False, caching.collapsed,
            times.valid + 1 - now, detail,
        )  # fmt: skip
        caching.told = True
        response.add(b"Age", b"%d" % age_of(entry, now))
        response.add(b"Cache-Status", status)

    def tell_fetched(self, request: Request, caching: Caching, response: Response) -> None:
        """Say that the upstream was asked, and whether its answer is kept."""
        if caching.told:
            return
        fill = caching.fill
        stored = fill is not None and (fill.done or not fill.over)
        ttl = ANY_AGE
        if stored and fill is not None:
            ttl = fill.times.valid + 1 - int(request.reactor.wall())
        why = caching.why
        if caching.status == BYPASS:
            why = b"bypass"
        elif caching.status == MISS and caching.vary:
            why = b"vary-miss"
        response.add(b"Cache-Status", cache_status(False, why, 0, stored, caching.collapsed, ttl, b""))

    def tell_passed(self, response: Response) -> None:
        """The method is one that caches have nothing to do with."""
        response.add(b"Cache-Status", cache_status(False, b"method", 0, False, False, ANY_AGE, b""))


def _body_of(entry: Entry, caching: Caching) -> Body:
    """A short body in one piece, or one that stays in memory; a longer one from its file. Raises Damaged, OSError."""
    caching.store.keep_body(entry)
    if entry.data is None and entry.body_length > ONE_PIECE:
        return FileBody(entry.fd, entry.body_at, entry.body_length, False, entry)
    return BytesBody(entry.body())


def _known(finished: FinishedHead, head: ResponseHead, body: Body) -> Response:
    """The response with a header section that is made already."""
    response = Response(head.status, body)
    response.from_upstream = True
    response.finished = finished
    return response


def age_of(entry: Entry, now: int) -> int:
    """RFC 9111 section 4.2.3: current_age, seconds."""
    return max(0, now - entry.times.stored + entry.times.age)


def head_of(entry: Entry) -> ResponseHead:
    """The upstream's head, parsed once."""
    head = entry.parsed
    if head is None:
        head = entry.parsed = parse_response_head(entry.meta.head)
    assert isinstance(head, ResponseHead)
    return head


def last_modified_of(head: ResponseHead) -> float:
    """Last-Modified in seconds since the epoch; -1 when there is none, or none that can be read."""
    text = head.get(b"last-modified")
    return -1.0 if text is None else parse_date(text)
