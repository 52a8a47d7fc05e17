"""How `limit_req_zone` and `limit_conn_zone` are written, and what two declarations of one zone may not differ in."""

from __future__ import annotations

import pytest

from portico.admission.limits import LimitZone, declare_zone, unknown_zone, zone_and_size
from portico.config.diagnostics import ConfigError
from portico.config.load import Load
from portico.config.reader import Statement, read_text
from portico.variables.template import Template
from portico.zones.zone import Zones


def statement(text: str) -> Statement:
    return read_text(f"limit_req_zone {text};", "x.conf", Load("/srv", "/srv/x.conf"))[0]


WHERE = statement("zone=a:1m").where


def zone(name: str = "a", size: int = 1 << 20, key: str = "$remote_addr") -> LimitZone:
    return LimitZone(name, size, Template(key, WHERE))


@pytest.mark.parametrize(
    ("text", "expected"), [("zone=a:1m", ("a", 1 << 20)), ("zone=b:32k", ("b", 32768)), ("zone=:32k", ("", 32768))]
)
def test_name_and_size(text: str, expected: tuple[str, int]) -> None:
    written = statement(text)
    assert zone_and_size(written, written.args[0]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zone=a", 'invalid zone size "zone=a"'),
        ("zone=a:", 'invalid zone size "zone=a:"'),
        ("zone=a:1x", 'invalid zone size "zone=a:1x"'),
        ("zone=a:32767", 'zone "zone=a:32767" is too small'),
    ],
)
def test_a_size_that_is_none(text: str, message: str) -> None:
    written = statement(text)
    with pytest.raises(ConfigError) as refused:
        zone_and_size(written, written.args[0])
    assert refused.value.message == message


def test_a_zone_is_declared_once() -> None:
    zones = Zones()
    declare_zone(zones, "http", "limit_req", zone(), WHERE)
    with pytest.raises(ConfigError, match=r'limit_req_zone "a" is already bound to key "\$remote_addr"'):
        declare_zone(zones, "http", "limit_req", zone(key="$uri"), WHERE)
    with pytest.raises(ConfigError, match='the shared memory zone "a" is already declared for a different use'):
        declare_zone(zones, "http", "limit_conn", zone(), WHERE)


def test_http_and_stream_do_not_share_a_zone() -> None:
    zones = Zones()
    declare_zone(zones, "http", "limit_conn", zone(), WHERE)
    with pytest.raises(ConfigError, match="is already declared for a different use"):
        declare_zone(zones, "stream", "limit_conn", zone(), WHERE)


def test_a_reload_keeps_the_key_of_a_zone_that_lives_on() -> None:
    running = Zones()
    declare_zone(running, "http", "limit_req", zone(), WHERE)
    assert declare_zone(Zones(running), "http", "limit_req", zone(), WHERE).subject == "$remote_addr"
    with pytest.raises(ConfigError, match=r'uses the "\$uri" key while previously it used the "\$remote_addr" key'):
        declare_zone(Zones(running), "http", "limit_req", zone(key="$uri"), WHERE)
    declare_zone(Zones(running), "http", "limit_req", zone(size=2 << 20, key="$uri"), WHERE)  # of another size: starts empty


def test_a_zone_that_nobody_declares_or_that_is_of_another_kind() -> None:
    zones = Zones()
    assert unknown_zone(zones, "a", "limit_req", WHERE).message == 'zero size shared memory zone "a"'
    zones.add("a", 1 << 20, "http_limit_conn")
    of_another_kind = unknown_zone(zones, "a", "limit_req", WHERE)
    assert of_another_kind.message == 'the shared memory zone "a" is already declared for a different use'
