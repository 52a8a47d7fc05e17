"""`add_before_body`, `add_after_body`: other responses around this one. (nginx: ngx_http_addition_filter_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.http.content.media_types import MediaTypes, media_types
from portico.http.feature import Feature, LocationBuild
from portico.http.filtered import ORDER_ADDITION, weaken_etag
from portico.http.handler import HeaderFilter
from portico.http.response import NO_RANGES, STREAM, Body
from portico.http.subrequest import answer_of, finish, subrequest_of

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.http.server.stream import ClientStream

_ALL: Final = HTTP | SERVER | LOCATION

ADD_BEFORE_BODY: Final = Directive[str](
    "add_before_body", _ALL, values.text, args="1", default="",
    syntax="URI",
    doc='Puts the answer to a subrequest for URI before the body of a 200. `""` undoes what an outer level says.',
    example="add_before_body /header.html;",
)
ADD_AFTER_BODY: Final = Directive[str](
    "add_after_body", _ALL, values.text, args="1", default="",
    syntax="URI",
    doc='Puts the answer to a subrequest for URI behind the body of a 200. `""` undoes what an outer level says.',
    example="add_after_body /footer.html;",
)
ADDITION_TYPES: Final = Directive[MediaTypes](
    "addition_types", _ALL, media_types, args="1+", joins=True,
    default=MediaTypes(frozenset((b"text/html",))), default_text="text/html",
    syntax="TYPE ...",
    doc="Media types of answers that get something added, besides text/html; `*` is every type.",
    example="addition_types text/plain;",
)


@final
class AdditionBody(Body):
    """A body between the responses to two subrequests, each asked for when its turn comes. An empty URI stands for none."""

    def __init__(self, request: Request, before: bytes, source: Body, after: bytes) -> None:
        self.kind = STREAM
        self.length = -1
        self.request = request
        self.source = source
        self.waiting: list[bytes | None] = [None]  # what is still to come: URIs, and None for the body itself
        if before:
            self.waiting.insert(0, before)
        if after:
            self.waiting.append(after)
        self.current: Body | None = None
        self.asked: Request | None = None  # the subrequest whose response `current` is
        self.response: Response | None = None

    def take(self) -> bytes | None:
        while True:
            current = self.current
            if current is None:
                if not self.waiting:
                    return b""
                if self.waiting[0] is not None:
                    return None  # `wait` asks for it
                self.waiting.pop(0)
                self.current = current = self.source
            data = current.take()
            if data is None or data:
                return data
            self._end_part()

    def _end_part(self) -> None:
        self.current = None
        if self.asked is not None and self.response is not None:
            finish(self.asked, self.response)
        self.asked = None
        self.response = None

    async def wait(self) -> None:
        if self.current is not None:
            await self.current.wait()
            return
        uri = self.waiting.pop(0)
        assert uri is not None
        asked = subrequest_of(self.request, uri, b"")
        response = await answer_of(asked)
        self.asked = asked
        self.response = response
        self.current = response.body

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        if self.current is not None:
            await self.current.absorb(client, seconds)
        else:
            await client.room(seconds)

    def close(self) -> None:
        self.waiting.clear()
        self._end_part()
        self.source.close()


@final
class AdditionFilter(HeaderFilter):
    """The additions of one location."""

    def __init__(self, before: str, after: str, types: MediaTypes) -> None:
        self.before: bytes = before.encode("utf-8", "surrogateescape")
        self.after: bytes = after.encode("utf-8", "surrogateescape")
        self.types = types

    def apply(self, request: Request, response: Response) -> None:
        if response.status != 200 or not self.types.include(response):
            return
        response.body = AdditionBody(request, self.before, response.body, self.after)
        response.content_length = -1
        response.ranges = NO_RANGES
        response.replace(b"accept-ranges", b"", b"")
        response.finished = None
        weaken_etag(response)


class AdditionFeature(Feature):
    """Adds the filter where there is something to add."""

    def location(self, build: LocationBuild) -> None:
        before = build.scope.get(ADD_BEFORE_BODY)
        after = build.scope.get(ADD_AFTER_BODY)
        if before or after:
            build.add_header_filter(AdditionFilter(before, after, build.scope.get(ADDITION_TYPES)), ORDER_ADDITION)


FEATURE: Final = AdditionFeature(
    "http_addition", (ADD_BEFORE_BODY, ADD_AFTER_BODY, ADDITION_TYPES), configure="--with-http_addition_module"
)
