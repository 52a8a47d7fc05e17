"""`autoindex`: lists as nginx writes them, of names that would break a page, a script or a document."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from tests.unit.features.local_site import FEATURES, Answer, Site

from portico.features import autoindex
from portico.features.autoindex import Entry, escape_html

List = Callable[..., Answer]
MTIME = 1_000_000_000  # 2001-09-09 01:46:40 UTC
WITH_LISTS = (*FEATURES[:-1], autoindex.FEATURE, FEATURES[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "html"
    made.mkdir()
    return made


@pytest.fixture
def ask(tmp_path: Path, folder: Path) -> Iterator[List]:
    made: list[Site] = []

    def answer(text: str = "", target: str = "/", method: str = "GET") -> Answer:
        made.append(Site(f"autoindex on; {text}", tmp_path, WITH_LISTS))
        return made[-1].ask(target, "", method)

    yield answer
    for site in made:
        site.close()


def put(folder: Path, name: bytes, size: int = 0) -> None:
    path = os.fsencode(folder) + b"/" + name
    with open(path, "wb") as file:
        file.truncate(size)
    os.utime(path, (MTIME, MTIME))


def html_lines(answer: Answer) -> list[bytes]:
    """Those of the entries."""
    return answer.body.split(b"\r\n")[4:-3]


def test_html_to_the_byte(folder: Path, ask: List) -> None:
    put(folder, b"a.txt", 12)
    (folder / "dir").mkdir()
    os.utime(folder / "dir", (MTIME, MTIME))
    answer = ask()
    assert answer.get("Content-Type") == "text/html" and answer.get("Content-Length") is None
    assert answer.body == (
        b"<html>\r\n<head><title>Index of /</title></head>\r\n<body>\r\n"
        b'<h1>Index of /</h1><hr><pre><a href="../">../</a>\r\n'
        b'<a href="dir/">dir/</a>' + b" " * 47 + b"09-Sep-2001 01:46                   -\r\n"
        b'<a href="a.txt">a.txt</a>' + b" " * 46 + b"09-Sep-2001 01:46                  12\r\n"
        b"</pre><hr></body>\r\n</html>\r\n"
    )


@pytest.mark.parametrize(
    ("name", "href", "shown"),
    [
        (b"a b", b"a%20b", b"a b"),
        (b"a:b", b"a%3Ab", b"a:b"),  # else a browser would take it for a scheme
        (b"?#%", b"%3F%23%25", b"?#%"),
        (b'"><script>', b"%22%3E%3Cscript%3E", b"&quot;&gt;&lt;script&gt;"),
        (b"a&b;", b"a%26b%3B", b"a&amp;b;"),
        (b"\xff\n", b"%FF%0A", b"\xff\n"),
        ("é".encode(), b"%C3%A9", "é".encode()),
    ],
)
def test_names_in_html(folder: Path, ask: List, name: bytes, href: bytes, shown: bytes) -> None:
    put(folder, name)
    (line,) = html_lines(ask())
    assert line.startswith(b'<a href="' + href + b'">' + shown + b"</a> ")
    assert unquote_to_bytes(href) == name


@pytest.mark.parametrize(
    ("length", "directory", "shown", "spaces"),
    [
        (49, False, b"n" * 49, 2),
        (50, False, b"n" * 50, 1),
        (51, False, b"n" * 47 + b"..&gt;", 1),
        (48, True, b"n" * 48 + b"/", 2),
        (49, True, b"n" * 49 + b"/", 1),
        (50, True, b"n" * 50, 1),  # no room for the slash
        (255, True, b"n" * 47 + b"..&gt;", 1),
    ],
)
def test_long_names(folder: Path, ask: List, length: int, directory: bool, shown: bytes, spaces: int) -> None:
    """NGX_HTTP_AUTOINDEX_NAME_LEN is 50, and the times stand in one column."""
    if directory:
        (folder / ("n" * length)).mkdir()
    else:
        put(folder, b"n" * length)
    (line,) = html_lines(ask())
    assert line.split(b'">')[1].split(b"</a>")[0] == shown
    assert line.split(b"</a>")[1].startswith(b" " * spaces) and line.split(b"</a>")[1][spaces : spaces + 1].isdigit()


@pytest.mark.parametrize(
    ("size", "exact", "rounded"),
    [
        (0, b"0", b"0"),
        (9999, b"9999", b"9999"),
        (10_000, b"10000", b"10K"),
        (10_751, b"10751", b"10K"),
        (10_752, b"10752", b"11K"),  # from half on it is one more
        ((1 << 20) - 1, b"1048575", b"1024K"),
        (1 << 20, b"1048576", b"1M"),
        (3 << 19, b"1572864", b"2M"),
        ((3 << 19) - 1, b"1572863", b"1M"),
        (1 << 30, b"1073741824", b"1G"),
    ],
)
def test_sizes(folder: Path, ask: List, size: int, exact: bytes, rounded: bytes) -> None:
    put(folder, b"f", size)
    (line,) = html_lines(ask())
    assert line.endswith(b" " + exact) and len(line.split(b"01:46")[1]) == 20
    (line,) = html_lines(ask("autoindex_exact_size off;"))
    assert line.endswith(b" " + rounded) and len(line.split(b"01:46")[1]) == 8


def test_the_title_is_the_uri_escaped(tmp_path: Path, folder: Path, ask: List) -> None:
    (folder / "<b>&").mkdir()
    body = ask("", "/%3Cb%3E&/").body
    assert body.count(b"Index of /&lt;b&gt;&amp;/<") == 2


def test_order_and_what_is_left_out(folder: Path, ask: List) -> None:
    for name in (b"b", b"a", b"B", b".hidden", b"\xc3\xa9"):
        put(folder, name)
    (folder / "z").mkdir()
    (folder / ".git").mkdir()
    (folder / "broken").symlink_to("nowhere")
    (folder / "link").symlink_to("z")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    answer = ask("autoindex_format json;")
    assert [(entry["name"], entry["type"]) for entry in json.loads(answer.body)] == [
        ("link", "directory"), ("z", "directory"), ("B", "file"), ("a", "file"), ("b", "file"), ("broken", "other"),
        ("fifo", "other"), ("é", "file"),
    ]  # fmt: skip


NAMES = [b"plain", b'"quoted"', b"back\\slash", b"new\nline", b"tab\t", b"\x01", b"]]>", b"<script>", b"a&b", b"<c>", "é".encode()]


@pytest.mark.parametrize("form", ["json", "jsonp"])
def test_any_name_in_json(folder: Path, ask: List, form: str) -> None:
    for name in NAMES:
        put(folder, name, 5)
    answer = ask(f"autoindex_format {form};")
    assert answer.get("Content-Type") == "application/json"  # without a callback jsonp is JSON
    found = json.loads(answer.body)
    assert sorted(os.fsencode(entry["name"]) for entry in found) == sorted(NAMES)
    assert found[0] | {"name": ""} == {"name": "", "type": "file", "mtime": "Sun, 09 Sep 2001 01:46:40 GMT", "size": 5}


def test_any_name_in_xml(folder: Path, ask: List) -> None:
    names = [name for name in NAMES if name != b"\x01"]  # no XML can say that
    for name in names:
        put(folder, name, 5)
    (folder / "dir").mkdir()
    answer = ask("autoindex_format xml;")
    assert answer.get("Content-Type") == "text/xml; charset=utf-8"
    root = ElementTree.fromstring(answer.body)
    assert [child.tag for child in root] == ["directory"] + ["file"] * len(names)
    assert sorted((child.text or "").encode() for child in root[1:]) == sorted(names)
    assert root[1].attrib == {"mtime": "2001-09-09T01:46:40Z", "size": "5"}
    assert "size" not in root[0].attrib


@pytest.mark.parametrize(
    ("callback", "status", "body"),
    [
        ("f", 200, b"/* callback */\r\nf([\r\n]);"),
        ("a.b_C9", 200, b"/* callback */\r\na.b_C9([\r\n]);"),
        ("x" * 128, 200, b"/* callback */\r\n" + b"x" * 128 + b"([\r\n]);"),
        ("", 200, b"[\r\n]"),
        ("x" * 129, 400, None),
        ("alert(1)//", 400, None),
        ("a%20b", 400, None),
        ("$", 400, None),
        ("a-b", 400, None),
        ("%0a", 400, None),
    ],
)
def test_the_name_of_a_callback(ask: List, callback: str, status: int, body: bytes | None) -> None:
    """ngx_http_autoindex_jsonp_callback: what is no plain name would be a script of whoever made the link."""
    answer = ask("autoindex_format jsonp;", f"/?callback={callback}")
    assert answer.status == status
    if body is not None:
        assert answer.body == body
        assert answer.get("Content-Type") == ("application/javascript" if callback else "application/json")


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/", "HEAD", 200), ("/", "POST", 403), ("/none/", "GET", 404), ("/none/", "HEAD", 404), ("/file/", "GET", 404),
        ("/" + "n" * 300 + "/", "GET", 404), ("/dir", "GET", 301),
    ],
)  # fmt: skip
def test_other_requests(folder: Path, ask: List, target: str, method: str, status: int) -> None:
    put(folder, b"file")
    (folder / "dir").mkdir()
    answer = ask("", target, method)
    assert answer.status == status
    if status == 200:
        assert answer.body == b""


def test_an_index_file_comes_first(folder: Path, ask: List) -> None:
    (folder / "index.html").write_text("home")
    assert ask().body == b"home"


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_no_name_makes_a_tag() -> None:
    parser = Text()
    parser.feed(escape_html(b"<script>alert('1')</script>&#60;b&#62;\"").decode())
    assert parser.tags == []


def test_what_an_entry_is_called() -> None:
    assert Entry(b"x", os.stat("/dev/null")).kind() == b"other"
