"""Destination, Depth and Overwrite."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.conftest import MakeSite

from portico.features.dav.fields import INFINITY, depth_of, destination_of, may_overwrite
from portico.http.errors import HTTPError
from portico.http.phases import enter_location
from portico.http.request import Request


@pytest.fixture
def make_request(make_site: MakeSite, tmp_path: Path):  # type: ignore[no-untyped-def]
    site = make_site(f"root {tmp_path}; location / {{ }} location /other/ {{ }} location /fs/ {{ location /fs/in/ {{ }} }}")

    def make(target: str, fields: str = "") -> Request:
        request = site.request(target, fields, "COPY")
        enter_location(request)
        return request

    return make


@pytest.mark.parametrize(("text", "depth"), [("0", 0), ("1", 1), ("infinity", INFINITY), ("2", -2), ("", -2), ("Infinity", -2)])
def test_depth(make_request, text: str, depth: int) -> None:  # type: ignore[no-untyped-def]
    assert depth_of(make_request("/a", f"Depth: {text}"), INFINITY) == depth


def test_depth_is_what_the_method_says_when_nobody_does(make_request) -> None:  # type: ignore[no-untyped-def]
    assert depth_of(make_request("/a"), 0) == 0


@pytest.mark.parametrize(("text", "allowed"), [("T", True), ("t", True), ("F", False), ("f", False)])
def test_overwrite(make_request, text: str, allowed: bool) -> None:  # type: ignore[no-untyped-def]
    assert may_overwrite(make_request("/a", f"Overwrite: {text}")) is allowed


def test_another_overwrite_is_refused(make_request) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HTTPError) as raised:
        may_overwrite(make_request("/a", "Overwrite: yes"))
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("/b", b"/b"),
        ("/b%20c", b"/b c"),
        ("/b%25c", b"/b%c"),
        ("/b?query", b"/b"),
        ("/x//y", b"/x/y"),
        ("http://example.com/b", b"/b"),
        ("http://EXAMPLE.com:8080/b", b"/b"),
    ],
)
def test_destinations(make_request, value: str, path: bytes) -> None:  # type: ignore[no-untyped-def]
    assert destination_of(make_request("/a", f"Destination: {value}")) == path


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("", 400),
        ("b", 400),
        ("/../b", 400),
        ("/a/../../b", 400),
        ("/b%00", 400),
        ("/b%2f..%2f..%2fc", 400),
        ("https://example.com/b", 400),  # another scheme
        ("http://example.com.evil/b", 400),
        ("http://example.com:x/b", 400),
        ("http://example.com@evil/b", 400),
        ("http://example.com", 400),
        ("/b/", 409),  # a collection, and the source is none
        ("/other/b", 403),  # the rules of another location were not asked
    ],
)
def test_destinations_that_are_refused(make_request, value: str, status: int) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HTTPError) as raised:
        destination_of(make_request("/a", f"Destination: {value}"))
    assert raised.value.status == status


def test_a_location_within_is_another_one(make_request) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HTTPError) as raised:
        destination_of(make_request("/fs/a", "Destination: /fs/in/b"))
    assert raised.value.status == 403


def test_no_destination(make_request) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(HTTPError) as raised:
        destination_of(make_request("/a"))
    assert raised.value.status == 400 and "Destination" in raised.value.reason
