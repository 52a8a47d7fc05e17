"""A database in MaxMind's format (.mmdb): loaded, looked into, and replaced as a whole when its file has changed.

The library `maxminddb` reads it, from a copy in memory that the workers share: of a mapped file that somebody truncates, the next
lookup would end the process (SIGBUS).
"""

from __future__ import annotations

import importlib
import os
import socket
import stat
import time
from collections.abc import Callable
from typing import Any, Final, final

_MOST: Final = 1 << 31  # bytes of a file
_MARK: Final = b"\xab\xcd\xefMaxMind.com"
_MARK_WITHIN: Final = 128 * 1024  # bytes from the end, by the format's specification
_DOWNLOAD: Final = "https://dev.maxmind.com/geoip/geolite2-free-geolocation-data"

Stamp = tuple[int, int, int]  # time of change, size and number of a file


class DatabaseFailed(Exception):
    """A database cannot be used: why, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@final
class Content:
    """What a file held when it was read."""

    def __init__(self, find: Callable[[str], object], is_ipv4_only: bool, kind: str, epoch: int, stamp: Stamp) -> None:
        self.find = find
        self.is_ipv4_only = is_ipv4_only
        self.kind = kind  # "GeoLite2-City"
        self.epoch = epoch  # when it was made, in seconds
        self.stamp = stamp  # of its file


@final
class Database:
    """One file that the configuration names, as it was when last read. The content is replaced as a whole."""

    def __init__(self, path: str, edition: str) -> None:
        """Load it. `edition`: the one to download in place of a file that is none. Raises DatabaseFailed."""
        self.path = path
        self.edition = edition
        self.content = read(path, edition)
        self.last_check: float = time.time()
        self.last_change: float = self.last_check

    def look_up(self, address: bytes) -> object:
        """Return the record of an address of 4 or 16 bytes; None when there is none. Raises DatabaseFailed for a damaged file."""
        content = self.content
        if len(address) == 4:
            text = socket.inet_ntop(socket.AF_INET, address)
        elif content.is_ipv4_only:
            return None
        else:
            text = socket.inet_ntop(socket.AF_INET6, address)
        try:
            return content.find(text)
        except Exception as error:  # of whatever type the damage made the library raise
            raise DatabaseFailed(f"{type(error).__name__}: {error}") from None


def read(path: str, edition: str) -> Content:
    """Return what a file holds. Raises DatabaseFailed."""
    try:
        library: Any = importlib.import_module("maxminddb")
    except ImportError:
        raise DatabaseFailed("the library maxminddb is not there", "pip install maxminddb") from None
    hint = f"download the database {edition} in the format .mmdb ({_DOWNLOAD}) and name that file"
    try:
        fd, stamp = _copy(path)
    except OSError as error:
        raise DatabaseFailed(f"{error.strerror} ({error.errno})") from None
    try:
        if not _is_marked(fd):
            what = "it is in the old format .dat, which nobody publishes any more" if path.endswith(".dat") else "it is no .mmdb file"
            raise DatabaseFailed(what, hint)
        try:
            return _opened(library, fd, stamp)
        except Exception as damage:  # metadata may be anything in a damaged file, and so may what the library raises then
            raise DatabaseFailed(f"it is damaged or truncated ({type(damage).__name__}: {damage})", hint) from None
    finally:
        os.close(fd)


def _opened(library: Any, fd: int, stamp: Stamp) -> Content:
    """Return the content of the copy `fd`, which may be closed then. Raises whatever the library does."""
    if getattr(library, "_extension", None) is not None:  # its part in C is there
        reader = library.open_database(f"/proc/self/fd/{fd}", library.MODE_MMAP_EXT)
    else:
        with os.fdopen(os.dup(fd), "rb") as file:
            file.seek(0)
            reader = library.open_database(file, library.MODE_FD)
    metadata = reader.metadata()
    version = int(metadata.ip_version)
    if version not in (4, 6):
        raise ValueError(f"unknown ip_version {version}")
    find: Callable[[str], object] = reader.get
    return Content(find, version == 4, str(metadata.database_type), int(metadata.build_epoch), stamp)


def stamp_of(path: str) -> Stamp:
    """Return what tells one content of a file from another. Raises OSError."""
    return _stamp(os.stat(path))


def _stamp(info: os.stat_result) -> Stamp:
    return info.st_mtime_ns, info.st_size, info.st_ino


def _copy(path: str) -> tuple[int, Stamp]:
    """Return a descriptor of a copy in memory, and the stamp of the file. Raises OSError and DatabaseFailed."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        info = os.fstat(source)
        if not stat.S_ISREG(info.st_mode):
            raise DatabaseFailed("it is not a regular file")
        if info.st_size > _MOST:
            raise DatabaseFailed(f"it has {info.st_size} bytes: more than {_MOST} are not read")
        copy = os.memfd_create("mmdb", os.MFD_CLOEXEC)
        try:
            at = 0
            while at < info.st_size:
                moved = os.sendfile(copy, source, at, info.st_size - at)
                if moved == 0:  # it has become shorter: what there is of it is judged
                    break
                at += moved
        except OSError:
            os.close(copy)
            raise
        return copy, _stamp(info)
    finally:
        os.close(source)


def _is_marked(fd: int) -> bool:
    """Return whether the metadata of the format begin where they may."""
    size = os.fstat(fd).st_size
    start = max(0, size - _MARK_WITHIN)
    return os.pread(fd, size - start, start).find(_MARK) >= 0
