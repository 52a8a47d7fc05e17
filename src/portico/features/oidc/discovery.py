"""A provider's metadata (OpenID Connect Discovery 1.0 section 4) and its keys, as a worker has last asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.features.oidc.client import ProviderClient, Url
from portico.http.fetching import FetchFailed, Kept, Source
from portico.jose.claims import json_object
from portico.jose.keys import KeyFileError, KeySet, parse_published_keys

if TYPE_CHECKING:
    from portico.http.request import Request

_METADATA_SECONDS: Final = 3600.0
_KEY_SECONDS: Final = 3600.0
_PAUSE: Final = 1.0  # after a failure


@final
class Metadata:
    """What a provider says about itself. Raises ValueError.

    secure: it was asked over TLS. Then no endpoint may do without: else a provider could send us, with tokens, to any service that
    listens on this machine only.
    """

    def __init__(self, data: bytes, issuer: str, secure: bool) -> None:
        found = json_object(data)
        if found.get("issuer") != issuer:
            raise ValueError('its "issuer" is not the one that is configured')
        self.authorization = _endpoint(found, "authorization_endpoint", secure)
        self.token = _endpoint(found, "token_endpoint", secure)
        self.keys = _endpoint(found, "jwks_uri", secure)
        self.userinfo = _optional(found, "userinfo_endpoint", secure)
        self.end_session = _optional(found, "end_session_endpoint", secure)
        methods = _words(found, "token_endpoint_auth_methods_supported")
        # RFC 8414 section 2: without the list it is client_secret_basic; nginx Plus prefers that too
        self.posts_secret = bool(methods) and "client_secret_basic" not in methods and "client_secret_post" in methods
        challenges = _words(found, "code_challenge_methods_supported")
        # without the list the challenge is sent all the same: a server must ignore what it does not know (RFC 6749 section 3.1)
        self.takes_challenge = not challenges or "S256" in challenges
        self.names_itself = found.get("authorization_response_iss_parameter_supported") is True  # RFC 9207


def _endpoint(found: dict[str, object], name: str, secure: bool) -> Url:
    url = _optional(found, name, secure)
    if url is None:
        raise ValueError(f'it has no "{name}"')
    return url


def _optional(found: dict[str, object], name: str, secure: bool) -> Url | None:
    text = found.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f'its "{name}" is no text')
    try:
        url = Url(text)
    except ValueError as wrong:
        raise ValueError(f'its "{name}" is no URL that may be used: {wrong}') from None
    if secure and not url.secure:
        raise ValueError(f'its "{name}" is no URL that may be used: it must begin with "https://", as that of the metadata does')
    return url


def _words(found: dict[str, object], name: str) -> list[str]:
    words = found.get(name)
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


@final
class MetadataSource(Source[Metadata]):
    """Where the metadata is."""

    def __init__(self, name: str, client: ProviderClient, url: Url, issuer: str) -> None:
        self._name = name
        self._client = client
        self._url = url
        self._issuer = issuer

    async def fetch(self, request: Request) -> Metadata:
        answer = await self._client.ask(request.reactor, self._url, [], None)
        if answer.status != 200:
            raise FetchFailed(f"the metadata was answered {answer.status}", 502)
        try:
            return Metadata(answer.content, self._issuer, self._url.secure)
        except ValueError as wrong:
            raise FetchFailed(f"the metadata cannot be used: {wrong}", 502) from None

    def told(self, reason: str) -> str:
        return f'oidc_provider "{self._name}": {reason}'


@final
class KeySource(Source[KeySet]):
    """Where the keys are, as the metadata says. Only public keys count: a secret that is published is none."""

    def __init__(self, name: str, client: ProviderClient, metadata: Kept[Metadata]) -> None:
        self._name = name
        self._client = client
        self._metadata = metadata

    async def fetch(self, request: Request) -> KeySet:
        url = (await self._metadata.get(request, _METADATA_SECONDS, False)).keys
        answer = await self._client.ask(request.reactor, url, [], None)
        if answer.status != 200:
            raise FetchFailed(f"the keys were answered {answer.status}", 502)
        try:
            return parse_published_keys(answer.content).public()
        except KeyFileError as wrong:
            raise FetchFailed(f"the keys cannot be used: {wrong}", 502) from None

    def told(self, reason: str) -> str:
        return f'oidc_provider "{self._name}": {reason}'


@final
class Discovery:
    """Metadata and keys of one provider."""

    def __init__(self, name: str, client: ProviderClient, url: Url, issuer: str) -> None:
        self._metadata: Kept[Metadata] = Kept(MetadataSource(name, client, url, issuer), _PAUSE)
        self._keys: Kept[KeySet] = Kept(KeySource(name, client, self._metadata), _PAUSE)

    async def metadata(self, request: Request) -> Metadata:
        """The metadata. Raises FetchFailed."""
        return await self._metadata.get(request, _METADATA_SECONDS, False)

    async def keys(self, request: Request, renew: bool) -> KeySet:
        """The keys, with `renew` newer ones if that may be. Raises FetchFailed."""
        renew = renew and self._keys.may_renew(request.reactor.now)
        return await self._keys.get(request, _KEY_SECONDS, renew)
