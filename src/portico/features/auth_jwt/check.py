"""The check of one location: a token, the keys, and what is required besides."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import CRIT, ERR, INFO, failed_call
from portico.features.auth_jwt.key_request import KeyRequest
from portico.http.access import ALLOWED, NO_OPINION, PENDING, AccessStep, challenge
from portico.http.cached_value import SourceFailed
from portico.http.content.watched_file import FilePath, WatchedFiles
from portico.http.errors import HTTPError
from portico.http.request import RequestSlot
from portico.jose.keys import KeyFileError, KeySet, parse_keys
from portico.jose.token import InvalidToken, Token, Tokens
from portico.variables.template import Template

if TYPE_CHECKING:
    from portico.http.request import Request

OFF: Final = b"off"


@final
class JwtRealm:
    """An `auth_jwt` as written. `token` None: the Authorization field."""

    def __init__(self, realm: Template, token: Template | None) -> None:
        self.realm = realm
        self.token = token


@final
class Requirement:
    """One `auth_jwt_require`: values that must be neither empty nor 0, and the status when one of them is."""

    def __init__(self, conditions: list[Template], status: int) -> None:
        self.conditions = conditions
        self.status = status

    def is_met(self, request: Request) -> bool:
        """Return whether all values are there."""
        return all(condition.render(request) not in (b"", b"0") for condition in self.conditions)


@final
class JwtState:
    """State that all locations share: the key files, the tokens verified, the keys fetched."""

    def __init__(self) -> None:
        self.files: WatchedFiles[KeySet] = WatchedFiles(parse_keys)
        self.tokens = Tokens()
        self.requests: dict[tuple[int, str], KeyRequest] = {}  # by number of the server, and URI

    def key_request(self, server: int, uri: Template) -> KeyRequest:
        """Return the one for that URI on that server: locations that name the same URI share its keys."""
        if uri.constant is None:
            return KeyRequest(uri)
        return self.requests.setdefault((server, uri.text), KeyRequest(uri))


@final
class _VerifiedToken:
    """A token that was verified for a request, and by which check."""

    def __init__(self, check: JwtAuth, token: Token) -> None:
        self.check = check
        self.token = token


_VERIFIED: Final[RequestSlot[_VerifiedToken]] = RequestSlot(inherited=True)


@final
class JwtAuth(AccessStep):
    """The check of one location."""

    def __init__(
        self,
        settings: JwtRealm,
        files: list[FilePath],
        requests: list[KeyRequest],
        key_cache: float,
        requirements: list[Requirement],
        leeway: int,
        state: JwtState,
    ) -> None:
        self.settings = settings
        self.files = files
        self.requests = requests
        self.key_cache = key_cache
        self.requirements = requirements
        self.leeway = leeway
        self.state = state

    def waits(self) -> bool:
        return bool(self.requests)

    def check(self, request: Request) -> int:
        realm = self.settings.realm.render(request)
        if realm == OFF:
            return NO_OPINION
        text = self._token_text(request)
        if not text:
            raise challenge(401, b'Bearer realm="' + realm + b'"', "no token was provided for JWT authentication", INFO)
        sets = self._cached_keys(request)
        if sets is None:
            return PENDING
        try:
            self._verify(request, text, sets)
        except InvalidToken as wrong:
            if wrong.other_keys and self._may_renew(request):
                return PENDING
            raise _refusal(realm, f"JWT authentication: {wrong}") from None
        return self._required(request, realm)

    async def check_async(self, request: Request) -> int:
        realm = self.settings.realm.render(request)
        text = self._token_text(request)
        renew = self._cached_keys(request) is not None
        while True:
            sets = await self._fetched_keys(request, renew)
            try:
                self._verify(request, text, sets)
            except InvalidToken as wrong:
                if renew or not (wrong.other_keys and self._may_renew(request)):
                    raise _refusal(realm, f"JWT authentication: {wrong}") from None
                renew = True
                continue
            return self._required(request, realm)

    def token(self, request: Request) -> Token | None:
        """Return the request's token for a variable, None unless it is valid: as `check` has found it or, before that, as files of
        keys say.
        """
        found = _VERIFIED.of(request)
        if found is not None and found.check is self:
            return found.token
        text = self._token_text(request)
        if not text:
            return None
        try:
            sets = self._cached_keys(request)
            return None if sets is None else self._verified(request, text, sets)
        except (InvalidToken, HTTPError):
            return None

    # -- the token -----------------------------------------------------------------------------------------------------

    def _token_text(self, request: Request) -> bytes:
        if self.settings.token is not None:
            return self.settings.token.render(request)
        field = request.fields.get(b"authorization")
        if field is None or field[:7].lower() != b"bearer ":
            return b""
        return field[7:].strip(b" ")

    def _verified(self, request: Request, text: bytes, sets: list[KeySet]) -> Token:
        token = self.state.tokens.verified(text, sets)
        token.check_times(request.reactor.wall(), self.leeway)
        return token

    def _verify(self, request: Request, text: bytes, sets: list[KeySet]) -> None:
        token = self._verified(request, text, sets)
        if self.requests:  # else a variable finds it again by itself
            _VERIFIED.put(request, _VerifiedToken(self, token))

    def _required(self, request: Request, realm: bytes) -> int:
        for requirement in self.requirements:
            if not requirement.is_met(request):
                reason = "JWT authentication: a value that auth_jwt_require asks for is missing"
                raise _refusal(realm, reason) if requirement.status == 401 else HTTPError(403, reason, ERR)
        return ALLOWED

    # -- the keys ------------------------------------------------------------------------------------------------------

    def _cached_keys(self, request: Request) -> list[KeySet] | None:
        """Return all keys, None when some must be fetched first. Raises HTTPError 500 for a file that holds none."""
        sets = self._file_keys(request)
        now = request.reactor.now
        for key_request in self.requests:
            keys = key_request.cached.fresh(now, self._seconds(key_request))
            if keys is None:
                return None
            sets.append(keys)
        return sets

    async def _fetched_keys(self, request: Request, renew: bool) -> list[KeySet]:
        sets = self._file_keys(request)
        for key_request in self.requests:
            seconds = self._seconds(key_request)
            try:
                if seconds > 0.0:
                    sets.append(await key_request.cached.get(request, seconds, renew))
                else:
                    sets.append(await key_request.source.fetch(request))
            except SourceFailed as failed:
                raise HTTPError(500, key_request.source.failure_line(failed.reason), ERR) from None
        return sets

    def _seconds(self, key_request: KeyRequest) -> float:
        """Return for how long its keys are cached: never those that a URI with variables names, as in nginx Plus."""
        return self.key_cache if key_request.is_cacheable else 0.0

    def _may_renew(self, request: Request) -> bool:
        now = request.reactor.now
        return any(self._seconds(key_request) > 0.0 and key_request.cached.may_renew(now) for key_request in self.requests)

    def _file_keys(self, request: Request) -> list[KeySet]:
        sets: list[KeySet] = []
        for file in self.files:
            path = file.of(request)
            try:
                sets.append(self.state.files.get(path))
            except OSError as failed:
                raise HTTPError(500, failed_call(f'open() "{os.fsdecode(path)}"', failed), CRIT) from None
            except KeyFileError as wrong:
                raise HTTPError(500, f'"{os.fsdecode(path)}": {wrong}', CRIT) from None
        return sets

    def describe(self) -> str:
        return f'auth_jwt "{self.settings.realm.text}"'


def _refusal(realm: bytes, reason: str) -> HTTPError:
    """Return the response to an invalid token (RFC 6750 section 3.1)."""
    return challenge(401, b'Bearer realm="' + realm + b'", error="invalid_token"', reason, ERR)
