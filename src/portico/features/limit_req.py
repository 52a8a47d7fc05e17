"""`limit_req`: how many requests a second (admission/request_rate.py). (nginx: ngx_http_limit_req_module.c.)

What is refused gets a status, what is delayed waits; a response may say where its client stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.admission.limits import LEVELS, unknown_zone
from portico.admission.request_rate import (
    Charge,
    RateLimit,
    RateSetting,
    RateZone,
    charge_all,
    parse_rate_limit,
    parse_rate_zone,
    strictest,
)
from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.errorlog import ERR, INFO
from portico.http.errors import HTTPError
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import PREACCESS, Handler, HeaderFilter
from portico.http.limits import noted_value, opened_zones, refusal_status
from portico.http.waiting import pause
from portico.variables.variable import PER_REQUEST, Variable
from portico.zones.states import COLUMNS, States

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response

_ALL: Final = HTTP | SERVER | LOCATION

STATUS: Final = "limit_req_status"  # in Request.values: the variable, and that the request has been counted
_POLICY: Final = "limit_req policy"  # no variable can have these names
_STATE: Final = "limit_req state"
_RETRY: Final = "limit_req retry"

PASSED: Final = b"PASSED"
DELAYED: Final = b"DELAYED"
REJECTED: Final = b"REJECTED"
_DRY: Final = b"_DRY_RUN"

LIMIT_REQ_ZONE: Final = Directive[RateZone | None](
    "limit_req_zone", HTTP, parse_rate_zone, args="3", default=None, many=True,
    syntax="KEY zone=NAME:SIZE rate=RATE",
    doc="Memory, shared by all workers, for the states of `limit_req`: one for each value of KEY (a text with variables; requests "
    "for which it is empty are not counted). RATE is in requests per second (`10r/s`) or minute (`30r/m`). A megabyte holds "
    "16,000 states, whatever the length of the keys; when it is full, the one used longest ago is forgotten. A reload keeps "
    "the states of a zone with the same size and key.",
    example="limit_req_zone $binary_remote_addr zone=perclient:10m rate=10r/s;",
)
LIMIT_REQ: Final = Directive[RateSetting | None](
    "limit_req", _ALL, parse_rate_limit, args="1-3", default=None, many=True,
    syntax="zone=NAME [burst=NUMBER] [nodelay | delay=NUMBER]",
    doc="Limits requests to the rate of the zone. Up to `burst` (0) requests too many are accepted, but wait until their turn "
    "comes; with `nodelay` they do not wait, with `delay=NUMBER` only those beyond that number do. More than that are "
    "refused. Several limits may stand side by side: the strictest decides.",
    example="limit_req_zone $binary_remote_addr zone=perclient:1m rate=10r/s; server { limit_req zone=perclient burst=20 delay=8; }",
)
LIMIT_REQ_STATUS: Final = Directive[int](
    "limit_req_status", _ALL, refusal_status, args="1", default=503, default_text="503", syntax="CODE",
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
class LimitReqHandler(Handler):
    """The limits of one location."""

    def __init__(self, limits: list[RateLimit], status: int, level: int, dry_run: bool, tells: bool) -> None:
        self.is_async = not dry_run and any(limit.burst > limit.delay for limit in limits)
        self.limits = limits
        self.status = status
        self.level = level
        self.delay_level = level if level == INFO else level + 1
        self.dry_run = dry_run
        self.policies: dict[str, Policy] | None = None  # by the names of the zones, where responses have the fields
        if tells and not dry_run:
            self.policies = {limit.name: Policy(limit) for limit in limits}

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
        """Count the request, once, however often it is redirected. Returns the milliseconds it has to wait. Raises HTTPError."""
        noted = request.values
        if noted is None:
            request.values = noted = {}
        elif STATUS in noted:
            return 0
        charges = charge_all(request, self.limits, int(request.reactor.now * 1000.0))
        if not charges:
            return 0
        if charges[-1].refused:
            self._refuse(request, noted, charges)
            return 0
        if self.policies is not None:
            _tell(noted, charges, self.policies)
        charge = strictest(charges)
        delay = charge.wait()
        if delay == 0:
            noted[STATUS] = PASSED
            return 0
        dry = ", dry run" if self.dry_run else ""
        reason = f'delaying request{dry}, excess: {_requests(charge.excess)}, by zone "{charge.limit.name}"'
        request.log_error(self.delay_level, reason)
        noted[STATUS] = DELAYED + _DRY if self.dry_run else DELAYED
        return delay

    def _refuse(self, request: Request, noted: dict[str, bytes | None], charges: list[Charge]) -> None:
        charge = charges[-1]
        dry = ", dry run" if self.dry_run else ""
        reason = f'limiting requests{dry}, excess: {_requests(charge.excess)} by zone "{charge.limit.name}"'
        if self.dry_run:
            request.log_error(self.level, reason)
            noted[STATUS] = REJECTED + _DRY
            return
        noted[STATUS] = REJECTED
        if self.policies is not None:
            _tell(noted, charges, self.policies)
        raise HTTPError(self.status, reason, self.level)


def _requests(thousandths: int) -> str:
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


# -- limit_req_headers


@final
class Policy:
    """What responses say of a limit, made at load: its name, and the whole of it (draft-ietf-httpapi-ratelimit-headers)."""

    def __init__(self, limit: RateLimit) -> None:
        burst = b";burst=%d" % (limit.burst // 1000) if limit.burst else b""
        self.name: bytes = b'"%b"' % limit.name.encode("ascii", "replace").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        self.text: bytes = b"%b;q=%d;w=%d%b" % (self.name, limit.quota, limit.window, burst)


def _tell(noted: dict[str, bytes | None], charges: list[Charge], policies: dict[str, Policy]) -> None:
    """Note what the fields are to say (sections 3 and 4 of the draft)."""
    states: list[bytes] = []
    for charge in charges:
        limit = charge.limit
        left = 0 if charge.refused else max(0, (limit.burst - charge.excess) // 1000)
        excess = charge.excess if charge.refused else charge.excess + 1000
        states.append(b"%b;r=%d;t=%d" % (policies[limit.name].name, left, _seconds(excess, limit.rate)))
        if charge.refused:
            noted[_RETRY] = b"%d" % _seconds(charge.excess - limit.burst, limit.rate)
    noted[_POLICY] = b", ".join([policies[charge.limit.name].text for charge in charges])
    noted[_STATE] = b", ".join(states)


def _seconds(excess: int, rate: int) -> int:
    """Return in how many whole seconds so much leaks out."""
    return -(-excess // rate)


@final
class LimitReqFields(HeaderFilter):
    """Writes the fields."""

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        return True

    def appends(self) -> bool:
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
    """What one configuration limits, and whether responses say any of it."""

    def __init__(self, tells: bool) -> None:
        self.tells = tells
        self.zones: dict[str, RateZone] = {}


def _tells_somewhere(scope: Scope) -> bool:
    return bool(scope.own(LIMIT_REQ_HEADERS)) or any(_tells_somewhere(child) for child in scope.children)


def _open_zones(build: HttpBuild) -> Limits:
    limits = Limits(_tells_somewhere(build.scope))
    for declared, table in opened_zones(build, LIMIT_REQ_ZONE, "limit_req", COLUMNS):
        declared.states = States(table)
        limits.zones[declared.name] = declared
    return limits


_LIMITS: Final = BuildSlot[Limits](_open_zones)


class LimitReqFeature(Feature):
    """nginx's http_limit_req module."""

    def http(self, build: HttpBuild) -> None:
        _LIMITS.of(build)

    def location(self, build: LocationBuild) -> None:
        declared = _LIMITS.of(build.http)
        limits: list[RateLimit] = []
        for setting in build.scope.settings(LIMIT_REQ):
            limit = setting.value
            assert limit is not None
            zone = declared.zones.get(limit.zone)
            if zone is None:
                raise unknown_zone(build.http.zones, limit.zone, "limit_req", setting.where)
            if any(other.name == limit.zone for other in limits):
                raise ConfigError('"limit_req" directive is duplicate', setting.where)
            limits.append(RateLimit(limit, zone))
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
            STATUS, noted_value(STATUS), PER_REQUEST,
            "What `limit_req` did: `PASSED`, `DELAYED`, `REJECTED`, `DELAYED_DRY_RUN` or `REJECTED_DRY_RUN`.",
        ),
    ),
)  # fmt: skip
