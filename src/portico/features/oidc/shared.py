"""State of one provider's sessions in shared memory: which sessions have ended, and whose tokens a worker is refreshing."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.zones.states import States, fingerprint

if TYPE_CHECKING:
    from portico.features.oidc.session import Session


@final
class SharedState:
    """Times are stored in milliseconds since the epoch. Each table forgets first what was asked for longest ago."""

    def __init__(self, key: bytes, ended: States, named: States, refreshing: States) -> None:
        self.key = key  # of the cookies
        self.ended = ended  # sessions that have ended
        self.named = named  # the provider's names of its sessions, and when it has ended those so named
        self.refreshing = refreshing  # sessions whose tokens a worker is refreshing

    def is_ended(self, session: Session) -> bool:
        """Return whether the user has signed out, here or at the provider."""
        if _look_up(self.ended, _id(session)) is not None:
            return True
        ended = _look_up(self.named, _sid(session.sid)) if session.sid else None
        return ended is not None and ended >= session.created

    def end(self, session: Session, now: float) -> None:
        """Refuse the session from now on."""
        _store(self.ended, _id(session), int(now * 1000.0), True)

    def insert_sid(self, session: Session) -> None:
        """Insert the provider's name of a new session: it can end those that are known, and nobody can fill the table with others."""
        if session.sid:
            _store(self.named, _sid(session.sid), 0, False)

    def end_by_sid(self, sid: str, now: float) -> bool:
        """Refuse the sessions so named that exist now; return False when none is known."""
        if _look_up(self.named, _sid(sid)) is None:
            return False
        _store(self.named, _sid(sid), int(now * 1000.0), True)
        return True

    def try_claim_refresh(self, session: Session, now: float, seconds: float) -> bool:
        """Return whether it is this worker's turn to refresh the session's tokens: nobody has begun to in the last `seconds`."""
        first, second = fingerprint(f"refresh {session.id} {session.refresh_at}".encode())
        at = int(now * 1000.0)
        states = self.refreshing
        states.enter()
        try:
            slot = states.find(first, second)
            if slot == 0:
                states.add(first, second, at, at)
                return True
            if states.excess + int(seconds * 1000.0) > at:
                return False
            states.put(slot, at, at)
            return True
        finally:
            states.leave()


def _id(session: Session) -> bytes:
    return b"id " + session.id.encode()


def _sid(sid: str) -> bytes:
    return b"sid " + sid.encode("utf-8", "replace")


def _look_up(states: States, key: bytes) -> int | None:
    """Return the time that is stored for a key; None when there is none."""
    first, second = fingerprint(key)
    states.enter()
    try:
        return states.excess if states.find(first, second) else None
    finally:
        states.leave()


def _store(states: States, key: bytes, at: int, replace: bool) -> None:
    """Store a time for a key; `replace` false: unless there is one."""
    first, second = fingerprint(key)
    states.enter()
    try:
        slot = states.find(first, second)
        if slot == 0:
            states.add(first, second, at, at)
        elif replace:
            states.put(slot, states.last, at)
    finally:
        states.leave()
