"""When a request is retried with another peer, as nginx decides it (`ngx_http_upstream_next`, `ngx_http_upstream_test_next`).

Decisions only: who fails and who is asked next, `exchange.py` and the balancer know. A request is retried when all of this holds:

    the location names the condition         `*_next_upstream error timeout http_503 …`
    it may be sent twice                     it is idempotent, or nothing of it was sent, or the location says `non_idempotent`
    it can be sent twice                     no part of a body was sent that is not stored
    another attempt is left                  `*_next_upstream_tries`, and no more than there are peers
    there is time for it                     `*_next_upstream_timeout`

A response whose status is a condition was sent for, so for it the second rule holds as for a request that was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.passing.failure import BY_STATUS, HTTP_403, HTTP_404, NON_IDEMPOTENT

if TYPE_CHECKING:
    from portico.passing.settings import UpstreamSettings

_NOT_IDEMPOTENT: Final = frozenset((b"POST", b"LOCK", b"PATCH"))
_NO_FAULT: Final = HTTP_403 | HTTP_404  # the peer works as it should


def is_idempotent(method: bytes) -> bool:
    """Return whether a request may be sent twice, as nginx sees it."""
    return method not in _NOT_IDEMPOTENT


def condition_of(status: int) -> int:
    """Return the condition that a response with this status is; 0 when it is none."""
    return BY_STATUS.get(status, 0)


def counts_as_failure(condition: int) -> bool:
    """Return whether the balancer learns of it as of a failure of the peer."""
    return not condition & _NO_FAULT


@final
class RetryPolicy:
    """The decisions about one request. `most`: how many peers its group could ask."""

    def __init__(self, settings: UpstreamSettings, method: bytes, most: int) -> None:
        allowed = settings.next_upstream
        self._allowed = allowed
        self._may_repeat = allowed & NON_IDEMPOTENT != 0 or method not in _NOT_IDEMPOTENT
        self._most = settings.tries if 0 < settings.tries < most else most
        self._seconds = settings.tries_timeout

    def may_retry(self, condition: int, sent: bool, streamed: bool, tries: int, elapsed: float) -> bool:
        """Return whether another attempt follows one that ended with `condition` (failure.py).

        sent: a part of the request was sent; streamed: a part of a body that is not stored; tries: attempts so far; elapsed: seconds
        since the first began.
        """
        return (
            self._allowed & condition != 0
            and not streamed
            and (self._may_repeat or not sent)
            and tries < self._most
            and (self._seconds == 0.0 or elapsed < self._seconds)
        )

    def may_resend(self, streamed: bool) -> bool:
        """Return whether an attempt whose idle connection turned out to be closed goes on with a fresh one.

        It is the same attempt, so neither tries nor conditions count.
        """
        return self._may_repeat and not streamed
