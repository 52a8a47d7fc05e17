"""One request's dealings with an upstream group: pick, connect, send, read the head; again with another peer where that is allowed.

The retry policy is nginx's (`ngx_http_upstream_next`): an attempt that failed in a way that `proxy_next_upstream` names is repeated
with the next peer, unless the request is not idempotent and a part of it was sent. A kept connection that dies before the first
byte of an answer says nothing about its peer: the same attempt goes on with a fresh connection (RFC 9112 section 9.3.1).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, final

from portico.balancing.connect import HandshakeFailed, NoConnection, connect
from portico.balancing.group import Group
from portico.balancing.peer import Peer
from portico.balancing.pool import PeerConnection
from portico.balancing.tls import UpstreamTLS
from portico.codec.chunked import LAST_CHUNK, encode_chunk
from portico.codec.errors import ProtocolError
from portico.codec.http1_response import ResponseHead, check_beginning, find_head_end, parse_response_head
from portico.errorlog import CRIT, ERR, WARN
from portico.http.errors import HTTPError
from portico.http.request import Attempt, Request
from portico.net.reactor import SUSPEND, ClientGone, ClientTimeout, UpstreamFailed, UpstreamTimeout
from portico.net.transport import READ_SIZE, SEND_PIECE
from portico.passing.failure import BY_STATUS, ERROR, INVALID_HEADER, NON_IDEMPOTENT, TIMEOUT, AttemptFailed
from portico.passing.settings import UpstreamSettings

if TYPE_CHECKING:
    from portico.http.body import RequestBody

_NOT_IDEMPOTENT: Final = frozenset((b"POST", b"LOCK", b"PATCH"))
_TIMED_OUT: Final = "upstream timed out (110: Connection timed out)"
_FILE_PIECE: Final = 65536
_INTERIM: Final = b"HTTP/1.1 1"


class HintRules:
    """What of an upstream's early hints the client gets."""

    def hints(self, head: ResponseHead) -> list[tuple[bytes, bytes]]:
        """Return the fields of a 103 that the client gets."""
        raise NotImplementedError


@final
class Exchange:
    """A request on its way to one peer after the other. `connection` is the one in use once an attempt has begun."""

    connection: PeerConnection

    def __init__(
        self,
        request: Request,
        settings: UpstreamSettings,
        group: Group,
        tls: UpstreamTLS | None,
        tls_name: bytes,
    ) -> None:
        self.request = request
        self.settings = settings
        self.group = group
        self.tls = tls
        self.tls_name = tls_name
        self.peer: Peer | None = None
        self.in_use = False  # `connection` is open and ours
        self.streamed = False  # a part of a body that is not kept was sent: no second attempt
        self.hints: HintRules | None = None  # the client gets early hints
        self.failure = 0  # how the last attempt failed (failure.py)
        self.interim = 0  # bytes of interim answers (100, 103) that this attempt got

    async def run(self, head: bytes, body: RequestBody | None, key: bytes) -> ResponseHead:
        """Send the request until a peer answers; return its final head.

        Raises HTTPError (500, 502, 504), FileFailed, and what the client's side raises.
        """
        request = self.request
        group = self.group
        balancer = group.balancer
        reactor = request.reactor
        tried: list[Peer] | None = None
        tries = 0
        started = reactor.now
        while True:
            peer = balancer.pick(key, tried, reactor.now)
            if peer is None:
                self.failure = self.failure or ERROR
                raise self._no_peer(tries)
            self.peer = peer
            attempt = request.new_attempt(peer.name)
            try:
                try:
                    answer = await self._attempt(peer, attempt, head, body, True)
                except AttemptFailed as stale:
                    if not stale.stale or not self._may_send_again():
                        raise
                    self.in_use = False
                    self.connection.close()
                    answer = await self._attempt(peer, attempt, head, body, False)
            except AttemptFailed as failure:
                attempt.response_time = reactor.now - attempt.started
                attempt.status = attempt.status or failure.status
                request.log_error(ERR, failure.reason)
                self.failure = failure.condition
                self._release(True)
                tries += 1
                if not self._may_repeat(failure, tries, reactor.now - started):
                    raise HTTPError(failure.status) from None
                tried = _with(tried, peer)
                continue
            except BaseException:
                attempt.response_time = reactor.now - attempt.started
                self._release(False)
                raise
            attempt.status = answer.status
            if answer.status >= 400 and self._repeat_status(answer.status, tries + 1, reactor.now - started):
                tries += 1
                self.end(attempt, False, failed=answer.status not in (403, 404))
                tried = _with(tried, peer)
                continue
            return answer

    def end(self, attempt: Attempt, reusable: bool, failed: bool) -> None:
        """The exchange is over: the connection goes back or is closed, the balancer is told."""
        attempt.response_time = self.request.reactor.now - attempt.started
        connection = self.connection
        if self.in_use:
            self.in_use = False
            if reusable:
                self.group.pool.release(connection)
            else:
                connection.close()
        self._free(failed)

    def abandon(self) -> None:
        """Nothing can be made of the answer: close the connection. Safe after `end`."""
        self._release(False)

    # -- one attempt -------------------------------------------------------------------------------------------------

    async def _attempt(
        self, peer: Peer, attempt: Attempt, head: bytes, body: RequestBody | None, may_keep: bool
    ) -> ResponseHead:
        settings = self.settings
        streaming = body is not None and body.data is None and body.file < 0
        kept = self._kept(peer, streaming) if may_keep else None
        if kept is not None:
            connection = kept
            self.connection = connection
            self.in_use = True
            attempt.connect_time = 0.0
        else:
            connection = await self._connect(peer, attempt)
        self.interim = 0
        transport = connection.transport
        try:
            try:
                if body is None or body.data is not None:
                    data = head if body is None else head + (body.data or b"")
                    sent = transport.send(data if len(data) <= SEND_PIECE else data[:SEND_PIECE])
                    if sent != len(data):
                        await self._send(connection, data[sent:])
                    attempt.bytes_sent += len(data)
                else:
                    await self._send_body(connection, attempt, head, body)
            except UpstreamFailed as refused:
                if refused.errno not in (errno.EPIPE, errno.ECONNRESET):
                    raise
                connection.spent = True  # it may have answered before it closed: reading tells
            # the first byte of the answer
            data_in: bytes | None = connection.buffer or None  # it began before all was sent
            connection.buffer = b""
            while data_in is None:
                data_in = transport.recv(READ_SIZE) if transport.ready else None
                if data_in is None:
                    await transport.readable(settings.read_timeout)
        except UpstreamTimeout:
            raise AttemptFailed(
                TIMEOUT, 504, f"{_TIMED_OUT} while reading response header from upstream", True
            ) from None
        except UpstreamFailed as error:
            failure = AttemptFailed(
                ERROR, 502,
                f"recv() failed ({error.errno}: {error.strerror}) while reading response header from upstream", True,
            )
            failure.stale = kept is not None
            raise failure from None
        if not data_in:
            failure = AttemptFailed(
                ERROR, 502, "upstream prematurely closed connection while reading response header from upstream", True
            )
            failure.stale = kept is not None
            raise failure
        return await self._head(connection, attempt, data_in)

    def _kept(self, peer: Peer, streaming: bool) -> PeerConnection | None:
        """An idle connection. One that is to carry what cannot be sent twice is looked at once more."""
        if streaming or self.request.method in _NOT_IDEMPOTENT:
            return self.group.pool.acquire_checked(peer, self.tls, self.tls_name)
        return self.group.pool.acquire(peer, self.tls, self.tls_name)

    async def _connect(self, peer: Peer, attempt: Attempt) -> PeerConnection:
        request = self.request
        reactor = request.reactor
        try:
            connection = await connect(reactor, peer, self.tls, self.tls_name, self.settings.connect_timeout)
        except UpstreamTimeout:
            raise AttemptFailed(TIMEOUT, 504, f"{_TIMED_OUT} while connecting to upstream", False) from None
        except HandshakeFailed as failed:
            condition, status = (TIMEOUT, 504) if failed.timed_out else (ERROR, 502)
            raise AttemptFailed(
                condition, status, f"{failed.reason} while SSL handshaking to upstream", False
            ) from None
        except UpstreamFailed as error:
            raise AttemptFailed(
                ERROR, 502, f"connect() failed ({error.errno}: {error.strerror}) while connecting to upstream", False
            ) from None
        except NoConnection as none:
            raise HTTPError(500, f"{none.reason} while connecting to upstream", CRIT) from None
        self.connection = connection
        self.in_use = True
        attempt.connect_time = reactor.now - attempt.started
        if self.settings.socket_keepalive:
            connection.transport.set_keepalive()
        return connection

    async def _head(self, connection: PeerConnection, attempt: Attempt, data: bytes) -> ResponseHead:
        """The final head of the answer that begins with `data`; what follows it stays in `connection.buffer`."""
        settings = self.settings
        transport = connection.transport
        attempt.bytes_received += len(data)
        last = connection.last_head
        end = len(last) if last and data.startswith(last) else find_head_end(data, 0)
        try:
            while True:
                while end < 0:
                    check_beginning(data)
                    if len(data) >= settings.buffer_size:
                        raise AttemptFailed(
                            INVALID_HEADER, 502,
                            "upstream sent too big header while reading response header from upstream", True,
                        )
                    more = transport.recv(READ_SIZE) if transport.ready else None
                    if more is None:
                        await transport.readable(settings.read_timeout)
                        continue
                    if not more:
                        raise AttemptFailed(
                            ERROR, 502,
                            "upstream prematurely closed connection while reading response header from upstream", True,
                        )
                    attempt.bytes_received += len(more)
                    start = len(data) - 3
                    data += more
                    end = find_head_end(data, start if start > 0 else 0)
                raw = data[:end]
                connection.buffer = data[end:]
                if raw == connection.last_head:
                    parsed = connection.last_parsed
                    assert isinstance(parsed, ResponseHead)
                else:
                    if end > settings.buffer_size:
                        raise AttemptFailed(
                            INVALID_HEADER, 502,
                            "upstream sent too big header while reading response header from upstream", True,
                        )
                    parsed = parse_response_head(raw)
                    connection.last_head = raw
                    connection.last_parsed = parsed
                    connection.finished = None
                if parsed.status >= 200 or parsed.status == 101:
                    break
                self._count_interim(end)
                if parsed.status == 103 and self.hints is not None:
                    await self._pass_on(self.hints.hints(parsed))
                data = connection.buffer  # 100 Continue, 103 Early Hints: not the answer yet
                end = find_head_end(data, 0)
        except UpstreamTimeout:
            raise AttemptFailed(
                TIMEOUT, 504, f"{_TIMED_OUT} while reading response header from upstream", True
            ) from None
        except ProtocolError as error:
            raise AttemptFailed(
                INVALID_HEADER, 502, f"{error.reason} while reading response header from upstream", True
            ) from None
        except UpstreamFailed as failure:
            raise AttemptFailed(
                ERROR, 502,
                f"recv() failed ({failure.errno}: {failure.strerror}) while reading response header from upstream", True,
            ) from None
        attempt.header_time = transport.reactor.now - attempt.started
        return parsed

    # -- sending -----------------------------------------------------------------------------------------------------

    async def _send(self, connection: PeerConnection, data: bytes) -> bool:
        """Send all of `data`; False when the upstream began to answer, or closed, before it took everything."""
        transport = connection.transport
        at = 0
        while True:
            piece = data[at : at + SEND_PIECE]
            sent = transport.send(piece)
            at += sent
            if at >= len(data):
                return True
            if sent == len(piece):
                continue
            # It may have begun while the client was waited for, or others had their turn: no event will tell that again.
            if transport.ready and self._answered(connection):
                return False
            try:
                transport.writable(self.settings.send_timeout)
                transport.reader = transport.reactor.current
                await SUSPEND
            except UpstreamTimeout:
                raise AttemptFailed(TIMEOUT, 504, f"{_TIMED_OUT} while sending request to upstream", True) from None
            finally:
                transport.reader = None
                transport.writer = None
            if transport.ready and self._answered(connection):
                return False

    async def _send_body(self, connection: PeerConnection, attempt: Attempt, head: bytes, body: RequestBody) -> None:
        """Send the head and a body that is in a file, or still coming from the client."""
        if not await self._send(connection, head):
            return
        attempt.bytes_sent += len(head)
        transport = connection.transport
        if body.file >= 0:
            offset = 0
            while offset < body.length:
                data = body.read_file(offset, min(_FILE_PIECE, body.length - offset))
                offset += len(data)
                attempt.bytes_sent += len(data)
                if not await self._send(connection, data):
                    return
                if transport.reactor.is_turn_over():
                    await transport.reactor.turn()
            return
        await self._stream_body(connection, attempt, body)

    async def _stream_body(self, connection: PeerConnection, attempt: Attempt, body: RequestBody) -> None:
        """Pass a body on as it comes from the client, until the upstream answers."""
        seconds = self.request.location.core.client_body_timeout
        client = self.request.stream
        assert client is not None  # a request without one has no body, or one that is read
        transport = connection.transport
        body.allow()
        while True:
            data = body.take()
            if data is None:
                if transport.ready and self._answered(connection):
                    return
                try:
                    client.body_readable(seconds)
                    transport.clear_deadline()
                    transport.reader = transport.reactor.current
                    await SUSPEND
                except ClientTimeout:
                    raise HTTPError(408, "client timed out while its body was passed on (client_body_timeout)") from None
                finally:
                    transport.reader = None
                    client.stop_waiting()
                continue
            if not data:
                break
            self.streamed = True
            piece = encode_chunk(data) if body.chunked else data
            attempt.bytes_sent += len(piece)
            if not await self._send(connection, piece):
                return
            if transport.reactor.is_turn_over():
                await transport.reactor.turn()
        if body.chunked:
            await self._send(connection, LAST_CHUNK)

    def _answered(self, connection: PeerConnection) -> bool:
        """Whether the upstream has begun its answer, or closed, though not all was sent: it will read no more then.

        `ready` alone does not tell: it may stem from the answer before, from TLS's own messages, or from an interim answer.
        What was read waits in `connection.buffer`.
        """
        data = connection.transport.recv(READ_SIZE)
        if data is None:
            return False
        if data:
            connection.buffer += data
            while connection.buffer.startswith(_INTERIM) and connection.buffer[9:12] != b"101":
                end = find_head_end(connection.buffer, 0)
                if end < 0:
                    return len(connection.buffer) >= self.settings.buffer_size
                self._count_interim(end)
                connection.buffer = connection.buffer[end:]
            if not connection.buffer or (len(connection.buffer) < 10 and _INTERIM.startswith(connection.buffer)):
                return False
        connection.spent = True  # it did not read the request to its end
        return True

    async def _pass_on(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Early hints for the client (RFC 8297). Raises ClientFailed; ClientGone when it does not take them."""
        request = self.request
        stream = request.stream
        if not fields or stream is None:
            return
        try:
            await stream.send_interim(103, b"Early Hints", fields, request.location.core.send_timeout)
        except ClientTimeout:
            raise ClientGone from None

    def _count_interim(self, size: int) -> None:
        """One more interim head. Together they are bounded as one head is: else an upstream could send them for ever."""
        self.interim += size
        if self.interim > self.settings.buffer_size:
            raise AttemptFailed(
                INVALID_HEADER, 502, "upstream sent too big early hints while reading response header from upstream", True
            )

    # -- what a failure means ------------------------------------------------------------------------------------------

    def _may_repeat(self, failure: AttemptFailed, tries: int, elapsed: float) -> bool:
        if self.streamed:
            return False
        conditions = self.settings.next_upstream
        if not conditions & failure.condition:
            return False
        if failure.sent and self.request.method in _NOT_IDEMPOTENT and not conditions & NON_IDEMPOTENT:
            return False
        return self._tries_left(tries, elapsed)

    def _may_send_again(self) -> bool:
        """A kept connection died before the first byte of an answer: whether a fresh one may carry the request."""
        if self.streamed:
            return False
        return self.request.method not in _NOT_IDEMPOTENT or self.settings.next_upstream & NON_IDEMPOTENT != 0

    def _repeat_status(self, status: int, tries: int, elapsed: float) -> bool:
        """Whether `proxy_next_upstream http_…` wants another attempt after this answer."""
        condition = BY_STATUS.get(status, 0)
        conditions = self.settings.next_upstream
        if not condition & conditions or self.streamed:
            return False
        if self.request.method in _NOT_IDEMPOTENT and not conditions & NON_IDEMPOTENT:
            return False
        return self._tries_left(tries, elapsed)

    def _tries_left(self, tries: int, elapsed: float) -> bool:
        settings = self.settings
        most = self.group.balancer.most_tries()
        if settings.tries and settings.tries < most:
            most = settings.tries
        if tries >= most:
            return False
        return settings.tries_timeout == 0.0 or elapsed < settings.tries_timeout

    def _no_peer(self, tries: int) -> HTTPError:
        request = self.request
        attempt = request.new_attempt(self.group.name_bytes)
        attempt.status = 502
        attempt.response_time = 0.0
        return HTTPError(502, "no live upstreams while connecting to upstream", ERR)

    def _release(self, failed: bool) -> None:
        if self.in_use:
            self.in_use = False
            self.connection.close()
        self._free(failed)

    def _free(self, failed: bool) -> None:
        peer = self.peer
        if peer is not None:
            self.peer = None
            reactor = self.request.reactor
            if self.group.balancer.free(peer, failed, reactor.now):
                self.request.log_error(WARN, "upstream server temporarily disabled")


def _with(tried: list[Peer] | None, peer: Peer) -> list[Peer]:
    """Return the peers that a request has tried, with one more."""
    if tried is None:
        return [peer]
    tried.append(peer)
    return tried
