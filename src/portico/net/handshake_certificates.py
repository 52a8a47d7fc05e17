"""Certificates that are chosen and loaded in the handshake: `ssl_certificate` with variables.

`ssl` can load certificates into contexts only, of which there would be one for each name. So OpenSSL is asked itself, as by nginx
(ngx_ssl_connection_certificate): the pair is read, parsed and given to the one connection. `PemCache` holds what was parsed.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Final, final

from portico.config.files import read_with_status
from portico.net import openssl
from portico.net.certificates import DATA, file_failed, label
from portico.net.openssl import OpenSSL, SSLObject

_CTRL_CHAIN: Final = 88
_CTRL_CHAIN_CERTIFICATE: Final = 89
_NO_START_LINE: Final = "no start line"


@final
class Unloadable(Exception):
    """A certificate or key cannot be used; its text is nginx's message."""


@final
class Pem:
    """A parsed file: a certificate and its chain, or a key. OpenSSL counts the references to each object; these are ours."""

    def __init__(self, loader: Loader, certificates: list[int], key: int) -> None:
        self._loader = loader
        self.certificates = certificates
        self.key = key

    def __del__(self) -> None:
        self._loader.release(self.certificates, self.key)


@final
class Loader:
    """What libcrypto and libssl do with certificates."""

    def __init__(self, library: OpenSSL) -> None:
        self._library = library
        lib = library.functions()
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._buffer = lib.BIO_new_mem_buf
        self._buffer.argtypes = [ctypes.c_char_p, number]
        self._buffer.restype = pointer
        self._close = lib.BIO_free
        self._close.argtypes = [pointer]
        self._first = lib.PEM_read_bio_X509_AUX
        self._next = lib.PEM_read_bio_X509
        self._read_key = lib.PEM_read_bio_PrivateKey
        for read in (self._first, self._next, self._read_key):
            read.argtypes = [pointer, pointer, pointer, ctypes.c_char_p]
            read.restype = pointer
        self._free_certificate = lib.X509_free
        self._free_key = lib.EVP_PKEY_free
        for free in (self._free_certificate, self._free_key):
            free.argtypes = [pointer]
            free.restype = None
        self._use_certificate = lib.SSL_use_certificate
        self._use_key = lib.SSL_use_PrivateKey
        for use in (self._use_certificate, self._use_key):
            use.argtypes = [pointer, pointer]
            use.restype = number

    def certificates(self, data: bytes) -> Pem:
        """Return the certificate and its chain. Raises Unloadable."""
        buffer = self._buffer(data, len(data))
        try:
            first = self._first(buffer, None, None, None)
            if not first:
                raise Unloadable(f"PEM_read_bio_X509_AUX() failed ({self._library.reasons()})")
            pem = Pem(self, [first], 0)
            while True:
                following = self._next(buffer, None, None, None)
                if not following:
                    break
                pem.certificates.append(following)
            reasons = self._library.reasons()
            if _NO_START_LINE not in reasons:
                raise Unloadable(f"PEM_read_bio_X509() failed ({reasons})")
            return pem
        finally:
            self._close(buffer)

    def key(self, data: bytes, passphrases: list[str]) -> Pem:
        """Return the key, opened by one of the passphrases if it is encrypted. Raises Unloadable."""
        reasons = ""
        for passphrase in passphrases or [""]:
            buffer = self._buffer(data, len(data))
            # A passphrase is given even when it is empty: otherwise OpenSSL would ask at the terminal.
            key = self._read_key(buffer, None, None, passphrase.encode("utf-8", "surrogateescape"))
            self._close(buffer)
            if key:
                return Pem(self, [], key)
            reasons = self._library.reasons()
        raise Unloadable(f"PEM_read_bio_PrivateKey() failed ({reasons})")

    def use_certificates(self, tls: SSLObject, pem: Pem) -> str:
        """Show these in the handshake. Returns why not, "" when all is well."""
        pointer = self._library.pointer(tls)
        if self._use_certificate(pointer, pem.certificates[0]) != 1:
            return self._library.reasons()
        self._library.control(pointer, _CTRL_CHAIN, 0, None)
        for certificate in pem.certificates[1:]:
            self._library.control(pointer, _CTRL_CHAIN_CERTIFICATE, 1, certificate)
        return ""

    def use_key(self, tls: SSLObject, pem: Pem) -> str:
        """Use the key of the certificate that was given last. Returns why not, "" when all is well."""
        return "" if self._use_key(self._library.pointer(tls), pem.key) == 1 else self._library.reasons()

    def release(self, certificates: list[int], key: int) -> None:
        """Give references back."""
        for certificate in certificates:
            self._free_certificate(certificate)
        if key:
            self._free_key(key)


@final
class _Cached:
    """What a name stands for, and of which file."""

    def __init__(self, pem: Pem, status: os.stat_result | None, now: float) -> None:
        self.pem = pem
        self.status = status  # None: it is `data:`
        self.checked = now
        self.used = now

    def is_same(self, path: str) -> bool:
        """Return whether the file is the one that was read."""
        try:
            found = os.stat(path)
        except OSError:
            return False
        known = self.status
        return known is not None and found.st_ino == known.st_ino and int(found.st_mtime) == int(known.st_mtime)


@final
class PemCache:
    """Parsed certificates and keys of one worker, the least recently used first (`ssl_certificate_cache`).

    A file is looked at again when it was for more than `valid` seconds not. Entries that were not used for `inactive` seconds go
    when others come.
    """

    def __init__(self, most: int, valid: float, inactive: float) -> None:
        self.most = most
        self.valid = valid
        self.inactive = inactive
        self._entries: dict[str, _Cached] = {}  # by kind and name

    def find(self, kind: str, name: str, now: float) -> Pem | None:
        """Return what is stored and still valid."""
        entry = self._entries.pop(kind + name, None)
        if entry is None:
            return None
        if entry.status is not None and now - entry.checked > self.valid:
            if not entry.is_same(name):
                return None
            entry.checked = now
        entry.used = now
        self._entries[kind + name] = entry
        return entry.pem

    def insert(self, kind: str, name: str, pem: Pem, status: os.stat_result | None, now: float) -> None:
        """Store what was parsed."""
        entries = self._entries
        for key in list(entries)[:2]:
            if now - entries[key].used > self.inactive:
                del entries[key]
        if len(entries) >= self.most:
            del entries[next(iter(entries))]
        entries[kind + name] = _Cached(pem, status, now)

    def remove(self, kind: str, name: str) -> None:
        """Forget a name."""
        self._entries.pop(kind + name, None)


_CERTIFICATE: Final = "certificate "
_KEY: Final = "key "


@final
class PairLoader:
    """Loads pairs of a certificate and a key into connections."""

    def __init__(self, library: OpenSSL, passphrases: list[str], cache: PemCache | None) -> None:
        self._loader = Loader(library)
        self._passphrases = passphrases
        self._cache = cache

    def load(self, tls: SSLObject, certificate: str, key: str) -> None:
        """Give a connection one pair, by absolute paths or `data:`. Raises Unloadable."""
        for attempt in range(2):
            reason = self._loader.use_certificates(tls, self._certificates(certificate))
            if reason:
                raise Unloadable(f'SSL_use_certificate("{label(certificate)}") failed ({reason})')
            reason = self._loader.use_key(tls, self._key(key))
            if not reason:
                return
            if self._cache is None or attempt or "key values mismatch" not in reason:
                break
            # One of the two may have been replaced since they were stored.
            self._cache.remove(_CERTIFICATE, certificate)
            self._cache.remove(_KEY, key)
        raise Unloadable(f'SSL_use_PrivateKey("{label(key)}") failed ({reason})')

    def _certificates(self, name: str) -> Pem:
        now = time.monotonic()
        pem = None if self._cache is None else self._cache.find(_CERTIFICATE, name, now)
        if pem is not None:
            return pem
        try:
            status, data = _read(name)
            pem = self._loader.certificates(data)
        except Unloadable as error:
            raise Unloadable(f'cannot load certificate "{label(name)}": {error}') from None
        if self._cache is not None:
            self._cache.insert(_CERTIFICATE, name, pem, status, now)
        return pem

    def _key(self, name: str) -> Pem:
        now = time.monotonic()
        pem = None if self._cache is None else self._cache.find(_KEY, name, now)
        if pem is not None:
            return pem
        try:
            status, data = _read(name)
            pem = self._loader.key(data, self._passphrases)
        except Unloadable as error:
            raise Unloadable(f'cannot load certificate key "{label(name)}": {error}') from None
        if self._cache is not None and b"ENCRYPTED" not in data:  # a key that was encrypted is not held open, as in nginx
            self._cache.insert(_KEY, name, pem, status, now)
        return pem


def _read(name: str) -> tuple[os.stat_result | None, bytes]:
    if name.startswith(DATA):
        return None, name[len(DATA) :].encode("utf-8", "surrogateescape")
    try:
        return read_with_status(name)
    except (OSError, ValueError) as error:
        raise Unloadable(f"BIO_new_file() failed ({file_failed(name) or error})") from None


def pair_loader(passphrases: list[str], cache: PemCache | None) -> PairLoader | None:
    """Return what loads pairs; None where libssl cannot be reached."""
    library = openssl.library()
    return None if library is None else PairLoader(library, passphrases, cache)
