"""Requests to a provider: one connection each, bounded in time and size, no redirect followed.

They come once in a login and once in an hour, so there is neither a pool nor a balancer; connections, TLS and the codec are those of
upstreams. All of it waits in the task of the request that needs the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.balancing.group import Server
from portico.balancing.pool import HandshakeFailed, NoConnection, PeerConnection, connect
from portico.codec.chunked import ChunkedDecoder
from portico.codec.errors import ProtocolError
from portico.codec.http1_response import ResponseHead, find_head_end, parse_response_head
from portico.config.values import port_of
from portico.http.fetching import FetchFailed
from portico.net.reactor import ConnectionFailed, Reactor, Timeout
from portico.net.resolver import ResolveError
from portico.net.transport import BODY_READ_SIZE

if TYPE_CHECKING:
    from portico.balancing.tls import UpstreamTLS

SECONDS: Final = 15.0  # for a whole exchange
_LONGEST_HEAD: Final = 32768
_LONGEST_BODY: Final = 1048576
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


@final
class Url:
    """An http or https URL. Raises ValueError with what is wrong."""

    def __init__(self, text: str) -> None:
        scheme, mark, rest = text.partition("://")
        if not mark or scheme.lower() not in ("http", "https"):
            raise ValueError('it must begin with "https://"')
        if any(not "!" <= character <= "~" or character in '"<>\\^`{|}#' for character in rest):
            raise ValueError("it holds a character that does not belong into a URL")
        self.text = text
        self.secure = scheme.lower() == "https"
        end = min([at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0])
        self.authority = rest[:end]
        target = rest[end:]
        self.target = target if target.startswith("/") else "/" + target
        self.host, self.port = _host_and_port(self.authority, 443 if self.secure else 80)
        if not self.secure and self.host not in _LOOPBACK:
            raise ValueError('it must begin with "https://": only a provider on this machine may be asked without TLS')

    def origin(self) -> str:
        """Scheme and authority."""
        return f"{'https' if self.secure else 'http'}://{self.authority}"


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    if "@" in authority:
        raise ValueError('it holds a "@" in its host')
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("its host is malformed")
        port = rest[1:]
    else:
        host, _, port = authority.partition(":")
    if not host:
        raise ValueError("it has no host")
    if not port:
        return host, default
    number = port_of(port)
    if number is None:
        raise ValueError("its port is none")
    return host, number


@final
class Answer:
    """What the provider answered."""

    def __init__(self, head: ResponseHead, content: bytes) -> None:
        self.status = head.status
        self.content_type = (head.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        self.content = content


@final
class ProviderClient:
    """Asks one provider."""

    def __init__(self, tls: UpstreamTLS, seconds: float = SECONDS) -> None:
        self._tls = tls
        self._seconds = seconds

    async def ask(self, reactor: Reactor, url: Url, fields: list[bytes], body: bytes | None) -> Answer:
        """GET, or POST with a body. Raises FetchFailed: 502, or 504 when it took too long. The reason holds no secret."""
        deadline = reactor.now + self._seconds
        try:
            connection = await self._connected(reactor, url, deadline)
            try:
                await connection.transport.send_all(_request(url, fields, body), _left(reactor, deadline))
                return await _answer(connection, deadline)
            finally:
                connection.close()
        except Timeout:
            raise FetchFailed(f"{url.authority} did not answer in time", 504) from None
        except HandshakeFailed as refused:
            raise FetchFailed(f"{url.authority}: {refused.reason}", 504 if refused.timed_out else 502) from None
        except ProtocolError as malformed:
            raise FetchFailed(f"{url.authority}: {malformed.reason}", 502) from None
        except NoConnection as none:
            raise FetchFailed(f"{url.authority}: {none.reason}", 500) from None
        except ConnectionFailed as failed:
            raise FetchFailed(f"{url.authority}: connection failed ({failed.errno}: {failed.strerror})", 502) from None

    async def _connected(self, reactor: Reactor, url: Url, deadline: float) -> PeerConnection:
        server = Server(url.authority, url.host, url.port, None)
        try:
            server.take_addresses((await reactor.resolver.resolve(url.host, url.port, _left(reactor, deadline))).addresses)
        except ResolveError as unknown:
            if unknown.timed_out:
                raise Timeout from None
            raise FetchFailed(str(unknown), 502) from None
        tls = self._tls if url.secure else None
        for number, peer in enumerate(server.peers):
            seconds = _left(reactor, deadline) / (len(server.peers) - number)
            try:
                return await connect(reactor, peer, tls, url.host.encode(), seconds)
            except (ConnectionFailed, Timeout):
                if number == len(server.peers) - 1:
                    raise
        raise FetchFailed(f"{url.host} has no address", 502)


def _left(reactor: Reactor, deadline: float) -> float:
    left = deadline - reactor.now
    if left <= 0.0:
        raise Timeout
    return left


def _request(url: Url, fields: list[bytes], body: bytes | None) -> bytes:
    lines = [
        f"{'GET' if body is None else 'POST'} {url.target} HTTP/1.1".encode(),
        b"Host: " + url.authority.encode(),
        b"User-Agent: portico",
        b"Accept: application/json",
        b"Accept-Encoding: identity",
        b"Connection: close",
        *fields,
    ]
    if body is not None:
        lines.append(b"Content-Type: application/x-www-form-urlencoded")
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


async def _answer(connection: PeerConnection, deadline: float) -> Answer:
    data = b""
    while True:
        end = find_head_end(data, 0)
        if end >= 0:
            head = parse_response_head(data[:end])
            data = data[end:]
            if head.status == 101:
                raise FetchFailed("the provider changed the protocol", 502)
            if head.status >= 200:
                break
            continue
        if len(data) > _LONGEST_HEAD:
            raise FetchFailed("the provider's header is too long", 502)
        more = await _more(connection, deadline)
        if not more:
            raise FetchFailed("the provider closed the connection before it had answered", 502)
        data += more
    if head.get(b"content-encoding") not in (None, b"identity"):
        raise FetchFailed("the provider compresses its answer though it was asked not to", 502)
    return Answer(head, await _content(connection, head, data, deadline))


async def _content(connection: PeerConnection, head: ResponseHead, data: bytes, deadline: float) -> bytes:
    if head.status in (204, 304):
        return b""
    decoder = ChunkedDecoder(False) if head.chunked else None
    pieces: list[bytes] = []
    length = 0
    while True:
        if decoder is not None:
            content = b"".join(decoder.feed(data)) if data else b""
        else:
            content = data
        length += len(content)
        pieces.append(content)
        if length > _LONGEST_BODY:
            raise FetchFailed(f"the provider's answer is longer than {_LONGEST_BODY} bytes", 502)
        if decoder is not None and decoder.done:
            return b"".join(pieces)
        if decoder is None and length >= head.content_length >= 0:
            return b"".join(pieces)[: head.content_length]
        data = await _more(connection, deadline)
        if not data:
            if decoder is None and head.content_length < 0:
                return b"".join(pieces)
            raise FetchFailed("the provider's answer was cut short", 502)


async def _more(connection: PeerConnection, deadline: float) -> bytes:
    """The next bytes; b"" at the end. A provider that never stops to send keeps neither the worker nor us for ever."""
    transport = connection.transport
    reactor = transport.reactor
    while True:
        if reactor.is_turn_over():
            await reactor.turn()
        left = _left(reactor, deadline)
        data = transport.recv(BODY_READ_SIZE) if transport.ready else None
        if data is not None:
            return data
        await transport.readable(left)
