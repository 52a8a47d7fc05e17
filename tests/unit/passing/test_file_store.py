"""`proxy_store`: which responses become files, where, and with which rights and time (ngx_http_upstream_store)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.passing.conftest import MakeProxy

from portico.http.errors import BodyCutShort

STORE = "location / { root @/files; proxy_store on; %s proxy_pass http://app; }"
OK = "HTTP/1.1 200 OK\nContent-Length: 5\nLast-Modified: Thu, 01 Jan 2015 00:00:00 GMT\n\nhello"


def test_a_response_becomes_a_file(make_proxy: MakeProxy, tmp_path: Path) -> None:
    site = make_proxy(STORE % "proxy_store_access user:rw group:r all:r;")
    assert site.get(OK, "/a/b.txt").body == b"hello"
    path = tmp_path / "files" / "a" / "b.txt"
    status = path.stat()
    assert path.read_bytes() == b"hello" and status.st_mode & 0o777 == 0o644 and status.st_mtime == 1420070400
    assert path.parent.stat().st_mode & 0o777 & ~0o755 == 0
    assert site.get(OK.replace("hello", "HELLO"), "/a/b.txt").body == b"HELLO" and path.read_bytes() == b"HELLO"


def test_a_path_with_variables(make_proxy: MakeProxy, tmp_path: Path) -> None:
    site = make_proxy("location / { proxy_store @/own$uri.copy; proxy_pass http://app; }")
    site.get(OK, "/x")
    assert (tmp_path / "own" / "x.copy").read_bytes() == b"hello"
    relative = make_proxy("location / { proxy_store below$uri; proxy_pass http://app; }")
    relative.get(OK, "/x")
    assert (tmp_path / "below" / "x").read_bytes() == b"hello"  # below the prefix


def test_a_body_in_pieces(make_proxy: MakeProxy, tmp_path: Path) -> None:
    site = make_proxy(STORE % "")
    site.prepare("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nhel\n", "2\nlo\n", "0\n\n")
    assert site.ask("/x").body == b"hello" and (tmp_path / "files" / "x").read_bytes() == b"hello"


@pytest.mark.parametrize(
    ("directives", "response", "target", "method"),
    [
        ("", OK.replace("200 OK", "201 Created"), "/x", "GET"),
        ("", OK.replace("200 OK", "404 No"), "/x", "GET"),
        ("", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", "/x", "HEAD"),
        ("", OK, "/x/", "GET"),
        ("proxy_buffering off;", OK, "/x", "GET"),
        ("", OK.replace("\n\n", "\nX-Accel-Buffering: no\n\n"), "/x", "GET"),
    ],
)
def test_what_is_not_stored(
    make_proxy: MakeProxy, tmp_path: Path, directives: str, response: str, target: str, method: str
) -> None:
    site = make_proxy(STORE % directives)
    site.get(response, target, method=method)
    assert list((tmp_path / "files").rglob("*")) == []


def test_a_truncated_response_leaves_nothing(make_proxy: MakeProxy, tmp_path: Path) -> None:
    site = make_proxy(STORE % "")
    site.prepare("HTTP/1.1 200 OK\nContent-Length: 10\n\nhel")
    site.end()
    with pytest.raises(BodyCutShort):
        site.ask("/x")
    assert [path for folder in ("files", "temp") for path in (tmp_path / folder).rglob("*")] == []


def test_a_name_that_leads_out_of_the_path(make_proxy: MakeProxy, tmp_path: Path) -> None:
    site = make_proxy("location / { proxy_store @/own/$arg_name; proxy_pass http://app; }")
    assert site.get(OK, "/?name=a/../../b").body == b"hello"
    assert "a response is not stored as" in site.log() and not (tmp_path / "b").exists()


def test_another_file_system(make_proxy: MakeProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From there the file is copied, rights, time and all."""
    calls: list[str] = []
    link = os.link

    def link_within(source: str, target: str, src_dir_fd: int) -> None:
        calls.append(target)
        if len(calls) == 1:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target, src_dir_fd=src_dir_fd)

    site = make_proxy(STORE % "proxy_store_access all:r;")
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(os, "link", link_within)
    site.get(OK, "/x")
    path = tmp_path / "files" / "x"
    assert path.read_bytes() == b"hello" and path.stat().st_mode & 0o777 == 0o604 and path.stat().st_mtime == 1420070400
    assert calls == [str(path), str(path)] and os.listdir(tmp_path / "files") == ["x"]


def test_a_full_disk_ends_the_storing_not_the_response(
    make_proxy: MakeProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def no_room(fd: int, data: bytes) -> int:
        if data == b"hello":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    site = make_proxy(STORE % "")
    monkeypatch.setattr(os, "write", no_room)
    assert site.get(OK, "/x").body == b"hello"
    assert "a response cannot be stored as" in site.log() and list((tmp_path / "files").rglob("*")) == []
