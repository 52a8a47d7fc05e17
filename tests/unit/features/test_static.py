"""Files from disk, as nginx 1.22 answers for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.processes import open_descriptors
from tests.unit.features.conftest import MakeSite
from tests.unit.features.local_site import Site, refusal

from portico.config.diagnostics import ConfigError
from portico.features.static.handler import StaticHandler
from portico.features.static.remembered import RememberedFiles
from portico.http.response import FILE

MTIME = 1_000_000_000
DATE = "Sun, 09 Sep 2001 01:46:40 GMT"


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    html = tmp_path / "html"
    (html / "d").mkdir(parents=True)
    (html / "sp ace").mkdir()
    (html / "a.txt").write_bytes(b"0123456789")
    (html / "empty").write_bytes(b"")
    (html / "big.bin").write_bytes(b"x" * 20000)
    for name in ("a.txt", "empty", "big.bin"):
        os.utime(html / name, (MTIME, MTIME))
    os.mkfifo(html / "fifo")
    return html


def open_files() -> int:
    return open_descriptors()


def test_head_of_a_file(make_site: MakeSite) -> None:
    answer = make_site("").ask("/a.txt")
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.fields == [
        ["Content-Type", "text/plain"],
        ["Content-Length", "10"],
        ["Last-Modified", DATE],
        ["ETag", '"3b9aca00-a"'],
        ["Accept-Ranges", "bytes"],
    ]


def test_no_etag(make_site: MakeSite) -> None:
    assert make_site("etag off;").ask("/a.txt").get("etag") is None


@pytest.mark.parametrize("cache", ["", "open_file_cache max=10;"])
@pytest.mark.parametrize(("target", "size"), [("/a.txt", 10), ("/empty", 0), ("/big.bin", 20000)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_sizes(make_site: MakeSite, cache: str, target: str, size: int, method: str) -> None:
    site = make_site(cache)
    site.ask(target)
    before = open_files()
    answer = site.ask(target, method=method)
    assert (answer.status, answer.get("content-length")) == (200, str(size))
    assert len(answer.body) == (size if method == "GET" else 0)
    assert open_files() == before


def test_a_large_file_is_handed_on_open(make_site: MakeSite) -> None:
    assert make_site("").ask("/big.bin").response.body.kind == FILE


@pytest.mark.parametrize("cache", ["", "open_file_cache max=10; open_file_cache_errors on;"])
@pytest.mark.parametrize(
    ("method", "target", "status", "location", "log"),
    [
        ("GET", "/d", 301, "http://example.com:8080/d/", ""),
        ("GET", "/d?x=%20", 301, "http://example.com:8080/d/?x=%20", ""),
        ("GET", "/sp%20ace", 301, "http://example.com:8080/sp%20ace/", ""),
        ("POST", "/d", 301, "http://example.com:8080/d/", ""),
        ("POST", "/a.txt", 405, None, ""),
        ("POST", "/none", 404, None, "failed (2: No such file or directory)"),
        ("PUT", "/a.txt", 405, None, ""),
        ("PUT", "/d/", 405, None, ""),
        ("GET", "/none", 404, None, '[error] {pid}: *1 open() "{html}/none" failed (2: No such file'),
        ("GET", "/a.txt/b", 404, None, 'open() "{html}/a.txt/b" failed (20: Not a directory)'),
        ("GET", "/" + "n" * 300, 404, None, "failed (36: File name too long)"),
        ("GET", "/fifo", 404, None, '"{html}/fifo" is not a regular file'),
        ("GET", "/d/", 403, None, 'directory index of "{html}/d/" is forbidden'),
    ],
)
def test_what_is_not_a_file(
    make_site: MakeSite,
    files: Path,
    cache: str,
    method: str,
    target: str,
    status: int,
    location: str | None,
    log: str,
) -> None:
    site = make_site(cache + "location / { }")
    site.ask(target, method=method)
    before = open_files()
    for _ in range(2):
        answer = site.ask(target, method=method)
        assert answer.status == status
        if location is not None:
            address = site.client.server_addr()[1]
            assert answer.get("location") == location.replace(":8080", f":{address}" if address else "")
    expected = log.format(html=files, pid=f"{os.getpid()}#{os.getpid()}")
    assert expected in site.log()
    assert open_files() == before


def test_log_not_found_off(make_site: MakeSite) -> None:
    site = make_site("log_not_found off;")
    assert site.ask("/none").status == 404
    assert site.ask("/none/").status == 404
    assert site.log() == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(make_site: MakeSite, files: Path) -> None:
    (files / "a.txt").chmod(0)
    assert make_site("").ask("/a.txt").status == 403


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("root html/;", "/a.txt"),
        ("location /x/ { alias @/html/; }", "/x/a.txt"),
        ("location /x { alias @/html; }", "/x/a.txt"),
        ("location = /y { alias @/html/a.txt; }", "/y"),
        ("location ~ ^/u/(.+)$ { alias @/html/$1; }", "/u/a.txt"),
        ("location /x/ { alias @/html/; location /x/a { } }", "/x/a.txt"),
        ("location /x/ { alias @/html/; location ~ txt$ { } }", "/x/a.txt"),
        ("root $arg_r;", "/a.txt?r=html"),
        ("location /x/ { alias $arg_r; }", "/x/a.txt?r=html/"),
    ],
)
def test_root_and_alias(make_site: MakeSite, tmp_path: Path, text: str, target: str) -> None:
    answer = make_site(text.replace("@", str(tmp_path))).ask(target)
    assert (answer.status, answer.body) == (200, b"0123456789")


def test_directory_below_an_alias_keeps_the_uri(make_site: MakeSite) -> None:
    answer = make_site("absolute_redirect off; location /x/ { alias html/; }").ask("/x/d")
    assert (answer.status, answer.get("location")) == (301, "/x/d/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("location / { root a; alias b; }", '"alias" directive is duplicate, "root" directive was specified'),
        ("location / { alias b; root a; }", '"root" directive is duplicate, "alias" directive was specified'),
        ("root /x/$document_root;", 'the $document_root variable cannot be used in the "root" directive'),
        ("location / { alias ${realpath_root}; }", "the $realpath_root variable cannot be used in the"),
        ("location @n { alias /x; }", 'the "alias" directive cannot be used inside the named location'),
        ("alias /x;", '"alias" directive is not allowed here'),
        ("root $nope;", 'unknown "nope" variable'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(text, tmp_path).startswith(message)


def test_types(make_site: MakeSite) -> None:
    site = make_site("types { text/x-y TXT; } default_type a/b;")
    assert site.ask("/a.txt").get("content-type") == "text/x-y"
    assert site.ask("/empty").get("content-type") == "a/b"


def test_a_changed_file_is_seen(make_site: MakeSite, files: Path) -> None:
    site = make_site("")
    assert site.ask("/a.txt").body == b"0123456789"
    (files / "a.txt").write_bytes(b"new")
    answer = site.ask("/a.txt")
    assert answer.body == b"new"
    assert answer.get("etag") != '"3b9aca00-a"'


def remembered_by(site: Site) -> RememberedFiles:
    location = site.plan.servers[0].locations.find(b"/").value
    handler = next(handler for handler in location.handlers if isinstance(handler, StaticHandler))
    assert handler.remembered is not None
    return handler.remembered


def test_a_small_file_is_served_from_memory_as_from_disk(make_site: MakeSite) -> None:
    site = make_site(f"location / {{ root {Path(os.__file__).parent}; }}")  # files that have long settled
    first = site.ask("/this.py")
    assert len(remembered_by(site)) == 1
    again = site.ask("/this.py")
    assert (again.status, again.fields, again.body) == (200, first.fields, first.body)
    assert again.response.finished is not None and first.response.finished is None
    part = site.ask("/this.py", "Range: bytes=1-3\r\n")
    assert (part.status, part.body) == (206, first.body[1:4])
    assert site.ask("/this.py", f"If-None-Match: {first.get('etag')}\r\n").status == 304
    assert site.ask("/this.py", method="HEAD").get("content-length") == first.get("content-length")
    assert site.ask("/this.py", method="POST").status == 405


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("add_header A 1; expires 1h;", True),
        ("etag off; server_tokens off; if_modified_since before;", True),
        ("max_ranges 0;", False),
        ("expires modified 1h;", False),
        ("add_header ETag 1;", False),
    ],
)
def test_the_lines_of_a_file_from_memory(make_site: MakeSite, text: str, finished: bool) -> None:
    """They are made once, where no filter has anything to change in them; with conditions there may be."""
    site = make_site(f"location / {{ root {Path(os.__file__).parent}; {text} }}")
    first, *rest = (site.ask("/this.py", condition) for condition in ("", "", "Range: bytes=x", "If-Match: *", ""))
    assert [answer.response.finished is not None for answer in rest] == [finished, False, False, finished]
    assert rest[0].fields == rest[3].fields and sorted(rest[0].fields) == sorted(first.fields)


def test_a_file_that_two_locations_have(make_site: MakeSite) -> None:
    folder = Path(os.__file__).parent
    site = make_site(f"location /a/ {{ alias {folder}/; }} location /b/ {{ add_header B 1; default_type b/b; alias {folder}/; }}")
    for target in ("/a/this.py", "/b/this.py") * 3:
        answer = site.ask(target)
        assert (answer.get("b"), answer.get("content-type")) == ((None, "text/plain") if target[1] == "a" else ("1", "b/b"))


def test_a_file_by_two_names(make_site: MakeSite) -> None:
    """The type is made of the URI, which need not end as the file does."""
    site = make_site(f"types {{ text/x x; }} location ~ . {{ alias {Path(os.__file__).parent}/this.py; }}")
    for target in ("/a.x", "/a.z") * 3:
        assert site.ask(target).get("content-type") == ("text/x" if target == "/a.x" else "text/plain")


def test_nothing_is_remembered_when_that_is_off(tmp_path: Path) -> None:
    site = Site("location / { }", tmp_path, http="static_memory off;")
    try:
        location = site.plan.servers[0].locations.find(b"/").value
        handlers = [handler for handler in location.handlers if isinstance(handler, StaticHandler)]
        assert [handler.remembered for handler in handlers] == [None]
    finally:
        site.close()


def test_how_much_is_remembered(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"static_memory" directive invalid value'):
        Site("", tmp_path, http="static_memory much;")
