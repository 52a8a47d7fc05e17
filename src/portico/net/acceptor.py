"""Listening sockets in a worker, and how connections are accepted.

Listening sockets are shared by the workers (or one for each with `reuseport`). They are registered level-triggered with
EPOLLEXCLUSIVE, so that a new connection wakes one worker, and one connection is accepted for each wake-up unless `multi_accept`
says otherwise: that spreads connections as nginx does.

What an accepted connection is for, the acceptor does not know: each kind of listener (HTTP, …) gives it an `on_accept`. A listening
socket that accepts nothing, one for datagrams, would be another subclass of `ListeningSocket`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ALERT, CRIT
from portico.net.accepted import accepted
from portico.net.reactor import IN, Pollable, Reactor

if TYPE_CHECKING:
    from portico.net.shortage import Shortage

# Called with the socket of a new connection, which does not block, and the client's address and port; None: a Unix socket.
OnAccept = Callable[[socket.socket, "tuple[str, int] | None"], None]

_EXCLUSIVE: Final = 1 << 28  # EPOLLEXCLUSIVE
_PAUSE_SECONDS: Final = 0.5  # nginx: accept_mutex_delay


class ListeningSocket(Pollable):
    """A socket on which a worker waits for clients. A subclass says in `on_event` what happens when it is readable."""

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        super().__init__()
        self.reactor = reactor
        self.sock = sock
        self.fd = sock.fileno()
        self.is_open = False
        self.is_closed = False
        sock.setblocking(False)

    def open(self) -> None:
        """Begin to listen for events, or go on after `pause`; nothing after `close`."""
        if not self.is_open and not self.is_closed:
            self.is_open = True
            self.reactor.add_level(self, IN | _EXCLUSIVE)

    def pause(self, seconds: float) -> None:
        """Listen for no events, and go on after `seconds`. Clients wait in the socket's queue."""
        self._stop()
        self.reactor.timers.set(self, self.reactor.now + seconds)

    def close(self) -> None:
        """Listen for no more events. The socket itself stays open: it belongs to the supervisor, and other workers have it too."""
        self.is_closed = True
        self._stop()
        self.reactor.timers.forget(self)

    def on_deadline(self, now: float) -> None:
        """End a pause."""
        self.open()

    def _stop(self) -> None:
        if self.is_open:
            self.is_open = False
            self.reactor.remove(self)


@final
class Acceptor(ListeningSocket):
    """A listening socket of connections."""

    def __init__(
        self, reactor: Reactor, sock: socket.socket, shortage: Shortage, on_accept: OnAccept, multi_accept: bool
    ) -> None:
        super().__init__(reactor, sock)
        self.shortage = shortage
        self.on_accept = on_accept
        self.multi_accept = multi_accept
        self.family = int(sock.family)
        self.has_ports = sock.family != socket.AF_UNIX

    def on_event(self, events: int) -> None:
        """Accept the connection that waits, or all of them; level-triggered, so what is left is reported again."""
        while self._accept() and self.multi_accept and not self.reactor.is_turn_over():
            pass

    def _accept(self) -> bool:
        """Accept one connection; return whether to try once more."""
        try:
            fd, address = self.sock._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            return self._failed(error)
        if not self.reactor.room.make():
            os.close(fd)
            return True
        sock = accepted(self.family, fd)
        if self.has_ports:
            self.on_accept(sock, (address[0], address[1]))
        else:
            self.on_accept(sock, None)
        return True

    def _failed(self, error: OSError) -> bool:
        """Deal with a failure of accept(2); return whether to try once more."""
        text = f"accept4() failed ({error.errno}: {error.strerror})"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            if self.reactor.room.free_some():
                return True
            self.shortage.log(CRIT, f"{text}: a client is refused; worker_rlimit_nofile may be too low")
            if self.shortage.refuse(self.sock):
                return True
        else:
            self.shortage.log(ALERT, text)
            if error.errno not in (errno.ENOMEM, errno.ENOBUFS):
                return False
        self.pause(_PAUSE_SECONDS)  # the kernel would say the same again at once
        return False
