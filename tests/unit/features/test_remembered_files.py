"""`static_memory`: files that are known are looked at with every request; whatever is done to one counts at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.features.static.remembered import RememberedFiles

NOW = 10_000_000_000.0  # long after the last change of any file here


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_bytes(b"first")
    return path


def keep(files: RememberedFiles, path: Path, now: float = NOW) -> None:
    files.store(os.fsencode(path), path.stat(), path.read_bytes(), now)


def found(files: RememberedFiles, path: Path) -> bytes | None:
    known = files.find(os.fsencode(path))
    return None if known is None else known.data


def test_a_file_is_known_until_it_changes(page: Path) -> None:
    files = RememberedFiles(100_000)
    assert found(files, page) is None
    keep(files, page)
    assert found(files, page) == b"first" and found(files, page) == b"first"


def same_length(path: Path) -> None:
    path.write_bytes(b"other")


def same_length_and_time(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    other = path.with_name("new")
    other.write_bytes(b"other")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


def permissions(path: Path) -> None:
    path.chmod(0)


def gone(path: Path) -> None:
    path.unlink()


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def another_target(path: Path) -> None:
    path.unlink()
    path.with_name("target").write_bytes(b"other")
    path.symlink_to("target")


@pytest.mark.parametrize("change", [same_length, same_length_and_time, replaced, permissions, gone, a_directory, another_target])
def test_every_change_counts(page: Path, change: Callable[[Path], None]) -> None:
    files = RememberedFiles(100_000)
    keep(files, page)
    settled = page.stat().st_ctime_ns
    while time.time_ns() - settled < 20_000_000:  # past the grain of the kernel's clock
        pass
    change(page)
    assert found(files, page) is None
    assert len(files) == 0 and files.taken == 0


def test_a_file_that_has_just_changed_is_not_stored(page: Path) -> None:
    files = RememberedFiles(100_000)
    keep(files, page, page.stat().st_ctime + 1.0)
    keep(files, page, page.stat().st_ctime - 1.0)  # by a clock that is ahead of ours
    assert found(files, page) is None
    keep(files, page, page.stat().st_ctime + 2.5)
    assert found(files, page) == b"first"


def test_a_file_that_changed_while_it_was_read_is_not_stored(page: Path) -> None:
    files = RememberedFiles(100_000)
    files.store(os.fsencode(page), page.stat(), b"fir", NOW)
    assert len(files) == 0


def test_the_room_is_never_exceeded(tmp_path: Path) -> None:
    files = RememberedFiles(10_000)
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        path.write_bytes(b"x" * 1000)
        keep(files, path)
        assert files.taken <= 10_000
    assert found(files, paths[0]) is None and found(files, paths[-1]) == b"x" * 1000
    large = tmp_path / "large"
    large.write_bytes(b"x" * 10_000)
    keep(files, large)
    assert found(files, large) is None and found(files, paths[-1]) is not None
    keep(files, paths[-1])  # once more: it takes no more room
    assert files.taken <= 10_000 and found(files, paths[-1]) is not None
