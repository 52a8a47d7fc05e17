"""The file of a kept answer: what is written is read, and whatever is not that is damaged."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes import open_descriptors

from portico.cache.entry import MAGIC, Damaged, Entry, Meta, Times, open_entry
from portico.cache.fill import Fill
from portico.cache.index import CHECKED, COLUMNS, EXISTS, Index
from portico.cache.keeper import Keeper
from portico.cache.store import CachePath, Store, digest
from portico.zones.owner import own_identity
from portico.zones.table import SharedTable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
NOW = 1_700_000_000


def make_store(folder: Path, levels: tuple[int, ...] = (1, 2)) -> Store:
    place = CachePath(str(folder / "cache"))
    place.levels = list(levels)
    place.use_temp_path = False
    (folder / "cache").mkdir(exist_ok=True)
    store = Store(place, Index(SharedTable(64, COLUMNS)))
    store.identity = 1
    return store


def fill(store: Store, key: bytes, *pieces: bytes) -> Fill:
    made = Fill(store, *digest(key), store.index.purges(), False)
    made.begin(Meta(key, b"accept", b"accept:x", b"one two", HEAD, b"family"), Times(NOW + 60, 0, NOW + 90, NOW, 3))
    for piece in pieces:
        made.write(piece)
    return made


def path_of(store: Store, key: bytes) -> Path:
    return Path(store.path_of(*digest(key)))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert fill(store, b"key", b"hel", b"lo").finish()
    assert str(path_of(store, b"key")) == f"{tmp_path}/cache/d/31/3c6e0b8a9c15224a8228b9a98ca1531d"  # where nginx has it
    entry = open_entry(str(path_of(store, b"key")))
    assert entry is not None
    meta, times = entry.meta, entry.times
    assert (meta.key, meta.vary, meta.variant, meta.tags, meta.head) == (b"key", b"accept", b"accept:x", b"one two", HEAD)
    assert meta.family == b"family"
    assert (times.valid, times.updating, times.error, times.stored, times.age) == (NOW + 60, 0, NOW + 90, NOW, 3)
    assert entry.body() == b"hello"
    entry.check_body()
    entry.note_times(Times(NOW + 600, 0, 0, NOW, 0), store.index)
    entry.close()
    again = open_entry(str(path_of(store, b"key")))
    assert again is not None and again.times.valid == NOW + 600 and again.body() == b"hello"
    again.close()
    assert open_entry(str(tmp_path / "none")) is None


def test_every_damaged_byte_is_seen(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"hello world").finish()
    path = path_of(store, b"key")
    whole = path.read_bytes()
    for at in range(len(whole)):
        if 56 <= at < 64:
            continue  # padding
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        with pytest.raises(Damaged):
            entry = open_entry(str(path))
            assert entry is not None
            try:
                entry.check_body()
            finally:
                entry.close()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            open_entry(str(path))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_entry_or_damaged(data: bytes) -> None:
    path = Path(f"/tmp/portico-entry-{os.getpid()}")
    try:
        path.write_bytes(MAGIC + data)
        with pytest.raises(Damaged):
            open_entry(str(path))
    finally:
        path.unlink()


def test_a_fill_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"hel").abort()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.index.look(*digest(b"key")) == (0, 0)


def test_another_keys_file_is_not_served(tmp_path: Path) -> None:
    """As if two keys had one digest."""
    store = make_store(tmp_path)
    fill(store, b"mine", b"secret").finish()
    path = path_of(store, b"yours")
    path.parent.mkdir(parents=True, exist_ok=True)
    os.rename(path_of(store, b"mine"), path)
    store.index.store(*digest(b"yours"), 10, NOW, 0, 0, NOW, 0)
    assert read(store, b"yours") is None


def test_another_variants_file_is_not_served(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"body").finish()
    key = digest(b"key")
    row, _, generation, _, _ = store.index.use(*key, NOW)
    assert store.read(b"key", b"key", b"accept:y", *key, row, generation) is None
    assert store.read(b"key", b"key", b"accept:x", *key, row, generation) is not None
    store.close()


def read(store: Store, name: bytes) -> Entry | None:
    key = digest(name)
    row, flags, generation, _, _ = store.index.use(*key, NOW)
    return store.read(name, name, None, *key, row, generation) if flags & EXISTS else None


def test_a_purge_meanwhile_keeps_it_out(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    late = fill(store, b"key", b"old")
    store.index.note_purge()
    assert late.finish() is False and not path_of(store, b"key").exists()
    late, other = fill(store, b"key", b"old"), fill(store, b"other", b"old")
    assert store.purge(*digest(b"key")) is False
    assert late.finish() is False and not path_of(store, b"key").exists()
    assert other.finish() is True
    assert store.purge(*digest(b"other")) is True and not path_of(store, b"other").exists()


def test_in_memory_until_it_changes(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"one").finish()
    assert read(store, b"key") is not None
    kept = store.in_memory(b"key", NOW + 1)
    assert kept is not None and kept.body() == b"one"
    fill(store, b"key", b"two").finish()
    assert store.in_memory(b"key", NOW + 1) is None
    store.close()


def test_a_file_that_vanished_is_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"one").finish()
    assert read(store, b"key") is not None
    path_of(store, b"key").unlink()
    assert store.in_memory(b"key", NOW + 1) is None
    assert read(store, b"key") is None
    assert store.index.look(*digest(b"key"))[0] & EXISTS == 0


def in_memory(store: Store, count: int) -> list[int]:
    """Which of so many entries the worker has, the numbers being their keys."""
    found = [(number, store.in_memory(b"%d" % number, NOW)) for number in range(count)]
    return [number for number, entry in found if entry is not None]


def stored(store: Store, number: int, size: int) -> Entry:
    name = b"%d" % number
    assert fill(store, name, b"x" * size).finish()
    entry = read(store, name)
    assert entry is not None
    return entry


def test_short_bodies_stay_in_memory(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    cost = stored(store, 0, 10).cost()
    store.short_memory = 4 * cost
    entries = [stored(store, number, 10) for number in range(1, 4)]
    assert all(entry.fd < 0 and entry.body() == b"x" * 10 for entry in entries)  # none needs its file any more
    assert in_memory(store, 4) == [0, 1, 2, 3]
    entries[-1].note_times(Times(NOW + 99, 0, 0, NOW, 0), store.index)
    assert store.in_memory(b"3", NOW + 1) is entries[-1]
    again = open_entry(str(path_of(store, b"3")))
    assert again is not None and again.times.valid == NOW + 99
    again.close()
    path_of(store, b"2").write_bytes(b"")
    path_of(store, b"1").unlink()
    assert store.in_memory(b"2", NOW + 1) is None and store.in_memory(b"1", NOW + 1) is None
    store.close()


def test_what_is_asked_for_once_takes_nobodys_place(tmp_path: Path) -> None:
    """It is opened, and closed by who gives it back; asked for again before many others were, it stays."""
    store = make_store(tmp_path)
    store.short_memory = 4 * stored(store, 0, 10).cost()
    for number in range(1, 4):
        stored(store, number, 10)
    passing = [stored(store, number, 10) for number in range(4, 8)]
    assert in_memory(store, 8) == [0, 1, 2, 3]
    for entry in passing:
        entry.acquire()
        assert entry.fd >= 0 and entry.body() == b"x" * 10
        entry.note_times(Times(NOW + 99, 0, 0, NOW, 0), store.index)  # its own file, although nobody has looked which
        entry.release()
        assert entry.fd < 0
    descriptors = open_descriptors()
    again = read(store, b"6")
    assert again is not None and again.fd < 0 and again.times.valid == NOW + 99
    assert in_memory(store, 8) == [1, 2, 3, 6]  # in place of the one used longest ago
    assert store.in_memory(b"6", NOW + 1) is again  # and it was looked at which file it is
    path_of(store, b"6").unlink()
    assert store.in_memory(b"6", NOW + 2) is None
    assert open_descriptors() == descriptors
    store.close()


def test_longer_bodies_stay_open(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.most_open = 3
    entries = [stored(store, number, 9000) for number in range(5)]
    assert in_memory(store, 5) == [0, 1, 2] and all(entry.data is None for entry in entries[:3])
    for entry in entries[3:]:
        assert entry.data is not None and entry.fd >= 0  # it is there for who has asked, with its file
        entry.close()
    entries[3:] = [read(store, b"%d" % number) for number in (3, 4)]
    assert [entry.fd >= 0 for entry in entries] == [False, False, True, True, True] and in_memory(store, 5) == [2, 3, 4]
    store.memory = 4 * entries[4].cost()
    store.load_body(entries[4])  # proxy_cache_memory
    assert entries[4].fd < 0 and store.in_memory(b"4", NOW + 1) is entries[4] and len(entries[4].body()) == 9000
    store.memory = 9000
    store.load_body(entries[3])  # one may take up a quarter
    assert entries[3].fd >= 0 and entries[3].data is None
    entries[3].acquire()
    store.close()
    assert entries[3].fd >= 0
    entries[3].release()
    assert entries[3].fd < 0


def test_memory_that_has_room_takes_a_longer_body_at_once(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.memory = 64 << 20
    store.short_memory = 0
    store.most_open = 0  # whatever is open
    entry = stored(store, 1, 20_000)
    assert entry.fd < 0 and len(entry.body()) == 20_000 and store.in_memory(b"1", NOW + 1) is entry
    long = stored(store, 2, (1 << 20) + 1)
    store.load_body(long)
    assert long.data is None and long.fd >= 0  # more than is read while others wait: it comes from its file
    long.close()
    store.close()


# -- somebody else was at the files ----------------------------------------------------------------------------------------------


def listen_at(path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH)  # for paths of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def shut(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)


STRANGERS: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "socket": listen_at,
    "terminal": lambda path: os.mknod(path, 0o20600, os.makedev(5, 0)),
    "zeros": lambda path: os.mknod(path, 0o20600, os.makedev(1, 5)),
    "no device": lambda path: os.mknod(path, 0o20600, os.makedev(4095, 9)),
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "loop": lambda path: path.symlink_to(path),
    "not ours": shut,
}


def without_its_file(folder: Path) -> tuple[Store, list[str], Path]:
    """A store that has the key in its index, what it says to the log, and where the key's file was."""
    store = make_store(folder)
    said: list[str] = []
    store.log, store.now = said.append, lambda: 100.0
    assert fill(store, b"key", b"one").finish()
    path = path_of(store, b"key")
    path.unlink()
    return store, said, path


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_no_file_gives_its_place_to_the_next_answer(tmp_path: Path, name: str) -> None:
    """Nobody waits for the other end of a FIFO, and nothing is served or complained of for ever."""
    store, said, path = without_its_file(tmp_path)
    try:
        STRANGERS[name](path)
    except PermissionError:
        pytest.skip("only root makes devices")
    signal.alarm(10)
    try:
        assert read(store, b"key") is None
    finally:
        signal.alarm(0)
    assert not os.path.lexists(path) and said == [f'cache file "{path}" is damaged and was removed']
    STRANGERS[name](path)  # and where it cannot be known of
    assert fill(store, b"key", b"two").finish() and kept_body(store) == b"two"
    path.unlink()
    STRANGERS[name](path)
    new = make_store(tmp_path)
    if name != "not ours":
        assert not new.exists_unknown(*digest(b"key"), NOW) and os.path.lexists(path)
    asyncio.run(Keeper(new, lambda: False)._load())
    assert os.path.lexists(path) is (name == "not ours")
    store.close()


def test_what_a_failing_disk_says_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But a file that is somebody else's cannot be an answer of ours."""
    store = make_store(tmp_path)
    assert fill(store, b"key", b"one").finish()
    path = path_of(store, b"key")
    for call in ("open", "pread"):
        for code in (errno.EIO, errno.EMFILE, errno.ENOMEM, errno.EACCES):

            def failing(*_: object, code: int = code) -> int:
                raise OSError(code, os.strerror(code))

            with monkeypatch.context() as patch, pytest.raises(Damaged if code == errno.EACCES else OSError):
                patch.setattr(os, call, failing)
                open_entry(str(path))
    assert kept_body(store) == b"one"
    store.close()


def kept_body(store: Store) -> bytes | None:
    entry = read(store, b"key")
    return None if entry is None else entry.body()


def test_a_directory_in_an_answers_place_is_told_of(tmp_path: Path) -> None:
    """It cannot be replaced: the key goes without, and the log says so once a minute."""
    store, said, path = without_its_file(tmp_path)
    path.mkdir()
    for _ in range(2):
        assert read(store, b"key") is None
        made = fill(store, b"key", b"two")
        with pytest.raises(IsADirectoryError):
            made.finish()
        made.abort()
    assert said == [f'cache file "{path}" is damaged and cannot be removed (21: Is a directory)']
    assert [found for found in tmp_path.rglob("*") if not found.is_dir()] == []


def test_a_long_body_that_was_touched_is_compared_again(tmp_path: Path) -> None:
    """And one whose times another worker has written is not."""
    store = make_store(tmp_path)
    entry = stored(store, 7, (1 << 20) + 1)
    key = digest(b"7")
    assert store.index.look(*key)[0] & CHECKED
    other = Store(store.settings, store.index)
    confirmed = other.read(b"7", b"7", None, *key, entry.row, entry.generation)
    assert confirmed is not None
    other.refresh(confirmed, Times(NOW + 600, 0, 0, NOW, 0))
    assert store.in_memory(b"7", NOW + 1) is None and store.index.look(*key)[0] & CHECKED
    assert other.in_memory(b"7", NOW + 1) is confirmed
    with open(path_of(store, b"7"), "r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"XXXX")
    other.refresh(confirmed, Times(NOW + 700, 0, 0, NOW, 0))  # which does not make it the file that it was
    assert other.in_memory(b"7", NOW + 2) is None and not store.index.look(*key)[0] & CHECKED
    again = read(store, b"7")
    assert again is not None and again.times.valid == NOW + 700
    with pytest.raises(Damaged):
        again.check_body()
    for one in (store, other):
        one.close()


def test_times_are_not_written_into_another_answers_file(tmp_path: Path) -> None:
    """An inode's number is given out again: the file that is opened by its name may have it, and be another one."""
    store = make_store(tmp_path)
    old = stored(store, 7, 10)
    assert old.fd < 0
    assert fill(store, b"7", b"another").finish()
    path = path_of(store, b"7")
    status = os.stat(path)
    for same in (old.inode, status.st_ino):
        for changed in (old.changed, status.st_mtime_ns):
            old.inode, old.changed, old.body_length = same, changed, 7
            store.refresh(old, Times(NOW + 999_999, 0, 0, NOW, 0))
            again = open_entry(str(path))
            assert again is not None and again.times.valid == NOW + 60 and again.body() == b"another"
            again.close()
            assert store.index.valid(old.row, store.index.look(*digest(b"7"))[1]) == NOW + 60
    new = read(store, b"7")
    assert new is not None and new.fd < 0
    os.utime(path)  # touched: perhaps by somebody who has put another file there
    new.note_times(Times(NOW + 999_999, 0, 0, NOW, 0), store.index)
    assert open_valid(path) == NOW + 60
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        new.note_times(Times(NOW + 999_999, 0, 0, NOW, 0), store.index)
    store.close()


def open_valid(path: Path) -> int:
    entry = open_entry(str(path))
    assert entry is not None
    entry.close()
    return entry.times.valid


def test_who_finds_damage_leaves_what_came_meanwhile(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    said: list[str] = []
    store.log, store.now = said.append, lambda: 100.0
    assert fill(store, b"key", b"one").finish()
    path, key = path_of(store, b"key"), digest(b"key")
    before = store.index.look(*key)[1]
    store.index.replace(*key)
    between = store.index.look(*key)[1]
    assert fill(store, b"key", b"two").finish() and between == 0
    for generation in (before, between):  # who looked before, and who looked while it was being replaced
        store.damaged(str(path), *key, generation)
        assert kept_body(store) == b"two" and said == []
    store.damaged(str(path), *key, store.index.look(*key)[1])
    assert kept_body(store) is None and not path.exists() and len(said) == 1
    store.close()


def test_a_retired_index_stores_nothing(tmp_path: Path) -> None:
    """The one in its place would not know of it."""
    store = make_store(tmp_path)
    assert fill(store, b"key", b"one").finish()
    late, other = fill(store, b"key", b"two"), fill(store, b"other", b"two")
    store.index.retire()
    assert not late.finish() and not other.finish()
    assert kept_body(store) == b"one" and [path for path in tmp_path.rglob("*") if path.is_file()] == [path_of(store, b"key")]
    store.close()


# -- deaths and disks that fail: at every system call that changes a file ------------------------------------------------------

CHANGING = ("open", "write", "pwrite", "link", "rename", "unlink", "makedirs")
OLD, NEW = b"old" * 9, b"new" * 700


@pytest.fixture(params=["nameless", "named"])
def kind(request: pytest.FixtureRequest) -> str:
    """Whether the file system can hold files without a name."""
    return str(request.param)


def store_of_kind(folder: Path, kind: str) -> Store:
    store = make_store(folder)
    store.identity = own_identity()
    store._drafts.nameless = kind == "nameless"
    return store


class Fault:
    """From the call with that number on, system calls that change files meet their end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, end: Callable[[], None]) -> None:
        self.left = number
        self.end = end
        for name in CHANGING:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, call: Callable[..., object]) -> Callable[..., object]:
        def faulty(*args: object, **named: object) -> object:
            self.left -= 1
            if self.left < 0:
                self.end()
            return call(*args, **named)

        return faulty


def kept(store: Store) -> bytes | None:
    """What a request would be answered with."""
    entry = read(store, b"key")
    if entry is None:
        return None
    entry.check_body()
    assert (entry.times.valid == NOW + 60) and entry.meta.key == b"key"
    assert store.index.valid(entry.row, entry.generation) == (NOW + 60 if entry.generation else 0)
    return entry.body()


def after_a_start(folder: Path) -> bytes | None:
    """What is found by a process that knows nothing but the directory."""
    store = make_store(folder)
    keeper = Keeper(store, lambda: False)
    asyncio.run(keeper._load())
    found = kept(store)
    store.close()
    return found


def test_a_death_between_any_two_system_calls(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that replaces an answer is killed: there is the old one, or the new one, and nothing is left over."""
    seen: list[bytes | None] = []
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        store = store_of_kind(folder, kind)
        assert fill(store, b"key", OLD).finish()
        assert kept(store) == OLD
        pid = os.fork()
        if pid == 0:
            store.identity = own_identity()
            with monkeypatch.context() as patch:
                Fault(patch, number, lambda: os.kill(os.getpid(), signal.SIGKILL))
                fill(store, b"key", NEW[:999], NEW[999:]).finish()
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        alive = kept(store)
        assert alive in (OLD, NEW)
        found = after_a_start(folder)
        assert found == alive
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert len(files) == (found is not None), files
        assert store.index.size() >= sum(path.stat().st_size for path in files)  # whatever is there is counted
        store.purge(*digest(b"key"))
        assert fill(store, b"key", NEW).finish() and kept(store) == NEW  # and it goes on
        store.close()
        seen.append(alive)
        if os.WIFEXITED(status):
            break
    assert seen[0] == OLD and seen[-1] == NEW and len(seen) > 4, seen


def test_what_a_death_left_between_two_files_is_fetched_anew(tmp_path: Path) -> None:
    """The upstream says 304 of the old or of the new one: nobody knows, so neither is good any more."""
    store = make_store(tmp_path)
    assert fill(store, b"key", OLD).finish()
    store.index.replace(*digest(b"key"))  # and killed
    entry = read(store, b"key")
    assert entry is not None and entry.body() == OLD
    store.refresh(entry, Times(NOW + 90, 0, 0, NOW, 0))
    assert kept(store) is None and not os.path.exists(entry.path)
    assert fill(store, b"key", NEW).finish() and kept(store) == NEW
    store.close()


def test_a_disk_that_fails_at_any_call(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, for example: the answer is not stored, and nothing is left of it, neither file nor descriptor."""
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        store = store_of_kind(folder, kind)
        assert fill(store, b"key", OLD).finish()
        descriptors = open_descriptors()
        made = Fill(store, *digest(b"key"), store.index.purges(), False)

        def full() -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        stored = False
        with monkeypatch.context() as patch:
            Fault(patch, number, full)
            try:
                made.begin(Meta(b"key", b"", b"", b"", HEAD), Times(NOW + 60, 0, 0, NOW, 0))
                made.write(NEW)
                stored = made.finish()
            except OSError:
                made.abort()
        made.abort()
        left = [path for path in folder.rglob("*") if path.is_file() and "." in path.name]
        assert len(left) <= (kind == "named" or number > 5)  # one that has a name by then: unlink fails too
        assert open_descriptors() == descriptors
        assert kept(store) == (NEW if stored else OLD)
        assert store.index.look(*digest(b"key"))[1] > 0  # what is kept is as good as before
        assert after_a_start(folder) == (NEW if stored else OLD)
        store.close()
        if stored:
            return
    raise AssertionError("it never worked")


def test_writes_that_take_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path)
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: max(1, len(data) // 2)]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[: max(1, len(data) // 2)], at))
    assert fill(store, b"key", NEW).finish()
    assert kept(store) == NEW
    store.close()


def test_an_answer_from_another_file_system(tmp_path: Path) -> None:
    """`proxy_temp_path` and the cache on two of them: what has its name is whole all the same."""
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    store = make_store(tmp_path)
    store.settings.use_temp_path = True
    store.settings.temp_path = tempfile.mkdtemp(dir="/dev/shm")
    try:
        for nameless in (True, False):
            store._drafts.nameless = nameless
            assert fill(store, b"key", NEW).finish() and kept(store) == NEW
            assert not os.listdir(store.settings.temp_path)
            assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
            store.purge(*digest(b"key"))
    finally:
        os.rmdir(store.settings.temp_path)
        store.close()


def test_two_workers_write_one_key(tmp_path: Path) -> None:
    """Body and times are always of one answer, whoever comes first."""
    store = make_store(tmp_path)
    pids: list[int] = []
    for worker in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                store.identity = own_identity()
                for mine in itertools.count(worker, 3):
                    made = Fill(store, *digest(b"key"), store.index.purges(), False)
                    made.begin(Meta(b"key", b"", b"", b"", HEAD), Times(mine, 0, 0, NOW, 0))
                    made.write(b"%d" % mine * 50)
                    made.finish()
            finally:
                os._exit(1)
        pids.append(pid)
    try:
        seen: set[bytes] = set()
        while len(seen) < 200:
            entry = read(store, b"key")
            if entry is None:
                continue
            body = entry.body()
            assert body == b"%d" % entry.times.valid * 50
            assert store.index.valid(entry.row, entry.generation) in (entry.times.valid, 0)
            seen.add(body)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    store.close()


def test_a_file_takes_up_whole_blocks(tmp_path: Path) -> None:
    """`max_size` is about room on the disk (ngx_http_file_cache_update)."""
    store = make_store(tmp_path)
    block = os.statvfs(tmp_path).f_bsize
    assert [store.room_of(size) for size in (1, block, block + 1)] == [block, block, 2 * block]
    fill(store, b"key", b"x").finish()
    assert store.index.size() == block
