"""nginx's rules of retries as a table: `proxy_next_upstream` and its kin, methods, bodies, peers, time."""

from __future__ import annotations

import pytest

from portico.passing.failure import (
    BY_STATUS,
    CONDITIONS,
    ERROR,
    HTTP_403,
    HTTP_404,
    HTTP_500,
    HTTP_503,
    INVALID_HEADER,
    NON_IDEMPOTENT,
    TIMEOUT,
)
from portico.passing.retry import RetryPolicy, condition_of, counts_as_failure, is_idempotent
from portico.passing.settings import UpstreamSettings

DEFAULT = ERROR | TIMEOUT


def a_policy(allowed: int = DEFAULT, method: bytes = b"GET", tries: int = 0, seconds: float = 0.0, most: int = 3) -> RetryPolicy:
    settings = UpstreamSettings("proxy")
    settings.next_upstream = allowed
    settings.tries = tries
    settings.tries_timeout = seconds
    return RetryPolicy(settings, method, most)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PROPFIND", b"MKCOL"])
def test_methods_that_may_be_sent_twice(method: bytes) -> None:
    assert is_idempotent(method)


@pytest.mark.parametrize("method", [b"POST", b"LOCK", b"PATCH"])
def test_methods_that_may_not(method: bytes) -> None:
    assert not is_idempotent(method)


# (what the location names, how the attempt ended, method, it was sent, retried)
CONDITION_RULES: list[tuple[int, int, bytes, bool, bool]] = [
    # a condition that is named
    (DEFAULT, ERROR, b"GET", True, True),
    (DEFAULT, TIMEOUT, b"GET", True, True),
    (DEFAULT, INVALID_HEADER, b"GET", True, False),
    (INVALID_HEADER, INVALID_HEADER, b"GET", True, True),
    (INVALID_HEADER, ERROR, b"GET", True, False),
    (DEFAULT, HTTP_503, b"GET", True, False),
    (HTTP_503, HTTP_503, b"GET", True, True),
    (HTTP_503, HTTP_500, b"GET", True, False),
    # `off`
    (0, ERROR, b"GET", False, False),
    # what is not idempotent: as long as nothing was sent, or with `non_idempotent`
    (DEFAULT, ERROR, b"POST", False, True),
    (DEFAULT, ERROR, b"POST", True, False),
    (DEFAULT, TIMEOUT, b"PATCH", True, False),
    (DEFAULT | NON_IDEMPOTENT, ERROR, b"POST", True, True),
    (HTTP_503, HTTP_503, b"LOCK", True, False),
    (HTTP_503 | NON_IDEMPOTENT, HTTP_503, b"LOCK", True, True),
    # `non_idempotent` alone names no condition
    (NON_IDEMPOTENT, ERROR, b"GET", True, False),
]


@pytest.mark.parametrize(("allowed", "condition", "method", "sent", "retried"), CONDITION_RULES)
def test_conditions(allowed: int, condition: int, method: bytes, sent: bool, retried: bool) -> None:
    assert a_policy(allowed, method).may_retry(condition, sent, False, 1, 0.0) is retried


# (`…_tries`, peers, attempts so far, another one)
TRIES: list[tuple[int, int, int, bool]] = [
    (0, 3, 1, True),
    (0, 3, 2, True),
    (0, 3, 3, False),  # every peer was asked
    (2, 3, 1, True),
    (2, 3, 2, False),
    (1, 3, 1, False),
    (5, 3, 3, False),  # never more than there are peers
    (0, 1, 1, False),
]


@pytest.mark.parametrize(("tries", "peers", "made", "another"), TRIES)
def test_tries(tries: int, peers: int, made: int, another: bool) -> None:
    assert a_policy(tries=tries, most=peers).may_retry(ERROR, True, False, made, 0.0) is another


@pytest.mark.parametrize(
    ("seconds", "elapsed", "another"), [(0.0, 1e6, True), (5.0, 4.9, True), (5.0, 5.0, False), (5.0, 9.0, False)]
)
def test_time(seconds: float, elapsed: float, another: bool) -> None:
    assert a_policy(seconds=seconds).may_retry(ERROR, True, False, 1, elapsed) is another


def test_a_body_that_was_passed_on_as_it_came_is_never_sent_twice() -> None:
    policy = a_policy(DEFAULT | NON_IDEMPOTENT)
    assert not policy.may_retry(ERROR, True, True, 1, 0.0)
    assert not policy.may_resend(True)


# An idle connection turned out to be closed: the same attempt, so neither the conditions nor the number of tries count.
@pytest.mark.parametrize(
    ("allowed", "method", "resent"),
    [
        (DEFAULT, b"GET", True),
        (0, b"GET", True),
        (DEFAULT, b"POST", False),
        (DEFAULT | NON_IDEMPOTENT, b"POST", True),
    ],
)
def test_stale_connections(allowed: int, method: bytes, resent: bool) -> None:
    assert a_policy(allowed, method, tries=1).may_resend(False) is resent


def test_statuses_and_their_conditions() -> None:
    for status, condition in BY_STATUS.items():
        assert condition_of(status) == condition == CONDITIONS[f"http_{status}"]
    assert condition_of(502) and not condition_of(501) and not condition_of(200)


def test_a_peer_that_forbids_or_finds_nothing_has_not_failed() -> None:
    """ngx_http_upstream_next: NGX_PEER_NEXT, not NGX_PEER_FAILED."""
    assert [status for status in BY_STATUS if not counts_as_failure(condition_of(status))] == [403, 404]
    assert counts_as_failure(ERROR) and not counts_as_failure(HTTP_403) and not counts_as_failure(HTTP_404)
