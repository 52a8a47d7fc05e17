"""Sealing session tickets with keys that change: what OpenSSL calls when a context has a `KeyRing`."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Final, final

from portico.net.ticket_keys import NAME_SIZE, KeyRing, TicketKey

_IV_SIZE: Final = 16
_AES_128: Final = 16  # bytes of its key
_TLS_1_3: Final = 0x304

# What the callback returns
_FAILED: Final = -1
_UNKNOWN: Final = 0  # a full handshake
_GOOD: Final = 1
_RENEW: Final = 2  # good, and the client gets a new ticket


@final
class TicketSealer:
    """The callback for the tickets of a context, which keeps a pointer to it: it has to live as long (nginx:
    ngx_ssl_ticket_key_callback).
    """

    def __init__(self, lib: ctypes.PyDLL, ring: KeyRing) -> None:
        pointer = ctypes.c_void_p
        self._ring = ring
        self._version = lib.SSL_version
        self._version.argtypes = [pointer]
        self._start_sealing = lib.EVP_EncryptInit_ex
        self._start_opening = lib.EVP_DecryptInit_ex
        for start in (self._start_sealing, self._start_opening):
            start.argtypes = [pointer, pointer, pointer, ctypes.c_char_p, pointer]
        self._start_mac = lib.HMAC_Init_ex
        self._start_mac.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int, pointer, pointer]
        for algorithm in (lib.EVP_aes_128_cbc, lib.EVP_aes_256_cbc, lib.EVP_sha256):
            algorithm.argtypes = []
            algorithm.restype = pointer
        self._aes_128: int = lib.EVP_aes_128_cbc()
        self._aes_256: int = lib.EVP_aes_256_cbc()
        self._sha_256: int = lib.EVP_sha256()
        kind = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer, pointer, pointer, ctypes.c_int)
        self.function = kind(self._prepare)

    def _prepare(self, tls: int, name: int, iv: int, cipher: int, mac: int, sealing: int) -> int:
        if sealing:
            key = self._ring.sealing()
            ctypes.memmove(iv, os.urandom(_IV_SIZE), _IV_SIZE)
            ctypes.memmove(name, key.name, NAME_SIZE)
            return _GOOD if self._start(key, self._start_sealing, iv, cipher, mac) else _FAILED
        found = self._ring.opening(ctypes.string_at(name, NAME_SIZE))
        if found is None:
            return _UNKNOWN
        if not self._start(found, self._start_opening, iv, cipher, mac):
            return _FAILED
        # A ticket of TLS 1.3 is used once (RFC 8446 appendix C.4).
        is_old = found is not self._ring.sealing()
        return _RENEW if is_old or self._version(tls) == _TLS_1_3 else _GOOD

    def _start(self, key: TicketKey, start: Callable[[int, int, None, bytes, int], int], iv: int, cipher: int, mac: int) -> bool:
        algorithm = self._aes_128 if len(key.cipher) == _AES_128 else self._aes_256
        if start(cipher, algorithm, None, key.cipher, iv) != 1:
            return False
        return bool(self._start_mac(mac, key.mac, len(key.mac), self._sha_256, None) == 1)
