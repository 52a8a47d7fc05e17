"""Memory for a zone, and what is told where a machine has not so much."""

from __future__ import annotations

import pytest

from portico.config.diagnostics import ConfigError, Where
from portico.zones.opening import open_zone
from portico.zones.zone import Zones

WHERE = Where("nginx.conf", 3, 7)


def test_a_table_of_as_many_rows_as_there_is_room_for() -> None:
    table = open_zone(Zones().add("a", 8 * 4 * 100 + 31, "test"), 4, WHERE)
    assert (table.columns, table.slots) == (4, 100)


@pytest.mark.parametrize("size", [1 << 60, 1 << 70])
def test_more_than_there_is(size: int) -> None:
    """nginx's words and level: ngx_init_zone_pool fails with what mmap(2) said."""
    with pytest.raises(ConfigError) as caught:
        open_zone(Zones().add("a", size, "test"), 4, WHERE)
    error = caught.value
    assert error.message == f"mmap(MAP_ANON|MAP_SHARED, {size}) failed (12: Cannot allocate memory)"
    assert (error.level, error.where) == ("alert", WHERE)
    assert error.hint == 'the zone "a" is larger than what this machine can give'
