"""`disable_symlinks`: how a path is walked, whatever happens to it meanwhile. (What nginx does: tests/parity/test_links.py.)"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import open_descriptors
from tests.unit.features.local_site import Site

from portico.http.content.links import Links
from portico.http.content.open_file_cache import FileInfo
from portico.http.request import Request


@pytest.fixture
def request_(tmp_path: Path) -> Iterator[Request]:
    site = Site("", tmp_path)
    yield site.request("/")
    site.close()


def error_of(links: Links, request: Request, path: Path) -> int:
    """The errno of opening, 0 where it succeeds; no descriptor is left behind in either case."""
    before = open_descriptors()
    try:
        os.close(links.open(request, os.fsencode(path)))
    except OSError as error:
        return error.errno or -1
    finally:
        assert open_descriptors() == before
    return 0


def test_errors_leave_no_descriptor_open(tmp_path: Path, request_: Request) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("")
    (tmp_path / "link").symlink_to("folder")
    for links in (Links(False, None), Links(True, None)):
        assert error_of(links, request_, tmp_path / "folder" / "file") == 0
        assert error_of(links, request_, tmp_path / "folder" / "none") == errno.ENOENT
        assert error_of(links, request_, tmp_path / "none" / "file") == errno.ENOENT
        assert error_of(links, request_, tmp_path / "folder" / "file" / "x") == errno.ENOTDIR
        assert error_of(links, request_, tmp_path / ("x" * 300)) == errno.ENAMETOOLONG
    assert error_of(Links(False, None), request_, tmp_path / "link" / "file") == errno.ENOTDIR
    assert error_of(Links(False, None), request_, tmp_path / "link") == errno.ELOOP


def test_a_look_is_no_opening_for_good(tmp_path: Path, request_: Request) -> None:
    (tmp_path / "file").write_text("four")
    os.mkfifo(tmp_path / "fifo")
    before = open_descriptors()
    for name, is_file in (("file", True), ("fifo", False)):  # nobody waits for a FIFO's writer
        info = FileInfo()
        Links(False, None).look(request_, os.fsencode(tmp_path / name), info)
        assert (info.error, info.is_file) == (0, is_file)
    missing = FileInfo()
    Links(False, None).look(request_, os.fsencode(tmp_path / "none"), missing)
    assert (missing.error, missing.failed) == (errno.ENOENT, "openat()")
    assert open_descriptors() == before
