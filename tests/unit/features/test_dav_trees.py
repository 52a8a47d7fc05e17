"""Files and directories that `dav_methods` copies, moves and removes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from portico.features.dav.trees import copy_file, copy_tree, move_file, move_tree, remove_tree

ME = 1


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a file, a directory in it, and links out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "b").write_text("b")
    (source / "a").write_text("a")
    (source / "a").chmod(0o640)
    (source / "link").symlink_to(outside)
    (source / "file-link").symlink_to(outside / "secret")
    os.mkfifo(source / "fifo")
    return source


def test_a_copy_has_rights_and_time(tree: Path, tmp_path: Path) -> None:
    os.utime(tree / "a", (1000, 2000))
    copy_file(bytes(tree / "a"), bytes(tmp_path / "copy"), ME)
    status = (tmp_path / "copy").stat()
    assert (status.st_mode & 0o777, int(status.st_mtime)) == (0o640, 2000)
    assert names(tmp_path) >= {"copy"} and not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_copy_replaces_what_has_the_name(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("old")
    copy_file(bytes(tree / "a"), bytes(tmp_path / "copy"), ME)
    assert (tmp_path / "copy").read_text() == "a"


@pytest.mark.parametrize("source", ["fifo", "missing", "inner"])
def test_only_files_are_copied_as_files(tree: Path, tmp_path: Path, source: str) -> None:
    with pytest.raises(OSError):
        copy_file(bytes(tree / source), bytes(tmp_path / "copy"), ME)
    assert not (tmp_path / "copy").exists()


def test_no_directory_is_made_for_a_copy(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_file(bytes(tree / "a"), bytes(tmp_path / "none" / "copy"), ME)
    assert not (tmp_path / "none").exists()


def test_links_are_not_followed_out_of_a_tree(tree: Path, tmp_path: Path) -> None:
    copy_tree(bytes(tree), bytes(tmp_path / "copy"), -1, ME)
    assert names(tmp_path / "copy") == {"a", "inner", "inner/b"}


def test_depth_0_copies_the_directory_alone(tree: Path, tmp_path: Path) -> None:
    copy_tree(bytes(tree), bytes(tmp_path / "copy"), 0, ME)
    assert names(tmp_path / "copy") == set()


def test_a_copy_has_the_rights_of_its_directory(tree: Path, tmp_path: Path) -> None:
    tree.chmod(0o550)
    copy_tree(bytes(tree), bytes(tmp_path / "copy"), -1, ME)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o550


def test_what_links_lead_to_is_not_removed(tree: Path, tmp_path: Path) -> None:
    remove_tree(bytes(tree))
    assert not tree.exists() and (tmp_path / "outside" / "secret").exists()


def test_a_tree_moves(tree: Path, tmp_path: Path) -> None:
    move_tree(bytes(tree), bytes(tmp_path / "moved"), ME)
    assert not tree.exists() and (tmp_path / "moved" / "inner" / "b").read_text() == "b"


def test_a_file_moves_into_directories_that_are_made(tree: Path, tmp_path: Path) -> None:
    move_file(bytes(tree / "a"), bytes(tmp_path / "x" / "y" / "a"), 0o750, ME)
    assert (tmp_path / "x" / "y" / "a").read_text() == "a" and (tmp_path / "x").stat().st_mode & 0o777 == 0o750


def test_no_directory_is_made_for_a_file_that_is_missing(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        move_file(bytes(tree / "missing"), bytes(tmp_path / "x" / "a"), 0o700, ME)
    assert not (tmp_path / "x").exists()


def test_a_tree_that_is_too_deep_is_an_error_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(path: bytes) -> None:
        raise RecursionError

    monkeypatch.setattr(shutil, "rmtree", too_deep)
    with pytest.raises(OSError, match="too many directories in one another"):
        remove_tree(bytes(tmp_path))
