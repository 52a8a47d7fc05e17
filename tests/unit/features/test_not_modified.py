"""Conditional requests; the cases are answered by nginx 1.22 in the same way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.processes import open_descriptors
from tests.unit.features.conftest import MakeSite

from portico.features.not_modified import lists_etag

BEFORE = "Sun, 09 Sep 2001 01:46:39 GMT"
DATE = "Sun, 09 Sep 2001 01:46:40 GMT"
AFTER = "Sun, 09 Sep 2001 01:46:41 GMT"
ETAG = '"3b9aca00-a"'


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "html").mkdir()
    for name, size in (("a.txt", 10), ("big", 20000)):
        path = tmp_path / "html" / name
        path.write_bytes(b"x" * size)
        os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (f"If-Modified-Since: {DATE}", 304),
        (f"If-Modified-Since: {BEFORE}", 200),
        (f"If-Modified-Since: {AFTER}", 200),
        ("If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT", 304),
        ("If-Modified-Since: Sun Sep  9 01:46:40 2001", 304),
        ("If-Modified-Since: yesterday", 200),
        (f"If-None-Match: {ETAG}", 304),
        (f"If-None-Match: W/{ETAG}", 304),
        (f'If-None-Match: "a", {ETAG}', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "a"', 200),
        (f"If-None-Match: {ETAG}\nIf-Modified-Since: {DATE}", 304),
        (f"If-None-Match: {ETAG}\nIf-Modified-Since: {BEFORE}", 304),
        (f"If-Match: {ETAG}\nIf-Unmodified-Since: {BEFORE}", 200),
        (f'If-Match: "a"\nIf-Unmodified-Since: {AFTER}', 412),
        (f'If-None-Match: "a"\nIf-Modified-Since: {DATE}', 200),
        (f"If-Match: {ETAG}", 200),
        ("If-Match: *", 200),
        (f"If-Match: W/{ETAG}", 412),
        ('If-Match: "a"', 412),
        (f"If-Unmodified-Since: {DATE}", 200),
        (f"If-Unmodified-Since: {AFTER}", 200),
        (f"If-Unmodified-Since: {BEFORE}", 412),
        ("If-Unmodified-Since: yesterday", 412),
        (f"If-Unmodified-Since: {BEFORE}\nIf-None-Match: *", 412),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(make_site: MakeSite, fields: str, status: int, method: str) -> None:
    assert make_site("").ask("/a.txt", fields, method).status == status


def test_head_of_304(make_site: MakeSite) -> None:
    site = make_site("add_header X 1; expires epoch;")
    before = open_descriptors()
    answer = site.ask("/big", f"If-Modified-Since: {DATE}\nRange: bytes=0-1")
    assert (answer.status, answer.body) == (304, b"")
    assert answer.fields == [
        ["Last-Modified", DATE],
        ["ETag", '"3b9aca00-4e20"'],
        ["Expires", "Thu, 01 Jan 1970 00:00:01 GMT"],
        ["Cache-Control", "no-cache"],
        ["X", "1"],
    ]
    assert open_descriptors() == before


def test_412_is_an_error_as_any_other(make_site: MakeSite) -> None:
    site = make_site("add_header X 1; error_page 412 /e; location = /e { return 200 sorry; }")
    before = open_descriptors()
    answer = site.ask("/big", 'If-Match: "a"')
    assert (answer.status, answer.get("x")) == (412, None)
    assert answer.body == b"sorry"
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("mode", "date", "status"),
    [("off", DATE, 200), ("before", DATE, 304), ("before", AFTER, 304), ("before", BEFORE, 200)],
)
def test_if_modified_since_modes(make_site: MakeSite, mode: str, date: str, status: int) -> None:
    answer = make_site(f"if_modified_since {mode};").ask("/a.txt", f"If-Modified-Since: {date}")
    assert answer.status == status


def test_not_for_errors(make_site: MakeSite) -> None:
    assert make_site("").ask("/none", "If-None-Match: *").status == 404


def test_texts_have_no_validators(make_site: MakeSite) -> None:
    site = make_site("return 200 hello;")
    assert site.ask("/", "If-None-Match: *").status == 304
    assert site.ask("/", 'If-None-Match: "a"').status == 200
    assert site.ask("/", 'If-Match: "a"').status == 412
    assert site.ask("/", f"If-Unmodified-Since: {DATE}").status == 412


@pytest.mark.parametrize(
    ("text", "etag", "weak", "expected"),
    [
        (b'"a"', b'"a"', False, True),
        (b'"a" , "b"', b'"b"', False, True),
        (b'"a"x, "b"', b'"a"', False, False),
        (b'W/"a"', b'"a"', False, False),
        (b'W/"a"', b'"a"', True, True),
        (b'"a"', b'W/"a"', True, True),
        (b'"a"', b'W/"a"', False, False),
        (b",, ,", b'"a"', True, False),
        (b'"a', b'"a"', True, False),
        (b"", b'"a"', True, False),
        (b'"a"', b"", True, False),
        (b"*", b"", True, True),
    ],
)
def test_lists(text: bytes, etag: bytes, weak: bool, expected: bool) -> None:
    assert lists_etag(text, etag, weak) == expected


@pytest.mark.parametrize(
    ("method", "fields", "line"),
    [
        ("GET", 'If-Match: "a"', f"client's condition fails: \"If-Match: \"a\"\" does not list the ETag \"{ETAG}\""),
        ("GET", f"If-Unmodified-Since: {BEFORE}", f"client's condition fails: modified since \"{BEFORE}\" (If-Unmodified-Since)"),
        ("GET", "Range: bytes=90-", 'client asked for a range that cannot be sent: "bytes=90-" of 10 bytes'),
        ("POST", "", 'client sent method "POST": a file answers GET and HEAD only'),
    ],
)
def test_the_error_log_says_why(make_site: MakeSite, method: str, fields: str, line: str) -> None:
    site = make_site("error_log logs/error.log info;")
    assert site.ask("/a.txt", fields, method).status in (405, 412, 416)
    assert line in site.log()
