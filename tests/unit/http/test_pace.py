"""`limit_rate`: after t seconds an answer may have sent rate × (t + 1) bytes, plus `limit_rate_after` (ngx_http_write_filter)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

from portico.http.pace import Pace
from portico.http.phases import enter_location
from portico.http.request import Request
from portico.http.response import EMPTY, Response

Ask = Callable[..., Request]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    made: list[Site] = []

    def request(text: str, target: str = "/") -> Request:
        made.append(Site(text, tmp_path))
        found = made[-1].request(target)
        enter_location(found)
        return found

    yield request
    for site in made:
        site.close()


def now(waiting: Coroutine[object, None, int]) -> int | None:
    """What it returns without waiting; None: it waits."""
    try:
        waiting.send(None)
    except StopIteration as done:
        return int(done.value)
    except RuntimeError:  # asyncio.sleep asks for a loop, and here is none
        return None
    raise AssertionError("it waits for something else")


@pytest.mark.parametrize(
    ("text", "target", "accel", "set_to", "rate", "after"),
    [
        ("", "/", -1, None, None, 0),
        ("limit_rate 0;", "/", -1, None, None, 0),
        ("limit_rate 4k;", "/", -1, None, 4096, 0),
        ("limit_rate 4k; limit_rate_after 1m;", "/", -1, None, 4096, 1 << 20),
        ("limit_rate $arg_r; limit_rate_after $arg_a;", "/?r=1k&a=2k", -1, None, 1024, 2048),
        ("limit_rate $arg_r;", "/", -1, None, None, 0),
        ("limit_rate $arg_r;", "/?r=quick", -1, None, None, 0),
        ("limit_rate 4k; limit_rate_after $arg_a;", "/?a=-1", -1, None, 4096, 0),
        ("limit_rate 4k;", "/", 100, None, 100, 0),  # X-Accel-Limit-Rate
        ("limit_rate 4k;", "/", 0, None, None, 0),  # and its `off`
        ("limit_rate 4k;", "/", -1, b"1m", 1 << 20, 0),  # `set $limit_rate 1m;`
        ("limit_rate 4k;", "/", -1, b"0", None, 0),
        ("limit_rate 4k;", "/", -1, b"", 4096, 0),
        ("limit_rate 4k;", "/", -1, b"\xff", None, 0),
        ("limit_rate 4k;", "/", 100, b"1m", 100, 0),
    ],
)
def test_who_says_how_fast(
    ask: Ask, text: str, target: str, accel: int, set_to: bytes | None, rate: int | None, after: int
) -> None:
    request = ask(text, target)
    response = Response(200, EMPTY)
    if accel >= 0:
        response.upstream_part().limit_rate = accel
    if set_to is not None:
        request.values = {"limit_rate": set_to}
    pace = Pace.for_request(request, response)
    assert (None if pace is None else pace.rate) == rate
    if pace is not None:
        assert (pace.after, pace.started, pace.sent) == (after, request.reactor.now, 0)


@pytest.mark.parametrize(
    ("rate", "after", "seconds", "sent", "wanted", "allowed"),
    [
        (1000, 0, 0.0, 0, 5000, 1000),  # a second's worth at once
        (1000, 0, 0.0, 0, 400, 400),
        (1000, 0, 0.0, 999, 5000, 1),
        (1000, 0, 0.0, 1000, 5000, None),
        (1000, 0, 0.5, 1000, 5000, 500),
        (1000, 0, 2.0, 1000, 5000, 2000),
        (1000, 0, 2.0, 5000, 5000, None),  # it was sent faster, as by sendfile: it waits until it is even
        (1000, 4096, 0.0, 0, 65536, 5096),
        (1000, 4096, 0.0, 5096, 65536, None),
        (1, 0, 0.999, 1, 5000, None),
        (1, 0, 1.0, 1, 5000, 1),
        (1 << 40, 0, 0.0, 0, 65536, 65536),
    ],
)
def test_how_many_bytes_may_be_sent(
    ask: Ask, rate: int, after: int, seconds: float, sent: int, wanted: int, allowed: int | None
) -> None:
    request = ask("")
    pace = Pace(rate, after, 100.0)
    pace.used(sent)
    request.reactor.now = 100.0 + seconds
    assert now(pace.allowance(request, wanted)) == allowed
