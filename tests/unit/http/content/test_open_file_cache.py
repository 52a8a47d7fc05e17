"""The cache of open files: what it believes for how long, and which descriptors it holds."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.processes import open_descriptors

from portico.config.diagnostics import ConfigError
from portico.config.load import Load
from portico.config.reader import read_text
from portico.http.content.open_file_cache import OPEN_FILE_CACHE, OpenFileCache, OpenFileSettings

BELIEVE = OpenFileSettings(60.0, 1, True)


def path_of(directory: Path, name: str, data: bytes = b"x") -> bytes:
    (directory / name).write_bytes(data)
    return os.fsencode(directory / name)


def test_believed_while_valid(tmp_path: Path) -> None:
    cache = OpenFileCache(10, 60.0)
    path = path_of(tmp_path, "a")
    first = cache.find(path, BELIEVE, 0.0, False)
    os.unlink(path)
    assert cache.find(path, BELIEVE, 59.0, False) is first
    assert os.pread(first.fd, 10, 0) == b"x"
    assert cache.find(path, BELIEVE, 60.0, False).error == errno.ENOENT
    cache.clear()


def test_same_file_keeps_its_descriptor(tmp_path: Path) -> None:
    cache = OpenFileCache(10, 100.0)
    path = path_of(tmp_path, "a")
    fd = cache.find(path, BELIEVE, 0.0, False).fd
    Path(os.fsdecode(path)).write_bytes(b"longer")
    again = cache.find(path, BELIEVE, 70.0, False)
    assert (again.fd, again.size) == (fd, 6)
    cache.clear()


def test_another_file_is_opened(tmp_path: Path) -> None:
    cache = OpenFileCache(10, 100.0)
    path = path_of(tmp_path, "a")
    before = open_descriptors()
    cache.find(path, BELIEVE, 0.0, False)
    os.rename(path_of(tmp_path, "b", b"other"), path)
    found = cache.find(path, BELIEVE, 70.0, False)
    assert os.pread(found.fd, 10, 0) == b"other"
    assert open_descriptors() == before + 1
    cache.clear()
    assert open_descriptors() == before


def test_a_file_becomes_a_directory(tmp_path: Path) -> None:
    cache = OpenFileCache(10, 100.0)
    path = path_of(tmp_path, "a")
    before = open_descriptors()
    cache.find(path, BELIEVE, 0.0, False)
    os.unlink(path)
    os.mkdir(path)
    assert cache.find(path, BELIEVE, 70.0, False).is_directory
    assert open_descriptors() == before


@pytest.mark.parametrize("errors", [True, False])
def test_errors(tmp_path: Path, errors: bool) -> None:
    cache = OpenFileCache(10, 60.0)
    settings = OpenFileSettings(60.0, 1, errors)
    path = os.fsencode(tmp_path / "a")
    assert cache.find(path, settings, 0.0, False).error == errno.ENOENT
    assert len(cache) == int(errors)
    path_of(tmp_path, "a")
    assert (cache.find(path, settings, 1.0, False).error == 0) == (not errors)
    cache.clear()


def test_tested_then_opened(tmp_path: Path) -> None:
    cache = OpenFileCache(10, 60.0)
    path = path_of(tmp_path, "a")
    assert cache.find(path, BELIEVE, 0.0, True).fd == -1
    assert cache.find(path, BELIEVE, 1.0, False).fd >= 0
    assert cache.find(path, BELIEVE, 2.0, True).fd >= 0
    cache.clear()


def test_min_uses(tmp_path: Path) -> None:
    cache = OpenFileCache(10, 60.0)
    settings = OpenFileSettings(60.0, 2, False)
    path = path_of(tmp_path, "a")
    before = open_descriptors()
    entry = cache.find(path, settings, 0.0, False)
    os.close(cache.lend(entry, settings))
    assert open_descriptors() == before
    entry = cache.find(path, settings, 1.0, False)
    os.close(cache.lend(entry, settings))
    cache.release(entry, settings)
    assert open_descriptors() == before + 1
    cache.clear()


def test_lent_descriptors_outlive_the_entry(tmp_path: Path) -> None:
    cache = OpenFileCache(1, 60.0)
    fd = cache.lend(cache.find(path_of(tmp_path, "a", b"a"), BELIEVE, 0.0, False), BELIEVE)
    cache.find(path_of(tmp_path, "b"), BELIEVE, 0.0, False)
    assert len(cache) == 1
    assert os.pread(fd, 1, 0) == b"a"
    os.close(fd)
    cache.clear()


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = OpenFileCache(2, 60.0)
    paths = [path_of(tmp_path, name) for name in "abc"]
    before = open_descriptors()
    first = cache.find(paths[0], BELIEVE, 0.0, False)
    cache.find(paths[1], BELIEVE, 0.0, False)
    assert cache.find(paths[0], BELIEVE, 0.0, False) is first
    cache.find(paths[2], BELIEVE, 0.0, False)
    assert cache.find(paths[0], BELIEVE, 0.0, False) is first
    assert open_descriptors() == before + 2
    cache.clear()


def test_inactive_entries_go(tmp_path: Path) -> None:
    cache = OpenFileCache(10, 20.0)
    before = open_descriptors()
    for name in "abc":
        cache.find(path_of(tmp_path, name), BELIEVE, 0.0, False)
    cache.find(path_of(tmp_path, "d"), BELIEVE, 21.0, False)
    assert len(cache) == 2
    cache.find(path_of(tmp_path, "d"), BELIEVE, 21.0, False)
    assert len(cache) == 1
    cache.clear()
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max=10", (10, 60.0)),
        ("max=10 inactive=20s", (10, 20.0)),
        ("off", None),
        ("inactive=20s", '"open_file_cache" must have the "max" parameter'),
        ("max=0", 'invalid "open_file_cache" parameter "max=0"'),
        ("max=x", 'invalid "open_file_cache" parameter "max=x"'),
        ("max=1 inactive=x", 'invalid "open_file_cache" parameter "inactive=x"'),
        ("on", 'invalid "open_file_cache" parameter "on"'),
    ],
)
def test_directive(text: str, expected: tuple[int, float] | str | None) -> None:
    (statement,) = read_text(f"open_file_cache {text};", "x.conf", Load("/srv", "x.conf"))
    try:
        made = OPEN_FILE_CACHE.parse(statement)
    except ConfigError as error:
        assert error.message == expected
        return
    assert (None if made is None else (made.maximum, made.inactive)) == expected
