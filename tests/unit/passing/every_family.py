"""Every family of directives under one prefix, and configurations that use them."""

from __future__ import annotations

from pathlib import Path

from portico.config import build as config_build
from portico.config.diagnostics import ConfigError, Diagnostics
from portico.config.directive import Directive, Scope
from portico.config.load import Load
from portico.config.reader import read_text
from portico.errorlog import LogFiles
from portico.http import listen
from portico.http import settings as http_settings
from portico.http.feature import HttpBuild
from portico.passing.cached.attach import all_caches, open_caches
from portico.passing.cached.settings import CacheDirectives, CacheSettings
from portico.passing.directives import ParamDirectives, ResponseFieldDirectives, ResponseFieldSettings, SetHeaderDirectives
from portico.passing.failure import CONDITIONS, ERROR, HTTP_404, HTTP_502, HTTP_504, INVALID_HEADER, OFF, TIMEOUT
from portico.passing.families import Family, Prefix
from portico.passing.settings import (
    BufferingDirectives,
    ExchangeDirectives,
    InterceptDirectives,
    RangeDirectives,
    RequestDirectives,
    RetryDirectives,
    UpstreamFamily,
    UpstreamSettings,
    upstream_settings,
)
from portico.passing.store_settings import StoreDirectives, StoreSettings
from portico.passing.tls import TLSDirectives, tls_settings
from portico.variables.variable import Variables
from portico.zones.zone import Zones

CGI_CONDITIONS = {word: bit for word, bit in CONDITIONS.items() if bit not in (HTTP_502, HTTP_504)}
MEMCACHED_CONDITIONS = {
    "error": ERROR, "timeout": TIMEOUT, "invalid_response": INVALID_HEADER, "not_found": HTTP_404, "off": OFF,
}  # fmt: skip


class EveryFamily:
    """All families with one prefix, though no protocol has them all."""

    def __init__(self, name: str, server: str, conditions: dict[str, int] = CONDITIONS, cache_key: str = "") -> None:
        prefix = Prefix(name, server)
        self.name = name
        exchange = ExchangeDirectives(prefix)
        self.buffering = BufferingDirectives(exchange)
        self.upstream: tuple[UpstreamFamily, ...] = (
            exchange, RetryDirectives(prefix, conditions), self.buffering, RequestDirectives(prefix), InterceptDirectives(prefix),
            RangeDirectives(prefix),
        )  # fmt: skip
        self.set_header = SetHeaderDirectives(prefix, "none")
        self.param = ParamDirectives(prefix)
        self.fields = ResponseFieldDirectives(prefix, ("Status",))
        self.cache = CacheDirectives(prefix, cache_key, conditions, converts_head=True)
        self.store = StoreDirectives(prefix)
        self.tls = TLSDirectives(prefix, f"the host of {name}_pass")
        self.families: tuple[Family, ...] = (
            *self.upstream, self.set_header, self.param, self.fields, self.cache, self.store, self.tls
        )  # fmt: skip

    def directives(self) -> dict[str, Directive[object]]:
        """Return all of them by what stands behind the prefix: "read_timeout"."""
        found = [directive for family in self.families for directive in family.all()]
        return {directive.name.removeprefix(f"{self.name}_"): directive for directive in found}


class Loaded:
    """`http { HTTP server { SERVER location / { LOCATION } } }` with the families' directives; `@_` is the prefix."""

    def __init__(self, every: EveryFamily, directory: Path, http: str = "", server: str = "", location: str = "") -> None:
        self.every = every
        self.load = Load(str(directory), "x.conf")
        text = f"http {{ {http} server {{ {server} location / {{ {location} }} }} }}".replace("@_", f"{every.name}_")
        blocks: list[Directive[object]] = [
            value for module in (http_settings, listen) for value in vars(module).values() if isinstance(value, Directive)
        ]
        known = list(dict.fromkeys([*blocks, *every.directives().values()]))
        root = config_build.build(read_text(text, "x.conf", self.load), known, self.load)
        self.http: Scope = root.children[0]
        self.location: Scope = self.http.children[0].children[0]
        self.build = HttpBuild(self.http, Variables(), Zones(), LogFiles())

    @property
    def diagnostics(self) -> Diagnostics:
        """Those of the load."""
        return self.load.diagnostics

    def raise_first(self) -> None:
        """Raise the first mistake, if there is one."""
        if self.diagnostics.errors:
            raise self.diagnostics.errors[0]

    def value(self, suffix: str) -> object:
        """Return what is in force in the location for a directive that no settings object has."""
        return self.location.get(self.every.directives()[suffix])

    def upstream(self) -> UpstreamSettings:
        """Return the location's settings of the exchange."""
        return upstream_settings(self.every.upstream, self.location)

    def cache(self) -> CacheSettings:
        """Return the location's settings of the cache."""
        return CacheSettings(self.every.cache, self.location)

    def store(self) -> StoreSettings:
        """Return the location's settings of `*_store`."""
        return StoreSettings(self.every.store, self.location)

    def tls(self) -> object:
        """Return the location's settings of TLS."""
        return tls_settings(self.every.tls, self.location)

    def fields(self) -> ResponseFieldSettings:
        """Return the location's settings of fields of responses."""
        return ResponseFieldSettings(self.every.fields, self.location)

    def open_caches(self) -> list[bytes]:
        """Open the caches; their names."""
        open_caches(self.build, self.every.cache, "/temp")
        self.raise_first()
        return list(all_caches(self.build).of(self.every.cache).stores)


def refusal(every: EveryFamily, directory: Path, http: str = "", server: str = "", location: str = "") -> ConfigError:
    """Return the mistake for which a configuration is refused, whichever settings object finds it."""
    loaded = Loaded(every, directory, http, server, location)
    try:
        loaded.raise_first()
        loaded.open_caches()
        loaded.upstream()
    except ConfigError as error:
        return error
    raise AssertionError("the configuration was accepted")
