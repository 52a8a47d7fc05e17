"""The chunked transfer coding (RFC 9112 section 7.1).

    SIZE ──size > 0──▶ DATA ──all of it──▶ DATA_END ──CRLF──▶ SIZE
    SIZE ──size = 0──▶ TRAILER ──blank line──▶ DONE

Every line is bounded. A decoder is `strict` for what clients send and tolerates what nginx tolerates in what
upstreams send: a bare LF, and white space after the size.
"""

from typing import Final, final

from portico.codec.errors import ProtocolError

LAST_CHUNK: Final = b"0\r\n\r\n"

SIZE: Final = 0
DATA: Final = 1
DATA_END: Final = 2
TRAILER: Final = 3
DONE: Final = 4

_HEX: Final = b"0123456789abcdefABCDEF"
_NOT_IN_LINE: Final = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"
_MAX_LINE: Final = 4096
_MAX_TRAILERS: Final = 16384
_MAX_SIZE_DIGITS: Final = 15


@final
class ChunkedDecoder:
    """Reads a chunked body as it comes, in pieces of any length, and returns its content.

    `done`: the body has ended; `remainder` holds what followed it, `trailers` its trailer section as sent,
    without the blank line. `received` counts the bytes of content so far. `max_size` (0: no bound) is held
    against the announced size of a chunk, before its data has come.
    """

    def __init__(self, strict: bool, max_size: int = 0, max_trailers: int = _MAX_TRAILERS) -> None:
        self.strict: bool = strict
        self.max_size: int = max_size
        self.max_trailers: int = max_trailers
        self.done: bool = False
        self.received: int = 0
        self.remainder: bytes = b""
        self.trailers: bytes = b""
        self._state: int = SIZE
        self._left: int = 0
        self._held: bytes = b""  # a line, or the end of one, that is not complete

    def feed(self, data: bytes) -> list[bytes]:
        """Return the content in `data`. Raises ProtocolError: 400 (strict) or 502; 413 past `max_size`."""
        if self._held:
            data = self._held + data
            self._held = b""
        content: list[bytes] = []
        at = 0
        while at >= 0 and self._state != DONE:
            if self._state == DATA:
                at = self._take_data(data, at, content)
            elif self._state == SIZE:
                at = self._take_size(data, at)
            elif self._state == DATA_END:
                at = self._take_data_end(data, at)
            else:
                at = self._take_trailer(data, at)
        if self._state == DONE and at < len(data):
            self.remainder += data[at:] if at > 0 else data
        return content

    def _take_data(self, data: bytes, at: int, content: list[bytes]) -> int:
        here = len(data) - at
        if here <= 0:
            return -1
        take = self._left if self._left < here else here
        content.append(data if take == len(data) else data[at : at + take])
        self.received += take
        self._left -= take
        if self._left == 0:
            self._state = DATA_END
        return at + take

    def _take_size(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at, at + _MAX_SIZE_DIGITS + 2)
        if end > at:
            digits = data[at:end]
            if digits[0] != 0x30 and not digits.translate(None, _HEX):
                return self._begin(int(digits, 16), end + 2)
        if data.startswith(LAST_CHUNK, at):
            self._state = DONE
            self.done = True
            return at + len(LAST_CHUNK)
        return self._take_size_line(data, at)

    def _begin(self, size: int, at: int) -> int:
        if self.max_size and self.received + size > self.max_size:
            raise ProtocolError(
                413, f"client intended to send too large chunked body: {self.received}+{size} bytes"
            )
        self._left = size
        self._state = DATA if size else TRAILER
        return at

    def _take_size_line(self, data: bytes, at: int) -> int:
        """Read a size that is not just a few digits: leading zeros, an extension, half a line (-1), nonsense (ProtocolError)."""
        end = data.find(b"\n", at)
        line = data[at:] if end < 0 else data[at:end]
        if len(line) > _MAX_LINE:
            raise self._invalid()
        if end < 0:
            if line and line[:1] not in _HEX:
                raise self._invalid()
            self._held = line
            return -1
        return self._begin(self._size_of(self._line(line)), end + 1)

    def _size_of(self, line: bytes) -> int:
        digits, mark, extension = line.partition(b";")
        if self.strict:
            if mark:
                digits = digits.rstrip(b" \t")  # RFC 9112 section 7.1.1: white space before an extension
        else:
            digits = digits.replace(b"\t", b" ").partition(b" ")[0]  # it begins an extension too, as in nginx
        if digits.startswith(b"0"):
            digits = digits.lstrip(b"0") or b"0"
        if not digits or len(digits) > _MAX_SIZE_DIGITS or digits.translate(None, _HEX):
            raise self._invalid()
        if extension and len(extension.translate(None, _NOT_IN_LINE)) != len(extension):
            raise self._invalid()
        return int(digits, 16)

    def _line(self, line: bytes) -> bytes:
        """Return a line without its CR, which only `strict` insists on. Raises ProtocolError."""
        if line.endswith(b"\r"):
            return line[:-1]
        if self.strict:
            raise self._invalid()
        return line

    def _take_data_end(self, data: bytes, at: int) -> int:
        if len(data) - at >= 2 and data[at] == 13 and data[at + 1] == 10:
            self._state = SIZE
            return at + 2
        if not self.strict and data.startswith(b"\n", at):
            self._state = SIZE
            return at + 1
        if at == len(data) or data[at:] == b"\r":
            self._held = data[at:]
            return -1
        raise self._invalid()

    def _take_trailer(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at)
        if len(self.trailers) + (len(data) if end < 0 else end) - at > self.max_trailers:
            raise self._invalid()
        if end < 0:
            self._held = data[at:]
            return -1
        line = self._line(data[at:end])
        if not line:
            self._state = DONE
            self.done = True
            return end + 1
        if line[:1] in b" \t:" or b":" not in line or len(line.translate(None, _NOT_IN_LINE)) != len(line):
            raise self._invalid()
        self.trailers += data[at : end + 1]
        return end + 1

    def _invalid(self) -> ProtocolError:
        if self.strict:
            return ProtocolError(400, "client sent invalid chunked body")
        return ProtocolError(502, "upstream sent invalid chunked response")


def encode_chunk(data: bytes) -> bytes:
    """Return `data` as one chunk. Never to be called with b"", which would read as the end of the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
