"""`reset_timedout_connection`: how a connection ends whose client takes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.system.proxied import Proxied, answer, pattern, running

LOCATIONS = {
    "reset": "send_timeout 400ms; reset_timedout_connection on;",
    "closed": "send_timeout 400ms;",
    "return": "return 444;",
    "returnreset": "reset_timedout_connection on; return 444;",
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS)) as made:
        yield made


def _is_reset(proxy: Proxied, name: str, content: bytes = b"") -> bool:
    """Whether the connection of a client that reads late ends with a reset."""
    with proxy.get(f"/{name}/", receive_buffer=4096) as client:
        if content:
            upstream = proxy.accept(name)
            upstream.request()
            upstream.send(answer(content))
            proxy.await_log("send_timeout")
            proxy.await_access(f"/{name}/")
        try:
            while client.sock.recv(1 << 20):
                pass
        except ConnectionResetError:
            return True
        return False


@pytest.mark.parametrize(("name", "wanted"), [("reset", True), ("closed", False)])
def test_after_send_timeout(proxy: Proxied, name: str, wanted: bool) -> None:
    assert _is_reset(proxy, name, pattern(4_000_000)) is wanted


@pytest.mark.parametrize(("name", "wanted"), [("returnreset", True), ("return", False)])
def test_return_444(proxy: Proxied, name: str, wanted: bool) -> None:
    assert _is_reset(proxy, name) is wanted
