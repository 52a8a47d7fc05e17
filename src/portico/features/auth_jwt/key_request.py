"""`auth_jwt_key_request`: keys that a subrequest fetches, and `auth_jwt_key_cache`, how long they are remembered.

Without a cache each request asks, as in nginx Plus. With one, the first request asks and all that come meanwhile wait for its answer.
A token whose key is not there may be signed with a newer one, so it makes the worker ask again before the time is up: once in
`RENEW_SECONDS`, or anybody could make each request a subrequest by sending tokens with random names of keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.http.errors import ERR, BodyCutShort, HTTPError
from portico.http.fetching import Fetching
from portico.http.subrequest import answer_of, content_of, finish, subrequest_of
from portico.http.variables import Template
from portico.jose.keys import KeyFileError, KeySet, parse_keys

if TYPE_CHECKING:
    from portico.http.request import Request

RENEW_SECONDS: Final = 5.0
_MOST: Final = 1048576  # bytes of a key set


@final
class _Failed(Exception):
    """Why there are no keys."""


@final
class KeyRequest:
    """The keys behind one URI of one server, in this worker."""

    def __init__(self, uri: Template) -> None:
        self.uri = uri
        self.fetching = Fetching()
        self.keys: KeySet | None = None
        self.fetched = 0.0  # when, by the reactor's clock
        self.renewed = -RENEW_SECONDS  # when a token last made it ask before the time
        self.asked = 0  # how often
        self.failure = ""  # of the last time
        self._data: bytes = b""  # what the keys were made from

    def known(self, now: float, seconds: float) -> KeySet | None:
        """The keys, when they are not older than `seconds`."""
        return self.keys if self.keys is not None and now < self.fetched + seconds else None

    def may_renew(self, now: float) -> bool:
        """Whether a token that none of the keys fits is worth asking for newer ones, or somebody is at it."""
        return self.fetching.busy or now >= self.renewed + RENEW_SECONDS

    async def fresh(self, request: Request) -> KeySet:
        """Keys fetched for this request alone. Raises HTTPError 500."""
        try:
            return await self._fetched(request)
        except _Failed as failed:
            raise self._error(str(failed)) from None

    async def shared(self, request: Request, seconds: float, renew: bool) -> KeySet:
        """Keys not older than `seconds`, with `renew` newer than at the call. Raises HTTPError 500 when there are none.

        A renewal that fails is in the error log, and the keys are the old ones.
        """
        reactor = request.client.transport.reactor
        asked = self.asked
        while True:
            keys = self.known(reactor.now, seconds)
            if self.asked != asked:
                if keys is None and self.failure:
                    raise self._error(self.failure)
                if self.keys is not None:
                    return self.keys
            elif keys is not None and not renew:
                return keys
            if not self.fetching.begin():
                await self.fetching.wait(reactor)
                continue
            try:
                await self._ask(request, renew)
            finally:
                self.fetching.end(reactor)

    async def _ask(self, request: Request, renew: bool) -> None:
        reactor = request.client.transport.reactor
        if renew:
            self.renewed = reactor.now
        try:
            self.keys = await self._fetched(request)
            self.fetched = reactor.now
            self.failure = ""
        except _Failed as failed:
            self.failure = str(failed)
            if renew:
                request.log_error(ERR, self._told(self.failure))
        self.asked += 1

    async def _fetched(self, request: Request) -> KeySet:
        uri, _, args = self.uri.render(request).partition(b"?")
        if not uri.startswith(b"/"):
            raise _Failed("no URI")
        asked = subrequest_of(request, uri, args)
        answer = await answer_of(asked)
        try:
            if answer.status != 200:
                raise _Failed(f"answered {answer.status}")
            if answer.get(b"content-encoding") is not None:
                raise _Failed('the answer is compressed: proxy_set_header Accept-Encoding ""')
            data = await content_of(answer, _MOST)
        except ValueError as wrong:
            raise _Failed(f"the answer is {wrong}") from None
        except BodyCutShort:
            raise _Failed("the answer was cut short") from None
        finally:
            finish(asked, answer)
        if self.keys is not None and data == self._data:
            return self.keys  # so tokens that were verified with them need not be once more
        try:
            keys = parse_keys(data)
        except KeyFileError as unreadable:
            raise _Failed(str(unreadable)) from None
        self.keys = keys
        self._data = data
        return keys

    def _error(self, reason: str) -> HTTPError:
        return HTTPError(500, self._told(reason), ERR)

    def _told(self, reason: str) -> str:
        return f'auth_jwt_key_request "{self.uri.text}": {reason}'
