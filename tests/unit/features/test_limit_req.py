"""What is wrong with a limit is said when the configuration is loaded; and the arithmetic of ngx_http_limit_req_module."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from portico.config.reader import Where
from portico.features.limit_req import Limit, RequestLimit, Zone
from portico.program import Source, load_program
from portico.supervisor.plan import LoadFailed
from portico.variables.template import Template
from portico.zones.states import COLUMNS, States
from portico.zones.table import SharedTable

REQ = "limit_req_zone $arg_k zone=z:1m rate=1r/s;"
CONN = "limit_conn_zone $arg_k zone=c:1m;"


def mistakes(folder: Path, text: str) -> list[str]:
    """What loading says against `text` inside `http {}`."""
    conf = folder / "portico.conf"
    conf.write_text(f"error_log {folder}/error.log; events {{}} http {{ access_log off; {text} }}")
    try:
        load_program(Source(f"{folder}/", str(conf), "", ""), None)
    except LoadFailed as failed:
        return [error.message for error in failed.diagnostics.errors]
    return []


def in_location(text: str) -> str:
    return f"server {{ listen 127.0.0.1:8080; location / {{ {text} }} }}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limit_req_zone $uri zone=z rate=1r/s;", 'invalid zone size "zone=z"'),
        ("limit_req_zone $uri zone=z:1x rate=1r/s;", 'invalid zone size "zone=z:1x"'),
        ("limit_req_zone $uri zone=z:31k rate=1r/s;", 'zone "zone=z:31k" is too small'),
        ("limit_req_zone $uri zone=:1m rate=1r/s;", '"limit_req_zone" must have "zone" parameter'),
        ("limit_req_zone $uri rate=1r/s rate=1r/s;", '"limit_req_zone" must have "zone" parameter'),
        ("limit_req_zone $uri zone=z:1m rate=0r/s;", 'invalid rate "rate=0r/s"'),
        ("limit_req_zone $uri zone=z:1m rate=-1r/s;", 'invalid rate "rate=-1r/s"'),
        ("limit_req_zone $uri zone=z:1m rate=1r/h;", 'invalid rate "rate=1r/h"'),
        ("limit_req_zone $uri zone=z:1m burst=1;", 'invalid parameter "burst=1"'),
        ("limit_req_zone $none zone=z:1m rate=1r/s;", 'unknown "none" variable'),
        (REQ + REQ, 'limit_req_zone "z" is already bound to key "$arg_k"'),
        (
            REQ + "limit_req_zone $arg_k zone=z:2m rate=1r/s;",
            'the size 2097152 of shared memory zone "z" conflicts with already declared size 1048576',
        ),
        (REQ + "limit_conn_zone $arg_k zone=z:1m;", 'the shared memory zone "z" is already declared for a different use'),
        (REQ + in_location("limit_req burst=1;"), '"limit_req" must have "zone" parameter'),
        (REQ + in_location("limit_req zone=z burst=0;"), 'invalid burst value "burst=0"'),
        (REQ + in_location("limit_req zone=z delay=x;"), 'invalid delay value "delay=x"'),
        (REQ + in_location("limit_req zone=z now;"), 'invalid parameter "now"'),
        (REQ + in_location("limit_req zone=other;"), 'zero size shared memory zone "other"'),
        (REQ + CONN + in_location("limit_req zone=c;"), 'the shared memory zone "c" is already declared for a different use'),
        (REQ + in_location("limit_req zone=z; limit_req zone=z burst=2;"), '"limit_req" directive is duplicate'),
        (REQ + in_location("limit_req_status 399;"), '"limit_req_status" directive value must be equal to or greater than 400'),
        (REQ + in_location("limit_req_status 600;"), '"limit_req_status" directive value must be equal to or less than 599'),
        (REQ + in_location("limit_req_log_level crit;"), 'invalid value "crit"'),
        ("limit_conn_zone $uri zone=c;", 'invalid zone size "zone=c"'),
        ("limit_conn_zone $uri rate=1;", 'invalid parameter "rate=1"'),
        ("limit_conn_zone $uri zone=:1m;", '"limit_conn_zone" must have "zone" parameter'),
        (CONN + CONN, 'limit_conn_zone "c" is already bound to key "$arg_k"'),
        (CONN + in_location("limit_conn c 0;"), 'invalid number of connections "0"'),
        (CONN + in_location("limit_conn c 65536;"), "connection limit must be less 65536"),
        (CONN + in_location("limit_conn other 1;"), 'zero size shared memory zone "other"'),
        (CONN + in_location("limit_conn c 1; limit_conn c 2;"), '"limit_conn" directive is duplicate'),
        (CONN + in_location("limit_conn_status 200;"), '"limit_conn_status" directive value must be equal to or greater than 400'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes(tmp_path, text) == [expected]


def test_no_mistakes(tmp_path: Path) -> None:
    text = REQ + CONN + in_location("limit_req zone=z burst=5 delay=2; limit_conn c 65535; limit_req_status 599;")
    assert mistakes(tmp_path, text) == []


# -- the arithmetic


class Bucket:
    """ngx_http_limit_req_lookup and _account for one key, in integers."""

    def __init__(self, rate: int, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.excess = -1
        self.last = 0

    def admits(self, now: int) -> tuple[bool, int]:
        if self.excess < 0:
            self.excess, self.last = 0, now
            return True, 0
        ms = now - self.last
        ms = 1 if ms < -60000 else max(ms, 0)
        excess = max(0, self.excess - self.rate * ms // 1000 + 1000)
        if excess > self.burst:
            return False, excess
        self.excess = excess
        if ms:
            self.last = now
        return True, excess


def limit_of(rate: int, burst: int, delay: int = 0) -> RequestLimit:
    zone = Zone("z", 65536, Template("$arg_k", Where("", 0, 0)), rate, rate // 1000, 1)
    zone.states = States(SharedTable(64, COLUMNS))
    return RequestLimit(Limit("z", burst * 1000, delay * 1000), zone)


@pytest.mark.parametrize(("rate", "burst"), [(10_000, 0), (10_000, 5), (166, 2), (1_000_000, 50)])
def test_as_nginx_counts(rate: int, burst: int) -> None:
    rng = random.Random(rate + burst)
    limit = limit_of(rate, burst)
    bucket = Bucket(rate, burst * 1000)
    now = 1_000_000
    for _ in range(3000):
        now += rng.choice((0, 0, 1, 3, 40, 150, 2000, -2, -70_000, 70_000))
        assert (limit.admits(b"k", now, True), limit.excess()) == bucket.admits(now)


def test_waiting_is_what_has_to_leak_out() -> None:
    limit = limit_of(10_000, 5, 2)
    waits = []
    for _ in range(6):
        assert limit.admits(b"k", 1000, True)
        waits.append(limit.wait())
    assert waits == [0, 0, 0, 100, 200, 300] and not limit.admits(b"k", 1000, True)


def test_asked_first_counted_later() -> None:
    limit = limit_of(10_000, 1)
    assert limit.admits(b"k", 1000, False) and limit.admits(b"k", 1000, False)
    limit.account(1000)
    assert limit.excess() == 0 and limit.admits(b"k", 1000, False)
    limit.account(1000)
    assert limit.excess() == 1000 and not limit.admits(b"k", 1000, False)
    assert limit.admits(b"k", 1100, False)


def test_a_state_forgotten_in_between_begins_anew() -> None:
    limit = limit_of(10_000, 1)
    assert limit.admits(b"k", 1000, False)
    first, second = limit.states.first, limit.states.second
    for number in range(100):
        limit.admits(b"%d" % number, 1000, True)
    limit.states.first, limit.states.second = first, second
    limit.account(1000)
    assert limit.excess() == 0
