"""Which responses are compressed, and what their header sections say then (ngx_http_gzip_header_filter)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.codec.accept_encoding import GZIP
from portico.features.compression.body import CompressedBody, FormBody, Threads, compressed_at_once
from portico.features.compression.codings import Coding
from portico.features.compression.forms import Forming, Forms, form_key, is_settled
from portico.http.compression import AcceptedCodings, CompressionRules, has_token, say_vary
from portico.http.content.media_types import MediaTypes
from portico.http.filtered import weaken_etag
from portico.http.handler import HeaderFilter
from portico.http.response import BYTES, FILE, NO_RANGES, Body, BytesBody, FileBody

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response

_TYPES_REMEMBERED: Final = 256


@final
class Offer:
    """A content encoding that is on in a location, and for what."""

    def __init__(self, coding: Coding, types: MediaTypes, min_length: int) -> None:
        self.coding = coding
        self.types = types
        self.min_length = min_length


@final
class Offers:
    """Those for one media type, in the server's order."""

    def __init__(self, offers: list[Offer]) -> None:
        self.offers = offers
        self.names = tuple(offer.coding.name for offer in offers)
        self.least_length = min([offer.min_length for offer in offers], default=0)
        self.min_length = max([offer.min_length for offer in offers], default=0)

    def for_length(self, length: int) -> Offers:
        """Return those that are worth it for so many bytes, -1 for nobody knows."""
        if length < 0 or length >= self.min_length:
            return self
        return Offers([offer for offer in self.offers if length >= offer.min_length])

    def without_gzip(self) -> Offers:
        """Return the others."""
        return Offers([offer for offer in self.offers if offer.coding.name != GZIP])


@final
class CompressionFilter(HeaderFilter):
    """The content encodings of one location."""

    def __init__(
        self, offers: list[Offer], rules: CompressionRules, accepted: AcceptedCodings, forms: Forms | None, threads: Threads
    ) -> None:
        self.offers = offers
        self.rules = rules
        self.accepted = accepted
        self.forms = forms
        self.threads = threads
        self._by_type: dict[bytes, Offers] = {}

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        content_type = head.first.get(b"content-type", b"")
        offers = self._by_type.get(content_type) or self._for_type(content_type)
        return (
            not offers.offers
            or 0 <= head.content_length < offers.least_length
            or (not self.rules.vary and b"accept-encoding" not in request.fields.first)
        )

    def apply(self, request: Request, response: Response) -> None:
        status = response.status
        if status == 200 or status == 403 or status == 404:
            offer = self._choose(request, response, response.content_type, response.content_length)
            if offer is not None:
                self._compress(request, response, offer.coding)
        elif status == 304:
            unmodified = response.unmodified
            if unmodified is not None and unmodified.content_type:  # RFC 9110 section 15.4.5: its ETag and Vary are those of the 200
                offer = self._choose(request, response, unmodified.content_type, unmodified.content_length)
                if offer is not None:
                    weaken_etag(response)

    def _choose(self, request: Request, response: Response, content_type: bytes, length: int) -> Offer | None:
        """Return what this response is compressed with; notes in the response that another client may get something else."""
        offers = self._by_type.get(content_type) or self._for_type(content_type)
        if not offers.offers:
            return None
        offers = offers.for_length(length)
        if not offers.offers or not _may_change(request, response):
            return None
        if self.rules.vary:
            say_vary(response)
        accepted = self.accepted.of(request)
        place = accepted.choose(offers.names)
        if place >= 0 and offers.names[place] == GZIP and not self.rules.allow(request, response):
            offers = offers.without_gzip()
            place = accepted.choose(offers.names)
        return offers.offers[place] if place >= 0 else None

    def _for_type(self, content_type: bytes) -> Offers:
        if len(self._by_type) >= _TYPES_REMEMBERED:
            self._by_type.clear()
        offers = Offers([offer for offer in self.offers if offer.types.has(content_type)])
        self._by_type[content_type] = offers
        return offers

    def _compress(self, request: Request, response: Response, coding: Coding) -> None:
        length = response.content_length
        response.content_length = -1
        response.ranges = NO_RANGES
        response.finished = None
        response.replace(b"accept-ranges", b"", b"")
        response.fields.append((b"Content-Encoding", coding.name))
        weaken_etag(response)
        body = response.body
        at_hand = body.kind == BYTES or body.kind == FILE
        forms = self.forms
        if forms is not None and at_hand:
            file = _file_of(body)
            if file is not None and self._from_forms(request, response, coding, forms, file):
                return
        if request.method == b"HEAD":
            return
        if at_hand:
            length = body.length  # an upstream's 304 that became an error page tells one that is not there
        if at_hand and 0 <= length <= coding.at_once:
            response.body = FormBody(compressed_at_once(body, coding, length), coding, False)
            return
        flushes = length < 0 or not body.is_buffered()  # of a known length is what nobody reads before it is whole
        response.body = self._body(request, response, coding, length, flushes)

    def _body(self, request: Request, response: Response, coding: Coding, length: int, flushes: bool) -> CompressedBody:
        threads = self.threads if coding.heavy else None
        body = CompressedBody(response.body, coding, length, flushes, request.reactor, threads)
        body.client = request.stream
        return body

    def _from_forms(self, request: Request, response: Response, coding: Coding, forms: Forms, status: os.stat_result) -> bool:
        """Take the body from `compression_cache`, or have what is made of it stored. Return whether the response has its body."""
        key = form_key(coding, status)
        form = forms.get(key)
        if form is not None:
            response.body.close()
            response.body = FormBody(form, coding, True)
            response.content_length = len(form.content)
            return True
        if request.method == b"HEAD" or not is_settled(status, request.reactor.wall()):
            return False
        size = status.st_size
        if size <= coding.at_once:
            form = compressed_at_once(response.body, coding, size)
            forms.put(key, form)
            response.body = FormBody(form, coding, True)
            response.content_length = len(form.content)
            return True
        body = self._body(request, response, coding, size, False)
        body.forming = Forming(forms, key)
        response.body = body
        return True


def _file_of(body: Body) -> os.stat_result | None:
    """Return the state of the file whose whole content the body is; None when it is of none, or has been changed."""
    if isinstance(body, BytesBody):
        return body.file
    return body.file if isinstance(body, FileBody) else None


def _may_change(request: Request, response: Response) -> bool:
    """Return whether it is not compressed already, and nobody forbids to touch it (RFC 9111 sections 5.2.1.6 and 5.2.2.6)."""
    for name, value in response.fields:
        length = len(name)
        if length == 16:
            if value and name.lower() == b"content-encoding":
                return False
        elif length == 13 and name.lower() == b"cache-control" and has_token([value], b"no-transform"):
            return False
    wanted = request.fields.first.get(b"cache-control")
    return wanted is None or not has_token([wanted], b"no-transform")
