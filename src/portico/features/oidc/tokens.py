"""What a provider gives for a code or a refresh token, and what an ID token must say to be believed (OpenID Connect Core 1.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Final, final
from urllib.parse import quote_plus, urlencode

from portico.features.oidc.client import Answer
from portico.features.oidc.sealing import encoded
from portico.http.fetching import FetchFailed
from portico.jose.claims import json_object
from portico.jose.token import InvalidToken, Token, verified

if TYPE_CHECKING:
    from portico.features.oidc.discovery import Metadata
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request

LEEWAY: Final = 30.0  # seconds that clocks may differ
_LONGEST_TOKEN: Final = 16384
_LONGEST_USERINFO: Final = 32768
_HASHES: Final = {"256": "sha256", "384": "sha384", "512": "sha512"}


@final
class Refused(Exception):
    """The provider says no: `error` is its word for it (RFC 6749 section 5.2)."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@final
class Tokens:
    """The answer of a token endpoint. Raises ValueError when it is none."""

    def __init__(self, data: bytes) -> None:
        found = json_object(data)
        kind = found.get("token_type")
        if not isinstance(kind, str) or kind.lower() != "bearer":
            raise ValueError('"token_type" is not Bearer')
        self.access_token = _token(found, "access_token")
        if not self.access_token:
            raise ValueError("there is no access token")
        self.refresh_token = _token(found, "refresh_token")
        self.id_token = _token(found, "id_token")
        self.seconds = _seconds(found)  # of the access token; 0: it does not say


def _token(found: dict[str, object], name: str) -> str:
    """A token ends up in header fields: printable ASCII (RFC 6749 appendix A)."""
    text = found.get(name)
    if text is None:
        return ""
    if not isinstance(text, str) or len(text) > _LONGEST_TOKEN or not text.isascii() or not text.isprintable():
        raise ValueError(f'"{name}" is no token')
    return text


def _seconds(found: dict[str, object]) -> int:
    value = found.get("expires_in")
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        return int(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**11 else 0


async def exchanged(request: Request, provider: Provider, metadata: Metadata, form: list[tuple[str, str]]) -> Tokens:
    """What the token endpoint gives for `form`. Raises FetchFailed and Refused."""
    fields: list[bytes] = []
    if not provider.client_secret:
        form = [*form, ("client_id", provider.client_id)]
    elif metadata.posts_secret:
        form = [*form, ("client_id", provider.client_id), ("client_secret", provider.client_secret)]
    else:  # RFC 6749 section 2.3.1: both are form-encoded first
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(provider.client_secret)}"
        fields.append(b"Authorization: Basic " + base64.b64encode(pair.encode()))
    reactor = request.reactor
    answer = await provider.client.ask(reactor, metadata.token, fields, urlencode(form).encode())
    if answer.status in (400, 401):
        raise Refused(_error(answer))
    if answer.status != 200:
        raise FetchFailed(f"the token endpoint answered {answer.status}", 502)
    try:
        return Tokens(answer.content)
    except ValueError as wrong:
        raise FetchFailed(f"the answer of the token endpoint cannot be used: {wrong}", 502) from None


def _error(answer: Answer) -> str:
    try:
        error = json_object(answer.content).get("error")
    except ValueError:
        error = None
    return shown(error) if isinstance(error, str) else f"status {answer.status}"


def shown(word: str) -> str:
    """What a provider or a browser says, for a line of the error log."""
    return "".join([character if " " <= character <= "~" else "?" for character in word[:200]])


async def believed(request: Request, provider: Provider, text: str, nonce: bytes, access_token: str) -> Token:
    """An ID token that is right in every respect. Raises FetchFailed and InvalidToken.

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
    """OpenID Connect Core section 3.1.3.7. Raises InvalidToken."""
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
    """`at_hash` (section 3.1.3.6), where there is one and its hash is known: the access token was issued with this ID token."""
    given = token.claims.get("at_hash")
    name = _HASHES.get(str(token.header.get("alg"))[-3:])
    if given is None or name is None:
        return
    digest = hashlib.new(name, access_token.encode()).digest()
    if given != encoded(digest[: len(digest) // 2]).decode():
        raise InvalidToken('"at_hash" is not that of the access token')


async def userinfo(request: Request, provider: Provider, metadata: Metadata, access_token: str, subject: object) -> bytes:
    """The UserInfo endpoint's claims, as JSON (section 5.3). Raises FetchFailed."""
    if metadata.userinfo is None:
        raise FetchFailed('its metadata has no "userinfo_endpoint"', 502)
    fields = [b"Authorization: Bearer " + access_token.encode()]
    answer = await provider.client.ask(request.reactor, metadata.userinfo, fields, None)
    if answer.status != 200:
        raise FetchFailed(f"the UserInfo endpoint answered {answer.status}", 502)
    try:
        found = json_object(answer.content)
    except ValueError as wrong:
        raise FetchFailed(f"the answer of the UserInfo endpoint cannot be used: {wrong}", 502) from None
    if len(answer.content) > _LONGEST_USERINFO:
        raise FetchFailed(f"the answer of the UserInfo endpoint is longer than {_LONGEST_USERINFO} bytes", 502)
    if found.get("sub") != subject:  # section 5.3.4: else the claims are another user's
        raise FetchFailed("the UserInfo endpoint speaks of another user", 502)
    return answer.content
