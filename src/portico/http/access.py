"""The access phase: access control and authentication.

Features that judge a request (`allow`, `auth_basic`, `auth_jwt`, …) add an `AccessStep` to a location. Its steps become one
handler, in the order of the catalogue, which is nginx's; `satisfy` says how their verdicts add up (ngx_http_core_access_phase):

    all   the first refusal ends the request; a step without an opinion counts for nothing
    any   the first that allows ends the phase; if none does, a refusal ends the request: 302, then 401, then 403

A subrequest is not judged again. A location without a step has no such handler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.errorlog import ERR, INFO
from portico.http.errors import HTTPError
from portico.http.handler import Handler
from portico.http.waiting import pause

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

NO_OPINION: Final = 0  # nginx: NGX_DECLINED
ALLOWED: Final = 1  # NGX_OK
PENDING: Final = 2  # `check` cannot tell without waiting: `check_async` can

ALL: Final = 0
ANY: Final = 1

BY_RULE: Final = "access forbidden by rule"

SATISFY: Final = Directive[int](
    "satisfy", HTTP | SERVER | LOCATION, values.choice({"all": ALL, "any": ANY}), args="1", default=ALL, default_text="all",
    syntax="all | any",
    doc="Whether a request must pass every check of access (`allow` and `deny`, `auth_basic`, `auth_jwt` and so on), or one of them.",
    example="location /office/ { satisfy any; deny all; auth_basic staff; auth_basic_user_file $document_root/../users; }",
)
AUTH_DELAY: Final = Directive[float](
    "auth_delay", HTTP | SERVER | LOCATION, values.msec, args="1", default=0.0, default_text="0s",
    doc="How long a 401 is held back, so that the time it takes says nothing about how wrong the credentials were, and guessing "
    "is slow.",
    example="auth_delay 2s;",
)


class AccessStep:
    """One check of a request."""

    def waits(self) -> bool:
        """Return whether `check` may return PENDING."""
        return False

    def check(self, request: Request) -> int:
        """Return ALLOWED, NO_OPINION, or PENDING.

        Raises HTTPError: 401 and 403 are refusals, and 302, which sends the client to where it can sign in; others are failures.
        """
        raise NotImplementedError

    async def check_async(self, request: Request) -> int:
        """Return what `check` does, once that has returned PENDING; ALLOWED or NO_OPINION."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return one line for people: what is checked."""
        return type(self).__name__


@final
class AccessPhase(Handler):
    """The steps of one location under its `satisfy`."""

    def __init__(self, satisfy: int, delay: float) -> None:
        self.any = satisfy == ANY
        self.delay = delay
        self.is_async = delay > 0.0
        self.steps: list[AccessStep] = []

    def add(self, step: AccessStep) -> None:
        """Append one more check."""
        self.steps.append(step)
        if step.waits():
            self.is_async = True

    def handle(self, request: Request) -> Response | None:
        if request.parent is not None:
            return None
        if not self.any:
            for step in self.steps:
                step.check(request)
            return None
        refusal: HTTPError | None = None
        for step in self.steps:
            try:
                if step.check(request) == ALLOWED:
                    return None
            except HTTPError as error:
                refusal = _weighed(request, refusal, error)
        if refusal is not None:
            raise _final(refusal)
        return None

    async def handle_async(self, request: Request) -> Response | None:
        if request.parent is not None:
            return None
        refusal: HTTPError | None = None
        for step in self.steps:
            try:
                verdict = step.check(request)
                if verdict == PENDING:
                    verdict = await step.check_async(request)
                if verdict == ALLOWED and self.any:
                    return None
            except HTTPError as error:
                refusal = _weighed(request, refusal, error) if self.any else error
            if refusal is not None and not self.any:
                break
        if refusal is None:
            return None
        if self.delay > 0.0 and refusal.status == 401:
            await self._hold_back(request, refusal)
        raise _final(refusal) if self.any else refusal

    async def _hold_back(self, request: Request, refusal: HTTPError) -> None:
        if refusal.reason:
            request.log_error(refusal.level, refusal.reason)
            refusal.reason = ""
        request.log_error(INFO, "delaying unauthorized request")
        await pause(request, self.delay)

    def describe(self) -> str:
        return f"access, {'any' if self.any else 'all'} of: " + ", ".join(step.describe() for step in self.steps)


def _weighed(request: Request, kept: HTTPError | None, error: HTTPError) -> HTTPError:
    """Return the refusal to remember while other steps may still allow; what it has to say is logged now. Raises a failure."""
    if error.status not in (302, 401, 403):
        raise error
    if error.reason and error.reason != BY_RULE:
        request.log_error(error.level, error.reason)
    error.reason = ""
    if kept is not None and (kept.status == 302 or error.status == 302):
        return kept if kept.status == 302 else error
    if kept is not None and kept.status == 401:
        if error.status == 401:
            kept.fields = kept.fields + error.fields
        return kept
    return error


def _final(refusal: HTTPError) -> HTTPError:
    """Return the refusal as it is sent (ngx_http_core_post_access_phase)."""
    if refusal.status == 403:
        refusal.reason = BY_RULE
        refusal.level = ERR
    return refusal


def challenge(status: int, value: bytes, reason: str, level: int) -> HTTPError:
    """Return a refusal that tells the client how to authenticate (RFC 9110 section 11.6.1)."""
    error = HTTPError(status, reason, level)
    error.fields = ((b"WWW-Authenticate", value),)
    return error
