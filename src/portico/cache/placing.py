"""Gives a complete draft its name for good, with its rights and its time, on whatever file system that is."""

from __future__ import annotations

import errno
import os
from typing import final

from portico.cache.draft import STORE, Draft, Drafts


@final
class Placing:
    """How a draft becomes a file: `rights` are its own (0: those it has), its time is in seconds since the epoch (negative: now)."""

    def __init__(self, rights: int, modified: float, identity: int) -> None:
        self.rights = rights
        self.modified = modified
        self.identity = identity  # of the worker
        self.directory_rights = -1  # of missing directories that are made; -1: none are made

    def make_directories(self, access: int) -> None:
        """Have missing directories made, which whoever may read a file of these rights may enter (ngx_dir_access)."""
        self.directory_rights = directory_rights(access)

    def place(self, draft: Draft, path: str) -> None:
        """Make the draft the file at `path`, in place of the one that has the name. The caller closes it. Raises OSError."""
        self._set_metadata(draft)
        try:
            self._take_place(draft, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy_across(draft, path)

    def _set_metadata(self, draft: Draft) -> None:
        if self.rights:
            os.fchmod(draft.fd, self.rights)
        if self.modified >= 0:
            os.utime(draft.fd, (self.modified, self.modified))

    def _take_place(self, draft: Draft, path: str) -> None:
        try:
            draft.take_place(path)
        except FileNotFoundError:
            if self.directory_rights < 0:
                raise
            make_directories(os.path.dirname(path), self.directory_rights)
            draft.take_place(path)

    def _copy_across(self, draft: Draft, path: str) -> None:
        """Copy the draft to the file system of `path`, and give the copy its name."""
        near = Drafts().open(f"{os.path.dirname(path)}/{STORE}", self.identity)
        try:
            draft.copy_to(near)
            self._set_metadata(near)
            near.take_place(path)
        finally:
            near.close()


def directory_rights(access: int) -> int:
    """Return the rights of a directory whose files have these: whoever may read them may enter it (ngx_dir_access)."""
    return access | (access & 0o444) >> 2


def make_directories(path: str, mode: int) -> None:
    """Make a directory and those above it. Raises OSError."""
    if not path or os.path.isdir(path):
        return
    make_directories(os.path.dirname(path), mode)
    try:
        make_directory(path, mode)
    except FileExistsError:
        pass


def make_directory(path: str, mode: int) -> None:
    """Make a directory with these rights, whatever the process's mask says. Raises OSError."""
    os.mkdir(path, mode)
    os.chmod(path, mode)
