"""The cache's part in an exchange with the upstream: a `ResponseHook` of the location's `proxy_pass`.

    before the request is sent    GET for HEAD; If-None-Match and If-Modified-Since of what is stored
    no response, or a failure     a stale one takes its place where that is allowed
    304                           what is stored is fresh again, and is sent
    anything else                 is stored if it may be, while the client gets it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.cache.caching import EXPIRED, REVALIDATED, STALE
from portico.cache.entry import Damaged
from portico.cache.policy.rfc9111 import is_same_as_head
from portico.errorlog import ERR
from portico.http.errors import HTTPError
from portico.http.response import ONE_RANGE
from portico.passing.cached.responses import head_of
from portico.passing.failure import BY_STATUS, ERROR, HTTP_500, HTTP_502, HTTP_503, HTTP_504, INVALID_HEADER, TIMEOUT
from portico.passing.hook import ResponseHook, Sink
from portico.passing.response import last_modified_of

if TYPE_CHECKING:
    from portico.cache.caching import Caching
    from portico.cache.entry import Entry
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.passing.cached.finder import Finder
    from portico.passing.cached.responses import CachedResponses
    from portico.passing.cached.settings import CacheSettings
    from portico.passing.cached.storing import CacheWriter
    from portico.passing.fields import RequestFieldRules
    from portico.passing.protocol import UpstreamRequest

_NO_RESPONSE: Final = ERROR | TIMEOUT | INVALID_HEADER  # what stale-if-error is about, to nginx
_ANY_ERROR: Final = _NO_RESPONSE | HTTP_500 | HTTP_502 | HTTP_503 | HTTP_504  # … and to RFC 5861 section 4


def caching_of(request: Request) -> Caching | None:
    """Return how far a cache has got with a request; None when it has nothing to do with it."""
    return None if request.upstream is None else request.upstream.caching


@final
class CacheResponseHook(ResponseHook):
    """Fills the cache of one location, and responds from it where the upstream says 304 or fails.

    Acts on the request's caching; where that is None, the cache has nothing to do with the request.
    """

    def __init__(
        self, settings: CacheSettings, fields: RequestFieldRules, finder: Finder, responses: CachedResponses, writer: CacheWriter
    ) -> None:
        self.settings = settings
        self.rfc = settings.rfc
        self.fields = fields
        self.finder = finder
        self.responses = responses
        self.writer = writer

    def before_send(self, request: Request, asked: UpstreamRequest) -> None:
        caching = caching_of(request)
        if caching is None:
            asked.fields = self.fields.withheld(request)  # the upstream judges the client's conditions and ranges
            return
        asked.abortable = not caching.may_store
        if not asked.method_is_set:
            if caching.method:
                asked.method = caching.method
            caching.asked_with_head = asked.method == b"HEAD"
        asked.fields = self._conditions(request, caching)

    def _conditions(self, request: Request, caching: Caching) -> list[tuple[bytes, bytes]]:
        """Return fields that ask whether the stored response is still fresh, or the client's own if the new one may not be stored."""
        entry = caching.entry
        if entry is None or not caching.revalidate:
            if caching.may_store and caching.uses >= self.settings.min_uses:
                return []
            return self.fields.withheld(request)
        stored = head_of(entry)
        fields: list[tuple[bytes, bytes]] = []
        modified = stored.get(b"last-modified")
        if modified is not None and last_modified_of(stored) >= 0:
            fields.append((b"If-Modified-Since", modified))
        tag = stored.get(b"etag")
        if tag is not None:
            fields.append((b"If-None-Match", tag))
        return fields

    def on_failure(self, request: Request, condition: int) -> None:
        caching = caching_of(request)
        if caching is not None:
            caching.failure = condition

    def on_head(self, request: Request, head: ResponseHead) -> Response | None:
        caching = caching_of(request)
        if caching is None or caching.entry is None or caching.status != EXPIRED:
            return None
        return self._substitute_stored(request, caching, caching.entry, head)

    def _substitute_stored(self, request: Request, caching: Caching, entry: Entry, head: ResponseHead) -> Response | None:
        """Return the stored response if the upstream's is a 304 or a failure for which a stale one may be served; else None."""
        if head.status == 304 and caching.revalidate:
            self.writer.revalidated(request, caching, entry, head)
            caching.status = REVALIDATED
        elif self.may_use_stale(request, caching, entry, BY_STATUS.get(head.status, 0)):
            caching.status = STALE
        else:
            if self.rfc and head.status == 200 and caching.may_store and caching.asked_with_head:
                self._compare(request, caching, entry, head)
            return None
        caching.upstream_status = head.status
        try:
            return self.responses.response(request, caching, entry)
        except (Damaged, OSError):
            self.finder.damaged(caching, entry)
            raise HTTPError(502, "the stored response that the upstream confirmed is damaged", ERR) from None

    def may_use_stale(self, request: Request, caching: Caching, entry: Entry, failure: int) -> bool:
        """Return whether a stale entry may be served in place of such a failure (failure.py; 0: it is none)."""
        if caching.stale_forbidden or caching.forced:
            return False
        if self.settings.use_stale & failure:
            return True
        if failure & (_ANY_ERROR if self.rfc else _NO_RESPONSE) == 0:
            return False
        return caching.store.index.error(entry.row, entry.generation) >= int(request.reactor.wall())

    def _compare(self, request: Request, caching: Caching, entry: Entry, head: ResponseHead) -> None:
        """Freshen what is stored by a response to HEAD, or purge it when it is another one by now (RFC 9111 section 4.3.5)."""
        if is_same_as_head(head_of(entry), head):
            self.writer.revalidated(request, caching, entry, head)
        else:
            caching.store.purge(entry.first, entry.second)

    def on_intercepted(self, request: Request, head: ResponseHead) -> None:
        caching = caching_of(request)
        if caching is not None:
            self.writer.intercepted(request, caching, head)

    def sink(self, request: Request, head: ResponseHead, method: bytes) -> Sink | None:
        caching = caching_of(request)
        return None if caching is None else self.writer.sink(request, caching, head)

    def on_response(self, request: Request, head: ResponseHead, response: Response) -> None:
        self.responses.open_to_conditions(request, response, head, last_modified_of(head), ONE_RANGE)
