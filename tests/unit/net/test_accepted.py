"""The socket objects of accepted connections."""

from __future__ import annotations

import socket
import weakref

import pytest

from portico.net.accepted import accepted


def test_it_is_the_connection_and_does_not_block() -> None:
    left, right = socket.socketpair()
    with right:
        sock = accepted(socket.AF_UNIX, left.detach())
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        right.sendall(b"x")
        assert sock.recv(1) == b"x"
        assert weakref.ref(sock)() is sock  # `ssl` needs it
        sock.close()
        assert sock.fileno() == -1
        assert right.recv(1) == b""
