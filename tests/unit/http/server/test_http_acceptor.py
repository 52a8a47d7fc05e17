"""An accepted socket becomes a client and a connection of the listener for its address."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from tests.processes import free_port
from tests.unit.worker.served import Logged

from portico.net.reactor import Reactor, new_loop
from portico.program import Source, load_program
from portico.worker.runtime import Runtime


@pytest.mark.parametrize(("address", "server"), [("127.0.0.1", b"any 127.0.0.1"), ("127.0.0.2", b"two 127.0.0.2")])
def test_a_wildcard_socket_serves_the_addresses_of_its_port(tmp_path: Path, address: str, server: bytes) -> None:
    port = free_port()
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        f"events {{}} http {{ server {{ listen {port}; return 200 'any $server_addr'; }}"
        f" server {{ listen 127.0.0.2:{port}; return 200 'two $server_addr'; }} }}"
    )
    (service,) = load_program(Source(f"{tmp_path}/", str(conf), "", ""), None).services
    (spec,) = service.specs
    reactor = Reactor()
    loop = new_loop(reactor)
    runtime = Runtime(reactor, Logged(tmp_path).log, 10, 0)
    with socket.create_server(("", 0)) as bound:
        listening = service.listen(runtime, spec, bound, False)
        listening.open()
        with socket.create_connection((address, bound.getsockname()[1])) as client:
            client.settimeout(5.0)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            loop.run_until_complete(asyncio.sleep(0.05))
            assert client.recv(999).endswith(server)
        assert runtime.accepted == 1 and runtime.requests == 1 and runtime.connections == {}
        listening.close()
    runtime.close()
    loop.close()
