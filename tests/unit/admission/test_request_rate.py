"""The arithmetic of ngx_http_limit_req_module."""

from __future__ import annotations

import random

import pytest

from portico.admission.request_rate import RateLimit, RateSetting, RateZone
from portico.config.reader import Where
from portico.variables.template import Template
from portico.zones.states import COLUMNS, States
from portico.zones.table import SharedTable


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


def limit_of(rate: int, burst: int, delay: int = 0) -> RateLimit:
    zone = RateZone("z", 65536, Template("$arg_k", Where("", 0, 0)), rate, rate // 1000, 1)
    zone.states = States(SharedTable(64, COLUMNS))
    return RateLimit(RateSetting("z", burst * 1000, delay * 1000), zone)


@pytest.mark.parametrize(("rate", "burst"), [(10_000, 0), (10_000, 5), (166, 2), (1_000_000, 50)])
def test_as_nginx_counts(rate: int, burst: int) -> None:
    rng = random.Random(rate + burst)
    limit = limit_of(rate, burst)
    bucket = Bucket(rate, burst * 1000)
    now = 1_000_000
    for _ in range(3000):
        now += rng.choice((0, 0, 1, 3, 40, 150, 2000, -2, -70_000, 70_000))
        charge = limit.charge(b"k", now, True)
        assert (not charge.refused, charge.excess) == bucket.admits(now)


def test_waiting_is_what_has_to_leak_out() -> None:
    limit = limit_of(10_000, 5, 2)
    charges = [limit.charge(b"k", 1000, True) for _ in range(7)]
    assert [charge.wait() for charge in charges[:6]] == [0, 0, 0, 100, 200, 300]
    assert [charge.refused for charge in charges] == [False] * 6 + [True]


def test_asked_first_counted_later() -> None:
    limit = limit_of(10_000, 1)
    first, second = limit.charge(b"k", 1000, False), limit.charge(b"k", 1000, False)
    assert not first.refused and not second.refused
    limit.account(first, 1000)
    assert first.excess == 0
    limit.account(second, 1000)
    assert second.excess == 1000 and limit.charge(b"k", 1000, False).refused
    assert not limit.charge(b"k", 1100, False).refused


def test_what_was_admitted_stays_admitted_when_others_were_counted_in_between() -> None:
    limit = limit_of(10_000, 0)
    charge = limit.charge(b"k", 1000, False)
    limit.account(limit.charge(b"k", 1000, False), 1000)
    limit.account(charge, 1000)
    assert charge.excess > limit.burst and not charge.refused


def test_a_state_forgotten_in_between_begins_anew() -> None:
    limit = limit_of(10_000, 1)
    charge = limit.charge(b"k", 1000, False)
    for number in range(100):
        limit.charge(b"%d" % number, 1000, True)
    limit.account(charge, 1000)
    assert charge.excess == 0
