"""`auth_jwt_key_request`: keys that a subrequest fetches, and `auth_jwt_key_cache`, how long they are remembered.

Without a cache each request asks, as in nginx Plus. With one, the first request asks and all that come meanwhile wait for its answer.
A token whose key is not there may be signed with a newer one, so it makes the worker ask again before the time is up, but not more
often than `http/fetching.py` allows: anybody can send tokens with random names of keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.http.errors import BodyCutShort
from portico.http.fetching import FetchFailed, Kept, Source
from portico.http.subrequest import answer_of, content_of, finish, subrequest_of
from portico.jose.keys import KeyFileError, KeySet, parse_published_keys
from portico.variables.template import Template

if TYPE_CHECKING:
    from portico.http.request import Request

_MOST: Final = 1048576  # bytes of a key set


@final
class KeySource(Source[KeySet]):
    """The keys behind one URI of one server."""

    def __init__(self, uri: Template) -> None:
        self.uri = uri
        self._data: bytes = b""  # what came last, and what it was
        self._keys: KeySet | None = None

    async def fetch(self, request: Request) -> KeySet:
        data = await self._asked(request)
        if self._keys is None or data != self._data:  # else what was verified with them need not be once more
            try:
                self._keys = parse_published_keys(data)
            except KeyFileError as wrong:
                raise FetchFailed(str(wrong)) from None
            self._data = data
        return self._keys

    async def _asked(self, request: Request) -> bytes:
        uri, _, args = self.uri.render(request).partition(b"?")
        if not uri.startswith(b"/"):
            raise FetchFailed("no URI")
        asked = subrequest_of(request, uri, args)
        answer = await answer_of(asked)
        try:
            if answer.status != 200:
                raise FetchFailed(f"answered {answer.status}")
            if answer.get(b"content-encoding") is not None:
                raise FetchFailed('the answer is compressed: proxy_set_header Accept-Encoding ""')
            return await content_of(answer, _MOST)
        except ValueError as wrong:
            raise FetchFailed(f"the answer is {wrong}") from None
        except BodyCutShort:
            raise FetchFailed("the answer was cut short") from None
        finally:
            finish(asked, answer)

    def told(self, reason: str) -> str:
        return f'auth_jwt_key_request "{self.uri.text}": {reason}'


@final
class KeyRequest:
    """One `auth_jwt_key_request` of a server, in this worker."""

    def __init__(self, uri: Template) -> None:
        self.source = KeySource(uri)
        self.kept: Kept[KeySet] = Kept(self.source, 0.0)
        self.is_kept = uri.constant is not None  # a URI with variables names other keys each time
