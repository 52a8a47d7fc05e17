"""Files that a configuration names: read whole, a device as nothing, a FIFO never waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from tests.processes import open_descriptors

from portico.config.files import read_file, read_with_status

AT_ONCE = 1 << 20  # bytes of one read(2)


@pytest.mark.parametrize("size", [0, 1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 5])
def test_a_file_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    content = os.urandom(size)
    path.write_bytes(content)
    assert read_file(str(path)) == content
    assert read_file(os.fsencode(path)) == content
    status, again = read_with_status(str(path))
    assert (status.st_size, status.st_ino, again) == (size, path.stat().st_ino, content)


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/urandom"])
def test_a_device_is_empty(device: str) -> None:
    """nginx asks fstat(2) for the size, and reads that many bytes: 0."""
    status, content = read_with_status(device)
    assert content == b""
    assert stat.S_ISCHR(status.st_mode)


def test_a_file_of_proc_is_read_although_its_size_is_0() -> None:
    assert read_file("/proc/self/comm") != b""


def test_a_fifo_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    before = open_descriptors()
    with pytest.raises(OSError) as caught:
        read_file(str(path))
    assert caught.value.errno == errno.ENXIO
    assert open_descriptors() == before


def test_a_fifo_is_read_until_its_writer_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    pid = os.fork()
    if pid == 0:
        try:
            # open(2) waits until the parent reads; the second piece comes when the first one has gone through.
            with path.open("wb", buffering=0) as pipe:
                pipe.write(b"first ")
                pipe.write(b"x" * 100_000)
        finally:
            os._exit(0)
    # The writer's open(2) must have a reader to succeed: this one, which stays open but takes no bytes.
    keeper = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                content = read_file(str(path))
                break
            except OSError as error:
                assert error.errno == errno.ENXIO  # the writer is not there yet
                os.sched_yield()
    finally:
        os.close(keeper)
        os.waitpid(pid, 0)
    assert content == b"first " + b"x" * 100_000


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("missing", errno.ENOENT), ("file/below", errno.ENOTDIR), ("loop", errno.ELOOP), (".", errno.EISDIR),
        ("x" * 300, errno.ENAMETOOLONG),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_by_its_errno(tmp_path: Path, name: str, number: int) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = open_descriptors()
    with pytest.raises(OSError) as caught:
        read_file(str(tmp_path / name))
    assert caught.value.errno == number
    assert open_descriptors() == before


@pytest.mark.parametrize("path", ["a\0b", b"a\0b"])
def test_a_zero_byte_in_a_path(path: str | bytes) -> None:
    with pytest.raises(ValueError):
        read_file(path)
