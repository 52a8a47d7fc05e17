"""Logins, to the provider and back: the authorization code flow (OpenID Connect Core 1.0 section 3.1) with PKCE (RFC 7636).

Nothing is stored here of a login that has begun. What must be known when the user comes back travels in `state`, sealed:

    random 16 | created 8 | hash of the binding 16 | URI to return to

Nonce and PKCE verifier are derived from the random part. The binding is a random value in a cookie: who comes back must be the
browser that left. Any number of logins can be under way in one browser, with one cookie.

    binding.count      of logins that have succeeded in a row: a browser that never stores its session is stopped
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from typing import TYPE_CHECKING, Final, final
from urllib.parse import urlencode

from portico.errorlog import ERR, INFO, WARN
from portico.features.oidc.own_uris import PublicOrigin
from portico.features.oidc.sealing import base64url_encoded
from portico.features.oidc.session import Session, find_cookie, set_cookie
from portico.features.oidc.tokens import (
    TokensRefused,
    make_session,
    printable,
    request_tokens,
    request_userinfo,
    verify_id_token,
)
from portico.http.cached_value import SourceFailed
from portico.http.errors import HTTPError
from portico.jose.token import InvalidToken

if TYPE_CHECKING:
    from portico.features.oidc.discovery import Metadata
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request

LOGIN_SECONDS: Final = 600  # to sign in at the provider
MAX_LOGINS: Final = 10  # in a row
_COUNT_SECONDS: Final = 60  # logins further apart are not in a row
_STATE: Final = b"state"
_NONCE: Final = b"nonce"
_VERIFIER: Final = b"verifier"
_RANDOM: Final = 16
_BINDING: Final = 22
_HASH: Final = 16
_FIXED: Final = _RANDOM + 8 + _HASH
_MAX_RETURN_URI: Final = 2000  # bytes of a URI to come back to
_CHALLENGE_OFF: Final = 0
_CHALLENGE_ON: Final = 1


@final
class State:
    """The content of a `state` that we have sealed."""

    def __init__(self, random: bytes, created: int, binding_hash: bytes, return_uri: bytes) -> None:
        self.random = random
        self.created = created
        self.binding_hash = binding_hash
        self.return_uri = return_uri

    def serialized(self) -> bytes:
        """Return the state as it is sealed."""
        return self.random + struct.pack("!q", self.created) + self.binding_hash + self.return_uri


def open_state(provider: Provider, text: bytes) -> State | None:
    """Return the state in a callback's arguments; None for one that this provider's login has not made."""
    data = provider.sealer.open(_STATE, text)
    if data is None or len(data) <= _FIXED:
        return None
    created = int(struct.unpack_from("!q", data, _RANDOM)[0])
    return State(data[:_RANDOM], created, data[_RANDOM + 8 : _FIXED], data[_FIXED:])


# -- the binding


def _binding_name(provider: Provider, secure: bool) -> bytes:
    """Return the cookie's name. With its prefix no other host of the domain can set it (RFC 6265bis section 4.1.3.2)."""
    name = provider.cookie + b"_LOGIN"
    return b"__Host-" + name if secure else name


def _binding(request: Request, provider: Provider, secure: bool) -> tuple[bytes, int]:
    """Return the browser's binding, b"" when it has none, and its count."""
    binding, _, count = (find_cookie(request, _binding_name(provider, secure)) or b"").partition(b".")
    if len(binding) != _BINDING or not count.isdigit() or len(count) > 4:
        return b"", 0
    return binding, int(count)


def _hash(binding: bytes) -> bytes:
    return hashlib.blake2b(binding, digest_size=_HASH).digest()


# -- to the provider


def redirect_to_provider(request: Request, provider: Provider, metadata: Metadata, origin: PublicOrigin) -> HTTPError:
    """Return the redirect, to be raised, that sends the browser to the provider.

    Raises HTTPError 500 when it has been there too often.
    """
    binding, count = _binding(request, provider, origin.secure)
    if count >= MAX_LOGINS:
        reason = f"the browser has signed in {count} times and has no session: does it take cookies of this size?"
        raise HTTPError(500, provider.log_line(reason), ERR)
    if not binding:
        binding = base64url_encoded(os.urandom(_RANDOM))
    uri = request.target.raw
    if len(uri) > _MAX_RETURN_URI or not uri.startswith(b"/"):
        uri = b"/"
    now = int(request.reactor.wall())
    state = State(os.urandom(_RANDOM), now, _hash(binding), uri)
    redirect = HTTPError(302, provider.log_line("the request has no session: it is sent to the provider"), INFO)
    redirect.fields = (
        (b"Location", _authorization(provider, metadata, state, origin)),
        set_cookie(_binding_name(provider, origin.secure), binding + b".%d" % count, origin.secure, LOGIN_SECONDS),
        (b"Cache-Control", b"no-store"),
    )
    return redirect


def _uses_pkce(provider: Provider, metadata: Metadata) -> bool:
    pkce = provider.settings.pkce
    return metadata.supports_pkce if pkce not in (_CHALLENGE_OFF, _CHALLENGE_ON) else pkce == _CHALLENGE_ON


def _authorization(provider: Provider, metadata: Metadata, state: State, origin: PublicOrigin) -> bytes:
    """Return the URL of the provider where the user signs in."""
    arguments: list[tuple[str, str | bytes]] = [
        ("response_type", "code"),
        ("scope", provider.settings.scope),
        ("client_id", provider.client_id),
        ("redirect_uri", origin.url(provider.callback)),
        ("state", provider.sealer.seal(_STATE, state.serialized())),
        ("nonce", provider.sealer.secret(_NONCE, state.random)),
    ]
    if _uses_pkce(provider, metadata):
        verifier = provider.sealer.secret(_VERIFIER, state.random)
        arguments.append(("code_challenge", base64url_encoded(hashlib.sha256(verifier).digest())))
        arguments.append(("code_challenge_method", "S256"))
    query = urlencode(arguments)
    if provider.settings.extra_auth_args:
        query += "&" + provider.settings.extra_auth_args
    url = metadata.authorization.text
    return f"{url}{'&' if '?' in url else '?'}{query}".encode("utf-8", "surrogateescape")


# -- and back


@final
class LoginOutcome:
    """Where the browser is sent after a callback, and with which fields."""

    def __init__(self, url: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        self.url = url
        self.fields = fields


async def finish_login(
    request: Request, provider: Provider, state: State, arguments: dict[str, str], origin: PublicOrigin
) -> LoginOutcome:
    """Return what a callback comes to: a session, and the way back to where the user wanted to go. Raises HTTPError."""
    home = origin.url(state.return_uri)
    if request.reactor.wall() > state.created + LOGIN_SECONDS:  # the browser has forgotten its binding, too
        request.log_error(INFO, provider.log_line("the login has taken too long: it begins anew"))
        return LoginOutcome(home, [])
    binding, count = _binding(request, provider, origin.secure)
    if not binding or not hmac.compare_digest(_hash(binding), state.binding_hash):
        # another tab was faster, or the callback comes a second time: the session that there is will do
        if provider.sessions.find(request) is not None:
            return LoginOutcome(home, [])
        raise HTTPError(400, provider.log_line("the callback belongs to a login of another browser, or to one that is over"), WARN)
    try:
        metadata = await provider.discovery.metadata(request)
        _check_issuer(provider, metadata, arguments)
        if "error" in arguments:
            raise _refused_login(provider, arguments)
        session = await _signed_in(request, provider, metadata, state, arguments, origin)
    except SourceFailed as failed:
        raise HTTPError(failed.status, provider.log_line(failed.reason), ERR) from None
    except TokensRefused as refused:
        raise HTTPError(403, provider.log_line(f"the code was refused: {refused.error}"), ERR) from None
    except InvalidToken as wrong:
        raise HTTPError(403, provider.log_line(f"the ID token is not believed: {wrong}"), ERR) from None
    provider.shared.insert_sid(session)
    fields = provider.sessions.cookies(request, session, origin.secure)
    # another binding: a callback that comes a second time finds none that fits
    fresh = base64url_encoded(os.urandom(_RANDOM)) + b".%d" % (count + 1)
    fields.append(set_cookie(_binding_name(provider, origin.secure), fresh, origin.secure, _COUNT_SECONDS))
    return LoginOutcome(home, fields)


def _check_issuer(provider: Provider, metadata: Metadata, arguments: dict[str, str]) -> None:
    """Check that the callback is this provider's (RFC 9207). Raises HTTPError 400."""
    named = arguments.get("iss")
    if named != provider.issuer and (named is not None or metadata.sends_issuer):
        raise HTTPError(400, provider.log_line("the callback is another issuer's"), ERR)


def _refused_login(provider: Provider, arguments: dict[str, str]) -> HTTPError:
    error = arguments["error"]
    reason = printable(error)
    if arguments.get("error_description"):
        reason += f": {printable(arguments['error_description'])}"
    return HTTPError(403 if error == "access_denied" else 502, provider.log_line(f"the login was refused: {reason}"), ERR)


async def _signed_in(
    request: Request, provider: Provider, metadata: Metadata, state: State, arguments: dict[str, str], origin: PublicOrigin
) -> Session:
    """Return a session for the code in a callback. Raises HTTPError, SourceFailed, TokensRefused and InvalidToken."""
    code = arguments.get("code", "")
    if not code:
        raise HTTPError(400, provider.log_line("the callback has no code"), ERR)
    form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", origin.url(provider.callback).decode("utf-8", "surrogateescape")),
    ]
    if _uses_pkce(provider, metadata):
        form.append(("code_verifier", provider.sealer.secret(_VERIFIER, state.random).decode()))
    tokens = await request_tokens(request, provider, metadata, form)
    if not tokens.id_token:
        raise SourceFailed("the token endpoint gave no ID token", 502)
    nonce = provider.sealer.secret(_NONCE, state.random)
    token = await verify_id_token(request, provider, tokens.id_token, nonce, tokens.access_token)
    userinfo = b""
    if provider.settings.userinfo:
        userinfo = await request_userinfo(request, provider, metadata, tokens.access_token, token.claims.get("sub"))
    return make_session(request, provider, tokens, userinfo.decode("utf-8", "replace"))
