"""A provider's metadata (OpenID Connect Discovery 1.0 section 4) and its keys, as a worker has last fetched them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.url import Url
from portico.features.oidc.provider_requests import ask_provider, provider_url
from portico.http.cached_value import CachedValue, Source, SourceFailed
from portico.jose.claims import json_object
from portico.jose.keys import KeyFileError, KeySet, parse_published_keys

if TYPE_CHECKING:
    from portico.balancing.tls import UpstreamTLS
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
        members = json_object(data)
        if members.get("issuer") != issuer:
            raise ValueError('its "issuer" is not the one that is configured')
        self.authorization = _required_endpoint(members, "authorization_endpoint", secure)
        self.token = _required_endpoint(members, "token_endpoint", secure)
        self.keys = _required_endpoint(members, "jwks_uri", secure)
        self.userinfo = _endpoint(members, "userinfo_endpoint", secure)
        self.end_session = _endpoint(members, "end_session_endpoint", secure)
        methods = _words(members, "token_endpoint_auth_methods_supported")
        # RFC 8414 section 2: without the list it is client_secret_basic; nginx Plus prefers that too
        self.secret_in_form = bool(methods) and "client_secret_basic" not in methods and "client_secret_post" in methods
        challenges = _words(members, "code_challenge_methods_supported")
        # without the list the challenge is sent all the same: a server must ignore what it does not know (RFC 6749 section 3.1)
        self.supports_pkce = not challenges or "S256" in challenges
        self.sends_issuer = members.get("authorization_response_iss_parameter_supported") is True  # RFC 9207


def _required_endpoint(members: dict[str, object], name: str, secure: bool) -> Url:
    url = _endpoint(members, name, secure)
    if url is None:
        raise ValueError(f'it has no "{name}"')
    return url


def _endpoint(members: dict[str, object], name: str, secure: bool) -> Url | None:
    text = members.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f'its "{name}" is no text')
    try:
        url = provider_url(text)
    except ValueError as wrong:
        raise ValueError(f'its "{name}" is no URL that may be used: {wrong}') from None
    if secure and not url.secure:
        raise ValueError(f'its "{name}" is no URL that may be used: it must begin with "https://", as that of the metadata does')
    return url


def _words(members: dict[str, object], name: str) -> list[str]:
    words = members.get(name)
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


@final
class MetadataSource(Source[Metadata]):
    """Where the metadata is."""

    def __init__(self, label: str, tls: UpstreamTLS, url: Url, issuer: str) -> None:
        self._label = label
        self._tls = tls
        self._url = url
        self._issuer = issuer

    async def fetch(self, request: Request) -> Metadata:
        response = await ask_provider(request.reactor, self._tls, self._url)
        if response.status != 200:
            raise SourceFailed(f"the metadata was answered {response.status}", 502)
        try:
            return Metadata(response.body, self._issuer, self._url.secure)
        except ValueError as wrong:
            raise SourceFailed(f"the metadata cannot be used: {wrong}", 502) from None

    def failure_line(self, reason: str) -> str:
        return f"{self._label}: {reason}"


@final
class KeySource(Source[KeySet]):
    """Where the keys are, as the metadata says. Only public keys count: a secret that is published is none."""

    def __init__(self, label: str, tls: UpstreamTLS, metadata: CachedValue[Metadata]) -> None:
        self._label = label
        self._tls = tls
        self._metadata = metadata

    async def fetch(self, request: Request) -> KeySet:
        url = (await self._metadata.get(request, _METADATA_SECONDS, False)).keys
        response = await ask_provider(request.reactor, self._tls, url)
        if response.status != 200:
            raise SourceFailed(f"the keys were answered {response.status}", 502)
        try:
            return parse_published_keys(response.body).public()
        except KeyFileError as wrong:
            raise SourceFailed(f"the keys cannot be used: {wrong}", 502) from None

    def failure_line(self, reason: str) -> str:
        return f"{self._label}: {reason}"


@final
class Discovery:
    """Metadata and keys of one provider. `label` names it in lines of the error log."""

    def __init__(self, label: str, tls: UpstreamTLS, url: Url, issuer: str) -> None:
        self._metadata: CachedValue[Metadata] = CachedValue(MetadataSource(label, tls, url, issuer), _PAUSE)
        self._keys: CachedValue[KeySet] = CachedValue(KeySource(label, tls, self._metadata), _PAUSE)

    async def metadata(self, request: Request) -> Metadata:
        """Return the metadata. Raises SourceFailed."""
        return await self._metadata.get(request, _METADATA_SECONDS, False)

    async def keys(self, request: Request, renew: bool) -> KeySet:
        """Return the keys, with `renew` newer ones if that may be. Raises SourceFailed."""
        renew = renew and self._keys.may_renew(request.reactor.now)
        return await self._keys.get(request, _KEY_SECONDS, renew)
