"""TLS to peers: the context made of a location's `proxy_ssl_*` settings, and the sessions to resume."""

from __future__ import annotations

import socket
import ssl
from typing import Final, final

from portico.net import openssl
from portico.net.certificates import load_authorities, load_pair
from portico.net.reactor import Reactor
from portico.net.tls import SessionStore, TLSTransport, wrap_client
from portico.net.tls_context import (
    DEFAULT_PROTOCOLS,
    load_revocations,
    set_ciphers,
    set_depth,
    set_protocols,
)

UPSTREAM_CIPHERS: Final = "DEFAULT"  # nginx's default of proxy_ssl_ciphers
MOST_SESSIONS: Final = 256  # peers and names; a proxy_pass with variables could know any number


@final
class PeerTLSSettings:
    """How TLS is spoken to peers: the `*_ssl_*` directives of one location. Paths are absolute, "" for none."""

    def __init__(self) -> None:
        self.server_name: bool = False  # send SNI
        self.verify: bool = False
        self.verify_depth: int = 1
        self.trusted_certificate: str = ""
        self.crl: str = ""
        self.certificate: str = ""
        self.certificate_key: str = ""
        self.passphrases: list[str] = []
        self.protocols: int = DEFAULT_PROTOCOLS
        self.ciphers: str = UPSTREAM_CIPHERS
        self.session_reuse: bool = True


@final
class UpstreamTLS(SessionStore):
    """Makes our end of TLS connections to peers. Built at load; raises ContextError (net/certificates.py).

    It remembers the last session with each peer and name, so that the next connection can resume it.
    """

    def __init__(self, settings: PeerTLSSettings) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = settings.verify
        context.verify_mode = ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE
        set_protocols(context, settings.protocols)
        set_ciphers(context, settings.ciphers)
        if settings.certificate:
            load_pair(context, settings.certificate, settings.certificate_key, settings.passphrases)
        if settings.trusted_certificate:
            load_authorities(context, settings.trusted_certificate, "trusted_certificate")
        if settings.crl:
            load_revocations(context, settings.crl)
        set_depth(context, settings.verify_depth)
        library = openssl.library()
        if library is not None:
            library.set_read_ahead(context)
        self.context = context
        self.server_name = settings.server_name
        self.verify = settings.verify
        self.session_reuse = settings.session_reuse
        self._sessions: dict[bytes, ssl.SSLSession] = {}

    def wrap(self, reactor: Reactor, sock: socket.socket, name: bytes, peer: bytes) -> TLSTransport:
        """Return our end of a connected socket. Then `register()` it and await `handshake()`, which raises OSError with
        OpenSSL's reason when the certificate does not verify.

        `name` is the value of `proxy_ssl_name`, with or without a port. `peer` is the address, to find a session by.
        """
        host = host_of(name)
        if self.verify and not host:
            raise ssl.SSLError(f"no name to verify the upstream's certificate by: {name!r}")
        wanted = host if host and (self.server_name or self.verify) else None
        transport = wrap_client(reactor, sock, self.context, wanted)
        if self.session_reuse:
            key = peer + b" " + name
            session = self._sessions.get(key)
            if session is not None:
                transport.tls.session = session
            transport.store = self
            transport.store_key = key
        if wanted is not None and not self.server_name:
            library = openssl.library()
            if library is not None:
                library.forget_server_name(transport.tls)
        return transport

    def keep(self, transport: TLSTransport) -> None:
        """Remember the session for the next connection to the same peer. TLS 1.3 sends it after the handshake."""
        session = transport.tls.session
        if session is None or not (session.has_ticket or session.id):
            return
        sessions = self._sessions
        sessions.pop(transport.store_key, None)
        if len(sessions) >= MOST_SESSIONS:
            del sessions[next(iter(sessions))]
        sessions[transport.store_key] = session


def host_of(name: bytes) -> str:
    """Return `proxy_ssl_name` without a port: `::1` of `[::1]:443`, `example.com` of `example.com:443`; "" of a bad name."""
    if name.startswith(b"["):
        host = name[1 : name.find(b"]")] if b"]" in name else b""
    elif name.count(b":") == 1:
        host = name[: name.index(b":")]
    else:
        host = name
    if host.startswith(b".") or b"\0" in host:  # `ssl` takes neither
        return ""
    try:
        return host.decode("ascii")
    except UnicodeDecodeError:
        return ""
