"""What is wrong with a cache's configuration is said at `-t`, with what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.unit.cache.test_cache_keeper import identity_of_a_dead_process

from portico.errorlog import ErrorLog, LogFiles
from portico.net.reactor import Reactor
from portico.passing.cached.attach import CacheHook
from portico.passing.store import Stores
from portico.program import Program, Source, load_program
from portico.supervisor.plan import LoadFailed
from portico.worker.runtime import Runtime
from portico.zones.owner import own_identity


def problem(folder: Path, text: str, location: str = "") -> tuple[str, str]:
    """The first error's message and hint; empty ones when there is none. `@` is the folder."""
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "nginx.conf").write_text(
        f"events {{}} http {{ {text.replace('@', str(folder))}\n server {{ listen 127.0.0.1:1; "
        f"location / {{ {location} proxy_pass http://127.0.0.1:2; }} }} }}"
    )
    try:
        load_program(Source(f"{folder}/", "nginx.conf", "", ""), None).close()
    except LoadFailed as failed:
        error = failed.diagnostics.errors[0]
        assert len(failed.diagnostics.errors) == 1 or "proxy_cache " not in location
        return error.message, error.hint
    return "", ""


SIZE = "a size, as in 10g, 512m or 64k"
TIME = "a time, as in 10m, 1h30m or 50ms"
ZONE = "a name and a size for the index, as in keys_zone=pages:10m"
LEVELS = "one to three of 1 and 2, as in levels=1:2"
FILES = "how many files at a time, as in 100"


@pytest.mark.parametrize(
    ("parameters", "message", "hint"),
    [
        ("max_size=1m", '"proxy_cache_path" must have "keys_zone" parameter', ZONE),
        ("keys_zone=a", 'invalid keys zone size "keys_zone=a"', ZONE),
        ("keys_zone=a:x", 'invalid keys zone size "keys_zone=a:x"', ZONE),
        ("keys_zone=:1m", 'invalid keys zone size "keys_zone=:1m"', ZONE),
        ("keys_zone=a:8k", 'keys zone "keys_zone=a:8k" is too small', "16k is the least: 128 bytes for each entry"),
        ("keys_zone=a:1m levels=3", 'invalid "levels" "levels=3"', LEVELS),
        ("keys_zone=a:1m levels=0", 'invalid "levels" "levels=0"', LEVELS),
        ("keys_zone=a:1m levels=1:2:2:2", 'invalid "levels" "levels=1:2:2:2"', LEVELS),
        ("keys_zone=a:1m levels=1:", 'invalid "levels" "levels=1:"', LEVELS),
        ("keys_zone=a:1m inactive=x", 'invalid inactive value "inactive=x"', TIME),
        ("keys_zone=a:1m max_size=1t", 'invalid max_size value "max_size=1t"', SIZE),
        ("keys_zone=a:1m min_free=-1", 'invalid min_free value "min_free=-1"', SIZE),
        ("keys_zone=a:1m loader_files=x", 'invalid loader_files value "loader_files=x"', FILES),
        ("keys_zone=a:1m manager_files=-1", 'invalid manager_files value "manager_files=-1"', FILES),
        ("keys_zone=a:1m loader_sleep=x", 'invalid loader_sleep value "loader_sleep=x"', TIME),
        ("keys_zone=a:1m manager_threshold=", 'invalid manager_threshold value "manager_threshold="', TIME),
        ("keys_zone=a:1m use_temp_path=x", 'invalid use_temp_path value "use_temp_path=x", it must be "on" or "off"', ""),
        (
            "keys_zone=a:1m max=1m",
            'invalid parameter "max=1m"',
            "levels, keys_zone, inactive, max_size, min_free, use_temp_path, loader_… and manager_…, each with = and a value",
        ),
    ],
)
def test_bad_parameters(tmp_path: Path, parameters: str, message: str, hint: str) -> None:
    assert problem(tmp_path, f"proxy_cache_path @/cache {parameters};") == (message, hint)


@pytest.mark.parametrize("parameters", ["levels=", "levels=1:2:2", "loader_files=0 manager_files=0", "max_size=0 min_free=1g"])
def test_good_parameters(tmp_path: Path, parameters: str) -> None:
    assert problem(tmp_path, f"proxy_cache_path @/cache keys_zone=a:16k {parameters};", "proxy_cache a;") == ("", "")


def test_bad_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "theirs").mkdir()
    where = f'the cache "{tmp_path}/'
    text = "proxy_cache_path @/%s keys_zone=a:1m;"
    assert problem(tmp_path, text % "file") == (
        f'{where}file" is no directory', "name a directory; it is made if it is not there"
    )  # fmt: skip
    assert problem(tmp_path, text % "file/below")[0].startswith(f'{where}file/below" cannot be made')
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != f"{tmp_path}/theirs" and access(path, mode))
    assert problem(tmp_path, text % "theirs") == (
        f'{where}theirs" cannot be written to', "give the directory to the user of the workers"
    )  # fmt: skip
    assert problem(tmp_path, text % "theirs/a/b") == (
        f'{where}theirs/a/b" cannot be made: "{tmp_path}/theirs" cannot be written to', "make the directory yourself"
    )  # fmt: skip


def test_zones(tmp_path: Path) -> None:
    two = "proxy_cache_path @/one keys_zone=a:1m; proxy_cache_path @/%s keys_zone=%s:1m;"
    assert problem(tmp_path, two % ("two", "a")) == ('duplicate zone "a"', "each cache needs a name of its own")
    (tmp_path / "one").mkdir()
    (tmp_path / "link").symlink_to("one")
    (tmp_path / "far").symlink_to(tmp_path / "not there yet")
    for first, again in (
        ("one", "one"), ("one", "./one"), ("one", "x/../one/"), ("one", "/one"), ("one", "link"), ("link", "one/."),
        ("far/a", "not there yet/a"),
    ):  # fmt: skip
        text = f'proxy_cache_path "@/{first}" keys_zone=a:1m;\nproxy_cache_path "@/{again}" keys_zone=b:1m;'
        shown = f"{tmp_path}/{again}".rstrip("/")
        assert problem(tmp_path, text, "proxy_cache b;") == (
            f'the same path name "{shown}" used in {tmp_path}/nginx.conf:1 and', "each cache needs a directory of its own"
        )  # fmt: skip
    assert problem(tmp_path, two % ("two", "b"), "proxy_cache c;") == (
        '"proxy_cache" zone "c" is unknown', "no proxy_cache_path has it as its keys_zone"
    )  # fmt: skip
    assert problem(tmp_path, two % ("one/inside", "b"), "proxy_cache b;") == ("", "")


def caches_of(folder: Path, text: str, before: Program | None = None) -> tuple[Program, CacheHook]:
    """A program, and what its caches have in each worker."""
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "nginx.conf").write_text(f"events {{}} http {{ {text.replace('@', str(folder))} }}")
    made = load_program(Source(f"{folder}/", "nginx.conf", "", ""), before)
    hooks = [hook for service in made.services for hook in service.hooks if isinstance(hook, CacheHook)]
    return made, hooks[0]


def test_one_cache_in_another(tmp_path: Path) -> None:
    """The outer one's keeper leaves the inner one's files alone, by whatever path it is told of them."""
    (tmp_path / "link").symlink_to("one")
    for outer, inner in (("one", "one/in"), ("one", "link/in"), ("link", "one/./in"), ("one", "x/../one/in")):
        zones = [f"proxy_cache_path @/{outer} keys_zone=a:1m;", f"proxy_cache_path @/{inner} keys_zone=b:1m;"]
        for text in (zones[0] + zones[1], zones[1] + zones[0]):
            stores = caches_of(tmp_path, text)[1].caches.stores
            assert stores[b"a"].settings.others == [f"{tmp_path}/{outer}/in"] and stores[b"b"].settings.others == []


def test_an_index_that_another_takes_the_place_of_is_retired(tmp_path: Path) -> None:
    """Of a size, a name or levels of its own: but for what goes on, nothing is stored by workers of before."""
    text = "proxy_cache_path @/one keys_zone=a:%s %s;"
    running, hook = caches_of(tmp_path, text % ("1m", "levels=1:2"))
    assert hook.retired == []
    index = hook.caches.stores[b"a"].index
    following, hook = caches_of(tmp_path, text % ("1m", "levels=1:2 inactive=1h"), running)
    assert hook.retired == [] and not index.is_retired()
    for changed in (text % ("2m", "levels=1:2"), text % ("1m", ""), (text % ("1m", "levels=1:2")).replace("=a", "=b")):
        _, hook = caches_of(tmp_path, changed, following)
        assert len(hook.retired) == 1 and not index.is_retired()  # not before it runs
    hook.retired[0].retire()
    assert index.is_retired() and not hook.caches.stores[b"b"].index.is_retired()


def test_the_drafts_of_proxy_store_that_dead_workers_left_are_removed(tmp_path: Path) -> None:
    text = "server { listen 127.0.0.1:1; proxy_temp_path @/%s; location / { proxy_store on; proxy_pass http://127.0.0.1:2; } }"
    (tmp_path / "logs").mkdir()
    (tmp_path / "nginx.conf").write_text(f"events {{}} http {{ {(text % 'a' + text % 'b').replace('@', str(tmp_path))} }}")
    made = load_program(Source(f"{tmp_path}/", "nginx.conf", "", ""), None)
    made.open()
    kept = f"store.{own_identity():x}.1"
    for folder in ("a", "b"):
        for name in (f"store.{identity_of_a_dead_process():x}.1", kept):
            (tmp_path / folder / name).write_bytes(b"half")
    hooks = [hook for service in made.services for hook in service.hooks if isinstance(hook, Stores)]
    assert len(hooks) == 1
    hooks[0].start(Runtime(Reactor(), ErrorLog([], LogFiles()), 8, 0))
    assert [path.name for folder in "ab" for path in (tmp_path / folder).iterdir()] == [kept, kept]


def test_a_store_and_a_cache(tmp_path: Path) -> None:
    text = "proxy_cache_path @/one keys_zone=a:1m;"
    both = "proxy_cache a; proxy_store on;"
    message = '"proxy_cache" directive is incompatible with "proxy_store"'
    hint = "a response is cached for a time by the one and stored for good by the other: remove one of them"
    assert problem(tmp_path, text, both) == (message, hint)
    assert problem(tmp_path, text + both) == (message, hint)
    assert problem(tmp_path, f"{text} proxy_cache a;", "proxy_store on;") == ("", "")
    assert problem(tmp_path, text, "proxy_cache a; proxy_store off;") == ("", "")
    assert problem(tmp_path, "", 'proxy_store "";') == ("an empty path", "on, off, or a path such as /data/www$uri")
    assert problem(tmp_path, "", "proxy_store_access user:rx;") == (
        'invalid value "user:rx"', "user:, group: or all: with rw or r, as in group:r"
    )  # fmt: skip
