"""Where a request belongs in the caches: which of them, and under which key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ERR
from portico.http.errors import HTTPError
from portico.passing.handler import ProxyHandler

if TYPE_CHECKING:
    from portico.cache.store import Store
    from portico.http.request import Request
    from portico.passing.cached.settings import CacheSettings
    from portico.passing.cached.storing import Caches

_KEY_ROOM: Final = 599  # bytes that the header of nginx's file has beside the key


@final
class CacheKeys:
    """The cache and the keys of one location."""

    def __init__(self, proxy: ProxyHandler, settings: CacheSettings, caches: Caches) -> None:
        self.proxy = proxy
        self.settings = settings
        self.caches = caches
        self.store: Store | None = None  # None: its name has variables

    def store_of(self, request: Request) -> Store | None:
        """Return the cache in force; None: it is off. Raises HTTPError 500 for a name that no cache has."""
        if self.store is not None:
            return self.store
        zone = self.settings.zone
        name = b"" if zone is None else zone.render(request)
        if not name or name == b"off":
            return None
        store = self.caches.stores.get(name)
        if store is None:
            shown = name.decode("utf-8", "backslashreplace")
            raise HTTPError(500, f'cache "{shown}" not found', ERR)
        return store

    def key_of(self, request: Request) -> bytes:
        """Return the cache key of a request, whose body was read."""
        key = self.settings.key
        if key is not None:
            return key.render(request)
        url = self.proxy.url_of(request)
        if not self.settings.rfc:
            return url
        client = request.client  # RFC 9111 section 2: the key has the URI that the client asked for, host and all
        scheme = b"https" if client.secure else b"http"
        return b"%b://%b:%d %b" % (scheme, request.host, client.server_addr()[1], url)

    def is_too_long(self, request: Request, key: bytes) -> bool:
        """Return whether nginx would not cache under such a long key, which is logged."""
        room = self.proxy.settings.buffer_size
        if len(key) + _KEY_ROOM <= room:
            return False
        least = (len(key) + _KEY_ROOM + 1023) // 1024 * 1024
        name = f"{self.proxy.settings.prefix}_buffer_size"
        text = f"{name} {room} is not enough for cache key, it should be increased to at least {least}"
        request.log_error(ERR, text)
        return True
