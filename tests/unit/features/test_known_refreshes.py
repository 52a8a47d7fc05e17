"""Refreshes of sessions that a worker knows of: a session's tokens are refreshed once, and the outcome counts for a while."""

from __future__ import annotations

import base64

from portico.features.oidc.known_refreshes import KnownRefreshes, Refresh
from portico.features.oidc.session import Session

MOST = 1024


def session(refresh_at: int = 100) -> Session:
    part = base64.urlsafe_b64encode(b"{}").rstrip(b"=").decode()
    made = Session(f"{part}.{part}.", "access", "refresh", "")
    made.refresh_at = refresh_at
    return made


def test_a_refresh_is_known_until_its_time_is_over() -> None:
    known, due = KnownRefreshes(), session()
    assert known.look_up(due, 0.0) is None
    refresh = Refresh(due, 10.0)
    known.insert(due, refresh)
    assert known.look_up(due, 9.9) is refresh
    assert known.look_up(due, 10.0) is None


def test_other_sessions_and_later_tokens_have_refreshes_of_their_own() -> None:
    known, due = KnownRefreshes(), session()
    known.insert(due, Refresh(due, 10.0))
    assert known.look_up(session(), 0.0) is None  # another session with the same time
    due.refresh_at = 200  # the same session, whose tokens were refreshed
    assert known.look_up(due, 0.0) is None


def test_the_oldest_is_forgotten_when_there_are_too_many() -> None:
    known = KnownRefreshes()
    sessions = [session() for _ in range(MOST + 1)]
    for due in sessions:
        known.insert(due, Refresh(due, 10.0))
    assert known.look_up(sessions[0], 0.0) is None
    assert all(known.look_up(due, 0.0) is not None for due in sessions[1:])
