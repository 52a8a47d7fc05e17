"""The header section of an upstream's HTTP/1 response (RFC 9112 sections 4, 5 and 6).

An upstream is chosen by whoever runs the proxy, so a section is read as leniently as nginx reads it: lines may
end with a bare LF, names may hold any visible character. What would leave the end of the message in doubt is
refused all the same.
"""

from typing import Final, final

from portico.codec.errors import ProtocolError, shown
from portico.codec.fields import (
    CR,
    LF,
    NUL,
    UPSTREAM,
    Connection,
    HeaderOptions,
    connection_of,
    duplicate,
    joined,
    length_of,
    lines_with_bare_lf,
    read_lines,
)

_OPTIONS: Final = HeaderOptions(underscores=True, ignore_invalid=False)
_NO_VALID_HEADER: Final = "upstream sent no valid HTTP/1.0 header"

# Status lines that nearly every response begins with: (version, status, reason).
_USUAL_LINES: Final[dict[bytes, tuple[int, int, bytes]]] = {
    b"HTTP/1.%d %d %b" % (minor, status, reason): (10 + minor, status, reason)
    for minor in (0, 1)
    for status, reason in (
        (200, b"OK"),
        (201, b"Created"),
        (204, b"No Content"),
        (206, b"Partial Content"),
        (301, b"Moved Permanently"),
        (302, b"Found"),
        (304, b"Not Modified"),
        (400, b"Bad Request"),
        (401, b"Unauthorized"),
        (403, b"Forbidden"),
        (404, b"Not Found"),
        (500, b"Internal Server Error"),
        (503, b"Service Unavailable"),
    )
}


@final
class ResponseHead:
    """A response's status line and header section. `close`: the connection can carry no other response after it.

    `raw` is the section as it was received, `finished` what was made of it for clients: a section that comes again does not have to
    be made anew.
    """

    def __init__(
        self,
        version: int,
        status: int,
        reason: bytes,
        names: list[bytes],
        keys: list[bytes],
        values: list[bytes],
        first: dict[bytes, bytes],
        content_length: int,
        chunked: bool,
        close: bool,
        upgrade: bytes,
        connection_tokens: frozenset[bytes],
    ) -> None:
        self.version: int = version
        self.status: int = status
        self.reason: bytes = reason
        self.names: list[bytes] = names
        self.keys: list[bytes] = keys
        self.values: list[bytes] = values
        self.first: dict[bytes, bytes] = first
        self.content_length: int = content_length
        self.chunked: bool = chunked
        self.close: bool = close
        self.upgrade: bytes = upgrade
        self.connection_tokens: frozenset[bytes] = connection_tokens
        self.raw: bytes = b""
        self.finished: object = None

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a lower-case name."""
        return self.first.get(name)

    def get_all(self, name: bytes) -> list[bytes]:
        """Return every value of a lower-case name, in the order sent."""
        if name not in self.first:
            return []
        names = self.names
        return [self.values[index] for index in range(len(names)) if names[index] == name]

    def joined(self, name: bytes) -> bytes | None:
        """Return all values of a lower-case name as one, with `, ` between."""
        value = self.first.get(name)
        if value is None or len(self.first) == len(self.names):
            return value
        return joined(name, self.names, self.values)


def find_head_end(buffer: bytes, start: int) -> int:
    """Return the index just past the blank line that ends the header section beginning at or before `start`, or -1.

    The blank line may be CRLF or a bare LF; what a bare LF means is the parser's matter. To go on after more
    bytes have come, let `start` lie three bytes before them (never before the section's beginning).
    """
    end = buffer.find(b"\n\r\n", start)
    bare = buffer.find(b"\n\n", start, end + 1) if end >= 0 else buffer.find(b"\n\n", start)
    if bare >= 0:
        return bare + 2
    return end + 3 if end >= 0 else -1


def check_beginning(data: bytes) -> None:
    """Raise ProtocolError 502 for what can never become a header section, though no line of it has ended.

    A peer that speaks another protocol may be waiting for us.
    """
    if data[:5] != b"HTTP/"[: len(data)]:
        raise ProtocolError(502, _NO_VALID_HEADER)


def parse_response_head(section: bytes) -> ResponseHead:
    """Return a header section, with or without the blank line that ends it, as parsed. Raises ProtocolError 502."""
    lines = section.split(b"\r\n")
    text = b"".join(lines)
    if LF in text or CR in text or NUL in text:
        lines = lines_with_bare_lf(section, UPSTREAM)
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ProtocolError(502, _NO_VALID_HEADER)
    line = lines.pop(0)
    usual = _USUAL_LINES.get(line)
    version, status, reason = usual if usual is not None else _status_of(line)
    names, keys, values, first = read_lines(lines, _OPTIONS, UPSTREAM)
    length = first.get(b"content-length")
    encoding = first.get(b"transfer-encoding")
    if length is not None or encoding is not None:
        _check_framing(length, encoding, len(first) == len(names), names, keys, values)
    connection = connection_of(first, names, values)
    parsed = ResponseHead(
        version,
        status,
        reason,
        names,
        keys,
        values,
        first,
        -1 if length is None else length_of(length, UPSTREAM),
        encoding is not None,
        _ends(version, connection, encoding),
        first.get(b"upgrade", b"") if connection.upgrade else b"",
        connection.nominated,
    )
    parsed.raw = section
    return parsed


def _status_of(line: bytes) -> tuple[int, int, bytes]:
    """Return (version, status, reason) of a status line; IIS's `403.1` is accepted, as by nginx. Raises ProtocolError 502."""
    protocol, _, rest = line.partition(b" ")
    major, dot, minor = protocol[5:].partition(b".")
    rest = rest.lstrip(b" ")
    code = rest[:3]
    after = rest[3:4]
    if (
        not protocol.startswith(b"HTTP/")
        or not dot
        or not major
        or not minor
        or len(major) + len(minor) > 4
        or not (major + minor).isdigit()
        or len(code) != 3
        or not code.isdigit()
        or code.startswith(b"0")
        or after not in (b"", b" ", b".")
    ):
        raise ProtocolError(502, _NO_VALID_HEADER)
    version = 11 if int(major) > 1 or (int(major) == 1 and int(minor) > 0) else 10
    return version, int(code), rest[4:] if after == b" " else rest[3:]


def _check_framing(
    length: bytes | None,
    encoding: bytes | None,
    unique: bool,
    names: list[bytes],
    keys: list[bytes],
    values: list[bytes],
) -> None:
    """Raise ProtocolError unless there is one length, or `chunked` once, and not both (nginx since 1.23; RFC 9112 section 6.3)."""
    if length is not None and encoding is not None:
        raise UPSTREAM.refuse('"Content-Length" and "Transfer-Encoding" headers at the same time')
    if not unique:
        name = b"content-length" if encoding is None else b"transfer-encoding"
        duplicate(name, names, keys, values, UPSTREAM)
    if encoding is not None and encoding.lower() != b"chunked":
        raise UPSTREAM.refuse(f'unknown "Transfer-Encoding": "{shown(encoding)}"')


def _ends(version: int, connection: Connection, encoding: bytes | None) -> bool:
    """Return whether the connection ends with the response. Chunked in HTTP/1.0 is faulty: RFC 9112 section 6.1."""
    if version > 10:
        return connection.close
    return not connection.keep_alive or connection.close or encoding is not None
