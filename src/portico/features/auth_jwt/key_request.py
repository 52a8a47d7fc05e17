"""`auth_jwt_key_request`: keys that a subrequest fetches, and `auth_jwt_key_cache`, how long they are cached.

Without a cache each request fetches them, as in nginx Plus. With one, the first request does and all that come meanwhile wait for
its response. A token whose key is not there may be signed with a newer one, so it makes the worker fetch the keys again before the
time is up, but not more often than `http/cached_value.py` allows: anybody can send tokens with random names of keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.http.cached_value import CachedValue, Source, SourceFailed
from portico.http.errors import BodyCutShort
from portico.http.subrequest import answer_of, content_of, finish, subrequest_of
from portico.jose.keys import KeyFileError, KeySet, parse_published_keys
from portico.variables.template import Template

if TYPE_CHECKING:
    from portico.http.request import Request

_MAX_KEYS: Final = 1048576  # bytes of a key set


@final
class KeySource(Source[KeySet]):
    """The keys behind one URI of one server."""

    def __init__(self, uri: Template) -> None:
        self.uri = uri
        self._data: bytes = b""  # the last response, and its keys
        self._keys: KeySet | None = None

    async def fetch(self, request: Request) -> KeySet:
        data = await self._request_keys(request)
        if self._keys is None or data != self._data:  # else what was verified with them need not be once more
            try:
                self._keys = parse_published_keys(data)
            except KeyFileError as wrong:
                raise SourceFailed(str(wrong)) from None
            self._data = data
        return self._keys

    async def _request_keys(self, request: Request) -> bytes:
        uri, _, args = self.uri.render(request).partition(b"?")
        if not uri.startswith(b"/"):
            raise SourceFailed("no URI")
        subrequest = subrequest_of(request, uri, args)
        response = await answer_of(subrequest)
        try:
            if response.status != 200:
                raise SourceFailed(f"answered {response.status}")
            if response.get(b"content-encoding") is not None:
                raise SourceFailed('the answer is compressed: proxy_set_header Accept-Encoding ""')
            return await content_of(response, _MAX_KEYS)
        except ValueError as wrong:
            raise SourceFailed(f"the answer is {wrong}") from None
        except BodyCutShort:
            raise SourceFailed("the answer was cut short") from None
        finally:
            finish(subrequest, response)

    def failure_line(self, reason: str) -> str:
        return f'auth_jwt_key_request "{self.uri.text}": {reason}'


@final
class KeyRequest:
    """One `auth_jwt_key_request` of a server, in this worker."""

    def __init__(self, uri: Template) -> None:
        self.source = KeySource(uri)
        self.cached: CachedValue[KeySet] = CachedValue(self.source, 0.0)
        self.is_cacheable = uri.constant is not None  # a URI with variables names other keys each time
