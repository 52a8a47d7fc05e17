"""To the provider and back: the authorization code flow (OpenID Connect Core 1.0 section 3.1) with PKCE (RFC 7636).

Nothing is remembered of a login that has begun. What must be known when the user comes back travels in `state`, sealed:

    random 16 | when 8 | hash of the browser's mark 16 | where to go then

Nonce and PKCE verifier are derived from the random part. The mark is a random value in a cookie: who comes back must be the browser
that left. Any number of logins can be under way in one browser, with one cookie.

    mark.count      of logins that have succeeded in a row: a browser that never keeps its session is stopped
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from typing import TYPE_CHECKING, Final, final
from urllib.parse import parse_qsl, urlencode

from portico.errorlog import ERR, INFO, WARN
from portico.features.oidc.sealing import encoded
from portico.features.oidc.session import MOST_BYTES, Session, cookie, session_cookies, set_cookie
from portico.features.oidc.tokens import Refused, Tokens, believed, exchanged, shown, userinfo
from portico.http.errors import HTTPError
from portico.http.fetching import FetchFailed
from portico.jose.token import InvalidToken

if TYPE_CHECKING:
    from portico.features.oidc.discovery import Metadata
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request
    from portico.variables.template import Template

LOGIN_SECONDS: Final = 600  # to sign in at the provider
MOST_LOGINS: Final = 10  # in a row
_COUNT_SECONDS: Final = 60  # logins further apart are not in a row
_STATE: Final = b"state"
_NONCE: Final = b"nonce"
_VERIFIER: Final = b"verifier"
_RANDOM: Final = 16
_MARK: Final = 22
_HASH: Final = 16
_FIXED: Final = _RANDOM + 8 + _HASH
_LONGEST_PLACE: Final = 2000  # bytes of a URI to come back to
_CHALLENGE_OFF: Final = 0
_CHALLENGE_ON: Final = 1
_MOST_PARAMETERS: Final = 32


@final
class State:
    """What a `state` says that we have sealed."""

    def __init__(self, random: bytes, when: int, mark: bytes, place: bytes) -> None:
        self.random = random
        self.when = when
        self.mark = mark  # the hash of it
        self.place = place

    def packed(self) -> bytes:
        """To be sealed."""
        return self.random + struct.pack("!q", self.when) + self.mark + self.place


def opened(provider: Provider, text: bytes) -> State | None:
    """The state in a callback's arguments; None for one that this provider's login has not made."""
    data = provider.sealer.open(_STATE, text)
    if data is None or len(data) <= _FIXED:
        return None
    when = int(struct.unpack_from("!q", data, _RANDOM)[0])
    return State(data[:_RANDOM], when, data[_RANDOM + 8 : _FIXED], data[_FIXED:])


@final
class Place:
    """Where a request came in: what URLs of ours are made of."""

    def __init__(self, origin: bytes) -> None:
        self.origin = origin
        self.secure = origin.startswith(b"https:")

    def url(self, path: bytes) -> bytes:
        """Absolute, so that a path that begins with two slashes is no host."""
        return self.origin + path


def place_of(request: Request, provider: Provider, origin: Template) -> Place:
    """The origin as clients see it: that of an absolute `redirect_uri`, else the request's own."""
    return Place(provider.origin or origin.render(request))


# -- the mark


def _mark_name(provider: Provider, secure: bool) -> bytes:
    """With its prefix no other host of the domain can set the cookie (RFC 6265bis section 4.1.3.2)."""
    name = provider.cookie + b"_LOGIN"
    return b"__Host-" + name if secure else name


def _mark(request: Request, provider: Provider, secure: bool) -> tuple[bytes, int]:
    """The browser's mark, b"" when it has none, and its count."""
    mark, _, count = (cookie(request, _mark_name(provider, secure)) or b"").partition(b".")
    if len(mark) != _MARK or not count.isdigit() or len(count) > 4:
        return b"", 0
    return mark, int(count)


def _hash(mark: bytes) -> bytes:
    return hashlib.blake2b(mark, digest_size=_HASH).digest()


# -- away


def away(request: Request, provider: Provider, metadata: Metadata, place: Place) -> HTTPError:
    """Send the browser to the provider. Raises HTTPError 500 when it has been there too often."""
    mark, count = _mark(request, provider, place.secure)
    if count >= MOST_LOGINS:
        reason = f"the browser has signed in {count} times and has no session: does it take cookies of this size?"
        raise HTTPError(500, provider.failed(reason), ERR)
    if not mark:
        mark = encoded(os.urandom(_RANDOM))
    uri = request.raw_uri
    if len(uri) > _LONGEST_PLACE or not uri.startswith(b"/"):
        uri = b"/"
    now = int(request.reactor.wall())
    state = State(os.urandom(_RANDOM), now, _hash(mark), uri)
    redirect = HTTPError(302, provider.failed("the request has no session: it is sent to the provider"), INFO)
    redirect.fields = (
        (b"Location", _authorization(provider, metadata, state, place)),
        set_cookie(_mark_name(provider, place.secure), mark + b".%d" % count, place.secure, LOGIN_SECONDS),
        (b"Cache-Control", b"no-store"),
    )
    return redirect


def _challenges(provider: Provider, metadata: Metadata) -> bool:
    pkce = provider.settings.pkce
    return metadata.takes_challenge if pkce not in (_CHALLENGE_OFF, _CHALLENGE_ON) else pkce == _CHALLENGE_ON


def _authorization(provider: Provider, metadata: Metadata, state: State, place: Place) -> bytes:
    arguments: list[tuple[str, str | bytes]] = [
        ("response_type", "code"),
        ("scope", provider.settings.scope),
        ("client_id", provider.client_id),
        ("redirect_uri", place.url(provider.callback)),
        ("state", provider.sealer.seal(_STATE, state.packed())),
        ("nonce", provider.sealer.secret(_NONCE, state.random)),
    ]
    if _challenges(provider, metadata):
        verifier = provider.sealer.secret(_VERIFIER, state.random)
        arguments.append(("code_challenge", encoded(hashlib.sha256(verifier).digest())))
        arguments.append(("code_challenge_method", "S256"))
    query = urlencode(arguments)
    if provider.settings.extra_auth_args:
        query += "&" + provider.settings.extra_auth_args
    url = metadata.authorization.text
    return f"{url}{'&' if '?' in url else '?'}{query}".encode("utf-8", "surrogateescape")


# -- and back


def arguments_of(args: bytes) -> dict[str, str]:
    """The query of a request to one of our URIs. Raises HTTPError 400: none may come twice (RFC 6749 section 3.1)."""
    try:
        pairs = parse_qsl(args.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except (ValueError, UnicodeDecodeError):
        raise HTTPError(400, "the arguments are malformed") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HTTPError(400, "an argument came twice")
    return found


@final
class Return:
    """Where the browser is sent after a callback, and with which fields."""

    def __init__(self, url: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        self.url = url
        self.fields = fields


async def back(request: Request, provider: Provider, state: State, arguments: dict[str, str], place: Place) -> Return:
    """What a callback comes to: a session, and the way back to where the user wanted to go. Raises HTTPError."""
    home = place.url(state.place)
    if request.reactor.wall() > state.when + LOGIN_SECONDS:  # the browser has forgotten its mark, too
        request.log_error(INFO, provider.failed("the login has taken too long: it begins anew"))
        return Return(home, [])
    mark, count = _mark(request, provider, place.secure)
    if not mark or not hmac.compare_digest(_hash(mark), state.mark):
        # another tab was faster, or the callback comes a second time: the session that there is will do
        if provider.sessions.find(request, provider) is not None:
            return Return(home, [])
        raise HTTPError(400, provider.failed("the callback belongs to a login of another browser, or to one that is over"), WARN)
    try:
        metadata = await provider.discovery.metadata(request)
        _check_issuer(provider, metadata, arguments)
        if "error" in arguments:
            raise _refused_login(provider, arguments)
        session = await _signed_in(request, provider, metadata, state, arguments, place)
    except FetchFailed as failed:
        raise HTTPError(failed.status, provider.failed(failed.reason), ERR) from None
    except Refused as refused:
        raise HTTPError(403, provider.failed(f"the code was refused: {refused.error}"), ERR) from None
    except InvalidToken as wrong:
        raise HTTPError(403, provider.failed(f"the ID token is not believed: {wrong}"), ERR) from None
    provider.shared.know_sid(session)
    fields = cookies_of(request, provider, session, place.secure)
    # another mark: a callback that comes a second time finds none that fits
    fresh = encoded(os.urandom(_RANDOM)) + b".%d" % (count + 1)
    fields.append(set_cookie(_mark_name(provider, place.secure), fresh, place.secure, _COUNT_SECONDS))
    return Return(home, fields)


def _check_issuer(provider: Provider, metadata: Metadata, arguments: dict[str, str]) -> None:
    """RFC 9207: the answer is this provider's."""
    named = arguments.get("iss")
    if named != provider.issuer and (named is not None or metadata.names_itself):
        raise HTTPError(400, provider.failed("the callback is another issuer's"), ERR)


def _refused_login(provider: Provider, arguments: dict[str, str]) -> HTTPError:
    error = arguments["error"]
    told = shown(error)
    if arguments.get("error_description"):
        told += f": {shown(arguments['error_description'])}"
    return HTTPError(403 if error == "access_denied" else 502, provider.failed(f"the login was refused: {told}"), ERR)


async def _signed_in(
    request: Request, provider: Provider, metadata: Metadata, state: State, arguments: dict[str, str], place: Place
) -> Session:
    code = arguments.get("code", "")
    if not code:
        raise HTTPError(400, provider.failed("the callback has no code"), ERR)
    form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", place.url(provider.callback).decode("utf-8", "surrogateescape")),
    ]
    if _challenges(provider, metadata):
        form.append(("code_verifier", provider.sealer.secret(_VERIFIER, state.random).decode()))
    tokens = await exchanged(request, provider, metadata, form)
    if not tokens.id_token:
        raise FetchFailed("the token endpoint gave no ID token", 502)
    nonce = provider.sealer.secret(_NONCE, state.random)
    token = await believed(request, provider, tokens.id_token, nonce, tokens.access_token)
    known = b""
    if provider.settings.userinfo:
        known = await userinfo(request, provider, metadata, tokens.access_token, token.claims.get("sub"))
    return session_of(request, provider, tokens, tokens.id_token, tokens.refresh_token, known.decode("utf-8", "replace"))


def session_of(request: Request, provider: Provider, tokens: Tokens, id_token: str, refresh_token: str, known: str) -> Session:
    """A session with these tokens, from now on."""
    now = request.reactor.wall()
    session = Session(id_token, tokens.access_token, refresh_token, known)
    session.created = int(now * 1000.0)
    session.expires = int(now) + provider.settings.session_timeout
    if refresh_token and tokens.seconds:
        session.refresh_at = int(now) + tokens.seconds - min(30, tokens.seconds // 4)
    return session


def cookies_of(request: Request, provider: Provider, session: Session, secure: bool) -> list[tuple[bytes, bytes]]:
    """The fields that put the session into the browser. Raises HTTPError 500 when it would not come back in one header line, or is
    too long altogether.
    """
    text = provider.sessions.seal(provider, session)
    longest = request.server.core.large_buffer_size
    if len(text) > MOST_BYTES:
        raise HTTPError(500, provider.failed(f"the session takes {len(text)} bytes of cookies: more than {MOST_BYTES}"), ERR)
    if len(text) + len(provider.cookie) * 8 + 512 > longest:
        reason = f"the session takes {len(text)} bytes of cookies, and large_client_header_buffers are of {longest} bytes"
        raise HTTPError(500, provider.failed(reason), ERR)
    return session_cookies(request, provider.cookie, text, secure)
