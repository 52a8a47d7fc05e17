"""`slice` and `proxy_store` with a real origin of ranges: any part of a file is that part, and what fails is told."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parity.wire import Message
from tests.processes import wait_until
from tests.system.proxied import End, Proxied, answer, pattern, running

SIZE = 1_000_000
PART = 65536
HTTP = """
    proxy_cache_path @folder@/cache keys_zone=one:1m use_temp_path=off;
    add_header X-Cache $upstream_cache_status;
"""
SLICED = "slice 64k; proxy_set_header Range $slice_range; proxy_cache_key $uri$slice_range; proxy_cache_valid 200 206 1h;"
LOCATIONS = {
    "plain": f"{SLICED} proxy_cache off;",
    "kept": f"{SLICED} proxy_cache one; proxy_cache_lock on;",
    "letter": f"{SLICED} proxy_cache one; proxy_cache_rfc on;",
    "changing": f"{SLICED} proxy_cache one;",
    "named": "proxy_store @folder@/named/$arg_name; proxy_pass http://@stored@;",
    "stored": "root @folder@/files; proxy_store on;",
    "far": "proxy_store /dev/shm@folder@/$arg_name; proxy_store_access group:rw; proxy_pass http://@stored@;",
}


class RangeOrigin:
    """A file that answers ranges; `version` is its entity tag."""

    def __init__(self) -> None:
        self.version = 1
        self.asked: list[str] = []
        self.changes_after = 0  # requests

    def say(self, end: End, request: Message) -> None:
        text = (request.get(b"range") or b"").decode()
        self.asked.append(text)
        if self.changes_after and len(self.asked) > self.changes_after:
            self.version = 2
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", text)
        tag = f'ETag: "{self.version}"'
        if found is None:
            end.send(answer(pattern(SIZE), tag))
            return
        first, last = int(found[1]), min(int(found[2]), SIZE - 1)
        if first >= SIZE:
            end.send(answer(b"", f"Content-Range: bytes */{SIZE}", status="416 No"))
            return
        body = pattern(SIZE)[first : last + 1]
        end.send(answer(body, f"Content-Range: bytes {first}-{last}/{SIZE}", tag, status="206 Partial Content"))


@dataclass
class Ground:
    proxy: Proxied
    origins: dict[str, RangeOrigin]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with running(Proxied(LOCATIONS, http=HTTP)) as proxy:
        origins = {name: RangeOrigin() for name in LOCATIONS if name not in ("stored", "named", "far")}
        for name, origin in origins.items():
            proxy.upstream(name).serve(origin.say)
        yield Ground(proxy, origins)


def test_any_part_is_that_part(ground: Ground) -> None:
    proxy = ground.proxy
    whole = pattern(SIZE)
    dice = random.Random(7)
    for name in ("plain", "kept", "letter"):
        made = ground.origins[name]
        assert proxy.fetch(f"/{name}/a").body == whole
        assert len(made.asked) == 16
        for _ in range(12):
            first = dice.randrange(SIZE)
            last = min(SIZE - 1, first + dice.choice((0, 10, PART, 3 * PART)))
            message = proxy.fetch(f"/{name}/a", f"Range: bytes={first}-{last}")
            assert message.status == 206 and message.body == whole[first : last + 1]
            assert message.get(b"content-range") == b"bytes %d-%d/%d" % (first, last, SIZE)
        for count in (1, PART, SIZE - 5, SIZE + 5):
            assert proxy.fetch(f"/{name}/a", f"Range: bytes=-{count}").body == whole[-count:]
        assert proxy.fetch(f"/{name}/a", f"Range: bytes={SIZE}-").status == 416
        if name != "plain":
            assert len(made.asked) in (16, 17)  # … and the part beyond the end


def test_only_what_is_wanted_is_asked_for(ground: Ground) -> None:
    proxy = ground.proxy
    made = ground.origins["changing"]
    assert (
        proxy.fetch("/changing/few", f"Range: bytes={3 * PART + 5}-{3 * PART + 9}").body
        == pattern(SIZE)[3 * PART + 5 : 3 * PART + 10]
    )
    assert made.asked == [f"bytes={3 * PART}-{4 * PART - 1}"]
    made.asked.clear()
    assert proxy.fetch("/changing/end", "Range: bytes=-1").body == pattern(SIZE)[-1:]
    assert made.asked == [f"bytes=0-{PART - 1}", f"bytes={15 * PART}-{16 * PART - 1}"]
    made.asked.clear()
    made.changes_after = 3
    with proxy.get("/changing/mixed") as client:
        message = client.response()
    assert message.truncated and message.body == pattern(SIZE)[: 3 * PART]
    proxy.await_log("etag mismatch in slice response")


def test_a_client_that_leaves(ground: Ground) -> None:
    """No further part is asked for, and nothing is left open."""
    proxy = ground.proxy
    made = ground.origins["kept"]
    made.asked.clear()
    before = proxy.descriptors()
    for number in range(5):
        with proxy.get(f"/kept/left{number}", receive_buffer=4096) as client:
            client.head()
    wait_until(lambda: proxy.descriptors() <= before + 8, what="files and connections closed")
    assert len(made.asked) < 5 * 16
    assert proxy.fetch("/kept/left0").body == pattern(SIZE)


def test_store(ground: Ground) -> None:
    proxy = ground.proxy

    def say(end: End, request: Message) -> None:
        if request.start.find(b"cut") >= 0:
            end.send(answer(b"half", length=100))
            end.half_close()
        else:
            end.send(answer(pattern(200_000), "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"))

    proxy.upstream("stored").serve(say)
    folder = proxy.folder / "files" / "stored"
    assert proxy.fetch("/stored/whole").body == pattern(200_000)
    assert (folder / "whole").read_bytes() == pattern(200_000)
    with proxy.get("/stored/cut") as client:
        assert client.response().truncated
    with proxy.get("/stored/left", receive_buffer=4096) as client:
        client.head()
    wait_until((folder / "left").exists, what="the rest, which is read on")
    assert (folder / "left").read_bytes() == pattern(200_000)
    assert not (folder / "cut").exists() and not any(path.name.startswith("store.") for path in (proxy.folder / "proxy").iterdir())
    for name, created in (("../outside", False), ("inside..", True)):
        assert proxy.fetch(f"/named/?name={name}").body == pattern(200_000)
        assert (proxy.folder / "named" / name).exists() == created
    proxy.await_log("leads out of the path in proxy_store")
    (folder / "file").mkdir()
    assert proxy.fetch("/stored/file").body == pattern(200_000)
    proxy.await_log("a response cannot be stored as")
    far = Path(f"/dev/shm{proxy.folder}")  # another file system
    try:
        for path in (folder / "whole", far / "inner" / "a", far / "inner" / "a"):  # the last one takes the place of the one before
            if path.exists():
                path.write_bytes(b"old")
            target = "/stored/whole" if path.name == "whole" else "/far/?name=inner/a"
            assert proxy.fetch(target).body == pattern(200_000)
            wait_until(lambda: path.exists() and path.read_bytes() == pattern(200_000), what="the file")  # noqa: B023
            status = path.stat()
            assert status.st_mtime == 784111777 and status.st_mode & 0o777 == (0o600 if path.name == "whole" else 0o660)
            assert [name for name in os.listdir(path.parent) if name.startswith("store.")] == []
        assert [name for name in os.listdir(proxy.folder / "proxy") if name.startswith("store.")] == []
    finally:
        shutil.rmtree(far, ignore_errors=True)
        with contextlib.suppress(OSError):  # another test may have its folder there
            far.parent.rmdir()
