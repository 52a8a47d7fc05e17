"""`geoip_country`, `geoip_city`, `geoip_org` and `geoip2`: where an address is, by databases that the tests write."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site
from tests.unit.mmdb import MARK, Sized, database, encoded

from portico.config.diagnostics import ConfigError
from portico.features import geo, map, realip
from portico.features.geoip import feature as geoip
from portico.features.geoip import geoip2
from portico.features.geoip.database import Database, DatabaseFailed
from portico.features.geoip.records import find, written
from portico.features.geoip.reloading import Reloading

CITY = {
    "continent": {"code": "EU"}, "country": {"iso_code": "DE", "names": {"en": "Germany", "de": "Deutschland"}},
    "subdivisions": [{"iso_code": "BY", "names": {"en": "Bavaria"}}], "city": {"names": {"en": "München"}},
    "postal": {"code": "80331"},
    "location": {"latitude": 48.13743, "longitude": 11.5755, "metro_code": 807},
}  # fmt: skip
NETWORKS = {"192.0.2.0/24": CITY, "2001:db8::/32": {"country": {"iso_code": "FR", "names": {"en": "France"}}}}
KINDS = {
    "country.mmdb": database(NETWORKS, "GeoLite2-Country"), "city.mmdb": database(NETWORKS, "GeoLite2-City"),
    "asn.mmdb": database({"192.0.2.0/24": {"autonomous_system_organization": "Example GmbH"}}, "GeoLite2-ASN"),
}  # fmt: skip

Make = Callable[..., Site]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a site of the text of an http block and of a server, with databases beside it."""
    for name, content in KINDS.items():
        (tmp_path / name).write_bytes(content)
    sites: list[Site] = []

    def site(http: str, text: str = "", address: str = "192.0.2.7") -> Site:
        features = (map.FEATURE, geo.FEATURE, geoip.FEATURE, geoip2.FEATURE, realip.FEATURE, *FEATURES)
        made = Site(text, tmp_path, features, http)
        made.client.remote_addr = address.encode()
        sites.append(made)
        return made

    yield site
    for made in sites:
        made.close()


def mistake(make: Make, http: str) -> ConfigError:
    """The first mistake of a configuration."""
    with pytest.raises(ConfigError) as caught:
        make(http)
    return caught.value


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("geoip_country_code", "DE"), ("geoip_country_code3", "DEU"), ("geoip_country_name", "Germany"),
        ("geoip_city_continent_code", "EU"), ("geoip_city_country_code", "DE"), ("geoip_city_country_code3", "DEU"),
        ("geoip_city_country_name", "Germany"), ("geoip_region", "BY"), ("geoip_region_name", "Bavaria"), ("geoip_city", "München"),
        ("geoip_postal_code", "80331"), ("geoip_latitude", "48.1374"), ("geoip_longitude", "11.5755"), ("geoip_dma_code", "807"),
        ("geoip_area_code", ""), ("geoip_org", "Example GmbH"),
    ],
)  # fmt: skip
def test_variables_of_nginx(make: Make, variable: str, value: str) -> None:
    site = make("geoip_country country.mmdb; geoip_city city.mmdb utf8; geoip_org asn.mmdb;", f'return 200 "<${variable}>";')
    assert site.ask("/").body.decode() == f"<{value}>"


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("192.0.2.1", "DE"), ("::ffff:192.0.2.1", "DE"), ("2001:db8::1", "FR"),
        ("198.51.100.1", ""), ("2001:db9::1", ""), ("unix:", ""),
    ],
)  # fmt: skip
def test_addresses(make: Make, address: str, code: str) -> None:
    assert make("geoip_country country.mmdb;", 'return 200 "$geoip_country_code";', address).ask("/").body.decode() == code


def test_variables_without_a_database_are_empty(make: Make) -> None:
    assert make("", 'return 200 "<$geoip_city$geoip_org>";').ask("/").body == b"<>"


def test_an_ipv6_address_is_in_no_ipv4_database_and_that_is_no_error(make: Make, tmp_path: Path) -> None:
    (tmp_path / "four.mmdb").write_bytes(database({"192.0.2.0/24": CITY}, ip_version=4))
    site = make("geoip_country four.mmdb;", 'return 200 "<$geoip_country_code>";', "2001:db8::1")
    assert site.ask("/").body == b"<>" and site.log() == ""
    site.client.remote_addr = b"192.0.2.1"
    assert site.ask("/").body == b"<DE>"


@pytest.mark.parametrize(
    ("more", "forwarded", "code"),
    [
        ("", "192.0.2.1", ""),
        ("geoip_proxy 198.51.100.0/24;", "192.0.2.1", "DE"),
        ("geoip_proxy 198.51.100.0/24;", "192.0.2.1, 198.51.100.2", ""),
        ("geoip_proxy 198.51.100.0/24; geoip_proxy_recursive on;", "192.0.2.1, 198.51.100.2", "DE"),
        ("geoip_proxy 203.0.113.0/24;", "192.0.2.1", ""),
        ("geoip_proxy 198.51.100.0/24;", "nonsense", ""),
    ],
)
def test_clients_behind_proxies(make: Make, more: str, forwarded: str, code: str) -> None:
    site = make(f"geoip_country country.mmdb; {more}", 'return 200 "$geoip_country_code";', "198.51.100.1")
    assert site.ask("/", f"X-Forwarded-For: {forwarded}").body.decode() == code


def test_the_address_that_realip_found_is_looked_up(make: Make) -> None:
    text = 'set_real_ip_from 198.51.100.1; return 200 "$geoip_country_code";'
    assert make("geoip_country country.mmdb;", text, "198.51.100.1").ask("/", "X-Real-IP: 192.0.2.9").body == b"DE"


def test_a_map_of_a_country_decides(make: Make) -> None:
    http = "geoip_country country.mmdb; map $geoip_country_code $no { default 0; DE 1; }"
    site = make(http, "if ($no) { return 403; } return 200 x;")
    assert site.ask("/").status == 403
    site.client.remote_addr = b"198.51.100.1"
    assert site.ask("/").status == 200


def test_an_address_is_looked_up_once_for_a_request(make: Make) -> None:
    site = make("geoip_city city.mmdb;", 'return 200 "$geoip_city $geoip_region $geoip_city";')
    database_of = site.plan.build.scope.own(geoip.GEOIP_CITY)
    assert database_of is not None
    asked: list[str] = []
    content = database_of.content
    real = content.find

    def counting(address: str) -> object:
        asked.append(address)
        return real(address)

    content.find = counting
    assert site.ask("/").body.decode() == "München BY München"
    assert asked == ["192.0.2.7"]


def test_the_library_without_its_part_in_c(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maxminddb._extension", None)
    assert make("geoip_city city.mmdb;", 'return 200 "$geoip_region";').ask("/").body == b"BY"
    assert make("geoip_city city.mmdb;", 'return 200 "<$geoip_region>";', "2001:db9::1").ask("/").body == b"<>"


def test_a_library_that_is_not_there_is_told(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    error = mistake(make, "geoip_city city.mmdb;")
    assert "the library maxminddb is not there" in error.message and error.hint == "pip install maxminddb"


# -- geoip2


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("country iso_code", "DE"),
        ("default=US country iso_code", "DE"),
        ("source=$arg_ip country iso_code", "FR"),
        ("default=US source=$arg_no country iso_code", "US"),
        ("default=nowhere country no_such", "nowhere"),
        ("default=x country", "x"),
        ("country names de", "Deutschland"),
        ("subdivisions 0 iso_code", "BY"),
        ("subdivisions -1 iso_code", "BY"),
        ("subdivisions 1 iso_code", ""),
        ("subdivisions name", ""),
        ("location latitude", "48.13743"),
        ("location metro_code", "807"),
        ("metadata build_epoch", "1700000000"),
    ],
)
def test_values_of_geoip2(make: Make, line: str, value: str) -> None:
    site = make(f"geoip2 city.mmdb {{ $found {line}; }}", 'return 200 "<$found>";')
    assert site.ask("/?ip=2001:db8::5").body.decode() == f"<{value}>"


def test_a_variable_of_geoip2_can_be_set(make: Make) -> None:
    site = make("geoip2 city.mmdb { $found country iso_code; }", 'set $found XX; return 200 "$found";')
    assert site.ask("/").body == b"XX"


def test_geoip2_proxy_is_not_for_what_has_a_source(make: Make) -> None:
    http = "geoip2_proxy 198.51.100.0/24; geoip2 city.mmdb { $a country iso_code; $b source=$remote_addr country iso_code; }"
    site = make(http, 'return 200 "<$a><$b>";', "198.51.100.1")
    assert site.ask("/", "X-Forwarded-For: 192.0.2.1").body == b"<DE><>"


def test_a_source_that_depends_on_itself_ends(make: Make) -> None:
    site = make("geoip2 city.mmdb { $a source=$b country iso_code; $b source=$a country iso_code; }", 'return 200 "<$a>";')
    assert site.ask("/").body == b"<>" and "cycle" in site.log()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("$a;", 'no path for "$a"'),
        ("$a metadata;", 'invalid metadata for "$a"'),
        ("$a metadata no;", 'invalid metadata for "$a"'),
        ("$a default= x;", 'invalid setting "default=" for "$a"'),
        ("$a default=1 default=2 x;", 'default has already been declared for "$a"'),
        ("$a source=x x;", 'invalid source variable name "x"'),
        ("$a source=$b source=$b x;", 'source has already been declared for "$a"'),
        ("$a other=1 x;", 'invalid setting "other=1" for "$a"'),
        ("auto_reload;", "invalid number of arguments for auto_reload"),
        ("auto_reload soon;", 'invalid interval for auto_reload "soon"'),
        ("what;", 'invalid setting "what"'),
        ("$ x;", 'invalid setting "$"'),
        ("$a { }", 'unexpected "{" behind "$a"'),
        ("$remote_addr x;", 'the duplicate "remote_addr" variable'),
    ],
)
def test_mistakes_in_geoip2(make: Make, line: str, message: str) -> None:
    assert mistake(make, f"geoip2 city.mmdb {{ {line} }}").message == message


def test_a_database_has_one_block(make: Make) -> None:
    assert "duplicate database" in mistake(make, "geoip2 city.mmdb { $a x; } geoip2 city.mmdb { $b x; }").message


# -- files that are none


def damaged(name: str) -> bytes:
    """A file that is damaged in a way that loading can see."""
    whole = KINDS["city.mmdb"]
    at = whole.index(MARK)
    return {
        "cut in the tree": whole[at:],
        "cut in the metadata": whole[: at + len(MARK) + 20],
        "no metadata": whole[: at + len(MARK)],
        "claims a huge tree": database(NETWORKS, metadata={"node_count": Sized(6, 0xFFFFFFFF)}),
        "claims a record of 7 bits": database(NETWORKS, metadata={"record_size": Sized(5, 7)}),
        "claims IPv9": database(NETWORKS, metadata={"ip_version": Sized(5, 9)}),
        "metadata are a text": whole[: at + len(MARK)] + encoded("text"),
        "metadata claim a huge map": whole[: at + len(MARK)] + b"\xff\xff\xff\xff",
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "cut in the tree", "cut in the metadata", "no metadata", "claims a huge tree", "claims a record of 7 bits", "claims IPv9",
        "metadata are a text", "metadata claim a huge map",
    ],
)
def test_a_damaged_file_is_refused_at_load(make: Make, tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.mmdb").write_bytes(damaged(name))
    error = mistake(make, "geoip_city bad.mmdb;")
    assert error.message.startswith('cannot use the database "bad.mmdb": it is damaged or truncated')
    assert "download" in error.hint


def test_the_old_format_is_told_with_what_to_download(make: Make, tmp_path: Path) -> None:
    (tmp_path / "GeoIP.dat").write_bytes(bytes(1000) + b"\xff\xff\xff\x01")
    error = mistake(make, "geoip_country GeoIP.dat;")
    assert error.message == 'cannot use the database "GeoIP.dat": it is in the old format .dat, which nobody publishes any more'
    assert "GeoLite2-Country" in error.hint and "https://" in error.hint


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.mmdb", "No such file or directory (2)"),
        ("/dev/zero", "it is not a regular file"), (".", "it is not a regular file"),
        ("empty.mmdb", "it is no .mmdb file"), ("text.mmdb", "it is no .mmdb file"),
    ],
)  # fmt: skip
def test_what_is_no_database(make: Make, tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "empty.mmdb").write_bytes(b"")
    (tmp_path / "text.mmdb").write_text("hello")
    assert mistake(make, f"geoip2 {path} {{ $a x; }}").message == f'cannot use the database "{path}": {reason}'


def test_a_fifo_does_not_make_the_start_wait(make: Make, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in mistake(make, "geoip_city pipe;").message


@pytest.mark.parametrize("line", ["geoip_city country.mmdb;", "geoip_country asn.mmdb;", "geoip_org city.mmdb;"])
def test_a_database_of_another_kind_is_refused(make: Make, line: str) -> None:
    assert "finds nothing in it" in mistake(make, line).message


def test_an_unknown_parameter_is_refused(make: Make) -> None:
    assert mistake(make, "geoip_city city.mmdb utf9;").message == 'invalid parameter "utf9"'


@pytest.mark.parametrize(
    "record",
    [
        b"\x20\xff\xff\xff",  # a pointer to nowhere
        b"\xe5\x47country\x28",  # a map that ends in the middle
        b"\x5d\xff",  # a text longer than the file
        b"\x1f\x04\xff\xff\xff",  # an array of sixteen million values
        b"\xff\xff\xff\xff",  # a map as large
        b"\x00\x20",  # a type that does not exist
        b"\x28\x00\x00\x00\x00",  # a pointer to itself
        b"\x44\xff\xfe\xfd\xfc",  # a text that is not UTF-8
    ],
)
def test_a_damaged_record_is_an_empty_value_and_one_line_in_the_log(make: Make, tmp_path: Path, record: bytes) -> None:
    (tmp_path / "bad.mmdb").write_bytes(database({}, raw={"192.0.2.0/24": record}))
    site = make("geoip2 bad.mmdb { $a country iso_code; $b default=none x; }", 'return 200 "<$a$a$b>";')
    assert site.ask("/").body == b"<none>"
    lines = site.log().splitlines()
    assert len(lines) == 1 and "is damaged: a lookup failed" in lines[0] and "Traceback" not in lines[0]


def test_every_damaged_byte_is_survived(tmp_path: Path) -> None:
    """Whatever byte of a small database is another one, it is refused at load, or lookups find something, nothing, or damage."""
    whole = KINDS["city.mmdb"]
    path = tmp_path / "x.mmdb"
    for at in range(0, len(whole), 3):
        for byte in (0, 255, whole[at] ^ 0x20):
            path.write_bytes(whole[:at] + bytes((byte,)) + whole[at + 1 :])
            try:
                found = Database(str(path), "GeoLite2-City")
                record = found.look_up(bytes((192, 0, 2, 1)))
                for field in ("geoip_city", "geoip_latitude"):
                    place = next(each for each in geoip._OF_CITIES if each.name == field)
                    written(find(record, place.paths[0]), 4)
            except DatabaseFailed:
                pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, b"1"), (False, b"0"), (-5, b"-5"), (1 << 70, b"0x00000000000000400000000000000000"),
        (b"raw", b"raw"), ({}, None), ([], None),
    ],
)  # fmt: skip
def test_how_values_are_written(value: object, text: bytes | None) -> None:
    assert written(value, 5) == text


# -- auto_reload


def replaced(path: Path, content: bytes) -> None:
    """Put another file in the place of `path`, as geoipupdate does."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    os.utime(beside, (1e9, 1e9))
    beside.rename(path)


def settle(reloading: Reloading) -> None:
    """Let a look at the file come to its end."""
    reloading.database.last_check = 0.0
    reloading.every_second()
    deadline = time.monotonic() + 10
    while reloading._reading is not None and time.monotonic() < deadline:
        reloading.every_second()


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "city.mmdb"
    path.write_bytes(KINDS["city.mmdb"])
    found = Database(str(path), "GeoLite2-City")
    reloading = Reloading(found, 300)
    try:
        before = found.content
        settle(reloading)
        assert found.content is before and found.last_check > 1.0
        replaced(path, database({"192.0.2.0/24": {"a": "new"}}, epoch=1800000000))
        settle(reloading)
        assert found.look_up(bytes((192, 0, 2, 1))) == {"a": "new"} and found.content.epoch == 1800000000
        assert found.last_change == 1e9
        assert before.find("192.0.2.1") == CITY  # whoever still holds the one before can go on with it
    finally:
        reloading.stop()


@pytest.mark.parametrize("content", [b"", KINDS["city.mmdb"][:200], b"hello" * 1000])
def test_a_file_that_was_damaged_leaves_the_database_as_it_was(make: Make, tmp_path: Path, content: bytes) -> None:
    site = make("")
    path = tmp_path / "city.mmdb"
    found = Database(str(path), "GeoLite2-City")
    reloading = Reloading(found, 1)
    reloading._log = site.client.error_log
    try:
        path.write_bytes(content)  # in place: a mapped file would be gone under our feet
        settle(reloading)
        settle(reloading)
        assert found.look_up(bytes((192, 0, 2, 1))) == CITY
        assert len(site.log().splitlines()) == 1 and "the one before stays" in site.log()
        path.unlink()
        settle(reloading)
        assert "No such file" in site.log()
        replaced(path, KINDS["country.mmdb"])
        settle(reloading)
        assert found.content.kind == "GeoLite2-Country"
    finally:
        reloading.stop()


def test_only_what_asks_for_it_is_looked_after(make: Make) -> None:
    site = make("geoip2 city.mmdb { auto_reload 5m; $a x; } geoip2 country.mmdb { $b x; }")
    assert [hook.interval for hook in site.plan.build.workers if isinstance(hook, Reloading)] == [300]
