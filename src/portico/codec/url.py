"""Absolute http and https URLs (RFC 3986, RFC 9110 section 4.2): what names a resource of another server.

    https://[2001:db8::1]:8443/path?query
    scheme  host          port target

They come from configurations and from the responses of other servers, so only what has one reading is taken: printable ASCII without
the characters that no URL holds unescaped, no user information, which is a way to disguise a host, and no fragment.
"""

from __future__ import annotations

import ipaddress
from typing import Final, final
from urllib.parse import urljoin

_NOT_IN_URL: Final = '"<>\\^`{|}#'
_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65535


@final
class Url:
    """A URL and its parts. Raises ValueError with what is wrong, as a clause about `it`."""

    def __init__(self, text: str) -> None:
        scheme, mark, rest = text.partition("://")
        self.scheme = scheme.lower()
        if not mark or self.scheme not in _PORTS:
            raise ValueError('it must begin with "https://"')
        if any(not "!" <= character <= "~" or character in _NOT_IN_URL for character in rest):
            raise ValueError("it holds a character that does not belong into a URL")
        self.text = text
        self.secure = self.scheme == "https"
        end = min([at for at in (rest.find("/"), rest.find("?"), len(rest)) if at >= 0])
        self.authority = rest[:end]
        target = rest[end:]
        self.target = target if target.startswith("/") else "/" + target
        self.host, self.port = _host_and_port(self.authority, _PORTS[self.scheme])

    @property
    def origin(self) -> str:
        """Return scheme and authority, as written."""
        return f"{self.scheme}://{self.authority}"

    def has_origin_of(self, other: Url) -> bool:
        """Return whether both name the same server (RFC 9110 section 4.3.1)."""
        return self.secure == other.secure and self.port == other.port and self.host.lower() == other.host.lower()

    def resolved(self, reference: str) -> Url:
        """Return the URL that `reference`, which may be relative to this one, stands for. Raises ValueError."""
        return Url(urljoin(self.text, reference.partition("#")[0]))


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    if "@" in authority:
        raise ValueError('it holds a "@" in its host')
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(host):
            raise ValueError("its host is malformed")
        port = rest[1:]
    else:
        host, _, port = authority.partition(":")
    if not host:
        raise ValueError("it has no host")
    if not port:
        return host, default
    if not port.isdigit() or len(port) > 5 or not 0 < int(port) <= _MAX_PORT:
        raise ValueError("its port is none")
    return host, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
