"""`add_header`: fields for answers. (nginx: ngx_http_headers_filter_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.dates import parse_date
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import HeaderFilter
from portico.http.variables import Template, template

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

# The answers that get fields without `always`.
SAFE: Final = frozenset((200, 201, 204, 206, 301, 302, 303, 304, 307, 308))
_TO_SPACE: Final = bytes.maketrans(b"\0\r\n", b"   ")

_APPEND: Final = 0
_LAST_MODIFIED: Final = 1  # these two replace what the answer has, and an empty value removes it
_ETAG: Final = 2
_KINDS: Final[dict[str, int]] = {"last-modified": _LAST_MODIFIED, "etag": _ETAG}


@final
class AddedField:
    """One `add_header`."""

    def __init__(self, name: str, value: Template, always: bool) -> None:
        self.name: bytes = name.encode("utf-8", "surrogateescape")
        self.kind: int = _KINDS.get(name.lower(), _APPEND)
        self.value = value
        self.always = always
        self.pair: tuple[bytes, bytes] | None = None  # made once for a value without variables
        constant = value.constant
        if self.kind == _APPEND and constant:
            self.pair = (self.name, constant.translate(_TO_SPACE))

    def apply(self, request: Request, response: Response) -> None:
        """Add it to the answer."""
        if self.pair is not None:
            response.fields.append(self.pair)
            return
        # A line end in a value, say from $uri, would begin another field (response splitting).
        value = self.value.render(request).translate(_TO_SPACE)
        if self.kind == _ETAG:
            response.etag = value
        elif self.kind == _LAST_MODIFIED:
            response.last_modified_text = value
            response.last_modified = parse_date(value) if value else -1.0
        elif value:
            response.fields.append((self.name, value))


def _add_header(statement: Statement) -> AddedField:
    always = len(statement.args) == 3
    if always and statement.args[2].text != "always":
        raise statement.fail(f'invalid parameter "{statement.args[2].text}"', statement.args[2])
    return AddedField(statement.args[0].text, template(statement, 1), always)


ADD_HEADER: Final = Directive[AddedField | None](
    "add_header", HTTP | SERVER | LOCATION | IF_LOCATION, _add_header, args="2-3", many=True, default=None,
    syntax="NAME VALUE [always]",
    doc="Adds a field to answers with status 200, 201, 204, 206, 301, 302, 303, 304, 307 or 308; with "
    "`always` to every answer. An empty value adds nothing. `Last-Modified` and `ETag` are replaced "
    "instead, or removed by an empty value. A level that has an `add_header` of its own inherits none.",
    example='add_header Cache-Control "public, immutable";',
)


@final
class AddHeaderFilter(HeaderFilter):
    """The fields of one location."""

    def __init__(self, fields: list[AddedField]) -> None:
        self.added = fields

    def apply(self, request: Request, response: Response) -> None:
        safe = response.status in SAFE
        for field in self.added:
            if safe or field.always:
                field.apply(request, response)


class AddHeaderFeature(Feature):
    """Adds the filter where there are fields to add."""

    def location(self, build: LocationBuild) -> None:
        fields = [field for field in build.scope.all(ADD_HEADER) if field is not None]
        if fields:
            build.add_header_filter(AddHeaderFilter(fields))


FEATURE: Final = AddHeaderFeature("http_headers", (ADD_HEADER,))
