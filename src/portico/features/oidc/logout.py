"""The end of a session: asked for by the user (`logout_uri`, OpenID Connect RP-Initiated Logout 1.0) or by the provider
(`frontchannel_logout_uri`, OpenID Connect Front-Channel Logout 1.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from portico.errorlog import ERR, INFO
from portico.features.oidc.own_uris import PublicOrigin, parse_arguments
from portico.features.oidc.session import Session
from portico.http.cached_value import SourceFailed
from portico.http.errors import HTTPError
from portico.http.response import BytesBody, Response, text_response

if TYPE_CHECKING:
    from portico.features.oidc.discovery import Metadata
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request

_PAGE: Final = b"<!DOCTYPE html>\n<title>Signed out</title>\n<p>You have signed out.</p>\n"
_NO_STORE: Final = (b"Cache-Control", b"no-store")


async def log_out(request: Request, provider: Provider, origin: PublicOrigin) -> Response:
    """End the session, here at once, and return a response that sends the browser to the provider, which ends its own."""
    session = provider.sessions.find(request)
    fields = _end(request, provider, session, origin)
    metadata: Metadata | None = None
    try:
        metadata = await provider.discovery.metadata(request)
    except SourceFailed as failed:
        request.log_error(ERR, provider.log_line(failed.reason))
    target = _target(provider, metadata, session, origin)
    if target:
        response = Response(302, BytesBody(b""))
        response.fields = [(b"Location", target)]
    else:
        response = text_response(200, b"text/html", _PAGE)
    response.fields.extend([*fields, _NO_STORE])
    return response


def _target(provider: Provider, metadata: Metadata | None, session: Session | None, origin: PublicOrigin) -> bytes:
    after = provider.settings.post_logout_uri.encode()
    if after.startswith(b"/"):
        after = origin.url(after)
    if metadata is None or metadata.end_session is None:
        return after
    arguments: list[tuple[str, str | bytes]] = [("client_id", provider.client_id)]
    if after:
        arguments.append(("post_logout_redirect_uri", after))
    if provider.settings.logout_token_hint and session is not None:
        arguments.append(("id_token_hint", session.id_token))
    url = metadata.end_session.text
    return f"{url}{'&' if '?' in url else '?'}{urlencode(arguments)}".encode()


def log_out_by_provider(request: Request, provider: Provider, origin: PublicOrigin) -> Response:
    """End the session for which a page of the provider asks in a frame: by its `sid`, or by the browser's cookie.

    Raises HTTPError 400.
    """
    arguments = parse_arguments(request.args)
    issuer, sid = arguments.get("iss"), arguments.get("sid")
    if (issuer is None) != (sid is None) or (issuer is not None and issuer != provider.issuer):
        raise HTTPError(400, provider.log_line('a front-channel logout has "iss" and "sid" of this provider, or neither'), INFO)
    session = provider.sessions.find(request)
    now = request.reactor.wall()
    if sid is not None:
        provider.shared.end_by_sid(sid, now)
        if session is not None and session.sid != sid:
            session = None
    fields = _end(request, provider, session, origin) if session is not None else []
    response = text_response(200, b"text/html", _PAGE)
    response.fields.extend([*fields, _NO_STORE])
    return response


def _end(request: Request, provider: Provider, session: Session | None, origin: PublicOrigin) -> list[tuple[bytes, bytes]]:
    if session is not None:
        provider.shared.end(session, request.reactor.wall())
    return provider.sessions.expired_cookies(request, origin.secure)
