"""`proxy_cache_path`: where caches are. A location's handler put behind one."""

from __future__ import annotations

import asyncio
import os
import resource
from typing import TYPE_CHECKING, Final, final

from portico.cache.caching import EXPIRED
from portico.cache.index import COLUMNS, Index
from portico.cache.keeper import Keeper
from portico.cache.store import CachePath, Store
from portico.codec.http1_response import ResponseHead
from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, Directive, Setting
from portico.config.reader import Argument, Statement, Where
from portico.errorlog import CRIT
from portico.http.feature import HttpBuild, LocationBuild, WorkerHook
from portico.http.handler import Handler
from portico.http.runtime import Runtime
from portico.net.reactor import Reactor
from portico.passing.cached.handler import CachedProxy
from portico.passing.cached.purge import PROXY_CACHE_PURGE, PurgeHandler
from portico.passing.cached.settings import CacheDirectives, CacheSettings
from portico.passing.cached.storing import Caches
from portico.passing.directives import PROXY_HIDE_HEADER
from portico.passing.store import PROXY_STORE, PROXY_STORE_ACCESS, store_or_cache, stores_of
from portico.passing.store import Store as FileStore
from portico.variables.variable import PER_REQUEST, Variable
from portico.zones.opening import open_zone
from portico.zones.owner import own_identity
from portico.zones.table import SharedTable
from portico.zones.zone import ZoneConflict

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.passing.handler import ProxyHandler

_STATE: Final = "proxy caches"
_USE: Final = "proxy_cache "  # what their zones are for
_SMALLEST: Final = 16384  # bytes of keys_zone: 128 entries (nginx: two pages)
_SIZE_HINT: Final = "a size, as in 10g, 512m or 64k"
_TIME_HINT: Final = "a time, as in 10m, 1h30m or 50ms"
_SYNTAX_HINT: Final = "a name and a size for the index, as in keys_zone=pages:10m"
_LEAST_OPEN: Final = 16  # files of a cache that a worker keeps open, however few it may have

CACHE: Final = CacheDirectives("proxy")


def _cache_path(statement: Statement) -> CachePath:
    settings = CachePath(statement.load.full_path(statement.args[0].text).rstrip("/"))
    for argument in statement.args[1:]:
        name, equals, text = argument.text.partition("=")
        if not equals or not _set_option(settings, statement, argument, name, text):
            known = "levels, keys_zone, inactive, max_size, min_free, use_temp_path, loader_… and manager_…, each with = and a value"
            raise statement.fail(f'invalid parameter "{argument.text}"', argument, known)
    if not settings.name:
        raise statement.fail(f'"{statement.name}" must have "keys_zone" parameter', None, _SYNTAX_HINT)
    return settings


def _set_option(settings: CachePath, statement: Statement, argument: Argument, name: str, text: str) -> bool:
    if name == "levels":
        settings.levels = _levels(statement, argument, text)
    elif name == "use_temp_path":
        if text not in ("on", "off"):
            raise statement.fail(f'invalid use_temp_path value "{argument.text}", it must be "on" or "off"', argument)
        settings.use_temp_path = text == "on"
    elif name == "keys_zone":
        zone, colon, size_text = text.partition(":")
        size = values.size_of(size_text) if colon else None
        if size is None or not zone:
            raise statement.fail(f'invalid keys zone size "{argument.text}"', argument, _SYNTAX_HINT)
        if size < _SMALLEST:
            raise statement.fail(f'keys zone "{argument.text}" is too small', argument, "16k is the least: 128 bytes for each entry")
        settings.name, settings.zone_size = zone, size
    elif name in ("max_size", "min_free"):
        size = values.offset_of(text)
        if size is None:
            raise statement.fail(f'invalid {name} value "{argument.text}"', argument, _SIZE_HINT)
        if name == "max_size":
            settings.max_size = size
        else:
            settings.min_free = size
    elif name == "inactive":
        seconds = values.seconds_of(text)
        if seconds is None:
            raise statement.fail(f'invalid inactive value "{argument.text}"', argument, _TIME_HINT)
        settings.inactive = seconds
    else:
        return _set_pace(settings, statement, argument, name, text)
    return True


def _set_pace(settings: CachePath, statement: Statement, argument: Argument, name: str, text: str) -> bool:
    if name in ("loader_files", "manager_files"):
        number = values.number_of(text)
        if number is None:
            raise statement.fail(f'invalid {name} value "{argument.text}"', argument, "how many files at a time, as in 100")
        if name == "loader_files":
            settings.loader_files = max(1, number)
        else:
            settings.manager_files = max(1, number)
        return True
    if name not in ("loader_sleep", "loader_threshold", "manager_sleep", "manager_threshold"):
        return False
    seconds = values.time_of(text)
    if seconds is None:
        raise statement.fail(f'invalid {name} value "{argument.text}"', argument, _TIME_HINT)
    if name == "loader_sleep":
        settings.loader_sleep = seconds
    elif name == "loader_threshold":
        settings.loader_threshold = seconds
    elif name == "manager_sleep":
        settings.manager_sleep = seconds
    else:
        settings.manager_threshold = seconds
    return True


def _levels(statement: Statement, argument: Argument, text: str) -> list[int]:
    if not text:
        return []
    parts = text.split(":")
    if len(parts) > 3 or any(part not in ("1", "2") for part in parts):
        raise statement.fail(f'invalid "levels" "{argument.text}"', argument, "one to three of 1 and 2, as in levels=1:2")
    return [int(part) for part in parts]


PROXY_CACHE_PATH: Final = Directive[CachePath | None](
    "proxy_cache_path", HTTP, _cache_path, args="2+", default=None, many=True,
    syntax="PATH [levels=N:N] keys_zone=NAME:SIZE [inactive=TIME] [max_size=SIZE] [min_free=SIZE] [use_temp_path=on|off] "
    "[loader_files=N] [loader_sleep=TIME] [loader_threshold=TIME] [manager_files=N] [manager_sleep=TIME] [manager_threshold=TIME]",
    doc="A cache in the directory PATH: one file for each answer, in directories cut off its name as `levels` says. "
    "`keys_zone` names it and the memory, shared by all workers, of its index; a megabyte holds 8,000 entries. What nobody "
    "asked for within `inactive` (10m) is removed. With `max_size` or `min_free`, what was used longest ago goes. Files are "
    "written in `proxy_temp_path`, or with `use_temp_path=off` in PATH itself, and get their place when they are whole. Meanwhile "
    "they have no name; on a file system that cannot do that, what a killed worker leaves the next worker that starts removes "
    "(with `use_temp_path=off` and no `levels`, and where `proxy_temp_path` is on another file system: the next start). At the "
    "start what is there is found again, `loader_files` (100) at a time with a pause of `loader_sleep` (50ms); `manager_files` "
    "and `manager_sleep` say the same of what is removed. A turn never takes more than 4 ms of a worker, however much the "
    "thresholds allow.",
    example="proxy_cache_path /tmp/portico_cache levels=1:2 keys_zone=pages:10m max_size=1g inactive=60m use_temp_path=off;",
)


def caches_of(http: HttpBuild) -> Caches:
    """The caches of the configuration that is being built."""
    caches = http.state.setdefault(_STATE, Caches())
    assert isinstance(caches, Caches)
    return caches


def open_caches(http: HttpBuild, temp_path: str) -> None:
    """Make the stores of all `proxy_cache_path`."""
    caches = caches_of(http)
    paths: dict[str, Setting[CachePath | None]] = {}
    tables: list[SharedTable] = []
    for setting in http.scope.own_settings(PROXY_CACHE_PATH):
        settings = setting.value
        assert settings is not None
        try:
            name = settings.name.encode("utf-8", "surrogateescape")
            if name in caches.stores:
                raise ConfigError(f'duplicate zone "{settings.name}"', setting.where, "each cache needs a name of its own")
            place = os.path.realpath(settings.path)  # of what is there of it
            if place in paths:
                raise _same_path(settings.path, setting.where, paths[place].where)
            for store in caches.stores.values():
                other = os.path.realpath(store.settings.path)
                if place.startswith(other + "/"):
                    store.settings.others.append(store.settings.path + place[len(other) :])
                elif other.startswith(place + "/"):
                    settings.others.append(settings.path + other[len(place) :])
            paths[place] = setting
            settings.temp_path = temp_path
            levels = ":".join(map(str, settings.levels))
            try:
                zone = http.zones.add(settings.name, settings.zone_size, f"{_USE}{settings.path} levels={levels}")
            except ZoneConflict as error:
                raise ConfigError(str(error), setting.where) from None
            _check_directory(settings.path, setting.where)
            http.temp_paths.add(settings.path)
            table = open_zone(zone, COLUMNS, setting.where)
            tables.append(table)
            caches.stores[name] = Store(settings, Index(table))
        except ConfigError as problem:
            http.scope.load.diagnostics.error(problem)
    retired = [
        Index(zone.table) for zone in http.zones.before()
        if zone.use.startswith(_USE) and zone.table is not None and zone.table not in tables
    ]  # fmt: skip
    if caches.stores or retired:
        http.workers.append(CacheHook(caches, retired))


def _same_path(path: str, where: Where, other: Where) -> ConfigError:
    """Two caches in one directory, also when it is written in two ways, would remove each other's files. (nginx: ngx_add_path.)"""
    text = f'the same path name "{path}" used in {other} and'
    return ConfigError(text, where, "each cache needs a directory of its own")


def _check_directory(path: str, where: Where) -> None:
    """Raises ConfigError for a path that can never be a directory of ours."""
    if os.path.isdir(path):
        if not os.access(path, os.W_OK | os.X_OK):
            raise ConfigError(f'the cache "{path}" cannot be written to', where, "give the directory to the user of the workers")
        return
    if os.path.exists(path):
        raise ConfigError(f'the cache "{path}" is no directory', where, "name a directory; it is made if it is not there")
    parent = path
    while not os.path.exists(parent):
        parent = os.path.dirname(parent) or "/"
    if not os.path.isdir(parent) or not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f'the cache "{path}" cannot be made: "{parent}" cannot be written to', where, "make the directory yourself")


@final
class CacheHook(WorkerHook):
    """What the caches have in each worker."""

    def __init__(self, caches: Caches, retired: list[Index]) -> None:
        self.caches = caches
        self.retired = retired  # indexes of the configuration before in whose place others are now, as soon as a worker starts
        self.keepers: list[Keeper] = []

    def start(self, runtime: object) -> None:
        assert isinstance(runtime, Runtime)
        for index in self.retired:
            index.retire()
        self.retired = []
        self.caches.runtime = runtime
        reactor = runtime.reactor

        def complain(message: str) -> None:
            runtime.error_log.write(CRIT, message)

        def now() -> float:
            return reactor.now

        def is_leaving() -> bool:
            return runtime.draining

        room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // (4 * max(1, len(self.caches.stores)))
        for store in self.caches.stores.values():
            store.identity = own_identity()
            store.most_open = max(_LEAST_OPEN, min(store.most_open, room))
            store.log = complain
            store.now = now
            keeper = Keeper(store, is_leaving)
            self.keepers.append(keeper)
            asyncio.get_event_loop().call_soon(_begin, reactor, keeper)  # once the loop runs

    def stop(self) -> None:
        for keeper in self.keepers:
            keeper.leave()
        for store in self.caches.stores.values():
            store.close()


def _begin(reactor: Reactor, keeper: Keeper) -> None:
    reactor.spawn(keeper.run())


def with_cache(build: LocationBuild, handler: ProxyHandler) -> Handler:
    """The location's handler, behind a cache where it has one."""
    scope = build.scope
    if store_or_cache(scope, CACHE.zone):
        handler.store = FileStore(scope, scope.get(PROXY_STORE), handler.settings.temp_path, stores_of(build.http))
        return handler
    settings = CacheSettings(CACHE, scope)
    if settings.zone is None:
        return handler
    caches = caches_of(build.http)
    cached = CachedProxy(handler, settings, caches)
    if not settings.zone.has_variables():
        name = settings.zone.text
        store = caches.stores.get(name.encode("utf-8", "surrogateescape"))
        setting = scope.setting(CACHE.zone)
        if store is None:
            if any(path.value is not None and path.value.name == name for path in build.http.scope.own_settings(PROXY_CACHE_PATH)):
                return handler  # what is wrong with it has been said
            assert setting is not None
            raise ConfigError(f'"proxy_cache" zone "{name}" is unknown', setting.where, "no proxy_cache_path has it as its keys_zone")
        store.memory = max(store.memory, settings.memory)
        cached.store = store
    else:
        for known in caches.stores.values():
            known.memory = max(known.memory, settings.memory)
    if settings.rfc and b"date" not in scope.all(PROXY_HIDE_HEADER):
        handler.rules.hidden -= {b"date"}  # RFC 9110 section 6.6.1: it says when the answer was made, not when it was sent on
    handler.head.leave_conditions_out()
    purge = scope.get(PROXY_CACHE_PURGE)
    return PurgeHandler(cached, purge) if purge else cached


def _status(request: Request) -> bytes | None:
    return None if request.caching is None else request.caching.status


def _key(request: Request) -> bytes | None:
    return None if request.caching is None else request.caching.key


def _age(request: Request) -> bytes | None:
    caching = request.caching
    if caching is None or caching.stored < 0:
        return None
    return b"%d" % max(0, int(request.reactor.wall()) - caching.stored)


def _stored_modified(request: Request) -> bytes | None:
    return _stored_field(request, b"last-modified")


def _stored_etag(request: Request) -> bytes | None:
    return _stored_field(request, b"etag")


def _stored_field(request: Request, name: bytes) -> bytes | None:
    caching = request.caching
    if caching is None or caching.status != EXPIRED or not caching.revalidate:
        return None
    head = caching.stored_head
    return head.get(name) if isinstance(head, ResponseHead) else None


CACHE_DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    PROXY_CACHE_PATH, *CACHE.all(), PROXY_CACHE_PURGE, PROXY_STORE, PROXY_STORE_ACCESS,
)  # fmt: skip
CACHE_VARIABLES: Final = (
    Variable(
        "upstream_cache_status", _status, PER_REQUEST,
        "What the cache had: `HIT`, `MISS`, `EXPIRED`, `STALE`, `UPDATING`, `REVALIDATED` or `BYPASS`.",
    ),
    Variable("upstream_cache_key", _key, PER_REQUEST, "The key under which the answer is kept."),
    Variable(
        "upstream_cache_last_modified", _stored_modified, PER_REQUEST,
        "`Last-Modified` of the kept answer that is being revalidated.",
    ),
    Variable("upstream_cache_etag", _stored_etag, PER_REQUEST, "`ETag` of the kept answer that is being revalidated."),
    Variable(
        "upstream_cache_age", _age, PER_REQUEST,
        "For how many seconds what answers has been kept, or since it was confirmed; with `proxy_cache_rfc` what `Age` says.",
    ),
)  # fmt: skip
