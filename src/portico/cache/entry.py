"""A stored answer: the form of its file, and an open one.

    times   magic, valid, updating, error, stored, age, length of what follows, checksum of this        64 bytes, rewritten in place
    meta    lengths and checksum of the body; key, names in Vary, their values, tags, family, the upstream's head; its own checksum
    body

A file gets its name when it is whole, so it is never seen half written. What a disk does to it later, the checksums tell. That is why
nothing is flushed (fsync), as in nginx: after a power cut a file may have its name and not its bytes, and then it is as if not there.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final, final

MAGIC: Final = b"PORTICO\x02"
_TIMES: Final = struct.Struct("<8s5qII8x")
_SUMMED: Final = 52  # bytes of it that the checksum is of
_META: Final = struct.Struct("<6IQI")
TIMES_SIZE: Final = 64
_FIRST_READ: Final = 12288
_MOST_META: Final = 4 << 20
_PIECE: Final = 1 << 20
SHORT: Final = 8192  # bytes of a body that stays in memory
_OVERHEAD: Final = 1536  # bytes of objects, whatever they hold


class Damaged(Exception):
    """The file is not what was stored."""


@final
class Times:
    """When an answer was stored, how old it was then, and until when it may be used: seconds since the epoch, `age` in seconds."""

    def __init__(self, valid: int, updating: int, error: int, stored: int, age: int) -> None:
        self.valid = valid
        self.updating = updating  # may be served stale until then while it is fetched anew
        self.error = error  # … and when the upstream fails
        self.stored = stored
        self.age = age

    def packed(self, meta_length: int) -> bytes:
        """The first 64 bytes of the file."""
        summed = struct.pack("<8s5qI", MAGIC, self.valid, self.updating, self.error, self.stored, self.age, meta_length)
        return summed + struct.pack("<I8x", zlib.crc32(summed))


@final
class Meta:
    """What a file says of the answer that it holds."""

    def __init__(self, key: bytes, vary: bytes, variant: bytes, tags: bytes, head: bytes, family: bytes = b"") -> None:
        self.key = key
        self.vary = vary  # the names in Vary, lower case, joined by ","; b"": there are none
        self.variant = variant  # what the request said of them
        self.tags = tags  # separated by blanks
        self.head = head  # as the upstream sent it
        self.family = family  # drawn by lot: part of the names of the key's other variants; a purge leaves none that knows it

    def packed(self, body_length: int, body_sum: int) -> bytes:
        """The part between times and body. Its length depends on the texts only."""
        texts = (self.key, self.vary, self.variant, self.tags, self.family, self.head)
        made = _META.pack(
            len(self.key), len(self.vary), len(self.variant), len(self.tags), len(self.family), len(self.head), body_length, body_sum
        ) + b"".join(texts)
        return made + struct.pack("<I", zlib.crc32(made))


@final
class Entry:
    """What a worker knows of a file: open, or with its body in memory. `slot` and `generation` are its place in the index."""

    def __init__(
        self, fd: int, path: str, status: os.stat_result, times: Times, meta: Meta, meta_length: int, body_length: int, body_sum: int
    ) -> None:
        self.fd = fd  # -1: not open, the body is in memory
        self.path = path
        self.times = times
        self.meta = meta
        self.meta_length = meta_length
        self.body_at = TIMES_SIZE + meta_length
        self.body_length = body_length
        self.body_sum = body_sum
        self.name: bytes = b""  # under which the worker has it at hand: the key, or key and variant
        self.slot = 0
        self.first = 0
        self.second = 0
        self.generation = 0
        self.used = 0  # the second in which it was used last, and the file looked at
        self.changed = status.st_mtime_ns
        self.inode = status.st_ino
        self.data: bytes | None = None  # the body, in memory
        self.sound = False  # the body was compared with its checksum
        self.modified = -2.0  # Last-Modified, seconds since the epoch; -1: there is none; -2: nobody has looked
        self.parsed: object = None  # what the HTTP side has made of the head
        self.owner: object = None  # whose `lines` are
        self.lines: bytes = b""
        self.users = 0  # requests that may still need the file
        self.closing = False

    def body(self) -> bytes:
        """The whole body. Raises Damaged, OSError."""
        data = self.data
        if data is None:
            data = os.pread(self.fd, self.body_length, self.body_at)
            if len(data) != self.body_length:
                raise Damaged
        return data

    def check_body(self) -> None:
        """Compare the body with its checksum; a short one stays in memory. Raises Damaged, OSError."""
        total = 0
        piece = self.data or b""
        if self.data is None:
            at = self.body_at
            left = self.body_length
            while left > 0:
                piece = os.pread(self.fd, min(left, _PIECE), at)
                if not piece:
                    raise Damaged
                total = zlib.crc32(piece, total)
                at += len(piece)
                left -= len(piece)
        else:
            total = zlib.crc32(piece)
        if total != self.body_sum:
            raise Damaged
        self.sound = True
        if self.body_length <= SHORT:
            self.data = piece

    def is_as_written(self) -> bool:
        """Whether nobody has touched the file since it was opened."""
        try:
            status = os.fstat(self.fd) if self.fd >= 0 else os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return (
            status.st_mtime_ns == self.changed
            and status.st_ino == self.inode
            and status.st_size == self.body_at + self.body_length
            and status.st_nlink > 0
        )

    def note_times(self, times: Times) -> None:
        """Write new times into the file. Raises OSError."""
        path = f"/proc/self/fd/{self.fd}" if self.fd >= 0 else self.path
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_ino != self.inode:
                return  # another file has taken its place
            os.pwrite(fd, times.packed(self.meta_length), 0)
            self.changed = os.fstat(fd).st_mtime_ns
        finally:
            os.close(fd)
        self.times = times

    def cost(self) -> int:
        """Bytes of memory that it takes up with its body."""
        return self.body_length + 4 * self.meta_length + _OVERHEAD

    def hold(self) -> None:
        """Keep the file open until `give`, whatever becomes of the entry."""
        self.users += 1

    def give(self) -> None:
        """It is not needed any more."""
        self.users -= 1
        if self.closing:
            self.close()

    def close(self) -> None:
        """Close the file once nobody holds it; safe to call twice."""
        self.closing = True
        if self.users == 0 and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_entry(path: str) -> Entry | None:
    """The entry in a file; None: there is no such file. Raises Damaged, OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return _read(fd, path)
    except BaseException:
        os.close(fd)
        raise


def _read(fd: int, path: str) -> Entry:
    data = os.pread(fd, _FIRST_READ, 0)
    status = os.fstat(fd)
    if len(data) < TIMES_SIZE:
        raise Damaged
    magic, valid, updating, error, stored, age, meta_length, checksum = _TIMES.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[:_SUMMED]) != checksum or not _META.size + 4 <= meta_length <= _MOST_META:
        raise Damaged
    end = TIMES_SIZE + meta_length
    if len(data) < end:
        data = os.pread(fd, end, 0)
        if len(data) < end:
            raise Damaged
    raw = data[TIMES_SIZE:end]
    if zlib.crc32(raw[:-4]) != struct.unpack("<I", raw[-4:])[0]:
        raise Damaged
    key, vary, variant, tags, family, head, body_length, body_sum = _META.unpack_from(raw)
    if _META.size + key + vary + variant + tags + family + head + 4 != meta_length:
        raise Damaged
    texts: list[bytes] = []
    at = _META.size
    for length in (key, vary, variant, tags, family, head):
        texts.append(raw[at : at + length])
        at += length
    if status.st_size != end + body_length:
        raise Damaged
    meta = Meta(texts[0], texts[1], texts[2], texts[3], texts[5], texts[4])
    entry = Entry(fd, path, status, Times(valid, updating, error, stored, age), meta, meta_length, body_length, body_sum)
    if len(data) == end + body_length and body_length <= SHORT:
        entry.data = data[end:]
    return entry
