"""Byte ranges; the cases are answered by nginx 1.22 in the same way."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processes import open_descriptors
from tests.unit.features.conftest import MakeSite

from portico.features.ranges import parse_ranges
from portico.http.response import BytesBody, PartsBody, SpanBody

DATE = "Sun, 09 Sep 2001 01:46:40 GMT"
BIG = bytes(range(256)) * 100


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    html = tmp_path / "html"
    html.mkdir()
    for name, data in (("a.txt", b"0123456789"), ("empty", b""), ("big", BIG)):
        (html / name).write_bytes(data)
        os.utime(html / name, (1_000_000_000, 1_000_000_000))
    return html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-0", [(0, 1)]),
        ("2-", [(2, 10)]),
        ("-3", [(7, 10)]),
        ("-30", [(0, 10)]),
        ("5-100", [(5, 10)]),
        (" 1 - 2 ", [(1, 3)]),
        ("1-3,5-6", [(1, 4), (5, 7)]),
        ("1-2, 4-", [(1, 3), (4, 10)]),
        ("1-2,20-30", [(1, 3)]),
        ("0-9223372036854775806", [(0, 10)]),
        ("0-9,0-1", None),  # more than the whole
        ("0-1,-9,0-3", None),
        ("10-", ValueError),
        ("-0", ValueError),
        ("5-2", ValueError),
        ("0-2,", ValueError),
        ("x", ValueError),
        ("", ValueError),
        ("-", ValueError),
        ("- 3", ValueError),
        ("1-2-3", ValueError),
        ("0-99999999999999999999", ValueError),
        ("9" * 5000 + "-", ValueError),
        ("0" * 5000 + "-", [(0, 10)]),
    ],
)
def test_parse(text: str, expected: list[tuple[int, int]] | type[ValueError] | None) -> None:
    if expected is ValueError:
        with pytest.raises(ValueError, match=r"range|number"):
            parse_ranges(text.encode(), 10, -1)
    else:
        assert parse_ranges(text.encode(), 10, -1) == expected


def test_maximum() -> None:
    assert parse_ranges(b"0-0,2-2", 10, 2) == [(0, 1), (2, 3)]
    assert parse_ranges(b"0-0,2-2,4-4", 10, 2) is None


def test_of_nothing() -> None:
    assert parse_ranges(b"0-", 0, -1) is None
    assert parse_ranges(b"-1", 0, -1) is None


@given(st.text("0123456789-, x", max_size=20), st.integers(0, 50))
def test_ranges_are_within_the_body(text: str, length: int) -> None:
    try:
        ranges = parse_ranges(text.encode(), length, 5)
    except ValueError:
        return
    assert ranges is None or 1 <= len(ranges) <= 5
    assert all(0 <= start < end <= length for start, end in ranges or [])
    assert sum(end - start for start, end in ranges or []) <= length


@pytest.mark.parametrize("cache", ["", "open_file_cache max=10;"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("target", "whole"), [("/a.txt", b"0123456789"), ("/big", BIG)])
def test_one_range(make_site: MakeSite, cache: str, method: str, target: str, whole: bytes) -> None:
    site = make_site(cache)
    before = open_descriptors()
    for _ in range(2):
        answer = site.ask(target, "Range: bytes=2-4", method)
        assert answer.status == 206
        assert answer.get("content-range") == f"bytes 2-4/{len(whole)}"
        assert answer.get("content-length") == "3"
        assert answer.get("accept-ranges") is None
        assert answer.body == (whole[2:5] if method == "GET" else b"")
    assert open_descriptors() == before + (cache != "")


@pytest.mark.parametrize(("target", "whole"), [("/a.txt", b"0123456789"), ("/big", BIG)])
def test_several_ranges(make_site: MakeSite, target: str, whole: bytes) -> None:
    site = make_site("")
    before = open_descriptors()
    answer = site.ask(target, "Range: bytes=1-3,5-6")
    assert answer.status == 206
    kind = answer.get("content-type") or ""
    found = re.fullmatch(r"multipart/byteranges; boundary=(\d{20})", kind)
    assert found is not None
    boundary = found[1].encode()
    parts = b"".join(
        b"\r\n--%b\r\nContent-Type: text/plain\r\nContent-Range: bytes %d-%d/%d\r\n\r\n%b"
        % (boundary, start, end - 1, len(whole), whole[start:end])
        for start, end in ((1, 4), (5, 7))
    )
    assert answer.body == parts + b"\r\n--" + boundary + b"--\r\n"
    assert answer.get("content-length") == str(len(answer.body))
    assert answer.get("content-range") is None
    assert open_descriptors() == before
    assert site.ask(target, "Range: bytes=1-3,5-6").get("content-type") != kind
    head = site.ask(target, "Range: bytes=1-3,5-6", "HEAD")
    assert (head.status, head.get("content-length")) == (206, str(len(answer.body)))


def test_not_satisfiable(make_site: MakeSite) -> None:
    answer = make_site("add_header X 1; add_header Y 2 always;").ask("/a.txt", "Range: bytes=50-")
    assert answer.status == 416
    assert answer.get("content-range") == "bytes */10"
    assert answer.get("content-type") == "text/html"
    assert b"416 Requested Range Not Satisfiable" in answer.body
    assert answer.get("etag") is None and answer.get("last-modified") is None
    assert answer.get("x") == "1" and answer.all("y") == ["2"]


def test_not_satisfiable_with_an_error_page(make_site: MakeSite) -> None:
    site = make_site("error_page 416 /e; location = /e { return 200 sorry; }")
    answer = site.ask("/a.txt", "Range: bytes=50-")
    assert (answer.status, answer.body) == (416, b"sorry")


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        ('"3b9aca00-a"', 206),
        ('"x"', 200),
        ('W/"3b9aca00-a"', 200),
        (DATE, 206),
        ("Sun, 09 Sep 2001 01:46:41 GMT", 200),
        ("x", 200),
    ],
)
def test_if_range(make_site: MakeSite, if_range: str, status: int) -> None:
    answer = make_site("").ask("/a.txt", f"Range: bytes=0-1\nIf-Range: {if_range}")
    assert answer.status == status
    assert (answer.get("accept-ranges") == "bytes") == (status == 200)


@pytest.mark.parametrize("field", ["bytes=", "bytes 0-1", "items=0-1", "byte=0-1"])
def test_what_is_not_a_byte_range_is_ignored(make_site: MakeSite, field: str) -> None:
    assert make_site("").ask("/a.txt", f"Range: {field}").status == 200


def test_max_ranges(make_site: MakeSite) -> None:
    off = make_site("max_ranges 0;").ask("/a.txt", "Range: bytes=0-1")
    assert (off.status, off.get("accept-ranges")) == (200, None)
    assert make_site("max_ranges 1;").ask("/a.txt", "Range: bytes=0-1,3-4").status == 200
    assert make_site("max_ranges 1;").ask("/a.txt", "Range: bytes=0-1").status == 206


def test_not_for_texts(make_site: MakeSite) -> None:
    answer = make_site("return 200 hello;").ask("/", "Range: bytes=0-1")
    assert (answer.status, answer.get("accept-ranges")) == (200, None)


def test_what_is_before_a_range_is_not_skipped_at_one_go() -> None:
    """It may be gigabytes, and come as fast as it is read: after each piece others may have their turn."""
    body = SpanBody(PartsBody([BytesBody(bytes(1000)) for _ in range(5)]), 3500, 1000)
    assert [body.take() for _ in range(7)] == [None, None, None, bytes(500), bytes(500), b"", b""]
