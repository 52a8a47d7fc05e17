"""`Transport.send_both`: head and body leave together, and what did not fit is known to the byte."""

from __future__ import annotations

import socket

import pytest

from portico.net.reactor import ClientFailed, Reactor
from portico.net.transport import Transport

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize("size", [0, 1, 8191, 8192, 100_000])
def test_as_much_as_fits_in_order(size: int) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    transport = Transport(Reactor(), near)
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    whole = HEAD + body
    got = b""
    sent = transport.send_both(HEAD, body)
    while True:
        assert 0 <= sent <= len(whole)
        far.setblocking(False)
        try:
            while True:
                got += far.recv(1 << 20)
        except BlockingIOError:
            pass
        assert got == whole[: len(got)] and len(got) == sent
        if sent == len(whole):
            break
        sent += transport.send(whole[sent:])
    near.close()
    far.close()


def test_nothing_when_there_is_no_room() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    transport = Transport(Reactor(), near)
    while transport.send(b"x" * 65536):
        pass
    assert transport.send_both(HEAD, b"x" * 10_000) == 0
    assert transport.send_both(HEAD, b"x") == 0
    far.close()
    with pytest.raises(ClientFailed):
        transport.send_both(HEAD, b"x" * 10_000)
    near.close()
