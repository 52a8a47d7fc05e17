"""A response, and where the bytes of its body come from.

`Response` has what the header filters and the protocols of clients look at. What concerns the body alone is in the body; what few
responses have (`UpstreamPart`, `Unmodified`, `SlicedBody`) is an object of its own, None in all others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.http.errors import FileFailed

if TYPE_CHECKING:
    from portico.cache.entry import Entry
    from portico.http.finished import FinishedHead
    from portico.http.server.stream import ClientStream

BYTES: Final = 0
FILE: Final = 1
STREAM: Final = 2
UPGRADED: Final = 3  # of a 101: the connection carries another protocol from there on

# How many ranges of the body a request may ask for
NO_RANGES: Final = 0
ONE_RANGE: Final = 1  # the body comes in pieces, or might have (nginx: r->single_range)
MANY_RANGES: Final = 2  # as many as `max_ranges` says

# Which conditions of the request are evaluated
NO_CONDITIONS: Final = 0  # nginx: of a proxied response that is not cached
ALL_CONDITIONS: Final = 1
CACHE_CONDITIONS: Final = 2  # those that a cache evaluates, in their order (RFC 9110 section 13.2.2)


class Body:
    """A source of body bytes: `take()` what is there; when it says None, `await wait()` and take again."""

    def __init__(self, kind: int, length: int) -> None:
        self.kind = kind
        self.length = length  # bytes, -1 when only the end will tell

    def take(self) -> bytes | None:
        """Return the next bytes; b"" at the end; None when nothing is there yet, or the source has worked long enough without any.

        Raises HTTPError, FileFailed or BodyCutShort when the source fails, ClientFailed when nobody wants it any more.
        """
        raise NotImplementedError

    async def wait(self) -> None:
        """Return when `take` is worth another try. Raises Timeout."""
        raise NotImplementedError

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        """Wait until the client takes more. A source that buffers reads on meanwhile. Raises ClientTimeout."""
        await client.room(seconds)

    def is_buffered(self) -> bool:
        """Return False when every piece is passed on at once (`proxy_buffering off`)."""
        return True

    def can_splice(self) -> bool:
        """Return whether the rest can be moved by the kernel from socket to socket."""
        return False

    async def relay(self) -> None:
        """Carry bytes both ways, after a 101, until both sides have ended. Raises Timeout. Only of a body of kind UPGRADED."""
        raise NotImplementedError

    def relayed(self) -> int:
        """Return how many bytes the client got by `relay`."""
        return 0

    async def splice(self, client: ClientStream, seconds: float) -> int:
        """Move the rest to `client` without copying; return the bytes moved. Call only when `can_splice` says so."""
        raise NotImplementedError

    def skip(self, count: int) -> int:
        """Leave out the next `count` bytes, as far as the source can; return how many of them will come all the same."""
        return count

    def close(self) -> None:
        """Release what the source holds, finished or not; safe to call twice."""


@final
class BytesBody(Body):
    """Bytes in memory."""

    def __init__(self, data: bytes, file: os.stat_result | None = None) -> None:
        self.kind = BYTES
        self.length = len(data)
        self.data = data
        self.file = file  # whose whole content this is, unchanged

    def take(self) -> bytes | None:
        data = self.data
        self.data = b""
        return data

    async def wait(self) -> None:
        return


@final
class FileBody(Body):
    """A range of an open file. With an `entry` it is that of a cached response, which stays open as long as this needs it."""

    def __init__(
        self, fd: int, offset: int, length: int, owned: bool, entry: Entry | None = None, file: os.stat_result | None = None
    ) -> None:
        self.kind = FILE
        self.fd = fd
        self.offset = offset
        self.length = length
        self.left = length
        self.owned = owned  # close the descriptor afterwards (false: the open file cache keeps it)
        self.entry = entry
        self.file = file  # whose whole content this is, unchanged
        if entry is not None:
            entry.acquire()

    def take(self) -> bytes | None:
        if self.left <= 0:
            return b""
        try:
            data = os.pread(self.fd, min(self.left, 65536), self.offset)
        except OSError as error:
            raise FileFailed("pread", path_of(self.fd), error) from None
        self.offset += len(data)
        self.left -= len(data)
        return data

    async def wait(self) -> None:
        return

    def close(self) -> None:
        if self.entry is not None:
            self.entry.release()
            self.entry = None
        elif self.owned and self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


@final
class PartsBody(Body):
    """Several bodies one after the other: multipart/byteranges."""

    def __init__(self, parts: list[Body]) -> None:
        self.kind = STREAM
        self.parts = parts
        self.length = 0
        for part in parts:
            self.length += part.length
        self._at = 0

    def take(self) -> bytes | None:
        while self._at < len(self.parts):
            data = self.parts[self._at].take()
            if data is None or data:
                return data
            self._at += 1
        return b""

    async def wait(self) -> None:
        await self.parts[self._at].wait()

    def close(self) -> None:
        for part in self.parts:
            part.close()


@final
class SpanBody(Body):
    """A part of a body that comes in pieces: what is before it is thrown away, what is behind it not waited for."""

    def __init__(self, source: Body, start: int, length: int) -> None:
        self.kind = STREAM
        self.length = length
        self.source = source
        self.before = source.skip(start)
        self.left = length
        self.tired = False  # there may be more, but it was enough for one turn

    def take(self) -> bytes | None:
        while self.left > 0:
            data = self.source.take()
            if not data:
                return data
            size = len(data)
            if size <= self.before:
                self.before -= size
                self.tired = True
                return None  # a gigabyte may be before it: who sends has a look at the time
            if self.before or size - self.before > self.left:
                data = data[self.before : self.before + self.left]
                self.before = 0
            self.left -= len(data)
            return data
        return b""

    async def wait(self) -> None:
        if self.tired:
            self.tired = False
        else:
            await self.source.wait()

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        await self.source.absorb(client, seconds)

    def close(self) -> None:
        self.source.close()


class SlicedBody(Body):
    """A body that begins at `start` of a whole, of which the parts are fetched one after the other (`slice`)."""

    def __init__(self, start: int) -> None:
        self.kind = STREAM
        self.length = -1
        self.start = start

    def rewind(self) -> None:
        """Begin at the start of the whole."""
        raise NotImplementedError


def path_of(fd: int) -> str:
    """Return what an open file is called now, for the error log."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"descriptor {fd}"


EMPTY: Final = BytesBody(b"")


@final
class UpstreamPart:
    """Holds what only the response of an upstream says, beside the fields that are passed on as they are."""

    def __init__(self) -> None:
        self.reason: bytes = b""  # the reason phrase, b"" for the standard one
        self.server: bytes = b""  # Server, when `proxy_pass_header` lets it through
        self.no_server = False  # … which lets it through, but the upstream has sent none
        self.date: bytes = b""  # Date, likewise
        self.no_date = False
        self.limit_rate: int = -1  # bytes a second, by X-Accel-Limit-Rate; -1: none said
        self.charset: bytes = b""  # X-Accel-Charset
        self.is_own = False  # it is Portico's own response all the same: the configuration sets Server or Date


PLAIN_UPSTREAM: Final = UpstreamPart()  # most responses say nothing of this: they share it, and it is never written to


@final
class Unmodified:
    """Holds what the 200 in whose place a 304 is sent would have said of its content. With an encoding, the rest is not known."""

    def __init__(self, content_type: bytes, content_length: int, encoding: bytes) -> None:
        self.content_type = content_type
        self.content_length = content_length
        self.encoding = encoding  # Content-Encoding


@final
class Response:
    """Status, fields and body. The fields that filters look at have attributes; the rest is `fields`, as sent, in order."""

    def __init__(self, status: int, body: Body) -> None:
        self.status = status  # changed by `change_status`, which drops what an upstream called the old one
        self.body: Body = body
        self.content_type: bytes = b""  # b"": no such field, here and below
        self.content_length: int = body.length  # bytes, -1 unknown
        self.last_modified: float = -1.0  # seconds since the epoch, -1 unknown; compared by If-Modified-Since
        self.last_modified_text: bytes = b""
        self.location: bytes = b""  # made absolute when it is sent
        self.etag: bytes = b""
        self.fields: list[tuple[bytes, bytes]] = []  # the other fields
        self.trailers: list[tuple[bytes, bytes]] = []  # the trailer section, complete when the body has ended
        self.ranges: int = NO_RANGES  # NO_RANGES, ONE_RANGE or MANY_RANGES of the body may be asked for
        self.conditions: int = NO_CONDITIONS  # of the request that apply: NO_CONDITIONS, ALL_CONDITIONS or CACHE_CONDITIONS
        self.is_error: bool = False  # made by Portico for an error, not by a handler or an upstream
        self.upstream: UpstreamPart | None = None  # of an upstream's response, cached or not; None: it is Portico's own
        self.unmodified: Unmodified | None = None  # of a 304 made of a 200
        self.sliced: SlicedBody | None = None  # the body begins within the whole: this one, whatever filters have put around it
        self.finished: FinishedHead | None = None  # all fields, when they are made once: no attribute has any then
        self.appended: FinishedHead | None = None  # fields made once that stand behind those

    def upstream_part(self) -> UpstreamPart:
        """Return what the upstream says, to be written to."""
        part = self.upstream
        if part is None or part is PLAIN_UPSTREAM:
            part = self.upstream = UpstreamPart()
        return part

    def change_status(self, status: int) -> None:
        """Set another status, with its standard reason phrase."""
        self.status = status
        part = self.upstream
        if part is not None and part.reason:
            part.reason = b""

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the first field called `name` (lower case), None when there is none."""
        for key, value in self.fields:
            if len(key) == len(name) and key.lower() == name:
                return value
        return None

    def add(self, key: bytes, value: bytes) -> None:
        """Append a field. Whatever the value came from, it does not become two."""
        self.fields.append((key, value))

    def append(self, block: FinishedHead) -> None:
        """Add fields that are made once, behind those that are there."""
        if self.finished is not None and self.appended is None and not self.fields:
            self.appended = block
        else:
            self.fields.extend(block.fields)

    def replace(self, name: bytes, key: bytes, value: bytes) -> None:
        """Replace every field called `name` (lower-case) by one `key: value`; an empty value removes them."""
        self.fields = [f for f in self.fields if len(f[0]) != len(name) or f[0].lower() != name]
        if value:
            self.fields.append((key, value))


def text_response(status: int, content_type: bytes, text: bytes) -> Response:
    """Return a short response from memory."""
    response = Response(status, BytesBody(text))
    response.content_type = content_type
    return response
