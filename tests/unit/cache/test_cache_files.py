"""The file of a kept answer: what is written is read, and whatever is not that is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.cache.entry import Damaged, Meta, Times, open_entry
from portico.cache.fill import Fill
from portico.cache.index import COLUMNS, Index
from portico.cache.store import CachePath, Store, digest
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
    made = store.fill(*digest(key))
    made.begin(Meta(key, b"accept", b"accept:x", b"one two", HEAD), Times(NOW + 60, 0, NOW + 90, NOW, 3))
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
    assert (times.valid, times.updating, times.error, times.stored, times.age) == (NOW + 60, 0, NOW + 90, NOW, 3)
    assert entry.body() == b"hello"
    entry.check_body()
    entry.note_times(Times(NOW + 600, 0, 0, NOW, 0))
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
        path.write_bytes(b"PORTICO\x01" + data)
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
    key = digest(b"yours")
    slot, generation, _ = store.index.store(*key, 10, NOW, 0, 0, NOW)
    assert store.read(b"yours", b"yours", *key, slot, 7, generation) is None


def test_a_purge_meanwhile_keeps_it_out(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    late = fill(store, b"key", b"old")
    store.index.note_purge()
    assert late.finish() is False and not path_of(store, b"key").exists()


def test_at_hand_until_it_changes(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"one").finish()
    key = digest(b"key")
    slot, flags, generation, _, _ = store.index.use(*key, NOW)
    assert store.read(b"key", b"key", *key, slot, flags, generation) is not None
    kept = store.at_hand(b"key", NOW + 1)
    assert kept is not None and kept.body() == b"one"
    fill(store, b"key", b"two").finish()
    assert store.at_hand(b"key", NOW + 1) is None
    store.close()


def test_a_file_that_vanished_is_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"one").finish()
    key = digest(b"key")
    slot, flags, generation, _, _ = store.index.use(*key, NOW)
    store.read(b"key", b"key", *key, slot, flags, generation)
    path_of(store, b"key").unlink()
    assert store.at_hand(b"key", NOW + 1) is None
    assert store.read(b"key", b"key", *key, slot, flags, generation) is None
    assert store.index.look(*key) == (0, 0)


def test_memory_is_bounded(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.memory = 40
    for number in range(8):
        name = b"%d" % number
        fill(store, name, b"x" * 10).finish()
        key = digest(name)
        slot, flags, generation, _, _ = store.index.use(*key, NOW)
        entry = store.read(name, name, *key, slot, flags, generation)
        assert entry is not None
        store.keep_body(entry, entry.body())
    kept = [entry for entry in (store.at_hand(b"%d" % number, NOW) for number in range(8)) if entry is not None and entry.data]
    assert len(kept) == 4 and kept[-1].meta.key == b"7"
    store.close()
