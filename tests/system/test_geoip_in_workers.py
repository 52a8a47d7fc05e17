"""`geoip2` and `geoip_country` in a running program: several workers, a Unix socket, a database that is replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import wait_until
from tests.system.proxied import Proxied, running
from tests.unit.mmdb import database

HTTP = """
    geoip_country @folder@/country.mmdb;
    map $geoip_country_code $refused { default 0; DE 1; }
    geoip2 @folder@/city.mmdb { auto_reload 1s; $city default=none city names en; $made metadata build_epoch; }
"""
SERVER = """
    set_real_ip_from 127.0.0.1; real_ip_header X-Client;
    if ($refused) { return 403; }
    location = /where { return 200 "$geoip_country_code $city $made"; }
"""


def city(name: str, epoch: int) -> bytes:
    """A database in which 192.0.2.0/24 is in a city."""
    return database({"192.0.2.0/24": {"city": {"names": {"en": name}}}}, epoch=epoch)


def country(code: str) -> dict[str, object]:
    """A record of a country."""
    return {"country": {"iso_code": code}}


@pytest.fixture
def proxy() -> Iterator[Proxied]:
    files = {
        "country.mmdb": database({"192.0.2.0/25": country("FR"), "192.0.2.128/25": country("DE")}),
        "city.mmdb": city("Paris", 1),
    }
    with running(Proxied({}, http=HTTP, server=SERVER, workers=2, files=files)) as ready:
        yield ready


def told(proxy: Proxied, address: str) -> tuple[int, bytes]:
    """Status and body for a client of that address."""
    got = proxy.fetch("/where", f"X-Client: {address}")
    return got.status, got.body


def test_a_country_is_refused_and_a_changed_database_is_taken_up_by_every_worker(proxy: Proxied) -> None:
    assert told(proxy, "192.0.2.1") == (200, b"FR Paris 1")
    assert told(proxy, "192.0.2.200")[0] == 403
    assert told(proxy, "198.51.100.1") == (200, b" none 1")
    beside = Path(proxy.folder) / "new.mmdb"
    beside.write_bytes(city("Lyon", 2))
    os.replace(beside, Path(proxy.folder) / "city.mmdb")
    wait_until(lambda: {told(proxy, "192.0.2.1") for _ in range(30)} == {(200, b"FR Lyon 2")}, what="both workers have read it")
    (Path(proxy.folder) / "city.mmdb").write_bytes(b"")  # cut off under the workers: they go on with what they have
    wait_until(lambda: "the one before stays" in proxy.log(), what="a worker has looked at it")
    assert {told(proxy, "192.0.2.1") for _ in range(30)} == {(200, b"FR Lyon 2")}
