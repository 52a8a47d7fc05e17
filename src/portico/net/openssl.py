"""What libssl can do and the standard library's `ssl` does not offer, reached through ctypes.

The functions are looked up in the library that `_ssl` itself is linked with. The two pointers they need,
`SSL_CTX *` and `SSL *`, are read out of the objects of `_ssl`:

    SSLContext:  object header, SSL_CTX *, …
    _SSLSocket:  object header, weak reference to the socket, SSL *, the SSLContext, …

That layout is CPython's own affair (it has been the same from 3.6 to 3.14). So nothing is used before
`library()` has proved it on objects made for the purpose: memory is probed through /proc/self/mem, which
answers with an error where a wild pointer would crash; then OpenSSL must read back through the pointer what
was set through `ssl`. When any of it fails there is no library, and whatever needs it says so when the
configuration is loaded.
"""

from __future__ import annotations

import _ssl
import ctypes
import os
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol, final

from portico.net.openssl_tickets import TicketSealer
from portico.net.ticket_keys import KeyRing

VERIFY_NONE: Final = 0
VERIFY_PEER: Final = 1

CACHE_OFF: Final = 0
CACHE_SERVER: Final = 2
CACHE_NO_INTERNAL_STORE: Final = 0x200

VERIFY_OK: Final = 0  # X509_V_OK
# What `optional_no_ca` forgives (nginx: ngx_ssl_verify_error_optional): the certificate is sound, its issuer
# is not known.
NO_CA_ERRORS: Final = frozenset((18, 19, 20, 21, 27))

_CTRL_SET_SERVERNAME_CALLBACK: Final = 53
_CTRL_SET_TLSEXT_HOSTNAME: Final = 55
_CTRL_SET_TICKET_KEYS: Final = 59
_CTRL_MODE: Final = 33
_CTRL_SET_STATUS_CALLBACK: Final = 63
_CTRL_SET_STATUS_RESPONSE: Final = 71
_CTRL_SET_TICKET_KEY_CALLBACK: Final = 72
_CTRL_SET_READ_AHEAD: Final = 41
_CTRL_SET_CACHE_SIZE: Final = 42
_CTRL_SET_CACHE_MODE: Final = 44
_CTRL_SET_MIN_VERSION: Final = 123
_CTRL_SET_MAX_VERSION: Final = 124
_CTRL_GET_GROUPS: Final = 90
_CTRL_SET_GROUPS_LIST: Final = 92
_CTRL_GET_RAW_CIPHERS: Final = 110
_CTRL_GET_NEGOTIATED_GROUP: Final = 134
_NO_AUTO_CHAIN: Final = 0x8  # SSL_MODE_NO_AUTO_CHAIN
_GO_ON: Final = 0  # SSL_TLSEXT_ERR_OK
_NO_STATUS: Final = 3  # SSL_TLSEXT_ERR_NOACK
_ALERT: Final = 2  # SSL_TLSEXT_ERR_ALERT_FATAL
_SERVER_NAME: Final = 0  # TLSEXT_TYPE_server_name
_HOST_NAME: Final = 0  # TLSEXT_NAMETYPE_host_name
_LONGEST_NAME: Final = 255  # TLSEXT_MAXLEN_host_name
_HELLO_ERROR: Final = 0  # SSL_CLIENT_HELLO_ERROR
_HELLO_SUCCESS: Final = 1  # SSL_CLIENT_HELLO_SUCCESS
_OVERLAP: Final = 1  # OPENSSL_NPN_NEGOTIATED
_UNKNOWN_GROUP: Final = 0x1000000  # TLSEXT_nid_unknown
_CRL_CHECK_ALL: Final = 0x4 | 0x8  # X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL

_HEADER: Final = object.__basicsize__
_WORD: Final = 8
_REASON_SIZE: Final = 256


# Given the name of SNI as it was sent, None when there was none; returns the alert to end the handshake with,
# 0 to go on.
OfferProtocols = Callable[[], bytes]  # to the client of the handshake that is being made
ChooseByName = Callable[["bytes | None"], int]
# Returns whether the handshake may go on.
Certify = Callable[[], bool]
# Given the `SSL *`; returns the OCSP response to send with the certificate, b"" for none.
Staple = Callable[[int], bytes]


class SSLObject(Protocol):
    """`_ssl._SSLSocket`, as far as it is used: one TLS connection."""

    context: ssl.SSLContext
    session: ssl.SSLSession | None

    def do_handshake(self) -> None: ...

    def read(self, size: int, /) -> bytes: ...

    def write(self, data: bytes | memoryview, /) -> int: ...

    def shutdown(self) -> object: ...

    def version(self) -> str | None: ...

    def cipher(self) -> tuple[str, str, int] | None: ...

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None: ...

    def selected_alpn_protocol(self) -> str | None: ...

    def getpeercert(self, binary: bool, /) -> bytes | None: ...

    @property
    def session_reused(self) -> bool: ...


def wrap_socket(
    context: ssl.SSLContext,
    sock: socket.socket,
    server_side: bool,
    name: str | None = None,
) -> SSLObject:
    """Return a TLS connection over `sock` without the SSLSocket around it, whose Python-level checks cost more than reading does."""
    wrapped: SSLObject = context._wrap_socket(sock, server_side, name)  # type: ignore[attr-defined]
    return wrapped


@final
class OpenSSL:
    """The functions of libssl and libcrypto. Only `library()` makes one."""

    def __init__(self) -> None:
        # PyDLL keeps the interpreter lock: each of these calls takes less time than releasing it.
        self._lib = ctypes.PyDLL(_ssl.__file__)
        lib = self._lib
        pointer = ctypes.c_void_p
        self._get_options = lib.SSL_CTX_get_options
        self._get_options.argtypes = [pointer]
        self._get_options.restype = ctypes.c_uint64
        self._context_of = lib.SSL_get_SSL_CTX
        self._context_of.argtypes = [pointer]
        self._context_of.restype = pointer
        self._set_options = lib.SSL_set_options
        self._set_options.argtypes = [pointer, ctypes.c_uint64]
        self._set_options.restype = ctypes.c_uint64
        self._clear_options = lib.SSL_clear_options
        self._clear_options.argtypes = [pointer, ctypes.c_uint64]
        self._clear_options.restype = ctypes.c_uint64
        self._context_control = lib.SSL_CTX_ctrl
        self._context_control.argtypes = [pointer, ctypes.c_int, ctypes.c_long, pointer]
        self._context_control.restype = ctypes.c_long
        self._control = lib.SSL_ctrl
        self._control.argtypes = [pointer, ctypes.c_int, ctypes.c_long, pointer]
        self._control.restype = ctypes.c_long
        self._shutdown = lib.SSL_shutdown
        self._shutdown.argtypes = [pointer]
        self._has_pending = lib.SSL_has_pending
        self._has_pending.argtypes = [pointer]
        self._has_pending.restype = ctypes.c_int
        self._clear_error = lib.ERR_clear_error
        self._clear_error.argtypes = []
        self._clear_error.restype = None
        self._next_error = lib.ERR_get_error
        self._next_error.argtypes = []
        self._next_error.restype = ctypes.c_ulong
        self._error_text = lib.ERR_error_string_n
        self._error_text.argtypes = [ctypes.c_ulong, pointer, ctypes.c_size_t]
        self._error_text.restype = None
        self._set_verify = lib.SSL_set_verify
        self._set_verify.argtypes = [pointer, ctypes.c_int, pointer]
        self._set_verify.restype = None
        self._set_context_verify = lib.SSL_CTX_set_verify
        self._set_context_verify.argtypes = [pointer, ctypes.c_int, pointer]
        self._set_context_verify.restype = None
        self._set_depth = lib.SSL_set_verify_depth
        self._set_depth.argtypes = [pointer, ctypes.c_int]
        self._set_depth.restype = None
        self._set_context_depth = lib.SSL_CTX_set_verify_depth
        self._set_context_depth.argtypes = [pointer, ctypes.c_int]
        self._set_context_depth.restype = None
        self._verify_result = lib.SSL_get_verify_result
        self._verify_result.argtypes = [pointer]
        self._verify_result.restype = ctypes.c_long
        self._verify_text = lib.X509_verify_cert_error_string
        self._verify_text.argtypes = [ctypes.c_long]
        self._verify_text.restype = ctypes.c_char_p
        self._set_timeout = lib.SSL_CTX_set_timeout
        self._set_timeout.argtypes = [pointer, ctypes.c_long]
        self._set_timeout.restype = ctypes.c_long
        self._set_id_context = lib.SSL_CTX_set_session_id_context
        self._set_id_context.argtypes = [pointer, ctypes.c_char_p, ctypes.c_uint]
        self._load_names = lib.SSL_load_client_CA_file
        self._load_names.argtypes = [ctypes.c_char_p]
        self._load_names.restype = pointer
        self._set_names = lib.SSL_CTX_set_client_CA_list
        self._set_names.argtypes = [pointer, pointer]
        self._set_names.restype = None
        self._store = lib.SSL_CTX_get_cert_store
        self._store.argtypes = [pointer]
        self._store.restype = pointer
        self._store_flags = lib.X509_STORE_set_flags
        self._store_flags.argtypes = [pointer, ctypes.c_ulong]
        self._session = lib.SSL_get_session
        self._session.argtypes = [pointer]
        self._session.restype = pointer
        self._session_name = lib.SSL_SESSION_get0_hostname
        self._session_name.argtypes = [pointer]
        self._session_name.restype = ctypes.c_char_p
        self._short_name = lib.OBJ_nid2sn
        self._short_name.argtypes = [ctypes.c_int]
        self._short_name.restype = ctypes.c_char_p
        self._find_cipher = lib.SSL_CIPHER_find
        self._find_cipher.argtypes = [pointer, pointer]
        self._find_cipher.restype = pointer
        self._cipher_name = lib.SSL_CIPHER_get_name
        self._cipher_name.argtypes = [pointer]
        self._cipher_name.restype = ctypes.c_char_p
        self._select_protocol = lib.SSL_select_next_proto
        self._select_protocol.argtypes = [
            pointer, pointer, ctypes.c_char_p, ctypes.c_uint, pointer, ctypes.c_uint,
        ]  # fmt: skip
        self._select_protocol.restype = ctypes.c_int
        self._set_alpn_callback = lib.SSL_CTX_set_alpn_select_cb
        self._set_alpn_callback.argtypes = [pointer, pointer, pointer]
        self._set_alpn_callback.restype = None
        self._get_extension = lib.SSL_client_hello_get0_ext
        self._get_extension.argtypes = [pointer, ctypes.c_uint, pointer, pointer]
        self._get_extension.restype = ctypes.c_int
        self._set_hello_callback = lib.SSL_CTX_set_client_hello_cb
        self._set_hello_callback.argtypes = [pointer, pointer, pointer]
        self._set_hello_callback.restype = None
        self._set_certificate_callback = lib.SSL_CTX_set_cert_cb
        self._set_certificate_callback.argtypes = [pointer, pointer, pointer]
        self._set_certificate_callback.restype = None
        self._set_callback = lib.SSL_CTX_callback_ctrl
        self._set_callback.argtypes = [pointer, ctypes.c_int, pointer]
        self._set_callback.restype = ctypes.c_long
        self._allocate = lib.CRYPTO_malloc
        self._allocate.argtypes = [ctypes.c_size_t, ctypes.c_char_p, ctypes.c_int]
        self._allocate.restype = pointer
        self._stapling: dict[Staple, StatusCallback] = {}  # contexts keep pointers to these
        self._alpn: dict[OfferProtocols, ProtocolChoice] = {}  # contexts keep pointers to these
        self._by_name: dict[ChooseByName, NameChoice] = {}  # and to these
        self._certifying: dict[Certify, CertificateCallback] = {}  # and to these
        # As in nginx's ngx_ssl_verify_callback: go on, the result is looked at when there is a request to respond to.
        self._accept = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(_accept_any)
        self._acknowledge = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer)(_acknowledge_name)

    def functions(self) -> ctypes.PyDLL:
        """Return the library itself, for more of its functions."""
        return self._lib

    # -- contexts --------------------------------------------------------------------------------------------

    def set_groups(self, context: ssl.SSLContext, names: str) -> str:
        """Set the curves, as in `X25519:prime256v1`; the reason when OpenSSL refuses them, else ""."""
        self._clear_error()
        text = ctypes.c_char_p(os.fsencode(names))
        ok = self._context_control(_context_pointer(context), _CTRL_SET_GROUPS_LIST, 0, text)
        return "" if ok else self.reasons()

    def set_session_cache(self, context: ssl.SSLContext, mode: int, entries: int) -> None:
        """Set whether and how many sessions are stored in this process; entries 0: OpenSSL's default of 20480."""
        pointer = _context_pointer(context)
        self._context_control(pointer, _CTRL_SET_CACHE_MODE, mode, None)
        if entries > 0:
            self._context_control(pointer, _CTRL_SET_CACHE_SIZE, entries, None)

    def set_session_timeout(self, context: ssl.SSLContext, seconds: int) -> None:
        """Set how long sessions and tickets are valid."""
        self._set_timeout(_context_pointer(context), seconds)

    def set_session_id_context(self, context: ssl.SSLContext, name: bytes) -> None:
        """Set the name (at most 32 bytes) under which alone sessions are resumed."""
        self._set_id_context(_context_pointer(context), name, len(name))

    def set_ticket_keys(self, context: ssl.SSLContext, keys: bytes) -> bool:
        """Set the ticket keys, 80 bytes: name, key of the MAC, key of AES-256. Return whether OpenSSL accepted them."""
        buffer = ctypes.create_string_buffer(keys, len(keys))
        return bool(
            self._context_control(_context_pointer(context), _CTRL_SET_TICKET_KEYS, len(keys), buffer)
        )

    def seal_tickets(self, context: ssl.SSLContext, ring: KeyRing) -> TicketSealer:
        """Seal and open tickets with the keys of `ring`. What is returned has to live as long as the context."""
        sealer = TicketSealer(self._lib, ring)
        self._set_callback(_context_pointer(context), _CTRL_SET_TICKET_KEY_CALLBACK, sealer.function)
        return sealer

    def set_read_ahead(self, context: ssl.SSLContext) -> None:
        """Read as much as is there with one system call, instead of one for a record's head and one for the
        rest.
        """
        self._context_control(_context_pointer(context), _CTRL_SET_READ_AHEAD, 1, None)

    def send_chain_as_given(self, context: ssl.SSLContext) -> None:
        """Send the certificates of the file and no others. OpenSSL would look for issuers, in each handshake,
        among those trusted for clients. (nginx: SSL_MODE_NO_AUTO_CHAIN.)
        """
        self._context_control(_context_pointer(context), _CTRL_MODE, _NO_AUTO_CHAIN, None)

    def choose_protocol(self, context: ssl.SSLContext, offer: OfferProtocols) -> None:
        """Choose by ALPN the first protocol of those that `offer` returns, as RFC 7301 section 3.1 writes them, which the client
        has too; a client that has others only gets the alert no_application_protocol (section 3.2). `ssl` would go on without ALPN.
        """
        choice = self._alpn.get(offer)
        if choice is None:
            choice = self._alpn[offer] = ProtocolChoice(offer, self._select_protocol)
        self._set_alpn_callback(_context_pointer(context), choice.function, None)

    def choose_by_name(self, context: ssl.SSLContext, choose: ChooseByName) -> None:
        """Have `choose` called when a ClientHello has been read, before OpenSSL chooses the version of the protocol. `ssl` has a
        callback for names, too, but later, and fails the handshake, with a traceback on stderr, when the name is not ASCII.
        """
        choice = self._by_name.get(choose)
        if choice is None:
            choice = self._by_name[choose] = NameChoice(choose, self._get_extension)
        pointer = _context_pointer(context)
        self._set_hello_callback(pointer, choice.function, None)
        self._set_callback(pointer, _CTRL_SET_SERVERNAME_CALLBACK, self._acknowledge)

    def certify_by(self, context: ssl.SSLContext, certify: Certify) -> None:
        """Have `certify` called in handshakes that need a certificate, which it gives to the connection."""
        callback = self._certifying.get(certify)
        if callback is None:
            callback = self._certifying[certify] = CertificateCallback(certify)
        self._set_certificate_callback(_context_pointer(context), callback.function, None)

    def staple_by(self, context: ssl.SSLContext, staple: Staple) -> None:
        """Have `staple` called in handshakes of clients that ask for the certificate's status (RFC 6066 section 8)."""
        callback = self._stapling.get(staple)
        if callback is None:
            callback = self._stapling[staple] = StatusCallback(staple, self)
        self._set_callback(_context_pointer(context), _CTRL_SET_STATUS_CALLBACK, callback.function)

    def send_status(self, pointer: int, response: bytes) -> bool:
        """Send an OCSP response in the handshake of a connection (`SSL *`), which frees the copy that it is given."""
        copy = self._allocate(len(response), None, 0)
        if not copy:
            return False
        ctypes.memmove(copy, response, len(response))
        return bool(self._control(pointer, _CTRL_SET_STATUS_RESPONSE, len(response), copy))

    def context_pointer(self, context: ssl.SSLContext) -> int:
        """Return the `SSL_CTX *` of a context; it lives as long as `context`."""
        return _context_pointer(context)

    def verify_any(self, context: ssl.SSLContext) -> None:
        """Ask for a client certificate, let every handshake pass, keep the result for `verify_result`."""
        self._set_context_verify(_context_pointer(context), VERIFY_PEER, self._accept)

    def set_verify_depth(self, context: ssl.SSLContext, depth: int) -> None:
        """Set how many intermediate certificates a chain may have."""
        self._set_context_depth(_context_pointer(context), depth)

    def announce_authorities(self, context: ssl.SSLContext, path: str) -> None:
        """Tell clients whose certificates are wanted: the subjects in the file at `path`."""
        names = self._load_names(os.fsencode(path))
        if names:
            self._set_names(_context_pointer(context), names)  # takes the list over
        self._clear_error()

    def check_revocation(self, context: ssl.SSLContext) -> None:
        """Require a revocation list for every certificate of a chain. Set on the store, so that it holds after SNI too."""
        self._store_flags(self._store(_context_pointer(context)), _CRL_CHECK_ALL)

    # -- connections -----------------------------------------------------------------------------------------

    def verify_as(self, tls: SSLObject, verify: bool, depth: int) -> None:
        """Ask this connection's client for a certificate, or do not: SSL_set_SSL_CTX does not carry that
        over.
        """
        pointer = _connection_pointer(tls)
        self._set_verify(pointer, VERIFY_PEER if verify else VERIFY_NONE, self._accept if verify else None)
        if verify:
            self._set_depth(pointer, depth)

    def use_options(self, tls: SSLObject, options: int) -> None:
        """Set exactly these SSL_OP_* for this connection."""
        pointer = _connection_pointer(tls)
        now = self._set_options(pointer, 0)
        self._clear_options(pointer, now & ~options)
        self._set_options(pointer, options)

    def use_versions(self, tls: SSLObject, least: int, most: int) -> None:
        """Speak these versions of the protocol in this connection, both included."""
        pointer = _connection_pointer(tls)
        self._control(pointer, _CTRL_SET_MIN_VERSION, least, None)
        self._control(pointer, _CTRL_SET_MAX_VERSION, most, None)

    def control(self, pointer: int, command: int, number: int, argument: int | None) -> int:
        """Call SSL_ctrl."""
        return int(self._control(pointer, command, number, argument))

    def forget_server_name(self, tls: SSLObject) -> None:
        """Send no SNI, though the name is known for verification (`proxy_ssl_server_name off`)."""
        self._control(_connection_pointer(tls), _CTRL_SET_TLSEXT_HOSTNAME, 0, None)

    def pointer(self, tls: SSLObject) -> int:
        """Return the `SSL *` of a connection, for `has_pending` and `shutdown`; it lives as long as `tls`."""
        return _connection_pointer(tls)

    def has_pending(self, pointer: int) -> bool:
        """Return whether OpenSSL holds bytes it has read, decrypted or not."""
        return bool(self._has_pending(pointer))

    def shutdown(self, pointer: int) -> bool:
        """Send close_notify and do not wait for the peer's; False when it does not fit now."""
        sent = int(self._shutdown(pointer)) >= 0
        self._clear_error()
        return sent

    def verify_result(self, tls: SSLObject) -> int:
        """Return the result of the verification: X509_V_OK (0) also when the peer sent no certificate."""
        return int(self._verify_result(_connection_pointer(tls)))

    def verify_text(self, code: int) -> str:
        """Return a result of verification in words: `certificate has expired` and the like."""
        text: bytes | None = self._verify_text(code)
        return "" if text is None else text.decode("ascii", "replace")

    def session_name(self, tls: SSLObject) -> bytes | None:
        """Return the server name under which the session in use was made; None: there is none."""
        session = self._session(_connection_pointer(tls))
        if not session:
            return None
        name: bytes | None = self._session_name(session)
        return name

    def negotiated_group(self, tls: SSLObject) -> str:
        """Return the curve of the key exchange: `X25519`; "" when there was none."""
        group = int(self._control(_connection_pointer(tls), _CTRL_GET_NEGOTIATED_GROUP, 0, None))
        return self._group_name(group) if group > 0 else ""

    def client_groups(self, tls: SSLObject) -> list[str]:
        """Return the curves that the client supports, in its order."""
        pointer = _connection_pointer(tls)
        count = int(self._control(pointer, _CTRL_GET_GROUPS, 0, None))
        if count <= 0:
            return []
        groups = (ctypes.c_int * count)()
        count = min(count, int(self._control(pointer, _CTRL_GET_GROUPS, 0, groups)))
        return [self._group_name(groups[i]) for i in range(count)]

    def client_ciphers(self, tls: SSLObject) -> list[str]:
        """Return the ciphers that the client offered, in its order; unknown ones as `0x0a0a`. Not known in a resumed session."""
        pointer = _connection_pointer(tls)
        size = int(self._control(pointer, _CTRL_GET_RAW_CIPHERS, 0, None))
        start = ctypes.c_void_p()
        length = int(self._control(pointer, _CTRL_GET_RAW_CIPHERS, 0, ctypes.byref(start)))
        if size <= 0 or length <= 0 or not start.value:
            return []
        raw = ctypes.string_at(start.value, length)
        return [self._name_of_cipher(pointer, raw[i : i + size]) for i in range(0, length - size + 1, size)]

    def _name_of_cipher(self, pointer: int, code: bytes) -> str:
        found = self._find_cipher(pointer, ctypes.c_char_p(code))
        if not found:
            return f"0x{code.hex()}"
        name: bytes = self._cipher_name(found)
        return name.decode("ascii")

    def _group_name(self, group: int) -> str:
        if group & _UNKNOWN_GROUP:
            return f"0x{group & 0xFFFF:04x}"
        name: bytes | None = self._short_name(group)
        return "" if name is None else name.decode("ascii")

    def reasons(self) -> str:
        """Empty OpenSSL's queue of errors and return them: `SSL: error:…`, as nginx shows it."""
        reasons = "SSL:"
        while True:
            code = int(self._next_error())
            if code == 0:
                return reasons
            buffer = ctypes.create_string_buffer(_REASON_SIZE)
            self._error_text(code, buffer, _REASON_SIZE)
            reasons += " " + buffer.value.decode("ascii", "replace")

    # -- proof -----------------------------------------------------------------------------------------------

    def proves_layout(self) -> bool:
        """Return whether the pointers are where they are looked for. Runs before anything else may."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if context.__sizeof__() < _HEADER + _WORD or not _is_readable(_context_pointer(context)):
            return False
        for options in (context.options | ssl.OP_NO_TICKET, context.options & ~ssl.OP_NO_TICKET):
            context.options = options
            if int(self._get_options(_context_pointer(context))) != int(context.options):
                return False
        tls: SSLObject = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), True)._sslobj  # type: ignore[attr-defined]
        if tls.__sizeof__() < _HEADER + 3 * _WORD or _word(tls, 2) != id(context):
            return False
        pointer = _connection_pointer(tls)
        return _is_readable(pointer) and self._context_of(pointer) == _context_pointer(context)


@final
class ProtocolChoice:
    """The ALPN callback. It lives as long as the process, for contexts point to it."""

    def __init__(self, offer: OfferProtocols, select: Callable[..., int]) -> None:
        self._offer = offer
        self._names: dict[bytes, ctypes.Array[ctypes.c_char]] = {}  # what is chosen points into them
        self._select = select
        pointer = ctypes.c_void_p
        kind = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer, pointer, ctypes.c_uint, pointer)
        self.function = kind(self._choose)

    def _choose(
        self, _tls: int, chosen: int, length: int, offered: int, size: int, _argument: int | None
    ) -> int:
        """Choose the protocol (nginx: ngx_http_ssl_alpn_select)."""
        offer = self._offer()
        names = self._names.get(offer)
        if names is None:
            names = self._names[offer] = ctypes.create_string_buffer(offer, len(offer))
        found = self._select(chosen, length, names, len(offer), offered, size)
        return _GO_ON if found == _OVERLAP else _ALERT


@final
class NameChoice:
    """The callback for a ClientHello. It lives as long as the process, for contexts point to it."""

    def __init__(self, choose: ChooseByName, get_extension: Callable[[int, int, object, object], int]) -> None:
        self._choose_by = choose
        self._get_extension = get_extension
        pointer = ctypes.c_void_p
        self.function = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, pointer)(self._choose)

    def _choose(self, tls: int, alert: int, _argument: int | None) -> int:
        code = self._choose_by(self._name(tls))
        if code == 0:
            return _HELLO_SUCCESS
        ctypes.c_int.from_address(alert).value = code
        return _HELLO_ERROR

    def _name(self, tls: int) -> bytes | None:
        """Return the name in SNI (RFC 6066 section 3); None where there is none, or one that OpenSSL is about to refuse."""
        start, length = ctypes.c_void_p(), ctypes.c_size_t()
        if not self._get_extension(tls, _SERVER_NAME, ctypes.byref(start), ctypes.byref(length)):
            return None
        extension = ctypes.string_at(start.value or 0, length.value)
        name = extension[5:]
        if len(extension) < 5 or extension[2] != _HOST_NAME or int.from_bytes(extension[3:5], "big") != len(name):
            return None
        return None if not name or len(name) > _LONGEST_NAME or name.find(b"\0") >= 0 else name


@final
class CertificateCallback:
    """The callback for a certificate. It lives as long as the process, for contexts point to it."""

    def __init__(self, certify: Certify) -> None:
        self._certify = certify
        pointer = ctypes.c_void_p
        self.function = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)(self._give)

    def _give(self, _tls: int, _argument: int | None) -> int:
        return 1 if self._certify() else 0


@final
class StatusCallback:
    """The callback for a certificate's status. It lives as long as the process, for contexts point to it."""

    def __init__(self, staple: Staple, library: OpenSSL) -> None:
        self._staple = staple
        self._library = library
        pointer = ctypes.c_void_p
        self.function = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)(self._give)

    def _give(self, tls: int, _argument: int | None) -> int:
        response = self._staple(tls)
        return _GO_ON if response and self._library.send_status(tls, response) else _NO_STATUS


def _acknowledge_name(_tls: int, _alert: int, _argument: int | None) -> int:
    """Have OpenSSL tell the client that its name was used (RFC 6066 section 3), and note it in the session."""
    return _GO_ON


def _accept_any(_preverified: int, _store: int) -> int:
    return 1


def _word(owner: object, index: int) -> int:
    return ctypes.c_void_p.from_address(id(owner) + _HEADER + index * _WORD).value or 0


def _context_pointer(context: ssl.SSLContext) -> int:
    return _word(context, 0)


def _connection_pointer(tls: SSLObject) -> int:
    return _word(tls, 1)


def _is_readable(address: int) -> bool:
    """Return whether a structure may be at `address`: aligned, and the kernel can read some hundred bytes there."""
    if address <= 0 or address % _WORD:
        return False
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return len(os.pread(memory, 256, address)) == 256
    except OSError:
        return False
    finally:
        os.close(memory)


@final
class _Found:
    """The one library of the process, once it was looked for."""

    def __init__(self) -> None:
        self.looked = False
        self.library: OpenSSL | None = None


_FOUND: Final = _Found()


def library() -> OpenSSL | None:
    """Return the proved library; None where it cannot be used (another Python, OpenSSL linked in statically)."""
    if not _FOUND.looked:
        _FOUND.looked = True
        try:
            found = OpenSSL()
            if ctypes.sizeof(ctypes.c_void_p) == _WORD and found.proves_layout():
                _FOUND.library = found
        except (OSError, AttributeError):
            pass  # no such file, or functions missing: OpenSSL is part of the interpreter, or too old
    return _FOUND.library
