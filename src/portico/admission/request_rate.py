"""Rate limiting: a leaky bucket for each key. (nginx: ngx_http_limit_req_module.c, whose arithmetic this is.)

The bucket's `excess` is counted in thousandths of a request and leaks at the configured rate; each request adds 1000. A request with
which it would be more than `burst` is refused, one with which it is more than `delay` waits until it has leaked down to that.

`RateLimit` belongs to the plan and is only read; what one request comes to is a `Charge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.admission.limits import LimitZone, zone_and_size
from portico.config import values
from portico.config.reader import Argument, Statement
from portico.variables.template import Template, template
from portico.zones.states import States, fingerprint

if TYPE_CHECKING:
    from portico.variables.session import Session

_NO_DELAY: Final = 1 << 53  # more than any excess
_LONG_AGO: Final = -(1 << 40)  # milliseconds
_SKEW: Final = -60000


@final
class RateZone(LimitZone):
    """One `limit_req_zone`; `states` are there once its memory is."""

    def __init__(self, name: str, size: int, key: Template, rate: int, quota: int, window: int) -> None:
        super().__init__(name, size, key)
        self.rate = rate  # thousandths of a request per second
        self.quota = quota  # the rate as written: so many requests
        self.window = window  # in so many seconds
        self.states: States | None = None


def _rate(statement: Statement, argument: Argument) -> tuple[int, int]:
    """Return a number of requests, and the seconds that they are for."""
    text = argument.text[5:]
    window = 60 if text.endswith("r/m") else 1
    count = values.number_of(text[:-3] if text.endswith(("r/s", "r/m")) else text)
    if not count:
        raise statement.fail(f'invalid rate "{argument.text}"', argument, "as in rate=10r/s or rate=30r/m")
    return count, window


def parse_rate_zone(statement: Statement) -> RateZone:
    """Return a `limit_req_zone`; the directive's parser. Raises ConfigError."""
    name, size, rate, window = "", 0, 1, 1
    for argument in statement.args[1:]:
        if argument.text.startswith("zone="):
            name, size = zone_and_size(statement, argument)
        elif argument.text.startswith("rate="):
            rate, window = _rate(statement, argument)
        else:
            raise statement.fail(f'invalid parameter "{argument.text}"', argument)
    if not name:
        raise statement.fail('"limit_req_zone" must have "zone" parameter')
    return RateZone(name, size, template(statement), rate * 1000 // window, rate, window)


@final
class RateSetting:
    """One `limit_req` as written; `burst` and `delay` in thousandths of a request."""

    def __init__(self, zone: str, burst: int, delay: int) -> None:
        self.zone = zone
        self.burst = burst
        self.delay = delay


def parse_rate_limit(statement: Statement) -> RateSetting:
    """Return a `limit_req`; the directive's parser. Raises ConfigError."""
    zone, burst, delay = "", 0, 0
    for argument in statement.args:
        name, equals, text = argument.text.partition("=")
        if name == "zone" and equals:
            zone = text
        elif name == "burst" and equals:
            burst = _positive(statement, argument, text)
        elif name == "delay" and equals:
            delay = _positive(statement, argument, text)
        elif argument.text == "nodelay":
            delay = _NO_DELAY
        else:
            raise statement.fail(f'invalid parameter "{argument.text}"', argument)
    if not zone:
        raise statement.fail('"limit_req" must have "zone" parameter')
    return RateSetting(zone, burst * 1000, min(delay * 1000, _NO_DELAY))


def _positive(statement: Statement, argument: Argument, text: str) -> int:
    number = values.number_of(text)
    if not number:
        raise statement.fail(f'invalid {argument.text.partition("=")[0]} value "{argument.text}"', argument)
    return min(number, _NO_DELAY)


@final
class Charge:
    """What one request came to at one limit."""

    def __init__(self, limit: RateLimit, first: int, second: int, excess: int, account: bool) -> None:
        self.limit = limit
        self.first = first  # its key
        self.second = second
        self.excess = excess
        self.refused = excess > limit.burst  # stays as it is though `account` may find another excess
        self.counted = account and not self.refused  # in the zone; else `RateLimit.account` has to do it

    def wait(self) -> int:
        """Return how long the request has to wait, in milliseconds."""
        limit = self.limit
        return 0 if self.excess <= limit.delay else (self.excess - limit.delay) * 1000 // limit.rate


@final
class RateLimit:
    """One `limit_req` at work."""

    def __init__(self, setting: RateSetting, zone: RateZone) -> None:
        assert zone.states is not None
        self.name = zone.name
        self.states: States = zone.states
        self.key = zone.key
        self.rate = zone.rate
        self.quota = zone.quota
        self.window = zone.window
        self.burst = setting.burst
        self.delay = setting.delay

    def charge(self, key: bytes, now: int, account: bool) -> Charge:
        """Return what the request of this key comes to at `now` ms; with `account` it is counted when it is admitted.

        (ngx_http_limit_req_lookup.)
        """
        first, second = fingerprint(key)
        states = self.states
        states.enter()
        try:
            slot = states.find(first, second)
            if slot == 0:
                states.add(first, second, now if account else _LONG_AGO, 0)
                return Charge(self, first, second, 0, account)
            passed = _elapsed(now - states.last)
            excess = self._excess(states.excess, passed)
            charge = Charge(self, first, second, excess, account)
            if account and not charge.refused:
                states.put(slot, now if passed else states.last, excess)
            return charge
        finally:
            states.leave()

    def account(self, charge: Charge, now: int) -> None:
        """Count the request that was admitted without being counted: every limit admits it (ngx_http_limit_req_account)."""
        states = self.states
        charge.counted = True
        states.enter()
        try:
            slot = states.find(charge.first, charge.second)
            if slot == 0:  # forgotten meanwhile: the zone is far too small
                charge.excess = 0
                states.add(charge.first, charge.second, now, 0)
                return
            passed = _elapsed(now - states.last)
            charge.excess = self._excess(states.excess, passed)
            states.put(slot, now if passed else states.last, charge.excess)
        finally:
            states.leave()

    def _excess(self, before: int, passed: int) -> int:
        """Return the bucket's excess with one more request, `passed` ms after it was `before`."""
        excess = before - self.rate * passed // 1000 + 1000
        return excess if excess > 0 else 0


def _elapsed(ms: int) -> int:
    """Return the milliseconds that have passed: workers read the clock at different moments; a clock far ahead is a mistake."""
    if ms >= 0:
        return ms
    return 1 if ms < _SKEW else 0


def charge_all(session: Session, limits: list[RateLimit], now: int) -> list[Charge]:
    """Count the session at `now` ms. Returns what it came to at each limit that has a key for it.

    When the last charge is refused, the session is refused and counted nowhere, and later limits were not asked.
    """
    charges: list[Charge] = []
    last = len(limits) - 1
    for index in range(len(limits)):
        limit = limits[index]
        key = limit.key.render(session)
        if not key:
            continue
        charge = limit.charge(key, now, index == last)  # the last one is counted at once, those before it when that one admits
        charges.append(charge)
        if charge.refused:
            return charges
    for index in range(len(charges) - 1, -1, -1):
        charge = charges[index]
        if not charge.counted:
            charge.limit.account(charge, now)
    return charges


def strictest(charges: list[Charge]) -> Charge:
    """Return the charge for which an admitted session has to wait longest; the last one where none has to wait longer."""
    found = charges[-1]
    for index in range(len(charges) - 2, -1, -1):
        if charges[index].wait() > found.wait():
            found = charges[index]
    return found
