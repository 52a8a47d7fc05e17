"""`slice`: a large answer is fetched, and kept, in parts of one size. (nginx: ngx_http_slice_filter_module.c.)

`$slice_range` is the range of the part that is asked for now; the configuration passes it on and makes it a part of the cache's key:

    slice 1m;  proxy_cache_key $uri$slice_range;  proxy_set_header Range $slice_range;  proxy_cache_valid 200 206 1h;

The client's request asks for the part in which its range begins; when that has been sent, a subrequest asks for the next one. All
must be of one version (`ETag`, or without it `Last-Modified`) and lie end to end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from portico.codec.dates import parse_date
from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.errorlog import ERR
from portico.http.errors import BodyCutShort, HTTPError, InternalRedirect
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import HeaderFilter
from portico.http.request import SLICES
from portico.http.response import ONE_RANGE, STREAM, Body, SlicedBody
from portico.http.subrequest import clone_of, finish
from portico.variables.variable import PER_REQUEST, Variable

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.http.server.stream import ClientStream

_ORDER: Final = 5  # before conditions are looked at: they are about the whole
_CONTENT_RANGE: Final = re.compile(rb"bytes +(\d{1,18}) *- *(\d{1,18}) */ *(\d{1,18}|\*) *")

SLICE: Final = Directive[int](
    "slice", HTTP | SERVER | LOCATION, values.size, args="1", default=0, default_text="0",
    syntax="SIZE",
    doc="Fetches what is asked for in parts of SIZE bytes, each with a request of its own; 0: as a whole. The upstream is told of "
    "the part, and the cache keeps it apart, by `$slice_range`.",
    example="slice 1m; proxy_set_header Range $slice_range;",
)


@final
class Slices:
    """How far one request has got."""

    def __init__(self, size: int, start: int) -> None:
        self.size = size
        self.start = start  # of the part asked for now
        self.complete = 0  # length of the whole
        self.etag: bytes = b""
        self.modified: bytes = b""  # Last-Modified
        self.range: bytes = b""
        self.ask_for(start)

    def ask_for(self, start: int) -> None:
        """The next part begins there."""
        self.start = start
        self.range = b"bytes=%d-%d" % (start, start + self.size - 1)

    def check(self, response: Response) -> str:
        """Note what an answer says of itself; what is wrong with it, "" when it is the part that was asked for."""
        if response.status != 206:
            return f"unexpected status code {response.status} in slice response"
        if self.etag and response.etag != self.etag:
            return "etag mismatch in slice response"
        if not self.etag and self.modified and response.last_modified_text != self.modified:
            return "last modified mismatch in slice response"
        self.etag = response.etag
        self.modified = response.last_modified_text
        found = _CONTENT_RANGE.fullmatch(response.get(b"content-range") or b"")
        if found is None:
            return "invalid range in slice response"
        start, last, complete = found.groups()
        if complete == b"*":
            return "no complete length in slice response"
        if self.complete and int(complete) != self.complete:
            return f"another length in slice response: {int(complete)}, not {self.complete}"
        self.complete = int(complete)
        if int(start) != self.start or int(last) + 1 != min(self.start + self.size, self.complete):
            return f"unexpected range in slice response: {int(start)}-{int(last) + 1}"
        return ""

    def length(self) -> int:
        """Bytes of the part asked for now."""
        return min(self.size, self.complete - self.start)


@final
class SliceBody(SlicedBody):
    """The parts from the first one on, each asked for when the one before it has been taken."""

    def __init__(self, request: Request, first: Body, slices: Slices) -> None:
        self.kind = STREAM
        self.length = -1
        self.start = slices.start
        self.request = request
        self.slices = slices
        self.next = slices.start + slices.size  # where the part behind the current one begins
        self.left = slices.length()  # bytes of the current one
        self.current: Body | None = first
        self.first: Body | None = first
        self.asked: Request | None = None
        self.answer: Response | None = None

    def take(self) -> bytes | None:
        while True:
            current = self.current
            if current is None:
                return None if self.next < self.slices.complete else b""
            data = current.take()
            if data is None:
                return None
            self.left -= len(data)
            if self.left < 0 or (not data and self.left):
                self._fail(self.asked or self.request, "not as many bytes in slice response as its range has")
            if data:
                return data
            self._end_part()

    def skip(self, count: int) -> int:
        size = self.slices.size
        target = self.slices.start + count
        if target < self.next + size:
            return count
        left_out = target // size * size - self.next  # parts between the first one and where the range begins
        self.next += left_out
        return count - left_out

    def rewind(self) -> None:
        self._end_part()
        self.next = 0

    def _end_part(self) -> None:
        self.current = None
        if self.first is not None:
            self.first.close()
            self.first = None
        if self.asked is not None and self.answer is not None:
            finish(self.asked, self.answer)
        self.asked = None
        self.answer = None

    async def wait(self) -> None:
        if self.current is not None:
            await self.current.wait()
            return
        slices = self.slices
        slices.ask_for(self.next)
        request = self.request
        asked = clone_of(request)
        SLICES.put(asked, slices)
        try:
            answer = await request.location.handlers[-1].handle_async(asked)  # what answers in this location
        except HTTPError as error:
            self._fail(asked, error.reason or f"unexpected status code {error.status} in slice response")
            return
        except InternalRedirect:
            self._fail(asked, "an internal redirect in slice response")
            return
        if answer is None:
            self._fail(asked, "no slice response")
            return
        problem = slices.check(answer)
        if problem:
            answer.body.close()
            self._fail(asked, problem)
        asked.status = answer.status
        self.asked = asked
        self.answer = answer
        self.current = answer.body
        self.next = slices.start + slices.size
        self.left = slices.length()

    def _fail(self, asked: Request, reason: str) -> None:
        """The rest will not come. Always raises BodyCutShort."""
        asked.log_error(ERR, reason)
        raise BodyCutShort

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        if self.current is not None:
            await self.current.absorb(client, seconds)
        else:
            await client.room(seconds)

    def is_buffered(self) -> bool:
        return self.first is None or self.first.is_buffered()

    def close(self) -> None:
        self.next = self.slices.complete
        self._end_part()


@final
class SliceFilter(HeaderFilter):
    """Makes the first part the whole."""

    def __init__(self, size: int) -> None:
        self.size = size

    def apply(self, request: Request, response: Response) -> None:
        slices = SLICES.of(request)
        if not isinstance(slices, Slices):
            return  # $slice_range is not in use
        if response.status != 206 or response.is_error:
            SLICES.clear(request)  # the upstream has no ranges, or nothing at all: its answer as it is
            return
        problem = slices.check(response)
        if problem:
            SLICES.clear(request)
            response.body.close()
            raise HTTPError(502, problem, ERR)
        response.change_status(200)
        response.finished = None
        response.content_length = slices.complete
        response.replace(b"content-range", b"", b"")
        response.replace(b"accept-ranges", b"", b"")
        response.ranges = ONE_RANGE
        response.last_modified = parse_date(response.last_modified_text)
        if request.method != b"HEAD":
            response.body = response.sliced = SliceBody(request, response.body, slices)


def _slice_range(request: Request) -> bytes | None:
    slices = SLICES.of(request)
    if isinstance(slices, Slices):
        return slices.range
    if request.parent is not None or request.response is not None:
        return None
    for header_filter in request.location.header_filters:
        if isinstance(header_filter, SliceFilter):
            size = header_filter.size
            made = Slices(size, _range_start(request) // size * size)
            SLICES.put(request, made)
            return made.range
    return None


def _range_start(request: Request) -> int:
    """Where the client's range begins; 0 when it has none, or several, or one that counts from the end (ngx_http_slice_get_start)."""
    text = request.fields.first.get(b"range", b"")
    if b"if-range" in request.fields.first or text[:6].lower() != b"bytes=" or text.find(b",") >= 0:
        return 0
    digits = text[6:].lstrip(b" ").partition(b"-")[0].rstrip(b" ")
    return int(digits) if digits.isdigit() and len(digits) <= 18 else 0


class SliceFeature(Feature):
    """Attaches to locations with a size."""

    def location(self, build: LocationBuild) -> None:
        size = build.scope.get(SLICE)
        if size:
            build.add_header_filter(SliceFilter(size), _ORDER)


FEATURE: Final = SliceFeature(
    "http_slice",
    (SLICE,),
    (Variable("slice_range", _slice_range, PER_REQUEST, "The range of the part that `slice` asks for now: `bytes=0-1048575`."),),
    configure="--with-http_slice_module",
)
