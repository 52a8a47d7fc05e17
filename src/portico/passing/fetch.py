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
* what went wrong is reported without the path, the query, the fields or the body of either side: they may hold secrets.
"""

from __future__ import annotations

import errno
from typing import Final

from portico.balancing.connect import HandshakeFailed, NoConnection, connect
from portico.balancing.peer import Peer
from portico.balancing.pool import PeerConnection
from portico.balancing.tls import PeerTLSSettings, UpstreamTLS
from portico.codec.errors import ProtocolError
from portico.net.reactor import ConnectionFailed, Reactor, Timeout, UpstreamFailed
from portico.net.resolver import ResolveError
from portico.net.transport import BODY_READ_SIZE, SEND_PIECE, Transport
from portico.passing.fetch_message import (
    EXHAUSTED,
    HANDSHAKE,
    MALFORMED,
    REDIRECTED,
    TIMEOUT,
    UNCONNECTED,
    UNRESOLVED,
    FetchedResponse,
    FetchError,
    FetchRequest,
    ResponseReader,
    encode_request,
)

_CERTIFICATE_DEPTH: Final = 10
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_CREDENTIALS: Final = (b"authorization", b"cookie")


def verifying_tls(trusted_certificate: str = "", revocations: str = "") -> UpstreamTLS:
    """Return TLS that insists on a certificate for the host by an authority that is trusted: the system's, or those in a PEM file.

    `revocations` is a PEM file of revocation lists, "" for none. Raises ContextError for a file that cannot be used.
    """
    settings = PeerTLSSettings()
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
    if url.secure and tls is None:
        raise FetchError(HANDSHAKE, f"{url.authority} may be asked by http only")
    for number, (family, address) in enumerate(addresses):
        peer = Peer(url.authority.encode(), family, address)
        seconds = _left(reactor, deadline) / (len(addresses) - number)
        try:
            return await connect(reactor, peer, tls, url.host.encode(), seconds)
        except (ConnectionFailed, Timeout):
            if number == len(addresses) - 1:
                raise
    raise FetchError(UNRESOLVED, f"{url.host} has no address")


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
