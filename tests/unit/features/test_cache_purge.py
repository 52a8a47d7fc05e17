"""`proxy_cache_purge`: which files a beginning of keys or a tag means."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.unit.cache.test_cache_files import fill, make_store, path_of

from portico.cache.index import Removed
from portico.cache.store import digest
from portico.passing.cached.purge import _is_meant


def test_what_cannot_be_read_might_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is no answer is none: nobody waits for the other end of a FIFO."""
    store = make_store(tmp_path)
    assert fill(store, b"key", b"one").finish()
    row = Removed(*digest(b"key"))
    rows = [(b"k", []), (b"key", []), (b"keys", []), (b"", [b"two"]), (b"", [b"three"])]
    assert [_is_meant(store, row, prefix, tags) for prefix, tags in rows] == [True, True, False, True, False]

    def no_room(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_room)
        assert _is_meant(store, row, b"other", [])
    path_of(store, b"key").unlink()
    assert not _is_meant(store, row, b"key", [])
    os.mkfifo(path_of(store, b"key"))
    assert not _is_meant(store, row, b"key", [])
