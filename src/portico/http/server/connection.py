"""One client connection: the PROXY protocol's header, TLS, then the protocol that the client speaks.

`Connection.run` is the coroutine of the connection; it suspends only where it must wait for bytes or for room. Requests and responses
are the business of a `ServedProtocol` (`http1/server.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.codec.errors import shown
from portico.codec.fields import NO_FIELDS
from portico.codec.http1_request import valid_host
from portico.codec.http2.frames import PREFACE
from portico.codec.proxy_protocol import LONGEST, BrokenHeader, ProxyHeader, parse_proxy_header
from portico.errorlog import ERR, INFO
from portico.http.request import Request
from portico.net.reactor import ClientFailed, NetworkSignal
from portico.net.tls import TLSTransport, is_tls, secure
from portico.net.transport import Transport
from portico.worker.connection import ServedConnection

if TYPE_CHECKING:
    from portico.http.plan import Listener
    from portico.http.server.protocol import ClientProtocol, ServedProtocol
    from portico.variables.client import Client
    from portico.worker.runtime import Runtime


@final
class Connection(ServedConnection):
    """A client's connection and the coroutine that serves it."""

    def __init__(
        self, runtime: Runtime, protocols: list[ClientProtocol], transport: Transport, listener: Listener, client: Client
    ) -> None:
        super().__init__(runtime, transport)
        self.protocols = protocols
        self.listener = listener
        self.client = client
        self.protocol: ServedProtocol | None = None

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve."""
        self.begin(self.run())

    async def run(self) -> None:
        """Serve requests until the connection ends."""
        listener = self.listener
        try:
            if listener.proxy_protocol and not await self._proxy_header():
                return
            if listener.ssl and not await self._handshake():
                return
            if listener.http2 and not listener.ssl and not await self._preface():
                return
            for spoken in self.protocols:
                if spoken.is_spoken(self):
                    self.protocol = spoken.begin(self)
                    await self.protocol.serve()
                    return
        except ClientFailed as failed:
            self.log(INFO, f"client connection failed: {failed.strerror}")
        except NetworkSignal:
            pass  # each place that can say more about it has done so
        finally:
            self._end()

    def _end(self) -> None:
        self.end()
        protocol = self.protocol
        if protocol is not None:
            self.protocol = None
            protocol.close()

    def drain(self) -> None:
        protocol = self.protocol
        if protocol is not None:
            protocol.drain()

    def on_peer_closed(self, transport: Transport) -> None:
        protocol = self.protocol
        if protocol is not None:
            protocol.on_client_left()

    def log(self, level: int, message: str) -> None:
        """Write a line to the error log of the listener's default server, with the client's address behind it."""
        log = self.listener.default.core.error_log
        if log.enabled(level):
            address = self.client.remote_addr.decode("ascii", "backslashreplace")
            log.write(level, f"{message}, client: {address}, server: {self.listener.spec}", self.client.number)

    # -- before the first request ------------------------------------------------------------------------------------

    async def _proxy_header(self) -> bool:
        """Read the header of the PROXY protocol, and not a byte more: TLS reads from the socket itself. False: it is malformed."""
        transport = self.transport
        deadline = self.runtime.reactor.now + self.listener.default.core.client_header_timeout
        seen = 0
        while True:
            data = transport.peek(LONGEST)
            if data is not None and (not data or (len(data) == seen and transport.peer_closed)):
                return False  # it has ended
            header: ProxyHeader | None = None
            if data:
                seen = len(data)
                try:
                    header = parse_proxy_header(data)
                except BrokenHeader:
                    self.log(ERR, f'broken header: "{shown(data)}" while reading PROXY protocol')
                    return False
            if header is not None:
                transport.recv(header.length)
                if header.address or header.tlvs:
                    self.client.proxied = header
                return True
            transport.ready = False  # the part that is there makes no further event, the rest will
            left = deadline - self.runtime.reactor.now
            if left <= 0.0:
                return False
            if data:
                await transport.readable(left)
            else:
                await self._silence(left)

    async def _silence(self, seconds: float) -> None:
        """Wait for the first bytes of a client that has sent none yet: it is idle, and gives way when connections become few."""
        idle = self.runtime.idle
        idle[self] = None
        try:
            await self.transport.readable(seconds)
        finally:
            idle.pop(self, None)

    async def _preface(self) -> bool:
        """Wait until it is clear whether the client begins with the preface of HTTP/2. False: it has sent nothing."""
        transport = self.transport
        deadline = self.runtime.reactor.now + self.listener.default.core.client_header_timeout
        seen = -1
        while True:
            data = transport.peek(len(PREFACE))
            if data is not None:
                if not data:
                    return False
                if len(data) == len(PREFACE) or not PREFACE.startswith(data) or (len(data) == seen and transport.peer_closed):
                    return True
                seen = len(data)
            transport.ready = False  # the part that is there makes no further event, the rest will
            left = deadline - self.runtime.reactor.now
            if left <= 0.0:
                return bool(data)
            if data:
                await transport.readable(left)
            else:
                await self._silence(left)
            transport.clear_deadline()

    async def _handshake(self) -> bool:
        """Begin TLS, unless the client speaks plain HTTP (its protocol tells it so). False: the connection is over."""
        plain = self.transport
        seconds = self.listener.default.core.client_header_timeout
        first = plain.peek()
        while first is None:
            await self._silence(seconds)
            first = plain.peek()
        if not first:
            return False
        if not is_tls(first[0]):
            return True
        default = self.listener.default.tls
        assert default is not None
        secured = secure(plain, default, self.listener.find_tls, self.listener.is_http2)
        self.transport = secured
        self.client.set_secure(secured)
        secured.watcher = self
        secured.facts = self._facts
        try:
            await secured.handshake(seconds)
        except OSError as failure:
            if secured.uncertified:
                self.log(ERR, f"{secured.uncertified} while SSL handshaking")
            reason = "handshake rejected" if secured.rejected else f"SSL_do_handshake() failed ({failure.strerror or failure})"
            self.log(INFO, f"{reason} while SSL handshaking")
            return False
        server = secured.server
        if server is not None and server.client_check is not None:
            failure_line = await server.client_check.check(secured)
            if failure_line:
                self.log(ERR, f"{failure_line} while requesting certificate status")
        return not secured.closed

    def _facts(self) -> Request:
        """Return a request without any fields, to evaluate the names of certificates with. Raises ProtocolError, RegexFailed."""
        secured = self.transport
        assert isinstance(secured, TLSTransport)
        name = secured.server_name
        server = self.listener.find(valid_host(name)[0]) if name else self.listener.default
        return Request(self.client, b"", b"", 11, NO_FIELDS, server)
