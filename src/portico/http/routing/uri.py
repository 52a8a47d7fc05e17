"""The URI of a request: its normal form, and nginx's ways of escaping and unescaping.

Locations are chosen, and files are found, by the *normal* path: `%XX` decoded, `.` and `..` resolved, runs of
`/` merged. It is made once, here, the way `ngx_http_parse_complex_uri` makes it, because a path that two
readers understand differently is how access rules are walked around. The rules:

* the path ends at the first `?` (arguments follow) or `#` (nothing that follows counts);
* `%2F` is a slash and `%2E` a dot like any other, so `/a/%2e%2e/b` is `/b`; but an escaped `?`, `#` or `%` is
  only a character;
* `..` above the root, an escape that is not two hexadecimal digits, and `%00` are refused (400);
* `merge_slashes off` keeps empty segments, and then `..` removes an empty segment like any other.

Almost every path is in normal form already: a few searches at C speed tell, and nothing is copied or looped
over.
"""

import re
from typing import Final

from portico.http.routing.target import RequestTarget

ESCAPE_URI: Final = 0  # a path
ESCAPE_ARGS: Final = 1  # a value among arguments
ESCAPE_URI_COMPONENT: Final = 2  # everything but ALPHA, DIGIT, "-", ".", "_", "~"
ESCAPE_HTML: Final = 3  # ngx_escape_uri's NGX_ESCAPE_HTML: a URI that stands in HTML (not HTML entities)
ESCAPE_REFRESH: Final = 4  # a URI in a Refresh field
ESCAPE_MEMCACHED: Final = 5  # a memcached key

# ngx_escape_uri's bit maps, 32 characters to a word, lowest first: a set bit is written %XX.
_MAPS: Final = (
    (0xFFFFFFFF, 0xD000002D, 0x50000000, 0xB8000001, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    (0xFFFFFFFF, 0xD800086D, 0x50000000, 0xB8000001, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    (0xFFFFFFFF, 0xFC009FFF, 0x78000001, 0xB8000001, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    (0xFFFFFFFF, 0x500000AD, 0x50000000, 0xB8000001, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    (0xFFFFFFFF, 0x50000085, 0x50000000, 0xD8000001, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    (0xFFFFFFFF, 0x00000021, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000),
)


def _escapes(bits: tuple[int, ...]) -> list[bytes]:
    """Return what each of the 256 characters is written as."""
    return [b"%%%02X" % c if bits[c >> 5] >> (c & 31) & 1 else bytes((c,)) for c in range(256)]


_ESCAPES: Final[list[list[bytes]]] = [_escapes(bits) for bits in _MAPS]
_SAFE: Final[list[bytes]] = [b"".join([e for e in table if len(e) == 1]) for table in _ESCAPES]

_PERCENT: Final = 0x25
_HASH: Final = 0x23
_DOT: Final = 0x2E
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f].?|.)?", re.DOTALL)
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})|%00")
_PATH_END: Final = re.compile(rb"[?#]")
_HEX: Final = b"0123456789abcdefABCDEF"
_HEX_PAIRS: Final[dict[bytes, bytes]] = {
    bytes((a, b)): bytes((int(bytes((a, b)), 16),)) for a in _HEX for b in _HEX
}


def normalise(target_path: bytes, merge_slashes: bool) -> RequestTarget:
    """Split and normalise a request target in origin form (`/path?args`).

    An absolute-form target is given from its path on; that may be empty (`http://host?x`): then it means `/`.
    Raises `ValueError` with the reason for what nginx refuses with 400.
    """
    mark = target_path.find(b"?")
    path = target_path if mark < 0 else target_path[:mark]
    # Asking for an int is several times cheaper than for b"%"; find() likewise beats `in` for two characters.
    if _PERCENT in path or _HASH in target_path or path.find(b"//") >= 0 or not path.startswith(b"/"):
        return _normalise_complex(target_path, merge_slashes)
    if _DOT in path and path.find(b"/.") >= 0:
        return _normalise_complex(target_path, merge_slashes)
    return RequestTarget(target_path, path, b"" if mark < 0 else target_path[mark + 1 :], False)


def _normalise_complex(target: bytes, merge_slashes: bool) -> RequestTarget:
    end = _PATH_END.search(target)
    raw = target if end is None else target[: end.start()]
    has_args = end is not None and end.group() == b"?"
    args = target[len(raw) + 1 :].partition(b"#")[0] if has_args else b""
    if raw and raw[:1] != b"/":
        raise ValueError("URI does not begin with a slash")
    quoted = b"%" in raw
    uri = _resolve(_decode_path(raw) if quoted else raw, merge_slashes)
    return RequestTarget(target, uri, args, quoted)


def _decode_path(path: bytes) -> bytes:
    bad = _BAD_ESCAPE.search(path)
    if bad is not None:
        if bad.group() == b"%00":
            raise ValueError("URI has an escaped zero byte")
        raise ValueError("URI has an invalid escape")
    pieces = path.split(b"%")
    decoded = [pieces[0]]
    for piece in pieces[1:]:
        decoded.append(_HEX_PAIRS[piece[:2]])
        decoded.append(piece[2:])
    return b"".join(decoded)


def _resolve(path: bytes, merge_slashes: bool) -> bytes:
    """Resolve `.`, `..` and (when merging) empty segments of a decoded path.

    The last segment is apart: what stands for a directory there (``, `.`, `..`) leaves the slash before it.
    """
    segments = path.split(b"/")
    last = segments.pop() if len(segments) > 1 else b""
    kept: list[bytes] = []
    for segment in segments[1:]:
        if segment == b"..":
            _up(kept)
        elif segment != b"." and (segment or not merge_slashes):
            kept.append(segment)
    if last == b"..":
        _up(kept)
    kept.append(b"" if last == b"." or last == b".." else last)
    return b"/" + b"/".join(kept)


def _up(kept: list[bytes]) -> None:
    if not kept:
        raise ValueError("URI goes above the root")
    kept.pop()


def escape_uri(b: bytes, kind: int) -> bytes:
    """`ngx_escape_uri`: write as `%XX` what may not stand in a URI part of this `kind` (`ESCAPE_…`)."""
    if not b.translate(None, _SAFE[kind]):
        return b
    table = _ESCAPES[kind]
    return b"".join([table[c] for c in b])


_UNPRINTABLE: Final = bytes(range(0x21)) + b"\x7f"
_ESCAPED: Final[dict[int, bytes]] = {byte: b"%%%02X" % byte for byte in _UNPRINTABLE}


def printable_target(target: bytes) -> bytes:
    """Return a request target or Location that we make: blanks and controls are escaped, so that it cannot end its line."""
    if len(target.translate(None, _UNPRINTABLE)) == len(target):
        return target
    return b"".join([_ESCAPED.get(byte) or bytes((byte,)) for byte in target])


def unescape(b: bytes) -> bytes:
    """`ngx_unescape_uri`: decode `%XX` wherever it stands; forgiving, as nginx is.

    A `%` without a hexadecimal digit behind it is dropped; `%` and a lone digit go, with the character that
    follows.
    """
    if _PERCENT not in b:
        return b
    return _ESCAPE.sub(_unescaped, b)


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found.group(1) or b""
    if code[:1] not in _HEX:
        return code
    return _HEX_PAIRS.get(code, b"")


def arg(args: bytes, name: bytes) -> bytes | None:
    """Return the value of the first argument of that name (`$arg_name`), undecoded; None when there is none.

    As `ngx_http_arg`: names compare without regard to case, and an argument without `=` does not count.
    """
    wanted = name.lower() + b"="
    if wanted == b"=":
        return None
    lowered = args.lower()
    at = lowered.find(wanted)
    while at > 0 and lowered[at - 1 : at] != b"&":
        at = lowered.find(wanted, at + 1)
    if at < 0:
        return None
    start = at + len(wanted)
    end = args.find(b"&", start)
    return args[start:] if end < 0 else args[start:end]
