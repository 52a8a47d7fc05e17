"""One request's dealings with an upstream group: pick, connect, send, read the header section; retry where that is allowed.

What is sent and how a response is read is the protocol's matter (protocol.py), whether a failed attempt is retried that of retry.py.
An idle connection that dies before the first byte of a response says nothing about its peer: the same attempt goes on with a fresh
connection (RFC 9112 section 9.3.1).

A connection that was acquired is released in `end`, or closed in `abandon` on every other way out; the balancer is told of it once.
"""

from __future__ import annotations

import errno
from typing import Final, final

from portico.balancing.connect import HandshakeFailed, NoConnection, connect
from portico.balancing.group import Group
from portico.balancing.local import LocalAddress
from portico.balancing.peer import Peer
from portico.balancing.pool import PeerConnection
from portico.balancing.tls import UpstreamTLS
from portico.codec.errors import ProtocolError
from portico.codec.http1_response import ResponseHead
from portico.errorlog import CRIT, ERR, WARN
from portico.http.errors import HTTPError
from portico.http.upstream_state import Attempt
from portico.net.reactor import UpstreamFailed, UpstreamTimeout
from portico.net.transport import READ_SIZE, SEND_PIECE
from portico.passing.failure import ERROR, INVALID_HEADER, TIMED_OUT, TIMEOUT, AttemptFailed, failed_reading
from portico.passing.hints import HintRules, send_hints
from portico.passing.protocol import UpstreamProtocol, UpstreamRequest, UpstreamStream
from portico.passing.retry import RetryPolicy, condition_of, counts_as_failure, is_idempotent
from portico.passing.sending import RequestSender
from portico.passing.settings import UpstreamSettings

_CLOSED_EARLY: Final = "upstream prematurely closed connection"
_CLOSED: Final = (errno.EPIPE, errno.ECONNRESET)


@final
class Exchange:
    """A request on its way to one peer after the other. `connection` and `stream` are those of the attempt that goes on."""

    connection: PeerConnection
    stream: UpstreamStream

    def __init__(
        self,
        asked: UpstreamRequest,
        settings: UpstreamSettings,
        protocol: UpstreamProtocol,
        group: Group,
        tls: UpstreamTLS | None,
        tls_name: bytes,
    ) -> None:
        self.asked = asked
        self.request = asked.request
        self.settings = settings
        self.protocol = protocol
        self.group = group
        self.tls = tls
        self.tls_name = tls_name
        self.local: LocalAddress | None = None  # what connections are bound to; None: to nothing
        self.peer: Peer | None = None
        self.in_use = False  # `connection` is open and ours
        self.streamed = False  # a part of a body that is not stored was sent: no second attempt
        self.hints: HintRules | None = None  # the client gets early hints
        self.failure = 0  # how the last attempt failed (failure.py)

    async def run(self, encoded: bytes, key: bytes) -> ResponseHead:
        """Send the request, as the protocol has encoded it, until a peer responds; return the final header section.

        key: what the group's balancer hashes. Raises HTTPError (500, 502, 504), FileFailed, and what the client's side raises.
        """
        request = self.request
        balancer = self.group.balancer
        reactor = request.reactor
        tried: list[Peer] | None = None
        tries = 0
        started = reactor.now
        while True:
            peer = balancer.pick(key, tried, reactor.now)
            if peer is None:
                raise self._no_peer()
            self.peer = peer
            attempt = request.upstream_state().begin_attempt(peer.name, request.reactor.now)
            tries += 1
            try:
                try:
                    head = await self._attempt(peer, attempt, encoded, True)
                except AttemptFailed as unprocessed:
                    if not unprocessed.unprocessed or not self._policy().may_resend(self.streamed):
                        raise
                    self.in_use = False
                    self.connection.close()
                    head = await self._attempt(peer, attempt, encoded, False)
            except AttemptFailed as failure:
                self._note_failure(attempt, failure)
                if not self._policy().may_retry(failure.condition, failure.sent, self.streamed, tries, reactor.now - started):
                    raise HTTPError(failure.status) from None
            except BaseException:
                attempt.response_time = reactor.now - attempt.started
                self._release(False)
                raise
            else:
                attempt.status = head.status
                if head.status < 400:
                    return head
                condition = condition_of(head.status)
                if not condition & self.settings.next_upstream:
                    return head
                if not self._policy().may_retry(condition, True, self.streamed, tries, reactor.now - started):
                    return head
                self.end(attempt, False, counts_as_failure(condition))
            tried = _with(tried, peer)

    def end(self, attempt: Attempt, complete: bool, failed: bool) -> None:
        """End the exchange: release the connection or close it, and tell the balancer.

        complete: nobody wants more of the response than was read, so the connection is used again where the protocol allows it.
        """
        attempt.response_time = self.request.reactor.now - attempt.started
        if self.in_use:
            self.in_use = False
            if complete and self.stream.is_reusable():
                self.group.pool.release(self.connection)
            else:
                self.connection.close()
        self._free(failed)

    def abandon(self) -> None:
        """Close the connection, as nothing can be made of the response. Safe after `end`."""
        self._release(False)

    # -- one attempt -------------------------------------------------------------------------------------------------

    async def _attempt(self, peer: Peer, attempt: Attempt, encoded: bytes, may_reuse: bool) -> ResponseHead:
        """Return the final header section of the peer's response. Raises AttemptFailed, and what `run` raises."""
        idle = self._acquire_idle(peer) if may_reuse else None
        if idle is None:
            connection = await self._connect(peer, attempt)
        else:
            connection = idle
            attempt.connect_time = 0.0
        self.connection = connection
        self.in_use = True
        stream = self.protocol.stream_of(connection)
        self.stream = stream
        end = stream.end
        try:
            try:
                data_out = stream.begin(self.asked, encoded, self.settings.buffer_size)
                body = self.asked.body
                if body is None or body.data is not None:  # what there is of a body is encoded with the rest
                    sent = end.send(data_out if len(data_out) <= SEND_PIECE else data_out[:SEND_PIECE])
                    if sent != len(data_out):
                        await self._sender(attempt).send(data_out[sent:])
                    attempt.bytes_sent += len(data_out)
                else:
                    await self._send_body(attempt, data_out)
            except UpstreamFailed as refused:
                if refused.errno not in _CLOSED:
                    raise
                stream.stop_sending()  # it may have responded before it closed: reading tells
            data: bytes | None = stream.rest or None  # the response began before all was sent
            stream.rest = b""
            while data is None:
                data = end.recv(READ_SIZE) if end.ready else None
                if data is None:
                    await end.readable(self.settings.read_timeout)
            if not data:
                raise self._lost(attempt, idle is not None, _CLOSED_EARLY)
            attempt.bytes_received += len(data)
            head = stream.read_head(data)
            if head is None or head.status < 200:
                head = await self._read_on(attempt, head)
        except UpstreamTimeout:
            raise failed_reading(TIMEOUT, 504, TIMED_OUT) from None
        except UpstreamFailed as error:
            raise self._lost(attempt, idle is not None, f"recv() failed ({error.errno}: {error.strerror})") from None
        except ProtocolError as malformed:
            raise failed_reading(INVALID_HEADER, 502, malformed.reason) from None
        attempt.header_time = self.request.reactor.now - attempt.started
        return head

    def _acquire_idle(self, peer: Peer) -> PeerConnection | None:
        """Return an idle connection. One that is to carry what cannot be sent twice is looked at once more."""
        body = self.asked.body
        if (body is not None and not body.was_read()) or not is_idempotent(self.request.method):
            return self.group.pool.acquire_checked(peer, self.tls, self.tls_name, self.local)
        return self.group.pool.acquire(peer, self.tls, self.tls_name, self.local)

    async def _connect(self, peer: Peer, attempt: Attempt) -> PeerConnection:
        """Return a fresh connection. Raises AttemptFailed; HTTPError 500 where this worker has none left."""
        reactor = self.request.reactor
        try:
            connection = await connect(reactor, peer, self.tls, self.tls_name, self.settings.connect_timeout, self.local)
        except UpstreamTimeout:
            raise AttemptFailed(TIMEOUT, 504, f"{TIMED_OUT} while connecting to upstream", False) from None
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
        attempt.connect_time = reactor.now - attempt.started
        if self.settings.socket_keepalive:
            connection.transport.set_keepalive()
        return connection

    def _sender(self, attempt: Attempt) -> RequestSender:
        return RequestSender(self.stream, self.request, attempt, self.settings.send_timeout)

    async def _send_body(self, attempt: Attempt, beginning: bytes) -> None:
        """Send the request and a body that is in a file, or still coming from the client."""
        sender = self._sender(attempt)
        body = self.asked.body
        assert body is not None
        try:
            await sender.send_with(beginning, body)
        finally:
            self.streamed = self.streamed or sender.streamed

    async def _read_on(self, attempt: Attempt, head: ResponseHead | None) -> ResponseHead:
        """Return the final header section, when what came first was not the whole of one, or an interim one."""
        stream = self.stream
        end = stream.end
        while head is None or (head.status < 200 and not (head.status == 101 and self.protocol.can_upgrade)):
            if head is not None:
                if head.status == 103 and self.hints is not None:
                    await send_hints(self.request, self.hints.hints(head))
                head = stream.read_head(b"")
                continue
            data = end.recv(READ_SIZE) if end.ready else None
            if data is None:
                await end.readable(self.settings.read_timeout)
                continue
            if not data:
                raise failed_reading(ERROR, 502, _CLOSED_EARLY)
            attempt.bytes_received += len(data)
            head = stream.read_head(data)
        return head

    # -- what a failure means ------------------------------------------------------------------------------------------

    def _lost(self, attempt: Attempt, reused: bool, what: str) -> AttemptFailed:
        """Return what a connection that breaks off before the end of the header section means."""
        failure = failed_reading(ERROR, 502, what)
        failure.unprocessed = attempt.bytes_received == 0 and self.stream.is_unprocessed(reused)
        return failure

    def _note_failure(self, attempt: Attempt, failure: AttemptFailed) -> None:
        """End an attempt that failed: close its connection, tell the log and the balancer."""
        attempt.response_time = self.request.reactor.now - attempt.started
        attempt.status = attempt.status or failure.status
        self.request.log_error(ERR, failure.reason)
        self.failure = failure.condition
        self._release(True)

    def _policy(self) -> RetryPolicy:
        return RetryPolicy(self.settings, self.request.method, self.group.balancer.most_tries())

    def _no_peer(self) -> HTTPError:
        """Return what it means that no peer is available, which the variables show as an attempt at the group."""
        self.failure = self.failure or ERROR
        attempt = self.request.upstream_state().begin_attempt(self.group.name_bytes, self.request.reactor.now)
        attempt.status = 502
        attempt.response_time = 0.0
        return HTTPError(502, "no live upstreams while connecting to upstream", ERR)

    def _release(self, failed: bool) -> None:
        """Close the connection and tell the balancer, unless that is done."""
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
