"""What the `set_…` directives make of texts: escaping, encodings, digests, chance, the date.

Each gets the values of its arguments and returns the variable's new one. It raises ValueError when they make no sense; the request
ends with 500 then.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import secrets
import string
import time
from collections.abc import Callable
from typing import Final, final

from portico.http.routing.uri import unescape

Function = Callable[[list[bytes]], bytes]

_LONGEST_TIME: Final = 256  # bytes
_LONGEST_RANDOM: Final = 64
_MOST_DIGITS: Final = 18
_BASE64: Final = (string.ascii_letters + string.digits + "+/").encode()
_BASE64_URL: Final = (string.ascii_letters + string.digits + "-_").encode()
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_HEX: Final = string.hexdigits.encode()
_LETTERS: Final = string.ascii_lowercase
_LETTERS_AND_DIGITS: Final = string.ascii_letters + string.digits

# What a URI component cannot hold as it is; the rest of printable ASCII stays.
_ESCAPED: Final = frozenset(b' "#%&+/:;<=>?[\\]^{}\x7f') | frozenset(range(32)) | frozenset(range(128, 256))
_ESCAPES: Final[tuple[bytes, ...]] = tuple(b"%%%02X" % byte if byte in _ESCAPED else bytes((byte,)) for byte in range(256))
_JSON: Final[dict[int, bytes]] = {
    ord("\r"): b"\\r", ord("\n"): b"\\n", ord("\f"): b"\\f", ord("\b"): b"\\b", ord("\t"): b"\\t",
    ord("\\"): b"\\\\", ord('"'): b'\\"',
}  # fmt: skip
_JSON_ESCAPES: Final[tuple[bytes, ...]] = tuple(
    _JSON.get(byte, b"\\u%04x" % byte if byte < 32 else bytes((byte,))) for byte in range(256)
)


def escape_uri(values: list[bytes]) -> bytes:
    """`set_escape_uri`."""
    return b"".join([_ESCAPES[byte] for byte in values[0]])


def unescape_uri(values: list[bytes]) -> bytes:
    """`set_unescape_uri`: a plus is a space, too."""
    return unescape(values[0].replace(b"+", b" "))


def quote_json(values: list[bytes]) -> bytes:
    """`set_quote_json_str`: with its quotation marks; null when it is empty."""
    return b'"' + b"".join([_JSON_ESCAPES[byte] for byte in values[0]]) + b'"' if values[0] else b"null"


def encode_base64(values: list[bytes]) -> bytes:
    """`set_encode_base64`."""
    return binascii.b2a_base64(values[0], newline=False)


def decode_base64(values: list[bytes]) -> bytes:
    """`set_decode_base64`: padding may be missing."""
    return _decoded(values[0], _BASE64)


def encode_base64url(values: list[bytes]) -> bytes:
    """`set_encode_base64url`: without padding."""
    return binascii.b2a_base64(values[0], newline=False).translate(_TO_URL).rstrip(b"=")


def decode_base64url(values: list[bytes]) -> bytes:
    """`set_decode_base64url`."""
    return _decoded(values[0], _BASE64_URL)


def _decoded(text: bytes, alphabet: bytes) -> bytes:
    digits = text.partition(b"=")[0]
    if digits.translate(None, alphabet) or len(digits) % 4 == 1:
        raise ValueError("invalid value")
    return binascii.a2b_base64(digits.translate(_FROM_URL) + b"=" * (-len(digits) % 4))


def encode_hex(values: list[bytes]) -> bytes:
    """`set_encode_hex`."""
    return binascii.b2a_hex(values[0])


def decode_hex(values: list[bytes]) -> bytes:
    """`set_decode_hex`."""
    text = values[0]
    if len(text) % 2 or text.translate(None, _HEX):
        raise ValueError("invalid value")
    return binascii.a2b_hex(text)


def md5(values: list[bytes]) -> bytes:
    """`set_md5`, in hexadecimal digits."""
    return hashlib.md5(values[0], usedforsecurity=False).hexdigest().encode()


def sha1(values: list[bytes]) -> bytes:
    """`set_sha1`, in hexadecimal digits."""
    return hashlib.sha1(values[0], usedforsecurity=False).hexdigest().encode()


def hmac_sha1(values: list[bytes]) -> bytes:
    """`set_hmac_sha1` of a key and a text: 20 bytes."""
    return hmac.digest(values[0], values[1], "sha1")


def hmac_sha256(values: list[bytes]) -> bytes:
    """`set_hmac_sha256` of a key and a text: 32 bytes."""
    return hmac.digest(values[0], values[1], "sha256")


def random_number(values: list[bytes]) -> bytes:
    """`set_random`: from the smaller to the larger, both included."""
    low, high = _range(values[0], values[1])
    return b"%d" % (low + secrets.randbelow(high - low + 1))


def random_alphanum(values: list[bytes]) -> bytes:
    """`set_secure_random_alphanum`."""
    return _random(values[0], _LETTERS_AND_DIGITS)


def random_letters(values: list[bytes]) -> bytes:
    """`set_secure_random_lcalpha`."""
    return _random(values[0], _LETTERS)


def _random(length: bytes, alphabet: str) -> bytes:
    count = _number(length, "length")
    if not 1 <= count <= _LONGEST_RANDOM:
        raise ValueError(f'bad "length" argument: {count} (it may be 1 to {_LONGEST_RANDOM})')
    return "".join([secrets.choice(alphabet) for _ in range(count)]).encode()


def _range(low: bytes, high: bytes) -> tuple[int, int]:
    first, last = _number(low, "from"), _number(high, "to")
    return (first, last) if first <= last else (last, first)


def _number(text: bytes, name: str) -> int:
    """Return a number. Raises ValueError for anything else."""
    if not text.isdigit() or len(text) > _MOST_DIGITS:
        shown = text[:64].decode("utf-8", "backslashreplace")
        raise ValueError(f'bad "{name}" argument: "{shown}"')
    return int(text)


@final
class Rotation:
    """`set_rotate`: the next number, of the one that is given or else of the last one in this worker."""

    def __init__(self) -> None:
        self._last = -1

    def next(self, values: list[bytes]) -> bytes:
        """Return it; `values`: the number now, the first and the last."""
        low, high = _range(values[1], values[2])
        text = values[0]
        number = int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else self._last
        number = number + 1 if low <= number + 1 <= high else low
        self._last = number
        return b"%d" % number


def local_today(values: list[bytes]) -> bytes:
    """`set_local_today`."""
    return time.strftime("%Y-%m-%d").encode()


def gmt_time(values: list[bytes]) -> bytes:
    """`set_formatted_gmt_time`, by strftime(3)."""
    return _formatted(values[0], time.gmtime())


def local_time(values: list[bytes]) -> bytes:
    """`set_formatted_local_time`."""
    return _formatted(values[0], time.localtime())


def _formatted(form: bytes, moment: time.struct_time) -> bytes:
    if not form:
        return b""
    made = time.strftime(form.decode("latin-1"), moment).encode("latin-1") if form.isascii() and b"\0" not in form else b""
    if not made or len(made) > _LONGEST_TIME:
        raise ValueError(f"the format makes no time of 1 to {_LONGEST_TIME} bytes")
    return made
