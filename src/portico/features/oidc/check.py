"""The check of one location, and the URIs that belong to the providers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ERR, INFO, WARN
from portico.features.oidc.login import finish_login, open_state, redirect_to_provider
from portico.features.oidc.logout import log_out, log_out_by_provider
from portico.features.oidc.own_uris import PublicOrigin, parse_arguments, public_origin
from portico.features.oidc.refresh import refresh_session
from portico.features.oidc.session import Session
from portico.http.access import ALLOWED, NO_OPINION, PENDING, AccessStep
from portico.http.cached_value import SourceFailed
from portico.http.errors import HTTPError, InternalRedirect, wrong_method
from portico.http.handler import Handler
from portico.http.request import RequestSlot
from portico.http.response import BytesBody, Response

if TYPE_CHECKING:
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request
    from portico.variables.template import Template

VERIFIED: Final[RequestSlot[Session]] = RequestSlot(inherited=True)  # the session with which a request was allowed
OFF: Final = b"off"
ENDPOINTS: Final = "@auth_oidc endpoints"  # a location that no configuration can name


@final
class OidcAuth(AccessStep):
    """The check of one location."""

    def __init__(self, provider: Template, providers: dict[bytes, Provider], origin: Template) -> None:
        self.provider = provider
        self.providers = providers
        self.origin = origin

    def waits(self) -> bool:
        return True

    def _provider(self, request: Request) -> Provider | None:
        """Return the one for this request; None for `off`. Raises HTTPError 500."""
        name = self.provider.render(request)
        if name == OFF:
            return None
        provider = self.providers.get(name)
        if provider is None:
            raise HTTPError(500, f'there is no oidc_provider "{os.fsdecode(name)}"', ERR)
        return provider

    def check(self, request: Request) -> int:
        provider = self._provider(request)
        if provider is None:
            return NO_OPINION
        session = provider.sessions.find(request)
        if session is None:
            if request.method not in (b"GET", b"HEAD"):  # it could not be repeated after the login
                raise HTTPError(401, provider.log_line("the request has no session"), INFO)
            return PENDING
        if session.refresh_at and request.reactor.wall() >= session.refresh_at:
            return PENDING
        VERIFIED.put(request, session)
        return ALLOWED

    async def check_async(self, request: Request) -> int:
        provider = self._provider(request)
        assert provider is not None  # or `check` would have had no opinion
        origin = public_origin(request, provider, self.origin)
        session = provider.sessions.find(request)
        if session is not None:
            refresh = await refresh_session(request, provider, session)
            session = refresh.session
            if session is not None:
                if refresh.renewed:
                    fields = provider.sessions.cookies(request, session, origin.secure)
                    request.carry_over(fields)
                VERIFIED.put(request, session)
                return ALLOWED
        if request.method not in (b"GET", b"HEAD"):
            raise HTTPError(401, provider.log_line("the session is over"), INFO)
        try:
            metadata = await provider.discovery.metadata(request)
        except SourceFailed as failed:
            raise HTTPError(failed.status, provider.log_line(failed.reason), ERR) from None
        raise redirect_to_provider(request, provider, metadata, origin)

    def session(self, request: Request) -> Session | None:
        """Return the session for a variable: as `check` has found it or, before that, as the cookies say."""
        found = VERIFIED.of(request)
        if found is not None:
            return found
        try:
            provider = self._provider(request)
        except HTTPError:
            return None
        return None if provider is None else provider.sessions.find(request)

    def describe(self) -> str:
        return f"auth_oidc {self.provider.text}"


@final
class OidcUris(Handler):
    """Leads the requests for the providers' URIs on one server to their location, whatever locations are configured."""

    def __init__(self, uris: frozenset[bytes], callbacks: frozenset[bytes]) -> None:
        self.is_async = False
        self.uris = uris
        self.callbacks = callbacks

    def handle(self, request: Request) -> Response | None:
        if request.uri not in self.uris or request.parent is not None:
            return None
        if request.uri in self.callbacks:
            _hide_query(request)
        raise InternalRedirect(b"", None, ENDPOINTS)

    def describe(self) -> str:
        return "auth_oidc: " + ", ".join(sorted(uri.decode("utf-8", "backslashreplace") for uri in self.uris))


@final
class OidcEndpoints(Handler):
    """Responds to them."""

    def __init__(self, providers: list[Provider], origin: Template) -> None:
        self.is_async = True
        self.providers = providers
        self.origin = origin

    async def handle_async(self, request: Request) -> Response | None:
        uri = request.uri
        callbacks = [provider for provider in self.providers if provider.callback == uri]
        args = request.args
        if callbacks:
            request.target = request.target.with_args(b"")
        if request.method != b"GET":
            raise wrong_method(request.method, "a URI of an oidc_provider", "GET")
        if callbacks:
            return await self._callback(request, callbacks, args)
        for provider in self._by_session(request):
            settings = provider.settings
            if settings.logout_uri.encode() == uri:
                return await log_out(request, provider, self._origin(request, provider))
            if settings.frontchannel_logout_uri.encode() == uri:
                return self._by_provider(request, uri)
        raise HTTPError(404)

    async def _callback(self, request: Request, providers: list[Provider], args: bytes) -> Response:
        arguments = parse_arguments(args)
        text = arguments.get("state", "").encode()
        for provider in providers:
            state = open_state(provider, text)
            if state is not None:
                outcome = await finish_login(request, provider, state, arguments, self._origin(request, provider))
                response = Response(302, BytesBody(b""))
                response.fields = [(b"Location", outcome.url), *outcome.fields, (b"Cache-Control", b"no-store")]
                return response
        raise HTTPError(400, providers[0].log_line("the callback has no state that we have given"), WARN)

    def _by_session(self, request: Request) -> list[Provider]:
        """Return the providers, which may have the same URI: first those that the user is signed in with."""
        return sorted(self.providers, key=lambda provider: provider.sessions.find(request) is None)

    def _by_provider(self, request: Request, uri: bytes) -> Response:
        issuer = parse_arguments(request.args).get("iss")
        fitting = [provider for provider in self._by_session(request) if provider.settings.frontchannel_logout_uri.encode() == uri]
        chosen = next((provider for provider in fitting if provider.issuer == issuer), fitting[0])
        return log_out_by_provider(request, chosen, self._origin(request, chosen))

    def _origin(self, request: Request, provider: Provider) -> PublicOrigin:
        return public_origin(request, provider, self.origin)

    def describe(self) -> str:
        return "auth_oidc"


def _hide_query(request: Request) -> None:
    """Remove a callback's query from what logs show of the request, whatever comes of it: codes and states are for nobody's log."""
    words = request.line.split(b" ")
    request.line = b" ".join([words[0], request.uri, words[-1]])
    request.target = request.target.with_hidden_query()
