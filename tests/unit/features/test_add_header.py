"""`add_header`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.features.conftest import MakeSite
from tests.unit.features.local_site import refusal


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "html").mkdir()
    path = tmp_path / "html" / "a.txt"
    path.write_bytes(b"0123456789")
    os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.mark.parametrize("status", [200, 201, 204, 301, 302, 303, 307, 308, 202, 400, 404, 500])
def test_statuses(make_site: MakeSite, status: int) -> None:
    answer = make_site(f"add_header X 1; add_header Y 2 always; return {status} /;").ask("/")
    assert answer.get("x") == (None if status in (202, 400, 404, 500) else "1")
    assert answer.get("y") == "2"


def test_order_and_repetition(make_site: MakeSite) -> None:
    answer = make_site("add_header A 1; add_header B $uri; add_header A 2; return 200;").ask("/u")
    assert answer.fields[-3:] == [["A", "1"], ["B", "/u"], ["A", "2"]]


def test_empty_values_are_left_out(make_site: MakeSite) -> None:
    answer = make_site('add_header A ""; add_header B $arg_b; return 200;').ask("/")
    assert answer.get("a") is None and answer.get("b") is None


def test_inheritance_is_whole_or_nothing(make_site: MakeSite) -> None:
    text = "location /x { add_header B 2; return 200; } location /y { return 200; }"
    site = make_site("add_header A 1;" + text)
    assert (site.ask("/x").get("a"), site.ask("/x").get("b")) == (None, "2")
    assert site.ask("/y").get("a") == "1"


def test_validators_are_replaced(make_site: MakeSite) -> None:
    date = 'add_header Last-Modified "Sun, 09 Sep 2001 01:46:41 GMT";'
    answer = make_site(f"location /r/ {{ alias html/; add_header etag '\"v\"'; {date} }}").ask("/r/a.txt")
    assert answer.all("etag") == ['"v"']
    assert answer.all("last-modified") == ["Sun, 09 Sep 2001 01:46:41 GMT"]


def test_validators_are_removed(make_site: MakeSite) -> None:
    answer = make_site('add_header ETag ""; add_header Last-Modified "";').ask("/a.txt")
    assert answer.status == 200 and answer.get("etag") is None and answer.get("last-modified") is None


def test_a_line_end_cannot_begin_another_field(make_site: MakeSite) -> None:
    answer = make_site("add_header X $uri; return 200;").ask("/a%0d%0aSet-Cookie:%20b")
    assert answer.get("x") == "/a  Set-Cookie: b"
    assert answer.get("set-cookie") is None


def test_mistakes(tmp_path: Path) -> None:
    assert refusal("add_header A b never;", tmp_path) == 'invalid parameter "never"'
