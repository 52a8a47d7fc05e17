"""`geoip_country`, `geoip_city`, `geoip_org`: nginx's variables about where a client is. (nginx: ngx_http_geoip_module.c.)

nginx reads databases of the old format .dat, which nobody publishes any more. Portico reads those of their successor, .mmdb.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, Directive, Scope
from portico.config.reader import Statement
from portico.features.geoip.countries import ALPHA3
from portico.features.geoip.database import Database, DatabaseFailed
from portico.features.geoip.records import address_of, find, record_of, written
from portico.http.feature import Feature
from portico.net.networks import Network
from portico.variables.geo import network_of
from portico.variables.variable import PER_REQUEST, Variable, Variables

if TYPE_CHECKING:
    from portico.http.request import Request

Path = tuple[str, ...]

_TEXT: Final = 0
_ALPHA3: Final = 1  # the code with three letters of that with two
_DECIMALS: Final = 4
# Databases of the publishers that we know begin with these; of any other one, whatever its type says, we hope the best.
_PUBLISHERS: Final = ("GeoLite2-", "GeoIP2-", "DBIP-")


def open_database(statement: Statement, path: str, edition: str) -> Database:
    """Return the database that a statement names. Raises ConfigError."""
    try:
        return Database(statement.load.full_path(path), edition)
    except DatabaseFailed as failure:
        raise statement.fail(f'cannot use the database "{path}": {failure.reason}', statement.args[0], failure.hint) from None


def _database(statement: Statement, edition: str, kinds: tuple[str, ...]) -> Database:
    if len(statement.args) == 2 and statement.args[1].text != "utf8":
        raise statement.fail(f'invalid parameter "{statement.args[1].text}"', statement.args[1])
    made = open_database(statement, statement.args[0].text, edition)
    kind = made.content.kind
    if kind.startswith(_PUBLISHERS) and not any(word in kind for word in kinds):
        raise statement.fail(
            f'the database "{statement.args[0].text}" is a {kind}: {statement.name} finds nothing in it',
            statement.args[0], f"name one such as {edition}",
        )  # fmt: skip
    return made


def _country(statement: Statement) -> Database:
    return _database(statement, "GeoLite2-Country", ("Country", "City", "Enterprise", "Location"))


def _city(statement: Statement) -> Database:
    return _database(statement, "GeoLite2-City", ("City", "Enterprise", "Location"))


def _org(statement: Statement) -> Database:
    return _database(statement, "GeoLite2-ASN", ("ASN", "ISP", "Enterprise"))


def parse_proxy(statement: Statement) -> Network:
    """Return the network of a trusted proxy; a directive's parser. Raises ConfigError."""
    return network_of(statement, statement.args[0].text)


_NO_FILE: Final[Database | None] = None
_UTF8: Final = " The parameter `utf8` is accepted: names are in UTF-8 in any case."
GEOIP_COUNTRY: Final = Directive[Database | None](
    "geoip_country", HTTP, _country, args="1-2", default=_NO_FILE, syntax="FILE [utf8]",
    doc="Looks up the country of the client's address in a database in MaxMind's format (.mmdb), such as GeoLite2-Country, for "
    "`$geoip_country_code`, `$geoip_country_code3` and `$geoip_country_name`. nginx's databases (.dat) are not read: nobody "
    "publishes them any more." + _UTF8,
    example="geoip_country country.mmdb;",
)
GEOIP_CITY: Final = Directive[Database | None](
    "geoip_city", HTTP, _city, args="1-2", default=_NO_FILE, syntax="FILE [utf8]",
    doc="Looks up country, region and city of the client's address in a database in MaxMind's format (.mmdb), such as GeoLite2-City, "
    "for `$geoip_city`, `$geoip_region`, `$geoip_latitude` and their kin. `$geoip_region` is the code of ISO 3166-2." + _UTF8,
    example="geoip_city city.mmdb;",
)
GEOIP_ORG: Final = Directive[Database | None](
    "geoip_org", HTTP, _org, args="1-2", default=_NO_FILE, syntax="FILE [utf8]",
    doc="Looks up whom the client's address belongs to in a database in MaxMind's format (.mmdb), such as GeoLite2-ASN, for "
    "`$geoip_org`: the organisation, or else the one of its autonomous system." + _UTF8,
    example="geoip_org asn.mmdb;",
)
GEOIP_PROXY: Final = Directive[Network | None](
    "geoip_proxy", HTTP, parse_proxy, args="1", many=True, default=None, syntax="ADDRESS | NETWORK",
    doc="Trusts this proxy: of a request from it the address in X-Forwarded-For is looked up.", example="geoip_proxy 10.0.0.0/8;",
)
GEOIP_PROXY_RECURSIVE: Final = Directive[bool](
    "geoip_proxy_recursive", HTTP, values.flag, args="1", default=False, default_text="off",
    doc="With `on` it is the last address in X-Forwarded-For that is not trusted itself, else the last one.",
    example="geoip_proxy_recursive on;",
)


@final
class Field:
    """One variable: where in the records of a database its value is, in the first of `paths` that leads to any."""

    def __init__(self, database: Database, paths: tuple[Path, ...], form: int, proxies: list[Network], recursive: bool) -> None:
        self.database = database
        self.paths = paths
        self.form = form
        self.proxies = proxies
        self.recursive = recursive

    def get(self, request: Request) -> bytes | None:
        """Return the value for the client's address; None when there is none."""
        record = record_of(request, self.database, address_of(request, self.proxies, self.recursive))
        for path in self.paths:
            value = find(record, path)
            if value is not None:
                if self.form == _ALPHA3:
                    value = ALPHA3.get(value) if isinstance(value, str) else None
                return None if value is None else written(value, _DECIMALS)
        return None


@final
class FieldPlace:
    """A variable of nginx's, and where the databases have it."""

    def __init__(self, name: str, paths: tuple[Path, ...], doc: str, form: int = _TEXT) -> None:
        self.name = name
        self.paths = paths
        self.doc = doc
        self.form = form


_CODE: Final[tuple[Path, ...]] = (("country", "iso_code"),)
_NAME: Final[tuple[Path, ...]] = (("country", "names", "en"),)
_OF_COUNTRIES: Final[tuple[FieldPlace, ...]] = (
    FieldPlace("geoip_country_code", _CODE, "The client's country, by `geoip_country`: two letters."),
    FieldPlace("geoip_country_code3", _CODE, "The same with three letters.", _ALPHA3),
    FieldPlace("geoip_country_name", _NAME, "Its name in English."),
)
_OF_CITIES: Final[tuple[FieldPlace, ...]] = (
    FieldPlace("geoip_city_continent_code", (("continent", "code"),), "The client's continent, by `geoip_city`: two letters."),
    FieldPlace("geoip_city_country_code", _CODE, "The country: two letters."),
    FieldPlace("geoip_city_country_code3", _CODE, "The country: three letters.", _ALPHA3),
    FieldPlace("geoip_city_country_name", _NAME, "The country's name in English."),
    FieldPlace("geoip_region", (("subdivisions", "0", "iso_code"),), "The region's code (ISO 3166-2, without the country)."),
    FieldPlace("geoip_region_name", (("subdivisions", "0", "names", "en"),), "The region's name in English."),
    FieldPlace("geoip_city", (("city", "names", "en"),), "The city's name in English."),
    FieldPlace("geoip_postal_code", (("postal", "code"),), "The postal code."),
    FieldPlace("geoip_latitude", (("location", "latitude"),), "The latitude, with four decimals."),
    FieldPlace("geoip_longitude", (("location", "longitude"),), "The longitude, with four decimals."),
    FieldPlace("geoip_dma_code", (("location", "metro_code"),), "The code of the metropolitan area, in the USA."),
    FieldPlace("geoip_area_code", (), "Always empty: databases have had no telephone area code since 2013."),
)
_OF_ORGANISATIONS: Final[tuple[FieldPlace, ...]] = (
    FieldPlace(
        "geoip_org", (("organization",), ("traits", "organization"), ("autonomous_system_organization",), ("isp",)),
        "Whom the client's address belongs to, by `geoip_org`.",
    ),
)  # fmt: skip


def _nowhere(request: Request) -> bytes | None:
    """Stand for a variable whose database the configuration does not name."""
    return None


class GeoIPFeature(Feature):
    """Puts what looks into a database in the place of variables that have no value without one."""

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        proxies = [proxy for proxy in scope.own_all(GEOIP_PROXY) if proxy is not None]
        recursive = scope.get(GEOIP_PROXY_RECURSIVE)
        for directive, places in _PLACES:
            database = scope.own(directive)
            if database is not None:
                for place in places:
                    field = Field(database, place.paths, place.form, proxies, recursive)
                    variables.add(Variable(place.name, field.get, PER_REQUEST, place.doc))


_PLACES: Final[tuple[tuple[Directive[Database | None], tuple[FieldPlace, ...]], ...]] = (
    (GEOIP_COUNTRY, _OF_COUNTRIES), (GEOIP_CITY, _OF_CITIES), (GEOIP_ORG, _OF_ORGANISATIONS),
)  # fmt: skip


def _without_databases() -> tuple[Variable[Request], ...]:
    """Return all variables as they are where no database is named."""
    found: list[Variable[Request]] = []
    for _, places in _PLACES:
        found += [Variable(place.name, _nowhere, PER_REQUEST, place.doc) for place in places]
    return tuple(found)


FEATURE: Final = GeoIPFeature(
    "http_geoip",
    (GEOIP_COUNTRY, GEOIP_CITY, GEOIP_ORG, GEOIP_PROXY, GEOIP_PROXY_RECURSIVE),
    _without_databases(),
    configure="--with-http_geoip_module",
)
