"""`open_file_cache`: what is known about files that were asked for lately, with the descriptors of those in
demand.

An entry is a regular file (with an open descriptor once it was used `min_uses` times), a directory,
something else, or an error. It is believed for `valid` seconds; then stat(2) tells whether the path
still leads to the same file, and only a different one is opened anew. The least recently used entry
leaves when there are more than `max`, and any that was not used for `inactive` seconds. (nginx:
ngx_open_file_cache.c.)

A descriptor that is lent for longer than one call is a duplicate, so an entry can go at any time.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.config.reader import Statement

_ALL: Final = HTTP | SERVER | LOCATION
# O_NONBLOCK: opening a FIFO must not wait for its writer.
FORBIDDEN: Final = (errno.EACCES, errno.ELOOP)  # errors of what is there and not to be had (403)
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@final
class FileInfo:
    """What one look at a path found."""

    def __init__(self) -> None:
        self.fd = -1
        self.error = 0  # errno; everything else but `failed` is void then
        self.failed = "open()"  # the call that failed
        self.is_directory = False
        self.is_file = False
        self.device = 0
        self.inode = 0
        self.mtime = 0
        self.size = 0
        self.status: os.stat_result | None = None
        self.uses = 0
        self.created = 0.0
        self.accessed = 0.0

    def fill(self, status: os.stat_result) -> None:
        """Take over what stat(2) says."""
        self.error = 0
        self.status = status
        kind = stat.S_IFMT(status.st_mode)
        self.is_directory = kind == stat.S_IFDIR
        self.is_file = kind == stat.S_IFREG
        self.device = status.st_dev
        self.inode = status.st_ino
        self.mtime = int(status[stat.ST_MTIME])
        self.size = status.st_size

    def close(self) -> None:
        """Give the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def look(path: bytes, info: FileInfo) -> None:
    """Fill `info` by stat(2)."""
    try:
        info.fill(os.stat(path))
    except OSError as error:
        info.error = error.errno or 0
        info.failed = "stat()"


def open_file(path: bytes, info: FileInfo) -> None:
    """Fill `info`, and open the file when it is a regular one."""
    try:
        fd = os.open(path, OPEN_FLAGS)
    except OSError as error:
        info.error = error.errno or 0
        info.failed = "open()"
        return
    try:
        info.fill(os.fstat(fd))
    except OSError as error:
        info.error = error.errno or 0
        info.failed = "fstat()"
    if info.error or not info.is_file:
        os.close(fd)
    else:
        info.fd = fd


@final
class OpenFileCache:
    """The entries of one `open_file_cache` directive in this worker; least recently used first."""

    def __init__(self, maximum: int, inactive: float) -> None:
        self.maximum = maximum
        self.inactive = inactive
        self._entries: dict[bytes, FileInfo] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, path: bytes, settings: OpenFileSettings, now: float, test_only: bool) -> FileInfo:
        """Return what `path` is. Unless `test_only`, a regular file has a descriptor, the cache's: see `lend`."""
        entries = self._entries
        entry = entries.pop(path, None)
        if entry is None:
            entry = FileInfo()
            entry.created = now
            self._read(path, entry, test_only)
            if entry.error and not settings.errors:
                return entry
            if len(entries) >= self.maximum:
                self._drop_oldest()
        else:
            entry = self._checked(path, entry, settings, now, test_only)
            if entry.error and not settings.errors:
                entry.close()
                return entry
        entry.uses += 1
        entry.accessed = now
        entries[path] = entry
        self._expire(now)
        return entry

    def lend(self, entry: FileInfo, settings: OpenFileSettings) -> int:
        """Return a descriptor that the caller closes."""
        if entry.uses < settings.min_uses:
            fd = entry.fd
            entry.fd = -1
            return fd
        return os.dup(entry.fd)

    def release(self, entry: FileInfo, settings: OpenFileSettings) -> None:
        """End the use of `entry.fd`."""
        if entry.uses < settings.min_uses:
            entry.close()

    def clear(self) -> None:
        """Forget everything."""
        for entry in self._entries.values():
            entry.close()
        self._entries = {}

    def _read(self, path: bytes, entry: FileInfo, test_only: bool) -> None:
        if test_only:
            look(path, entry)
        else:
            open_file(path, entry)

    def _checked(
        self, path: bytes, entry: FileInfo, settings: OpenFileSettings, now: float, test_only: bool
    ) -> FileInfo:
        """Return the entry if it is good still, else what is there now."""
        unopened = entry.error == 0 and entry.is_file and entry.fd < 0
        if now - entry.created < settings.valid and (not unopened or test_only):
            return entry
        fresh = FileInfo()
        fresh.created = now
        fresh.uses = entry.uses
        if entry.fd >= 0:
            look(path, fresh)
            if fresh.error == 0 and fresh.inode == entry.inode and fresh.device == entry.device:
                fresh.fd = entry.fd
                return fresh
            entry.close()
            if fresh.error or not fresh.is_file or test_only:
                return fresh
        self._read(path, fresh, test_only)
        return fresh

    def _drop_oldest(self) -> None:
        for path, entry in self._entries.items():
            entry.close()
            del self._entries[path]
            return

    def _expire(self, now: float) -> None:
        """Drop at most two inactive entries, so that no request pays for many."""
        old: list[bytes] = []
        for path, entry in self._entries.items():
            if len(old) == 2 or now - entry.accessed <= self.inactive:
                break
            old.append(path)
        for path in old:
            self._entries.pop(path).close()


@final
class OpenFileSettings:
    """`open_file_cache_*` as they hold in one location."""

    def __init__(self, valid: float, min_uses: int, errors: bool) -> None:
        self.valid = valid
        self.min_uses = min_uses
        self.errors = errors


def _cache(statement: Statement) -> OpenFileCache | None:
    maximum = 0
    inactive = 60.0
    off = False
    for argument in statement.args:
        name, _, value = argument.text.partition("=")
        if name == "max" and value:
            number = values.number_of(value)
            if number:
                maximum = number
                continue
        elif name == "inactive" and value:
            seconds = values.seconds_of(value)
            if seconds is not None:
                inactive = float(seconds)
                continue
        elif argument.text == "off":
            off = True
            continue
        raise statement.fail(f'invalid "open_file_cache" parameter "{argument.text}"', argument)
    if off:
        return None
    if maximum == 0:
        raise statement.fail('"open_file_cache" must have the "max" parameter')
    return OpenFileCache(maximum, inactive)


OPEN_FILE_CACHE: Final = Directive[OpenFileCache | None](
    "open_file_cache", _ALL, _cache, args="1-2", default=None, default_text="off",
    syntax="off | max=N [inactive=TIME]",
    doc="Remembers, in each worker, files, directories and, with `open_file_cache_errors`, what could not "
    "be opened: `max` entries, the least recently used leave first; one that was not used for "
    "`inactive` (60s) leaves too. Saves a few system calls a request; a change on disk is seen after "
    "`open_file_cache_valid`.",
    example="open_file_cache max=1000 inactive=20s;",
)
OPEN_FILE_CACHE_VALID: Final = Directive[int](
    "open_file_cache_valid", _ALL, values.seconds, args="1", default=60, default_text="60s",
    doc="How long an entry of `open_file_cache` is believed before it is checked.",
    example="open_file_cache_valid 30s;",
)
OPEN_FILE_CACHE_MIN_USES: Final = Directive[int](
    "open_file_cache_min_uses", _ALL, values.number, args="1", default=1, default_text="1",
    doc="How often a file must be asked for while it is in `open_file_cache` before its descriptor stays "
    "open.",
    example="open_file_cache_min_uses 2;",
)
OPEN_FILE_CACHE_ERRORS: Final = Directive[bool](
    "open_file_cache_errors", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether `open_file_cache` remembers that a file could not be found or opened.",
    example="open_file_cache_errors on;",
)
