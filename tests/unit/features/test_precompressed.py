"""Which of several compressed files a client gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import open_descriptors
from tests.unit.features.local_site import FEATURES, Answer, Site

from portico.features.compression import feature as compression
from portico.features.static import feature as static
from portico.http.feature import Feature

ALL: tuple[Feature, ...] = (
    *FEATURES,
    compression.GZIP,
    compression.FEATURE,
    static.GZIP_STATIC_FEATURE,
    static.BROTLI_STATIC_FEATURE,
    static.ZSTD_STATIC_FEATURE,
)
THREE = "gzip_static on; brotli_static on; zstd_static on;"
EVERY = "Accept-Encoding: gzip, br, zstd"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    html = made / "html"
    html.mkdir()
    names = "a.html a.html.gz a.html.br a.html.zst g.html g.html.gz b.html.br p.html loop.html pipe.html"
    for name in names.split():
        (html / name).write_text(name)
    (html / "big.html.br").write_bytes(b"x" * 20_000)
    (html / "loop.html.gz").symlink_to("loop.html.gz")
    os.mkfifo(html / "pipe.html.gz")
    return made


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Site]:
    locations = {
        "three": THREE,
        "order": f"compression_order gzip br; {THREE}",
        "always": "gzip_static on; brotli_static on; zstd_static always;",
        "allgzip": "gzip_static always; brotli_static on; gzip_vary on;",
        "vary": f"gzip_vary on; {THREE}",
        "off": "",
        "kept": f"open_file_cache max=100; {THREE}",
        "etag": f"etag off; {THREE}",
    }
    made = Site("".join(f"location /{name}/ {{ {text} alias html/; }}" for name, text in locations.items()), folder, ALL)
    yield made
    made.close()


def served(answer: Answer) -> tuple[int, str, str | None]:
    return answer.status, answer.body.decode(), answer.get("Content-Encoding")


@pytest.mark.parametrize(
    ("target", "accept", "name"),
    [
        ("/three/a.html", EVERY, "a.html.zst"),
        ("/three/a.html", "Accept-Encoding: gzip, br", "a.html.br"),
        ("/three/a.html", "Accept-Encoding: gzip;q=0.9, br;q=0.8, zstd;q=0.1", "a.html.gz"),
        ("/three/a.html", "Accept-Encoding: gzip;q=0.5, br;q=0.8, zstd;q=0", "a.html.br"),
        ("/three/a.html", "Accept-Encoding: *", "a.html.zst"),
        ("/three/a.html", "Accept-Encoding: *, zstd;q=0", "a.html.br"),
        ("/three/a.html", "Accept-Encoding: gzip;q=0.5, identity", "a.html"),
        ("/three/a.html", "Accept-Encoding: deflate", "a.html"),
        ("/three/a.html", "", "a.html"),
        ("/three/g.html", EVERY, "g.html.gz"),
        ("/three/b.html", EVERY, "b.html.br"),
        ("/three/p.html", EVERY, "p.html"),
        ("/three/loop.html", EVERY, "loop.html"),
        ("/order/a.html", EVERY, "a.html.gz"),
        ("/order/a.html", "Accept-Encoding: gzip;q=0.5, br", "a.html.br"),
        ("/order/b.html", EVERY, "b.html.br"),
        ("/always/a.html", "", "a.html.zst"),
        ("/always/a.html", "Accept-Encoding: gzip", "a.html.gz"),
        ("/always/a.html", "Accept-Encoding: zstd;q=0", "a.html.zst"),
        ("/always/g.html", "", "g.html"),
        ("/allgzip/a.html", "", "a.html.gz"),
        ("/allgzip/a.html", "Accept-Encoding: br", "a.html.br"),
        ("/off/a.html", EVERY, "a.html"),
        ("/kept/a.html", EVERY, "a.html.zst"),
    ],
)
def test_choice(site: Site, target: str, accept: str, name: str) -> None:
    coding = {"gz": "gzip", "br": "br", "zst": "zstd"}.get(name.rpartition(".")[2])
    for _ in range(2):
        assert served(site.ask(target, accept)) == (200, name, coding)
    head = site.ask(target, accept, method="HEAD")
    assert (head.get("Content-Length"), head.get("Content-Encoding"), head.body) == (str(len(name)), coding, b"")


@pytest.mark.parametrize(
    ("target", "accept", "vary"),
    [
        ("/vary/a.html", "", "Accept-Encoding"),
        ("/vary/a.html", EVERY, "Accept-Encoding"),
        ("/vary/g.html", "Accept-Encoding: br", "Accept-Encoding"),
        ("/vary/b.html", "Accept-Encoding: gzip", "Accept-Encoding"),  # 404: for others there is one
        ("/vary/p.html", EVERY, None),
        ("/three/a.html", EVERY, None),
        ("/allgzip/a.html", "", "Accept-Encoding"),  # who takes br gets that
        ("/allgzip/g.html", "", None),
    ],
)
def test_vary(site: Site, target: str, accept: str, vary: str | None) -> None:
    answer = site.ask(target, accept)
    assert answer.all("Vary") == ([] if vary is None else [vary])
    assert site.ask(target, accept, method="HEAD").get("Vary") == vary


def test_what_is_there_decides(site: Site) -> None:
    assert site.ask("/three/pipe.html", EVERY).status == 404
    assert 'pipe.html.gz" is not a regular file' in site.log()
    assert site.ask("/three/pipe.html").status == 200
    assert site.ask("/three/loop.html", EVERY).status == 200
    assert 'loop.html.gz" failed (40: ' in site.log()
    assert site.ask("/three/none.html", EVERY).status == 404


def test_tags_are_those_of_the_file(site: Site, folder: Path) -> None:
    status = (folder / "html/a.html.zst").stat()
    tag = f'"{int(status.st_mtime):x}-{status.st_size:x}"'
    assert site.ask("/three/a.html", EVERY).get("ETag") == tag
    assert site.ask("/three/a.html", f"{EVERY}\nIf-None-Match: {tag}").status == 304
    assert site.ask("/three/a.html", f"If-None-Match: {tag}").status == 200
    assert site.ask("/etag/a.html", EVERY).get("ETag") is None


def test_no_part_of_it(site: Site) -> None:
    answer = site.ask("/three/a.html", f"{EVERY}\nRange: bytes=0-1")
    assert (answer.status, answer.get("Accept-Ranges")) == (200, None)


def test_the_first_that_is_there_is_the_only_one_looked_for(folder: Path) -> None:
    site = Site(f"open_file_cache max=100; open_file_cache_errors on; {THREE}", folder, ALL)
    try:
        handler = site.plan.servers[0].fallback.handlers[-1]
        cache = handler.plain.cache  # type: ignore[attr-defined]
        site.ask("/a.html", EVERY)
        assert len(cache) == 1
        site.ask("/a.html")
        assert len(cache) == 2
        site.ask("/g.html", EVERY)
        assert len(cache) == 5
    finally:
        cache.clear()
        site.close()


@pytest.mark.parametrize("target", ["/three/big.html", "/kept/big.html"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_descriptors_are_given_back(site: Site, target: str, method: str) -> None:
    site.ask(target, EVERY)
    before = open_descriptors()
    assert len(site.ask(target, EVERY, method=method).body) == (20_000 if method == "GET" else 0)
    assert open_descriptors() == before
