"""The header section of an HTTP/1 message (RFC 9110 section 5, RFC 9112 section 5).

A section is parsed in one pass over its lines. What makes two parsers disagree about where a message ends is
refused, never repaired: a bare CR or LF, NUL, a folded line, a space before the colon, an empty name (RFC
9112 section 11.2).

A name that is legal but outside nginx's alphabet (letters, digits, `-`, and `_` where
`underscores_in_headers` allows it) is dropped in silence, or passed on when `ignore_invalid_headers` is off; nginx
does the same.
"""

from typing import Final, final

from portico.codec.errors import ProtocolError, shown

# Searched for as ints: `b"\r" in data` builds and clears a TypeError first (CPython tries the int protocol).
NUL: Final = 0
LF: Final = 10
CR: Final = 13

_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PLAIN: Final = b"0123456789-abcdefghijklmnopqrstuvwxyz"

# Lower-cases a name and marks what is not in nginx's alphabet with NUL, in one translate (its `lowcase`
# table).
_LOWERED: Final = bytes(
    byte + 32 if byte in _LETTERS else byte if byte in _PLAIN else 0 for byte in range(256)
)
_LOWERED_UNDERSCORE: Final = bytes(
    byte + 32 if byte in _LETTERS else byte if byte in _PLAIN + b"_" else 0 for byte in range(256)
)
# Never allowed in a name: controls, space, DEL (and the colon, which cannot be there).
_NOT_IN_NAME: Final = bytes(range(0x21)) + b"\x7f"

# Names that most messages carry, in the spellings that most peers use, to their lower-case form: one lookup
# instead of a check, a lowering and a new object, and the hash of the shared object is already known to every
# later lookup.
_COMMON: Final = (
    b"Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges"
    b" Access-Control-Allow-Credentials Access-Control-Allow-Headers Access-Control-Allow-Methods"
    b" Access-Control-Allow-Origin Access-Control-Expose-Headers Access-Control-Max-Age"
    b" Access-Control-Request-Headers Access-Control-Request-Method Age Allow Alt-Svc Authorization"
    b" Cache-Control Connection Content-Disposition Content-Encoding Content-Language Content-Length"
    b" Content-Location Content-Range Content-Security-Policy Content-Type Cookie"
    b" Cross-Origin-Embedder-Policy Cross-Origin-Opener-Policy Cross-Origin-Resource-Policy DNT Date ETag"
    b" Expect Expires Forwarded From Host If-Match If-Modified-Since If-None-Match If-Range"
    b" If-Unmodified-Since Keep-Alive Last-Modified Link Location Max-Forwards Origin Permissions-Policy"
    b" Pragma Priority Proxy-Authenticate Proxy-Authorization Proxy-Connection Range Referer"
    b" Referrer-Policy Retry-After Save-Data Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest"
    b" Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-GPC Sec-WebSocket-Accept Sec-WebSocket-Extensions"
    b" Sec-WebSocket-Key Sec-WebSocket-Protocol Sec-WebSocket-Version Server Set-Cookie"
    b" Strict-Transport-Security TE Trailer Transfer-Encoding Upgrade Upgrade-Insecure-Requests"
    b" User-Agent Vary Via WWW-Authenticate Warning X-Accel-Buffering X-Accel-Expires X-Accel-Redirect"
    b" X-Content-Type-Options X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Frame-Options"
    b" X-Powered-By X-Real-IP X-Request-ID X-Requested-With X-XSS-Protection"
).split(b" ")
KNOWN: Final[dict[bytes, bytes]] = {
    spelling: lowered
    for name in _COMMON
    for lowered in (name.lower(),)
    for spelling in (lowered, name, name.title())
}

# What Connection may never remove from a message: the proxy's framing and routing rest on them.
_NOT_NOMINATED: Final = frozenset(
    (b"", b"close", b"keep-alive", b"upgrade", b"host", b"content-length", b"transfer-encoding")
)
_NONE_NOMINATED: Final[frozenset[bytes]] = frozenset()

_MAX_LENGTH_DIGITS: Final = 18  # of a 63-bit length


@final
class HeaderOptions:
    """`underscores_in_headers` and `ignore_invalid_headers`."""

    def __init__(self, underscores: bool = False, ignore_invalid: bool = True) -> None:
        self.underscores: bool = underscores
        self.ignore_invalid: bool = ignore_invalid


@final
class Sender:
    """Whose header section it is: decides how strictly it is read, and how a refusal is worded."""

    def __init__(self, name: str, status: int, header: str, lenient: bool) -> None:
        self.name: str = name
        self.status: int = status
        self.header: str = header
        self.lenient: bool = lenient

    def refuse(self, what: str) -> ProtocolError:
        """Return the error to raise for `what`."""
        return ProtocolError(self.status, f"{self.name} sent {what}")

    def refuse_line(self, line: bytes) -> ProtocolError:
        """Return the error to raise for a field line."""
        return self.refuse(f'invalid {self.header}: "{shown(line)}"')


CLIENT: Final = Sender("client", 400, "header line", False)
UPSTREAM: Final = Sender("upstream", 502, "header", True)


def read_lines(
    lines: list[bytes], options: HeaderOptions, sender: Sender
) -> tuple[list[bytes], list[bytes], list[bytes], dict[bytes, bytes]]:
    """Return the names in lower case, the keys as sent, the values without white space around, and the first value of each name."""
    names: list[bytes] = []
    keys: list[bytes] = []
    values: list[bytes] = []
    first: dict[bytes, bytes] = {}
    for line in lines:
        key, _, value = line.partition(b": ")
        name = KNOWN.get(key)
        if name is None:
            key, colon, value = line.partition(b":")
            name = _name_of(key, colon, line, options, sender)
            if not name:
                continue
            value = value.strip(b" \t")
        elif value and (value[0] <= 32 or value[-1] <= 32):
            value = value.strip(b" \t")
        names.append(name)
        keys.append(key)
        values.append(value)
        first[name] = value
    if len(first) != len(names):
        for index in range(len(names) - 1, -1, -1):
            first[names[index]] = values[index]
    return names, keys, values, first


def lines_with_bare_lf(section: bytes, sender: Sender) -> list[bytes]:
    """Return the lines of a header section in which some end without CR. Raises ProtocolError for a CR anywhere else, or a NUL."""
    lines = [line[:-1] if line.endswith(b"\r") else line for line in section.split(b"\n")]
    for line in lines:
        if CR in line or NUL in line:
            raise sender.refuse_line(line)
    return lines


_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))


def _name_of(key: bytes, colon: bytes, line: bytes, options: HeaderOptions, sender: Sender) -> bytes:
    """Return the lower-case name of a line; b"" when the line is to be left out. Raises ProtocolError."""
    if not colon:
        # To nginx a line without a colon is a name with an empty value. From a client it is refused here.
        if not sender.lenient or not line:
            raise sender.refuse_line(line)
        if line.startswith(b"HTTP/"):
            return b""  # IIS may send the status line twice
    name = key.translate(_LOWERED_UNDERSCORE if options.underscores else _LOWERED)
    if name and NUL not in name:
        return name
    if not key or len(key.translate(None, _NOT_IN_NAME)) != len(key):
        raise sender.refuse_line(line)
    if not sender.lenient and name.replace(b"\0", b"") in _FRAMING:
        raise sender.refuse_line(line)  # to others, who drop the bytes that no name has, it says where the message ends
    return b"" if options.ignore_invalid else key.lower()


_BREAKS: Final = b"\r\n\0"
_LINE_BREAKS: Final = bytes.maketrans(_BREAKS, b"   ")


def one_line(line: bytes) -> bytes:
    """Return a field line that we make, whatever its value came from: CR, LF and NUL become spaces (RFC 9110 section 5.5)."""
    return line.translate(_LINE_BREAKS)


def joined_lines(lines: list[bytes]) -> bytes:
    """Return field lines as they are sent, each with its CRLF. None of them can become two."""
    text = b"".join(lines)
    if LF in text or CR in text or NUL in text:
        lines = [one_line(line) for line in lines]
    return b"\r\n".join(lines) + b"\r\n"


def length_of(value: bytes, sender: Sender) -> int:
    """Return the number in a Content-Length; digits only, no list (RFC 9110 section 8.6). Raises ProtocolError for anything else."""
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        raise sender.refuse('invalid "Content-Length" header')
    return int(value)


def duplicate(
    name: bytes, names: list[bytes], keys: list[bytes], values: list[bytes], sender: Sender
) -> None:
    """Raise ProtocolError for a second line of `name`."""
    first = names.index(name)
    if name in names[first + 1 :]:
        second = names.index(name, first + 1)
        header = "host header" if name == b"host" else "header line"
        raise sender.refuse(
            f'duplicate {header}: "{shown(keys[second])}: {shown(values[second])}", '
            f'previous value: "{shown(keys[first])}: {shown(values[first])}"'
        )


def joined(name: bytes, names: list[bytes], values: list[bytes]) -> bytes:
    """Return all values of `name` as one (RFC 9110 section 5.3; RFC 6265 section 5.4 for Cookie)."""
    found = [values[index] for index in range(len(names)) if names[index] == name]
    return (b"; " if name == b"cookie" else b", ").join(found)


@final
class Connection:
    """What the Connection header says (RFC 9110 section 7.6.1)."""

    def __init__(self, value: bytes) -> None:
        tokens = [token.strip(b" \t") for token in value.lower().split(b",")]
        self.close: bool = b"close" in tokens
        self.keep_alive: bool = b"keep-alive" in tokens
        self.upgrade: bool = b"upgrade" in tokens
        nominated = frozenset(tokens) - _NOT_NOMINATED
        self.nominated: frozenset[bytes] = nominated if nominated else _NONE_NOMINATED


# The same few objects for what nearly every message says.
NO_CONNECTION: Final = Connection(b"")
_USUAL_CONNECTIONS: Final[dict[bytes, Connection]] = {
    value: Connection(value)
    for value in (b"keep-alive", b"close", b"Keep-Alive", b"Close", b"upgrade", b"Upgrade")
}


def connection_of(first: dict[bytes, bytes], names: list[bytes], values: list[bytes]) -> Connection:
    """Return what the Connection fields of a header section say."""
    value = first.get(b"connection")
    if value is None:
        return NO_CONNECTION
    if len(first) != len(names):
        value = joined(b"connection", names, values)
    usual = _USUAL_CONNECTIONS.get(value)
    return usual if usual is not None else Connection(value)


@final
class RequestFields:
    """The header section of requests, checked and never changed again. Requests with the same bytes share it, also on different
    connections: nothing in it may depend on who sends it.
    """

    def __init__(
        self,
        raw: bytes,
        names: list[bytes],
        keys: list[bytes],
        values: list[bytes],
        first: dict[bytes, bytes],
        content_length: int,
        chunked: bool,
        connection: Connection,
        upgrade: bytes,
        expect_continue: bool,
        has_bare_lf: bool = False,
    ) -> None:
        self.raw: bytes = raw
        self.names: list[bytes] = names
        self.keys: list[bytes] = keys
        self.values: list[bytes] = values
        self.first: dict[bytes, bytes] = first
        self.host: bytes | None = first.get(b"host")
        self.content_length: int = content_length
        self.chunked: bool = chunked
        self.close: bool = connection.close
        self.keep_alive: bool = connection.keep_alive
        self.upgrade: bytes = upgrade
        self.expect_continue: bool = expect_continue
        self.has_bare_lf: bool = has_bare_lf  # a line ends without CR
        self.connection_tokens: frozenset[bytes] = connection.nominated
        self.passed_on: bytes = b""  # the lines of those fields that `passed_on_by` lets pass to its upstreams
        self.passed_on_by: object = None

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
        """Return all values of a lower-case name as one, with `, ` between (`; ` for cookie)."""
        value = self.first.get(name)
        if value is None or len(self.first) == len(self.names):
            return value
        return joined(name, self.names, self.values)

    def with_fields(self, keys: list[bytes], values: list[bytes], own: frozenset[bytes]) -> "RequestFields":
        """Return a header section with other fields, of a message whose frame is as it was read from this one.

        `own`: lower-case names of fields that are not the client's, which its Connection does not remove.
        """
        names = [key.lower() for key in keys]
        first: dict[bytes, bytes] = {}
        for index in range(len(names) - 1, -1, -1):
            first[names[index]] = values[index]
        made = RequestFields(
            b"\r\n".join(keys),
            names,
            keys,
            values,
            first,
            self.content_length,
            self.chunked,
            NO_CONNECTION,
            self.upgrade if b"upgrade" in first else b"",
            self.expect_continue,
            self.has_bare_lf,
        )
        made.close = self.close
        made.keep_alive = self.keep_alive
        made.connection_tokens = self.connection_tokens - own
        return made


NO_FIELDS: Final = RequestFields(b"", [], [], [], {}, -1, False, NO_CONNECTION, b"", False)
