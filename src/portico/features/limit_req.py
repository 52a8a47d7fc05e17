"""`limit_req`: how many requests a second. (nginx: ngx_http_limit_req_module.c, whose arithmetic this is.)

A leaky bucket for each key. Its `excess` is counted in thousandths of a request and leaks at the configured rate; each request adds
1000. A request with which it would be more than `burst` is refused, one with which it is more than `delay` waits until it has leaked
down to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope, Setting
from portico.config.reader import Argument, Statement
from portico.errorlog import ERR, INFO
from portico.http.errors import HTTPError
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import PREACCESS, Handler, HeaderFilter
from portico.http.limits import LEVELS, declare_zone, status, unknown_zone, zone_and_size
from portico.http.waiting import pause
from portico.http.zones import open_zone
from portico.variables.template import PER_REQUEST, Template, Variable, template
from portico.zones.states import COLUMNS, States, fingerprint

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response

_ALL: Final = HTTP | SERVER | LOCATION
_LONGEST_KEY: Final = 65535
_NO_DELAY: Final = 1 << 53  # more than any excess
_LONG_AGO: Final = -(1 << 40)  # milliseconds
_SKEW: Final = -60000

STATUS: Final = "limit_req_status"  # in Request.values: the variable, and that the request has been counted
_POLICY: Final = "limit_req policy"  # no variable can have these names
_STATE: Final = "limit_req state"
_RETRY: Final = "limit_req retry"

PASSED: Final = b"PASSED"
DELAYED: Final = b"DELAYED"
REJECTED: Final = b"REJECTED"
_DRY: Final = b"_DRY_RUN"


# -- reading the directives


@final
class Zone:
    """One `limit_req_zone`; `states` are there once its memory is."""

    def __init__(self, name: str, size: int, key: Template, rate: int, quota: int, window: int) -> None:
        self.name = name
        self.size = size
        self.key = key
        self.rate = rate  # thousandths of a request per second
        self.quota = quota  # the rate as written: so many requests
        self.window = window  # in so many seconds
        self.states: States | None = None


def _rate(statement: Statement, argument: Argument) -> tuple[int, int]:
    """Requests, and the seconds that they are for."""
    text = argument.text[5:]
    window = 60 if text.endswith("r/m") else 1
    count = values.number_of(text[:-3] if text.endswith(("r/s", "r/m")) else text)
    if not count:
        raise statement.fail(f'invalid rate "{argument.text}"', argument, "as in rate=10r/s or rate=30r/m")
    return count, window


def _zone(statement: Statement) -> Zone:
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
    return Zone(name, size, template(statement), rate * 1000 // window, rate, window)


@final
class Limit:
    """One `limit_req` as written; `burst` and `delay` in thousandths of a request."""

    def __init__(self, zone: str, burst: int, delay: int) -> None:
        self.zone = zone
        self.burst = burst
        self.delay = delay


def _limit(statement: Statement) -> Limit:
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
    return Limit(zone, burst * 1000, min(delay * 1000, _NO_DELAY))


def _positive(statement: Statement, argument: Argument, text: str) -> int:
    number = values.number_of(text)
    if not number:
        raise statement.fail(f'invalid {argument.text.partition("=")[0]} value "{argument.text}"', argument)
    return min(number, _NO_DELAY)


LIMIT_REQ_ZONE: Final = Directive[Zone | None](
    "limit_req_zone", HTTP, _zone, args="3", default=None, many=True,
    syntax="KEY zone=NAME:SIZE rate=RATE",
    doc="Memory, shared by all workers, for the states of `limit_req`: one for each value of KEY (a text with variables; requests "
    "for which it is empty are not counted). RATE is in requests per second (`10r/s`) or minute (`30r/m`). A megabyte holds "
    "16,000 states, whatever the length of the keys; when it is full, the one used longest ago is forgotten. A reload keeps "
    "the states of a zone with the same size and key.",
    example="limit_req_zone $binary_remote_addr zone=perclient:10m rate=10r/s;",
)
LIMIT_REQ: Final = Directive[Limit | None](
    "limit_req", _ALL, _limit, args="1-3", default=None, many=True,
    syntax="zone=NAME [burst=NUMBER] [nodelay | delay=NUMBER]",
    doc="Limits requests to the rate of the zone. Up to `burst` (0) requests too many are accepted, but wait until their turn "
    "comes; with `nodelay` they do not wait, with `delay=NUMBER` only those beyond that number do. More than that are "
    "refused. Several limits may stand side by side: the strictest decides.",
    example="limit_req_zone $binary_remote_addr zone=perclient:1m rate=10r/s; server { limit_req zone=perclient burst=20 delay=8; }",
)
LIMIT_REQ_STATUS: Final = Directive[int](
    "limit_req_status", _ALL, status, args="1", default=503, default_text="503", syntax="CODE",
    doc="The status of refused requests, 400 to 599.",
    example="limit_req_status 429;",
)
LIMIT_REQ_LOG_LEVEL: Final = Directive[int](
    "limit_req_log_level", _ALL, values.choice(LEVELS), args="1", default=ERR, default_text="error",
    syntax="info | notice | warn | error",
    doc="The level at which refused requests are logged. That a request is delayed is logged one level less severe.",
    example="limit_req_log_level warn;",
)
LIMIT_REQ_DRY_RUN: Final = Directive[bool](
    "limit_req_dry_run", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="Counts and logs, but neither delays nor refuses.",
    example="limit_req_dry_run on;",
)
LIMIT_REQ_HEADERS: Final = Directive[bool](
    "limit_req_headers", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off", beyond=True,
    doc="Tells clients where they stand, in the fields of the IETF's draft-ietf-httpapi-ratelimit-headers: `RateLimit-Policy` "
    "(for each zone the requests `q` in `w` seconds, and the burst), `RateLimit` (how many requests may come at once now, "
    "`r`, and the seconds after which all of them may again, `t`), and, when a request is refused, `Retry-After`. A dry run "
    "says nothing.",
    example="limit_req_headers on;",
)


# -- what a request meets


@final
class RequestLimit:
    """One `limit_req`. What it knows of the request that it was asked about last stands in `states`, which are the worker's."""

    def __init__(self, limit: Limit, zone: Zone) -> None:
        assert zone.states is not None
        self.name = zone.name
        self.states: States = zone.states
        self.key = zone.key
        self.rate = zone.rate
        self.burst = limit.burst
        self.delay = limit.delay
        burst = b";burst=%d" % (limit.burst // 1000) if limit.burst else b""
        self.quoted: bytes = b'"%b"' % zone.name.encode("ascii", "replace").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        self.policy: bytes = b"%b;q=%d;w=%d%b" % (self.quoted, zone.quota, zone.window, burst)

    def admits(self, key: bytes, now: int, account: bool) -> bool:
        """Return whether the request of this key, at `now` ms, may pass; count it if `account` (ngx_http_limit_req_lookup)."""
        first, second = fingerprint(key)
        states = self.states
        states.enter()
        try:
            slot = states.find(first, second)
            if slot == 0:
                states.excess = 0
                states.add(first, second, now if account else _LONG_AGO, 0)
                return True
            passed = _elapsed(now - states.last)
            excess = states.excess - self.rate * passed // 1000 + 1000
            if excess < 0:
                excess = 0
            states.excess = excess
            if excess > self.burst:
                return False
            if account:
                states.put(slot, now if passed else states.last, excess)
            return True
        finally:
            states.leave()

    def account(self, now: int) -> None:
        """Count the request that was admitted without being counted: every limit admits it (ngx_http_limit_req_account)."""
        states = self.states
        states.enter()
        try:
            slot = states.find(states.first, states.second)
            if slot == 0:  # forgotten meanwhile: the zone is far too small
                states.excess = 0
                states.add(states.first, states.second, now, 0)
                return
            passed = _elapsed(now - states.last)
            excess = states.excess - self.rate * passed // 1000 + 1000
            if excess < 0:
                excess = 0
            states.excess = excess
            states.put(slot, now if passed else states.last, excess)
        finally:
            states.leave()

    def wait(self) -> int:
        """Return how long the request has to wait, in milliseconds."""
        excess = self.states.excess
        return 0 if excess <= self.delay else (excess - self.delay) * 1000 // self.rate

    def excess(self) -> int:
        """Return how far the request is beyond the rate, in thousandths of a request."""
        return self.states.excess


def _elapsed(ms: int) -> int:
    """Workers read the clock at different moments; a clock far ahead is a mistake."""
    if ms >= 0:
        return ms
    return 1 if ms < _SKEW else 0


@final
class LimitReqHandler(Handler):
    """The limits of one location."""

    def __init__(self, limits: list[RequestLimit], status: int, level: int, dry_run: bool, tells: bool) -> None:
        self.is_async = not dry_run and any(limit.burst > limit.delay for limit in limits)
        self.limits = limits
        self.count = len(limits)
        self.status = status
        self.level = level
        self.delay_level = level if level == INFO else level + 1
        self.dry_run = dry_run
        self.tells = tells and not dry_run

    def handle(self, request: Request) -> Response | None:
        self._delay(request)
        return None

    async def handle_async(self, request: Request) -> Response | None:
        delay = self._delay(request)
        if delay:
            await pause(request, delay / 1000.0)
        return None

    def describe(self) -> str:
        return "limit_req " + ", ".join([limit.name for limit in self.limits])

    def _delay(self, request: Request) -> int:
        """Count the request: the milliseconds it has to wait. Raises HTTPError. Once for each request, however often redirected."""
        noted = request.values
        if noted is None:
            request.values = noted = {}
        elif STATUS in noted:
            return 0
        now = int(request.reactor.now * 1000.0)
        last = self.count - 1
        counted: RequestLimit | None = None  # the last limit, counted at once
        waiting: list[RequestLimit] = []  # those before it, counted when the last one admits the request
        for index in range(self.count):
            limit = self.limits[index]
            key = limit.key.render(request)
            if not key:
                continue
            if len(key) > _LONGEST_KEY:
                self._too_long(request, limit, key)
                continue
            if not limit.admits(key, now, index == last):
                return self._refuse(request, noted, limit, waiting)
            if index == last:
                counted = limit
            else:
                waiting.append(limit)
        if counted is None and not waiting:
            return 0
        return self._admit(request, noted, counted, waiting, now)

    def _admit(
        self, request: Request, noted: dict[str, bytes | None], counted: RequestLimit | None, waiting: list[RequestLimit], now: int
    ) -> int:
        strictest = counted
        delay = 0 if counted is None else counted.wait()
        if waiting:
            for limit in reversed(waiting):
                limit.account(now)
                wait = limit.wait()
                if wait > delay:
                    delay = wait
                    strictest = limit
        if self.tells:
            _tell(noted, waiting if counted is None else [*waiting, counted], None)
        if delay == 0 or strictest is None:
            noted[STATUS] = PASSED
            return 0
        dry = ", dry run" if self.dry_run else ""
        excess = strictest.excess()
        request.log_error(
            self.delay_level,
            f'delaying request{dry}, excess: {excess // 1000}.{excess % 1000:03d}, by zone "{strictest.name}"',
        )
        noted[STATUS] = DELAYED + _DRY if self.dry_run else DELAYED
        return delay

    def _refuse(
        self, request: Request, noted: dict[str, bytes | None], limit: RequestLimit, before: list[RequestLimit]
    ) -> int:
        dry = ", dry run" if self.dry_run else ""
        excess = limit.excess()
        reason = f'limiting requests{dry}, excess: {excess // 1000}.{excess % 1000:03d} by zone "{limit.name}"'
        if self.dry_run:
            request.log_error(self.level, reason)
            noted[STATUS] = REJECTED + _DRY
            return 0
        noted[STATUS] = REJECTED
        if self.tells:
            _tell(noted, [*before, limit], limit)
        raise HTTPError(self.status, reason, self.level)

    def _too_long(self, request: Request, limit: RequestLimit, key: bytes) -> None:
        shown = key.decode("utf-8", "backslashreplace")
        request.log_error(ERR, f'the value of the "{limit.key.text}" key is more than 65535 bytes: "{shown}"')


# -- limit_req_headers


def _tell(noted: dict[str, bytes | None], limits: list[RequestLimit], refusing: RequestLimit | None) -> None:
    """Note what the fields are to say (draft-ietf-httpapi-ratelimit-headers section 3 and 4)."""
    states: list[bytes] = []
    for limit in limits:
        excess = limit.excess()
        left = 0 if limit is refusing else max(0, (limit.burst - excess) // 1000)
        if limit is not refusing:
            excess += 1000
        states.append(b"%b;r=%d;t=%d" % (limit.quoted, left, _seconds(excess, limit.rate)))
    noted[_POLICY] = b", ".join([limit.policy for limit in limits])
    noted[_STATE] = b", ".join(states)
    if refusing is not None:
        noted[_RETRY] = b"%d" % _seconds(refusing.excess() - refusing.burst, refusing.rate)


def _seconds(excess: int, rate: int) -> int:
    """In how many whole seconds so much leaks out."""
    return -(-excess // rate)


@final
class LimitReqFields(HeaderFilter):
    """Writes the fields."""

    def leaves(self, request: Request, head: ResponseHead) -> bool:
        return True

    def adds(self) -> bool:
        return True

    def apply(self, request: Request, response: Response) -> None:
        noted = request.values
        if noted is None:
            return
        policy = noted.get(_POLICY)
        state = noted.get(_STATE)
        if policy is None or state is None:
            return
        response.add(b"RateLimit-Policy", policy)
        response.add(b"RateLimit", state)
        retry = noted.get(_RETRY)
        if retry is not None:
            response.add(b"Retry-After", retry)


# -- attaching


@final
class Limits:
    """What one configuration limits, and whether any of it is told to clients."""

    def __init__(self, tells: bool) -> None:
        self.tells = tells
        self.zones: dict[str, Zone] = {}


def _tells_somewhere(scope: Scope) -> bool:
    return bool(scope.own(LIMIT_REQ_HEADERS)) or any(_tells_somewhere(child) for child in scope.children)


def _status_variable(request: Request) -> bytes | None:
    noted = request.values
    return None if noted is None else noted.get(STATUS)


def _open_zones(build: HttpBuild) -> Limits:
    limits = Limits(_tells_somewhere(build.scope))
    for setting in build.scope.own_settings(LIMIT_REQ_ZONE):
        try:
            _open(build, setting, limits.zones)
        except ConfigError as error:
            build.scope.load.diagnostics.error(error)
    return limits


def _open(build: HttpBuild, setting: Setting[Zone | None], zones: dict[str, Zone]) -> None:
    declared = setting.value
    assert declared is not None
    zone = declare_zone(build.zones, declared.name, declared.size, "limit_req", declared.key.text, setting.where)
    declared.states = States(open_zone(zone, COLUMNS, setting.where))
    zones[declared.name] = declared


_LIMITS: Final = BuildSlot[Limits](_open_zones)


class LimitReqFeature(Feature):
    """nginx's http_limit_req module."""

    def http(self, build: HttpBuild) -> None:
        _LIMITS.of(build)

    def location(self, build: LocationBuild) -> None:
        declared = _LIMITS.of(build.http)
        limits: list[RequestLimit] = []
        for setting in build.scope.settings(LIMIT_REQ):
            limit = setting.value
            assert limit is not None
            zone = declared.zones.get(limit.zone)
            if zone is None:
                raise unknown_zone(build.http.zones, limit.zone, "limit_req", setting.where)
            if any(other.name == limit.zone for other in limits):
                raise ConfigError('"limit_req" directive is duplicate', setting.where)
            limits.append(RequestLimit(limit, zone))
        scope = build.scope
        if limits:
            handler = LimitReqHandler(
                limits, scope.get(LIMIT_REQ_STATUS), scope.get(LIMIT_REQ_LOG_LEVEL), scope.get(LIMIT_REQ_DRY_RUN),
                scope.get(LIMIT_REQ_HEADERS),
            )  # fmt: skip
            build.add_handler(PREACCESS, handler)
        if declared.tells:  # a redirect may end in a location without limits
            build.add_header_filter(LimitReqFields(), 49)

FEATURE: Final = LimitReqFeature(
    "http_limit_req",
    (LIMIT_REQ_ZONE, LIMIT_REQ, LIMIT_REQ_STATUS, LIMIT_REQ_LOG_LEVEL, LIMIT_REQ_DRY_RUN, LIMIT_REQ_HEADERS),
    (
        Variable(
            STATUS, _status_variable, PER_REQUEST,
            "What `limit_req` did: `PASSED`, `DELAYED`, `REJECTED`, `DELAYED_DRY_RUN` or `REJECTED_DRY_RUN`.",
        ),
    ),
)  # fmt: skip
