"""The body of an HTTP/1 response out of the bytes behind its header section, without I/O (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

from typing import final

from portico.codec.chunked import ChunkedDecoder
from portico.codec.fields import UPSTREAM, HeaderOptions, read_lines
from portico.passing.protocol import ResponseBodyReader


@final
class Http1BodyReader(ResponseBodyReader):
    """Reads a body of a known length, of chunks, or up to the end of the connection (`length` -1)."""

    def __init__(self, length: int, chunked: bool) -> None:
        super().__init__(length)
        self._decoder: ChunkedDecoder | None = ChunkedDecoder(False) if chunked else None

    def feed(self, data: bytes) -> bytes:
        decoder = self._decoder
        if decoder is not None:
            content = b"".join(decoder.feed(data))
            if decoder.done:
                self.done = True
                self.remainder = decoder.remainder
            return content
        left = self.left
        if left >= 0:
            if len(data) > left:
                self.remainder = data[left:]
                data = data[:left]
            self.left = left - len(data)
            self.done = self.left == 0
        return data

    def end(self) -> None:
        if self._decoder is None and self.left < 0:
            self.done = True

    def skip(self, count: int) -> None:
        self.left -= count
        self.done = self.left == 0

    def trailers(self) -> list[tuple[bytes, bytes]]:
        section = b"" if self._decoder is None else self._decoder.trailers
        if not section:
            return []
        lines = [line.removesuffix(b"\r") for line in section.split(b"\n") if line]
        _, keys, values, _ = read_lines(lines, HeaderOptions(underscores=True, ignore_invalid=False), UPSTREAM)
        return list(zip(keys, values, strict=True))
