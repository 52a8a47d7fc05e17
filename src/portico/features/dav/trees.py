"""Work on files and directories. Nothing here knows of requests, and nothing follows a symbolic link out of the tree it works on.

A file is copied into a draft, which takes its place when it is complete. All of this may be run on a thread.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import Final

from portico.cache.draft import STORE, Drafts
from portico.cache.placing import Placing, make_directories

_PIECE: Final = 1 << 20


def copy_file(source: bytes, target: bytes, identity: int) -> None:
    """Copy a file with its rights and its time; what had the name is replaced. Raises OSError."""
    path = os.fsdecode(target)
    os.stat(os.path.dirname(path))  # a draft would make the directory
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", os.fsdecode(source))
        draft = Drafts().open(f"{os.path.dirname(path)}/{STORE}", identity)
        try:
            while True:
                data = os.read(fd, _PIECE)
                if not data:
                    break
                draft.append(data)
            Placing(stat.S_IMODE(status.st_mode) & 0o777, status.st_mtime, identity).place(draft, path)
        finally:
            draft.close()
    finally:
        os.close(fd)


def copy_tree(source: bytes, target: bytes, depth: int, identity: int) -> None:
    """Copy a directory, to depth 0 without its content; links and special files are left out. Raises OSError at the first failure."""
    rights = stat.S_IMODE(os.lstat(source).st_mode) & 0o777
    os.mkdir(target, 0o700)
    if depth != 0:
        with os.scandir(source) as entries:
            for entry in entries:
                inner = target + b"/" + entry.name
                if entry.is_dir(follow_symlinks=False):
                    copy_tree(entry.path, inner, depth, identity)
                elif entry.is_file(follow_symlinks=False):
                    copy_file(entry.path, inner, identity)
        modified = os.lstat(source).st_mtime
        os.utime(target, (modified, modified))
    os.chmod(target, rights)


def remove_tree(path: bytes) -> None:
    """Remove a directory and all that is in it; links are removed, not followed. Raises OSError."""
    try:
        shutil.rmtree(path)
    except RecursionError:  # each level is a call of its own there; a path may have 2,047 of them
        raise OSError(errno.ELOOP, "too many directories in one another", os.fsdecode(path)) from None


def move_tree(source: bytes, target: bytes, identity: int) -> None:
    """Give a directory another name, or copy it and remove it where that is on another file system. Raises OSError."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_tree(source, target, -1, identity)
        remove_tree(source)


def move_file(source: bytes, target: bytes, rights: int, identity: int) -> None:
    """Give a file another name, in directories that are made with `rights`, or a place on another file system. Raises OSError."""
    try:
        _rename(source, target, rights)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_file(source, target, identity)
        os.unlink(source)


def _rename(source: bytes, target: bytes, rights: int) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.lstat(source)  # it is the target's directory that is missing
        make_directories(os.path.dirname(os.fsdecode(target)), rights)
        os.rename(source, target)
