"""Which responses have a body, how HTTP/1 tells its end, and which connections serve another request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.http.loaded import Loaded

from portico.http.server.framing import BY_CHUNKS, BY_CLOSE, BY_LENGTH, framing_of, has_body, is_connection_kept
from portico.http.server.http1 import states


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        (b"GET", 200, True), (b"POST", 500, True), (b"HEAD", 200, False), (b"GET", 204, False), (b"GET", 304, False),
        (b"GET", 101, False), (b"GET", 103, False), (b"DELETE", 205, True),
    ],
)  # fmt: skip
def test_has_body(method: bytes, status: int, expected: bool) -> None:
    """RFC 9110 section 6.4.1."""
    assert has_body(method, status) is expected


@pytest.mark.parametrize(
    ("version", "length", "chunked", "expected"),
    [
        (11, 0, True, BY_LENGTH), (10, 5, True, BY_LENGTH), (11, -1, True, BY_CHUNKS), (10, -1, True, BY_CLOSE),
        (11, -1, False, BY_CLOSE),
    ],
)  # fmt: skip
def test_framing(version: int, length: int, chunked: bool, expected: int) -> None:
    """RFC 9112 section 6.3; `chunked_transfer_encoding`."""
    assert framing_of(version, length, chunked) == expected


SAFARI = b"User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Safari/605\r\n"
MSIE6 = b"User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    text = "keepalive_requests 10; location /safari { keepalive_disable safari; } location /never { keepalive_timeout 0; }"
    made = Loaded(f"server {{ listen 80; {text} }}", tmp_path_factory.mktemp("site"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("method", "location", "fields", "kept"),
    [
        (b"GET", "", b"", True),
        (b"GET", "/never", b"", False),
        (b"GET", "/safari", SAFARI, False),
        (b"GET", "", SAFARI, True),
        (b"POST", "", MSIE6, False),
        (b"GET", "", MSIE6, True),
        (b"POST", "/safari", MSIE6, True),
    ],
)
def test_connections_are_kept(site: Loaded, method: bytes, location: str, fields: bytes, kept: bool) -> None:
    request = site.request(method + b" / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n", location)
    assert is_connection_kept(request, site.client, request.location.core) is kept


def test_connections_that_are_not_kept(site: Loaded) -> None:
    request = site.request()
    core = request.location.core
    site.client.requests = 10
    assert not is_connection_kept(request, site.client, core)
    site.client.requests = 9
    assert is_connection_kept(request, site.client, core)
    request.keep_alive = False
    assert not is_connection_kept(request, site.client, core)
    request.keep_alive = True
    site.reactor.now += 3601.0  # keepalive_time is an hour
    assert not is_connection_kept(request, site.client, core)
    site.reactor.now -= 3601.0


def test_states_of_a_connection() -> None:
    """Every state can be reached from the first, and every one can end."""
    reached = {states.IDLE}
    for _ in states.NAMES:
        reached |= {to for to in range(len(states.NAMES)) for state in reached if states.may_follow(state, to)}
    assert reached == set(range(len(states.NAMES))) and len(states.FOLLOWING) == len(states.NAMES)
    assert all(states.may_follow(state, states.CLOSED) for state in reached)
    assert not states.may_follow(states.LINGERING, states.IDLE) and not states.may_follow(states.TUNNEL, states.SERVING)
    assert not states.may_follow(states.CLOSED, states.IDLE)
