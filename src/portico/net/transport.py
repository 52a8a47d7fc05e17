"""A non-blocking stream socket whose waits suspend the running coroutine.

Try first, wait only when there is nothing: `recv`, `send`, `sendfile` and `splice_*` never block and say "would block" with
None or 0. Then, and only then, `await transport.readable(seconds)` or `await transport.writable(seconds)`.

Registered edge-triggered, once, for reading; for writing only when a send has been refused (nginx's way: most connections never
need it). With edges, `ready` remembers that there may be something to read: it is cleared by a short read and set by an event.
A half-closed peer (EPOLLRDHUP) keeps it set, so that the end is always seen.

What fails is raised as the failure of a side: `ClientFailed` and `ClientTimeout`, or `UpstreamFailed` and `UpstreamTimeout`, never as
an OSError. A coroutine that moves bytes between two transports cannot take one side's failure for the other's.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from portico.net.duplex import Duplex
from portico.net.pipe import Pipe
from portico.net.reactor import (
    ERR,
    HUP,
    IN,
    OUT,
    RDHUP,
    SUSPEND,
    ClientFailed,
    ClientTimeout,
    ConnectionFailed,
    Reactor,
    Suspend,
    Task,
    Timeout,
    UpstreamFailed,
    UpstreamTimeout,
)

READ_SIZE: Final = 8192  # header sections: a small buffer is 1–2 µs cheaper than 64 KB a read
BODY_READ_SIZE: Final = 65536
SEND_PIECE: Final = 131072  # the most that one send is offered, so that a partial send copies little again
_OF_THE_FILE: Final = (errno.EIO, errno.EINVAL, errno.EBADF, errno.EOVERFLOW, errno.ESTALE, errno.ENOMEM, errno.EISDIR)  # sendfile(2)
_WORTH_TWO: Final = 8192  # bytes: copying fewer costs less than handing over two buffers


class Watcher:
    """Whoever holds a transport while no coroutine reads it: a connection at work elsewhere, a pool of idle connections."""

    def on_peer_closed(self, transport: Transport) -> None:
        """Act on a peer that closed (or reset) while nobody was reading."""

    def on_unread_data(self, transport: Transport) -> None:
        """Act on bytes that arrived while nobody was reading; they stay in the kernel."""

    def on_idle_timeout(self, transport: Transport) -> None:
        """Act on a deadline that passed while nobody was waiting."""


class Transport(Duplex):
    """A connected TCP or Unix stream socket. TLS is a subclass (`net/tls.py`)."""

    def __init__(self, reactor: Reactor, sock: socket.socket, upstream: bool = False) -> None:
        self.reactor = reactor
        self.sock = sock
        self.upstream = upstream  # we connected; false: we accepted
        self.fd: int = sock.fileno()
        self.batch: int = 0
        self.idle: bool = False
        self.registered: bool = False
        self.reader: Task | None = None
        self.writer: Task | None = None
        self.watcher: Watcher | None = None
        self.ready: bool = True  # there may be something to read
        self.peer_closed: bool = False  # EPOLLRDHUP seen: the peer will send no more than is here
        self.broken: bool = False  # EPOLLHUP or EPOLLERR seen: the peer will not take anything either
        self.truncated: bool = False  # TLS: it ended without close_notify, which anybody on the way can make it do
        self.wants_out: bool = False  # registered for EPOLLOUT
        self.closed: bool = False
        self.secure: bool = False
        self.deadline: float = 0.0  # of the one wait, or of the watcher; see timers.py
        self.slot: int = 0

    # -- events ------------------------------------------------------------------------------------------------------

    def register(self) -> None:
        """Start to listen for readability, unless it is closed already. Call once."""
        if not self.closed:
            self.reactor.add(self, IN | OUT | RDHUP if self.wants_out else IN | RDHUP)

    def on_event(self, events: int) -> None:
        """Remember what changed and resume whoever waits for it."""
        if events & (RDHUP | HUP | ERR):
            self.peer_closed = True
            if events & (HUP | ERR):
                self.broken = True
        if events & (OUT | ERR | HUP):
            writer = self.writer
            if writer is not None:
                self.writer = None
                writer.resume()
                if self.closed:
                    return
        if events & (IN | RDHUP | ERR | HUP):
            self.ready = True
            reader = self.reader
            if reader is not None:
                self.reader = None
                reader.resume()
                return
            watcher = self.watcher
            if watcher is not None:
                if self.peer_closed:
                    watcher.on_peer_closed(self)
                else:
                    watcher.on_unread_data(self)

    def on_deadline(self, now: float) -> None:
        """Tell the waiting coroutine, or else the watcher, that the deadline has passed."""
        waiting = self.reader
        if waiting is None:
            waiting = self.writer
        if waiting is not None:
            self.reader = None
            self.writer = None
            waiting.throw(self.timed_out())
        elif self.watcher is not None:
            self.watcher.on_idle_timeout(self)

    def timed_out(self) -> Timeout:
        """Return what a wait for this side ends with when it takes too long."""
        return UpstreamTimeout() if self.upstream else ClientTimeout()

    def failed(self, error: OSError) -> ConnectionFailed:
        """Return what is raised when `error` says that the connection has failed."""
        number = error.errno or 0
        text = error.strerror or str(error)
        return UpstreamFailed(number, text) if self.upstream else ClientFailed(number, text)

    def readable(self, seconds: float) -> Suspend:
        """Wait until an event says there may be something to read: `await transport.readable(60.0)`. Raises Timeout."""
        reactor = self.reactor
        self.reader = reactor.current
        if seconds > 0.0:
            reactor.timers.set(self, reactor.now + seconds)
        return SUSPEND

    def writable(self, seconds: float) -> Suspend:
        """Wait until more can be sent: `await transport.writable(60.0)`. Raises Timeout."""
        reactor = self.reactor
        self.writer = reactor.current
        if not self.wants_out:
            self.wants_out = True
            reactor.change(self, IN | OUT | RDHUP)
        if seconds > 0.0:
            reactor.timers.set(self, reactor.now + seconds)
        return SUSPEND

    def stop_waiting(self) -> None:
        """Leave both waits and the deadline: for a coroutine that waited for two transports at once."""
        self.reader = None
        self.writer = None
        self.deadline = 0.0

    def set_deadline(self, seconds: float) -> None:
        """Set a deadline outside of any wait; the watcher's `on_idle_timeout` is called."""
        self.reactor.timers.set(self, self.reactor.now + seconds)

    def clear_deadline(self) -> None:
        """Remove the deadline."""
        self.deadline = 0.0

    # -- bytes -------------------------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes | None:
        """Return the bytes that are there, b"" at the end of the stream, None when there is nothing yet. Raises ConnectionFailed."""
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            self.ready = False
            return None
        except OSError as error:
            raise self.failed(error) from None
        if len(data) < size and not self.peer_closed:
            self.ready = False
        return data

    def peek(self, size: int = 1) -> bytes | None:
        """Return the first bytes that are there, left where they are; b"" at the end of the stream, None when there is nothing yet.

        Raises ConnectionFailed.
        """
        try:
            return self.sock.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            self.ready = False
            return None
        except OSError as error:
            raise self.failed(error) from None

    def send(self, data: bytes) -> int:
        """Send what fits; return the number of bytes accepted, 0 when nothing fits now. Raises ConnectionFailed."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.failed(error) from None

    def send_both(self, head: bytes, body: bytes) -> int:
        """Send two pieces that leave together, as `send` does: a long one is not copied behind the other (writev(2))."""
        if self.secure or len(body) < _WORTH_TWO:
            return self.send(head + body)
        try:
            return os.writev(self.fd, (head, body))
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.failed(error) from None

    def send_more(self, data: bytes) -> int:
        """Send data that more follows, as `send` does: the kernel waits for it to fill the packet (MSG_MORE)."""
        try:
            return self.sock.send(data, socket.MSG_MORE)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.failed(error) from None

    async def send_all(self, data: bytes, seconds: float) -> None:
        """Send everything, waiting at most `seconds` between two successful sends. Raises ConnectionFailed, Timeout."""
        at = 0
        while at < len(data):
            piece = data[at : at + SEND_PIECE] if at or len(data) > SEND_PIECE else data
            sent = self.send(piece)
            at += sent
            if sent != len(piece):
                await self.writable(seconds)

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Send from a file without copying; bytes sent, 0 when it would block, -1 at the end of the file.

        Raises ConnectionFailed, and OSError when it is the file that cannot be read.
        """
        try:
            sent = os.sendfile(self.fd, fd, offset, count)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in _OF_THE_FILE:
                raise
            raise self.failed(error) from None
        return sent if sent > 0 else -1

    def splice_in(self, pipe: Pipe, count: int) -> int:
        """Move up to `count` received bytes into the pipe; 0: would block (or the pipe is full), -1: end of stream.

        Raises ConnectionFailed.
        """
        try:
            moved = os.splice(self.fd, pipe.write_end, count, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            self.ready = False
            return 0
        except OSError as error:
            raise self.failed(error) from None
        if moved == 0:
            return -1
        pipe.held += moved
        return moved

    def splice_out(self, pipe: Pipe) -> int:
        """Send what the pipe holds; 0: would block. Raises ConnectionFailed."""
        try:
            moved = os.splice(pipe.read_end, self.fd, pipe.held, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.failed(error) from None
        pipe.held -= moved
        return moved

    def set_keepalive(self) -> None:
        """Turn TCP keepalive on (`*_socket_keepalive`)."""
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    # -- end ---------------------------------------------------------------------------------------------------------

    def shutdown_write(self) -> None:
        """Half-close: the peer sees the end of our stream."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # reset or gone: nothing left to end

    def close(self) -> None:
        """Close at once; safe to call twice."""
        if self.closed:
            return
        self.closed = True
        self.reader = None
        self.writer = None
        self.watcher = None
        self.reactor.timers.forget(self)
        self.reactor.forget(self)
        self.sock.close()

    def detach(self) -> socket.socket:
        """Return the socket, open and unregistered: another transport (TLS) takes over."""
        self.closed = True
        self.watcher = None
        self.reactor.timers.forget(self)
        self.reactor.remove(self)
        return self.sock

    def give_way(self, successor: Transport) -> None:
        """Let `successor` go on with the socket, registered as this one was: no event is lost or reported again."""
        self.closed = True
        self.watcher = None
        self.reactor.timers.forget(self)
        successor.wants_out = self.wants_out
        successor.peer_closed = self.peer_closed
        successor.broken = self.broken
        successor.upstream = self.upstream
        self.reactor.replace(successor)

    def reset(self) -> None:
        """Close with RST instead of FIN (`reset_timedout_connection`)."""
        if not self.closed:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            except OSError:
                pass
            self.close()
