"""Builds the providers, and attaches the check where there is one."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from portico.balancing.tls import UpstreamTLS
from portico.config.diagnostics import ConfigError
from portico.config.directive import LOCATION, Directive, Scope
from portico.features.oidc import directives as d
from portico.features.oidc.check import ENDPOINTS, OFF, VERIFIED, OidcAuth, OidcEndpoints, OidcUris
from portico.features.oidc.provider import Provider, ProviderSettings
from portico.features.oidc.sealing import CIPHERS, KEY_SIZE
from portico.features.oidc.session import Session
from portico.features.oidc.shared import SharedState
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import PREACCESS, Handler
from portico.http.plan import LocationSlot
from portico.jose.keys import JOSE, KeyFileError
from portico.net.certificates import ContextError
from portico.passing.fetch import verifying_tls
from portico.variables.template import Template
from portico.variables.variable import PER_REQUEST, Getter, Variable, VariableFamily
from portico.zones.states import COLUMNS, States
from portico.zones.zone import ZoneConflict

if TYPE_CHECKING:
    from portico.config.reader import Where
    from portico.http.plan import VirtualServer
    from portico.http.request import Request

_ORIGIN: Final = "$scheme://$host$is_request_port$request_port"
_ENDED_SIZE: Final = 8388608
_NAMED_SIZE: Final = 8388608
_REFRESHING_SIZE: Final = 1048576


def _no_providers(build: HttpBuild) -> dict[bytes, Provider]:
    return {}


PROVIDERS: Final = BuildSlot[dict[bytes, Provider]](_no_providers)
_CHECK: Final = LocationSlot[OidcAuth]()


class OidcFeature(Feature):
    """nginx Plus's ngx_http_oidc_module."""

    def http(self, build: HttpBuild) -> None:
        providers = PROVIDERS.of(build)
        for scope in build.scope.blocks(d.OIDC_PROVIDER_BLOCK):
            statement = scope.statement
            assert statement is not None
            try:
                name = os.fsencode(scope.opened_as(d.OIDC_PROVIDER_BLOCK))
                if name in providers:
                    raise statement.fail(f'duplicate oidc_provider "{os.fsdecode(name)}"', statement.args[0])
                if name == OFF:
                    raise statement.fail('an oidc_provider cannot be called "off"', statement.args[0])
                providers[name] = _provider(build, scope)
            except ConfigError as error:
                build.scope.load.diagnostics.error(error)

    def server_rewrite(self, build: HttpBuild, server: VirtualServer, scope: Scope) -> list[Handler]:
        providers = _used(build, scope)
        callbacks = frozenset(provider.callback for provider in providers)
        uris = set(callbacks)
        for provider in providers:
            settings = provider.settings
            uris.update(uri.encode() for uri in (settings.logout_uri, settings.frontchannel_logout_uri) if uri)
        return [OidcUris(frozenset(uris), callbacks)] if uris else []

    def location(self, build: LocationBuild) -> None:
        if build.location.name == ENDPOINTS:
            return
        scope = build.scope
        if build.location is build.server.fallback:
            providers = _used(build.http, scope)
            if providers:
                _add_endpoints(build, providers)
        given = scope.setting(d.AUTH_OIDC)
        if given is None or given.value is None or given.value.constant == OFF:
            return
        known = PROVIDERS.of(build.http)
        constant = given.value.constant
        if constant is not None and constant not in known:
            names = ", ".join(sorted(os.fsdecode(name) for name in known))
            hint = f"there is: {names}" if known else f"oidc_provider {given.value.text} {{ ... }} in http says what it is"
            raise ConfigError(f'unknown oidc_provider "{given.value.text}"', given.where, hint)
        check = OidcAuth(given.value, known, _origin(build))
        _CHECK.put(build.location, check)
        build.add_access(check)


def _origin(build: LocationBuild) -> Template:
    assert build.scope.statement is not None
    made = Template(_ORIGIN, build.scope.statement.where)
    build.scope.load.resolve_later(made)
    return made


def _used(build: HttpBuild, server: Scope) -> list[Provider]:
    """Return the providers that a server or a location in it names, all of them where one is named by variables."""
    names: set[bytes] = set()
    for template in _named(server, server.get(d.AUTH_OIDC)):
        if template.constant is None:
            return list(PROVIDERS.of(build).values())
        names.add(template.constant)
    return [provider for name, provider in PROVIDERS.of(build).items() if name in names]


def _named(scope: Scope, given: Template | None) -> list[Template]:
    found = [] if given is None else [given]
    for child in scope.children:
        found.extend(_named(child, child.own(d.AUTH_OIDC)))
    return found


def _add_endpoints(build: LocationBuild, providers: list[Provider]) -> None:
    """Add a location for the providers' URIs, with the settings of the server. Nothing checks access to it."""
    _warn_of_shared_callbacks(build.scope, providers)
    outer = build.scope
    scope = Scope(LOCATION, outer.load, outer, outer.statement)
    inner = build.inner(scope, ENDPOINTS)
    inner.add_handler(PREACCESS, OidcEndpoints(providers, _origin(build)))  # behind limit_req, before any check of access
    build.server.named[ENDPOINTS] = inner.location


def _warn_of_shared_callbacks(server: Scope, providers: list[Provider]) -> None:
    """Warn of providers with one redirect URI: one that lies can send a user to another one to sign in there. The code would come to
    us as its own, and go to it.
    """
    assert server.statement is not None
    known: dict[tuple[bytes, bytes], Provider] = {}
    for provider in providers:
        other = known.setdefault((provider.origin, provider.callback), provider)
        if other.issuer != provider.issuer:
            server.load.diagnostics.warn(
                f'{other.label} and "{provider.settings.name}" have the same redirect_uri on one server',
                server.statement.where,
                "give each its own, or one of them could get hold of the other's codes (RFC 9700 section 4.4)",
            )


# -- a provider


def _provider(build: HttpBuild, scope: Scope) -> Provider:
    statement = scope.statement
    assert statement is not None
    settings = ProviderSettings(scope.opened_as(d.OIDC_PROVIDER_BLOCK))
    for directive in (d.ISSUER, d.CLIENT_ID):
        if not scope.own(directive):
            raise statement.fail(f'"{directive.name}" is missing in oidc_provider "{settings.name}"', statement.args[0])
    settings.issuer = scope.get(d.ISSUER)
    settings.client_id = scope.get(d.CLIENT_ID)
    settings.client_secret = scope.get(d.CLIENT_SECRET)
    settings.config_url = scope.get(d.CONFIG_URL)
    settings.cookie_name = scope.get(d.COOKIE_NAME)
    settings.extra_auth_args = scope.get(d.EXTRA_AUTH_ARGS)
    settings.redirect_uri = scope.get(d.REDIRECT_URI)
    settings.logout_uri = scope.get(d.LOGOUT_URI)
    settings.post_logout_uri = scope.get(d.POST_LOGOUT_URI)
    settings.frontchannel_logout_uri = scope.get(d.FRONTCHANNEL_LOGOUT_URI)
    settings.logout_token_hint = scope.get(d.LOGOUT_TOKEN_HINT)
    settings.scope = scope.get(d.SCOPE)
    settings.session_timeout = scope.get(d.SESSION_TIMEOUT)
    settings.userinfo = scope.get(d.USERINFO)
    settings.pkce = scope.get(d.PKCE)
    try:
        JOSE.find()
        CIPHERS.find()
    except (KeyFileError, ImportError) as missing:
        raise ConfigError(f"auth_oidc: {missing}", statement.where, "pip install joserfc cryptography") from None
    tls = _tls(scope)
    try:
        shared = _shared(build, settings, scope.get(d.SESSION_KEY))
    except ZoneConflict as conflict:
        raise ConfigError(str(conflict), statement.where) from None
    provider = Provider(settings, tls, shared)
    own = [text for text in (provider.callback.decode(), settings.logout_uri, settings.frontchannel_logout_uri) if text]
    if len(set(own)) != len(own):
        raise statement.fail(f'oidc_provider "{settings.name}" has one URI for two purposes', statement.args[0])
    return provider


def _tls(scope: Scope) -> UpstreamTLS:
    try:
        return verifying_tls(scope.own(d.SSL_TRUSTED_CERTIFICATE) or "", scope.own(d.SSL_CRL) or "")
    except ContextError as wrong:
        directive = d.SSL_CRL if wrong.about == "crl" else d.SSL_TRUSTED_CERTIFICATE
        raise ConfigError(wrong.message, _place(scope, directive), wrong.hint) from None


def _place(scope: Scope, directive: Directive[str]) -> Where | None:
    given = scope.own_settings(directive)
    return given[0].where if given else None


def _shared(build: HttpBuild, settings: ProviderSettings, session_key: bytes) -> SharedState:
    """Return the state in shared memory, which outlives reloads while provider and client are the same."""
    use = f"oidc_provider {settings.issuer} {settings.client_id}"
    store = f"oidc_default_store_{settings.name}"
    key = build.zones.add(f"{store}_key", KEY_SIZE, use).open(KEY_SIZE // 8)
    if not any(key.read(0, KEY_SIZE // 8)):
        key.write(0, struct.unpack(f"={KEY_SIZE // 8}q", os.urandom(KEY_SIZE)))
    made = session_key or struct.pack(f"={KEY_SIZE // 8}q", *key.read(0, KEY_SIZE // 8))
    ended = build.zones.add(store, _ENDED_SIZE, use).open(COLUMNS)
    named = build.zones.add(f"{store}_named", _NAMED_SIZE, use).open(COLUMNS)
    refreshing = build.zones.add(f"{store}_refreshing", _REFRESHING_SIZE, use).open(COLUMNS)
    return SharedState(made, States(ended), States(named), States(refreshing))


# -- variables


def _session(request: Request) -> Session | None:
    check = _CHECK.of(request.location)
    if check is not None:
        return check.session(request)
    return VERIFIED.of(request)


def _id_token(request: Request) -> bytes | None:
    session = _session(request)
    return None if session is None else session.id_token.encode()


def _access_token(request: Request) -> bytes | None:
    session = _session(request)
    return None if session is None else session.access_token.encode()


def _userinfo(request: Request) -> bytes | None:
    session = _session(request)
    return session.userinfo.encode() if session is not None and session.userinfo else None


def _claim_family(name: str) -> Getter[Request]:
    def get(request: Request) -> bytes | None:
        session = _session(request)
        return None if session is None else session.claim(name)

    return get


FEATURE: Final = OidcFeature(
    "http_oidc",
    d.DIRECTIVES,
    (
        Variable("oidc_id_token", _id_token, PER_REQUEST, "The ID token of the user who has signed in (`auth_oidc`)."),
        Variable("oidc_access_token", _access_token, PER_REQUEST, "The user's access token."),
        Variable("oidc_userinfo", _userinfo, PER_REQUEST, "The user's claims from the UserInfo endpoint, as JSON."),
    ),
    (VariableFamily("oidc_claim_", _claim_family, PER_REQUEST, "A claim about the user, of the ID token or the UserInfo."),),
)
