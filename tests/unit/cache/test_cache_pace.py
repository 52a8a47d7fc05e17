"""What `proxy_cache_path` says of the pace of upkeep is done: batches, pauses, turns; and where its files are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.cache.test_cache_files import fill, make_store, path_of

from portico.cache.index import EXISTS
from portico.cache.keeper import Keeper
from portico.cache.store import Store, digest


def store_with(folder: Path, count: int) -> Store:
    store = make_store(folder)
    for number in range(count):
        assert fill(store, b"%d" % number, b"hello").finish()
    return store


def kept(store: Store) -> int:
    return sum(1 for number in range(64) if store.index.look(*digest(b"%d" % number))[0] & EXISTS)


def pauses(patch: pytest.MonkeyPatch) -> list[float]:
    """From now on nothing sleeps; how long it would have."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    patch.setattr(asyncio, "sleep", sleep)
    return slept


def tidy(store: Store) -> None:
    asyncio.run(Keeper(store, lambda: False)._tidy())


def test_manager_files_and_sleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with(tmp_path, 10)
    store.settings.manager_files = 3
    store.settings.manager_sleep = 0.25
    slept = pauses(monkeypatch)
    tidy(store)
    assert kept(store) == 0 and slept.count(0.25) == 3  # 3, 3, 3, and the last one


def test_manager_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with(tmp_path, 10)
    store.settings.manager_threshold = 0.0
    slept = pauses(monkeypatch)
    tidy(store)
    assert kept(store) == 0 and len(slept) == 10  # others have their turn after each


def test_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_with(tmp_path, 10)
    found = make_store(tmp_path)
    found.settings.loader_files = 4
    found.settings.loader_sleep = 0.125
    found.settings.loader_threshold = 10.0
    slept = pauses(monkeypatch)
    asyncio.run(Keeper(found, lambda: False)._load())
    assert kept(found) == 10 and found.index.is_loaded() and set(slept) == {0.125} and len(slept) >= 2


def test_another_cache_inside(tmp_path: Path) -> None:
    """Its files are its own."""
    (tmp_path / "cache").mkdir()
    inner = store_with(tmp_path / "cache", 3)
    outer = make_store(tmp_path)
    outer.settings.others.append(inner.settings.path)
    asyncio.run(Keeper(outer, lambda: False)._load())
    assert kept(outer) == 0 and path_of(inner, b"1").exists()
    outer.settings.others.clear()
    asyncio.run(Keeper(make_store(tmp_path), lambda: False)._load())
    assert not path_of(inner, b"1").exists()  # otherwise what lies in the wrong place goes


def test_use_temp_path(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.settings.use_temp_path = True
    store.settings.temp_path = str(tmp_path / "temp")
    made = fill(store, b"a", b"hello")
    assert (tmp_path / "temp").is_dir() and not path_of(store, b"a").parent.exists()
    assert made.finish() and path_of(store, b"a").exists()
