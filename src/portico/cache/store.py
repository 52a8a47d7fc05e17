"""A cache: the directory, its index, and the entries that this worker has in memory."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, final

from portico.cache.checksum import md5
from portico.cache.draft import Draft, Drafts, remove_file
from portico.cache.entry import SHORT, Damaged, Entry, Times, open_entry
from portico.cache.index import Index, Removed
from portico.cache.recent import Recent
from portico.cache.waiting import Waiting

_MOST_OPEN: Final = 512  # entries with their files open, in each worker
_SHORT_MEMORY: Final = 16 << 20  # bytes of memory, in each worker, for entries with short bodies
_AT_ONCE: Final = 1 << 20  # bytes of a body that one request may read while others wait
_HALVES: Final = struct.Struct(">qq")
_COMPLAINT_SECONDS: Final = 60.0
_EVICTED_AT_ONCE: Final = 64


@final
class CachePath:
    """The settings of one `proxy_cache_path`. Times in seconds, sizes in bytes, 0: no limit."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.others: list[str] = []  # directories of other caches inside it
        self.levels: list[int] = []
        self.name = ""
        self.zone_size = 0
        self.max_size = 0
        self.min_free = 0
        self.inactive = 600
        self.use_temp_path = True
        self.temp_path = ""
        self.loader_files = 100
        self.loader_sleep = 0.05
        self.loader_threshold = 0.2
        self.manager_files = 100
        self.manager_sleep = 0.05
        self.manager_threshold = 0.2


def digest(key: bytes) -> tuple[int, int]:
    """Return the two halves of the key's MD5, which is the file's name, as in nginx. The file also has the key itself."""
    halves = _HALVES.unpack(md5(key).digest())
    first: int = halves[0]
    second: int = halves[1]
    return first, second


def variant_name(key: bytes, family: bytes, variant: bytes) -> bytes:
    """Return what stands in the key's place for another variant than that of the key's own entry (no key has a NUL)."""
    return key + b"\0" + family + variant


def file_name(first: int, second: int) -> str:
    """Return the name of an entry's file: 32 hexadecimal digits."""
    return _HALVES.pack(first, second).hex()


def digest_of_name(name: str) -> tuple[int, int] | None:
    """Return the digest that a file's name stands for; None when it is no such name."""
    if len(name) != 32:
        return None
    try:
        made = bytes.fromhex(name)
    except ValueError:
        return None
    first, second = _HALVES.unpack(made)
    return first, second


@final
class Store:
    """One cache as a worker sees it."""

    def __init__(self, settings: CachePath, index: Index) -> None:
        self.settings = settings
        self.index = index
        self.identity = 0  # this worker's
        self.memory = 0  # bytes of memory for entries with longer bodies (`proxy_cache_memory`)
        self.short_memory = _SHORT_MEMORY
        self.most_open = _MOST_OPEN
        self.log: Callable[[str], None] | None = None
        self.now: Callable[[], float] | None = None  # monotonic seconds
        # By key and variant, the one used longest ago first. (A plain dict walks over what was removed from it to find its first.)
        self._with_file: OrderedDict[bytes, Entry] = OrderedDict()
        self._with_body: OrderedDict[bytes, Entry] = OrderedDict()  # with their bodies, and without an open file
        self._recent = Recent()  # requested lately, and not in memory
        self._memory_used = 0
        self._complained = -_COMPLAINT_SECONDS
        self._block = 0  # bytes of the file system's allocation unit
        self._drafts = Drafts()
        self.waiting = Waiting()

    # -- names -----------------------------------------------------------------------------------------------------------

    def path_of(self, first: int, second: int) -> str:
        """Return the path of an entry: `levels` cut directories off the end of its name."""
        name = file_name(first, second)
        path = self.settings.path + "/"
        end = len(name)
        for level in self.settings.levels:
            path += name[end - level : end] + "/"
            end -= level
        return path + name

    def draft(self, first: int, second: int) -> Draft:
        """Return a new file to write to. Raises OSError."""
        return self._drafts.open(f"{self.drafts_path()}/{file_name(first, second)}", self.identity)

    def drafts_path(self) -> str:
        """Return the directory where files are written."""
        return self.settings.temp_path if self.settings.use_temp_path else self.settings.path

    def room_of(self, size: int) -> int:
        """Return what a file of `size` bytes takes up on the disk (nginx: c->fs_size), for `max_size`."""
        if self._block == 0:
            try:
                self._block = os.statvfs(self.settings.path).f_bsize
            except OSError:
                self._block = 512
        return (size + self._block - 1) // self._block * self._block

    # -- looking up --------------------------------------------------------------------------------------------------------

    def in_memory(self, key: bytes, now: int) -> Entry | None:
        """Return the entry of a key if this worker has it and it is still the one in the index; else None."""
        found = self._with_body
        entry = found.get(key)
        if entry is None:
            found = self._with_file
            entry = found.get(key)
            if entry is None:
                return None
        if not self.index.is_same(entry.row, entry.first, entry.generation):
            self.forget(key)
            return None
        if entry.used != now:
            entry.used = now
            self.index.touch(entry.row, entry.first, entry.generation, now)
            found.move_to_end(key)
            if not entry.is_as_written():
                if self.index.valid(entry.row, entry.generation) == entry.times.valid:  # nobody has revalidated it
                    self.index.uncheck(entry.row, entry.first, entry.generation)
                self.forget(key)
                return None
        return entry

    def read(
        self, name: bytes, key: bytes, variant: bytes | None, first: int, second: int, row: int, generation: int
    ) -> Entry | None:
        """Open the entry that the index knows; `variant` None: any. A damaged one is dropped, one of another key left alone.

        Whoever gets it acquires it for as long as they need it. Raises OSError.
        """
        path = self.path_of(first, second)
        try:
            entry = open_entry(path)
            if entry is None:
                self.index.drop(first, second, generation)
                return None
            if entry.meta.key != key or (variant is not None and entry.meta.variant != variant):
                entry.close()
                self.complain(f'cache file "{path}" belongs to another key')
                return None
            entry.row = row
            entry.first = first
            entry.second = second
            entry.generation = generation
            try:
                if entry.body_length <= _AT_ONCE:
                    entry.check_body()  # at each opening: somebody may have overwritten it since
                self._note(entry, entry.sound)
                self._admit(name, entry)
            except BaseException:
                entry.close()
                raise
        except Damaged:
            self.damaged(path, first, second, generation)
            return None
        return entry

    def check_done(self, entry: Entry) -> None:
        """Note that the body was compared with its checksum."""
        self._note(entry, True)

    def _note(self, entry: Entry, checked: bool) -> None:
        """Put the file's own times into the index: two workers that stored one key at once may have left those of the other there."""
        times = entry.times
        self.index.refresh(entry.row, entry.first, entry.generation, times.valid, times.updating, times.error, checked)

    def damaged(self, path: str, first: int, second: int, generation: int) -> None:
        """Drop an entry whose file cannot be used; one that took its place meanwhile stays."""
        if not self.index.drop(first, second, generation):
            return
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:  # a directory, for example: what is stored cannot take its place
            self.complain(f'cache file "{path}" is damaged and cannot be removed ({error.errno}: {error.strerror})')
            return
        self.complain(f'cache file "{path}" is damaged and was removed')

    def unreadable(self, error: OSError) -> None:
        """Log that a file cannot be read, which says nothing about its content: no descriptors or memory left, a disk that fails."""
        self.complain(f'the cache "{self.settings.path}" cannot be read ({error.errno}: {error.strerror})')

    def exists_unknown(self, first: int, second: int, now: int) -> bool:
        """Return whether there is a file for a key that the index does not have yet, as the files are still being loaded.

        Ask `is_loaded` before the index is asked for the key: another worker may find the last files in between.
        """
        try:
            status = os.stat(self.path_of(first, second), follow_symlinks=False)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and self.index.load(first, second, self.room_of(status.st_size), now)

    def _admit(self, name: bytes, entry: Entry) -> None:
        """Have it in memory from now on; where another one must be evicted for it, only if it was requested not long ago.

        Else what is requested once in a long while would evict what is requested all the time, and making room would cost each of
        these requests more than all the rest. Raises Damaged, OSError.
        """
        self.forget(name)
        entry.name = name
        in_memory = entry.body_length <= SHORT or self.has_room_for(entry)
        if in_memory:
            fits = self._memory_used + entry.cost() <= self.short_memory + self.memory
        else:
            fits = len(self._with_file) < self.most_open
        if not fits and not self._recent.is_again(entry.first, len(self._with_body) if in_memory else len(self._with_file)):
            entry.close_when_released()
            return
        if entry.inode == 0:
            entry.look()
        if entry.data is None or not self._remember(entry):
            entry.data = None
            self._limit(self._with_file, self.most_open - 1)
            self._with_file[name] = entry

    def has_room_for(self, entry: Entry) -> bool:
        """Return whether a longer body may be read at once and be in memory: at most 1 MB, and a quarter of the room for them."""
        return entry.body_length <= _AT_ONCE and entry.cost() <= self.memory // 4

    def load_body(self, entry: Entry) -> None:
        """Read a longer body into memory, as `proxy_cache_memory` allows, instead of an open file. Raises Damaged, OSError."""
        if entry.data is None and self.has_room_for(entry) and self._with_file.get(entry.name) is entry:
            entry.data = entry.body()
            if self._remember(entry):
                del self._with_file[entry.name]
            else:
                entry.data = None

    def _remember(self, entry: Entry) -> bool:
        """Have its body in memory in place of those used longest ago; return False when it is too long for that."""
        cost = entry.cost()
        if entry.body_length > SHORT and not self.has_room_for(entry):
            return False
        most = self.short_memory + self.memory
        if cost > most:
            return False
        while self._with_body and self._memory_used + cost > most:
            self.forget(next(iter(self._with_body)))
        self._memory_used += cost
        self._with_body[entry.name] = entry
        entry.close()
        return True

    def _limit(self, entries: OrderedDict[bytes, Entry], most: int) -> None:
        while len(entries) > most:
            self.forget(next(iter(entries)))

    def forget(self, name: bytes) -> None:
        """Drop what is in memory for a key."""
        entry = self._with_body.pop(name, None)
        if entry is not None:
            self._memory_used -= entry.cost()
            return
        entry = self._with_file.pop(name, None)
        if entry is not None:
            entry.close()

    # -- changes -----------------------------------------------------------------------------------------------------------

    def release(self, first: int, second: int) -> None:
        """Release the right to fetch a key; of the requests of this worker that still wait for it one tries next."""
        self.index.release(first, second, self.identity)
        self.waiting.wake_one(first, second)

    def put(self, draft: Draft, first: int, second: int, size: int, times: Times, purges: int) -> bool:
        """Put a complete file in its place; return False if the key was purged since `purges`. Raises OSError.

        Killed at any point here, a worker leaves a row that says that there may be a file, or that there is one, the old or the new,
        which is stale.
        """
        if self.index.is_retired():
            return False
        path = self.path_of(first, second)
        removed = self.index.replace(first, second)
        if removed is not None:
            self.remove_files([removed])
        try:
            self._place(draft, path)
        except OSError:
            self.index.keep(first, second)
            raise
        stored, removed = self.index.store(
            first, second, self.room_of(size), times.valid, times.updating, times.error, times.stored, purges
        )
        if not stored:
            remove_file(path)
        if removed is not None:
            self.remove_files([removed])
        most = self.settings.max_size
        if most and self.index.size() > most:
            self.remove_files(self.index.shrink(most, _EVICTED_AT_ONCE))
        if stored:
            self.waiting.wake_all(first, second)
        return stored > 0

    def _place(self, draft: Draft, path: str) -> None:
        try:
            _take_place(draft, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy_across(draft, path)

    def _copy_across(self, draft: Draft, path: str) -> None:
        """Copy the file from the file system of `proxy_temp_path` to that of the cache, and name the copy. Raises OSError."""
        near = Drafts().open(path, self.identity)
        try:
            draft.copy_to(near)
            near.take_place(path)
        finally:
            near.close()

    def refresh(self, entry: Entry, times: Times) -> None:
        """Give an entry that the upstream has revalidated new times. Raises OSError."""
        if entry.generation == 0:  # this file, or another one that took its place before its worker was killed
            if self.index.drop(entry.first, entry.second, 0):
                remove_file(entry.path)
            return
        entry.note_times(times, self.index)
        self.index.refresh(entry.row, entry.first, entry.generation, times.valid, times.updating, times.error, False)

    def purge(self, first: int, second: int) -> bool:
        """Remove a key's entry; return whether there was one. What is being fetched for the key is not stored."""
        existed = self.index.purge(first, second)
        path = self.path_of(first, second)
        try:
            os.unlink(path)
            return True
        except (FileNotFoundError, NotADirectoryError):
            return existed
        except OSError as error:
            self.complain(f'cache file "{path}" cannot be removed ({error.errno}: {error.strerror})')
            return existed

    def remove_files(self, removed: list[Removed]) -> None:
        """Remove the files of what the index has evicted."""
        for gone in removed:
            remove_file(self.path_of(gone.first, gone.second))
            self.index.forget(gone.first, gone.second)

    def complain(self, message: str) -> None:
        """Write to the error log, at most once a minute."""
        if self.log is None or self.now is None:
            return
        now = self.now()
        if now - self._complained >= _COMPLAINT_SECONDS:
            self._complained = now
            self.log(message)

    def close(self) -> None:
        """Drop everything in memory: the worker ends."""
        for name in [*self._with_file, *self._with_body]:
            self.forget(name)


def _take_place(draft: Draft, path: str) -> None:
    """Give a file its name, in directories that are made for it. Raises OSError."""
    try:
        draft.take_place(path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        draft.take_place(path)
