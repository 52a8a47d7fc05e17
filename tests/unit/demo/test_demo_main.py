"""`python -m portico.demo NAME PORT`: what it says of a wrong command line or a port in use, and when it ends."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
from tests.processes import free_port, wait_until

from portico.demo.__main__ import main


@pytest.fixture
def stdin_writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Put a pipe in the place of the standard input; the other end, which the fixture's user closes."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield writing


@pytest.mark.parametrize("words", [[], ["one"], ["one", "two"], ["one", "-1"], ["one", "80", "more"]])
def test_a_wrong_command_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == "usage: python -m portico.demo NAME PORT\n"


def test_a_port_in_use(stdin_writer: int, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["one", str(port)]) == 1
    os.close(stdin_writer)
    assert capsys.readouterr().err == f"portico.demo: one cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_it_serves_until_its_standard_input_ends(stdin_writer: int) -> None:
    port = free_port()
    received: list[bytes] = []

    def client() -> None:
        try:
            with wait_until(lambda: _connected(port), what="the application listens") as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                received.append(sock.recv(1 << 16))
        finally:
            os.close(stdin_writer)

    thread = threading.Thread(target=client)
    thread.start()
    assert main(["one", str(port)]) == 0
    thread.join()
    assert received[0].startswith(b"HTTP/1.1 200 ")
    assert _connected(port) is None


def _connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=10)
    except ConnectionRefusedError:
        return None
