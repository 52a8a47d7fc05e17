"""The `geoip2` block: variables from any place of a database in MaxMind's format. (ngx_http_geoip2_module.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, Directive, Scope
from portico.config.reader import Statement
from portico.features.geoip.database import Database
from portico.features.geoip.feature import open_database, parse_proxy
from portico.features.geoip.records import address_of, find, record_of, written
from portico.features.geoip.reloading import Reloading
from portico.http.feature import Feature, HttpBuild
from portico.net.networks import Network, packed, unmapped
from portico.variables.template import Template, template_of
from portico.variables.variable import NESTING, Variables

if TYPE_CHECKING:
    from portico.http.request import Request

_DECIMALS: Final = 5
_BUILD_EPOCH: Final = 0
_LAST_CHECK: Final = 1
_LAST_CHANGE: Final = 2
_METADATA: Final[dict[str, int]] = {"build_epoch": _BUILD_EPOCH, "last_check": _LAST_CHECK, "last_change": _LAST_CHANGE}


@final
class Metadatum:
    """`$variable metadata FIELD`."""

    def __init__(self, name: str, database: Database, field: int) -> None:
        self.name = name
        self.database = database
        self.field = field

    def get(self, request: Request) -> bytes | None:
        """Return it, a time in seconds."""
        known = request.values
        if known is not None and self.name in known:
            return known[self.name]
        if self.field == _BUILD_EPOCH:
            return b"%d" % self.database.content.epoch
        return b"%d" % int(self.database.last_check if self.field == _LAST_CHECK else self.database.last_change)


@final
class Lookup:
    """`$variable [default=VALUE] [source=$ADDRESS] PATH …`."""

    def __init__(self, name: str, database: Database) -> None:
        self.name = name
        self.database = database
        self.default: bytes | None = None
        self.source: Template | None = None
        self.path: tuple[str, ...] = ()
        self.proxies: list[Network] = []
        self.recursive = False

    def get(self, request: Request) -> bytes | None:
        """Return the value for the address, else the default."""
        known = request.values
        if known is not None and self.name in known:
            return known[self.name]
        if not NESTING.enter(request, self.name):
            return None
        try:
            address = self._address(request)
        finally:
            NESTING.leave()
        value = written(find(record_of(request, self.database, address), self.path), _DECIMALS)
        return self.default if value is None else value

    def _address(self, request: Request) -> bytes:
        """Return the address to look up; b"" when there is none."""
        if self.source is None:
            return address_of(request, self.proxies, self.recursive)
        address = packed(self.source.render(request).decode("latin-1"))
        return b"" if address is None else unmapped(address)


@final
class Block:
    """One `geoip2`."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.database = open_database(statement, statement.args[0].text, "GeoLite2-City")
        self.interval = 0  # of `auto_reload`, in seconds
        self.lookups: list[Lookup] = []
        self.metadata: list[Metadatum] = []
        for line in statement.block or []:
            if line.block is not None:
                raise line.fail(f'unexpected "{{" behind "{line.name}"')
            self._add(line)

    def _add(self, line: Statement) -> None:
        if line.name.startswith("$") and len(line.name) > 1:
            self._add_variable(line)
        elif line.name == "auto_reload":
            if len(line.args) != 1:
                raise line.fail("invalid number of arguments for auto_reload")
            interval = values.seconds_of(line.args[0].text)
            if interval is None:
                raise line.fail(f'invalid interval for auto_reload "{line.args[0].text}"', line.args[0])
            self.interval = interval
        else:
            raise line.fail(f'invalid setting "{line.name}"', None, "auto_reload, or a variable: $country_code country iso_code;")

    def _add_variable(self, line: Statement) -> None:
        name = line.name[1:].lower()
        words = line.args
        if words and words[0].text == "metadata":
            field = _METADATA.get(words[1].text) if len(words) == 2 else None
            if field is None:
                raise line.fail(f'invalid metadata for "{line.name}"', words[-1], "one of " + ", ".join(_METADATA))
            self.metadata.append(Metadatum(name, self.database, field))
            return
        made = Lookup(name, self.database)
        at = 0
        while at < len(words) and "=" in words[at].text:
            setting, _, value = words[at].text.partition("=")
            if setting not in ("default", "source") or not value:
                raise line.fail(f'invalid setting "{words[at].text}" for "{line.name}"', words[at])
            if (made.default if setting == "default" else made.source) is not None:
                raise line.fail(f'{setting} has already been declared for "{line.name}"', words[at])
            if setting == "default":
                made.default = value.encode("utf-8", "surrogateescape")
            elif not value.startswith("$"):
                raise line.fail(f'invalid source variable name "{value}"', words[at])
            else:
                made.source = template_of(value, line)
            at += 1
        made.path = tuple(word.text for word in words[at:])
        if not made.path:
            raise line.fail(f'no path for "{line.name}"', None, f"say where in a record its value is: {line.name} country iso_code;")
        self.lookups.append(made)

    def define(self, variables: Variables[Request], proxies: list[Network], recursive: bool) -> None:
        """Make the variables known. Raises ConfigError for a name that Portico has."""
        for lookup in self.lookups:
            lookup.proxies = proxies
            lookup.recursive = recursive
            if not variables.define(lookup.name, lookup.get):
                raise self.statement.fail(f'the duplicate "{lookup.name}" variable', self.statement.args[0])
        for datum in self.metadata:
            if not variables.define(datum.name, datum.get):
                raise self.statement.fail(f'the duplicate "{datum.name}" variable', self.statement.args[0])


GEOIP2: Final = Directive[Block | None](
    "geoip2", HTTP, Block, args="1", many=True, default=None, raw_block=True, beyond=True,
    syntax="FILE { $VARIABLE [default=VALUE] [source=$ADDRESS] PATH ...; ... }",
    doc="Defines variables whose values are at a path in the record that a database in MaxMind's format (.mmdb) has of the client's "
    "address, or of that in `source`: names of maps, and numbers in arrays. `default` is for addresses and paths that are not there. "
    "`$variable metadata FIELD` is a time in seconds: `build_epoch`, `last_check` or `last_change`. With `auto_reload TIME` the file "
    "is looked at that often; one that has changed is read by a thread, and takes the place of the one before when it is whole.",
    example="geoip2 city.mmdb { auto_reload 5m; $client_country default=US source=$remote_addr country iso_code; "
    "$client_city city names en; $city_build metadata build_epoch; }",
)
GEOIP2_PROXY: Final = Directive[Network | None](
    "geoip2_proxy", HTTP, parse_proxy, args="1", many=True, default=None, beyond=True, syntax="ADDRESS | NETWORK",
    doc="Trusts this proxy: of a request from it the address in X-Forwarded-For is looked up. What has a `source` is not concerned.",
    example="geoip2_proxy 10.0.0.0/8;",
)
GEOIP2_PROXY_RECURSIVE: Final = Directive[bool](
    "geoip2_proxy_recursive", HTTP, values.flag, args="1", default=False, default_text="off", beyond=True,
    doc="With `on` it is the last address in X-Forwarded-For that is not trusted itself, else the last one.",
    example="geoip2_proxy_recursive on;",
)


class GeoIP2Feature(Feature):
    """Makes the variables known, and looks after the databases that are to be read again."""

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        proxies = [proxy for proxy in scope.own_all(GEOIP2_PROXY) if proxy is not None]
        recursive = scope.get(GEOIP2_PROXY_RECURSIVE)
        paths: set[str] = set()
        for block in scope.own_all(GEOIP2):
            if block is None:
                continue
            try:
                path = block.database.path
                if path in paths:
                    hint = "put its variables in one block"
                    raise block.statement.fail(f'duplicate database "{path}"', block.statement.args[0], hint)
                paths.add(path)
                block.define(variables, proxies, recursive)
            except ConfigError as error:
                scope.load.diagnostics.error(error)

    def http(self, build: HttpBuild) -> None:
        for block in build.scope.own_all(GEOIP2):
            if block is not None and block.interval > 0:
                build.workers.append(Reloading(block.database, block.interval))


FEATURE: Final = GeoIP2Feature("http_geoip2", (GEOIP2, GEOIP2_PROXY, GEOIP2_PROXY_RECURSIVE))
