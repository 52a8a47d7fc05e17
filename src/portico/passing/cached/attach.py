"""The caches of `*_cache_path`, opened. A location's handler put behind one."""

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
from portico.config.diagnostics import ConfigError
from portico.config.directive import Scope, Setting
from portico.config.reader import Where
from portico.errorlog import CRIT
from portico.http.feature import BuildSlot, HttpBuild, LocationBuild
from portico.http.handler import Handler
from portico.net.reactor import Reactor
from portico.passing.cached.handler import CachedProxy
from portico.passing.cached.hook import caching_of
from portico.passing.cached.purge import PurgeHandler
from portico.passing.cached.settings import CacheDirectives, CacheSettings
from portico.passing.cached.storing import Caches
from portico.passing.directives import ResponseFieldDirectives
from portico.passing.store import FileStore, stores_of
from portico.passing.store_settings import StoreDirectives, StoreSettings, store_or_cache
from portico.variables.variable import PER_REQUEST, Variable
from portico.worker.hook import WorkerHook
from portico.worker.runtime import Runtime
from portico.zones.opening import open_zone
from portico.zones.owner import own_identity
from portico.zones.table import SharedTable
from portico.zones.zone import ZoneConflict

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.passing.handler import ProxyHandler

_LEAST_OPEN: Final = 16  # files of a cache that a worker keeps open, however few it may have


@final
class AllCaches:
    """The caches of a configuration that is being built: those of `proxy_cache_path`, of `fastcgi_cache_path` and so on apart."""

    def __init__(self) -> None:
        self.by_prefix: dict[str, Caches] = {}
        self.places: dict[str, Where] = {}  # by real path: where each directory was given to a cache

    def of(self, d: CacheDirectives) -> Caches:
        """Return those of one prefix."""
        return self.by_prefix.setdefault(d.prefix.name, Caches())


def all_caches(http: HttpBuild) -> AllCaches:
    """Return the caches of the configuration that is being built."""
    return _CACHES.of(http)


def _no_caches(http: HttpBuild) -> AllCaches:
    return AllCaches()


_CACHES: Final = BuildSlot[AllCaches](_no_caches)


def open_caches(http: HttpBuild, d: CacheDirectives, temp_path: str) -> None:
    """Make the stores of all `*_cache_path` of one prefix, once. Mistakes go to the load's diagnostics."""
    every = all_caches(http)
    caches = every.of(d)
    tables: list[SharedTable] = []
    for setting in http.scope.own_settings(d.path):
        try:
            tables.append(_open_cache(http, d, every, setting, temp_path))
        except ConfigError as problem:
            http.scope.load.diagnostics.error(problem)
    use = _use(d)
    retired = [
        Index(zone.table) for zone in http.zones.before()
        if zone.use.startswith(use) and zone.table is not None and zone.table not in tables
    ]  # fmt: skip
    if caches.stores or retired:
        http.workers.append(CacheHook(caches, retired))


def _open_cache(
    http: HttpBuild, d: CacheDirectives, every: AllCaches, setting: Setting[CachePath | None], temp_path: str
) -> SharedTable:
    """Make the store of one `*_cache_path`; its index is returned. Raises ConfigError."""
    settings = setting.value
    assert settings is not None
    stores = every.of(d).stores
    name = settings.name.encode("utf-8", "surrogateescape")
    place = os.path.realpath(settings.path)  # of what is there of it
    if place in every.places:
        raise _same_path(settings.path, setting.where, every.places[place])
    if name in stores:
        raise ConfigError(f'duplicate zone "{settings.name}"', setting.where, "each cache needs a name of its own")
    for caches in every.by_prefix.values():
        for store in caches.stores.values():
            other = os.path.realpath(store.settings.path)
            if place.startswith(other + "/"):
                store.settings.others.append(store.settings.path + place[len(other) :])
            elif other.startswith(place + "/"):
                settings.others.append(settings.path + other[len(place) :])
    every.places[place] = setting.where
    settings.temp_path = temp_path
    levels = ":".join(map(str, settings.levels))
    try:
        zone = http.zones.add(settings.name, settings.zone_size, f"{_use(d)}{settings.path} levels={levels}")
    except ZoneConflict as error:
        raise ConfigError(str(error), setting.where) from None
    _check_directory(settings.path, setting.where)
    http.temp_paths.add(settings.path)
    table = open_zone(zone, COLUMNS, setting.where)
    stores[name] = Store(settings, Index(table))
    return table


def _use(d: CacheDirectives) -> str:
    """Return what the zones of one prefix are for, as they say it themselves."""
    return f"{d.zone.name} "


def _same_path(path: str, where: Where, other: Where) -> ConfigError:
    """Return the error for two caches in one directory, however it is written: they would remove each other's files (ngx_add_path).
    """
    text = f'the same path name "{path}" used in {other} and'
    return ConfigError(text, where, "each cache needs a directory of its own")


def _check_directory(path: str, where: Where) -> None:
    """Raise ConfigError for a path that can never be a directory of ours."""
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

    def start(self, runtime: Runtime) -> None:
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


def store_of_zone(http: HttpBuild, d: CacheDirectives, scope: Scope) -> Store | None:
    """Return the cache that the `*_cache` in force names; None when its `*_cache_path` was refused. Raises ConfigError."""
    setting = scope.setting(d.zone)
    assert setting is not None and setting.value is not None
    name = setting.value.text
    store = all_caches(http).of(d).stores.get(name.encode("utf-8", "surrogateescape"))
    if store is None and not any(path.value is not None and path.value.name == name for path in http.scope.own_settings(d.path)):
        hint = f"no {d.path.name} has it as its keys_zone"
        raise ConfigError(f'"{d.zone.name}" zone "{name}" is unknown', setting.where, hint)
    return store


def with_cache(
    build: LocationBuild, handler: ProxyHandler, d: CacheDirectives, store_d: StoreDirectives, fields: ResponseFieldDirectives
) -> Handler:
    """Return the location's handler, behind a cache where it has one, with a store where it has that.

    The families are those of the handler's prefix.
    """
    scope = build.scope
    if store_or_cache(scope, store_d.store, d.zone):
        handler.attach(FileStore(scope, StoreSettings(store_d, scope), handler.settings.temp_path, stores_of(build.http)))
        return handler
    settings = CacheSettings(d, scope)
    if settings.zone is None:
        return handler
    caches = all_caches(build.http).of(d)
    cached = CachedProxy(handler, settings, caches)
    if not settings.zone.has_variables():
        store = store_of_zone(build.http, d, scope)
        if store is None:
            return handler
        store.memory = max(store.memory, settings.memory)
        cached.keys.store = store
    else:
        for known in caches.stores.values():
            known.memory = max(known.memory, settings.memory)
    if settings.rfc and b"date" not in scope.all(fields.hide_header):
        handler.rules.hidden -= {b"date"}  # RFC 9110 section 6.6.1: it says when the response was made, not when it was sent on
    handler.fields.leave_conditions_out()
    return PurgeHandler(cached, settings.purge) if settings.purge else cached


def _status(request: Request) -> bytes | None:
    caching = caching_of(request)
    return None if caching is None else caching.status


def _key(request: Request) -> bytes | None:
    caching = caching_of(request)
    return None if caching is None else caching.key


def _age(request: Request) -> bytes | None:
    caching = caching_of(request)
    if caching is None or caching.stored < 0:
        return None
    return b"%d" % max(0, int(request.reactor.wall()) - caching.stored)


def _stored_modified(request: Request) -> bytes | None:
    return _stored_field(request, b"last-modified")


def _stored_etag(request: Request) -> bytes | None:
    return _stored_field(request, b"etag")


def _stored_field(request: Request, name: bytes) -> bytes | None:
    caching = caching_of(request)
    if caching is None or caching.status != EXPIRED or not caching.revalidate:
        return None
    head = caching.stored_head
    return head.get(name) if isinstance(head, ResponseHead) else None


CACHE_VARIABLES: Final = (
    Variable(
        "upstream_cache_status", _status, PER_REQUEST,
        "What the cache had: `HIT`, `MISS`, `EXPIRED`, `STALE`, `UPDATING`, `REVALIDATED` or `BYPASS`.",
    ),
    Variable("upstream_cache_key", _key, PER_REQUEST, "The cache key of the request."),
    Variable(
        "upstream_cache_last_modified", _stored_modified, PER_REQUEST,
        "`Last-Modified` of the cached response that is being revalidated.",
    ),
    Variable("upstream_cache_etag", _stored_etag, PER_REQUEST, "`ETag` of the cached response that is being revalidated."),
    Variable(
        "upstream_cache_age", _age, PER_REQUEST,
        "For how many seconds the response has been cached, or since it was revalidated; with `proxy_cache_rfc` what `Age` says.",
    ),
)  # fmt: skip
