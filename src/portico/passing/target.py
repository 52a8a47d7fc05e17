"""Where a `proxy_pass` leads: scheme, group of servers, and the URI that the upstream gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.balancing.group import Group, Server
from portico.config.values import port_of
from portico.errorlog import ERR, INFO
from portico.http.errors import HTTPError
from portico.http.routing.uri import ESCAPE_URI, escape_uri, printable_target
from portico.net.networks import packed
from portico.net.resolver import RESOLVE_SECONDS, ResolveError
from portico.passing.groups import round_robin

if TYPE_CHECKING:
    from portico.http.request import Request

_ADDRESS_SECONDS: Final = 30.0  # for which addresses of a proxy_pass with variables are used where their time to live is not known
_MOST_ADDRESSES: Final = 1024


@final
class Url:
    """The parts of a proxy_pass URL. Raises ValueError with nginx's words when it is none."""

    def __init__(self, text: str) -> None:
        lower = text[:8].lower()
        if lower.startswith("http://"):
            self.secure = False
            rest = text[7:]
        elif lower.startswith("https://"):
            self.secure = True
            rest = text[8:]
        else:
            raise ValueError("invalid URL prefix")
        self.scheme = "https" if self.secure else "http"
        default_port = 443 if self.secure else 80
        self.uri = ""
        self.port = default_port
        if rest.startswith("unix:"):
            path, colon, uri = rest[5:].partition(":")
            if not path:
                raise ValueError("no path in the unix domain socket")
            self.host = "unix:" + path
            self.authority = rest if not colon else rest[: 5 + len(path)]
            self.uri = uri
            self.has_port = True
            return
        end = len(rest)
        for mark in "/?":
            at = rest.find(mark)
            if 0 <= at < end:
                end = at
        self.authority = rest[:end]
        self.uri = rest[end:]
        if self.uri.startswith("?"):
            self.uri = "/" + self.uri
        self.host, self.port, self.has_port = _host_and_port(self.authority, default_port)


def _host_and_port(authority: str, default: int) -> tuple[str, int, bool]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket:
            raise ValueError("invalid host")
        if ":" not in host or packed(host) is None:
            raise ValueError("invalid IPv6 address")
        port = rest[1:] if rest.startswith(":") else ""
    else:
        host, _, port = authority.partition(":")
    if not host:
        raise ValueError("no host")
    if not port:
        return host, default, False
    number = port_of(port)
    if number is None:
        raise ValueError("invalid port")
    return host, number, True


@final
class Target:
    """What one proxy_pass URL came to: for a constant one made at load, else for each request."""

    def __init__(self, url: Url, group: Group) -> None:
        self.secure = url.secure
        self.scheme: bytes = url.scheme.encode()
        self.group = group
        self.uri: bytes = url.uri.encode("utf-8", "surrogateescape")
        self.host: bytes = (  # $proxy_host
            b"localhost" if url.host.startswith("unix:") else url.authority.encode("utf-8", "surrogateescape")
        )
        self.port: bytes = b"" if url.host.startswith("unix:") else b"%d" % url.port  # $proxy_port
        self.origin: bytes = origin_of(url)
        self.url: bytes = self.origin + self.uri


def origin_of(url: Url) -> bytes:
    """Return scheme and authority, with which the key of a cache begins (nginx: vars.key_start)."""
    return f"{url.scheme}://{url.authority}".encode("utf-8", "surrogateescape")


def upstream_uri(request: Request, uri: bytes, prefix: bytes, whole: bool) -> bytes:
    """Return the URI to ask the upstream for (ngx_http_proxy_create_request).

    `uri`: the target's. `prefix`: what it replaces. `whole`: it came from variables and is used as it is.
    """
    if whole and uri:
        return printable_target(uri)
    asked = request.target
    if asked.left_location:  # there is no prefix to replace
        uri = b""
    if not uri and asked.is_plain:
        return asked.raw
    path = asked.uri
    if uri and not request.named_location:
        path = path[len(prefix) :]
        if path == b".." or path.startswith(b"../"):  # `location /x { proxy_pass http://app/y/; }` and "/x../"
            raise HTTPError(400, "client sent a URI that leads out of the one in proxy_pass", INFO)
    if asked.quoted or request.internal:
        path = escape_uri(path, ESCAPE_URI)
    made = uri + path
    return printable_target(made + b"?" + asked.args if asked.args else made)


@final
class Lookup:
    """Groups for hosts that only a request names: looked up with the system's resolver, stored for half a minute."""

    def __init__(self, named: dict[str, Group]) -> None:
        self._named = named
        self._found: dict[tuple[str, int], tuple[Group, float]] = {}

    async def group(self, request: Request, url: Url) -> Group:
        """Return the configured group, or one made of the host's addresses. Raises HTTPError 502."""
        named = self._named.get(url.authority)
        if named is not None:
            return named
        now = request.reactor.now
        key = (url.host, url.port)
        known = self._found.get(key)
        if known is not None and known[1] > now:
            return known[0]
        server = Server(f"{url.host}:{url.port}", url.host, url.port, None)
        seconds = _ADDRESS_SECONDS
        if url.host.startswith("unix:"):
            server.resolve()
        else:
            try:
                found = await request.reactor.resolver.resolve(url.host, url.port, RESOLVE_SECONDS)
            except ResolveError as unknown:
                raise HTTPError(502, str(unknown), ERR) from None
            server.set_addresses(found.addresses)
            if found.ttl is not None:
                seconds = found.ttl
        known = self._found.get(key)  # once more: another request may have looked it up meanwhile
        if known is not None:
            group = known[0]
            group.balancer.replace(server.peers())  # addresses that stay keep their state and their connections
        else:
            group = Group(url.authority, [server], round_robin, None)
            if len(self._found) >= _MOST_ADDRESSES:
                for forgotten, _ in self._found.values():
                    forgotten.stop()
                self._found.clear()
        self._found[key] = (group, now + seconds)
        return group
