"""`limit_conn`: how many requests at a time. (nginx: ngx_http_limit_conn_module.c.)

A request counts from the moment its head is read until it is over, however it ends: a logger in every location gives back what the
request holds. What a worker counted dies with it (zones/counts.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope, Setting
from portico.config.reader import Statement
from portico.errorlog import CRIT, ERR
from portico.http.errors import HTTPError
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import PREACCESS, Handler, Logger
from portico.http.limits import LEVELS, declare_zone, status, unknown_zone, zone_and_size
from portico.http.zones import open_zone
from portico.variables.template import PER_REQUEST, Template, Variable, template
from portico.worker.hook import WorkerHook
from portico.zones.counts import COLUMNS, REACHED, Counts
from portico.zones.owner import is_alive, own_identity
from portico.zones.states import fingerprint

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.worker.runtime import Runtime

_ALL: Final = HTTP | SERVER | LOCATION
_LONGEST_KEY: Final = 255
_MOST: Final = 65535
_LOOK_SECONDS: Final = 1.0  # between two looks for dead workers, when a limit is reached

STATUS: Final = "limit_conn_status"  # in Request.values: the variable, and that the request has been counted
PASSED: Final = b"PASSED"
REJECTED: Final = b"REJECTED"
REJECTED_DRY_RUN: Final = b"REJECTED_DRY_RUN"


@final
class Zone:
    """One `limit_conn_zone`; `counts` are there once its memory is."""

    def __init__(self, name: str, size: int, key: Template) -> None:
        self.name = name
        self.size = size
        self.key = key
        self.counts: Counts | None = None
        self.owner = 0  # this worker
        self.looked = 0.0

    def look_for_dead(self, now: float, first: int, second: int) -> bool:
        """Whether the limit may only seem reached: a worker that counts for this key was killed. Looks once a second."""
        counts = self.counts
        if counts is None or now - self.looked < _LOOK_SECONDS:
            return False
        self.looked = now
        for owner in counts.owners(first, second):
            if owner != self.owner and not is_alive(owner):
                return counts.remove_dead(is_alive) > 0
        return False


def _zone(statement: Statement) -> Zone:
    argument = statement.args[1]
    if not argument.text.startswith("zone="):
        raise statement.fail(f'invalid parameter "{argument.text}"', argument)
    name, size = zone_and_size(statement, argument)
    if not name:
        raise statement.fail('"limit_conn_zone" must have "zone" parameter')
    return Zone(name, size, template(statement))


@final
class Limit:
    """One `limit_conn` as written."""

    def __init__(self, zone: str, number: int) -> None:
        self.zone = zone
        self.number = number


def _limit(statement: Statement) -> Limit:
    argument = statement.args[1]
    number = values.number_of(argument.text)
    if not number:
        raise statement.fail(f'invalid number of connections "{argument.text}"', argument)
    if number > _MOST:
        raise statement.fail("connection limit must be less 65536", argument)
    return Limit(statement.args[0].text, number)


LIMIT_CONN_ZONE: Final = Directive[Zone | None](
    "limit_conn_zone", HTTP, _zone, args="2", default=None, many=True,
    syntax="KEY zone=NAME:SIZE",
    doc="Memory, shared by all workers, for the counts of `limit_conn`: one for each value of KEY (a text with variables; "
    "requests for which it is empty are not counted) and each worker that serves requests for it. A megabyte holds 21,000. "
    "When it is full, requests that would need another one are refused. A reload keeps the counts of a zone with the same "
    "size and key.",
    example="limit_conn_zone $binary_remote_addr zone=conns:10m;",
)
LIMIT_CONN: Final = Directive[Limit | None](
    "limit_conn", _ALL, _limit, args="2", default=None, many=True,
    syntax="ZONE NUMBER",
    doc="How many requests with the same key are served at a time; more are refused. A connection counts while a request of it is "
    "being served. Several limits may stand side by side: all must be kept. What a killed worker counted is forgotten.",
    example="limit_conn_zone $binary_remote_addr zone=conns:1m; server { limit_conn conns 10; }",
)
LIMIT_CONN_STATUS: Final = Directive[int](
    "limit_conn_status", _ALL, status, args="1", default=503, default_text="503", syntax="CODE",
    doc="The status of refused requests, 400 to 599.",
    example="limit_conn_status 429;",
)
LIMIT_CONN_LOG_LEVEL: Final = Directive[int](
    "limit_conn_log_level", _ALL, values.choice(LEVELS), args="1", default=ERR, default_text="error",
    syntax="info | notice | warn | error",
    doc="The level at which refused requests are logged.",
    example="limit_conn_log_level warn;",
)
LIMIT_CONN_DRY_RUN: Final = Directive[bool](
    "limit_conn_dry_run", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="Counts and logs, but refuses nothing.",
    example="limit_conn_dry_run on;",
)


# -- what a request meets


@final
class Hold:
    """One count that a request holds."""

    def __init__(self, zone: Zone, slot: int) -> None:
        self.zone = zone
        self.slot = slot

    def give(self) -> None:
        """Count it no more."""
        counts = self.zone.counts
        assert counts is not None
        counts.release(self.slot, self.zone.owner)


@final
class Holds(Logger):
    """What the requests of this worker hold. As a logger of every location it learns that a request is over."""

    def __init__(self) -> None:
        self.of: dict[Request, list[Hold]] = {}

    def log(self, request: Request) -> None:
        if request.parent is not None:
            return  # a subrequest's part is its main request's, until that one ends
        held = self.of.pop(request, None)
        if held is not None:
            for hold in held:
                hold.give()
        noted = request.values
        if noted is not None and STATUS not in noted:
            noted[STATUS] = None  # a mirror that goes on by itself is not counted: nothing would end it


@final
class LimitConnHandler(Handler):
    """The limits of one location."""

    def __init__(self, limits: list[tuple[Zone, int]], status: int, level: int, dry_run: bool, holds: Holds) -> None:
        self.is_async = False
        self.limits = limits
        self.status = status
        self.level = level
        self.dry_run = dry_run
        self.holds = holds

    def handle(self, request: Request) -> Response | None:
        """Once for each request, however often it is redirected."""
        noted = request.values
        if noted is None:
            request.values = noted = {}
        elif STATUS in noted:
            return None
        held: list[Hold] = []
        for zone, number in self.limits:
            key = zone.key.render(request)
            if not key:
                continue
            if len(key) > _LONGEST_KEY:
                shown = key.decode("utf-8", "backslashreplace")
                request.log_error(ERR, f'the value of the "{zone.key.text}" key is more than 255 bytes: "{shown}"')
                continue
            noted[STATUS] = PASSED
            slot = self._take(request, zone, number, key)
            if slot <= 0:
                for hold in held:
                    hold.give()
                held.clear()
                self._refuse(request, noted, zone, slot)
                return None
            if not held:
                self.holds.of[_main(request)] = held  # at once: whatever happens from here on, it is given back
            held.append(Hold(zone, slot))
        return None

    def describe(self) -> str:
        return "limit_conn " + ", ".join([f"{zone.name} {number}" for zone, number in self.limits])

    def _take(self, request: Request, zone: Zone, number: int, key: bytes) -> int:
        counts = zone.counts
        assert counts is not None
        first, second = fingerprint(key)
        slot = counts.acquire(first, second, zone.owner, number)
        if slot == REACHED and zone.look_for_dead(request.reactor.now, first, second):
            slot = counts.acquire(first, second, zone.owner, number)
        return slot

    def _refuse(self, request: Request, noted: dict[str, bytes | None], zone: Zone, slot: int) -> None:
        level, reason = CRIT, f'no memory in limit_conn_zone "{zone.name}"'
        if slot == REACHED:
            dry = ", dry run," if self.dry_run else ""
            level, reason = self.level, f'limiting connections{dry} by zone "{zone.name}"'
        if not self.dry_run:
            noted[STATUS] = REJECTED
            raise HTTPError(self.status, reason, level)
        noted[STATUS] = REJECTED_DRY_RUN
        request.log_error(level, reason)


def _main(request: Request) -> Request:
    while request.parent is not None:
        request = request.parent
    return request


# -- attaching


@final
class Claim(WorkerHook):
    """The worker begins: from here on it counts under its own name, and those who are gone no more."""

    def __init__(self, zones: dict[str, Zone]) -> None:
        self.zones = zones

    def start(self, runtime: Runtime) -> None:
        owner = own_identity()
        for zone in self.zones.values():
            zone.owner = owner
            if zone.counts is not None:
                zone.counts.remove_dead(is_alive)


@final
class Limits:
    """What one configuration limits."""

    def __init__(self, used: bool) -> None:
        self.used = used
        self.zones: dict[str, Zone] = {}
        self.holds = Holds()


def _is_used(scope: Scope) -> bool:
    return bool(scope.own_all(LIMIT_CONN)) or any(_is_used(child) for child in scope.children)


def _status_variable(request: Request) -> bytes | None:
    noted = request.values
    return None if noted is None else noted.get(STATUS)


def _open_zones(build: HttpBuild) -> Limits:
    limits = Limits(_is_used(build.scope))
    for setting in build.scope.own_settings(LIMIT_CONN_ZONE):
        try:
            _open(build, setting, limits.zones)
        except ConfigError as error:
            build.scope.load.diagnostics.error(error)
    return limits


def _open(build: HttpBuild, setting: Setting[Zone | None], zones: dict[str, Zone]) -> None:
    declared = setting.value
    assert declared is not None
    zone = declare_zone(build.zones, declared.name, declared.size, "limit_conn", declared.key.text, setting.where)
    declared.counts = Counts(open_zone(zone, COLUMNS, setting.where))
    zones[declared.name] = declared


_LIMITS: Final = BuildSlot[Limits](_open_zones)


class LimitConnFeature(Feature):
    """nginx's http_limit_conn module."""

    def http(self, build: HttpBuild) -> None:
        limits = _LIMITS.of(build)
        if limits.used:
            build.workers.append(Claim(limits.zones))

    def location(self, build: LocationBuild) -> None:
        limits = _LIMITS.of(build.http)
        if not limits.used:
            return
        build.loggers.append(limits.holds)
        found: list[tuple[Zone, int]] = []
        for setting in build.scope.settings(LIMIT_CONN):
            limit = setting.value
            assert limit is not None
            zone = limits.zones.get(limit.zone)
            if zone is None:
                raise unknown_zone(build.http.zones, limit.zone, "limit_conn", setting.where)
            if any(other is zone for other, _ in found):
                raise ConfigError('"limit_conn" directive is duplicate', setting.where)
            found.append((zone, limit.number))
        if found:
            scope = build.scope
            handler = LimitConnHandler(
                found, scope.get(LIMIT_CONN_STATUS), scope.get(LIMIT_CONN_LOG_LEVEL), scope.get(LIMIT_CONN_DRY_RUN), limits.holds
            )
            build.add_handler(PREACCESS, handler)


FEATURE: Final = LimitConnFeature(
    "http_limit_conn",
    (LIMIT_CONN_ZONE, LIMIT_CONN, LIMIT_CONN_STATUS, LIMIT_CONN_LOG_LEVEL, LIMIT_CONN_DRY_RUN),
    (
        Variable(
            STATUS, _status_variable, PER_REQUEST, "What `limit_conn` did: `PASSED`, `REJECTED` or `REJECTED_DRY_RUN`."
        ),
    ),
)
