"""The refreshes of one provider's sessions that a worker knows of: under way, or over a short while ago."""

from __future__ import annotations

from typing import Final, final

from portico.features.oidc.session import Session
from portico.http.cached_value import SingleFlight

_MAX_KNOWN: Final = 1024


@final
class Refresh:
    """One refresh, under way or over. It counts until `until`, by the reactor's clock.

    `session` is the session as it is after the refresh; None when the provider has refused it.
    """

    def __init__(self, session: Session, until: float) -> None:
        self.session: Session | None = session
        self.until = until
        self.renewed = False
        self.flight = SingleFlight()


@final
class KnownRefreshes:
    """Refreshes by the session's id and the time when its tokens were due."""

    def __init__(self) -> None:
        self._by_session: dict[tuple[str, int], Refresh] = {}

    def look_up(self, session: Session, now: float) -> Refresh | None:
        """Return the refresh of a session whose tokens are due, if there is one that still counts."""
        known = self._by_session.get((session.id, session.refresh_at))
        return known if known is not None and now < known.until else None

    def insert(self, session: Session, refresh: Refresh) -> None:
        """Remember a refresh; the oldest one is forgotten when there are too many."""
        if len(self._by_session) >= _MAX_KNOWN:
            del self._by_session[next(iter(self._by_session))]
        self._by_session[(session.id, session.refresh_at)] = refresh
