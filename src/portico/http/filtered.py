"""Bodies that change on their way: a sans-IO transform over any source.

    source.take() ──► transform.feed() ──► what is sent
        None (nothing there yet) ──► transform.flush()
        b"" (the end)            ──► transform.finish()

Filters wrap one another in the order of their header filters (`ORDER_…`, nginx's order of its body filters), the first one innermost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.http.response import NO_RANGES, STREAM, Body, Response

if TYPE_CHECKING:
    from portico.http.handler import BodyTransform
    from portico.http.server.stream import ClientStream

# Where filters of bodies stand among a location's header filters: before ranges (90), and after add_header (50) as in nginx, but for
# gunzip: a Content-Encoding that add_header adds is not the body's, and nginx keeps the two apart.
ORDER_GUNZIP: Final = 45
ORDER_SUB: Final = 64
ORDER_CHARSET: Final = 66
ORDER_SSI: Final = 68  # what is included has been through the filters of its own location
ORDER_ADDITION: Final = 70  # what is added has been through the filters of its own location
ORDER_COMPRESS: Final = 80


@final
class FilteredBody(Body):
    """What `transform` makes of `source`. It owns the source."""

    def __init__(self, source: Body, transform: BodyTransform, bytewise: bool = False) -> None:
        self.kind = STREAM
        self.length = source.length if bytewise else -1
        self.source = source
        self.transform = transform
        self.finished = False

    def take(self) -> bytes | None:
        while not self.finished:
            data = self.source.take()
            if data is None:
                return self.transform.flush() or None
            if not data:
                self.finished = True
                return self.transform.finish()
            changed = self.transform.feed(data)
            if changed:
                return changed
        return b""

    async def wait(self) -> None:
        await self.source.wait()

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        await self.source.absorb(client, seconds)

    def is_buffered(self) -> bool:
        return self.source.is_buffered()

    def close(self) -> None:
        self.finished = True
        self.source.close()


def transform_body(response: Response, transform: BodyTransform) -> None:
    """Have `transform` change the body: its length is not known any more, and no part of it can be asked for."""
    response.body = FilteredBody(response.body, transform)
    response.content_length = -1
    response.ranges = NO_RANGES
    response.replace(b"accept-ranges", b"", b"")
    response.finished = None


def transform_bytes(response: Response, transform: BodyTransform) -> None:
    """Have `transform`, which makes one byte of one byte, change the body: its length stays, and parts can be asked for."""
    response.body = FilteredBody(response.body, transform, True)
    response.finished = None


def weaken_etag(response: Response) -> None:
    """Say that the bytes are not those that the entity tag was made for (ngx_http_weak_etag; RFC 9110 section 8.8.1)."""
    etag = response.etag
    if etag.startswith(b'"'):
        response.etag = b"W/" + etag
    elif not etag.startswith(b'W/"'):
        response.etag = b""
