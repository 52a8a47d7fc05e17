"""Byte ranges (RFC 9110 section 14; nginx: ngx_http_range_filter_module.c).

One range is answered with that part of the body, several with a multipart body. The whole is sent, as if
nobody had asked, when there are more ranges than `max_ranges`, when they sum up to more than the whole
(that is an attack, or pointless), or when If-Range names another version.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, final

from portico.codec.dates import parse_date
from portico.errorlog import INFO
from portico.http.error_pages import own_page
from portico.http.errors import HTTPError
from portico.http.feature import Feature, LocationBuild
from portico.http.filtered import FilteredBody
from portico.http.handler import HeaderFilter
from portico.http.response import NO_RANGES, ONE_RANGE, STREAM, Body, BytesBody, FileBody, PartsBody, Response, SpanBody
from portico.variables.session import shown

if TYPE_CHECKING:
    from portico.http.request import Request

_ORDER: Final = 90  # the last one: ranges are of the body as it will be sent
_RANGE: Final = re.compile(rb" *(?:([0-9]+) *- *(?:([0-9]+) *)?|-([0-9]+) *)")
_MAX_OFFSET: Final = (1 << 63) - 1
_MAX_DIGITS: Final = 19
_BOUNDARY_SPACE: Final = 10**20

Ranges = list[tuple[int, int]]  # (first, behind the last)


def parse_ranges(text: bytes, length: int, maximum: int) -> Ranges | None:
    """The ranges that `text` (behind `bytes=`) asks for of a body of `length` bytes; `maximum` -1: no limit.

    None: send the whole. Raises ValueError when no range can be satisfied, or one cannot be understood (416).
    """
    ranges: Ranges = []
    total = 0
    for part in text.split(b","):
        found = _RANGE.fullmatch(part)
        if found is None:
            raise ValueError("not a range")
        start, end = _bounds(found, length)
        if start < end:
            ranges.append((start, end))
            total += end - start
            if 0 <= maximum < len(ranges):
                return None
        elif start == 0:
            return None
    if not ranges:
        raise ValueError("no range within the body")
    return ranges if total <= length else None


def _bounds(found: re.Match[bytes], length: int) -> tuple[int, int]:
    first, last, suffix = found.groups()
    if suffix is not None:
        return max(0, length - _number(suffix)), length
    start = _number(first)
    return start, length if last is None else min(_number(last) + 1, length)


def _number(digits: bytes) -> int:
    if len(digits) > _MAX_DIGITS and len(digits.lstrip(b"0")) > _MAX_DIGITS:
        raise ValueError("too large a number")
    number = int(digits.lstrip(b"0") or b"0")
    if number > _MAX_OFFSET:
        raise ValueError("too large a number")
    return number


@final
class RangeFilter(HeaderFilter):
    """Makes 206 or 416 of a 200 for a request with Range."""

    def __init__(self) -> None:
        self._boundary = int.from_bytes(os.urandom(8), "big")

    def changes_full(self) -> bool:
        return False

    def apply(self, request: Request, response: Response) -> None:
        self._cut(request, response)
        sliced = response.sliced
        if sliced is not None and sliced.start and response.status == 200:
            sliced.rewind()  # the client wanted a range, but a filter has made another body of the whole: it gets that

    def _cut(self, request: Request, response: Response) -> None:
        if response.status != 200 or response.ranges == NO_RANGES:
            return
        body = response.body
        if isinstance(body, FilteredBody):
            body = body.source
        maximum = request.location.core.max_ranges
        if maximum and (response.ranges == ONE_RANGE or body.kind == STREAM):
            maximum = 1
        if response.content_length < 0 or maximum == 0:
            response.ranges = NO_RANGES
            return
        text = request.fields.first.get(b"range")
        if text is None or len(text) < 7 or text[:6].lower() != b"bytes=":
            return
        if_range = request.fields.first.get(b"if-range")
        if if_range is not None and not _is_same(if_range, response):
            return
        try:
            ranges = parse_ranges(text[6:], response.content_length, maximum)
        except ValueError:
            _refuse(request, response)
            return
        if ranges is None or ranges[0][0] < _start_of(response):
            return
        response.change_status(206)
        if len(ranges) == 1:
            _send_one(request, response, ranges[0])
        else:
            self._send_parts(request, response, ranges)

    def _send_parts(self, request: Request, response: Response, ranges: Ranges) -> None:
        _clear_content_range(response)
        self._boundary += 1
        boundary = b"%020d" % (self._boundary % _BOUNDARY_SPACE)
        head = b"\r\n--" + boundary + b"\r\n"
        if response.content_type:
            head += b"Content-Type: " + response.content_type + b"\r\n"
        body = response.body
        whole = body.source if isinstance(body, FilteredBody) else body
        length = response.content_length
        parts: list[Body] = []
        total = 0
        for start, end in ranges:
            part_head = b"%bContent-Range: bytes %d-%d/%d\r\n\r\n" % (head, start, end - 1, length)
            parts.append(BytesBody(part_head))
            total += len(part_head) + end - start
            if isinstance(whole, FileBody):
                parts.append(FileBody(whole.fd, whole.offset + start, end - start, False))
            elif isinstance(whole, BytesBody):
                parts.append(BytesBody(whole.data[start:end]))
        tail = b"\r\n--" + boundary + b"--\r\n"
        parts.append(BytesBody(tail))
        parts.append(whole)  # closed with the rest; as it is empty now, nothing of it is sent
        if isinstance(whole, FileBody):
            whole.length = whole.left = 0
        elif isinstance(whole, BytesBody):
            whole.data = b""
            whole.length = 0
        if isinstance(body, FilteredBody):
            response.body = FilteredBody(PartsBody(parts), body.transform, True)  # the heads of the parts are ASCII: they stay
        else:
            response.body = PartsBody(parts)
        response.content_length = total + len(tail)
        response.content_type = b"multipart/byteranges; boundary=" + boundary


def _start_of(response: Response) -> int:
    """Return where in the whole the body begins."""
    return 0 if response.sliced is None else response.sliced.start


def _is_same(if_range: bytes, response: Response) -> bool:
    if len(if_range) >= 2 and if_range.endswith(b'"'):
        return bool(response.etag) and if_range == response.etag
    return response.last_modified >= 0 and parse_date(if_range) == response.last_modified


def _clear_content_range(response: Response) -> None:
    """Remove a Content-Range that an upstream or the configuration has put on the whole."""
    if response.get(b"content-range") is not None:
        response.fields = [field for field in response.fields if field[0].lower() != b"content-range"]


def _send_one(request: Request, response: Response, span: tuple[int, int]) -> None:
    start, end = span
    _clear_content_range(response)
    response.fields.append((b"Content-Range", b"bytes %d-%d/%d" % (start, end - 1, response.content_length)))
    response.content_length = end - start
    body = response.body
    filtered = body if isinstance(body, FilteredBody) else None
    if filtered is not None:
        filtered.length = end - start
        body = filtered.source
    if isinstance(body, FileBody):
        body.offset += start
        body.length = body.left = end - start
    elif isinstance(body, BytesBody):
        body.data = body.data[start:end]
        body.length = len(body.data)
    elif body.kind == STREAM:
        span_body = SpanBody(body, start - _start_of(response), end - start)
        if filtered is not None:
            filtered.source = span_body
        else:
            response.body = span_body


def _refuse(request: Request, response: Response) -> None:
    """416, telling the length that there is. Raises HTTPError when an `error_page` is to be shown instead."""
    response.body.close()
    asked = shown(request.fields.first[b"range"])
    request.log_error(INFO, f'client asked for a range that cannot be sent: "{asked}" of {response.content_length} bytes')
    if 416 in request.location.error_pages:
        raise HTTPError(416)
    _clear_content_range(response)
    response.fields.append((b"Content-Range", b"bytes */%d" % response.content_length))
    page = own_page(request, 416)
    response.change_status(416)
    response.body = page.body
    response.content_type = page.content_type
    response.content_length = page.content_length
    response.is_error = True
    response.last_modified = -1.0
    response.last_modified_text = b""
    response.etag = b""
    response.ranges = NO_RANGES


class RangesFeature(Feature):
    """On everywhere; `max_ranges 0` switches it off."""

    def __init__(self) -> None:
        super().__init__("http_range", ())
        self._filter = RangeFilter()

    def location(self, build: LocationBuild) -> None:
        build.add_header_filter(self._filter, _ORDER)


FEATURE: Final = RangesFeature()
