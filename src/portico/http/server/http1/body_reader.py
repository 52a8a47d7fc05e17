"""The body of an HTTP/1 request out of the bytes behind its header section, without I/O (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

from typing import final

from portico.codec.chunked import ChunkedDecoder
from portico.codec.errors import ProtocolError
from portico.errorlog import ERR, INFO
from portico.http.errors import HTTPError


@final
class BodyReader:
    """Takes the framing off one body. `length` in bytes, -1 for the chunked transfer coding."""

    def __init__(self, length: int) -> None:
        self.done = length == 0
        self.remainder: bytes = b""  # what came behind the end of the body
        self._left = length
        self._decoder: ChunkedDecoder | None = None

    def feed(self, data: bytes, largest: int) -> bytes:
        """Return the content in `data`, b"" when there is only framing. Call until `done`.

        largest: bytes that a chunked body may have, 0 for no limit (`client_max_body_size`; the length of others is known before).
        Raises HTTPError 400 or 413, after which the connection cannot be used.
        """
        left = self._left
        if left >= 0:
            if len(data) > left:
                self.remainder = data[left:]
                data = data[:left]
            self._left = left - len(data)
            self.done = self._left == 0
            return data
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = ChunkedDecoder(True, largest)
        try:
            content = b"".join(decoder.feed(data))
        except ProtocolError as error:
            raise _malformed(error, largest) from None
        if decoder.done:
            self.done = True
            self.remainder = decoder.remainder
        return content


def _malformed(error: ProtocolError, largest: int) -> HTTPError:
    reason = error.reason
    if error.status == 413:
        reason += f" (client_max_body_size is {largest})"
    failure = HTTPError(error.status, reason, ERR if error.status == 413 else INFO)
    failure.close = True
    return failure
