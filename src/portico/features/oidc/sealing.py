"""What browsers store for us: encrypted and authenticated, so that they can neither read nor change it.

AES-256-GCM. Each text has a key of its own, derived from the provider's key and a random salt, so that any number of texts can be
sealed: with one key, random nonces would collide after some thousand millions (NIST SP 800-38D section 8.3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import os
from typing import Any, Final, final

KEY_SIZE: Final = 32
_SALT: Final = 16
_NONCE: Final = 12
_TAG: Final = 16
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@final
class Ciphers:
    """The library `cryptography`, imported when a configuration asks for it: the workers may not be allowed to read it."""

    def __init__(self) -> None:
        self._aead: Any = None
        self._invalid: Any = None

    def find(self) -> None:
        """Import it. Raises ImportError."""
        if self._aead is None:
            self._invalid = importlib.import_module("cryptography.exceptions").InvalidTag
            self._aead = importlib.import_module("cryptography.hazmat.primitives.ciphers.aead").AESGCM

    def encrypt(self, key: bytes, nonce: bytes, data: bytes, context: bytes) -> bytes:
        """Return the ciphertext with its tag."""
        sealed: bytes = self._aead(key).encrypt(nonce, data, context)
        return sealed

    def decrypt(self, key: bytes, nonce: bytes, data: bytes, context: bytes) -> bytes | None:
        """Return the plain text; None when it was not sealed with this key for this context."""
        try:
            plain: bytes = self._aead(key).decrypt(nonce, data, context)
        except self._invalid:
            return None
        return plain


CIPHERS: Final = Ciphers()


@final
class Sealer:
    """Seals with one key. `purpose` keeps texts of different kinds apart: at most 16 bytes."""

    def __init__(self, key: bytes, context: bytes) -> None:
        self._key = key
        self._context = context

    def seal(self, purpose: bytes, data: bytes) -> bytes:
        """Return `data`, sealed, as a text that a URL or a cookie can hold."""
        random = os.urandom(_SALT + _NONCE)
        sealed = CIPHERS.encrypt(self._derived(purpose, random[:_SALT]), random[_SALT:], data, self._context)
        return base64url_encoded(random + sealed)

    def open(self, purpose: bytes, text: bytes) -> bytes | None:
        """Return what was sealed; None when this is nothing that we have sealed for `purpose`."""
        data = base64url_decoded(text)
        if len(data) < _SALT + _NONCE + _TAG:
            return None
        nonce = data[_SALT : _SALT + _NONCE]
        return CIPHERS.decrypt(self._derived(purpose, data[:_SALT]), nonce, data[_SALT + _NONCE :], self._context)

    def secret(self, purpose: bytes, about: bytes) -> bytes:
        """Return a secret that only we can derive from `about`, 43 characters of base64url."""
        return base64url_encoded(hashlib.blake2b(about, key=self._key, digest_size=32, person=purpose).digest())

    def _derived(self, purpose: bytes, salt: bytes) -> bytes:
        return hashlib.blake2b(salt, key=self._key, digest_size=KEY_SIZE, person=purpose).digest()


def base64url_encoded(data: bytes) -> bytes:
    """Return `data` in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def base64url_decoded(text: bytes) -> bytes:
    """Return the bytes in base64url without padding, in its one canonical form; b"" for anything else."""
    if text.translate(None, _ALPHABET) or len(text) % 4 == 1:
        return b""
    data = binascii.a2b_base64(text.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(text) % 4))
    return data if base64url_encoded(data) == text else b""
