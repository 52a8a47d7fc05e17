"""One `oidc_provider`: what is configured, and what all parts of it share."""

from __future__ import annotations

from typing import Final, final

from portico.balancing.tls import UpstreamTLS
from portico.features.oidc.discovery import Discovery
from portico.features.oidc.known_refreshes import KnownRefreshes
from portico.features.oidc.provider_requests import provider_url
from portico.features.oidc.sealing import Sealer
from portico.features.oidc.sessions import Sessions
from portico.features.oidc.shared import SharedState

BY_METADATA: Final = -1  # pkce


@final
class ProviderSettings:
    """The directives of one block."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.issuer = ""
        self.client_id = ""
        self.client_secret = ""
        self.config_url = ""
        self.cookie_name = ""
        self.extra_auth_args = ""
        self.redirect_uri = ""  # a path, or an https URL
        self.logout_uri = ""  # "": there is none
        self.post_logout_uri = ""
        self.frontchannel_logout_uri = ""
        self.logout_token_hint = False
        self.scope = ""
        self.session_timeout = 0
        self.userinfo = False
        self.pkce = BY_METADATA


@final
class Provider:
    """An OpenID Provider, and us as its client."""

    def __init__(self, settings: ProviderSettings, tls: UpstreamTLS, shared: SharedState) -> None:
        self.settings = settings
        self.issuer = settings.issuer
        self.client_id = settings.client_id
        self.client_secret = settings.client_secret
        self.label = f'oidc_provider "{settings.name}"'
        self.tls = tls
        config = settings.config_url or f"{settings.issuer.removesuffix('/')}/.well-known/openid-configuration"
        self.discovery = Discovery(self.label, tls, provider_url(config), settings.issuer)
        self.sealer = Sealer(shared.key, f"{settings.issuer} {settings.client_id}".encode())
        self.shared = shared
        self.cookie: bytes = settings.cookie_name.encode()
        self.sessions = Sessions(self.label, self.cookie, self.sealer, shared)
        self.refreshes = KnownRefreshes()
        absolute = settings.redirect_uri if not settings.redirect_uri.startswith("/") else ""
        self.callback: bytes = (provider_url(absolute).target if absolute else settings.redirect_uri).encode()
        self.origin: bytes = provider_url(absolute).origin.encode() if absolute else b""  # b"": that of the request

    def log_line(self, reason: str) -> str:
        """Return a line for the error log."""
        return f"{self.label}: {reason}"
