"""A draft gets its name, its rights and its time."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from portico.cache.draft import Draft, Drafts
from portico.cache.placing import Placing, directory_rights


def draft_of(folder: Path, content: bytes = b"content") -> Draft:
    draft = Drafts().open(f"{folder}/draft", 1)
    draft.append(content)
    return draft


def test_rights_and_time(tmp_path: Path) -> None:
    draft = draft_of(tmp_path)
    Placing(0o604, 1000.0, 1).place(draft, str(tmp_path / "file"))
    draft.close()
    status = (tmp_path / "file").stat()
    assert (status.st_mode & 0o777, status.st_mtime, (tmp_path / "file").read_bytes()) == (0o604, 1000.0, b"content")


def test_what_has_the_name_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    draft = draft_of(tmp_path)
    Placing(0, -1.0, 1).place(draft, str(tmp_path / "file"))
    draft.close()
    assert (tmp_path / "file").read_bytes() == b"content" and os.listdir(tmp_path) == ["file"]


def test_directories_are_made_only_when_wanted(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "b" / "file")
    draft = draft_of(tmp_path)
    placing = Placing(0, -1.0, 1)
    with pytest.raises(FileNotFoundError):
        placing.place(draft, path)
    placing.make_directories(0o640)
    placing.place(draft, path)
    draft.close()
    assert (tmp_path / "a").stat().st_mode & 0o777 == directory_rights(0o640)


@pytest.mark.parametrize(("access", "rights"), [(0o600, 0o700), (0o640, 0o750), (0o644, 0o755), (0o660, 0o770)])
def test_whoever_may_read_files_may_enter_their_directory(access: int, rights: int) -> None:
    assert directory_rights(access) == rights


def test_another_file_system_gets_a_copy(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    draft = draft_of(tmp_path)
    target = elsewhere / f"portico-test-{os.getpid()}"
    try:
        with pytest.raises(OSError) as raised:
            os.rename(tmp_path, target)
        assert raised.value.errno == errno.EXDEV
        Placing(0o600, 5.0, 1).place(draft, str(target))
        assert target.read_bytes() == b"content" and target.stat().st_mtime == 5.0
    finally:
        draft.close()
        target.unlink(missing_ok=True)
