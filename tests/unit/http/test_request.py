"""A request has attributes for what the pipeline needs; what one feature needs is in a slot, what upstreams did in one object."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.http.loaded import Loaded

from portico.http.request import NO_ERROR_PAGE, RequestSlot
from portico.http.subrequest import clone_of, subrequest_of
from portico.variables.session import Session

MOST_ATTRIBUTES = 25  # beyond those of every session


@pytest.fixture
def site(tmp_path: Path) -> Loaded:
    return Loaded("server { listen 127.0.0.1:8080; server_name one; }", tmp_path)


def attributes(of: object) -> set[str]:
    computed = {"uri", "args", "host"}
    return {name for name in dir(of) if not name.startswith("_") and not callable(getattr(of, name))} - computed


def test_every_request_has_few_attributes(site: Loaded) -> None:
    assert len(attributes(site.request()) - attributes(Session(site.client))) <= MOST_ATTRIBUTES


def test_slots_are_of_one_request(site: Loaded) -> None:
    own, inherited = RequestSlot[str](), RequestSlot[str](inherited=True)
    request = site.request()
    assert own.of(request) is None
    own.put(request, "a")
    inherited.put(request, "b")
    asked = subrequest_of(request, b"/x", b"")
    assert (own.of(asked), inherited.of(asked)) == (None, "b")
    inherited.put(asked, "c")
    own.clear(request)
    own.clear(asked)
    assert (own.of(request), inherited.of(request)) == (None, "b")


def test_what_a_replaced_response_leaves_adds_up(site: Loaded) -> None:
    request = site.request()
    assert request.carried is None
    request.carry_over([(b"A", b"1")], b"text/plain")
    request.carry_over([(b"B", b"2")])
    assert request.carried.fields == [(b"A", b"1"), (b"B", b"2")] and request.carried.content_type == b"text/plain"
    request.carry_over([], b"text/css")
    assert request.carried.content_type == b"text/css"


def test_attempts_before_and_behind_an_internal_redirect(site: Loaded) -> None:
    request = site.request()
    assert request.attempts() == [] and request.upstream is None
    state = request.upstream_state()
    state.redirected = True  # before the first one
    first = state.begin_attempt(b"a", 1.0)
    second = state.begin_attempt(b"b", 2.0)
    state.redirected = True
    third = state.begin_attempt(b"c", 3.0)
    assert [one.after_redirect for one in (first, second, third)] == [False, False, True]
    assert request.attempts() == [first, second, third] and request.upstream_state() is state


def test_the_status_before_it_is_sent(site: Loaded) -> None:
    request = site.request()
    assert (request.error_page_status, request.current_status()) == (NO_ERROR_PAGE, 0)
    request.error_page_status = 404
    assert request.current_status() == 404
    request.status = 200
    assert request.current_status() == 200


def test_subrequests_within_subrequests(site: Loaded) -> None:
    request = site.request()
    asked = clone_of(subrequest_of(request, b"/x", b"y"))
    assert (request.depth(), asked.depth()) == (0, 2)
    assert (asked.uri, asked.args, asked.host, asked.target.is_plain) == (b"/x", b"y", b"h", False)
