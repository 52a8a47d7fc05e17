"""The answer to a request, and where its bytes come from."""

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


class Body:
    """A source of body bytes: `take()` what is there; when it says None, `await wait()` and take again."""

    def __init__(self, kind: int, length: int) -> None:
        self.kind = kind
        self.length = length  # bytes, -1 when only the end will tell

    def take(self) -> bytes | None:
        """The next bytes; b"" at the end; None when nothing is there yet, or the source has worked long enough without finding any.
        Raises HTTPError, FileFailed or BodyCutShort when the source fails, ClientFailed when nobody wants it any more.
        """
        raise NotImplementedError

    async def wait(self) -> None:
        """Return when `take` is worth another try. Raises Timeout."""
        raise NotImplementedError

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        """Wait until the client takes more. A source that buffers reads on meanwhile. Raises ClientTimeout."""
        await client.room(seconds)

    def can_splice(self) -> bool:
        """Whether the rest can be moved by the kernel from socket to socket."""
        return False

    async def relay(self) -> None:
        """After 101: carry bytes both ways until both sides have ended. Raises Timeout."""
        raise NotImplementedError

    def relayed(self) -> int:
        """After `relay`: how many bytes the client got."""
        return 0

    async def splice(self, client: ClientStream, seconds: float) -> int:
        """Move the rest to `client` without copying; bytes moved. Call only when `can_splice` says so."""
        raise NotImplementedError

    def skip(self, count: int) -> int:
        """Nobody wants the next `count` bytes; how many of them will come all the same."""
        return count

    def rewind(self) -> None:
        """Begin at the start of the whole; only of a body that is `Response.sliced`."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the source holds, finished or not; safe to call twice."""


@final
class BytesBody(Body):
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.kind = BYTES
        self.length = len(data)
        self.data = data

    def take(self) -> bytes | None:
        data = self.data
        self.data = b""
        return data

    async def wait(self) -> None:
        return


@final
class FileBody(Body):
    """A range of an open file. With an `entry` it is that of a kept answer, which stays open as long as this needs it."""

    def __init__(self, fd: int, offset: int, length: int, owned: bool, entry: Entry | None = None) -> None:
        self.kind = FILE
        self.fd = fd
        self.offset = offset
        self.length = length
        self.left = length
        self.owned = owned  # close the descriptor afterwards (false: the open file cache keeps it)
        self.entry = entry
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


def path_of(fd: int) -> str:
    """Return what an open file is called now, for the error log."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"descriptor {fd}"


EMPTY: Final = BytesBody(b"")


@final
class Response:
    """Status, fields and body. The fields that filters look at have attributes; the rest is `fields`, as sent, in order."""

    def __init__(self, status: int, body: Body) -> None:
        self.status = status
        self.reason: bytes = b""  # b"": the standard phrase
        self.body: Body = body
        self.content_type: bytes = b""
        self.content_length: int = body.length  # bytes, -1 unknown
        self.last_modified: float = -1.0  # seconds since the epoch; compared by If-Modified-Since
        self.last_modified_text: bytes = b""
        self.location: bytes = b""
        self.etag: bytes = b""
        self.server: bytes = b""  # the upstream's, when proxy_pass_header lets it through
        self.date: bytes = b""
        self.no_server = False  # proxy_pass_header Server, and the upstream named none
        self.fields: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.file: os.stat_result | None = None  # of the file whose whole the body is, unchanged
        self.unmodified_type: bytes = b""  # of a 304: what the 200 would have said, unless it would have been encoded
        self.unmodified_length: int = -1
        self.unmodified_coding: bytes = b""  # the Content-Encoding that it would have had
        self.allow_ranges: bool = False
        self.single_range = False  # … but only one: the body comes in pieces, or might have (nginx: r->single_range)
        self.content_offset: int = 0  # where in the whole the body begins
        self.sliced: Body | None = None  # the body that begins there, whatever filters have put around it
        self.by_caches: bool = False  # only the conditions that a cache judges, in their order (RFC 9110 section 13.2.2)
        self.conditional: bool = False  # If-Modified-Since and friends apply (nginx: not to uncached proxied answers)
        self.upgrade: bytes = b""  # 101: the protocol switched to
        self.close: bool = False  # do not keep the connection
        self.is_error: bool = False  # made by Portico for an error, not by a handler or an upstream
        self.from_upstream: bool = False
        self.buffered: bool = True  # false: pass on every piece at once (proxy_buffering off)
        self.limit_rate: int = -1  # bytes a second, set by X-Accel-Limit-Rate
        self.override_charset: bytes = b""  # X-Accel-Charset
        self.finished: FinishedHead | None = None  # all fields, when they are made once: no attribute has any then
        self.appended: FinishedHead | None = None  # fields made once that stand behind those

    def get(self, name: bytes) -> bytes | None:
        """The first field called `name` (lower-case), None when there is none."""
        for key, value in self.fields:
            if len(key) == len(name) and key.lower() == name:
                return value
        return None

    def add(self, key: bytes, value: bytes) -> None:
        """Another field, behind those that are there. Whatever the value came from, it does not become two."""
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
    """A short answer from memory."""
    response = Response(status, BytesBody(text))
    response.content_type = content_type
    return response
