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


INNER = "location /own {{ {0} add_header B 2; return 200; }} location /none {{ {0} return 200; }}"


@pytest.mark.parametrize(
    ("inherit", "own", "none"),
    [("", ["B"], ["A"]), ("add_header_inherit on;", ["B"], ["A"]), ("add_header_inherit off;", ["B"], []),
     ("add_header_inherit merge;", ["B", "A"], ["A"])],
)  # fmt: skip
def test_what_is_inherited(make_site: MakeSite, inherit: str, own: list[str], none: list[str]) -> None:
    site = make_site("add_header A 1;" + INNER.format(inherit))
    for target, expected in (("/own", own), ("/none", none)):
        assert [name for name, _ in site.ask(target).fields if name in ("A", "B", "C")] == expected


def test_merging_is_inherited_and_goes_on_outwards(make_site: MakeSite) -> None:
    inner = "location /a/b { add_header C 3; return 200; } location /a/c { add_header_inherit off; return 200; }"
    site = make_site(f"add_header_inherit merge; add_header A 1; location /a {{ add_header B 2; {inner} }}")
    assert [name for name, _ in site.ask("/a/b").fields if name in ("A", "B", "C")] == ["C", "B", "A"]
    assert [name for name, _ in site.ask("/a/c").fields if name in ("A", "B", "C")] == []


def test_trailers_are_inherited_alike(make_site: MakeSite) -> None:
    merging = "location /b { add_trailer B $uri; add_trailer_inherit merge; return 200 x; }"
    site = make_site(f"add_trailer A 1; {merging} location /c {{ add_trailer C 1; return 200 x; }}")
    answer = site.ask("/b")
    assert answer.body == b"x" and answer.response.trailers == [(b"B", b"/b"), (b"A", b"1")] and answer.get("content-length") is None
    assert site.ask("/c").response.trailers == [(b"C", b"1")]


def test_a_line_end_cannot_begin_another_trailer(make_site: MakeSite) -> None:
    answer = make_site("add_trailer X $uri; return 200 x;").ask("/a%0d%0aB:%20c")
    assert answer.response.trailers == [(b"X", b"/a  B: c")]


@pytest.mark.parametrize("text", ["add_header_inherit some;", "add_trailer_inherit 1;"])
def test_bad_inherit(tmp_path: Path, text: str) -> None:
    assert refusal(text, tmp_path).startswith('invalid value "')


def test_bad_trailer(tmp_path: Path) -> None:
    assert refusal("add_trailer A b sometimes;", tmp_path) == 'invalid parameter "sometimes"'
