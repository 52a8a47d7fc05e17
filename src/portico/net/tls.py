"""TLS over a non-blocking socket, and what one `server {}` presents to its clients.

`TLSTransport` follows the rules of `Transport`: try first, then wait. What differs:

* OpenSSL may hold bytes that it has read from the socket and not returned. No event will announce them, so
  `ready` stays set until OpenSSL itself says that it needs more from the socket, or has read a little from it
  while it held nothing. What it returns of its own, or completes by another read, says nothing about the
  socket: an event may have come since, and such a read asks for no more than its buffer has room for.
* A refused write has been encrypted already. OpenSSL demands the same bytes again at the next write; they
  are stored here, so that the caller needs to know nothing: what it offers next counts from where the last
  success ended, in pieces of any size.
* Reading may have to write and writing to read (a key update, TLS 1.3). `on_event` crosses the two in that
  case.

Contexts are made in the supervisor: its children inherit the keys that session tickets are sealed with, so a
ticket of one worker is good at the others, and after a reload (`net/ticket_keys.py`). Sessions stored by their
number (`ssl_session_cache`) stay in the worker that made them.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final, final

from portico.config.diagnostics import ConfigError
from portico.config.reader import Where
from portico.net import openssl
from portico.net.certificates import Certificate
from portico.net.handshake_certificates import Unloadable
from portico.net.openssl import SSLObject
from portico.net.openssl_tickets import TicketSealer
from portico.net.reactor import IN, OUT, RDHUP, Reactor
from portico.net.transport import Transport

RECORD_SIZE: Final = 16384  # RFC 8446 section 5.1; nginx's default of ssl_buffer_size
HANDSHAKE_RECORD: Final = 0x16  # the first byte of a ClientHello
SSL2_HELLO: Final = 0x80

HTTP1: Final = b"\x08http/1.1\x08http/1.0\x08http/0.9"  # RFC 7301 section 3.1; nginx: NGX_HTTP_ALPN_PROTOS
HTTP2: Final = b"\x02h2" + HTTP1

VERIFY_OFF: Final = 0
VERIFY_ON: Final = 1
VERIFY_OPTIONAL: Final = 2
VERIFY_OPTIONAL_NO_CA: Final = 3

_SHORT: Final = 8000  # bytes: well below what OpenSSL reads at a time
_NOTHING: Final = 0
_READ_WAITS_TO_WRITE: Final = 1
_WRITE_WAITS_TO_READ: Final = 2
_END_WAITS_TO_WRITE: Final = 4


def is_tls(first: int) -> bool:
    """Return whether a connection whose first byte is `first` starts a TLS handshake (nginx: ngx_http_ssl_handshake)."""
    return first == HANDSHAKE_RECORD or first & SSL2_HELLO != 0


def no_certificate(where: Where | None) -> ConfigError:
    """Return the error for a server, declared at `where`, that has to present a certificate and has none."""
    return ConfigError(
        'no "ssl_certificate" is defined for the "listen ... ssl" directive',
        where,
        "give the server ssl_certificate and ssl_certificate_key, or ssl_reject_handshake on",
    )


class SessionStore:
    """Keeps sessions of connections that we opened, for the next connection to the same peer."""

    def keep(self, transport: TLSTransport) -> None:
        """Store the session of `transport`, which is about to close after a good handshake."""


class CertificateSource:
    """Gives connections certificates that are chosen in the handshake (`ssl_certificate` with variables)."""

    def certify(self, transport: TLSTransport) -> None:
        """Give a connection its certificates. Raises Unloadable."""
        raise NotImplementedError


class StatusSource:
    """Gives connections the status of the certificate that they show (`ssl_stapling`)."""

    def status(self, transport: TLSTransport, pointer: int) -> bytes:
        """Return the OCSP response for a connection (`SSL *`) in its handshake, b"" for none. Must not wait, nor raise."""
        raise NotImplementedError


class ClientCheck:
    """Asks whether a client's certificate is revoked (`ssl_ocsp`)."""

    async def check(self, transport: TLSTransport) -> str:
        """Set `transport.revoked` to why the certificate, if it is verified, is not accepted. Return what to log, "" for nothing."""
        raise NotImplementedError


@final
class ServerTLS:
    """What a server presents and demands. Made once, at load (`features/ssl.py`), before the workers are
    forked.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context: ssl.SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if context is None else context
        self.reject: bool = False  # ssl_reject_handshake
        self.has_certificate: bool = True  # false: there only to reject
        self.verify: int = VERIFY_OFF
        self.verify_depth: int = 1
        self.buffer_size: int = RECORD_SIZE
        self.options: int = int(self.context.options)
        self.versions: tuple[int, int] = (0, 0)  # the oldest and the newest protocol of `ssl_protocols`; 0: OpenSSL's own limit
        self.ticket_sealer: TicketSealer | None = None  # the context keeps a pointer to it
        self.source: CertificateSource | None = None  # None: the context has the certificates
        self.http2 = False  # `http2 on`
        self.stapling: StatusSource | None = None
        self.client_check: ClientCheck | None = None
        _call_by_name(self.context)

FindServer = Callable[[bytes], "ServerTLS | None"]


@final
class _Step:
    """The one step of a handshake that is being made: OpenSSL's callback knows nothing of transports."""

    def __init__(self) -> None:
        self.transport: TLSTransport | None = None


_STEP: Final = _Step()


def _on_server_name(name: bytes | None) -> int:
    """Choose the server when the ClientHello has been read. Return 0 to go on, else the alert to end with."""
    transport = _STEP.transport
    if transport is None:
        return 0
    initial = transport.server
    assert initial is not None
    chosen = initial
    if name is not None:
        found = transport.choose(name)
        if found is not None:
            chosen = found
    if chosen.reject:
        transport.rejected = True
        return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
    if chosen is not initial:
        transport.switch(initial, chosen)
    return 0


def _certify() -> bool:
    """Give the connection whose handshake is made its certificates; return False when it gets none, and has to end."""
    transport = _STEP.transport
    server = None if transport is None else transport.server
    if transport is None or server is None or server.source is None:
        return True
    try:
        server.source.certify(transport)
    except Unloadable as error:
        transport.uncertified = str(error)
        return False
    return True


def certify_by_source(server: ServerTLS, source: CertificateSource) -> None:
    """Have `source` give certificates to the connections of `server`; libssl must be in reach."""
    library = openssl.library()
    assert library is not None
    server.source = source
    library.certify_by(server.context, _certify)


def _offer_protocols() -> bytes:
    """Return the protocols that a client may choose from by ALPN, when its server has been chosen."""
    transport = _STEP.transport
    if transport is None or transport.server is None:
        return HTTP1
    return HTTP2 if transport.http2 or transport.server.http2 else HTTP1


def _staple(pointer: int) -> bytes:
    """Return the status of the certificate that the connection shows, b"" for none."""
    transport = _STEP.transport
    server = None if transport is None else transport.server
    if transport is None or server is None or server.stapling is None:
        return b""
    try:
        return server.stapling.status(transport, pointer)
    except Exception as defect:  # none may go into OpenSSL
        transport.reactor.report(defect)
        return b""


def staple_by_source(server: ServerTLS, source: StatusSource) -> None:
    """Have `source` give the status of certificates to the connections of `server`; libssl must be in reach."""
    library = openssl.library()
    assert library is not None
    server.stapling = source
    library.staple_by(server.context, _staple)


def _call_by_name(context: ssl.SSLContext) -> None:
    """Have `_on_server_name` called in the handshakes that begin with `context`, and `_offer_protocols` for ALPN."""
    library = openssl.library()
    if library is not None:
        library.choose_by_name(context, _on_server_name)
        library.choose_protocol(context, _offer_protocols)
        return
    context.set_alpn_protocols(["http/1.1", "http/1.0", "http/0.9"])
    context.sni_callback = _on_decoded_name
    sys.unraisablehook = _unraisable


def _on_decoded_name(_socket: object, name: str | None, _context: object) -> int | None:
    """Call `_on_server_name` for `ssl`'s own callback."""
    return _on_server_name(None if name is None else name.encode("ascii")) or None


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """Suppress the traceback for a name that `ssl` cannot decode: it ends its handshake, and that is logged."""
    if _STEP.transport is None or not isinstance(what.exc_value, UnicodeDecodeError):
        sys.__unraisablehook__(what)


@final
class TLSTransport(Transport):
    """A connected stream socket that speaks TLS, at either end."""

    def __init__(self, reactor: Reactor, sock: socket.socket, tls: SSLObject, upstream: bool = False) -> None:
        super().__init__(reactor, sock, upstream)
        self.secure = True
        self.tls = tls
        self.server: ServerTLS | None = None  # whose certificate was shown; None at the client's end
        self.find: FindServer | None = None
        self.store: SessionStore | None = None
        self.store_key: bytes = b""
        self.name_matched: bool = False  # a server has the name in SNI
        self.server_name: bytes = b""  # SNI as sent, any bytes but zero; b"" when none was sent
        self.http2: bool = False  # all servers of the address speak HTTP/2 (`listen … http2`)
        self.rejected: bool = False  # the handshake, by ssl_reject_handshake
        self.uncertified: str = ""  # why there was no certificate for the handshake
        self.revoked: str = ""  # why the client's certificate, though verified, is not accepted (`ssl_ocsp`)
        self.facts: Callable[[], object] | None = None  # makes what a `CertificateSource` evaluates its variables with
        self.established: bool = False
        self.buffer_size: int = RECORD_SIZE
        self._holds: bool = True  # OpenSSL may hold bytes of the peer's: the next read need not read the socket
        self._broken: bool = False  # OpenSSL has failed: it must not be asked to write close_notify
        self._ended: bool = False  # close_notify is sent
        self._refused: bytes = b""  # encrypted, not sent: must be offered again as it is
        self._ahead: int = 0  # bytes sent that the caller does not know of yet
        self._crossed: int = _NOTHING
        self._certificate: Certificate | None = None
        self._library: openssl.OpenSSL | None = None  # set by the handshake: `_pointer` is good
        self._pointer: int = 0

    # -- handshake -------------------------------------------------------------------------------------------

    async def handshake(self, seconds: float) -> None:
        """Finish the handshake, in `seconds` altogether. Raises OSError (ssl.SSLError is one) or Timeout."""
        reactor = self.reactor
        until = reactor.now + seconds
        while True:
            read_anew = not self._holds
            wants = self._shake()
            if wants == 0:
                break
            left = until - reactor.now
            if left <= 0.0:
                raise self.timed_out()
            if wants == IN:
                self._drained()
                await self.readable(left)
            else:
                await self.writable(left)
        self.clear_deadline()
        self.established = True
        library = openssl.library()
        if library is not None:
            self._library = library
            self._pointer = library.pointer(self.tls)
        server = self.server
        if server is None:
            return
        if server.verify != VERIFY_OFF:
            if self.tls.session_reused:
                self._check_resumption()
        elif library is not None and not self.peer_closed and not library.has_pending(self._pointer):
            # The client's last flight is far smaller than what OpenSSL reads at a time (it has no certificates
            # in it), and nothing is left of what was read: the socket was drained, as in `recv`.
            self._holds = False
            if read_anew:
                self.ready = False

    def _shake(self) -> int:
        """Make a step of the handshake; return 0 when it is done, else the event to wait for."""
        _STEP.transport = self if self.server is not None else None
        self._holds = True
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return IN
        except ssl.SSLWantWriteError:
            return OUT
        except OSError:
            self._broken = True
            raise
        finally:
            _STEP.transport = None
        return 0

    def choose(self, name: bytes) -> ServerTLS | None:
        """Note the name that the client asks for and look its server up."""
        self.server_name = name
        found = self.find(self.server_name) if self.find is not None else None
        self.name_matched = found is not None
        return found

    def switch(self, initial: ServerTLS, chosen: ServerTLS) -> None:
        """Go on with another server's certificates. nginx: ngx_http_ssl_servername."""
        self.tls.context = chosen.context
        self.server = chosen
        self.buffer_size = chosen.buffer_size
        same_options = chosen.options == initial.options and chosen.versions == initial.versions
        if chosen.verify == initial.verify == VERIFY_OFF and same_options:
            return
        library = openssl.library()
        if library is not None:
            library.use_versions(self.tls, chosen.versions[0], chosen.versions[1])
            library.verify_as(self.tls, chosen.verify != VERIFY_OFF, chosen.verify_depth)
            library.use_options(self.tls, chosen.options)

    def _check_resumption(self) -> None:
        """Refuse a session whose client another server has verified, by other rules: it is no proof here (CVE-2025-23419)."""
        library = openssl.library()
        if library is None:
            return
        name = library.session_name(self.tls)
        if (b"" if name is None else name.lower()) != self.server_name.lower():
            self._broken = True
            raise ssl.SSLError(
                "a session of another server name was offered to a server that verifies its clients"
            )

    # -- bytes -----------------------------------------------------------------------------------------------

    def on_event(self, events: int) -> None:
        """See Transport.on_event."""
        crossed = self._crossed
        if crossed != _NOTHING:
            self._crossed = _NOTHING
            if crossed & _READ_WAITS_TO_WRITE and events & OUT:
                events |= IN
            if crossed & _WRITE_WAITS_TO_READ and events & IN:
                events |= OUT
            if crossed & _END_WAITS_TO_WRITE:
                self.shutdown_write()
        super().on_event(events)

    def recv(self, size: int) -> bytes | None:
        """See Transport.recv. The end of the stream is close_notify, or, as nginx takes it, the end of the
        connection (`truncated`).
        """
        read_anew = not self._holds
        self._holds = True
        try:
            data = self.tls.read(size)
            # A short record, read with all the room of OpenSSL's buffer, and nothing left in there: the socket was drained, an
            # event will tell of more. Finding that out by another read would cost a system call and an exception.
            if read_anew and len(data) < _SHORT and not self.peer_closed:
                library = self._library
                if library is not None and not library.has_pending(self._pointer):
                    self._holds = False
                    self.ready = False
            return data
        except ssl.SSLWantReadError:
            self._drained()
            return None
        except ssl.SSLWantWriteError:
            self.ready = False
            self._listen_for_out()
            self._crossed |= _READ_WAITS_TO_WRITE
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError:
            self.truncated = True
            return b""
        except OSError as error:
            self._broken = True
            raise self.failed(error) from None

    def _drained(self) -> None:
        """Note that OpenSSL has found the socket empty, and holds no whole record."""
        self.ready = False
        self._holds = False

    def send(self, data: bytes) -> int:
        """See Transport.send."""
        total = len(data)
        if total > self.buffer_size or self._refused or self._ahead > 0:
            return self._send_pieces(data)
        if total == 0:
            return 0
        if self._write(data):
            return total
        self._refused = bytes(data)
        return 0

    def _send_pieces(self, data: bytes) -> int:
        total = len(data)
        done = min(self._ahead, total)  # the peer has these already
        self._ahead -= done
        if self._refused:
            if done == total or not self._write(self._refused):
                return done
            done += len(self._refused)
            self._refused = b""
            if done > total:
                self._ahead = done - total
                return total
        view = memoryview(data)
        while done < total:
            piece = view[done : done + self.buffer_size]
            if not self._write(piece):
                self._refused = bytes(piece)
                break
            done += len(piece)
        return done

    def _write(self, piece: bytes | memoryview) -> bool:
        """Send a piece as one record; False when it has to be offered again."""
        try:
            self.tls.write(piece)
        except ssl.SSLWantWriteError:
            return False
        except ssl.SSLWantReadError:
            self._crossed |= _WRITE_WAITS_TO_READ
            return False
        except OSError as error:
            self._broken = True
            raise self.failed(error) from None
        return True

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Raise NotImplementedError: the kernel cannot encrypt. Look at `secure` and read the file."""
        raise NotImplementedError

    def _listen_for_out(self) -> None:
        if not self.wants_out:
            self.wants_out = True
            self.reactor.change(self, IN | OUT | RDHUP)

    # -- certificates ----------------------------------------------------------------------------------------

    def verify_result(self) -> int:
        """Return X509_V_OK (0) or why the peer's certificate is not to be trusted; 0 when it sent none."""
        library = openssl.library()
        return openssl.VERIFY_OK if library is None else library.verify_result(self.tls)

    def verify_error(self) -> str:
        """Return `verify_result` in OpenSSL's words: `certificate has expired`."""
        library = openssl.library()
        return "" if library is None else library.verify_text(self.verify_result())

    def peer_certificate(self) -> bytes | None:
        """Return the peer's certificate in DER, verified or not; None before the handshake is done."""
        return self.tls.getpeercert(True) if self.established else None

    def certificate(self) -> Certificate | None:
        """Return the peer's certificate, parsed when first asked for."""
        if self._certificate is None:
            der = self.peer_certificate()
            if der is not None:
                self._certificate = Certificate(der)
        return self._certificate

    # -- end -------------------------------------------------------------------------------------------------

    def shutdown_write(self) -> None:
        """Send close_notify, then end our stream: now, or as soon as it fits (while the transport stays
        open).
        """
        if self._notify():
            super().shutdown_write()
        else:
            self._listen_for_out()
            self._crossed |= _END_WAITS_TO_WRITE

    def close(self) -> None:
        """Close at once; close_notify is sent if it fits."""
        if self.closed:
            return
        if self.store is not None and self.established:
            self.store.keep(self)
            self.store = None
        self._notify()
        self.find = None
        super().close()

    def reset(self) -> None:
        """Close with RST."""
        self._broken = True
        super().reset()

    def _notify(self) -> bool:
        """Send close_notify (RFC 8446 section 6.1); False when it does not fit now."""
        if self._ended or self._broken or not self.established:
            return True
        library = self._library
        if library is not None:
            self._ended = library.shutdown(self._pointer)
            return self._ended
        try:
            self.tls.shutdown()
        except ssl.SSLWantWriteError:
            return False
        except OSError:
            pass  # it is sent, and the peer's has not come; or the connection is gone
        self._ended = True
        return True


def wrap(
    reactor: Reactor, sock: socket.socket, server: ServerTLS, find: FindServer | None = None
) -> TLSTransport:
    """Return the server's end of a connection. `server`: the listener's default, `find`: the server for the name in SNI, which may
    be any bytes (None: the default is right). Then `register()` it and await `handshake()`.
    """
    transport = TLSTransport(reactor, sock, openssl.wrap_socket(server.context, sock, True))
    transport.server = server
    transport.find = find
    transport.buffer_size = server.buffer_size
    return transport


def secure(plain: Transport, server: ServerTLS, find: FindServer | None = None, http2: bool = False) -> TLSTransport:
    """Wrap a transport that is registered and has read nothing, in its place; `await handshake()` is next. See `wrap`."""
    transport = wrap(plain.reactor, plain.sock, server, find)
    transport.http2 = http2
    plain.give_way(transport)
    return transport


def wrap_client(
    reactor: Reactor, sock: socket.socket, context: ssl.SSLContext, name: str | None
) -> TLSTransport:
    """Return the client's end of a connection. `name`: for SNI and verification."""
    return TLSTransport(reactor, sock, openssl.wrap_socket(context, sock, False, name), True)
