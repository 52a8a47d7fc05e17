"""A stored response: the format of its file, and an open one.

    times   magic, valid, updating, error, stored, age, length of meta, checksum of this             64 bytes, rewritten in place
    meta    lengths and checksum of the body; key, names in Vary, their values, tags, family, header section; its own checksum
    body

A file gets its name when it is complete, so it is never seen half written. Checksums detect what a disk does to it later. That is why
nothing is flushed (fsync), as in nginx: after a power cut a file may have its name and not its bytes, and then it counts as missing.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING, Final, final

from portico.cache.checksum import crc32

if TYPE_CHECKING:
    from portico.cache.index import Index

MAGIC: Final = b"PORTICO\x02"
_SUMMED: Final = 52  # bytes of the times that the checksum is of
_META: Final = struct.Struct("<6IQI")
_FIXED: Final = struct.Struct("<8s5qII8x6IQI")  # the times and the meta data
_SUM: Final = struct.Struct("<I")
TIMES_SIZE: Final = 64
_FIRST_READ: Final = 12288
_LEAST_META: Final = _META.size + 4
_MOST_META: Final = 4 << 20
_PIECE: Final = 1 << 16
SHORT: Final = 8192  # bytes of a body that stays in memory
ONE_PIECE: Final = 32768  # bytes of a body that is read at once, and sent with the header section
_SAFELY: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO keeps nobody waiting, a terminal takes nobody
_FLAGS: Final = os.O_RDONLY | _SAFELY
_NO_FILE_OF_OURS: Final = (  # how open(2) and pread(2) say that something else has a file's name, or that it is another's
    errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.ESPIPE, errno.EINVAL, errno.EAGAIN, errno.EACCES, errno.EPERM,
)  # fmt: skip
_OVERHEAD: Final = 1536  # bytes of objects, whatever they hold


class Damaged(Exception):
    """The file is not what was stored."""


@final
class Times:
    """When a response was stored, how old it was then, and until when it may be used: seconds since the epoch, `age` in seconds."""

    def __init__(self, valid: int, updating: int, error: int, stored: int, age: int) -> None:
        self.valid = valid
        self.updating = updating  # may be served stale until then while it is fetched anew
        self.error = error  # … and when the upstream fails
        self.stored = stored
        self.age = age

    def packed(self, meta_length: int) -> bytes:
        """Return the first 64 bytes of the file."""
        summed = struct.pack("<8s5qI", MAGIC, self.valid, self.updating, self.error, self.stored, self.age, meta_length)
        return summed + struct.pack("<I8x", crc32(summed))


@final
class Meta:
    """What a file says about the response in it."""

    def __init__(self, key: bytes, vary: bytes, variant: bytes, tags: bytes, head: bytes, family: bytes = b"") -> None:
        self.key = key
        self.vary = vary  # the names in Vary, lower case, joined by ","; b"": there are none
        self.variant = variant  # what the request said of them
        self.tags = tags  # separated by blanks
        self.head = head  # as the upstream sent it
        self.family = family  # drawn by lot: part of the names of the key's other variants; a purge leaves none that knows it

    def packed(self, body_length: int, body_sum: int) -> bytes:
        """Return the part between times and body. Its length depends on the texts only."""
        texts = (self.key, self.vary, self.variant, self.tags, self.family, self.head)
        made = _META.pack(
            len(self.key), len(self.vary), len(self.variant), len(self.tags), len(self.family), len(self.head), body_length, body_sum
        ) + b"".join(texts)
        return made + _SUM.pack(crc32(made))


@final
class Entry:
    """A stored response in a worker: its file is open or its body in memory. `row` and `generation`: its place in the index."""

    def __init__(self, fd: int, path: str, times: Times, meta: Meta, meta_length: int, body_length: int, body_sum: int) -> None:
        self.fd = fd  # -1: not open, the body is in memory
        self.path = path
        self.times = times
        self.meta = meta
        self.meta_length = meta_length
        self.body_at = TIMES_SIZE + meta_length
        self.body_length = body_length
        self.body_sum = body_sum
        self.name: bytes = b""  # under which the worker has it in memory: the key, or key and variant
        self.row = 0
        self.first = 0
        self.second = 0
        self.generation = 0
        self.used = 0  # the second in which it was used last, and the file checked
        self.changed = 0  # of the file: nanoseconds since the epoch, and its number; 0: nobody has looked
        self.inode = 0
        self.data: bytes | None = None  # the body, in memory
        self.sound = False  # the body was compared with its checksum
        self.modified = -2.0  # Last-Modified, seconds since the epoch; -1: there is none; -2: not parsed yet
        self.parsed: object = None  # the parsed header section, of the HTTP side
        self.finished: object = None  # the header section for clients, finished by a handler
        self.users = 0  # requests that may still need the file
        self.closing = False

    def body(self) -> bytes:
        """Return the whole body. Raises Damaged, OSError."""
        data = self.data
        if data is None:
            data = os.pread(self.fd, self.body_length, self.body_at)
            if len(data) != self.body_length:
                raise Damaged
        return data

    def check_body(self) -> None:
        """Compare the body with its checksum; one that is read at once stays in memory. Raises Damaged, OSError."""
        total = 0
        if self.data is not None or self.body_length <= ONE_PIECE:
            self.data = self.body()
            total = crc32(self.data)
        else:
            at = self.body_at
            left = self.body_length
            while left > 0:
                piece = os.pread(self.fd, min(left, _PIECE), at)
                if not piece:
                    raise Damaged
                total = crc32(piece, total)
                at += len(piece)
                left -= len(piece)
        if total != self.body_sum:
            raise Damaged
        self.sound = True

    def look(self) -> None:
        """Note which file it is that is open, and when it was changed. Raises Damaged, OSError."""
        status = os.fstat(self.fd)
        self.changed = status.st_mtime_ns
        self.inode = status.st_ino
        if status.st_size != self.body_at + self.body_length or not stat.S_ISREG(status.st_mode):
            raise Damaged

    def is_as_written(self) -> bool:
        """Return whether nobody has changed the file since `look`."""
        try:
            status = os.fstat(self.fd) if self.fd >= 0 else os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return self._is(status) and status.st_nlink > 0

    def _is(self, status: os.stat_result) -> bool:
        """Return whether a file is the one that was looked at, unchanged."""
        return (
            status.st_mtime_ns == self.changed
            and status.st_ino == self.inode
            and status.st_size == self.body_at + self.body_length
        )

    def note_times(self, times: Times, index: Index) -> None:
        """Write new times into the file, if it is still this one. Raises OSError."""
        if self.fd >= 0:
            fd = os.open(f"/proc/self/fd/{self.fd}", os.O_WRONLY | os.O_CLOEXEC)
        else:
            fd = os.open(self.path, os.O_WRONLY | _SAFELY)
        try:
            known = self._is(os.fstat(fd))
            # An inode's number is used again: of a file that is opened by its name only the generation tells, asked afterwards.
            if self.fd < 0 and not (known and index.is_same(self.row, self.first, self.generation)):
                return
            os.pwrite(fd, times.packed(self.meta_length), 0)
            if known:  # else somebody has changed it, which is detected when it is asked for next
                self.changed = os.fstat(fd).st_mtime_ns
        finally:
            os.close(fd)
        self.times = times

    def cost(self) -> int:
        """Return the bytes of memory that it takes up with its body."""
        return self.body_length + 4 * self.meta_length + _OVERHEAD

    def acquire(self) -> None:
        """Keep the file open until `release`, whatever becomes of the entry."""
        self.users += 1

    def release(self) -> None:
        """End a use; the last one closes the file if the entry is closed."""
        self.users -= 1
        if self.closing:
            self.close()

    def close_when_released(self) -> None:
        """Let the release of the last use close it: the worker does not keep it in memory."""
        self.closing = True

    def close(self) -> None:
        """Close the file once nobody holds it; safe to call twice."""
        self.closing = True
        if self.users == 0 and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_entry(path: str) -> Entry | None:
    """Return the entry in a file; None: there is no such file. Raises Damaged, OSError."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        if error.errno in _NO_FILE_OF_OURS:
            raise Damaged from None
        raise
    try:
        return _read(fd, path)
    except BaseException:
        os.close(fd)
        raise


def _read(fd: int, path: str) -> Entry:
    """Return the entry in an open file, without its body unless that is short. Raises Damaged, OSError."""
    try:
        data = os.pread(fd, _FIRST_READ, 0)
    except OSError as error:
        if error.errno in _NO_FILE_OF_OURS:
            raise Damaged from None
        raise
    size = len(data)
    complete = size < _FIRST_READ  # or there would be more of it
    if size < TIMES_SIZE + _LEAST_META:
        raise Damaged
    fixed = _FIXED.unpack_from(data)
    meta_length: int = fixed[6]
    if fixed[0] != MAGIC or crc32(data[:_SUMMED]) != fixed[7] or not _LEAST_META <= meta_length <= _MOST_META:
        raise Damaged
    end = TIMES_SIZE + meta_length
    if size < end and not complete:
        data = os.pread(fd, end, 0)
        size = len(data)
    if size < end:
        raise Damaged
    summed = end - 4
    if crc32(data[TIMES_SIZE:summed]) != _SUM.unpack_from(data, summed)[0]:
        raise Damaged
    key_end: int = TIMES_SIZE + _META.size + fixed[8]
    vary_end: int = key_end + fixed[9]
    variant_end: int = vary_end + fixed[10]
    tags_end: int = variant_end + fixed[11]
    family_end: int = tags_end + fixed[12]
    if family_end + fixed[13] != summed:
        raise Damaged
    meta = Meta(
        data[TIMES_SIZE + _META.size : key_end],
        data[key_end:vary_end],
        data[vary_end:variant_end],
        data[variant_end:tags_end],
        data[family_end:summed],
        data[tags_end:family_end],
    )
    body_length: int = fixed[14]
    entry = Entry(fd, path, Times(fixed[1], fixed[2], fixed[3], fixed[4], fixed[5]), meta, meta_length, body_length, fixed[15])
    if not complete:
        entry.look()
    elif size != end + body_length:
        raise Damaged
    if size == end + body_length and body_length <= SHORT:
        entry.data = data[end:]
    return entry
