"""What is noted with a request: attempts at upstreams, cookies that were joined, variables that are given values."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

from portico.http.set_cookies import join_cookies, split_cookies
from portico.http.subrequest import subrequest_of
from portico.http.upstream_state import UpstreamState
from portico.http.variables.assigned import assign


@pytest.fixture
def site(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Site("", tmp_path)
    yield made
    made.close()


def test_cookies_are_the_same_again(site: Site) -> None:
    """A cookie may have a comma in its date, at which nobody splits it."""
    request = site.request("/")
    cookies = [b"a=1; expires=Thu, 01 Jan 2030 00:00:00 GMT", b"b=2"]
    text = join_cookies(subrequest_of(request, b"/auth", b""), cookies)
    assert text == b", ".join(cookies)
    assert split_cookies(request, text) == cookies
    assert split_cookies(request, b"a, b") == [b"a, b"]
    assert split_cookies(site.request("/"), text) == [text]  # of another request


def test_attempts_after_an_internal_redirect(site: Site) -> None:
    state = UpstreamState()
    state.redirected = True  # before the first attempt it says nothing
    assert not state.begin_attempt(b"one", 1.0).after_redirect
    assert not state.begin_attempt(b"two", 2.0).after_redirect
    state.redirected = True
    third = state.begin_attempt(b"three", 3.0)
    assert third.after_redirect and not state.redirected
    assert [attempt.peer for attempt in state.attempts] == [b"one", b"two", b"three"]


def test_args_are_those_of_the_target(site: Site) -> None:
    request = site.request("/a?b=c")
    assign(request, "args", b"d=e")
    assert request.args == b"d=e" and not request.target.is_plain and request.values is None


@pytest.mark.parametrize(("text", "value"), [(b"4k", b"4096"), (b"0", b"0"), (b"x", None), (b"", None)])
def test_limit_rate_is_a_size(site: Site, text: bytes, value: bytes | None) -> None:
    request = site.request("/")
    assign(request, "limit_rate", text)
    assert (request.values or {}).get("limit_rate") == value


def test_other_variables_keep_what_they_are_given(site: Site) -> None:
    request = site.request("/")
    assign(request, "mine", b"x")
    assign(request, "mine", b"y")
    assert request.values == {"mine": b"y"}
