"""The start of an HTTP/1 request: its line, its target, its header section (RFC 9112 sections 3, 5 and 6).

    GET /path?query HTTP/1.1 CRLF       parse_request_line, split_target
    Name: value CRLF ...                parse_request_fields
    CRLF

A request that two parsers could read differently is refused with 400 and never forwarded (RFC 9112 section
11.2). What is merely unusual is accepted as by nginx.
"""

from typing import Final, final

from portico.codec.errors import ProtocolError, shown
from portico.codec.fields import (
    CLIENT,
    CR,
    LF,
    NUL,
    HeaderOptions,
    RequestFields,
    Sender,
    connection_of,
    duplicate,
    length_of,
    lines_with_bare_lf,
    read_lines,
)

# As in nginx: upper-case letters, `_` and `-`. RFC 9110 allows any token; nobody uses more.
_METHOD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
_COMMON_METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"))
_REFUSED_METHODS: Final = frozenset((b"CONNECT", b"TRACE"))
# Marks what no target holds, controls, space and DEL, with NUL. (translate() makes a table first when it is to leave characters out.)
_SPACED: Final = bytes(0 if byte <= 0x20 or byte == 0x7F else byte for byte in range(256))
_SCHEME: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS: Final = b"0123456789"

# RFC 3986 section 3.2.2: unreserved, sub-delims and %; in brackets also the colon.
_REG_NAME: Final = _LETTERS + _DIGITS + b"-._~!$&'()*+,;=%"
_IP_LITERAL: Final = _LETTERS + _DIGITS + b"-._~!$&'()*+,;=:"

# A second one of these is a mistake or an attack: nginx's `ngx_http_process_unique_header_line`.
_UNIQUE: Final = (
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"if-modified-since",
    b"if-unmodified-since",
    b"if-match",
    b"if-none-match",
    b"content-range",
    b"if-range",
    b"expect",
    b"authorization",
)


@final
class RequestLine:
    """`method` and `target` as sent, `version` 10 or 11, `line` the whole line without CRLF (`$request`)."""

    def __init__(self, method: bytes, target: bytes, version: int, line: bytes) -> None:
        self.method: bytes = method
        self.target: bytes = target
        self.version: int = version
        self.line: bytes = line


def parse_request_line(line: bytes) -> RequestLine:
    """Parse a request line (without its CRLF).

    Raises ProtocolError: 400 for a method, target or version that is none, and for HTTP/0.9; 505 for a later
    major version; 405 for CONNECT and TRACE, which nginx refuses as well.
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        parts = _spaced_parts(line)
    method, target, protocol = parts
    common = method in _COMMON_METHODS
    if not common and (not method or method.translate(None, _METHOD)):
        raise ProtocolError(400, "client sent invalid method")
    if not target or is_spaced(target):
        raise ProtocolError(400, "client sent invalid request")
    version = 11 if protocol == b"HTTP/1.1" else _version_of(protocol, target)
    if not common and method in _REFUSED_METHODS:
        if method == b"CONNECT" and not _is_authority(target):
            raise ProtocolError(400, "client sent CONNECT without a host and a port")
        raise ProtocolError(405, f"client sent {method.decode()} method")
    return RequestLine(method, target, version, line)


def is_spaced(target: bytes) -> bool:
    """Return whether a target holds what no target does: controls, space, DEL. It would be another one on a request line."""
    return NUL in target.translate(_SPACED)


def _is_port(digits: bytes) -> bool:
    """Return whether digits, if there are any, are a port's number."""
    return len(digits) < 5 or (len(digits.lstrip(b"0")) < 6 and int(digits) < 65536)


def _is_authority(target: bytes) -> bool:
    """Return whether a target is in authority form, the only one of CONNECT (RFC 9112 section 3.2.3)."""
    try:
        return bool(valid_host(target)[1])
    except ProtocolError:
        return False


def is_method(method: bytes) -> bool:
    """Return whether a request line can hold it: for methods that come from the configuration and variables."""
    return bool(method) and not method.translate(None, _METHOD)


def _spaced_parts(line: bytes) -> list[bytes]:
    """Return the three parts of a line with more spaces than it needs; nginx allows them, but none in front. Raises ProtocolError."""
    parts = [part for part in line.split(b" ") if part]
    if line[:1] == b" " or not parts or parts[0].translate(None, _METHOD):
        raise ProtocolError(400, "client sent invalid method")
    if len(parts) != 3:
        raise ProtocolError(400, "client sent invalid request")
    return parts


def _version_of(protocol: bytes, target: bytes) -> int:
    """Return 10 or 11. A later minor version is spoken to as 1.1 (RFC 9110 section 2.5). Raises ProtocolError 400 or 505."""
    if protocol == b"HTTP/1.0":
        return 10
    major, _, minor = protocol[5:].partition(b".")
    if (
        not protocol.startswith(b"HTTP/")
        or not major.isdigit()
        or major.startswith(b"0")
        or (major == b"1" and (len(minor) != 1 or not minor.isdigit()))
    ):
        raise ProtocolError(400, "client sent invalid request")
    if major != b"1":
        split_target(target)  # the preface of HTTP/2 is 400
        raise ProtocolError(505, "client sent invalid version")
    return 11


def find_request_end(buffer: bytes, start: int) -> int:
    """Return the index just past the first blank line, which ends the header section in `buffer`, or -1.

    A line ends with CRLF or with a bare LF (RFC 9112 section 2.2). `start` is where the request begins or, when more bytes have come,
    three bytes before them.
    """
    end = buffer.find(b"\n\r\n", start)
    bare = buffer.find(b"\n\n", start, len(buffer) if end < 0 else end)
    if bare >= 0:
        return bare + 2
    return end + 3 if end >= 0 else -1


def split_target(target: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (host with its port, path and query, scheme) of a request target; host and scheme are empty for origin-form.

    The host of absolute-form overrides the Host header (RFC 9112 section 3.2.2); it is checked by
    `valid_host`. Raises ProtocolError 400 for everything else; nginx knows no `*` either.
    """
    if target.startswith(b"/"):
        return b"", target, b""
    scheme, separator, rest = target.partition(b"://")
    if not separator or not scheme or scheme.translate(None, _SCHEME) or scheme[:1].translate(None, _LETTERS):
        raise ProtocolError(400, "client sent invalid request")
    end = len(rest)
    for mark in (b"/", b"?", b"#"):
        found = rest.find(mark, 0, end)
        if found >= 0:
            end = found
    host = rest[:end]
    path = rest[end:]
    if path.startswith(b"#"):
        raise ProtocolError(400, "client sent invalid request")
    if not host:
        raise ProtocolError(400, "client sent invalid host in request line")
    return host, path if path.startswith(b"/") else b"/" + path, scheme.lower()


def valid_host(value: bytes) -> tuple[bytes, bytes]:
    """Return (name in lower case without port and trailing dot, port or b"") of a Host field or a target's host.

    As nginx's `ngx_http_validate_host` (no `..`, no `/`, no controls), and held to the characters of RFC 3986
    section 3.2.2 and a numeric port, so that no two hops can see different hosts. Raises ProtocolError 400.
    """
    if value.startswith(b"["):
        inside, bracket, rest = value[1:].partition(b"]")
        bad = not bracket or not inside or len(inside.translate(None, _IP_LITERAL)) > 0 or b".." in inside
        name, port = b"[" + inside + b"]", rest[1:]
        bad = bad or (len(rest) > 0 and not rest.startswith(b":"))
    else:
        name, _, port = value.partition(b":")
        bad = len(name.translate(None, _REG_NAME)) > 0 or b".." in name
        if name.endswith(b"."):
            name = name[:-1]
    if bad or not name or port.translate(None, _DIGITS) or not _is_port(port):
        raise ProtocolError(400, "client sent invalid host header")
    return name.lower(), port


def parse_request_fields(block: bytes, version: int, options: HeaderOptions) -> RequestFields:
    """Parse a client's header section: what follows the request line, with the end of its last line.

    `version` is the request line's, 10 or 11. Raises ProtocolError 400, or 501 for an unknown
    Transfer-Encoding. The Host is there when it must be and not repeated; its characters are `valid_host`'s
    matter.
    """
    lines = block.split(b"\r\n")
    # One search of what is left once the CRLFs are gone costs less than counting the marks of every line.
    text = b"".join(lines)
    has_bare_lf = False
    if LF in text or CR in text or NUL in text:
        lines = lines_with_bare_lf(block, CLIENT)
        has_bare_lf = True
    if not lines[-1]:
        lines.pop()
    names, keys, values, first = read_lines(lines, options, CLIENT)
    check_unique(names, keys, values, first, CLIENT)
    if version > 10 and b"host" not in first:
        raise ProtocolError(400, 'client sent HTTP/1.1 request without "Host" header')
    length = first.get(b"content-length")
    encoding = first.get(b"transfer-encoding")
    if encoding is not None:
        _check_encoding(encoding, length, version)
    connection = connection_of(first, names, values)
    expect = first.get(b"expect")
    return RequestFields(
        block,
        names,
        keys,
        values,
        first,
        -1 if length is None else length_of(length, CLIENT),
        encoding is not None,
        connection,
        first.get(b"upgrade", b"") if connection.upgrade else b"",
        expect is not None and expect.lower() == b"100-continue",
        has_bare_lf,
    )


def check_unique(
    names: list[bytes], keys: list[bytes], values: list[bytes], first: dict[bytes, bytes], sender: Sender
) -> None:
    """Raise ProtocolError for a second line of a field that may stand once."""
    if len(first) != len(names):
        for name in _UNIQUE:
            if name in first:
                duplicate(name, names, keys, values, sender)


def _check_encoding(encoding: bytes, length: bytes | None, version: int) -> None:
    """Raise ProtocolError unless it is `chunked`, the version HTTP/1.1, and no length beside it (RFC 9112 section 6.1)."""
    if length is not None:
        raise CLIENT.refuse('"Content-Length" and "Transfer-Encoding" headers at the same time')
    if version < 11:
        raise CLIENT.refuse('HTTP/1.0 request with "Transfer-Encoding" header')
    if encoding.lower() != b"chunked":
        raise ProtocolError(501, f'client sent unknown "Transfer-Encoding": "{shown(encoding)}"')
