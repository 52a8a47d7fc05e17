"""HTTP/2 with clients: its directives (nginx: ngx_http_v2_module.c). The protocol is in `http/server/http2/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.codec.http2.frames import LARGEST_WINDOW
from portico.codec.versions import HTTP_2
from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.http.feature import Feature, HttpBuild, LocationBuild
from portico.http.listen import HTTP2
from portico.http.server.http2.output import CHUNK
from portico.http.settings import Http2Settings
from portico.variables.variable import STABLE_FIELDS, Variable

if TYPE_CHECKING:
    from portico.http.plan import VirtualServer
    from portico.http.request import Request

_SERVERS: Final = HTTP | SERVER


def _preread_size(statement: Statement) -> int:
    size = values.size(statement)
    if size > LARGEST_WINDOW:
        raise statement.fail(f"the maximum body preread buffer size is {LARGEST_WINDOW}", statement.args[0])
    return size


def _chunk_size(statement: Statement) -> int:
    size = values.size(statement)
    if size == 0:
        raise statement.fail("the http2 chunk size cannot be zero", statement.args[0])
    return size


STREAMS: Final = Directive[int](
    "http2_max_concurrent_streams", _SERVERS, values.number, args="1", default=128, default_text="128", syntax="NUMBER",
    doc="How many requests a client may have at a time on a connection; others are refused, and it may ask again. That of the "
    "default server holds for all of an address. A request that its client has given up counts until its work has ended.",
    example="http2_max_concurrent_streams 64;",
)
PREREAD: Final = Directive[int](
    "http2_body_preread_size", _SERVERS, _preread_size, args="1", default=65536, default_text="64k", syntax="SIZE",
    doc="How many bytes of a request's body a client may send before anybody reads it. Then it may send 256 KB ahead of what was "
    "read.",
    example="http2_body_preread_size 128k;",
)
CHUNK_SIZE: Final = Directive[int](
    "http2_chunk_size", _SERVERS | LOCATION, _chunk_size, args="1", default=8192, default_text="8k", syntax="SIZE",
    doc="The most bytes of a response's body in one frame; clients limit them too, most to 16k.",
    example="http2_chunk_size 4k;",
)


class Http2Feature(Feature):
    """Gives servers their settings; `http2` itself belongs to the core."""

    def __init__(self) -> None:
        super().__init__("http_v2", (STREAMS, PREREAD, CHUNK_SIZE), _VARIABLES, (), "--with-http_v2_module")

    def server(self, build: HttpBuild, server: VirtualServer, scope: Scope) -> None:
        server.http2 = Http2Settings(scope.get(HTTP2), scope.get(STREAMS), scope.get(PREREAD))

    def location(self, build: LocationBuild) -> None:
        size = build.scope.get(CHUNK_SIZE)
        if size != CHUNK_SIZE.default:
            CHUNK.put(build.location, size)


def _http2(request: Request) -> bytes | None:
    if request.version < HTTP_2:
        return None
    return b"h2" if request.client.secure else b"h2c"


_VARIABLES: Final = (
    Variable("http2", _http2, STABLE_FIELDS, "`h2` for HTTP/2 over TLS, `h2c` without TLS, empty for other protocols."),
)

FEATURE: Final = Http2Feature()
