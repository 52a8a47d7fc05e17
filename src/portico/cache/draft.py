"""A file that nobody sees before it is complete: of a cached response, and of one that `proxy_store` stores.

Where the file system can do that, the file has no name meanwhile (O_TMPFILE): the kernel leaves nothing behind of a worker that is
killed. Elsewhere, and for the moment in which it takes another one's place, it is called `DIGEST.WORKER.N` or `store.WORKER.N`. What
a dead worker leaves of these in a directory for drafts, the worker that starts in its stead removes.
"""

from __future__ import annotations

import errno
import os
from typing import Final, final

from portico.zones.owner import is_alive

STORE: Final = "store"  # in place of the digest: no file of a cache
_DIGITS: Final = 32  # of a digest
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_PIECE: Final = 1 << 20
_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC


@final
class Draft:
    """A file that is being written; `path` is empty when it has no name, `spare` is one that it may take for a moment."""

    def __init__(self, fd: int, path: str, spare: str) -> None:
        self.fd = fd
        self.path = path
        self.spare = spare

    def append(self, data: bytes) -> None:
        """Write all of `data`. Raises OSError."""
        written = os.write(self.fd, data)
        while written < len(data):  # a disk that is nearly full takes a part; the next write says why
            data = data[written:]
            written = os.write(self.fd, data)

    def put(self, data: bytes, at: int) -> None:
        """Overwrite a part of the file. Raises OSError."""
        written = os.pwrite(self.fd, data, at)
        while written < len(data):
            data = data[written:]
            at += written
            written = os.pwrite(self.fd, data, at)

    def take_place(self, target: str) -> None:
        """Become the file `target`, in place of the one that has the name. Raises OSError, also when its directory is missing."""
        if not self.path:
            try:
                self._link(target)
                return
            except FileExistsError:
                self._link(self.spare)
            self.path = self.spare
        os.rename(self.path, target)  # whoever opens it finds the old file or this one
        self.path = ""

    def _link(self, path: str) -> None:
        """Give it a name. Raises OSError."""
        # With src_dir_fd it is linkat(AT_SYMLINK_FOLLOW): the new name is for what the link shows.
        os.link(f"/proc/self/fd/{self.fd}", path, src_dir_fd=self.fd)

    def copy_to(self, other: Draft) -> None:
        """Write all of it into another file. Raises OSError."""
        at = 0
        while True:
            data = os.pread(self.fd, _PIECE, at)
            if not data:
                return
            other.append(data)
            at += len(data)

    def close(self) -> None:
        """Close it, and remove it if it has a name of its own; safe to call twice."""
        fd = self.fd
        self.fd = -1  # before: closed it is, whatever close(2) says
        if self.path:
            remove_file(self.path)
            self.path = ""
        if fd >= 0:
            try:
                os.close(fd)
            except OSError:
                pass  # a write that failed late; the checksums detect it


@final
class Drafts:
    """Makes drafts in one file system."""

    def __init__(self) -> None:
        self.nameless = True  # it has O_TMPFILE, as far as is known
        self._serial = 0

    def open(self, path: str, identity: int) -> Draft:
        """Return a new file near `path`, of the worker `identity`. Raises OSError."""
        directory = os.path.dirname(path)
        try:
            return self._open(directory, path, identity)
        except FileNotFoundError:
            os.makedirs(directory, 0o700, exist_ok=True)
            return self._open(directory, path, identity)

    def _open(self, directory: str, path: str, identity: int) -> Draft:
        self._serial += 1
        path = f"{path}.{identity:x}.{self._serial}"  # no other draft has this name, and it says whose it is
        if self.nameless:
            try:
                return Draft(os.open(directory, _FLAGS | os.O_TMPFILE, 0o600), "", path)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):  # open(2): how a file system without it refuses
                    raise
                self.nameless = False
        return Draft(os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), path, "")


def owner_of(name: str) -> int:
    """Return the worker that a draft of this name belongs to; 0: it is no draft's name."""
    stem, _, rest = name.partition(".")
    worker, _, serial = rest.partition(".")
    if (stem != STORE and (len(stem) != _DIGITS or not set(stem) <= _HEXADECIMAL)) or not serial.isdecimal():
        return 0
    return int(worker, 16) if 0 < len(worker) <= 16 and set(worker) <= _HEXADECIMAL else 0


def remove_leftovers(directory: str) -> None:
    """Remove the drafts of dead workers."""
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        remove_leftover(f"{directory}/{name}", name)


def remove_leftover(path: str, name: str) -> None:
    """Remove one file if it is the draft of a dead worker."""
    owner = owner_of(name)
    if owner > 0 and not is_alive(owner):
        remove_file(path)


def remove_file(path: str) -> None:
    """Remove a file if it is there and can be removed."""
    try:
        os.unlink(path)
    except OSError:
        pass
