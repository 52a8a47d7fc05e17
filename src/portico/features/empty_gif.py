"""`empty_gif`: a transparent GIF of one pixel, from memory. (nginx: ngx_http_empty_gif_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import LOCATION, Directive
from portico.http.errors import wrong_method
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import Handler
from portico.http.response import ALL_CONDITIONS, BytesBody, Response

if TYPE_CHECKING:
    from portico.http.request import Request

# header, screen of 1 × 1 with two colours, black and white, transparent is the second, image of 1 × 1, its LZW data, trailer
GIF: Final = (
    b"GIF89a" b"\x01\x00\x01\x00\x80\x01\x00" b"\x00\x00\x00\xff\xff\xff" b"\x21\xf9\x04\x01\x00\x00\x01\x00"
    b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00" b"\x02\x02\x4c\x01\x00" b"\x3b"
)  # fmt: skip
_MODIFIED: Final = 23349600.0  # nginx's
_MODIFIED_TEXT: Final = b"Mon, 28 Sep 1970 06:00:00 GMT"

EMPTY_GIF: Final = Directive[bool](
    "empty_gif", LOCATION, values.present, args="0", many=True, default=False,
    doc="Answers GET and HEAD with a transparent GIF of one pixel.",
    example="location = /pixel.gif { empty_gif; }",
)


@final
class EmptyGifHandler(Handler):
    """Responds with the picture."""

    def handle(self, request: Request) -> Response | None:
        head = request.method == b"HEAD"
        if not head and request.method != b"GET":
            raise wrong_method(request.method, "empty_gif")
        response = Response(200, BytesBody(b"" if head else GIF))
        response.content_length = len(GIF)
        response.content_type = b"image/gif"
        response.last_modified = _MODIFIED
        response.last_modified_text = _MODIFIED_TEXT
        response.conditions = ALL_CONDITIONS
        return response

    def describe(self) -> str:
        return "empty_gif"


class EmptyGifFeature(Feature):
    """nginx's http_empty_gif module."""

    def location(self, build: LocationBuild) -> None:
        if build.scope.own(EMPTY_GIF):
            build.set_content(EmptyGifHandler())


FEATURE: Final = EmptyGifFeature("http_empty_gif", (EMPTY_GIF,))
