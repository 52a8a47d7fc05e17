"""Stored passwords: what nginx understands (ngx_crypt.c), and what the system's crypt(3) does.

    {PLAIN}text  {SHA}base64  {SSHA}base64     quick: compared on the spot
    $apr1$salt$hash                            htpasswd's default: a thousand rounds of MD5
    $2a$ $2b$ $2y$                             bcrypt, by the library of that name
    $1$ $5$ $6$ $y$ and what else there is     crypt_r(3): MD5-crypt, SHA-crypt, yescrypt, DES without a "$"

Every comparison takes the same time wherever the difference is.
"""

from __future__ import annotations

import binascii
import ctypes
import hashlib
import hmac
import importlib
from typing import Any, Final, final

_SHA1_LENGTH: Final = 20
_APR1: Final = b"$apr1$"
_BCRYPT: Final = (b"$2a$", b"$2b$", b"$2y$")
_BCRYPT_LENGTH: Final = 72  # bytes of a password that count; the library refuses more
_CRYPT64: Final = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CRYPT_DATA: Final = 1 << 18  # struct crypt_data: 131,232 bytes in glibc, 32,768 in libxcrypt
_LIBRARIES: Final = ("libcrypt.so.1", "libcrypt.so.2", None)  # None: what the program has loaded, which on musl has crypt_r


@final
class CryptError(Exception):
    """The stored password is in no scheme that this system knows."""


def is_quick(stored: bytes) -> bool:
    """Return whether verifying takes no longer than looking up what was verified before."""
    return stored.startswith((b"{PLAIN}", b"{SHA}", b"{SSHA}"))


def verify(password: bytes, stored: bytes) -> bool:
    """Return whether the password is the stored one. Raises CryptError."""
    password = password.partition(b"\0")[0]  # a C string, to crypt(3) and to nginx
    if stored.startswith(b"{PLAIN}"):
        return hmac.compare_digest(stored[7:], password)
    if stored.startswith(b"{SHA}"):
        made = binascii.b2a_base64(hashlib.sha1(password, usedforsecurity=False).digest(), newline=False)
        return hmac.compare_digest(stored[5:], made)
    if stored.startswith(b"{SSHA}"):
        return _verify_ssha(password, stored[6:])
    if stored.startswith(_APR1):
        return hmac.compare_digest(stored, apr1(password, stored))
    if _bcrypt.check is not None and stored.startswith(_BCRYPT):
        return _bcrypt.verify(password, stored)
    made = _crypt.hash(password, stored)
    return hmac.compare_digest(stored, made) and not made.startswith(b"*")  # "*0": a scheme that crypt(3) does not know


def _verify_ssha(password: bytes, encoded: bytes) -> bool:
    try:
        data = binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4))
    except binascii.Error:
        return False
    if len(data) < _SHA1_LENGTH:
        return False
    made = hashlib.sha1(password + data[_SHA1_LENGTH:], usedforsecurity=False).digest()
    return hmac.compare_digest(data[:_SHA1_LENGTH], made)


def apr1(password: bytes, stored: bytes) -> bytes:
    """Return the password hashed as `stored` ($apr1$salt$…) was: MD5-crypt with Apache's own magic (ngx_crypt_apr1)."""
    salt = stored[len(_APR1) :].partition(b"$")[0][:8]
    final = hashlib.md5(password + salt + password, usedforsecurity=False).digest()
    start = password + _APR1 + salt + (final * (len(password) // 16 + 1))[: len(password)]
    bits = len(password)
    while bits:
        start += b"\0" if bits & 1 else password[:1]
        bits >>= 1
    final = hashlib.md5(start, usedforsecurity=False).digest()
    for i in range(1000):
        data = password if i & 1 else final
        if i % 3:
            data += salt
        if i % 7:
            data += password
        data += final if i & 1 else password
        final = hashlib.md5(data, usedforsecurity=False).digest()
    return _APR1 + salt + b"$" + _shuffled(final)


def _shuffled(digest: bytes) -> bytes:
    """Return the 16 bytes as MD5-crypt writes them: three at a time, six bits a character, lowest first."""
    text = bytearray()
    for i in range(5):
        _put(text, digest[i] << 16 | digest[i + 6] << 8 | digest[i + 12 if i < 4 else 5], 4)
    _put(text, digest[11], 2)
    return bytes(text)


def _put(text: bytearray, value: int, count: int) -> None:
    for _ in range(count):
        text.append(_CRYPT64[value & 0x3F])
        value >>= 6


def prepare() -> None:
    """Find the libraries. Call at load: the workers may not be allowed to read them."""
    _bcrypt.find()
    _crypt.find()


@final
class Bcrypt:
    """The library `bcrypt`; without it crypt(3) is asked, which may know the scheme too."""

    def __init__(self) -> None:
        self.check: Any = None

    def find(self) -> None:
        """Import it."""
        try:
            self.check = importlib.import_module("bcrypt").checkpw
        except ImportError:
            pass

    def verify(self, password: bytes, stored: bytes) -> bool:
        """Return whether the password is the stored one."""
        try:
            return bool(self.check(password[:_BCRYPT_LENGTH], stored))
        except ValueError:  # the stored password is malformed
            return False


@final
class SystemCrypt:
    """crypt_r(3). It lets other threads run meanwhile."""

    def __init__(self) -> None:
        self.function: Any = None

    def find(self) -> None:
        """Look for it in the libraries that may have it."""
        for name in _LIBRARIES:
            try:
                function = ctypes.CDLL(name, use_errno=True).crypt_r
            except (OSError, AttributeError):
                continue
            function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
            function.restype = ctypes.c_char_p
            self.function = function
            return

    def hash(self, password: bytes, setting: bytes) -> bytes:
        """Return the password hashed with the scheme and salt of `setting`. Raises CryptError."""
        if self.function is None:
            raise CryptError("this system has no crypt_r()")
        ctypes.set_errno(0)
        made = self.function(password, setting, ctypes.create_string_buffer(_CRYPT_DATA))
        if not isinstance(made, bytes):
            raise CryptError(f"crypt_r() failed ({ctypes.get_errno()})")
        return made


_bcrypt: Final = Bcrypt()
_crypt: Final = SystemCrypt()
