"""From checked blocks to a plan: listeners, servers, locations with their finished handlers.

The order is nginx's: variables first (a `map` may stand below its use), then servers, then locations from the outside in, and last
the names on each address.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from portico import errorlog
from portico.config.diagnostics import ConfigError
from portico.config.directive import Scope
from portico.config.reader import Statement
from portico.errorlog import LogFiles
from portico.http.build_listeners import ListenerBuilder
from portico.http.error_pages import ERROR_PAGE
from portico.http.feature import Feature, HttpBuild, LocationBuild
from portico.http.listen import INTERNAL, LISTEN, LOCATION_BLOCK, SERVER_NAME, SSL, Listen, LocationPattern, ServerName, names_of
from portico.http.plan import Listener, Location, VirtualServer
from portico.http.routing.location_tree import EXACT, NAMED, PREFIX_STOP, REGEX, REGEX_ICASE, LocationTree
from portico.http.routing.location_tree import Location as Entry
from portico.http.settings import HTTP_BLOCK, SERVER_BLOCK, CoreSettings
from portico.net.listen import ListenSpec
from portico.variables.variable import Variables
from portico.zones.zone import Zones

if TYPE_CHECKING:
    from portico.http.request import Request


@final
class HttpPlan:
    """Everything one configuration says about HTTP."""

    def __init__(self, build: HttpBuild) -> None:
        self.build = build
        self.listeners: list[Listener] = []  # one for each socket
        self.servers: list[VirtualServer] = []


def build_http(
    root: Scope, features: Sequence[Feature], zones: Zones, log_files: LogFiles, default_log: str
) -> HttpPlan | None:
    """Return the plan of the `http` block under `root`; None when there is no such block or it has mistakes.

    Mistakes are collected in the load's diagnostics.
    """
    load = root.load
    load.block = HTTP_BLOCK.name
    try:
        return _build(root, features, zones, log_files, default_log)
    finally:
        load.block = ""


def _build(root: Scope, features: Sequence[Feature], zones: Zones, log_files: LogFiles, default_log: str) -> HttpPlan | None:
    load = root.load
    blocks = root.blocks(HTTP_BLOCK)
    variables: Variables[Request] = Variables()
    for feature in features:
        for variable in feature.variables:
            variables.add(variable)
        for family in feature.families:
            variables.add_family(family)
    for scope in blocks:
        _declare_captures(scope, variables)
        for feature in features:
            feature.declare(scope, variables)
    load.resolve_all(variables)
    if not blocks or load.diagnostics.errors:
        return None
    builder = _Builder(blocks[0], features, HttpBuild(blocks[0], variables, zones, log_files), default_log)
    try:
        plan = builder.build()
    except ConfigError as error:
        load.diagnostics.error(error)
        return None
    load.resolve_all(variables)  # what building itself compiled
    for settled in plan.build.settles:
        filters = [header_filter for location in settled.locations for header_filter in location.header_filters]
        settled.settle([header_filter for header_filter in filters if header_filter.changes_full()])
    return plan


def _declare_captures(scope: Scope, variables: Variables[Request]) -> None:
    """Make variables of the named groups in server names and locations."""
    for setting in scope.own_settings(SERVER_NAME):
        for name in setting.value:
            if name.regex is not None:
                variables.add_captures(name.regex, setting.where, scope.load)
    for child in scope.children:
        pattern = child.value
        if isinstance(pattern, LocationPattern) and pattern.regex is not None and child.statement is not None:
            variables.add_captures(pattern.regex, child.statement.where, scope.load)
        _declare_captures(child, variables)


@final
class _Builder:
    def __init__(self, scope: Scope, features: Sequence[Feature], http: HttpBuild, default_log: str) -> None:
        self.scope = scope
        self.features = features
        self.http = http
        self.default_log = default_log
        self.plan = HttpPlan(http)
        self.diagnostics = scope.load.diagnostics

    def build(self) -> HttpPlan:
        for feature in self.features:
            feature.http(self.http)
        for scope in self.scope.blocks(SERVER_BLOCK):
            try:
                self.plan.servers.append(self._server(scope))
            except ConfigError as error:
                self.diagnostics.error(error)
        if not self.diagnostics.errors:
            self.plan.listeners = self._listeners()
            for feature in self.features:
                feature.finish(self.http)
        return self.plan

    def _listeners(self) -> list[Listener]:
        made = ListenerBuilder(self.diagnostics)
        for server in self.plan.servers:
            listens = [listen for group in server.scope.own_all(LISTEN) for listen in group]
            if server.scope.get(SSL):
                for listen in listens:
                    listen.ssl = True
            made.add(server, listens or [_default_listen(server.scope)], names_of(server.scope))
        made.judge_names()
        made.check_tls()
        made.settle_http2()
        return made.sockets()

    def _core(self, scope: Scope) -> CoreSettings:
        core = CoreSettings(scope, errorlog.error_log(scope, self.http.log_files, self.default_log))
        self.http.temp_paths.add(core.client_body_temp_path)
        return core

    # -- servers and locations ---------------------------------------------------------------------------------------

    def _server(self, scope: Scope) -> VirtualServer:
        where = scope.statement.where if scope.statement else None
        server = VirtualServer(_primary_name(names_of(scope)), where, scope, self._core(scope))
        server.fallback = Location(server.name or '""', where, scope, server.core)
        for feature in self.features:
            feature.server(self.http, server, scope)
        server.rewrites = tuple(
            handler for feature in self.features for handler in feature.server_rewrite(self.http, server, scope)
        )
        self._attach(server, server.fallback, scope)
        server.locations = LocationTree(self._locations(server, scope), server.fallback)
        return server

    def _attach(self, server: VirtualServer, location: Location, scope: Scope) -> LocationBuild:
        build = LocationBuild(self.http, server, location, scope, self._attach_features)
        self._attach_features(build)
        self._finish(build)
        for inner in build.inners:
            inner.location.core = self._core(inner.scope)
            inner.inherit_content(build)
            self._finish(inner)
        return build

    def _attach_features(self, build: LocationBuild) -> None:
        for feature in self.features:
            feature.location(build)

    def _finish(self, build: LocationBuild) -> None:
        location = build.location
        scope = build.scope
        location.rewrites = build.rewrites()
        location.handlers = build.handlers()
        location.header_filters = build.header_filters()
        location.adding_filters = tuple(one for one in location.header_filters if one.appends())
        location.loggers = tuple(build.loggers)
        for statuses, page in scope.all(ERROR_PAGE):
            for status in statuses:
                location.error_pages.setdefault(status, page)

    def _locations(self, server: VirtualServer, scope: Scope) -> list[Entry[Location]]:
        entries: list[Entry[Location]] = []
        for child in scope.blocks(LOCATION_BLOCK):
            try:
                entries.append(self._location(server, child, entries))
            except ConfigError as error:
                self.diagnostics.error(error)
        return entries

    def _location(self, server: VirtualServer, scope: Scope, siblings: list[Entry[Location]]) -> Entry[Location]:
        pattern = scope.value
        statement = scope.statement
        assert isinstance(pattern, LocationPattern) and statement is not None
        location = _new_location(pattern, statement, scope, self._core(scope))
        _check_place(pattern, statement, scope, siblings)
        build = self._attach(server, location, scope)
        location.auto_redirect = build.has_content and pattern.text.endswith("/") and pattern.kind <= PREFIX_STOP
        entry = Entry(pattern.kind, pattern.text, location, location.auto_redirect, pattern.regex)
        if location.is_named:
            server.named.setdefault(pattern.text, location)
        inner = self._locations(server, scope)
        if inner:
            try:
                entry.nest(inner)
            except ValueError as error:
                raise statement.fail(str(error)) from None
        return entry


def _new_location(pattern: LocationPattern, statement: Statement, scope: Scope, core: CoreSettings) -> Location:
    location = Location(str(pattern), statement.where, scope, core)
    location.internal = scope.own(INTERNAL) is True
    location.is_regex = pattern.kind in (REGEX, REGEX_ICASE)
    location.is_named = pattern.kind == NAMED
    if not location.is_regex and not location.is_named:
        location.prefix = pattern.text.encode("utf-8", "surrogateescape")
    return location


def _check_place(pattern: LocationPattern, statement: Statement, scope: Scope, siblings: list[Entry[Location]]) -> None:
    """Raise ConfigError when a location stands where there is one like it, or where none of its kind may stand."""
    if pattern.kind <= PREFIX_STOP:
        for other in siblings:
            same = other.pattern == pattern.text and (other.kind == EXACT) == (pattern.kind == EXACT)
            if same and other.kind <= PREFIX_STOP:
                raise statement.fail(f'duplicate location "{pattern.text}"', statement.args[-1])
    if pattern.kind == NAMED and scope.parent is not None and scope.parent.directive is LOCATION_BLOCK:
        raise statement.fail(f'named location "{pattern.text}" can be on the server level only', statement.args[-1])


def _primary_name(names: list[ServerName]) -> str:
    """Return nginx's $server_name, the first: ".example.com" stands for "example.com"."""
    return names[0].text.removeprefix(".") if names else ""


def _default_listen(scope: Scope) -> Listen:
    port = 80 if os.geteuid() == 0 else 8000
    assert scope.statement is not None
    where = scope.statement.where
    return Listen(ListenSpec(socket.AF_INET, ("0.0.0.0", port), f"*:{port}", where), where)
