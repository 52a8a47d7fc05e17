"""What a file under `features/` provides, and what it is given to attach it to.

A feature is one object of a subclass of `Feature`. While a configuration is built, it is asked at three levels, and adds what the
configuration asks for, nothing otherwise: a feature that is off leaves no trace on the request path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar, cast, final

from portico.config.directive import Directive, Scope
from portico.http.access import AUTH_DELAY, SATISFY, AccessPhase, AccessStep
from portico.http.handler import ACCESS, CONTENT, REWRITE, Handler, HeaderFilter, Logger
from portico.http.plan import Location
from portico.variables.variable import Variable, VariableFamily, Variables

if TYPE_CHECKING:
    from portico.errorlog import LogFiles
    from portico.http.plan import VirtualServer
    from portico.http.request import Request
    from portico.worker.hook import WorkerHook
    from portico.zones.zone import Zones

T = TypeVar("T")


@final
class HttpBuild:
    """What features share while one `http {}` is built."""

    def __init__(self, scope: Scope, variables: Variables[Request], zones: Zones, log_files: LogFiles) -> None:
        self.scope = scope
        self.variables = variables
        self.zones = zones
        self.log_files = log_files
        self.slots: dict[object, object] = {}  # by BuildSlot: what features keep for themselves
        self.temp_paths: set[str] = set()  # directories to make before the workers start
        self.workers: list[WorkerHook] = []
        self.settles: list[Settled] = []
        self.loggers: list[Logger] = []  # every logger made, once, for reopen and flush


@final
class BuildSlot(Generic[T]):
    """What one feature keeps while a configuration is built, from level to level: one object for each `HttpBuild`.

    The feature owns the slot, a constant of its file, so nobody else can write there:

        _LIMITS: Final = BuildSlot[Limits](_open_zones)
        …
        zone = _LIMITS.of(build).zones.get(name)
    """

    def __init__(self, make: Callable[[HttpBuild], T]) -> None:
        self.make = make

    def of(self, build: HttpBuild) -> T:
        """Return the object of this build, made when it is first asked for."""
        if self not in build.slots:
            build.slots[self] = self.make(build)
        return cast(T, build.slots[self])


@final
class Settled:
    """A content handler's wish to know which filters may change its responses, in the locations that have it."""

    def __init__(self, location: Location, settle: Callable[[list[HeaderFilter]], None]) -> None:
        self.locations = [location]
        self.settle = settle


@final
class LocationBuild:
    """A location under construction. Handlers run in phase order, within a phase in the order added."""

    def __init__(
        self, http: HttpBuild, server: VirtualServer, location: Location, scope: Scope, attach: Callable[[LocationBuild], None]
    ) -> None:
        self.http = http
        self._attach = attach
        self.inners: list[LocationBuild] = []  # blocks of `if` and `limit_except`
        self.server = server
        self.location = location
        self.scope = scope
        self._handlers: list[tuple[int, int, Handler]] = []
        self._header_filters: list[tuple[int, int, HeaderFilter]] = []
        self._access: AccessPhase | None = None
        self.loggers: list[Logger] = []
        self.has_content = False  # a content handler (proxy_pass, …) is there: static files are not looked at

    def inner(self, scope: Scope, name: str = "") -> LocationBuild:
        """Return a location for a block inside this one (`if`, `limit_except`): what it does not set it has from here."""
        outer = self.location
        assert scope.statement is not None
        location = Location(name or outer.name, scope.statement.where, scope, outer.core)
        location.prefix = outer.prefix
        location.is_regex = outer.is_regex
        location.is_named = outer.is_named
        location.is_condition = True
        build = LocationBuild(self.http, self.server, location, scope, self._attach)
        self._attach(build)
        self.inners.append(build)
        return build

    def inherit_content(self, outer: LocationBuild) -> None:
        """Take over the content handler of the location around, unless there is one here (r->content_handler stays, in nginx)."""
        if self.has_content or not outer.has_content:
            return
        self.has_content = True
        self._handlers = [entry for entry in self._handlers if entry[0] != CONTENT]
        self._handlers.extend(entry for entry in outer._handlers if entry[0] == CONTENT)
        for settled in self.http.settles:
            if outer.location in settled.locations:
                settled.locations.append(self.location)

    def on_finish(self, settle: Callable[[list[HeaderFilter]], None]) -> None:
        """Have `settle` called when every value is resolved, with the filters that may change its responses (`changes_full`)."""
        self.http.settles.append(Settled(self.location, settle))

    def add_handler(self, phase: int, handler: Handler) -> None:
        """Add a step in `phase` (constants in http/handler.py)."""
        self._handlers.append((phase, len(self._handlers), handler))

    def add_access(self, step: AccessStep) -> None:
        """Add a check of access; the location's `satisfy` adds them up."""
        if self._access is None:
            self._access = AccessPhase(self.scope.get(SATISFY), self.scope.get(AUTH_DELAY))
            self.add_handler(ACCESS, self._access)
        self._access.add(step)

    def set_content(self, handler: Handler) -> None:
        """Make `handler` the one that responds, in place of static files. The last one wins, as in nginx."""
        self._handlers = [entry for entry in self._handlers if entry[0] != CONTENT]
        self._handlers.append((CONTENT, len(self._handlers), handler))
        self.has_content = True

    def add_header_filter(self, header_filter: HeaderFilter, order: int = 50) -> None:
        """Add a filter of header sections; lower `order` runs earlier. Ranges run at 90, after what changes bodies."""
        self._header_filters.append((order, len(self._header_filters), header_filter))

    def rewrites(self) -> tuple[Handler, ...]:
        """Return the handlers of the rewrite phase."""
        return tuple(entry[2] for entry in self._handlers if entry[0] == REWRITE)

    def handlers(self) -> tuple[Handler, ...]:
        """Return those of the phases after it, in order."""
        return tuple(entry[2] for entry in sorted(self._handlers, key=_by_order) if entry[0] > REWRITE)

    def header_filters(self) -> tuple[HeaderFilter, ...]:
        """Return the filters, in order."""
        return tuple(entry[2] for entry in sorted(self._header_filters, key=_by_filter_order))


def _by_order(entry: tuple[int, int, Handler]) -> tuple[int, int]:
    return entry[0], entry[1]


def _by_filter_order(entry: tuple[int, int, HeaderFilter]) -> tuple[int, int]:
    return entry[0], entry[1]


class Feature:
    """One feature: its declarations, and how it attaches to what is built."""

    def __init__(
        self,
        name: str,
        directives: tuple[Directive[object], ...],
        variables: tuple[Variable[Request], ...] = (),
        families: tuple[VariableFamily[Request], ...] = (),
        configure: str = "",
    ) -> None:
        self.name = name  # nginx's name of the module: "http_gzip"; Portico's own for what nginx lacks
        self.directives = directives
        self.variables = variables
        self.families = families
        self.configure = configure  # what `-V` lists for it: "--with-http_ssl_module"

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        """Make known the variables that the configuration itself defines (captures, set, map). `scope` is http's."""

    def http(self, build: HttpBuild) -> None:
        """Prepare what the whole configuration shares: called once, before any server is built."""

    def server(self, build: HttpBuild, server: VirtualServer, scope: Scope) -> None:
        """Attach to a server: called for each, before its locations are built."""

    def server_rewrite(self, build: HttpBuild, server: VirtualServer, scope: Scope) -> list[Handler]:
        """Return handlers for the server-rewrite phase of a server."""
        return []

    def location(self, build: LocationBuild) -> None:
        """Attach to a location: called for each, and for each server's own level."""

    def finish(self, build: HttpBuild) -> None:
        """Finish what needs to know every location: called once, when all are there."""
