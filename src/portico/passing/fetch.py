"""Requests that Portico's own parts send: `fetch` asks another server and returns the whole response.

    response = await fetch(reactor, FetchRequest(Url("https://id.example.com/keys"), verifying_tls()))

It is meant for what happens once in a while, such as asking for the metadata and the keys of an OpenID Provider. So there is neither
a pool nor a balancer: each request has a connection of its own, which is closed on every way out. Connections and TLS are those of
upstreams.

The other server is not trusted with more than its response:

* the whole exchange, with the resolving of the host and all redirects, is bounded in time, and a server that sends without end keeps
  neither the worker busy nor the task waiting;
* header sections, interim ones included, and the body are bounded; a compressed response is refused, so that nothing expands;
* a body of which the end is in doubt is truncated: one without a length, on a TLS connection that was not closed by TLS's own
  message, could have been cut by anybody on the way (RFC 9112 section 9.8);
* redirects are followed when the request allows some, for GET and HEAD, never from https to http, and credentials stay with the
  server that they are for;
* what went wrong is told without the path, the query, the fields or the body of either side: they may hold secrets.
"""

from __future__ import annotations

import errno
from typing import Final, final

from portico.balancing.peer import Peer
from portico.balancing.pool import HandshakeFailed, NoConnection, PeerConnection, connect
from portico.balancing.tls import UpstreamSettings, UpstreamTLS
from portico.codec.chunked import ChunkedDecoder
from portico.codec.errors import ProtocolError
from portico.codec.fields import joined_lines
from portico.codec.http1_response import ResponseHead, check_beginning, find_head_end, parse_response_head
from portico.codec.url import Url
from portico.net.reactor import ConnectionFailed, Reactor, Timeout, UpstreamFailed
from portico.net.resolver import ResolveError
from portico.net.transport import BODY_READ_SIZE, SEND_PIECE, Transport

# Why a fetch failed.
UNRESOLVED: Final = 1  # the host has no address
UNCONNECTED: Final = 2  # no address takes a connection, or the connection broke
HANDSHAKE: Final = 3  # TLS: the certificate does not verify, for example
TIMEOUT: Final = 4
TRUNCATED: Final = 5  # the connection ended before the response did
TOO_LONG: Final = 6
MALFORMED: Final = 7  # what came is no HTTP response, or none of the kind that was asked for
REDIRECTED: Final = 8  # too often, or to where the request must not go
EXHAUSTED: Final = 9  # this worker has no connection left; the other server is not to blame

SECONDS: Final = 15.0
MAX_HEADER: Final = 32768
MAX_BODY: Final = 1048576
_CERTIFICATE_DEPTH: Final = 10
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_CREDENTIALS: Final = (b"authorization", b"cookie")


@final
class FetchError(Exception):
    """There is no response: `kind` says in which respect, `reason` is a sentence for the error log that holds no secret."""

    def __init__(self, kind: int, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@final
class FetchRequest:
    """What to ask for, and within which bounds.

    `fields` are sent besides those that every request has; with a `body` its Content-Length is. `seconds` bound the whole exchange,
    `max_header` the bytes of all header sections, `max_body` those of the content; `redirects` is how many may be followed.
    """

    def __init__(self, url: Url, tls: UpstreamTLS, method: bytes = b"GET") -> None:
        self.url = url
        self.tls = tls
        self.method = method
        self.fields: list[tuple[bytes, bytes]] = []
        self.body: bytes | None = None
        self.seconds = SECONDS
        self.max_header = MAX_HEADER
        self.max_body = MAX_BODY
        self.redirects = 0


@final
class FetchedResponse:
    """A complete response. `url` is the one that sent it, after redirects."""

    def __init__(self, url: Url, head: ResponseHead, body: bytes) -> None:
        self.url = url
        self.status = head.status
        self.body = body
        self._head = head

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a field, by its lower-case name."""
        return self._head.get(name)


def verifying_tls(trusted_certificate: str = "", revocations: str = "") -> UpstreamTLS:
    """Return TLS that insists on a certificate for the host by an authority that is trusted: the system's, or those in a PEM file.

    `revocations` is a PEM file of revocation lists, "" for none. Raises ContextError for a file that cannot be used.
    """
    settings = UpstreamSettings()
    settings.server_name = True
    settings.verify = True
    settings.verify_depth = _CERTIFICATE_DEPTH
    settings.trusted_certificate = trusted_certificate
    settings.crl = revocations
    tls = UpstreamTLS(settings)
    if not trusted_certificate:
        tls.context.load_default_certs()
    return tls


async def fetch(reactor: Reactor, request: FetchRequest) -> FetchedResponse:
    """Send a request and return its response, of whatever status. Raises FetchError.

    Whatever is thrown into the coroutine, such as ClientGone, passes through, and the connection is closed.
    """
    deadline = reactor.now + request.seconds
    redirects = request.redirects
    while True:
        response = await _exchange(reactor, request, deadline)
        location = response.get(b"location")
        if (
            request.redirects == 0
            or location is None
            or response.status not in _REDIRECTS
            or request.method not in (b"GET", b"HEAD")
        ):
            return response
        if redirects == 0:
            raise FetchError(REDIRECTED, f"{request.url.authority} redirects once more after {request.redirects} redirects")
        redirects -= 1
        request = _redirected(request, location)


def _redirected(request: FetchRequest, location: bytes) -> FetchRequest:
    """Return the request to send where the response points. Raises FetchError."""
    try:
        url = request.url.resolved(location.decode("ascii"))
    except ValueError:  # UnicodeDecodeError is one
        raise FetchError(REDIRECTED, f"{request.url.authority} redirects to what is no URL") from None
    if request.url.secure and not url.secure:
        raise FetchError(REDIRECTED, f"{request.url.authority} redirects from https to http")
    made = FetchRequest(url, request.tls, request.method)
    made.fields = request.fields
    if not url.has_origin_of(request.url):
        made.fields = [(name, value) for name, value in request.fields if name.lower() not in _CREDENTIALS]
    made.seconds = request.seconds
    made.max_header = request.max_header
    made.max_body = request.max_body
    made.redirects = request.redirects
    return made


async def _exchange(reactor: Reactor, request: FetchRequest, deadline: float) -> FetchedResponse:
    """Return the response to one request. Raises FetchError."""
    name = request.url.authority
    try:
        connection = await _connect(reactor, request, deadline)
        try:
            await _send(connection.transport, encode_request(request), deadline)
            return await _receive(connection.transport, request, deadline)
        finally:
            connection.close()
    except Timeout:
        raise FetchError(TIMEOUT, f"{name} did not respond in time") from None
    except ResolveError as unknown:
        if unknown.timed_out:
            raise FetchError(TIMEOUT, f"{name} did not respond in time: its host could not be resolved") from None
        raise FetchError(UNRESOLVED, str(unknown)) from None
    except HandshakeFailed as refused:
        raise FetchError(TIMEOUT if refused.timed_out else HANDSHAKE, f"{name}: {refused.reason}") from None
    except ProtocolError as malformed:
        what = malformed.reason.partition(': "')[0]  # without what it quotes of the response
        raise FetchError(MALFORMED, f"{name}: {what}") from None
    except NoConnection as none:
        raise FetchError(EXHAUSTED, f"{name}: {none.reason}") from None
    except ConnectionFailed as failed:
        raise FetchError(UNCONNECTED, f"{name}: connection failed ({failed.errno}: {failed.strerror})") from None


async def _connect(reactor: Reactor, request: FetchRequest, deadline: float) -> PeerConnection:
    """Return a connection to the first address that takes one; each has its share of the time that is left."""
    url = request.url
    resolution = await reactor.resolver.resolve(url.host, url.port, _left(reactor, deadline))
    addresses = list(dict.fromkeys(resolution.addresses))
    tls = request.tls if url.secure else None
    for number, (family, address) in enumerate(addresses):
        peer = Peer(url.authority.encode(), family, address)
        seconds = _left(reactor, deadline) / (len(addresses) - number)
        try:
            return await connect(reactor, peer, tls, url.host.encode(), seconds)
        except (ConnectionFailed, Timeout):
            if number == len(addresses) - 1:
                raise
    raise FetchError(UNRESOLVED, f"{url.host} has no address")


def encode_request(request: FetchRequest) -> bytes:
    """Return a request as it is sent."""
    fields = [
        (b"Host", request.url.authority.encode()),
        (b"User-Agent", b"portico"),
        (b"Accept-Encoding", b"identity"),
        (b"Connection", b"close"),
        *request.fields,
    ]
    if request.body is not None:
        fields.append((b"Content-Length", b"%d" % len(request.body)))
    lines = joined_lines([b"%b: %b" % field for field in fields])
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (request.method, request.url.target.encode(), lines, request.body or b"")


async def _send(transport: Transport, data: bytes, deadline: float) -> None:
    """Send `data`, as much as the server takes: one that closes may have responded before. Raises ConnectionFailed and Timeout."""
    at = 0
    try:
        while at < len(data):
            piece = data[at : at + SEND_PIECE]
            sent = transport.send(piece)
            at += sent
            if sent != len(piece):
                await transport.writable(_left(transport.reactor, deadline))
    except UpstreamFailed as refused:
        if refused.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise


async def _receive(transport: Transport, request: FetchRequest, deadline: float) -> FetchedResponse:
    reader = ResponseReader(request)
    reactor = transport.reactor
    while True:
        if reactor.is_turn_over():
            await reactor.turn()
        left = _left(reactor, deadline)
        data = transport.recv(BODY_READ_SIZE) if transport.ready else None
        if data is None:
            await transport.readable(left)
            continue
        if data:
            reader.feed(data)
        else:
            reader.end(transport.truncated)
        response = reader.response()
        if response is not None:
            return response


def _left(reactor: Reactor, deadline: float) -> float:
    """Return how many seconds are left. Raises Timeout when none are."""
    left = deadline - reactor.now
    if left <= 0.0:
        raise Timeout
    return left


@final
class ResponseReader:
    """Reads the response to one request from bytes that come in pieces of any length, without I/O."""

    def __init__(self, request: FetchRequest) -> None:
        self._request = request
        self._name = request.url.authority
        self._head: ResponseHead | None = None
        self._section: bytes = b""  # of a header section that has not ended
        self._interim = 0  # bytes of interim responses
        self._chunks: ChunkedDecoder | None = None
        self._body: list[bytes] = []
        self._length = 0  # of the body so far
        self._expected = -1  # length of the body; -1: chunked, or until the connection ends
        self._complete = False

    def response(self) -> FetchedResponse | None:
        """Return the response once it is complete."""
        if self._head is None or not self._complete:
            return None
        return FetchedResponse(self._request.url, self._head, b"".join(self._body))

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises FetchError and ProtocolError."""
        if self._head is None:
            data = self._read_header(data)
        if self._head is not None and not self._complete:
            self._read_body(data)

    def end(self, in_doubt: bool) -> None:
        """Take the end of the connection; `in_doubt`: anybody on the way may have brought it about. Raises FetchError."""
        if self._head is None:
            raise FetchError(TRUNCATED, f"{self._name} closed the connection before it had responded")
        if self._chunks is not None or self._expected >= 0 or in_doubt:
            raise FetchError(TRUNCATED, f"the response of {self._name} was truncated")
        self._complete = True

    def _read_header(self, data: bytes) -> bytes:
        """Return what follows the header section of the final response, if that has come."""
        start = max(0, len(self._section) - 3)
        data = self._section + data
        while data:
            end = find_head_end(data, start)
            if (end if end >= 0 else len(data)) + self._interim > self._request.max_header:
                raise FetchError(TOO_LONG, f"the header section from {self._name} is longer than {self._request.max_header} bytes")
            if end < 0:
                check_beginning(data)
                break
            head = parse_response_head(data[:end])
            data = data[end:]
            if head.status == 101:
                raise FetchError(MALFORMED, f"{self._name} changed the protocol without being asked to")
            if head.status >= 200:
                self._section = b""
                self._begin_body(head)
                return data
            self._interim += end
            start = 0
        self._section = data
        return b""

    def _begin_body(self, head: ResponseHead) -> None:
        self._head = head
        if self._request.method == b"HEAD" or head.status in (204, 304):
            self._complete = True
            return
        if head.get(b"content-encoding") not in (None, b"identity"):
            raise FetchError(MALFORMED, f"the response of {self._name} is compressed though it was asked not to be")
        self._expected = head.content_length
        self._check_length(self._expected)
        if head.chunked:
            self._chunks = ChunkedDecoder(False)

    def _read_body(self, data: bytes) -> None:
        if self._chunks is not None:
            for piece in self._chunks.feed(data) if data else []:
                self._append(piece)
            self._complete = self._chunks.done
            return
        self._append(data if self._expected < 0 else data[: self._expected - self._length])
        self._complete = self._length == self._expected

    def _append(self, piece: bytes) -> None:
        self._length += len(piece)
        self._check_length(self._length)
        self._body.append(piece)

    def _check_length(self, length: int) -> None:
        if length > self._request.max_body:
            raise FetchError(TOO_LONG, f"the response of {self._name} is longer than {self._request.max_body} bytes")
