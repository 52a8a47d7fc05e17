"""The named zones of a configuration, and what of them survives a reload.

A zone's memory goes from one configuration to the next when name, size, use and shape are the same; else
the new one starts empty, and the old one lives until the last old worker is gone.
"""

from typing import final

from portico.zones.table import SharedTable


class ZoneConflict(ValueError):
    """One zone declared in two ways that exclude each other; the text is nginx's message."""


class ZoneTooLarge(Exception):
    """There is not so much memory; the text is nginx's message."""


@final
class Zone:
    """A named zone: what ``zone``, ``limit_req_zone``, ``proxy_cache_path`` … declare.

    ``size`` is in bytes as configured (0: only referred to so far), ``use`` names the directive that owns it.
    """

    def __init__(self, name: str, size: int, use: str, reuse: bool) -> None:
        self.name = name
        self.size = size
        self.use = use
        self.reuse = reuse
        self.subject = ""  # what its keys are made of, where that may not change while it goes on
        self.table: SharedTable | None = None
        self.previous: Zone | None = None

    def matches(self, other: "Zone") -> bool:
        """Return whether the memory of ``other``, a zone of the previous load, may go on as this one."""
        return self.reuse and self.name == other.name and self.size == other.size and self.use == other.use

    def open(self, columns: int, locks: int = 1) -> SharedTable:
        """Return the zone's table of as many slots of ``columns`` integers as ``size`` holds.

        After a reload it is the old table with all that it knows, if name, size, use and shape are unchanged.
        Call it in the supervisor, before workers are forked. Raises ZoneTooLarge.
        """
        if self.table is None:
            self.table = self._inherit(columns, locks)
        if self.table is None:
            try:
                self.table = SharedTable(max(1, self.size // (8 * columns)), columns, locks)
            except (OSError, OverflowError):
                raise ZoneTooLarge(f"mmap(MAP_ANON|MAP_SHARED, {self.size}) failed (12: Cannot allocate memory)") from None
        return self.table

    def _inherit(self, columns: int, locks: int) -> SharedTable | None:
        old = self.previous
        if old is None or old.table is None or not self.matches(old):
            return None
        return old.table if old.table.columns == columns and old.table.locks == locks else None


@final
class Zones:
    """The zones of one load of the configuration; ``previous`` are those of the one that runs, if any."""

    def __init__(self, previous: "Zones | None" = None) -> None:
        self._zones: dict[str, Zone] = {}
        self._previous: dict[str, Zone] = {} if previous is None else previous._zones

    def add(self, name: str, size: int, use: str, reuse: bool = True) -> Zone:
        """Declare a zone, or with ``size`` 0 refer to one that is declared elsewhere (before or after).

        ``reuse`` False makes the zone start empty at each reload, as nginx does for ``upstream`` zones.
        """
        zone = self._zones.get(name)
        if zone is None:
            zone = Zone(name, size, use, reuse)
            zone.previous = self._previous.get(name)
            self._zones[name] = zone
            return zone
        if zone.use != use:
            raise ZoneConflict(f'the shared memory zone "{name}" is already declared for a different use')
        if size and zone.size and size != zone.size:
            raise ZoneConflict(
                f'the size {size} of shared memory zone "{name}" conflicts with '
                f"already declared size {zone.size}"
            )
        zone.size = zone.size or size
        return zone

    def get(self, name: str) -> Zone | None:
        """Return the zone of that name, if there is one."""
        return self._zones.get(name)

    def before(self) -> list[Zone]:
        """Return the zones of the load before, whether they go on or not."""
        return list(self._previous.values())

    def settle(self) -> None:
        """Release the old configuration's memory that was not taken over: the new one runs."""
        self._previous = {}
        for zone in self._zones.values():
            zone.previous = None
