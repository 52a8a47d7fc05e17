"""New tokens for a session before the old ones expire (OpenID Connect Core 1.0 section 12).

A provider may take a refresh token once only, so one request refreshes. The others of this worker wait for it; those of other
workers go on with the tokens that they have. Requests that the browser had sent before it got the new cookies find what came of
it for a minute. A provider that cannot be reached is asked again after that, and the session goes on as long as it would without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.errorlog import ERR, INFO
from portico.features.oidc.known_refreshes import Refresh
from portico.features.oidc.session import Session
from portico.features.oidc.tokens import TokensRefused, make_session, request_tokens, request_userinfo, verify_id_token
from portico.http.cached_value import SourceFailed
from portico.jose.token import InvalidToken

if TYPE_CHECKING:
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request

_SECONDS: Final = 60.0  # for which one refresh counts


async def refresh_session(request: Request, provider: Provider, session: Session) -> Refresh:
    """Return what has become of a session whose tokens are due."""
    reactor = request.reactor
    known = provider.refreshes.look_up(session, reactor.now)
    if known is not None:
        while known.flight.busy:
            await known.flight.wait(reactor)
        return known
    refresh = Refresh(session, reactor.now + _SECONDS)
    if not provider.shared.try_claim_refresh(session, reactor.wall(), _SECONDS):
        return refresh  # another worker is at it
    provider.refreshes.insert(session, refresh)
    refresh.flight.try_acquire()
    try:
        refresh.session = await _refreshed(request, provider, session)
        refresh.renewed = refresh.session is not None
    except SourceFailed as failed:
        request.log_error(ERR, provider.log_line(f"the tokens are not refreshed: {failed.reason}"))
    except InvalidToken as wrong:
        request.log_error(ERR, provider.log_line(f"the refreshed ID token is not believed: {wrong}"))
        refresh.session = None
    finally:
        refresh.flight.release(reactor)
    return refresh


async def _refreshed(request: Request, provider: Provider, session: Session) -> Session | None:
    """Return the session with new tokens; None when the provider has refused. Raises SourceFailed and InvalidToken."""
    metadata = await provider.discovery.metadata(request)
    form = [("grant_type", "refresh_token"), ("refresh_token", session.refresh_token)]
    try:
        tokens = await request_tokens(request, provider, metadata, form)
    except TokensRefused as refused:
        request.log_error(INFO, provider.log_line(f"the session is over, the tokens are not refreshed: {refused.error}"))
        return None
    if tokens.id_token:
        token = await verify_id_token(request, provider, tokens.id_token, b"", tokens.access_token)
        _check_same(session, token.claims)
    userinfo = session.userinfo
    if provider.settings.userinfo:
        subject = session.token.claims.get("sub")
        userinfo = (await request_userinfo(request, provider, metadata, tokens.access_token, subject)).decode("utf-8", "replace")
    tokens.id_token = tokens.id_token or session.id_token
    tokens.refresh_token = tokens.refresh_token or session.refresh_token
    refreshed = make_session(request, provider, tokens, userinfo)
    refreshed.id = session.id
    refreshed.sid = session.sid
    refreshed.created = session.created
    return refreshed


def _check_same(session: Session, claims: dict[str, object]) -> None:
    """Check that it is the same user, of the same login (section 12.2). Raises InvalidToken."""
    before = session.token.claims
    if claims.get("sub") != before.get("sub"):
        raise InvalidToken('"sub" is another user')
    if "nonce" in claims and claims["nonce"] != before.get("nonce"):
        raise InvalidToken('"nonce" is that of another login')
