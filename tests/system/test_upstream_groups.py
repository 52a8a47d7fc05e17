"""Groups over several workers, and names that have no address yet."""

from __future__ import annotations

import http.client
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.processes import wait_until
from tests.system.private_machine import PrivateMachine
from tests.system.proxied import End, Proxied, answer, running

# -- one state for two workers

GROUPS = """
    upstream counted { zone counted 64k; server @counted@ max_conns=1; }
    upstream failing { zone failing 64k; server @deadone@ max_fails=1 fail_timeout=1h; server @alive@; }
    upstream turns { zone turns 64k; server @first@; server @second@; server @third@; }
"""
LOCATIONS = {
    "counted": "proxy_pass http://counted;",
    "failing": "proxy_pass http://failing;",
    "turns": "proxy_pass http://turns;",
    "worker": 'return 200 "$pid";',
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Proxied]:
    """Two workers, each listening on a socket of its own, so that the kernel spreads connections over both."""
    with running(Proxied(LOCATIONS, http=GROUPS, workers=2, listen="reuseport")) as made:
        yield made


def _of_both_workers(proxy: Proxied, stack: ExitStack) -> list[End]:
    """A kept connection to each of the two workers."""
    found: dict[bytes, End] = {}

    def both() -> bool:
        end = stack.enter_context(proxy.get("/worker/"))
        found.setdefault(end.response().body, end)
        return len(found) == 2

    wait_until(both, what="a connection to each worker")
    return list(found.values())


def _ask(end: End, target: str) -> End:
    return end.send(f"GET {target} HTTP/1.1\r\nHost: front.example\r\n\r\n".encode())


def test_max_conns_counts_in_both(shared: Proxied) -> None:
    with ExitStack() as stack:
        one, two = _of_both_workers(shared, stack)
        _ask(one, "/counted/")
        upstream = shared.accept("counted")
        upstream.request()
        assert _ask(two, "/counted/").response().status == 502
        upstream.send(answer(b"done"))
        assert one.response().body == b"done"
        upstream.close()
        _ask(two, "/counted/")
        again = shared.accept("counted")
        again.request()
        again.send(answer(b"two"))
        assert two.response().body == b"two"


def test_failures_count_in_both(shared: Proxied) -> None:
    shared.upstream("alive").serve(lambda end, request: end.send(answer(b"alive")) and None)
    with ExitStack() as stack:
        one, two = _of_both_workers(shared, stack)
        while "deadone" not in shared.log() and "Connection refused" not in shared.log():
            assert _ask(one, "/failing/").response().body == b"alive"
        refused = shared.log().count("Connection refused")
        for end in (one, two) * 10:
            assert _ask(end, "/failing/").response().body == b"alive"
        assert shared.log().count("Connection refused") == refused == 1


def test_turns_are_taken_over_both(shared: Proxied) -> None:
    counts: Counter[str] = Counter()
    for name in ("first", "second", "third"):
        shared.upstream(name).serve(lambda end, request, name=name: end.send(answer(name.encode())) and None)  # type: ignore[misc]
    with ExitStack() as stack:
        ends = _of_both_workers(shared, stack)
        for number in range(30):
            counts[_ask(ends[number % 2], "/turns/").response().body.decode()] += 1
    assert counts == {"first": 10, "second": 10, "third": 10}


# -- names

NAMES = """
error_log /run/error.log info;
pid /run/portico.pid;
events {}
http {
    access_log off;
    upstream later { server later.test:8001; server other.test:8001 backup; }
    server {
        listen 80;
        location / { proxy_pass http://later; }
        location /direct/ { proxy_pass http://later.test:8001; }
        location /ping { return 200 pong; }
    }
}
"""


def _fetch(machine: PrivateMachine, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
    connection.sock = machine.connect(80)
    try:
        connection.request("GET", path, headers={"Host": "x"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_name_that_resolves_later_is_served_later(tmp_path: Path) -> None:
    with PrivateMachine(tmp_path) as machine:
        machine.write("/etc/portico/nginx.conf", NAMES)
        process = machine.start(sys.executable, "-m", "portico", ports=(80,))
        assert 'host not found in upstream "later.test:8001"' in process.output()
        assert _fetch(machine, "/ping") == (200, b"pong")
        assert _fetch(machine, "/")[0] == 502
        assert _fetch(machine, "/direct/")[0] == 502
        machine.write("/run/www/index.html", "found")
        machine.write("/run/www/direct/index.html", "found directly")
        machine.start(sys.executable, "-m", "http.server", "8001", "--directory", "/run/www", ports=(8001,))
        hosts = machine.path("/etc/hosts")
        hosts.write_text(hosts.read_text() + "127.0.0.1 later.test\n")
        wait_until(lambda: _fetch(machine, "/") == (200, b"found"), 20, "an answer of the name that is there now")
        wait_until(lambda: _fetch(machine, "/direct/") == (200, b"found directly"), 20, "the same without a group")
