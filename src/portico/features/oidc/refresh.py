"""New tokens for a session before the old ones expire (OpenID Connect Core 1.0 section 12).

A provider may take a refresh token once only, so one request refreshes. The others of this worker wait for it; those of other
workers go on with the tokens that they have. Requests that the browser had sent before it got the new cookies find what came of
it for a minute. A provider that cannot be reached is asked again after that, and the session goes on as long as it would without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ERR, INFO
from portico.features.oidc.login import session_of
from portico.features.oidc.session import Session
from portico.features.oidc.tokens import Refused, believed, exchanged, userinfo
from portico.http.fetching import FetchFailed, Fetching
from portico.jose.token import InvalidToken

if TYPE_CHECKING:
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request

_SECONDS: Final = 60.0  # for which one refresh counts
_MOST: Final = 1024


@final
class Refresh:
    """One refresh, under way or over. `session` None: the provider has refused it."""

    def __init__(self, session: Session, until: float) -> None:
        self.session: Session | None = session
        self.until = until
        self.renewed = False
        self.fetching = Fetching()


@final
class Refreshes:
    """Those of one provider in this worker, by the session's name and the time when its tokens were due."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Refresh] = {}

    async def refreshed(self, request: Request, provider: Provider, session: Session) -> Refresh:
        """What has become of a session whose tokens are due."""
        reactor = request.reactor
        key = (session.id, session.refresh_at)
        known = self._known.get(key)
        if known is not None and reactor.now < known.until:
            while known.fetching.busy:
                await known.fetching.wait(reactor)
            return known
        made = Refresh(session, reactor.now + _SECONDS)
        if not provider.shared.claims_refresh(session, reactor.wall(), _SECONDS):
            return made  # another worker is at it
        self._remember(key, made)
        made.fetching.begin()
        try:
            made.session = await _refresh(request, provider, session)
            made.renewed = made.session is not None
        except FetchFailed as failed:
            request.log_error(ERR, provider.failed(f"the tokens are not refreshed: {failed.reason}"))
        except InvalidToken as wrong:
            request.log_error(ERR, provider.failed(f"the refreshed ID token is not believed: {wrong}"))
            made.session = None
        finally:
            made.fetching.end(reactor)
        return made

    def _remember(self, key: tuple[str, int], made: Refresh) -> None:
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = made


async def _refresh(request: Request, provider: Provider, session: Session) -> Session | None:
    """The session with new tokens; None when the provider has refused. Raises FetchFailed and InvalidToken."""
    metadata = await provider.discovery.metadata(request)
    form = [("grant_type", "refresh_token"), ("refresh_token", session.refresh_token)]
    try:
        tokens = await exchanged(request, provider, metadata, form)
    except Refused as refused:
        request.log_error(INFO, provider.failed(f"the session is over, the tokens are not refreshed: {refused.error}"))
        return None
    if tokens.id_token:
        token = await believed(request, provider, tokens.id_token, b"", tokens.access_token)
        _check_same(session, token.claims)
    known = session.userinfo
    if provider.settings.userinfo:
        subject = session.token.claims.get("sub")
        known = (await userinfo(request, provider, metadata, tokens.access_token, subject)).decode("utf-8", "replace")
    id_token = tokens.id_token or session.id_token
    made = session_of(request, provider, tokens, id_token, tokens.refresh_token or session.refresh_token, known)
    made.id = session.id
    made.sid = session.sid
    made.created = session.created
    return made


def _check_same(session: Session, claims: dict[str, object]) -> None:
    """Section 12.2: the same user, of the same login."""
    before = session.token.claims
    if claims.get("sub") != before.get("sub"):
        raise InvalidToken('"sub" is another user')
    if "nonce" in claims and claims["nonce"] != before.get("nonce"):
        raise InvalidToken('"nonce" is that of another login')
