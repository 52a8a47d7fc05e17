"""`limit_conn`: how many requests at a time (admission/connection_count.py). (nginx: ngx_http_limit_conn_module.c.)

A request counts from the moment its header section is read until it is over, however it ends: a logger in every location releases
what the request holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.admission.connection_count import (
    ConnectionSetting,
    ConnectionZone,
    Hold,
    LimitReached,
    acquire_all,
    parse_connection_limit,
    parse_connection_zone,
    release_all,
)
from portico.admission.limits import LEVELS, unknown_zone
from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.errorlog import CRIT, ERR
from portico.http.errors import HTTPError
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import PREACCESS, Handler, Logger
from portico.http.limits import noted_value, opened_zones, refusal_status
from portico.variables.variable import PER_REQUEST, Variable
from portico.worker.hook import WorkerHook
from portico.zones.counts import COLUMNS, Counts

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.worker.runtime import Runtime

_ALL: Final = HTTP | SERVER | LOCATION

STATUS: Final = "limit_conn_status"  # in Request.values: the variable, and that the request has been counted
PASSED: Final = b"PASSED"
REJECTED: Final = b"REJECTED"
REJECTED_DRY_RUN: Final = b"REJECTED_DRY_RUN"

LIMIT_CONN_ZONE: Final = Directive[ConnectionZone | None](
    "limit_conn_zone", HTTP, parse_connection_zone, args="2", default=None, many=True,
    syntax="KEY zone=NAME:SIZE",
    doc="Memory, shared by all workers, for the counts of `limit_conn`: one for each value of KEY (a text with variables; "
    "requests for which it is empty are not counted) and each worker that serves requests for it. A megabyte holds 21,000. "
    "When it is full, requests that would need another one are refused. A reload keeps the counts of a zone with the same "
    "size and key.",
    example="limit_conn_zone $binary_remote_addr zone=conns:10m;",
)
LIMIT_CONN: Final = Directive[ConnectionSetting | None](
    "limit_conn", _ALL, parse_connection_limit, args="2", default=None, many=True,
    syntax="ZONE NUMBER",
    doc="How many requests with the same key are served at a time; more are refused. A connection counts while a request of it is "
    "being served. Several limits may stand side by side: all must be kept. What a killed worker counted is forgotten.",
    example="limit_conn_zone $binary_remote_addr zone=conns:1m; server { limit_conn conns 10; }",
)
LIMIT_CONN_STATUS: Final = Directive[int](
    "limit_conn_status", _ALL, refusal_status, args="1", default=503, default_text="503", syntax="CODE",
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
class Holds(Logger):
    """What the requests of this worker hold. As a logger of every location it learns that a request is over."""

    def __init__(self) -> None:
        self.of: dict[Request, list[Hold]] = {}

    def log(self, request: Request) -> None:
        if request.parent is not None:
            return  # a subrequest's part is its main request's, until that one ends
        held = self.of.pop(request, None)
        if held is not None:
            release_all(held)
        noted = request.values
        if noted is not None and STATUS not in noted:
            noted[STATUS] = None  # a mirror that goes on by itself is not counted: nothing would end it


@final
class LimitConnHandler(Handler):
    """The limits of one location."""

    def __init__(self, limits: list[tuple[ConnectionZone, int]], status: int, level: int, dry_run: bool, holds: Holds) -> None:
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
        try:
            held = acquire_all(request, self.limits)
        except LimitReached as reached:
            self._refuse(request, noted, reached)
            return None
        if held:
            self.holds.of[_main(request)] = held  # at once: whatever happens from here on, it is released
            noted[STATUS] = PASSED
        return None

    def describe(self) -> str:
        return "limit_conn " + ", ".join([f"{zone.name} {number}" for zone, number in self.limits])

    def _refuse(self, request: Request, noted: dict[str, bytes | None], reached: LimitReached) -> None:
        level, reason = CRIT, f'no memory in limit_conn_zone "{reached.zone.name}"'
        if not reached.full:
            dry = ", dry run," if self.dry_run else ""
            level, reason = self.level, f'limiting connections{dry} by zone "{reached.zone.name}"'
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

    def __init__(self, zones: dict[str, ConnectionZone]) -> None:
        self.zones = zones

    def start(self, runtime: Runtime) -> None:
        for zone in self.zones.values():
            zone.claim()


@final
class Limits:
    """What one configuration limits."""

    def __init__(self, used: bool) -> None:
        self.used = used
        self.zones: dict[str, ConnectionZone] = {}
        self.holds = Holds()


def _is_used(scope: Scope) -> bool:
    return bool(scope.own_all(LIMIT_CONN)) or any(_is_used(child) for child in scope.children)


def _open_zones(build: HttpBuild) -> Limits:
    limits = Limits(_is_used(build.scope))
    for declared, table in opened_zones(build, LIMIT_CONN_ZONE, "limit_conn", COLUMNS):
        declared.counts = Counts(table)
        limits.zones[declared.name] = declared
    return limits


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
        found: list[tuple[ConnectionZone, int]] = []
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
            STATUS, noted_value(STATUS), PER_REQUEST, "What `limit_conn` did: `PASSED`, `REJECTED` or `REJECTED_DRY_RUN`."
        ),
    ),
)
