"""Declared zones and what a reload keeps of them."""

import pytest

from portico.zones.zone import ZoneConflict, Zones


def test_a_zone_holds_as_many_slots_as_fit() -> None:
    table = Zones().add("one", 65536, "limit_req_zone").open(4)
    assert (table.slots, table.columns) == (2048, 4)


def test_opening_twice_gives_the_same_table() -> None:
    zone = Zones().add("one", 4096, "x")
    assert zone.open(2) is zone.open(2)


@pytest.mark.parametrize(
    ("size", "use", "columns", "kept"),
    [
        (4096, "limit_req_zone", 2, True),
        (8192, "limit_req_zone", 2, False),
        (4096, "limit_conn_zone", 2, False),
        (4096, "limit_req_zone", 3, False),
    ],
)
def test_a_reload_keeps_what_matches(size: int, use: str, columns: int, kept: bool) -> None:
    running = Zones()
    table = running.add("one", 4096, "limit_req_zone").open(2)
    table.set(0, 0, 42)
    loaded = Zones(running)
    again = loaded.add("one", size, use).open(columns)
    loaded.settle()
    assert (again.get(0, 0) == 42) is kept
    assert (again is table) is kept


def test_a_zone_that_is_not_reused_starts_empty() -> None:
    running = Zones()
    running.add("one", 4096, "upstream", reuse=False).open(2).set(0, 0, 42)
    assert Zones(running).add("one", 4096, "upstream", reuse=False).open(2).get(0, 0) == 0


def test_after_settling_nothing_old_is_found() -> None:
    running = Zones()
    running.add("one", 4096, "x").open(2).set(0, 0, 42)
    loaded = Zones(running)
    loaded.settle()
    assert loaded.add("one", 4096, "x").open(2).get(0, 0) == 0


def test_a_zone_may_be_referred_to_before_its_declaration() -> None:
    zones = Zones()
    first = zones.add("one", 0, "limit_req_zone")
    assert zones.add("one", 4096, "limit_req_zone") is first
    assert (first.size, zones.get("one"), zones.get("two")) == (4096, first, None)


def test_conflicts_are_told_in_nginx_words() -> None:
    zones = Zones()
    zones.add("one", 4096, "limit_req_zone")
    with pytest.raises(ZoneConflict, match='zone "one" is already declared for a different use'):
        zones.add("one", 0, "limit_conn_zone")
    expected = '^the size 8192 of shared memory zone "one" conflicts with already declared size 4096$'
    with pytest.raises(ZoneConflict, match=expected):
        zones.add("one", 8192, "limit_req_zone")
