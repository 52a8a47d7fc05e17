"""Which coding an answer gets, what its head says, what is kept; libraries that are not there."""

from __future__ import annotations

import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.processes import wait_until
from tests.unit.features.local_site import FEATURES, Answer, Site

from portico.codec.accept_encoding import BROTLI, GZIP, ZSTD
from portico.config.diagnostics import ConfigError
from portico.features.compression import codings
from portico.features.compression import feature as compression
from portico.http.request import Request
from portico.http.response import MANY_RANGES

ALL = (*FEATURES, compression.GZIP, compression.BROTLI, compression.ZSTD, compression.FEATURE)
PAGE = b"".join(b"<p>A line of text, number %d.</p>\n" % number for number in range(200))
THREE = (
    "gzip on; brotli on; brotli_comp_level 3; zstd on; gzip_vary on; "
    "types { text/html html; text/css css; text/plain txt; image/png png; }"
)
BROWSER = "Accept-Encoding: gzip, deflate, br, zstd"
MakeSite = Callable[..., Site]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSite]:
    """A site whose root has one text under several names."""
    (tmp_path / "html").mkdir()
    for name in ("page.html", "style.css", "note.txt", "picture.png"):
        (tmp_path / "html" / name).write_bytes(PAGE)
    (tmp_path / "html" / "large.html").write_bytes(PAGE * 30)
    (tmp_path / "html" / "small.html").write_bytes(PAGE[:19])
    made: list[Site] = []

    def site(text: str) -> Site:
        made.append(Site(f"root html; {text}", tmp_path, ALL))
        return made[-1]

    yield site
    for one in made:
        one.close()


def decoded(answer: Answer) -> bytes:
    coding = answer.get("content-encoding")
    if coding == "gzip":
        return zlib.decompress(answer.body, 31)
    if coding == "br":
        return bytes(codings.brotli_library().decompress(answer.body))
    if coding == "zstd":
        return bytes(codings.zstd_library().decompress(answer.body))
    return answer.body


@pytest.mark.parametrize(
    ("accept", "order", "coding"),
    [
        ("gzip, deflate, br, zstd", "", "zstd"),
        ("gzip, deflate, br", "", "br"),
        ("gzip, deflate", "", "gzip"),
        ("gzip, deflate, br, zstd", "compression_order gzip br zstd;", "gzip"),
        ("gzip, deflate, br, zstd", "compression_order br;", "br"),
        ("gzip, zstd", "compression_order br;", "zstd"),  # codings that are not named follow
        ("gzip;q=1, br;q=0.9, zstd;q=0.8", "", "gzip"),  # the client's weights go first
        ("zstd;q=0, *", "", "br"),
        ("*;q=0.1", "", "zstd"),
        ("identity;q=0, gzip;q=0.1", "", "gzip"),
        ("identity, br;q=0.5", "", None),
        ("deflate", "", None),
        ("", "", None),
    ],
)
def test_negotiation(make: MakeSite, accept: str, order: str, coding: str | None) -> None:
    answer = make(THREE + order).ask("/page.html", f"Accept-Encoding: {accept}")
    assert answer.get("content-encoding") == coding
    assert decoded(answer) == PAGE
    assert answer.all("vary") == ["Accept-Encoding"], "whatever this client got, another may get something else"
    if coding is not None:
        assert answer.response.etag.startswith(b'W/"')
        assert answer.get("content-length") is None and answer.get("accept-ranges") is None


def test_each_coding_has_its_own_types_and_lengths(make: MakeSite) -> None:
    site = make(THREE + "brotli_types text/css; zstd_min_length 50000; brotli_min_length 100000; gzip_types text/plain;")
    assert site.ask("/style.css", BROWSER).get("content-encoding") is None  # br alone, and too short for it
    assert site.ask("/page.html", BROWSER).get("content-encoding") == "gzip"
    assert site.ask("/large.html", BROWSER).get("content-encoding") == "zstd"
    assert site.ask("/note.txt", BROWSER).get("content-encoding") == "gzip"
    assert site.ask("/picture.png", BROWSER).all("vary") == []
    assert site.ask("/small.html", BROWSER).all("vary") == []


def test_what_excludes_gzip_excludes_no_other(make: MakeSite) -> None:
    """As in nginx, whose modules for the others do not ask ngx_http_gzip_ok."""
    site = make(THREE + 'compression_order gzip; gzip_disable "Robot";')
    assert site.ask("/page.html", f"{BROWSER}\nUser-Agent: robot").get("content-encoding") == "zstd"
    assert site.ask("/page.html", f"{BROWSER}\nVia: 1.1 proxy").get("content-encoding") == "zstd"
    assert site.ask("/page.html", "Accept-Encoding: gzip\nVia: 1.1 proxy").get("content-encoding") is None
    assert site.ask("/page.html", BROWSER).get("content-encoding") == "gzip"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_head_is_answered_as_get(make: MakeSite, coding: str) -> None:
    site = make(THREE + "add_header X-Some thing;")
    head, get = (site.ask("/page.html", f"Accept-Encoding: {coding}", method) for method in ("HEAD", "GET"))
    assert head.fields == get.fields and head.body == b""


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_the_weak_tag_is_recognised(make: MakeSite, coding: str) -> None:
    site = make(THREE)
    accept = f"Accept-Encoding: {coding}"
    tag = site.ask("/page.html", accept).get("etag")
    assert tag is not None and tag.startswith("W/")
    answer = site.ask("/page.html", f"{accept}\nIf-None-Match: {tag}")
    assert (answer.status, answer.get("etag"), answer.all("vary")) == (304, tag, ["Accept-Encoding"])
    assert answer.get("content-encoding") is None and answer.get("content-type") is None
    assert site.ask("/page.html", f"If-None-Match: {tag}").get("etag") == tag[2:], "whoever gets it plain has the strong one"


@pytest.mark.parametrize("field", ["public, no-transform", "No-Transform"])
def test_no_transform(make: MakeSite, field: str) -> None:
    answer = make(f'{THREE} add_header Cache-Control "{field}";').ask("/page.html", BROWSER)
    assert answer.body == PAGE and answer.all("vary") == [] and answer.response.ranges == MANY_RANGES


def test_ratio(make: MakeSite) -> None:
    site = make(THREE)
    names = {GZIP: "gzip_ratio", BROTLI: "brotli_ratio", ZSTD: "zstd_ratio"}
    for path in ("/page.html", "/large.html"):
        for coding, name in names.items():
            answer = site.ask(path, f"Accept-Encoding: {coding.decode()}")
            said = variable(site, name, answer.request)
            assert said == b"%.2f" % (int(1000 * len(decoded(answer)) / len(answer.body)) / 1000 + 1e-9)
            assert all(variable(site, other, answer.request) is None for key, other in names.items() if key != coding)
        assert variable(site, "gzip_ratio", site.ask(path).request) is None


def variable(site: Site, name: str, request: Request) -> bytes | None:
    found = site.plan.build.variables.find(name)
    assert found is not None
    return found.get(request)


# -- compression_cache


def settled(site: Site, path: Path) -> None:
    """Wait until the file's last change is long enough ago."""
    wait_until(lambda: time.time() - os.stat(path).st_ctime > 0.15, 5, "the file is at rest")
    site.reactor.now = time.monotonic()


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("name", ["page.html", "large.html"])
@pytest.mark.parametrize("files", ["", "open_file_cache max=10; open_file_cache_valid 0;"])
def test_a_file_is_compressed_once(make: MakeSite, tmp_path: Path, coding: str, name: str, files: str) -> None:
    site = make(f"{THREE} {files} compression_cache on;")
    accept = f"Accept-Encoding: {coding}"
    path = tmp_path / "html" / name
    settled(site, path)
    first, second, head = (site.ask(f"/{name}", accept, method) for method in ("GET", "GET", "HEAD"))
    assert decoded(first) == path.read_bytes() and second.body == first.body
    assert second.get("content-length") == head.get("content-length") == str(len(first.body))
    assert second.get("content-encoding") == coding and second.get("accept-ranges") is None
    assert variable(site, f"{'brotli' if coding == 'br' else coding}_ratio", second.request) is not None
    plain = site.ask(f"/{name}")
    assert plain.body == path.read_bytes() and plain.get("content-encoding") is None

    path.write_bytes(path.read_bytes().replace(b"line", b"LINE"))  # of the same size
    settled(site, path)
    assert decoded(site.ask(f"/{name}", accept)) == path.read_bytes()
    assert decoded(site.ask(f"/{name}", accept)) == path.read_bytes()


def test_times_that_are_put_back_deceive_nobody(make: MakeSite, tmp_path: Path) -> None:
    site = make(THREE + "compression_cache on;")
    path = tmp_path / "html" / "page.html"
    settled(site, path)
    before = os.stat(path)
    assert decoded(site.ask("/page.html", BROWSER)) == PAGE
    path.write_bytes(PAGE.upper())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    settled(site, path)
    assert decoded(site.ask("/page.html", BROWSER)) == PAGE.upper()


def test_what_changed_just_now_is_not_kept(make: MakeSite, tmp_path: Path) -> None:
    site = make(THREE + "compression_cache on;")
    path = tmp_path / "html" / "page.html"
    for text in (PAGE.upper(), PAGE.swapcase(), PAGE):  # as fast as can be: the file system's clock may stand still
        path.write_bytes(text)
        site.reactor.now = time.monotonic()
        assert decoded(site.ask("/page.html", BROWSER)) == text


def test_codings_and_levels_are_kept_apart(make: MakeSite, tmp_path: Path) -> None:
    site = make(THREE + "compression_cache 1m; location /five/ { gzip_comp_level 5; alias html/; }")
    settled(site, tmp_path / "html" / "page.html")
    bodies = {
        site.ask(path, f"Accept-Encoding: {coding}").body
        for path, coding in (("/page.html", "gzip"), ("/five/page.html", "gzip"), ("/page.html", "br"), ("/page.html", "zstd"))
        for _ in range(2)
    }
    assert len(bodies) == 4


def test_a_kept_form_is_sent_under_its_condition_only(make: MakeSite, tmp_path: Path) -> None:
    site = make(THREE + "compression_cache on; gzip_disable Robot; error_page 404 /page.html;")
    settled(site, tmp_path / "html" / "page.html")
    for _ in range(2):
        assert decoded(site.ask("/page.html", "Accept-Encoding: gzip")) == PAGE
        assert site.ask("/page.html", "Accept-Encoding: gzip\nUser-Agent: robot").body == PAGE
        assert site.ask("/page.html", "Accept-Encoding: gzip\nRange: bytes=0-3").status == 200
        assert site.ask("/page.html", "Range: bytes=0-3").body == PAGE[:4]
        missing = site.ask("/none.html", "Accept-Encoding: gzip")
        assert missing.status == 404 and decoded(missing) == PAGE


# -- what a configuration may say


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gzip_comp_level 0;", '"gzip_comp_level" directive value must be equal to or greater than 1'),
        ("gzip_comp_level 10;", '"gzip_comp_level" directive value must be equal to or less than 9'),
        ("gzip_comp_level x;", '"gzip_comp_level" directive invalid number'),
        ("brotli_comp_level 12;", '"brotli_comp_level" directive value must be equal to or less than 11'),
        ("zstd_comp_level 23;", '"zstd_comp_level" directive value must be equal to or less than 22'),
        ("brotli_window 3k;", 'invalid value "3k"'),
        ("compression_order gzip deflate;", 'unknown content coding "deflate"'),
        ("compression_order gzip gzip;", 'duplicate content coding "gzip"'),
        ("compression_cache maybe;", '"compression_cache" directive invalid value'),
        ("compression_cache 0;", '"compression_cache" directive invalid value'),
        ("gzip_proxied sometimes;", 'invalid value "sometimes"'),
        ("gzip_http_version 2;", 'invalid value "2"'),
        ('gzip_disable "(";', 'regex "(" cannot be used'),
    ],
)
def test_refused(make: MakeSite, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make(text)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("directive", "modules", "package"),
    [("brotli", ("brotli",), "brotli"), ("zstd", ("compression.zstd", "backports.zstd"), "backports.zstd")],
)
def test_a_library_that_is_not_there(
    make: MakeSite, monkeypatch: pytest.MonkeyPatch, directive: str, modules: tuple[str, ...], package: str
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as refused:
        make(f"{directive} on;")
    assert refused.value.message == f'"{directive}" needs the Python package {package}, which is not there'
    assert refused.value.where is not None and refused.value.hint == f"pip install {package}"
    assert make(f"gzip on; {directive} off;").ask("/page.html", BROWSER).get("content-encoding") == "gzip"


def test_gzip_without_isal(make: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    answer = make("gzip on;").ask("/page.html", BROWSER)
    assert decoded(answer) == PAGE
    stream = zlib.compressobj(1, zlib.DEFLATED, 31 - 2, 8 - 2)
    assert answer.body == stream.compress(PAGE) + stream.flush(), "zlib's own, with the window of so short a text"
