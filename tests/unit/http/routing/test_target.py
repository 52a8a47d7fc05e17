"""A request's target is never changed: what rewrites a request gives it another one."""

from __future__ import annotations

from portico.http.routing.target import RequestTarget
from portico.http.routing.uri import normalise

SENT = normalise(b"/a%20b?c=d", True)


def parts(target: RequestTarget) -> tuple[bytes, bytes, bytes]:
    return target.raw, target.uri, target.args


def flags(target: RequestTarget) -> tuple[bool, bool, bool, bool]:
    return target.quoted, target.is_plain, target.seeks_location, target.left_location


def test_as_it_was_sent() -> None:
    assert parts(SENT) == (b"/a%20b?c=d", b"/a b", b"c=d") and flags(SENT) == (True, True, False, False)


def test_other_parts() -> None:
    assert parts(SENT.with_uri(b"/x")) == (b"/a%20b?c=d", b"/x", b"c=d")
    assert parts(SENT.with_args(b"")) == (b"/a%20b?c=d", b"/a b", b"")
    assert parts(SENT.with_hidden_query()) == (b"/a b", b"/a b", b"c=d")
    assert flags(SENT.with_uri(b"/x")) == flags(SENT)
    assert flags(SENT.with_args(b"")) == (True, False, False, False)  # upstreams get the other arguments
    assert parts(SENT) == (b"/a%20b?c=d", b"/a b", b"c=d")


def test_an_internal_redirect_makes_what_was_sent_useless() -> None:
    target = SENT.redirected(b"/x", b"y")
    assert parts(target) == (b"/a%20b?c=d", b"/x", b"y") and flags(target) == (True, False, False, False)


def test_a_rewrite_leads_to_another_location_or_stays() -> None:
    moved = SENT.rewritten(b"/x", b"", stays=False)
    assert flags(moved) == (True, False, True, False)
    stayed = moved.rewritten(b"/y", b"", stays=True)
    assert flags(stayed) == (True, False, False, True)
    assert flags(stayed.with_args(b"z")) == flags(stayed)
    assert flags(stayed.rewritten(b"/z", b"", stays=False)) == (True, False, True, True)
    assert flags(stayed.redirected(b"/z", b"")) == (True, False, False, False), "an internal redirect begins anew"


def test_a_rewrite_phase_begins_anew() -> None:
    assert SENT.settled() is SENT
    settled = SENT.rewritten(b"/x", b"y", stays=False).settled()
    assert parts(settled) == (b"/a%20b?c=d", b"/x", b"y") and flags(settled) == (True, False, False, False)
    left = SENT.rewritten(b"/x", b"y", stays=True)
    assert left.settled() is left, "what a server's `break` has left stays left"
