"""`add_header`, `add_trailer`: fields for responses, before and after their body. (nginx: ngx_http_headers_filter_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.dates import parse_date
from portico.config import values
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.http.feature import Feature, LocationBuild
from portico.http.filtered import FilteredBody
from portico.http.finished import FinishedHead
from portico.http.handler import BodyTransform, HeaderFilter
from portico.http.set_cookies import split_cookies
from portico.variables.template import Template, template

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response

# The responses that get fields without `always`.
SAFE: Final = frozenset((200, 201, 204, 206, 301, 302, 303, 304, 307, 308))
_TO_SPACE: Final = bytes.maketrans(b"\0\r\n", b"   ")

_APPEND: Final = 0
_LAST_MODIFIED: Final = 1  # these two replace what the response has, and an empty value removes it
_ETAG: Final = 2
_COOKIES: Final = 3  # one field for each cookie that an upstream has sent
_ALL: Final = HTTP | SERVER | LOCATION | IF_LOCATION
_TRAILERS: Final = 95  # behind ranges: whatever is sent, trailers come after it
_BODYLESS: Final = frozenset((204, 304))
INHERIT_OFF: Final = 0
INHERIT_ON: Final = 1
INHERIT_MERGE: Final = 2
_INHERIT: Final[dict[str, int]] = {"off": INHERIT_OFF, "on": INHERIT_ON, "merge": INHERIT_MERGE}
_KINDS: Final[dict[str, int]] = {"last-modified": _LAST_MODIFIED, "etag": _ETAG}


@final
class AddedField:
    """One `add_header`."""

    def __init__(self, name: str, value: Template, always: bool) -> None:
        self.name: bytes = name.encode("utf-8", "surrogateescape")
        self.kind: int = _KINDS.get(name.lower(), _APPEND)
        self.value = value
        self.always = always
        constant = value.constant
        self.fixed: bytes | None = None if constant is None else constant.translate(_TO_SPACE)
        if self.fixed is None and name.lower() == "set-cookie":
            self.kind = _COOKIES

    def apply(self, request: Request, response: Response) -> None:
        """Add it to the response."""
        value = self.fixed
        if value is None:  # a line end in it, say from $uri, would begin another field (response splitting)
            value = self.value.render(request).translate(_TO_SPACE)
        if self.kind == _ETAG:
            response.etag = value
        elif self.kind == _LAST_MODIFIED:
            response.last_modified_text = value
            response.last_modified = parse_date(value) if value else -1.0
        elif self.kind == _COOKIES:
            for cookie in split_cookies(request, value):
                if cookie:
                    response.add(self.name, cookie)
        elif value:
            response.add(self.name, value)


def _add_header(statement: Statement) -> AddedField:
    always = len(statement.args) == 3
    if always and statement.args[2].text != "always":
        raise statement.fail(f'invalid parameter "{statement.args[2].text}"', statement.args[2])
    return AddedField(statement.args[0].text, template(statement, 1), always)


ADD_HEADER: Final = Directive[AddedField | None](
    "add_header", _ALL, _add_header, args="2-3", many=True, default=None,
    syntax="NAME VALUE [always]",
    doc="Adds a field to answers with status 200, 201, 204, 206, 301, 302, 303, 304, 307 or 308; with "
    "`always` to every answer. An empty value adds nothing. `Last-Modified` and `ETag` are replaced "
    "instead, or removed by an empty value. A level that has an `add_header` of its own inherits none, unless "
    "`add_header_inherit` says so.",
    example='add_header Cache-Control "public, immutable";',
)


ADD_HEADER_INHERIT: Final = Directive[int](
    "add_header_inherit", _ALL, values.choice(_INHERIT), args="1", default=INHERIT_ON, default_text="on", syntax="on | off | merge",
    doc="What a level has of the `add_header` lines around it: `on`, all of them if it has none of its own; `off`, none; `merge`, "
    "all of them behind its own. Inherited itself.",
    example="add_header_inherit merge;",
)
ADD_TRAILER: Final = Directive[AddedField | None](
    "add_trailer", _ALL, _add_header, args="2-3", many=True, default=None,
    syntax="NAME VALUE [always]",
    doc="Adds a field behind the body of answers with status 200, 201, 204, 206, 301, 302, 303, 304, 307 or 308; with `always` of "
    "every answer. Its value is that of the moment when the body is over. The body is sent in chunks then; to HTTP/1.0 "
    "clients no trailer is sent. A level that has an `add_trailer` of its own inherits none, unless `add_trailer_inherit` "
    "says so.",
    example="add_trailer X-Time $request_time;",
)
ADD_TRAILER_INHERIT: Final = Directive[int](
    "add_trailer_inherit", _ALL, values.choice(_INHERIT), args="1", default=INHERIT_ON, default_text="on", syntax="on | off | merge",
    doc="What a level has of the `add_trailer` lines around it, as `add_header_inherit` says it for `add_header`.",
    example="add_trailer_inherit merge;",
)


@final
class ConstantFields:
    """Fields whose values have no variables, made once."""

    def __init__(self, fields: list[AddedField]) -> None:
        made = [(field.name, field.fixed) for field in fields if field.fixed]  # an empty value adds nothing
        self._block = FinishedHead(made) if made else None

    def add_to(self, response: Response) -> None:
        """Add them all."""
        if self._block is not None:
            response.append(self._block)


@final
class AddHeaderFilter(HeaderFilter):
    """The fields of one location."""

    def __init__(self, fields: list[AddedField]) -> None:
        self.added = fields
        self.only_appends = all(field.kind in (_APPEND, _COOKIES) for field in fields)
        self.constant: ConstantFields | None = None  # all, if all are; and those of them for whatever status
        self.constant_always: ConstantFields | None = None
        if self.only_appends and all(field.fixed is not None for field in fields):
            self.constant = ConstantFields(fields)
            self.constant_always = ConstantFields([field for field in fields if field.always])

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        return self.only_appends

    def appends(self) -> bool:
        return True

    def apply(self, request: Request, response: Response) -> None:
        safe = response.status in SAFE
        constant = self.constant if safe else self.constant_always
        if constant is not None:
            constant.add_to(response)
            return
        for field in self.added:
            if safe or field.always:
                field.apply(request, response)


@final
class TrailerTransform(BodyTransform):
    """Passes a body on, and writes the trailers when it is over."""

    def __init__(self, fields: list[AddedField], request: Request, response: Response) -> None:
        self.fields = fields
        self.request = request
        self.response = response

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        for field in self.fields:
            value = field.value.render(self.request).translate(_TO_SPACE)
            if value:
                self.response.trailers.append((field.name, value))
        return b""


@final
class AddTrailerFilter(HeaderFilter):
    """The trailers of one location."""

    def __init__(self, fields: list[AddedField]) -> None:
        self.added = fields

    def apply(self, request: Request, response: Response) -> None:
        status = response.status
        safe = status in SAFE
        fields = [field for field in self.added if safe or field.always]
        if not fields or status < 200 or status in _BODYLESS or request.method == b"HEAD":
            return
        stream = request.stream
        if stream is None or not stream.takes_trailers():
            return
        response.body = FilteredBody(response.body, TrailerTransform(fields, request, response))
        response.finished = None
        if not stream.takes_trailers_behind_length():
            response.content_length = -1
            response.replace(b"content-length", b"", b"")


def _inherited(scope: Scope, fields: Directive[AddedField | None], inherit: Directive[int]) -> list[AddedField]:
    """Return the lines in force in a block (ngx_http_headers_merge_conf): its own, then those around it as `inherit` says."""
    own = [field for field in scope.own_all(fields) if field is not None]
    how = scope.get(inherit)
    if scope.parent is None or how == INHERIT_OFF or (own and how != INHERIT_MERGE):
        return own
    return own + _inherited(scope.parent, fields, inherit)


class AddHeaderFeature(Feature):
    """Adds the filters where there are fields to add."""

    def location(self, build: LocationBuild) -> None:
        fields = _inherited(build.scope, ADD_HEADER, ADD_HEADER_INHERIT)
        if fields:
            build.add_header_filter(AddHeaderFilter(fields))
        trailers = _inherited(build.scope, ADD_TRAILER, ADD_TRAILER_INHERIT)
        if trailers:
            build.add_header_filter(AddTrailerFilter(trailers), _TRAILERS)


FEATURE: Final = AddHeaderFeature("http_headers", (ADD_HEADER, ADD_HEADER_INHERIT, ADD_TRAILER, ADD_TRAILER_INHERIT))
