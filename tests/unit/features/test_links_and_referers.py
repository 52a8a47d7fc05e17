"""Referers and secure links with arbitrary bytes."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from portico.features.referer import Referers
from portico.features.secure_link import decoded, linked, time_in


def referers() -> Referers:
    made = Referers()
    made.names.add("good.example", b"")
    made.names.add("*.wild.example", b"/a")
    return made


URLS = st.binary() | st.tuples(
    st.sampled_from([b"http://", b"https://", b"HTTP://", b"ftp://"]),
    st.sampled_from([b"good.example", b"x.wild.example", b"bad.example", b"good.example.", b"", b"\xff"]),
    st.binary(),
).map(b"".join)


@given(URLS)
def test_any_referer(referer: bytes) -> None:
    valid = referers().accept(referer)
    blocked = referers()
    blocked.blocked = True
    if valid:
        host = referer.lower().split(b"//", 1)[1]
        assert host.startswith(b"good.example") or b".wild.example" in host
    if not referer.lower().startswith((b"http://", b"https://")):
        assert not valid and blocked.accept(referer)
    assert not referers().accept(None)


@given(st.binary(max_size=40))
def test_any_hash(text: bytes) -> None:
    found = decoded(text)
    assert found is None or len(found) == 16


@given(st.binary(min_size=16, max_size=16))
def test_hashes_come_back(digest: bytes) -> None:
    text = base64.urlsafe_b64encode(digest)
    assert decoded(text) == decoded(text.rstrip(b"=")) == digest


@given(st.binary())
def test_any_time(text: bytes) -> None:
    assert time_in(text) >= 0


@given(st.binary())
def test_any_link(uri: bytes) -> None:
    assert linked(uri, b"secret") is None


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_links_come_back(link: bytes, secret: bytes) -> None:
    made = hashlib.md5(link + secret).hexdigest().encode()
    assert linked(b"/p/" + made + b"/" + link, secret) == link
    assert linked(b"/p/" + made.upper() + b"/" + link, secret) == link
    assert linked(b"/p/" + made + b"/x" + link, secret) is None
    assert linked(b"/p/" + made + b"/" + link, secret + b"x") is None
