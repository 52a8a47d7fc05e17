"""A client of HTTP/2 on a socket, by the library `h2`, which is nobody's here."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

Field = tuple[bytes, bytes]
PATIENCE = 5.0  # seconds without a byte


@dataclass
class Reply:
    """What came on one stream."""

    fields: list[Field] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    interim: list[list[Field]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None  # the code of RST_STREAM

    @property
    def status(self) -> int:
        return int(self.get(b":status") or b"0")

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        return next((value for key, value in self.fields if key == name), None)

    def is_over(self) -> bool:
        return self.ended or self.reset is not None


def request_fields(method: str, path: str, *fields: Field, scheme: str = "http", host: str = "localhost") -> list[Field]:
    """The fields of a request, its pseudo-header first."""
    pseudo = [(":method", method), (":scheme", scheme), (":authority", host), (":path", path)]
    return [*((name.encode(), value.encode("latin-1")) for name, value in pseudo), *fields]


class Http2Client:
    """One connection. `check=False`: what is sent may be malformed."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, name: str | None = None, check: bool = True) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock: socket.socket = plain if tls is None else tls.wrap_socket(plain, server_hostname=name)
        self.scheme = "http" if tls is None else "https"
        config = H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=check, normalize_outbound_headers=check,
            validate_inbound_headers=True,
        )
        self.h2 = H2Connection(config)
        self.h2.initiate_connection()
        self.replies: dict[int, Reply] = {}
        self.goaway: ConnectionTerminated | None = None
        self.pings: list[bytes] = []
        self.ended = False
        self.takes = True  # windows are opened again as content comes
        self.flush()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        """Send what is to be sent. A server that has closed already may have answered before."""
        try:
            self.sock.sendall(self.h2.data_to_send())
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True

    def begin(self, fields: list[Field], ended: bool = True) -> int:
        """Send a request's header section; return the number of its stream."""
        number = self.h2.get_next_available_stream_id()
        self.replies[number] = Reply()
        self.h2.send_headers(number, fields, end_stream=ended)
        self.flush()
        return number

    def send(self, number: int, data: bytes, ended: bool = True) -> None:
        """Send content, waiting for room."""
        reply = self.replies[number]
        while data and not reply.is_over():
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if room == 0:
                if not self.receive():
                    return
                continue
            piece, data = data[:room], data[room:]
            self.h2.send_data(number, piece)
            self.flush()
        if ended and not reply.is_over():
            self.h2.end_stream(number)
            self.flush()

    def ask(self, fields: list[Field], body: bytes | None = None) -> Reply:
        """The whole response to a request."""
        number = self.begin(fields, body is None)
        if body is not None:
            self.send(number, body)
        return self.whole(number)

    def whole(self, number: int) -> Reply:
        """The response on a stream, when it is over, or the connection is."""
        reply = self.replies[number]
        while not reply.is_over() and self.receive():
            pass
        return reply

    def receive(self) -> bool:
        """Read once; False at the end of the connection. Raises TimeoutError."""
        if self.ended:
            return False
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.ended = True
            return False
        for event in self.h2.receive_data(data):
            self._note(event)
        self.flush()
        return True

    def _note(self, event: object) -> None:
        if isinstance(event, ConnectionTerminated):
            self.goaway = event
            self.h2.state_machine.state = ConnectionState.CLIENT_OPEN  # what has begun goes on, though not for this library
        elif isinstance(event, PingAckReceived):
            self.pings.append(event.ping_data)
        number = getattr(event, "stream_id", None)
        reply = self.replies.get(number) if number else None
        if reply is None:
            return
        if isinstance(event, ResponseReceived):
            reply.fields = list(event.headers or [])
        elif isinstance(event, InformationalResponseReceived):
            reply.interim.append(list(event.headers or []))
        elif isinstance(event, DataReceived):
            reply.body += event.data or b""
            if self.takes:
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, number or 0)
        elif isinstance(event, TrailersReceived):
            reply.trailers = list(event.headers or [])
        elif isinstance(event, StreamEnded):
            reply.ended = True
        elif isinstance(event, StreamReset):
            reply.reset = int(event.error_code or 0)
