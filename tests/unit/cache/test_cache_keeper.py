"""A cache's upkeep: one worker does it for all, and another when that one dies or leaves."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from tests.unit.cache.test_cache_files import NOW, fill, make_store, path_of, read

from portico.cache.draft import owner_of
from portico.cache.index import EXISTS
from portico.cache.keeper import Keeper
from portico.cache.store import Store, digest, file_name
from portico.zones import owner
from portico.zones.owner import own_identity


def keeper_of(store: Store) -> Keeper:
    store.identity = own_identity()
    return Keeper(store, lambda: False)


async def until_loaded(keeper: Keeper) -> None:
    running = asyncio.ensure_future(keeper.run())
    while not keeper.store.index.is_loaded():
        await asyncio.sleep(0.001)
    keeper.ended = True
    running.cancel()


def identity_of_a_dead_process() -> int:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write_end, b"%d" % own_identity())
        os._exit(0)
    os.waitpid(pid, 0)
    identity = int(os.read(read_end, 99))
    os.close(read_end)
    os.close(write_end)
    return identity


def test_another_goes_on_when_the_keeper_has_died(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"body").finish()
    new = make_store(tmp_path)  # an index that knows nothing yet, and whose keeper died before it did
    assert new.index.lease.acquire(identity_of_a_dead_process(), 3600.0)
    keeper = keeper_of(new)
    asyncio.run(asyncio.wait_for(until_loaded(keeper), 5))
    assert new.index.lease.holder() == new.identity and new.index.look(*digest(b"key"))[0] & EXISTS
    keeper.leave()
    assert new.index.lease.holder() == 0


def test_nobody_takes_it_from_a_keeper_that_lives(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert store.index.lease.acquire(own_identity(), 3600.0)
    keeper = Keeper(store, lambda: False)
    store.identity = own_identity() + 1  # another worker

    async def briefly() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(keeper.run(), 0.1)

    asyncio.run(briefly())
    assert store.index.lease.holder() == own_identity() and not store.index.is_loaded()
    keeper.leave()
    assert store.index.lease.holder() == own_identity()


def test_a_worker_that_leaves_hands_it_on_at_once(tmp_path: Path) -> None:
    """A reload: the old worker may have connections for hours, and looks after the cache no more. The index is the same."""
    store = make_store(tmp_path)
    leaving = [False, True]
    store.identity = own_identity()
    keeper = Keeper(store, lambda: leaving.pop(0) if leaving else True)
    asyncio.run(asyncio.wait_for(keeper.run(), 5))
    assert store.index.lease.holder() == 0 and not store.index.is_loaded()
    following = keeper_of(store)
    asyncio.run(asyncio.wait_for(until_loaded(following), 5))
    assert store.index.lease.holder() == own_identity()


def test_a_worker_that_hangs_loses_it_and_stops_when_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"x").finish()  # used last at NOW, which is long ago
    keeper = keeper_of(store)
    moment = 1e6
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    assert keeper._goes_on()
    moment += 3600.0
    parent = os.getppid()
    assert store.index.lease.acquire(owner._identity(parent, owner._start_time(parent)), 3600.0)
    asyncio.run(keeper._tidy())
    assert path_of(store, b"key").exists()
    store.index.lease.release(store.index.lease.holder())
    asyncio.run(keeper._tidy())
    assert path_of(store, b"key").exists()  # it was looked at a moment ago
    moment += 3600.0
    asyncio.run(keeper._tidy())
    assert not path_of(store, b"key").exists()


def test_what_is_no_answer_is_removed_at_the_start(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"body").finish()
    path = path_of(store, b"key")
    dead, alive = identity_of_a_dead_process(), own_identity()
    names = [f"{path.name}.{dead:x}.1", f"{path.name}.{alive:x}.1", "other.txt"]
    for name in names:
        path.with_name(name).write_bytes(b"half")
    elsewhere = tmp_path / "cache" / file_name(*digest(b"of other levels"))
    elsewhere.write_bytes(b"whole")
    new = make_store(tmp_path)
    asyncio.run(asyncio.wait_for(until_loaded(keeper_of(new)), 5))
    assert sorted(found.name for found in path.parent.iterdir()) == sorted([path.name, *names[1:]])
    assert not elsewhere.exists()
    entry = read(new, b"key")
    assert entry is not None and entry.body() == b"body"
    new.close()


@pytest.mark.parametrize("place", ["temp", "levels", "flat"])
def test_what_a_dead_worker_leaves_the_next_one_removes(tmp_path: Path, place: str) -> None:
    """When it starts, though the files have been looked through long ago; not where that would be to list all answers."""
    store = make_store(tmp_path, () if place == "flat" else (1, 2))
    store.settings.use_temp_path = place == "temp"
    store.settings.temp_path = str(tmp_path)
    store.index.set_loaded()
    folder = tmp_path if place == "temp" else tmp_path / "cache"
    dead, name = identity_of_a_dead_process(), file_name(*digest(b"key"))
    leftovers = [f"{name}.{dead:x}.1", f"store.{dead:x}.12"]
    others = [
        f"{name}.{own_identity():x}.1", f"store.{own_identity():x}.1", f"{name}.{dead:x}", f"other.{dead:x}.1", f"{name}.x.1", name,
        f"{name}.-{dead:x}.1", f"{name}.{dead:x}.1.1", f"{'x' * 32}.{dead:x}.1",
    ]  # fmt: skip
    for leftover in leftovers + others:
        (folder / leftover).write_bytes(b"half")
    keeper = keeper_of(store)
    keeper.ended = True
    asyncio.run(keeper.run())
    assert {path.name for path in folder.iterdir() if path.is_file()} == set(others + (leftovers if place == "flat" else []))


def test_drafts_are_where_the_next_worker_looks(tmp_path: Path) -> None:
    """On a file system that knows no files without names."""
    store = keeper_of(make_store(tmp_path)).store
    store._drafts.nameless = False
    for use_temp_path, folder in ((True, tmp_path / "temp"), (False, tmp_path / "cache")):
        store.settings.use_temp_path = use_temp_path
        store.settings.temp_path = str(tmp_path / "temp")
        made = fill(store, b"key", b"body")
        assert [owner_of(path.name) for path in folder.iterdir() if path.is_file()] == [own_identity()]
        assert made.finish() and [path for path in tmp_path.rglob("*") if path.is_file()] == [path_of(store, b"key")]
        assert store.purge(*digest(b"key"))


@pytest.mark.parametrize(("limit", "left"), [("max_size", 2), ("min_free", 3)])
def test_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, left: int) -> None:
    store = make_store(tmp_path)
    block = store.room_of(1)
    for number in range(5):
        fill(store, b"%d" % number, b"x").finish()
    if limit == "max_size":
        store.settings.max_size = 2 * block
    else:
        store.settings.min_free = 10 * block
        real = os.statvfs

        def almost_full(path: str) -> os.statvfs_result:
            """Eight blocks are free, and one more for each file that goes."""
            gone = 5 - sum(1 for found in tmp_path.rglob("*") if found.is_file())
            known = real(path)
            return os.statvfs_result((block, block, known.f_blocks, 8 + gone, 8 + gone, *known[5:]))

        monkeypatch.setattr(os, "statvfs", almost_full)
    keeper = keeper_of(store)
    store.settings.inactive = 1 << 40
    asyncio.run(keeper._tidy())
    assert sum(1 for found in tmp_path.rglob("*") if found.is_file()) == left == store.index.count()
    assert path_of(store, b"4").exists() and not path_of(store, b"0").exists()


def test_what_dead_workers_fetched_is_given_up_like_the_rest(tmp_path: Path) -> None:
    """However many of them stand at the old end."""
    store = make_store(tmp_path)
    dead, alive = identity_of_a_dead_process(), own_identity()
    for number in range(45):
        key = b"%d" % number
        fill(store, key, b"x").finish()
        if number < 40:
            store.index.claim(*digest(key), alive if number == 7 else dead, 0, 0)
    keeper = keeper_of(store)
    store.settings.inactive = 100
    asyncio.run(keeper._tidy())
    assert [number for number in range(45) if path_of(store, b"%d" % number).exists()] == [7] and store.index.count() == 1


@pytest.mark.parametrize("worker", ["f" * 26, "ffffffffffffffff", "-1", "0x1", "", "1_0"])
def test_a_name_that_only_looks_like_a_drafts(tmp_path: Path, worker: str) -> None:
    """Whatever somebody else has put there: the keeper goes on."""
    store = make_store(tmp_path)
    fill(store, b"key", b"x").finish()
    path = path_of(store, b"key")
    path.with_name(f"{path.name}.{worker}.1").touch()
    keeper = keeper_of(make_store(tmp_path))
    asyncio.run(keeper._load())
    assert keeper.store.index.is_loaded() and keeper.store.index.count() == 1


def test_a_clock_that_is_set_back_does_not_keep_it_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path)
    keeper = keeper_of(store)
    store.settings.inactive = 100
    moment, wall = 50.0, NOW + 50.0
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    monkeypatch.setattr(time, "time", lambda: wall)
    asyncio.run(keeper._tidy())
    wall -= 3600
    fill(store, b"key", b"x").finish()
    store.index.use(*digest(b"key"), int(wall) - 200)
    asyncio.run(keeper._tidy())
    assert path_of(store, b"key").exists()  # it was looked a moment ago
    moment += 11
    asyncio.run(keeper._tidy())
    assert not path_of(store, b"key").exists()


def test_what_is_found_at_the_start_stays_for_a_while(tmp_path: Path) -> None:
    """When it was asked for last nobody knows: the file's own times are those of the disk, which may not be written for a day."""
    before = make_store(tmp_path)
    fill(before, b"key", b"x").finish()
    os.utime(path_of(before, b"key"), (NOW, NOW))
    keeper = keeper_of(make_store(tmp_path))
    asyncio.run(keeper._load())
    asyncio.run(keeper._tidy())
    assert path_of(before, b"key").exists() and keeper.store.index.count() == 1


def test_what_nobody_asks_for_goes(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    fill(store, b"key", b"x").finish()  # used last at NOW, which is long ago
    assert NOW < 1_750_000_000
    asyncio.run(keeper_of(store)._tidy())
    assert not path_of(store, b"key").exists() and store.index.count() == 0
