"""Limits of how much is served at a time: a count for each key, of which each worker holds its part.

Whoever acquires holds releases them, however its session ends. What a worker counted dies with it (zones/counts.py).
(nginx: ngx_stream_limit_conn_module.c.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.admission.limits import LimitZone, zone_and_size
from portico.config import values
from portico.config.reader import Statement
from portico.variables.template import Template, template
from portico.zones.counts import REACHED, Counts
from portico.zones.owner import is_alive, own_identity
from portico.zones.states import fingerprint

if TYPE_CHECKING:
    from portico.variables.session import Session

_MOST: Final = 65535
_LOOK_SECONDS: Final = 1.0  # between two looks for dead workers, when a limit is reached


@final
class ConnectionZone(LimitZone):
    """One `limit_conn_zone`; `counts` are there once its memory is."""

    def __init__(self, name: str, size: int, key: Template) -> None:
        super().__init__(name, size, key)
        self.counts: Counts | None = None
        self.owner = 0  # this worker
        self.looked = 0.0

    def claim(self) -> None:
        """Count under this worker's own name from here on, and drop what is counted for workers that are gone."""
        self.owner = own_identity()
        if self.counts is not None:
            self.counts.remove_dead(is_alive)

    def acquire(self, key: bytes, limit: int, now: float) -> int:
        """Count one more for the key unless `limit` are counted. Returns the slot to release, REACHED, or FULL."""
        counts = self.counts
        assert counts is not None
        first, second = fingerprint(key)
        slot = counts.acquire(first, second, self.owner, limit)
        if slot == REACHED and self._release_dead(counts, now, first, second):
            slot = counts.acquire(first, second, self.owner, limit)
        return slot

    def _release_dead(self, counts: Counts, now: float, first: int, second: int) -> bool:
        """Return whether the limit only seemed reached: a worker that counted for this key was killed. Looks once a second."""
        if now - self.looked < _LOOK_SECONDS:
            return False
        self.looked = now
        for owner in counts.owners(first, second):
            if owner != self.owner and not is_alive(owner):
                return counts.remove_dead(is_alive) > 0
        return False


def parse_connection_zone(statement: Statement) -> ConnectionZone:
    """Return a `limit_conn_zone`; the directive's parser. Raises ConfigError."""
    argument = statement.args[1]
    if not argument.text.startswith("zone="):
        raise statement.fail(f'invalid parameter "{argument.text}"', argument)
    name, size = zone_and_size(statement, argument)
    if not name:
        raise statement.fail('"limit_conn_zone" must have "zone" parameter')
    return ConnectionZone(name, size, template(statement))


@final
class ConnectionSetting:
    """One `limit_conn` as written."""

    def __init__(self, zone: str, number: int) -> None:
        self.zone = zone
        self.number = number


def parse_connection_limit(statement: Statement) -> ConnectionSetting:
    """Return a `limit_conn`; the directive's parser. Raises ConfigError."""
    argument = statement.args[1]
    number = values.number_of(argument.text)
    if not number:
        raise statement.fail(f'invalid number of connections "{argument.text}"', argument)
    if number > _MOST:
        raise statement.fail("connection limit must be less 65536", argument)
    return ConnectionSetting(statement.args[0].text, number)


class LimitReached(Exception):
    """A session is one too many; or, with `full`, the zone has no memory to count it."""

    def __init__(self, zone: ConnectionZone, full: bool) -> None:
        super().__init__()
        self.zone = zone
        self.full = full


@final
class Hold:
    """One count that a session holds."""

    def __init__(self, zone: ConnectionZone, slot: int) -> None:
        self.zone = zone
        self.slot = slot

    def release(self) -> None:
        """Count it no more."""
        counts = self.zone.counts
        assert counts is not None
        counts.release(self.slot, self.zone.owner)


def acquire_all(session: Session, limits: list[tuple[ConnectionZone, int]]) -> list[Hold]:
    """Count the session in each zone that has a key for it. Raises LimitReached; then it is counted nowhere."""
    held: list[Hold] = []
    complete = False
    try:
        for zone, number in limits:
            key = zone.key.render(session)
            if not key:
                continue
            slot = zone.acquire(key, number, session.reactor.now)
            if slot <= 0:
                raise LimitReached(zone, slot != REACHED)
            held.append(Hold(zone, slot))
        complete = True
        return held
    finally:
        if not complete:
            release_all(held)


def release_all(held: list[Hold]) -> None:
    """Release every hold."""
    for hold in held:
        hold.release()
