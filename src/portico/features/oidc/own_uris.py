"""The URIs of ours that providers and browsers come to: how they look from outside, and their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final
from urllib.parse import parse_qsl

from portico.http.errors import HTTPError

if TYPE_CHECKING:
    from portico.features.oidc.provider import Provider
    from portico.http.request import Request
    from portico.variables.template import Template

_MAX_ARGUMENTS: Final = 32


@final
class PublicOrigin:
    """Scheme, host and port by which clients reach us, of which our URLs are made."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.secure = text.startswith(b"https:")

    def url(self, path: bytes) -> bytes:
        """Return an absolute URL: so a path that begins with two slashes is no host."""
        return self.text + path


def public_origin(request: Request, provider: Provider, own: Template) -> PublicOrigin:
    """Return the origin as clients see it: that of an absolute `redirect_uri`, else the request's own."""
    return PublicOrigin(provider.origin or own.render(request))


def parse_arguments(args: bytes) -> dict[str, str]:
    """Return the arguments of a request to one of our URIs. Raises HTTPError 400: none may come twice (RFC 6749 section 3.1)."""
    try:
        pairs = parse_qsl(args.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_ARGUMENTS)
    except (ValueError, UnicodeDecodeError):
        raise HTTPError(400, "the arguments are malformed") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HTTPError(400, "an argument came twice")
    return found
