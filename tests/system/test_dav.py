"""`dav_methods` and the file system: what is seen of a file that comes, links, rights, and what is left behind."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import wait_until
from tests.system.proxied import Proxied, running

SERVER = """
    root @folder@/files;
    dav_methods PUT DELETE MKCOL COPY MOVE;
    location /open/ { dav_access group:rw all:r; create_full_put_path on; }
    location /mirrored/ { mirror /gone; create_full_put_path on; }
    location = /gone { return 204; }
    location /far/ { alias /dev/shm@folder@/; create_full_put_path on; }
    location /private/ { deny all; }
    location ~ ^/nested/ { if ($arg_x) { set $y 1; } create_full_put_path on; dav_access all:rw; }
"""


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    made = Proxied({}, server=SERVER)
    (made.folder / "files").mkdir()
    (made.folder / "outside").mkdir()
    (made.folder / "outside" / "kept").write_text("kept")
    with running(made):
        yield made


@pytest.fixture
def files(proxy: Proxied) -> Path:
    return proxy.folder / "files"


def _status(proxy: Proxied, method: str, target: str, *fields: str, body: bytes = b"") -> int:
    return proxy.fetch(target, *fields, method=method, body=body).status


def _drafts(proxy: Proxied) -> list[str]:
    return os.listdir(proxy.folder / "body")


def test_a_file_is_seen_when_it_is_complete(proxy: Proxied, files: Path) -> None:
    (files / "page").write_text("old")
    client = proxy.client()
    client.send(b"PUT /page HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    assert client.taken()
    assert (files / "page").read_text() == "old"
    client.send(b"67890")
    assert client.response(b"PUT").status == 204
    assert (files / "page").read_text() == "1234567890"
    assert _drafts(proxy) == []


def test_a_client_that_leaves_changes_nothing(proxy: Proxied, files: Path) -> None:
    (files / "page").write_text("old")
    before = sorted(os.listdir(files))
    client = proxy.client()
    client.send(b"PUT /page HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
    assert client.taken()
    client.close()
    proxy.await_access("/page ")
    assert (files / "page").read_text() == "old"
    assert sorted(os.listdir(files)) == before
    wait_until(lambda: _drafts(proxy) == [], what="the draft is gone")


def test_a_body_in_broken_chunks_changes_nothing(proxy: Proxied, files: Path) -> None:
    client = proxy.client()
    client.send(b"PUT /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
    assert client.response(b"PUT").status == 400
    assert not (files / "chunked").exists()


def test_a_client_that_expects_100_gets_it_before_it_sends(proxy: Proxied, files: Path) -> None:
    client = proxy.client()
    client.send(b"PUT /expected HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert client.wire.head() is not None
    client.send(b"ok")
    assert client.response(b"PUT").status == 201
    assert (files / "expected").read_text() == "ok"


def test_a_refused_client_sends_nothing(proxy: Proxied) -> None:
    client = proxy.client()
    client.send(b"PUT /refused/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert client.response(b"PUT").status == 409


def test_rights_and_time(proxy: Proxied, files: Path) -> None:
    assert _status(proxy, "PUT", "/open/new/file", "Date: Thu, 01 Jan 2026 00:00:00 GMT", body=b"1") == 201
    assert stat.S_IMODE((files / "open/new/file").stat().st_mode) == 0o664
    assert stat.S_IMODE((files / "open/new").stat().st_mode) == 0o775
    assert (files / "open/new/file").stat().st_mtime == 1767225600
    assert _status(proxy, "MKCOL", "/open/dir/") == 201
    assert stat.S_IMODE((files / "open/dir").stat().st_mode) == 0o775
    assert _status(proxy, "PUT", "/plain", body=b"1") == 201
    assert stat.S_IMODE((files / "plain").stat().st_mode) == 0o600


def test_a_copy_has_the_rights_and_the_time_of_the_file(proxy: Proxied, files: Path) -> None:
    (files / "script").write_text("#!")
    (files / "script").chmod(0o755)
    os.utime(files / "script", (1000, 1000))
    assert _status(proxy, "COPY", "/script", "Destination: /script2") == 204
    copied = (files / "script2").stat()
    assert (stat.S_IMODE(copied.st_mode), copied.st_mtime) == (0o755, 1000)


def test_a_body_that_was_read_before_is_put_too(proxy: Proxied, files: Path) -> None:
    large = b"x" * 100_000
    assert _status(proxy, "PUT", "/mirrored/small", body=b"1") == 201
    assert _status(proxy, "PUT", "/mirrored/large", body=large) == 201
    assert (files / "mirrored/small").read_bytes() == b"1"
    assert (files / "mirrored/large").read_bytes() == large


def test_another_file_system(proxy: Proxied) -> None:
    far = Path(f"/dev/shm{proxy.folder}")
    assert _status(proxy, "PUT", "/far/x/file", body=b"far") == 201
    assert (far / "x/file").read_text() == "far"
    assert os.listdir(far / "x") == ["file"]
    assert _status(proxy, "DELETE", "/far/x/") == 204
    assert os.listdir(far) == []


def test_an_if_in_the_location_is_the_location(proxy: Proxied, files: Path) -> None:
    assert _status(proxy, "PUT", "/nested/a", body=b"1") == 201
    assert _status(proxy, "COPY", "/nested/a?x=1", "Destination: /nested/b") == 204
    assert (files / "nested/b").read_text() == "1"


@pytest.mark.parametrize("method", ["COPY", "MOVE"])
def test_the_rules_of_another_location_cannot_be_walked_around(proxy: Proxied, files: Path, method: str) -> None:
    (files / "private").mkdir(exist_ok=True)
    (files / "private/x").write_text("private")
    (files / "mine").write_text("mine")
    for target in ("/private/x", "/private/../private/x", "//private/x", "/%70rivate/x", "/./private/x", "http://127.0.0.1/private/x"):
        assert _status(proxy, method, "/mine", f"Destination: {target}", "Host: 127.0.0.1") in (400, 403), target
    assert (files / "private/x").read_text() == "private"
    assert (files / "mine").read_text() == "mine"


# -- links


def test_put_replaces_a_link_and_not_what_it_shows(proxy: Proxied, files: Path) -> None:
    (files / "link").symlink_to(proxy.folder / "outside/kept")
    assert _status(proxy, "PUT", "/link", body=b"new") == 204
    assert not (files / "link").is_symlink()
    assert (proxy.folder / "outside/kept").read_text() == "kept"


def test_delete_removes_a_link_and_not_what_it_shows(proxy: Proxied, files: Path) -> None:
    (files / "out").symlink_to(proxy.folder / "outside")
    assert _status(proxy, "DELETE", "/out/") == 409
    assert _status(proxy, "DELETE", "/out") == 204
    assert (proxy.folder / "outside/kept").read_text() == "kept"


def test_delete_does_not_follow_a_link_inside(proxy: Proxied, files: Path) -> None:
    (files / "dir").mkdir()
    (files / "dir/out").symlink_to(proxy.folder / "outside")
    assert _status(proxy, "DELETE", "/dir/") == 204
    assert not (files / "dir").exists()
    assert (proxy.folder / "outside/kept").read_text() == "kept"


def test_copy_leaves_links_and_special_files_out(proxy: Proxied, files: Path) -> None:
    (files / "mixed").mkdir()
    (files / "mixed/out").symlink_to(proxy.folder / "outside/kept")
    os.mkfifo(files / "mixed/fifo")
    (files / "mixed/file").write_text("1")
    assert _status(proxy, "COPY", "/mixed/", "Destination: /mixed2/") == 201
    assert os.listdir(files / "mixed2") == ["file"]
    assert _status(proxy, "COPY", "/mixed/fifo", "Destination: /fifo2") in (404, 500)
    assert not (files / "fifo2").exists()
