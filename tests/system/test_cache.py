"""The cache with real processes: several workers, deaths, reloads, restarts, damaged files, full limits."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.parity.wire import Message
from tests.processes import text_of, wait_until
from tests.system.proxied import End, Proxied, answer, chunked, pattern, running

HTTP = """
    proxy_cache_path @folder@/cache levels=1:2 keys_zone=one:1m loader_sleep=1ms use_temp_path=off;
    proxy_cache_path @folder@/small keys_zone=small:64k max_size=200k inactive=1h;
    proxy_cache_path @folder@/brief keys_zone=brief:64k inactive=1s;
    proxy_cache_path @folder@/kept keys_zone=kept:64k;
    proxy_cache one;
    proxy_cache_valid 200 1h;
    add_header X-Cache $upstream_cache_status always;
    add_header X-Pid $pid always;
    map $request_method $purge { default 0; PURGE 1; }
"""
LOCATIONS = {
    "plain": "",
    "locked": "proxy_cache_lock on; proxy_cache_lock_timeout 30s; proxy_cache_lock_age 30s;",
    "brisk": "proxy_cache_lock on; proxy_cache_lock_timeout 30s; proxy_cache_lock_age 30s;",
    "turns": "proxy_cache_lock on; proxy_cache_lock_timeout 30s; proxy_cache_lock_age 30s;",
    "waiting": "proxy_cache_lock on; proxy_cache_lock_timeout 30s; proxy_cache_lock_age 30s;",
    "hasty": "proxy_cache_lock on; proxy_cache_lock_timeout 200ms;",
    "slow": "",
    "named": 'proxy_cache_key "the $uri"; add_header X-Key "$upstream_cache_key; $upstream_cache_age" always;',
    "forged": "",
    "cut": "",
    "failing": "proxy_cache_use_stale error timeout;",
    "left": "",
    "torn": "",
    "late": "proxy_cache_purge $purge;",
    "damaged100": "",
    "damaged3000000": "",
    "small": "proxy_cache small;",
    "long": "proxy_cache small; proxy_cache_lock on; proxy_cache_lock_timeout 30s;",
    "endless": "proxy_cache small;",
    "unread": "proxy_max_temp_file_size 0; proxy_cache_lock on; proxy_cache_lock_timeout 30s;",
    "brief": "proxy_cache brief;",
    "kept": "proxy_cache kept; proxy_cache_memory 1m;",
    "purged": "proxy_cache_purge $purge;",
    "varied": "proxy_cache_purge $purge; proxy_cache_bypass $http_x_bypass;",
    "guarded": "proxy_cache_purge $purge; limit_except GET HEAD { deny all; }",
    "stale": "proxy_cache_valid 200 1s; proxy_cache_use_stale updating; proxy_cache_background_update on;",
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS, http=HTTP, workers=2, listen="reuseport")) as made:
        yield made


def status_of(message: Message) -> str:
    return (message.get(b"x-cache") or b"").decode()


def pid_of(message: Message) -> int:
    """The worker that answered; never 0, which would be everybody to kill(2)."""
    return int(message.get(b"x-pid") or b"no answer of a worker")


def serve_counts(proxy: Proxied, name: str, body: bytes = b"body", *fields: str) -> None:
    """From now on the upstream answers with `body`."""

    def say(end: End, request: Message) -> None:
        end.send(answer(body, *fields))

    proxy.upstream(name).serve(say)


def files(proxy: Proxied, cache: str) -> list[Path]:
    return [path for path in (proxy.folder / cache).rglob("*") if path.is_file()]


def stats(proxy: Proxied, cache: str) -> list[os.stat_result]:
    found: list[os.stat_result] = []
    for path in files(proxy, cache):
        try:
            found.append(path.stat())
        except FileNotFoundError:
            pass  # it has just gone, or got its name
    return found


def total_size(proxy: Proxied, cache: str) -> int:
    return sum(status.st_size for status in stats(proxy, cache))


def test_what_one_worker_keeps_the_other_has(proxy: Proxied) -> None:
    serve_counts(proxy, "plain")
    assert status_of(proxy.fetch("/plain/shared")) == "MISS"
    pids: set[bytes] = set()

    def both() -> bool:
        message = proxy.fetch("/plain/shared")
        assert status_of(message) == "HIT" and message.body == b"body"
        pids.add(message.get(b"x-pid") or b"")
        return len(pids) == 2

    wait_until(both, what="answers of both workers")


def test_two_hundred_misses_are_one_request(proxy: Proxied) -> None:
    upstream = proxy.upstream("locked")
    release = threading.Event()

    def say(end: End, request: Message) -> None:
        release.wait(8)
        end.send(answer(b"only once"))

    upstream.serve(say)
    clients = [proxy.get("/locked/a") for _ in range(200)]
    try:
        wait_until(lambda: upstream.served > 0, what="a request at the upstream")
        release.set()
        for client in clients:
            assert client.response().body == b"only once"
        assert upstream.served == 1
    finally:
        release.set()
        for client in clients:
            client.close()


def test_a_request_that_comes_while_the_answer_is_stored_is_a_hit(proxy: Proxied) -> None:
    """Another worker stores the answer after this one has not found it, and before it asks for the right to fetch it."""
    upstream = proxy.upstream("brisk")
    serve_counts(proxy, "brisk", b"only once")
    clients = [proxy.client() for _ in range(24)]
    for number in range(60):
        for client in clients:
            client.send(f"GET /brisk/{number} HTTP/1.1\r\nHost: front.example\r\n\r\n".encode())
        for client in clients:
            assert client.response().body == b"only once"
    for client in clients:
        client.close()
    assert upstream.served == 60


def test_what_may_not_be_kept_is_fetched_by_one_after_the_other(proxy: Proxied) -> None:
    """Also when some of those who wait have left."""
    lock = threading.Lock()
    at_once: list[int] = []
    busy = 0

    def say(end: End, request: Message) -> None:
        nonlocal busy
        with lock:
            busy += 1
            at_once.append(busy)
        time.sleep(0.01)
        with lock:
            busy -= 1
        end.send(answer(b"mine", "Cache-Control: no-store"))

    proxy.upstream("turns").serve(say)
    clients = [proxy.get("/turns/a") for _ in range(30)]
    for client in clients[::5]:
        client.close()
    assert [client.response().body for number, client in enumerate(clients) if number % 5] == [b"mine"] * 24
    for client in clients:
        client.close()
    assert max(at_once) == 1


def test_the_lock_opens_in_time(proxy: Proxied) -> None:
    with proxy.get("/hasty/a") as first:
        slow = proxy.accept("hasty")
        slow.request()
        with proxy.get("/hasty/a") as second:
            impatient = proxy.accept("hasty")
            impatient.request()
            impatient.send(answer(b"second"))
            assert second.response().body == b"second"
        slow.send(answer(b"first"))
        assert first.response().body == b"first"
    assert proxy.fetch("/hasty/a").body == b"first"  # what was passed on impatiently is not kept


def test_a_fetching_worker_that_is_killed_lets_the_others_fetch(proxy: Proxied) -> None:
    with proxy.get("/waiting/a") as first:
        upstream = proxy.accept("waiting")
        upstream.request()
        upstream.send(answer(b"half", length=8))
        os.kill(pid_of(first.head()), signal.SIGKILL)
    wait_until(lambda: len(proxy.workers()) == 2, what="a new worker")
    with proxy.get("/waiting/a") as second:
        proxy.accept("waiting").send(answer(b"all of it"))
        assert second.response().body == b"all of it"


def test_a_client_that_leaves_does_not_end_the_fetching(proxy: Proxied) -> None:
    with proxy.get("/left/a") as client:
        upstream = proxy.accept("left")
        upstream.request()
        upstream.send(answer(b"x" * 1000, length=200_000))
        client.head()
    upstream.send(b"y" * 199_000)
    wait_until(lambda: any(status.st_size > 200_000 for status in stats(proxy, "cache")), what="the kept answer")
    message = proxy.fetch("/left/a")
    assert status_of(message) == "HIT" and len(message.body) == 200_000


def test_a_worker_killed_while_it_writes_leaves_nothing_torn(proxy: Proxied) -> None:
    body = pattern(400_000)
    with proxy.get("/torn/a") as client:
        upstream = proxy.accept("torn")
        upstream.request()
        upstream.send(answer(body[:300_000], length=len(body)))
        pid = pid_of(client.head())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in proxy.workers() and len(proxy.workers()) == 2, what="a new worker")
    with proxy.get("/torn/a") as client:
        upstream = proxy.accept("torn")
        upstream.request()
        upstream.send(answer(body))
        message = client.response()
        assert status_of(message) == "MISS" and message.body == body
    assert proxy.fetch("/torn/a").body == body


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_damaged_file_is_fetched_again(proxy: Proxied, size: int) -> None:
    target = f"/damaged{size}/a"
    serve_counts(proxy, f"damaged{size}", pattern(size))
    known = set(files(proxy, "cache"))
    assert status_of(proxy.fetch(target)) == "MISS"
    (path,) = set(files(proxy, "cache")) - known
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    if size < 1 << 20:
        path.write_bytes(data)
    else:
        path.write_bytes(data[:-1])  # a long one is compared with its checksum after a start only: see below

    def again() -> bool:
        message = proxy.fetch(target)
        assert status_of(message) in ("HIT", "MISS")
        return status_of(message) == "MISS" and message.body == pattern(size)

    wait_until(again, what="the answer fetched again")  # whoever has it open looks at the file once a second
    proxy.await_log("is damaged and was removed")
    assert proxy.fetch(target).body == pattern(size)


def test_a_file_cut_short_under_our_hands(proxy: Proxied) -> None:
    """The worker has it open and has just looked at it."""
    serve_counts(proxy, "cut", pattern(3000))
    known = set(files(proxy, "cache"))
    proxy.fetch("/cut/a")
    (path,) = set(files(proxy, "cache")) - known
    for _ in range(4):
        assert status_of(proxy.fetch("/cut/a")) == "HIT"
    os.truncate(path, 500)
    for _ in range(4):
        message = proxy.fetch("/cut/a")
        assert message.status == 200 and message.body == pattern(3000)


def test_stale_answers_hold_no_files(proxy: Proxied) -> None:
    """However often they are served, updated or replaced."""
    serve_counts(proxy, "failing", b"body", "Cache-Control: max-age=1", "Connection: close")
    proxy.fetch("/failing/a")
    proxy.upstream("failing").close()
    wait_until(lambda: status_of(proxy.fetch("/failing/a")) == "STALE", what="a stale answer")
    before = proxy.descriptors()
    for _ in range(60):
        assert status_of(proxy.fetch("/failing/a")) == "STALE"
    wait_until(lambda: proxy.descriptors() <= before + 4, what="files closed")


def test_purging(proxy: Proxied) -> None:
    serve_counts(proxy, "purged", b"body", "Cache-Tag: news, sport")
    for name in ("a", "b1", "b2", "c"):
        proxy.fetch(f"/purged/{name}")
    assert proxy.fetch("/purged/a", method="PURGE").status == 204
    assert proxy.fetch("/purged/a", method="PURGE").status == 404
    assert status_of(proxy.fetch("/purged/a")) == "MISS"
    assert proxy.fetch("/purged/b*", method="PURGE").status == 204
    assert [status_of(proxy.fetch(f"/purged/{name}")) for name in ("b1", "b2", "c")] == ["MISS", "MISS", "HIT"]
    assert proxy.fetch("/purged/", "Cache-Tag: weather", method="PURGE").status == 404
    assert proxy.fetch("/purged/", "Cache-Tag: sport", method="PURGE").status == 204
    assert [status_of(proxy.fetch(f"/purged/{name}")) for name in ("a", "b1", "c")] == ["MISS", "MISS", "MISS"]


def test_purging_is_guarded(proxy: Proxied) -> None:
    serve_counts(proxy, "guarded")
    proxy.fetch("/guarded/a")
    assert proxy.fetch("/guarded/a", method="PURGE").status == 403
    assert status_of(proxy.fetch("/guarded/a")) == "HIT"


def test_an_answer_asked_for_before_a_purge_is_not_kept_after_it(proxy: Proxied) -> None:
    for target, moment in (("/late/a", 0), ("/late/a", 1), ("/late/*", 1), ("/late/other", 1)):
        with proxy.get("/late/a") as client:
            upstream = proxy.accept("late")
            upstream.request()
            if moment == 0:
                assert proxy.fetch(target, method="PURGE").status == 404
            upstream.send(answer(b"old", "Connection: close", length=6))
            client.head()
            if moment == 1:
                assert proxy.fetch(target, method="PURGE").status == 404
            upstream.send(b"old")
            assert client.exactly(6) == b"oldold"
    assert status_of(proxy.fetch("/late/a")) == "HIT"  # the last purge was of another key


def test_a_purge_leaves_no_variant(proxy: Proxied) -> None:
    """Also when the key's own answer is there again, by which variants are found."""
    bodies = {b"de": b"alt", b"en": b"old"}

    def say(end: End, request: Message) -> None:
        end.send(answer(bodies[request.get(b"accept-language") or b""], "Vary: Accept-Language"))

    def ask(language: str) -> tuple[str, bytes]:
        message = proxy.fetch("/varied/a", f"Accept-Language: {language}")
        return status_of(message), message.body

    proxy.upstream("varied").serve(say)
    assert [ask("de"), ask("en")] == [("MISS", b"alt"), ("MISS", b"old")]
    assert [ask("de"), ask("en")] == [("HIT", b"alt"), ("HIT", b"old")]
    bodies.update({b"de": b"neu", b"en": b"new"})
    assert proxy.fetch("/varied/a", method="PURGE").status == 204
    assert [ask("de"), ask("en")] == [("MISS", b"neu"), ("MISS", b"new")]
    assert [ask("de"), ask("en")] == [("HIT", b"neu"), ("HIT", b"new")]
    bodies[b"en"] = b"newer"
    assert proxy.fetch("/varied/a", "Accept-Language: en", "X-Bypass: 1").body == b"newer"  # takes the key's own place …
    assert [ask("en"), ask("de")] == [("HIT", b"newer"), ("MISS", b"neu")]  # … where another variant was


def test_the_size_is_kept(proxy: Proxied) -> None:
    serve_counts(proxy, "small", b"x" * 20_000)
    for number in range(40):
        assert status_of(proxy.fetch(f"/small/{number}")) == "MISS"
        wait_until(lambda: total_size(proxy, "small") <= 200 * 1024, 2, "a cache within its limit")
    assert status_of(proxy.fetch("/small/39")) == "HIT"
    assert status_of(proxy.fetch("/small/0")) == "MISS"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_what_is_longer_than_the_cache_pushes_nothing_out(proxy: Proxied, framing: str) -> None:
    serve_counts(proxy, "small", b"x" * 20_000)
    proxy.fetch("/small/stays")
    body = pattern(300_000)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = answer(body) if framing == "length" else head + chunked(body[:100_000], body[100_000:])
    for _ in range(2):
        with proxy.get(f"/long/{framing}") as client:
            upstream = proxy.accept("long")
            upstream.request()
            upstream.send(whole)
            upstream.half_close()
            message = client.response()
        assert message.body == body and status_of(message) == "MISS"
    assert status_of(proxy.fetch("/small/stays")) == "HIT"


def test_what_has_no_end_is_not_written_for_ever(proxy: Proxied) -> None:
    """Once it is too long for the cache, and the client has left, nobody wants the rest."""
    with proxy.get("/endless/a") as client:
        upstream = proxy.accept("endless")
        upstream.request()
        upstream.send(b"HTTP/1.1 200 OK\r\n\r\n")
        client.head()
    with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
        for _ in range(1000):
            upstream.send(bytes(65536))


def test_a_client_that_does_not_read_keeps_nobody_waiting(proxy: Proxied) -> None:
    """`proxy_max_temp_file_size` is not about what is kept (nginx's documentation)."""
    body = pattern(12_000_000)
    with proxy.get("/unread/a", receive_buffer=4096) as idle:
        upstream = proxy.accept("unread")
        upstream.request()
        with proxy.get("/unread/a") as other:
            upstream.send(answer(body))
            message = other.response()
            assert message.body == body and status_of(message) == "HIT"
        assert idle.response().body == body


def test_what_nobody_asks_for_goes(proxy: Proxied) -> None:
    serve_counts(proxy, "brief")
    proxy.fetch("/brief/a")
    assert files(proxy, "brief")
    wait_until(lambda: not files(proxy, "brief"), seconds=15, what="an empty cache")
    assert status_of(proxy.fetch("/brief/a")) == "MISS"


def test_a_stale_answer_while_the_new_one_is_fetched(proxy: Proxied) -> None:
    upstream = proxy.upstream("stale")
    release = threading.Event()

    def say(end: End, request: Message) -> None:
        if upstream.served == 1:
            end.send(answer(b"old"))
        else:
            release.wait(8)
            end.send(answer(b"new", "Cache-Control: max-age=60"))

    upstream.serve(say)
    assert status_of(proxy.fetch("/stale/a")) == "MISS"
    wait_until(lambda: int(time.time()) > files_time(proxy) + 1, what="the end of its time")
    message = proxy.fetch("/stale/a")
    assert (status_of(message), message.body) == ("STALE", b"old")
    message = proxy.fetch("/stale/a")
    assert (status_of(message), message.body) == ("UPDATING", b"old")
    release.set()
    wait_until(lambda: any(text_of(path).endswith("new") for path in files(proxy, "cache")), what="the new answer's file")
    wait_until(lambda: proxy.fetch("/stale/a").body == b"new", what="the new answer")
    assert upstream.served == 2


def files_time(proxy: Proxied) -> int:
    return int(max(status.st_mtime for status in stats(proxy, "cache")))


def test_a_cache_that_cannot_be_written_to_is_only_no_cache(proxy: Proxied) -> None:
    serve_counts(proxy, "kept")
    proxy.fetch("/kept/a")
    assert status_of(proxy.fetch("/kept/a")) == "HIT"
    for path in files(proxy, "kept"):
        path.unlink()
    (proxy.folder / "kept").rmdir()
    (proxy.folder / "kept").write_bytes(b"")
    for _ in range(3):
        message = proxy.fetch("/kept/b")
        assert (status_of(message), message.body) == ("MISS", b"body")
    line = proxy.await_log("cannot be stored in the cache")
    assert "Not a directory" in line
    workers = len(proxy.workers())
    assert sum("cannot be stored" in line for line in proxy.log().splitlines()) <= workers


def test_everything_is_there_after_a_crash() -> None:
    with running(Proxied(LOCATIONS, http=HTTP, workers=2, listen="reuseport")) as proxy:
        serve_counts(proxy, "plain", pattern(3_000_000))
        serve_counts(proxy, "slow")
        for name in "abc":
            proxy.fetch(f"/plain/{name}")
            proxy.fetch(f"/slow/{name}")
        large = sorted(path for path in files(proxy, "cache") if path.stat().st_size > 1 << 20)
        data = bytearray(large[0].read_bytes())
        data[-50] ^= 1
        large[0].write_bytes(data)
        leftover = large[1].with_name(f"{large[1].name}.999999999.1")
        leftover.write_bytes(b"half")
        proxy.start_anew()
        assert [status_of(proxy.fetch(f"/slow/{name}")) for name in "abc"] == ["HIT"] * 3
        with ExitStack() as stack:  # several at once: nobody gets what is still being compared with its checksum
            asked = [(name, stack.enter_context(proxy.get(f"/plain/{name}"))) for name in "aaaabbbbcccc"]
            seen = [(name, end.response()) for name, end in asked]
        assert all(message.body == pattern(3_000_000) for _, message in seen)
        assert len({name for name, message in seen if status_of(message) == "MISS"}) == 1
        wait_until(lambda: not leftover.exists(), what="the half-written file's end")


def test_a_reload_keeps_what_is_kept() -> None:
    with running(Proxied(LOCATIONS, http=HTTP, workers=2, listen="reuseport")) as proxy:
        serve_counts(proxy, "plain")
        proxy.fetch("/plain/a")
        old = set(proxy.workers())
        proxy.process.send(signal.SIGHUP)
        wait_until(lambda: len(set(proxy.workers()) - old) == 2 and not old & set(proxy.workers()), what="new workers")
        assert status_of(proxy.fetch("/plain/a")) == "HIT"
        assert proxy.upstream("plain").served == 1
        old = set(proxy.workers())
        with proxy.get("/late/b") as client:  # what an old worker still fetches is not stored where another index does not look
            upstream = proxy.accept("late")
            upstream.request()
            before = set(files(proxy, "cache"))
            conf = proxy.folder / "nginx.conf"
            conf.write_text(conf.read_text().replace("keys_zone=one:1m", "keys_zone=one:2m"))
            proxy.process.send(signal.SIGHUP)
            wait_until(lambda: len(set(proxy.workers()) - old) == 2 and len(old & set(proxy.workers())) == 1, what="new workers")
            assert status_of(proxy.fetch("/plain/a")) == "HIT"
            upstream.send(answer(b"late"))
            assert client.response(b"GET").body == b"late"
        wait_until(lambda: not old & set(proxy.workers()), what="the old worker's end")
        assert set(files(proxy, "cache")) == before and len(before) == 1
