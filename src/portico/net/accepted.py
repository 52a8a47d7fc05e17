"""The socket object of an accepted connection.

`socket.socket` is a class written in Python: making one, asking for its family and closing it run through the
interpreter, which costs several times what the system calls do. A connection needs none of that, only the
methods in C below it. (A class of our own and not `_socket.socket` itself: `ssl` keeps a weak reference.)
"""

from __future__ import annotations

import _socket
import socket
from typing import Final, cast

_STREAM: Final = int(socket.SOCK_STREAM)
_Accepted: Final = type("_Accepted", (_socket.socket,), {"__module__": __name__})


def accepted(family: int, fd: int) -> socket.socket:
    """Return the non-blocking stream socket of the connection `fd`; it owns the descriptor."""
    sock = cast(socket.socket, _Accepted(family, _STREAM, 0, fd))
    sock.setblocking(False)
    return sock
