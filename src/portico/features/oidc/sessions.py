"""The sessions of one provider: found in requests, and put into browsers."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ERR
from portico.features.oidc.session import MAX_BYTES, Session, parse_session, sealed_session, session_cookies
from portico.http.errors import HTTPError

if TYPE_CHECKING:
    from portico.features.oidc.sealing import Sealer
    from portico.features.oidc.shared import SharedState
    from portico.http.request import Request

_PURPOSE: Final = b"session"
_MAX_CACHED: Final = 1024


@final
class Sessions:
    """The sessions of one provider, as this worker has seen them. `label` names the provider in lines of the error log."""

    def __init__(self, label: str, cookie: bytes, sealer: Sealer, shared: SharedState) -> None:
        self._label = label
        self._cookie = cookie
        self._sealer = sealer
        self._shared = shared
        self._tag_key: bytes = b""  # made in the worker
        self._cached: dict[bytes, Session] = {}

    def find(self, request: Request) -> Session | None:
        """Return the request's session, when it is sealed by us and over neither by time nor by a logout."""
        text = sealed_session(request, self._cookie)
        if not text:
            return None
        tag = self._tag(text)
        session = self._cached.get(tag)
        if session is None:
            data = self._sealer.open(_PURPOSE, text)
            session = None if data is None else parse_session(data)
            if session is None:
                return None
            if len(self._cached) >= _MAX_CACHED:
                del self._cached[next(iter(self._cached))]  # the oldest
            self._cached[tag] = session
        now = request.reactor.wall()
        if now >= session.expires or self._shared.is_ended(session):
            return None
        return session

    def seal(self, session: Session) -> bytes:
        """Return the text for the cookies."""
        return self._sealer.seal(_PURPOSE, session.serialized())

    def cookies(self, request: Request, session: Session, secure: bool) -> list[tuple[bytes, bytes]]:
        """Return the fields that put the session into the browser. Raises HTTPError 500 when it would not come back in one header
        line, or is too long altogether.
        """
        text = self.seal(session)
        longest = request.server.core.large_buffer_size
        if len(text) > MAX_BYTES:
            raise HTTPError(500, f"{self._label}: the session takes {len(text)} bytes of cookies: more than {MAX_BYTES}", ERR)
        if len(text) + len(self._cookie) * 8 + 512 > longest:
            reason = f"the session takes {len(text)} bytes of cookies, and large_client_header_buffers are of {longest} bytes"
            raise HTTPError(500, f"{self._label}: {reason}", ERR)
        return session_cookies(request, self._cookie, text, secure)

    def expired_cookies(self, request: Request, secure: bool) -> list[tuple[bytes, bytes]]:
        """Return the fields that delete the session from the browser."""
        return session_cookies(request, self._cookie, b"", secure)

    def _tag(self, text: bytes) -> bytes:
        """Return what a sealed text is cached by."""
        if not self._tag_key:
            self._tag_key = os.urandom(32)
        return hashlib.blake2b(text, key=self._tag_key, digest_size=16).digest()
