"""Requests to a provider: which URLs may be asked, and what all requests have in common. `passing/fetch.py` sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.codec.url import Url
from portico.http.cached_value import SourceFailed
from portico.passing.fetch import fetch
from portico.passing.fetch_message import EXHAUSTED, SECONDS, TIMEOUT, FetchedResponse, FetchError, FetchRequest

if TYPE_CHECKING:
    from portico.balancing.tls import UpstreamTLS
    from portico.net.reactor import Reactor

_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_STATUS: Final = {TIMEOUT: 504, EXHAUSTED: 500}  # of the response to a request that needs the provider; else 502


def provider_url(text: str) -> Url:
    """Return a URL that may be asked: `https`, or `http` on this machine. Raises ValueError with what is wrong."""
    url = Url(text)
    if not url.secure and url.host not in _LOOPBACK:
        raise ValueError('it must begin with "https://": only a provider on this machine may be asked without TLS')
    return url


async def ask_provider(
    reactor: Reactor,
    tls: UpstreamTLS,
    url: Url,
    authorization: bytes = b"",
    form: bytes | None = None,
    seconds: float = SECONDS,
) -> FetchedResponse:
    """Return the response to a GET, or to a POST of a form. Raises SourceFailed; its reason holds no secret.

    `authorization` is the value of that field, b"" for none. No redirect is followed.
    """
    request = FetchRequest(url, tls)
    request.seconds = seconds
    request.fields.append((b"Accept", b"application/json"))
    if authorization:
        request.fields.append((b"Authorization", authorization))
    if form is not None:
        request.method = b"POST"
        request.fields.append((b"Content-Type", b"application/x-www-form-urlencoded"))
        request.body = form
    try:
        return await fetch(reactor, request)
    except FetchError as failed:
        raise SourceFailed(failed.reason, _STATUS.get(failed.kind, 502)) from None
