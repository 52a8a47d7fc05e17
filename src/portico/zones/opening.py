"""Memory for the zones of a configuration."""

from __future__ import annotations

from portico.config.diagnostics import ConfigError, Where
from portico.zones.table import SharedTable
from portico.zones.zone import Zone, ZoneTooLarge


def open_zone(zone: Zone, columns: int, where: Where) -> SharedTable:
    """Return the zone's table (`Zone.open`). Raises ConfigError when there is not so much memory."""
    try:
        return zone.open(columns)
    except ZoneTooLarge as failed:
        error = ConfigError(str(failed), where, f'the zone "{zone.name}" is larger than what this machine can give')
        error.level = "alert"
        raise error from None
