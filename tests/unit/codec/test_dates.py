"""Dates as nginx reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.codec.dates import is_in_another_zone, parse_date
from portico.net.reactor import http_date


@pytest.mark.parametrize(
    "text",
    [
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 NOV 1994 08:49:37 EST",
    ],
)
def test_forms(text: bytes) -> None:
    assert parse_date(text) == 784111777


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"784111777",
        b"06 Nov 1994 08:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 nov 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 31 Nov 1994 08:49:37 GMT",
        b"Wed, 29 Feb 1995 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:49:37 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 1994 08:49:60 GMT",
        b"Sun, 06 Nov 1969 08:49:37 GMT",
    ],
)
def test_not_dates(text: bytes) -> None:
    assert parse_date(text) == -1


@pytest.mark.parametrize("name", ["Jan", "Feb", "FEB", "Mar", "Apr", "May", "MAY", "Jun", "Jul", "JUL", "Aug", "SEP", "Dec", "DEC"])
def test_months_by_the_letters_that_nginx_looks_at(name: str) -> None:
    second = parse_date(f"Sun, 06 {name} 1994 08:49:37 GMT".encode())
    assert http_date(int(second))[8:11] == name.capitalize().encode()


@pytest.mark.parametrize(
    ("text", "another"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", False),
        (b"Sun, 06 Nov 1994 08:49:37", False),
        (b"Sun Nov  6 08:49:37 1994", False),
        (b"0", False),
        (b"Sun, 06 Nov 1994 08:49:37 EST", True),
        (b"Sun, 06 Nov 1994 08:49:37 +0100", True),
        (b"Sunday, 06-Nov-94 08:49:37 PST", True),
    ],
)
def test_zones(text: bytes, another: bool) -> None:
    assert is_in_another_zone(text) is another


def test_leap_day() -> None:
    assert http_date(int(parse_date(b"Thu, 29 Feb 1996 00:00:00 GMT"))) == b"Thu, 29 Feb 1996 00:00:00 GMT"


@given(st.integers(0, 253402300799))
def test_what_is_written_is_read(second: int) -> None:
    assert parse_date(http_date(second)) == second


@given(st.binary(max_size=40))
def test_anything_else_is_harmless(text: bytes) -> None:
    assert parse_date(text) >= -1
