"""`slice`: which part is asked for, and which answers are not that part (ngx_http_slice_filter_module)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.features.slice import Slices
from portico.http.response import EMPTY, Response


def part(content_range: str | None, etag: str = '"a"', modified: str = "", status: int = 206) -> Response:
    response = Response(status, EMPTY)
    if content_range is not None:
        response.fields.append((b"Content-Range", content_range.encode()))
    response.etag = etag.encode()
    response.last_modified_text = modified.encode()
    return response


@pytest.mark.parametrize(
    ("size", "start", "asked"),
    [(10, 0, b"bytes=0-9"), (10, 20, b"bytes=20-29"), (1, 5, b"bytes=5-5"), (1 << 20, 1 << 40, b"bytes=1099511627776-1099512676351")],
)
def test_the_range_of_a_part(size: int, start: int, asked: bytes) -> None:
    slices = Slices(size, start)
    assert slices.range == asked
    slices.ask_for(start + size)
    assert slices.range == b"bytes=%d-%d" % (start + size, start + 2 * size - 1)


@pytest.mark.parametrize(
    ("content_range", "problem"),
    [
        ("bytes 10-19/100", ""),
        ("bytes 10-19/20", ""),
        ("bytes 10-14/15", ""),  # the last one is shorter
        ("bytes   10 - 19 / 100  ", ""),  # nginx lets spaces pass
        ("bytes 0-9/100", "unexpected range in slice response: 0-10"),
        ("bytes 10-18/100", "unexpected range in slice response: 10-19"),
        ("bytes 10-20/100", "unexpected range in slice response: 10-21"),
        ("bytes 10-19/15", "unexpected range in slice response: 10-20"),
        ("bytes 10-9/100", "unexpected range in slice response: 10-10"),
        ("bytes 10-19/*", "no complete length in slice response"),
        ("bytes */100", "invalid range in slice response"),
        ("bytes 10-19", "invalid range in slice response"),
        ("bytes=10-19/100", "invalid range in slice response"),
        ("BYTES 10-19/100", "invalid range in slice response"),
        ("bytes 10-19/100,bytes 10-19/100", "invalid range in slice response"),
        ("bytes -10-19/100", "invalid range in slice response"),
        ("bytes 10-19/" + "9" * 19, "invalid range in slice response"),
        ("", "invalid range in slice response"),
        (None, "invalid range in slice response"),
    ],
)
def test_the_range_of_an_answer(content_range: str | None, problem: str) -> None:
    assert Slices(10, 10).check(part(content_range)) == problem


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        (part("bytes 0-9/30"), part("bytes 10-19/30"), ""),
        (part("bytes 0-9/30"), part("bytes 10-19/30", status=200), "unexpected status code 200 in slice response"),
        (part("bytes 0-9/30"), part("bytes 10-19/30", status=404), "unexpected status code 404 in slice response"),
        (part("bytes 0-9/30"), part("bytes 10-19/30", '"b"'), "etag mismatch in slice response"),
        (part("bytes 0-9/30"), part("bytes 10-19/30", ""), "etag mismatch in slice response"),
        (part("bytes 0-9/30", '"a"', "Mon"), part("bytes 10-19/30", '"a"', "Tue"), ""),  # the tag tells more than the time
        (part("bytes 0-9/30", "", "Mon"), part("bytes 10-19/30", "", "Tue"), "last modified mismatch in slice response"),
        (part("bytes 0-9/30", "", "Mon"), part("bytes 10-19/30", "", ""), "last modified mismatch in slice response"),
        (part("bytes 0-9/30", ""), part("bytes 10-19/30", ""), ""),  # nothing to tell versions apart by
        (part("bytes 0-9/30"), part("bytes 10-19/31"), "another length in slice response: 31, not 30"),
        (part("bytes 0-9/30"), part("bytes 0-9/30"), "unexpected range in slice response: 0-10"),
    ],
)
def test_all_parts_are_of_one_version(first: Response, second: Response, problem: str) -> None:
    slices = Slices(10, 0)
    assert slices.check(first) == ""
    slices.ask_for(10)
    assert slices.check(second) == problem


@given(st.integers(1, 50), st.integers(0, 10), st.integers(1, 300))
def test_the_parts_of_a_whole_have_its_length(size: int, skipped: int, complete: int) -> None:
    start = skipped * size
    slices = Slices(size, start)
    total = 0
    while slices.start < complete:
        last = min(slices.start + size, complete) - 1
        assert slices.check(part(f"bytes {slices.start}-{last}/{complete}")) == ""
        total += slices.length()
        slices.ask_for(slices.start + size)
    assert total == max(0, complete - start)
