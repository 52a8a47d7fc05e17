"""Compression with real processes: streams, slow levels beside other requests, real clients, the cache of answers."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.system.proxied import End, Proxied, answer, chunked, pattern, running

from portico.features.compression import codings

CODINGS = ("gzip", "br", "zstd")
LINES = b"".join(b"<p>A line of text, number %d, of a page.</p>\n" % number for number in range(3000))
LARGE = LINES * 60  # 8 MB
LETTERS = bytes(random.Random(1).choices(b"01", k=1 << 20)) * 8  # what the libraries brood over longest
HTTP = """
    gzip on; brotli on; zstd on; gzip_vary on;
    gzip_types *; brotli_types *; zstd_types *;
    types { text/html html; text/plain txt; }
    proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_cache_path @folder@/cache keys_zone=one:64k;
    log_format ratio '$request_uri $gzip_ratio $brotli_ratio $zstd_ratio';
"""
SERVER = """
    location /files/ { alias @folder@/; }
    location /hard/ { gzip_comp_level 9; brotli_comp_level 11; zstd_comp_level 19; alias @folder@/; }
    location /kept/ { gzip_comp_level 9; brotli_comp_level 9; zstd_comp_level 12; compression_cache on; alias @folder@/; }
    location /logged/ { access_log @folder@/ratio.log ratio; alias @folder@/; }
    location /quick { gzip off; brotli off; zstd off; return 200 quick; }
"""
LOCATIONS = {
    "stream": "",
    "unbuffered": "proxy_buffering off;",
    "hardstream": "gzip_comp_level 9; brotli_comp_level 11; zstd_comp_level 19;",
    "cached": "proxy_cache one; proxy_cache_valid 1h;",
}
EVENTS = "Content-Type: text/event-stream"


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    files = {"page.html": LINES, "large.html": LARGE, "letters.html": LETTERS, "noise.txt": pattern(1 << 24)}
    with running(Proxied(LOCATIONS, http=HTTP, server=SERVER, files=files)) as made:
        yield made


def decoder(coding: str) -> Callable[[bytes], bytes]:
    """A real decoder, for pieces."""
    if coding == "gzip":
        return zlib.decompressobj(31).decompress
    if coding == "br":
        process: Callable[[bytes], bytes] = codings.brotli_library().Decompressor().process
        return process
    decompress: Callable[[bytes], bytes] = codings.zstd_library().ZstdDecompressor().decompress
    return decompress


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("location", ["stream", "unbuffered", "hardstream"])
def test_an_event_is_not_held_back(proxy: Proxied, coding: str, location: str) -> None:
    """The next event is said only when the client has decoded the one before."""
    decode = decoder(coding)
    with proxy.get(f"/{location}/", f"Accept-Encoding: {coding}") as client:
        upstream = proxy.accept(location)
        upstream.request()
        upstream.send(f"HTTP/1.1 200 OK\r\n{EVENTS}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        head = client.head()
        assert head.get(b"content-encoding") == coding.encode() and head.get(b"transfer-encoding") == b"chunked"
        for number in range(4):
            event = b"data: event number %d\n\n" % number
            upstream.send(chunked(event, last=False))
            said = b""
            while said != event:
                assert event.startswith(said)
                said += decode(chunk(client))
        upstream.send(b"0\r\n\r\n")
        while data := chunk(client):
            assert decode(data) == b""
        upstream.close()


def chunk(client: End) -> bytes:
    """The next chunk's content; b"" for the last one."""
    size = int(client.wire.until(b"\r\n"), 16)
    content = client.exactly(size)
    assert client.exactly(2) == b"\r\n"
    return content


@pytest.mark.parametrize("coding", CODINGS)
@settings(max_examples=12, deadline=None)
@given(
    pieces=st.lists(
        st.one_of(st.binary(min_size=1, max_size=200), st.sampled_from([LINES[:5000], LINES[:70_000], b"a" * 9000])), max_size=10
    ),
    location=st.sampled_from(["stream", "unbuffered", "hardstream"]),
    pauses=st.booleans(),
)
def test_whatever_the_chunks(proxy: Proxied, coding: str, pieces: list[bytes], location: str, pauses: bool) -> None:
    with proxy.get(f"/{location}/", f"Accept-Encoding: {coding}") as client:
        upstream = proxy.accept(location)
        upstream.request()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            upstream.send(chunked(piece, last=False))
            if pauses:
                upstream.taken()
        upstream.send(b"0\r\n\r\n")
        message = client.response()
        assert message.get(b"content-encoding") == coding.encode() and not message.truncated
        assert decoder(coding)(message.body) == b"".join(pieces)
        upstream.close()


@pytest.mark.parametrize("coding", CODINGS)
def test_an_upstream_that_dies_is_not_made_whole(proxy: Proxied, coding: str) -> None:
    with proxy.get("/stream/", f"Accept-Encoding: {coding}") as client:
        upstream = proxy.accept("stream")
        upstream.request()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n" + LINES[:500])
        upstream.close()
        message = client.response()
        assert message.truncated, "without its last chunk"


@pytest.mark.parametrize("coding", CODINGS)
def test_others_do_not_wait(proxy: Proxied, coding: str) -> None:
    """While 8 MB are compressed as hard as can be, one step of which takes up to half a second, other requests are answered."""
    waits: list[float] = []
    with proxy.get("/hard/letters.html", f"Accept-Encoding: {coding}") as client, proxy.client() as other:
        assert client.head().get(b"content-encoding") == coding.encode()
        for _ in range(60):
            started = time.monotonic()
            other.send(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
            assert other.response().body == b"quick"
            waits.append(time.monotonic() - started)
        client.reset()
    waits.sort()
    assert waits[len(waits) // 2] < 0.005, waits


def test_clients_that_leave_in_the_middle(proxy: Proxied) -> None:
    before = proxy.descriptors()
    for coding in CODINGS * 3:
        with proxy.get("/hard/large.html", f"Accept-Encoding: {coding}") as client:
            client.head()
            client.reset()
    with proxy.get("/hardstream/", "Accept-Encoding: br") as client:
        upstream = proxy.accept("hardstream")
        upstream.request()
        upstream.send(answer(LINES, "Content-Type: text/plain", length=10**7))
        client.reset()
    assert upstream.ended()
    upstream.close()
    for _ in range(200):
        if proxy.descriptors() <= before + 1:  # one of asyncio's own
            return
        time.sleep(0.02)
    raise AssertionError(f"{proxy.descriptors()} descriptors, {before} before")


def test_nobody_waits_for_the_work_of_clients_that_left(proxy: Proxied) -> None:
    """Each of them is owed a step of 0.2 s, for which there are two threads."""
    gone = [proxy.get("/hard/letters.html", "Accept-Encoding: br") for _ in range(100)]
    for client in gone:
        client.head()
    for client in gone:
        client.reset()
    assert proxy.fetch("/hard/page.html", "Accept-Encoding: br").status == 200


def test_clients_that_do_not_read(proxy: Proxied) -> None:
    """Nothing is made before there is room for it: 12 answers of 16 MB that cannot be made smaller."""
    (worker,) = proxy.workers()
    before = resident(worker)
    clients = [proxy.get("/files/noise.txt", f"Accept-Encoding: {coding}", receive_buffer=4096) for coding in CODINGS * 4]
    for client in clients:
        client.head()
    for _ in range(20):  # whatever else they are given to do, they do meanwhile
        assert proxy.fetch("/quick").body == b"quick"
    assert resident(worker) - before < 64 << 20
    for client in clients:
        client.reset()


def resident(pid: int) -> int:
    """Bytes of a process's memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_hard_level_is_paid_once(proxy: Proxied, coding: str) -> None:
    first = proxy.fetch("/kept/page.html", f"Accept-Encoding: {coding}")
    assert decoder(coding)(first.body) == LINES
    second = proxy.fetch("/kept/page.html", f"Accept-Encoding: {coding}")
    assert second.body == first.body and second.get(b"content-length") == b"%d" % len(first.body)
    head = proxy.fetch("/kept/page.html", f"Accept-Encoding: {coding}", method="HEAD")
    assert head.get(b"content-length") == b"%d" % len(first.body)


def test_cached_answers_are_compressed_for_who_takes_it(proxy: Proxied) -> None:
    """The cache holds what the upstream said; each client has its own form of it."""
    with proxy.get("/cached/a") as client:
        upstream = proxy.accept("cached")
        upstream.request()
        upstream.send(answer(LINES, "Content-Type: text/html", 'ETag: "one"', "Accept-Ranges: bytes"))
        assert client.response().body == LINES
        upstream.close()
    for coding in CODINGS:
        message = proxy.fetch("/cached/a", f"Accept-Encoding: {coding}")
        assert decoder(coding)(message.body) == LINES and message.get(b"etag") == b'W/"one"'
    assert proxy.fetch("/cached/a").body == LINES
    assert proxy.fetch("/cached/a", "Range: bytes=0-9").body == LINES[:10]
    again = proxy.fetch("/cached/a", "Accept-Encoding: gzip", 'If-None-Match: W/"one"')
    assert (again.status, again.get(b"etag"), again.get(b"vary")) == (304, b'W/"one"', b"Accept-Encoding")
    assert proxy.upstream("cached").accepted == 1


@pytest.mark.parametrize("coding", CODINGS)
def test_ratios_are_logged(proxy: Proxied, coding: str) -> None:
    message = proxy.fetch(f"/logged/page.html?{coding}", f"Accept-Encoding: {coding}")
    ratio = f"{len(LINES) / len(message.body):.2f}"
    ratios = [ratio if name == coding else "-" for name in CODINGS]
    log = proxy.folder / "ratio.log"
    line = f"/logged/page.html?{coding} {' '.join(ratios)}"
    deadline = time.monotonic() + 5
    while line not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert line in log.read_text()


# -- real clients


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("path", ["files/page.html", "files/large.html", "kept/page.html"])
def test_curl(proxy: Proxied, coding: str, path: str, tmp_path: Path) -> None:
    features = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    word = {"gzip": "libz", "br": "brotli", "zstd": "zstd"}[coding]
    if word not in features:
        pytest.skip(f"this curl does not know {coding}")
    got = tmp_path / "got"
    fields = tmp_path / "fields"
    url = f"http://127.0.0.1:{proxy.port}/{path}"
    argv = ["curl", "-sS", "--compressed", "-H", f"Accept-Encoding: {coding}", "-o", str(got), "-D", str(fields), url]
    subprocess.run(argv, check=True, timeout=30)
    assert got.read_bytes() == (proxy.folder / path.split("/")[1]).read_bytes()
    assert f"content-encoding: {coding}\n" in fields.read_text().lower()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium here")
def test_chromium(proxy: Proxied, tmp_path: Path) -> None:
    """A browser, which decides for itself what it takes: br or gzip without TLS."""
    argv = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        f"--user-data-dir={tmp_path}", "--virtual-time-budget=2000", "--dump-dom", f"http://127.0.0.1:{proxy.port}/logged/page.html?chromium",
    ]  # fmt: skip
    seen = subprocess.run(argv, capture_output=True, timeout=50)
    assert LINES.decode().strip() in seen.stdout.decode(), seen.stderr.decode()[-2000:]
    line = next(line for line in (proxy.folder / "ratio.log").read_text().splitlines() if "?chromium" in line)
    assert line.split()[1:].count("-") == 2, "by one of the codings"
