"""What goes wrong between Portico and its upstreams, and what the client, the upstream and the log learn of it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
from tests.parity.wire import Message
from tests.processes import wait_until
from tests.system.proxied import End, Proxied, answer, chunked, running

HTTP = """
    upstream three { server @a@ max_fails=0; server @b@ max_fails=0; server @c@ max_fails=0; }
    upstream failing { server @d@ max_fails=2 fail_timeout=1s; server @e@; }
    upstream spare { server @f@ max_fails=1 fail_timeout=60s; server @g@ backup; }
    upstream off { server @h@ down; server @i@; }
    upstream none { server @h@ down; server @j@ down; }
    upstream one { server @k@ max_conns=1; server @l@ max_conns=1; }
"""
METHODS = {
    "turns": "",
    "least": "least_conn;",
    "address": "ip_hash;",
    "hashed": "hash $uri;",
    "ring": "hash $uri consistent;",
    "chance": "random;",
}
for _name, _method in METHODS.items():
    _backup = "server @n@ backup down;" if _method in ("", "least_conn;") else ""  # the others know no backups
    HTTP += f"upstream lonely_{_name} {{ {_method} server @n@ down; server @m@; {_backup} }}\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LOCATIONS = {
    "refused": "proxy_pass http://@dead1@;",
    "full": "proxy_connect_timeout 300ms; proxy_pass http://@full@;",
    "mute": "proxy_read_timeout 250ms;",
    "closed": "",
    "reset": "",
    "halfhead": "",
    "garbage": "",
    "big": "proxy_buffer_size 1k; proxy_buffers 8 1k; proxy_busy_buffers_size 2k;",
    "badchunk": "",
    "headonly": "",
    "interim": "",
    "more": "",
    "left": "",
    "leftearly": "",
    "leftbody": "",
    "halfclosed": "",
    "stays": "proxy_ignore_client_abort on;",
    "three": "proxy_pass http://three; proxy_next_upstream error timeout http_503 invalid_header; proxy_read_timeout 250ms;",
    "two": "proxy_pass http://three; proxy_next_upstream_tries 2;",
    "hurried": "proxy_pass http://three; proxy_next_upstream_timeout 100ms; proxy_read_timeout 200ms;",
    "never": "proxy_pass http://three; proxy_next_upstream off;",
    "asked": "proxy_pass http://three; proxy_next_upstream error non_idempotent;",
    "failing": "proxy_pass http://failing;",
    "spare": "proxy_pass http://spare;",
    "off": "proxy_pass http://off;",
    "none": "proxy_pass http://none;",
    "one": "proxy_pass http://one;",
    **{name: f"proxy_next_upstream error http_503; proxy_pass http://lonely_{name};" for name in METHODS},
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    made = Proxied(LOCATIONS, http=HTTP)
    full = made.upstream("full").sock  # its queue is full: a connection is neither made nor refused
    full.listen(0)
    waiting = [socket.socket() for _ in range(3)]
    for sock in waiting:
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
    with running(made):
        yield made
    for sock in waiting:
        sock.close()


def test_refused(proxy: Proxied) -> None:
    assert proxy.fetch("/refused/x?y=z", "Referer: http://r.example/").status == 502
    line = proxy.await_log("connect() failed (111: Connection refused) while connecting to upstream")
    assert "[error]" in line
    context = line.partition("while connecting to upstream")[2]
    assert context.startswith(
        ', client: 127.0.0.1, server: front.example, request: "GET /refused/x?y=z HTTP/1.1", upstream: '
    )
    assert context.endswith('/refused/x?y=z", host: "front.example", referrer: "http://r.example/"')
    assert '"http://127.0.0.1:' in context
    proxy.await_access("/refused/x?y=z 502 502 ")


def test_no_room_for_a_connection(proxy: Proxied) -> None:
    assert proxy.fetch("/full/").status == 504
    proxy.await_log("upstream timed out (110: Connection timed out) while connecting to upstream")
    proxy.await_access("/full/ 504 504 ")


def test_no_answer_in_time(proxy: Proxied) -> None:
    with proxy.get("/mute/") as client, proxy.accept("mute") as upstream:
        upstream.request()
        assert client.response().status == 504
        assert upstream.ended()
    proxy.await_log(
        "upstream timed out (110: Connection timed out) while reading response header from upstream"
    )


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("closed", b"", "upstream prematurely closed connection while reading response header from upstream"),
        ("halfhead", b"HTTP/1.1 200 OK\r\nX: ", "upstream prematurely closed connection while reading response header"),
        ("garbage", b"\x00\x01\x02\xff" * 20 + b"\r\n\r\n", "while reading response header from upstream"),
        ("garbage", b"HTTP/1.1 abc\r\n\r\n", "while reading response header from upstream"),
        ("garbage", b"HTTP/1.1 200 OK\r\nBad name: x\r\n\r\n", "while reading response header from upstream"),
        ("garbage", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "while reading response header from upstream"),
        ("garbage", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "header from upstream"),
        ("garbage", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "101"),
        ("big", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000 + b"\r\n\r\n", "upstream sent too big header while reading"),
        ("big", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000, "upstream sent too big header while reading"),
    ],
    ids=[
        "nothing", "half a head", "noise", "no status", "bad name", "bad length", "two lengths", "101", "big", "endless",
    ],
)  # fmt: skip
def test_bad_answers(proxy: Proxied, name: str, data: bytes, reason: str) -> None:
    before = proxy.log().count(reason)
    with proxy.get(f"/{name}/") as client, proxy.accept(name) as upstream:
        upstream.request()
        upstream.send(data)
        upstream.half_close()
        assert client.response().status == 502
    wait_until(lambda: proxy.log().count(reason) > before, what=reason)


def test_reset_instead_of_an_answer(proxy: Proxied) -> None:
    with proxy.get("/reset/") as client:
        upstream = proxy.accept("reset")
        upstream.request()
        upstream.reset()
        assert client.response().status == 502
    proxy.await_log(
        "recv() failed (104: Connection reset by peer) while reading response header from upstream"
    )


def test_bad_chunk_ends_the_answer(proxy: Proxied) -> None:
    with proxy.get("/badchunk/") as client, proxy.accept("badchunk") as upstream:
        upstream.request()
        upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"good", last=False))
        assert client.head().status == 200
        assert client.exactly(9) == b"4\r\ngood\r\n"
        upstream.send(b"zz\r\n")
        assert client.rest() == b""
        assert upstream.ended()


@pytest.mark.parametrize(
    "data", [answer(length=8), CHUNKED_HEAD, CHUNKED_HEAD + b"zz\r\n"], ids=["fixed", "chunked", "bad"]
)
def test_nothing_but_a_head(proxy: Proxied, data: bytes) -> None:
    """The client gets the head all the same."""
    with proxy.get("/headonly/") as client, proxy.accept("headonly") as upstream:
        upstream.request()
        upstream.send(data)
        upstream.half_close()
        got = client.response()
        assert got.status == 200 and got.truncated and got.body == b""


def test_interim_answers_are_passed_over(proxy: Proxied) -> None:
    with proxy.get("/interim/") as client, proxy.accept("interim") as upstream:
        upstream.request()
        upstream.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 ")
        upstream.send(b"102 Processing\r\n\r\n")
        upstream.send(answer(b"final"))
        assert client.response().body == b"final"


def test_more_than_announced_is_not_passed_on(proxy: Proxied) -> None:
    with proxy.get("/more/") as client, proxy.accept("more") as upstream:
        upstream.request()
        upstream.send(answer(b"first") + answer(b"smuggled"))
        assert client.response().body == b"first"
        assert upstream.ended()  # nor is the connection used again
        client.send(b"GET /more/again HTTP/1.1\r\nHost: a\r\n\r\n")
        with proxy.accept("more") as second:
            assert b"/more/again" in second.request().start
            second.send(answer(b"second"))
            assert client.response().body == b"second"


# -- clients that leave


def test_client_leaves_while_waiting(proxy: Proxied) -> None:
    client = proxy.get("/left/")
    with proxy.accept("left") as upstream:
        upstream.request()
        client.close()
        assert upstream.ended()
    proxy.await_access("/left/ 499 ")


def test_client_leaves_at_once(proxy: Proxied) -> None:
    for _ in range(20):
        proxy.get("/leftearly/").close()
    wait_until(lambda: proxy.access().count("/leftearly/ 499 ") == 20, what="20 times 499")


def test_client_resets_in_the_answer(proxy: Proxied) -> None:
    client = proxy.get("/leftbody/")
    with proxy.accept("leftbody") as upstream:
        upstream.request()
        upstream.send(answer(b"half", length=1000))
        assert client.head().status == 200
        client.reset()
        assert upstream.ended()


def test_half_closed_client_has_left(proxy: Proxied) -> None:
    """nginx with epoll: the end of the client's stream is the end of the client."""
    with proxy.get("/halfclosed/") as client, proxy.accept("halfclosed") as upstream:
        upstream.request()
        client.half_close()
        assert upstream.ended()
        assert client.rest() == b""


def test_ignored_abort(proxy: Proxied) -> None:
    client = proxy.get("/stays/")
    with proxy.accept("stays") as upstream:
        upstream.request()
        client.close()
        assert upstream.silent()
        upstream.send(answer(b"done"))
        proxy.await_access("/stays/ 200 200 ")


# -- another server


def _fail_with(status: str) -> bytes:
    return answer(b"failed", status=status)


def _next(proxy: Proxied, *names: str) -> End:
    """The connection that comes next at any of these upstreams."""
    socks = [proxy.upstream(name).sock for name in names]
    found, _, _ = select.select(socks, [], [], 5)
    assert found, f"no connection at {names}"
    return proxy.accept(names[socks.index(found[0])])


FAILURES = {
    "closed": b"",
    "503": _fail_with("503 Service Unavailable"),
    "invalid": b"HTTP/1.1 oops\r\n\r\n",
}


@pytest.mark.parametrize("failure", [*FAILURES, "timeout"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_next_upstream(proxy: Proxied, failure: str, method: str) -> None:
    body = b"data" if method == "PUT" else b""
    with proxy.ask(method, f"/three/{failure}{method}", body=body) as client:
        for _ in range(2):
            with _next(proxy, "a", "b", "c") as upstream:
                assert upstream.request().body == body
                if failure == "timeout":
                    assert upstream.ended()
                else:
                    upstream.send(FAILURES[failure])
        with _next(proxy, "a", "b", "c") as upstream:
            assert upstream.request().body == body
            upstream.send(answer(b"good"))
            assert client.response().body == b"good"
    status = {"503": "503, 503, 200", "timeout": "504, 504, 200"}.get(failure, "502, 502, 200")
    proxy.await_access(f"/three/{failure}{method} 200 {status} ")


def test_all_fail(proxy: Proxied) -> None:
    with proxy.get("/three/all") as client:
        for _ in range(3):
            with _next(proxy, "a", "b", "c") as upstream:
                upstream.request()
                upstream.send(_fail_with("503 Service Unavailable"))
        got = client.response()
        assert (got.status, got.body) == (503, b"failed")  # the last one's own words
    proxy.await_access("/three/all 503 503, 503, 503 ")


def test_post_is_not_repeated(proxy: Proxied) -> None:
    with proxy.ask("POST", "/three/post", body=b"x") as client:
        with _next(proxy, "a", "b", "c") as upstream:
            upstream.request()
        assert client.response().status == 502
    proxy.await_access("/three/post 502 502 ")


@pytest.mark.parametrize(
    ("name", "method", "attempts"), [("two", "GET", 2), ("never", "GET", 1), ("asked", "POST", 3)]
)
def test_number_of_tries(proxy: Proxied, name: str, method: str, attempts: int) -> None:
    with proxy.ask(method, f"/{name}/", body=b"x" if method == "POST" else b"") as client:
        for _ in range(attempts):
            with _next(proxy, "a", "b", "c") as upstream:
                upstream.request()
        assert client.response().status == 502
    proxy.await_access(f"/{name}/ 502 " + ", ".join(["502"] * attempts) + " ")


def test_no_more_tries_after_a_while(proxy: Proxied) -> None:
    with proxy.get("/hurried/") as client:
        with _next(proxy, "a", "b", "c") as upstream:
            upstream.request()
            assert upstream.ended()
        assert client.response().status == 504
    proxy.await_access("/hurried/ 504 504 ")


def test_left_alone_for_fail_timeout(proxy: Proxied) -> None:
    def good(end: End, request: Message) -> None:
        end.send(answer(b"good"))

    def bad(end: End, request: Message) -> None:
        if b"mend" in request.start:
            end.send(answer(b"mended"))
        else:
            end.close()

    failing, working = proxy.upstream("d").serve(bad), proxy.upstream("e").serve(good)
    for _ in range(8):
        assert proxy.fetch("/failing/").body == b"good"
    assert (failing.served, working.served) == (2, 8)
    proxy.await_log("upstream server temporarily disabled")
    wait_until(lambda: proxy.fetch("/failing/mend").body == b"mended", 4, "another try after fail_timeout")


def test_backup_takes_over(proxy: Proxied) -> None:
    proxy.upstream("f").serve(lambda end, request: end.close())
    spare = proxy.upstream("g").serve(lambda end, request: end.send(answer(b"spare")) and None)
    for _ in range(4):
        assert proxy.fetch("/spare/").body == b"spare"
    assert (proxy.upstream("f").served, spare.served) == (1, 4)


def test_down(proxy: Proxied) -> None:
    proxy.upstream("i").serve(lambda end, request: end.send(answer(b"up")) and None)
    for _ in range(3):
        assert proxy.fetch("/off/").body == b"up"
    assert proxy.fetch("/none/").status == 502
    line = proxy.await_log("no live upstreams while connecting to upstream")
    assert 'upstream: "http://none/none/"' in line
    proxy.await_access('/none/ 502 502 "none" ')


@pytest.mark.parametrize("name", METHODS)
def test_servers_that_are_down_are_no_tries(proxy: Proxied, name: str) -> None:
    """The only server that is up answers 503, which proxy_next_upstream names: nobody is left to be asked, so its own words count."""
    proxy.upstream("m").serve(lambda end, request: end.send(answer(b"later", status="503 Service Unavailable")) and None)
    before = proxy.log()
    for _ in range(3):
        got = proxy.fetch(f"/{name}/")
        assert (got.status, got.body) == (503, b"later")
    assert "temporarily disabled" not in proxy.log()[len(before) :]
    proxy.await_access(f"/{name}/ 503 503 ")


def test_max_conns(proxy: Proxied) -> None:
    names = ("k", "l")
    with proxy.get("/one/1") as first, proxy.get("/one/2") as second:
        ends = {end.request().start: end for end in (_next(proxy, *names), _next(proxy, *names))}
        assert sorted(ends) == [b"GET /one/1 HTTP/1.1", b"GET /one/2 HTTP/1.1"]
        assert proxy.fetch("/one/3").status == 502
        for end in ends.values():
            end.send(answer(b"done"))
        assert first.response().body == second.response().body == b"done"
    proxy.upstream("k").serve(_again)
    proxy.upstream("l").serve(_again)
    for end in ends.values():
        end.close()
    assert proxy.fetch("/one/4").body == b"again"


def _again(end: End, request: Message) -> None:
    end.send(answer(b"again"))
