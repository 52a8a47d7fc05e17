"""Tokens that a provider gives for a code or a refresh token, and what makes an ID token valid (OpenID Connect Core 1.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Final, final
from urllib.parse import quote_plus, urlencode

from portico.features.oidc.provider_requests import ask_provider
from portico.features.oidc.sealing import base64url_encoded
from portico.features.oidc.session import Session
from portico.http.cached_value import SourceFailed
from portico.jose.claims import json_object
from portico.jose.token import InvalidToken, Token, verified

if TYPE_CHECKING:
    from portico.features.oidc.discovery import Metadata
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request
    from portico.passing.fetch_message import FetchedResponse

LEEWAY: Final = 30.0  # seconds that clocks may differ
_MAX_TOKEN: Final = 16384
_MAX_USERINFO: Final = 32768
_HASHES: Final = {"256": "sha256", "384": "sha384", "512": "sha512"}


@final
class TokensRefused(Exception):
    """The provider gives no tokens: `error` is its word for it (RFC 6749 section 5.2)."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@final
class Tokens:
    """The response of a token endpoint. Raises ValueError when it is none."""

    def __init__(self, data: bytes) -> None:
        members = json_object(data)
        kind = members.get("token_type")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise ValueError('"token_type" is not Bearer')
        self.access_token = _token(members, "access_token")
        if not self.access_token:
            raise ValueError("there is no access token")
        self.refresh_token = _token(members, "refresh_token")
        self.id_token = _token(members, "id_token")
        self.seconds = _seconds(members)  # of the access token; 0: it does not say


def _token(members: dict[str, object], name: str) -> str:
    """Return a token, "" when there is none. As it ends up in header fields it must be printable ASCII (RFC 6749 appendix A).

    Raises ValueError.
    """
    text = members.get(name)
    if text is None:
        return ""
    if not isinstance(text, str) or len(text) > _MAX_TOKEN or not text.isascii() or not text.isprintable():
        raise ValueError(f'"{name}" is no token')
    return text


def _seconds(members: dict[str, object]) -> int:
    value = members.get("expires_in")
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        return int(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**11 else 0


async def request_tokens(request: Request, provider: Provider, metadata: Metadata, form: list[tuple[str, str]]) -> Tokens:
    """Return what the token endpoint gives for `form`. Raises SourceFailed and TokensRefused."""
    authorization = b""
    if not provider.client_secret:
        form = [*form, ("client_id", provider.client_id)]
    elif metadata.secret_in_form:
        form = [*form, ("client_id", provider.client_id), ("client_secret", provider.client_secret)]
    else:  # RFC 6749 section 2.3.1: both are form-encoded first
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(provider.client_secret)}"
        authorization = b"Basic " + base64.b64encode(pair.encode())
    response = await ask_provider(request.reactor, provider.tls, metadata.token, authorization, urlencode(form).encode())
    if response.status in (400, 401):
        raise TokensRefused(_error(response))
    if response.status != 200:
        raise SourceFailed(f"the token endpoint answered {response.status}", 502)
    try:
        return Tokens(response.body)
    except ValueError as wrong:
        raise SourceFailed(f"the answer of the token endpoint cannot be used: {wrong}", 502) from None


def _error(response: FetchedResponse) -> str:
    try:
        error = json_object(response.body).get("error")
    except ValueError:
        error = None
    return printable(error) if isinstance(error, str) else f"status {response.status}"


def printable(word: str) -> str:
    """Return what a provider or a browser says as a part of a line of the error log."""
    return "".join([character if " " <= character <= "~" else "?" for character in word[:200]])


async def verify_id_token(request: Request, provider: Provider, text: str, nonce: bytes, access_token: str) -> Token:
    """Return an ID token that is right in every respect. Raises SourceFailed and InvalidToken.

    nonce: of the login; b"" when the token came by a refresh, which need not repeat it.
    """
    keys = await provider.discovery.keys(request, False)
    try:
        token = verified(text.encode(), [keys])
    except InvalidToken as wrong:
        if not wrong.other_keys:
            raise
        keys = await provider.discovery.keys(request, True)
        token = verified(text.encode(), [keys])
    check_claims(token, provider.issuer, provider.client_id, nonce, request.reactor.wall())
    _check_access_token(token, access_token)
    return token


def check_claims(token: Token, issuer: str, client_id: str, nonce: bytes, now: float) -> None:
    """Check what the token says (OpenID Connect Core section 3.1.3.7). Raises InvalidToken."""
    claims = token.claims
    if claims.get("iss") != issuer:
        raise InvalidToken('"iss" is another issuer')
    audience = claims.get("aud")
    audiences: list[object] = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise InvalidToken('"aud" is another client')
    party = claims.get("azp")
    if (party is not None or len(audiences) > 1) and party != client_id:
        raise InvalidToken('"azp" is another client')
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise InvalidToken('there is no "sub"')
    if "exp" not in claims:
        raise InvalidToken('there is no "exp"')
    token.check_times(now, LEEWAY)
    issued = claims.get("iat")
    if isinstance(issued, bool) or not isinstance(issued, (int, float)):
        raise InvalidToken('there is no "iat"')
    if issued > now + LEEWAY:
        raise InvalidToken('"iat" is in the future')
    given = claims.get("nonce")
    if nonce and not (isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), nonce)):
        raise InvalidToken('"nonce" is not that of this login')


def _check_access_token(token: Token, access_token: str) -> None:
    """Check `at_hash` (section 3.1.3.6), where there is one and its hash is known: the access token was issued with this ID token.

    Raises InvalidToken.
    """
    given = token.claims.get("at_hash")
    name = _HASHES.get(str(token.header.get("alg"))[-3:])
    if given is None or name is None:
        return
    digest = hashlib.new(name, access_token.encode()).digest()
    if given != base64url_encoded(digest[: len(digest) // 2]).decode():
        raise InvalidToken('"at_hash" is not that of the access token')


async def request_userinfo(request: Request, provider: Provider, metadata: Metadata, access_token: str, subject: object) -> bytes:
    """Return the UserInfo endpoint's claims, as JSON (section 5.3). Raises SourceFailed."""
    if metadata.userinfo is None:
        raise SourceFailed('its metadata has no "userinfo_endpoint"', 502)
    response = await ask_provider(request.reactor, provider.tls, metadata.userinfo, b"Bearer " + access_token.encode())
    if response.status != 200:
        raise SourceFailed(f"the UserInfo endpoint answered {response.status}", 502)
    try:
        members = json_object(response.body)
    except ValueError as wrong:
        raise SourceFailed(f"the answer of the UserInfo endpoint cannot be used: {wrong}", 502) from None
    if len(response.body) > _MAX_USERINFO:
        raise SourceFailed(f"the answer of the UserInfo endpoint is longer than {_MAX_USERINFO} bytes", 502)
    if members.get("sub") != subject:  # section 5.3.4: else the claims are another user's
        raise SourceFailed("the UserInfo endpoint speaks of another user", 502)
    return response.body


def make_session(request: Request, provider: Provider, tokens: Tokens, userinfo: str) -> Session:
    """Return a session with these tokens, from now on."""
    now = request.reactor.wall()
    session = Session(tokens.id_token, tokens.access_token, tokens.refresh_token, userinfo)
    session.created = int(now * 1000.0)
    session.expires = int(now) + provider.settings.session_timeout
    if tokens.refresh_token and tokens.seconds:
        session.refresh_at = int(now) + tokens.seconds - min(30, tokens.seconds // 4)
    return session
