"""Making TLS contexts from plain values: for the servers of a configuration, and the parts that `proxy_ssl_*`
shares.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import time
import warnings
from typing import Final, final

from portico.config.files import read_file
from portico.net import openssl, ticket_keys
from portico.net.certificates import ContextError, file_failed, load_authorities, load_pair
from portico.net.ticket_keys import FixedKeys, RotatingKeys, TicketKey
from portico.net.tls import (
    RECORD_SIZE,
    VERIFY_OFF,
    VERIFY_ON,
    VERIFY_OPTIONAL_NO_CA,
    CertificateSource,
    ServerTLS,
    certify_by_source,
)

# The values of ssl_protocols, as bits.
SSLV2: Final = 1
SSLV3: Final = 2
TLSV1: Final = 4
TLSV1_1: Final = 8
TLSV1_2: Final = 16
TLSV1_3: Final = 32
PROTOCOLS: Final = {
    "SSLv2": SSLV2, "SSLv3": SSLV3,
    "TLSv1": TLSV1, "TLSv1.1": TLSV1_1, "TLSv1.2": TLSV1_2, "TLSv1.3": TLSV1_3,
}  # fmt: skip
DEFAULT_PROTOCOLS: Final = TLSV1_2 | TLSV1_3
DEFAULT_CIPHERS: Final = "HIGH:!aNULL:!MD5"


# The values of ssl_session_cache.
CACHE_OFF: Final = 0  # clients are told not to reuse sessions
CACHE_NONE: Final = 1  # clients are told they may, and nothing is stored
CACHE_KEPT: Final = 2
SESSIONS_PER_MEGABYTE: Final = 4000  # nginx's documentation of shared:name:size
TICKET_KEY_SIZES: Final = (ticket_keys.SMALL_SIZE, ticket_keys.SIZE)

_UNAVAILABLE: Final = "libssl cannot be reached from this Python (it is linked in statically, or too old)"


def set_protocols(context: ssl.SSLContext, protocols: int) -> None:
    """Allow exactly these protocol versions. SSLv2 and SSLv3 are accepted and, as OpenSSL 3 has neither,
    never spoken.
    """
    versions = (
        (TLSV1, ssl.TLSVersion.TLSv1, ssl.OP_NO_TLSv1),
        (TLSV1_1, ssl.TLSVersion.TLSv1_1, ssl.OP_NO_TLSv1_1),
        (TLSV1_2, ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TLSv1_2),
        (TLSV1_3, ssl.TLSVersion.TLSv1_3, ssl.OP_NO_TLSv1_3),
    )
    allowed = [version for bit, version, _ in versions if protocols & bit]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions: the user's decision
        if not allowed:
            raise ContextError(
                "none of the protocols can be spoken", "OpenSSL 3 has TLSv1 and later", "protocols"
            )
        context.minimum_version = allowed[0]
        context.maximum_version = allowed[-1]
        for bit, version, option in versions:
            if not protocols & bit and allowed[0] < version < allowed[-1]:
                context.options |= option


def set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    """Set the ciphers of TLS 1.2 and earlier. Raises ContextError."""
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise ContextError(
            f'SSL_CTX_set_cipher_list("{ciphers}") failed '
            "(SSL: error:0A0000B9:SSL routines::no cipher match)",
            about="ciphers",
        ) from None


def set_depth(context: ssl.SSLContext, depth: int) -> None:
    """Set how many intermediate certificates a chain may have; where libssl cannot be reached, OpenSSL's own limit of 100 holds."""
    library = openssl.library()
    if library is not None:
        library.set_verify_depth(context, depth)


def load_revocations(context: ssl.SSLContext, path: str) -> None:
    """Take revocation lists and check every certificate of a chain against them. Raises ContextError."""
    load_authorities(context, path, "crl")
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    library = openssl.library()
    if library is not None:
        library.check_revocation(context)


@final
class ServerSettings:
    """The `ssl_*` directives of one server. Paths absolute, "" for none."""

    def __init__(self) -> None:
        self.certificates: list[str] = []  # absolute paths or `data:`; with a source, as they are written
        self.keys: list[str] = []
        self.source: CertificateSource | None = None  # gives the certificates in each handshake
        self.source_cache = 0  # which cache it has: one number for each `ssl_certificate_cache`
        self.passphrases: list[str] = []
        self.protocols: int = DEFAULT_PROTOCOLS
        self.ciphers: str = DEFAULT_CIPHERS
        self.prefer_server_ciphers: bool = False
        self.curves: str = "auto"
        self.dhparam: str = ""
        self.cache: int = CACHE_NONE
        self.cache_entries: int = 0  # 0: OpenSSL's default
        self.cache_zone: str = ""  # of `shared:`, "" for none
        self.session_timeout: int = 300  # seconds
        self.tickets: bool = True
        self.ticket_keys: list[str] = []
        self.verify: int = VERIFY_OFF
        self.verify_depth: int = 1
        self.http2: bool = False  # among the protocols of ALPN
        self.client_certificate: str = ""
        self.trusted_certificate: str = ""
        self.crl: str = ""
        self.buffer_size: int = RECORD_SIZE
        self.reject: bool = False

    def key(self) -> str:
        """Return the same key for settings that lead to the same context."""
        return repr(
            (
                self.certificates, self.keys, self.source_cache, self.passphrases, self.protocols, self.ciphers,
                self.prefer_server_ciphers, self.curves, self.dhparam, self.cache, self.cache_entries,
                self.cache_zone, self.session_timeout, self.tickets, self.ticket_keys, self.verify, self.verify_depth,
                self.client_certificate, self.trusted_certificate, self.crl, self.buffer_size, self.reject, self.http2,
            )
        )  # fmt: skip


def server_tls(settings: ServerSettings) -> ServerTLS:
    """Make what a server presents. Raises ContextError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    set_protocols(context, settings.protocols)
    if settings.source is None:
        for certificate, key in zip(settings.certificates, settings.keys, strict=False):
            load_pair(context, certificate, key, settings.passphrases)
    set_ciphers(context, settings.ciphers)
    _set_options(context, settings)
    _set_key_exchange(context, settings)
    server = ServerTLS(context)
    if settings.source is not None:
        certify_by_source(server, settings.source)
    _set_sessions(server, settings)
    _set_verification(server, settings)
    server.http2 = settings.http2
    server.reject = settings.reject
    server.has_certificate = bool(settings.certificates)
    server.buffer_size = settings.buffer_size
    server.options = int(context.options)
    server.versions = (int(context.minimum_version), int(context.maximum_version))
    return server


def _set_options(context: ssl.SSLContext, settings: ServerSettings) -> None:
    options = context.options | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    options |= ssl.OP_SINGLE_DH_USE | ssl.OP_SINGLE_ECDH_USE
    options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.prefer_server_ciphers:
        options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if not settings.tickets:
        options |= ssl.OP_NO_TICKET
    context.options = options


def _set_key_exchange(context: ssl.SSLContext, settings: ServerSettings) -> None:
    if settings.dhparam:
        _load_dhparam(context, settings.dhparam)
    if settings.curves == "auto":
        return
    library = openssl.library()
    if library is None:
        raise ContextError(f'"ssl_ecdh_curve" cannot be used here: {_UNAVAILABLE}', about="ecdh_curve")
    reason = library.set_groups(context, settings.curves)
    if reason:
        raise ContextError(
            f'SSL_CTX_set1_curves_list("{settings.curves}") failed ({reason})', about="ecdh_curve"
        )


def _load_dhparam(context: ssl.SSLContext, path: str) -> None:
    reason = file_failed(path)
    if reason:
        raise ContextError(f'BIO_new_file("{path}") failed ({reason})', about="dhparam")
    try:
        context.load_dh_params(path)
    except ssl.SSLError:
        wanted = "SSL: error:0480006C:PEM routines::no start line:Expecting: DH PARAMETERS"
        raise ContextError(f'PEM_read_bio_DHparams("{path}") failed ({wanted})', about="dhparam") from None


def _set_sessions(server: ServerTLS, settings: ServerSettings) -> None:
    context = server.context
    library = openssl.library()
    if library is None:
        if settings.ticket_keys:
            raise ContextError(
                f'"ssl_session_ticket_key" cannot be used here: {_UNAVAILABLE}', about="session_ticket_key"
            )
        return
    library.set_read_ahead(context)
    library.send_chain_as_given(context)
    if not settings.tickets and settings.cache in (CACHE_OFF, CACHE_NONE):
        context.num_tickets = 0  # TLS 1.3 would send tickets for sessions that nobody stores
    if settings.cache == CACHE_OFF:
        library.set_session_cache(context, openssl.CACHE_OFF, 0)
    elif settings.cache == CACHE_NONE:
        library.set_session_cache(context, openssl.CACHE_SERVER | openssl.CACHE_NO_INTERNAL_STORE, 1)
    else:
        library.set_session_cache(context, openssl.CACHE_SERVER, settings.cache_entries)
    library.set_session_timeout(context, settings.session_timeout)
    name = _identity(settings)
    library.set_session_id_context(context, name)
    if not settings.tickets:
        return
    keys = [_ticket_key(path) for path in settings.ticket_keys]
    if len(keys) == 1 and len(keys[0]) == ticket_keys.SIZE:
        library.set_ticket_keys(context, keys[0])  # without a callback, which would cost each handshake some microseconds
    elif keys:
        server.ticket_sealer = library.seal_tickets(context, FixedKeys([TicketKey(key) for key in keys]))
    elif settings.cache_zone:
        shared = ticket_keys.ZONE_KEYS.of(settings.cache_zone)
        server.ticket_sealer = library.seal_tickets(context, RotatingKeys(shared, settings.session_timeout))
    else:
        library.set_ticket_keys(context, ticket_keys.KEPT.of(name, time.monotonic()))


def _identity(settings: ServerSettings) -> bytes:
    """Return a digest: servers with the same one resume each other's sessions (nginx: ngx_ssl_session_id_context). They have the
    same certificates and trust the same clients. By the files' contents for the latter: a client whose issuer was removed, or
    that was revoked, must be verified anew after a reload. A renewed certificate of the server's own changes nothing.
    """
    parts = [repr((settings.certificates, settings.verify)).encode("utf-8", "replace")]
    if settings.verify != VERIFY_OFF:
        for path in (settings.client_certificate, settings.trusted_certificate, settings.crl):
            parts.append(_digest(path))
    return hashlib.sha256(b"".join(parts)).digest()


def _digest(path: str) -> bytes:
    if not path or file_failed(path):
        return b"-"  # none; or `_set_verification` will tell why not
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).digest()


def _ticket_key(path: str) -> bytes:
    """Return the bytes of a key. Raises ContextError."""
    try:
        return read_file(path)
    except OSError as error:
        number = error.errno or 0
        message = f'open() "{path}" failed ({number}: {os.strerror(number)})'
        raise ContextError(message, about="session_ticket_key") from None


def _set_verification(server: ServerTLS, settings: ServerSettings) -> None:
    context = server.context
    server.verify = settings.verify
    server.verify_depth = settings.verify_depth
    for path, about in (
        (settings.client_certificate if settings.verify != VERIFY_OFF else "", "client_certificate"),
        (settings.trusted_certificate, "trusted_certificate"),
    ):
        if path:
            load_authorities(context, path, about)
    if settings.crl:
        load_revocations(context, settings.crl)
    if settings.verify == VERIFY_OFF:
        return
    has_authority = settings.client_certificate or settings.trusted_certificate
    if not has_authority and settings.verify != VERIFY_OPTIONAL_NO_CA:
        raise ContextError(
            "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client", about="verify_client"
        )
    set_depth(context, settings.verify_depth)
    library = openssl.library()
    if library is not None:
        library.verify_any(context)
        if settings.client_certificate:
            library.announce_authorities(context, settings.client_certificate)
        return
    if settings.verify == VERIFY_OPTIONAL_NO_CA:
        raise ContextError(
            f'"ssl_verify_client optional_no_ca" cannot be used here: {_UNAVAILABLE}', about="verify_client"
        )
    context.verify_mode = ssl.CERT_REQUIRED if settings.verify == VERIFY_ON else ssl.CERT_OPTIONAL
