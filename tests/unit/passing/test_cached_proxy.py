"""`proxy_cache` as one request after the other sees it: what comes from the cache, what the upstream is asked, what is stored.

The clock is the reactor's: `site.reactor.wall_offset` lets time pass.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cache.test_cache_files import make_store
from tests.unit.features.local_site import Answer
from tests.unit.passing.conftest import MakeProxy
from tests.unit.passing.prepared_upstream import ProxySite

from portico.cache.caching import Caching
from portico.cache.entry import Meta, Times
from portico.cache.fill import Fill
from portico.cache.store import Store, digest
from portico.http.errors import BodyCutShort
from portico.passing.cached.handler import CachedProxy, _is_beyond
from portico.passing.cached.purge import PurgeHandler
from portico.passing.cached.storing import CacheSink
from portico.passing.protocol import UpstreamRequest
from portico.zones.owner import own_identity

PATH = "proxy_cache_path @/cache keys_zone=c:1m;"
LOCATION = "location / {{ proxy_cache c; {} add_header X-Cache $upstream_cache_status always; proxy_pass http://app; }}"
OK = "HTTP/1.1 200 OK\nContent-Length: 5\nCache-Control: max-age=60\n{}\nhello"
SOON_STALE = "HTTP/1.1 200 OK\nContent-Length: 5\nCache-Control: max-age=60{}\nETag: \"a\"\nLast-Modified: {}\n\nhello"
MODIFIED = "Thu, 01 Jan 2015 00:00:00 GMT"
MakeCached = Callable[..., ProxySite]
NEW = "HTTP/1.1 200 OK\nContent-Length: 3\nCache-Control: max-age=60\n\nnew"


@pytest.fixture
def make(make_proxy: MakeProxy) -> MakeCached:
    """Makes a site whose location has a cache and some more directives."""

    def with_cache(directives: str = "", more: str = "") -> ProxySite:
        site = make_proxy(LOCATION.format(directives) + more, PATH)
        store_of(site).identity = own_identity()
        return site

    return with_cache


def cached_of(site: ProxySite) -> CachedProxy:
    handler = site.handler()
    if isinstance(handler, PurgeHandler):
        return handler.cached
    assert isinstance(handler, CachedProxy)
    return handler


def store_of(site: ProxySite) -> Store:
    store = cached_of(site).keys.store
    assert store is not None
    return store


def seen(answer: Answer) -> tuple[int, bytes, str | None]:
    return answer.status, answer.body, answer.get("X-Cache")


def pass_time(site: ProxySite, seconds: float) -> None:
    site.reactor.wall_offset += seconds


# -- fresh -----------------------------------------------------------------------------------------------------------------


def test_a_miss_then_hits(make: MakeCached) -> None:
    site = make()
    assert seen(site.get(OK.format("X-Own: 1\n"))) == (200, b"hello", "MISS")
    for _ in range(3):
        answer = site.ask("/")
        assert seen(answer) == (200, b"hello", "HIT") and answer.get("X-Own") == "1"
    assert seen(site.get(NEW, "/other")) == (200, b"new", "MISS")
    assert seen(site.ask("/")) == (200, b"hello", "HIT")


def test_a_hit_of_which_the_client_wants_the_header_section(make: MakeCached) -> None:
    """The upstream is asked with GET (`proxy_cache_convert_head`), so that the response can be stored for both."""
    site = make()
    answer = site.get(OK.format(""), method="HEAD")
    assert answer.get("Content-Length") == "5" and answer.get("X-Cache") == "MISS"
    assert site.received().startswith("GET / HTTP/1.1\n")
    assert seen(site.ask("/")) == (200, b"hello", "HIT")


def test_head_as_it_is(make: MakeCached) -> None:
    site = make("proxy_cache_convert_head off; proxy_cache_key $request_method$uri;")
    assert seen(site.get("HTTP/1.1 200 OK\nContent-Length: 5\nCache-Control: max-age=60\n\n", method="HEAD"))[2] == "MISS"
    assert site.received().startswith("HEAD / HTTP/1.1\n") and not site.is_closed()
    assert seen(site.get(OK.format(""))) == (200, b"hello", "MISS")


def test_conditions_and_ranges_are_answered_from_the_whole(make: MakeCached) -> None:
    site = make()
    conditions = "If-None-Match: \"a\"\nRange: bytes=1-2"
    response = SOON_STALE.format("", MODIFIED).replace("ETag", "Accept-Ranges: bytes\nETag")
    assert site.get(response, fields=conditions).status == 304
    assert "If-None-Match" not in site.received()  # what is stored shall be the whole
    answer = site.ask("/", "Range: bytes=1-2")
    assert (answer.status, answer.body) == (206, b"el")
    assert site.ask("/", f"If-Modified-Since: {MODIFIED}").status == 304


# -- what is stored --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directives", "response", "fields"),
    [
        ("", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", ""),  # nothing says for how long
        ("", OK.format("Set-Cookie: a=b\n"), ""),
        ("", OK.format("Vary: *\n"), ""),
        ("proxy_cache_min_uses 3;", OK.format(""), ""),
        ("proxy_no_cache $http_x;", OK.format(""), "X: 1"),
        ("proxy_buffering off;", OK.format(""), ""),
        ("", OK.format("X-Accel-Expires: 0\n"), ""),
        ("proxy_cache_max_range_offset 3;", OK.format(""), "Range: bytes=3-"),
        ("", OK.format("X-Accel-Buffering: no\n"), ""),
    ],
)
def test_what_is_not_stored(make: MakeCached, directives: str, response: str, fields: str) -> None:
    site = make(directives)
    assert site.get(response, fields=fields).get("X-Cache") == "MISS"
    assert seen(site.get(NEW)) == (200, b"new", "MISS")


@pytest.mark.parametrize(
    ("directives", "response", "fields"),
    [
        ("proxy_cache_valid 1m;", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", ""),
        ("proxy_ignore_headers Set-Cookie;", OK.format("Set-Cookie: a=b\n"), ""),
        ("proxy_no_cache $http_x;", OK.format(""), ""),
        ("proxy_cache_max_range_offset 3;", OK.format(""), "Range: bytes=2-"),
        ("proxy_buffering off;", OK.format("X-Accel-Buffering: yes\n"), ""),
        ("", "HTTP/1.1 404 No\nContent-Length: 5\nCache-Control: max-age=60\n\nhello", ""),
        ("", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nCache-Control: max-age=60\n\n5\nhello\n0\n\n", ""),
    ],
)
def test_what_is_stored(make: MakeCached, directives: str, response: str, fields: str) -> None:
    site = make(directives)
    assert site.get(response, fields=fields).get("X-Cache") == "MISS"
    assert seen(site.ask("/"))[1:] == (b"hello", "HIT")


def test_what_may_not_be_stored_passes_the_clients_conditions_on(make: MakeCached) -> None:
    """As the cache does not answer them, the upstream does (nginx: !u->cacheable)."""
    site = make("proxy_cache_min_uses 2;")
    site.get("HTTP/1.1 304 Not Modified\n\n", fields='If-None-Match: "a"')
    assert 'If-None-Match: "a"\n' in site.received()
    site.get(OK.format(""), fields='If-None-Match: "a"')
    assert "If-None-Match" not in site.received()


def test_a_method_that_the_cache_has_nothing_to_do_with(make: MakeCached) -> None:
    site = make()
    answer = site.get(OK.format(""), fields='If-Match: "a"', method="PUT")
    assert seen(answer) == (200, b"hello", None) and 'If-Match: "a"\n' in site.received()
    assert seen(site.get(NEW)) == (200, b"new", "MISS")


def test_variants(make: MakeCached) -> None:
    site = make()
    response = OK.format("Vary: X-Kind\n")
    assert seen(site.get(response, fields="X-Kind: a"))[2] == "MISS"
    assert seen(site.get(response.replace("hello", "HELLO"), fields="X-Kind: b"))[2] == "MISS"
    assert [seen(site.ask("/", f"X-Kind: {kind}"))[1:] for kind in "ab"] == [(b"hello", "HIT"), (b"HELLO", "HIT")]


def test_bypass(make: MakeCached) -> None:
    site = make("proxy_cache_bypass $http_x;")
    site.get(OK.format(""))
    assert seen(site.get(NEW, fields="X: 1")) == (200, b"new", "BYPASS")
    assert seen(site.ask("/")) == (200, b"new", "HIT")


def test_a_truncated_response_is_not_stored(make: MakeCached, tmp_path: Path) -> None:
    site = make()
    site.prepare("HTTP/1.1 200 OK\nContent-Length: 10\nCache-Control: max-age=60\n\nhel")
    site.end()
    with pytest.raises(BodyCutShort):
        site.ask("/")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    assert seen(site.get(NEW)) == (200, b"new", "MISS")


def test_a_key_that_nginx_would_not_cache_under(make: MakeCached) -> None:
    site = make("proxy_buffer_size 1k; proxy_cache_key $http_x;")
    for _ in range(2):
        assert seen(site.get(OK.format(""), fields="X: " + "a" * 500)) == (200, b"hello", None)
    assert "proxy_buffer_size 1024 is not enough for cache key, it should be increased to at least 2048" in site.log()
    assert seen(site.get(OK.format(""), fields="X: " + "a" * 400))[2] == "MISS"


def test_a_response_larger_than_the_cache_is_not_stored(make_proxy: MakeProxy, tmp_path: Path) -> None:
    """Neither when it says so at once, nor when that turns out on the way: the client gets it all the same."""
    site = make_proxy(LOCATION.format(""), PATH.replace(";", " max_size=4096;"))
    store_of(site).identity = own_identity()
    body = "x" * 5000
    for framing in ("Content-Length: 5000\n\n" + body, f"Transfer-Encoding: chunked\n\n{5000:x}\n{body}\n0\n\n"):
        answer = site.get("HTTP/1.1 200 OK\nCache-Control: max-age=60\n" + framing)
        assert seen(answer) == (200, body.encode(), "MISS")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    assert seen(site.get(OK.format("")))[2] == "MISS" and seen(site.ask("/"))[2] == "HIT"


def test_a_full_disk_ends_the_storing_not_the_response(make: MakeCached, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make()
    told: list[str] = []
    store_of(site).log = told.append
    store_of(site).now = lambda: 0.0
    write = os.write

    def no_room(fd: int, data: bytes) -> int:
        if data == b"hello":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_room)
        assert seen(site.get(OK.format(""))) == (200, b"hello", "MISS")
    assert len(told) == 1 and "(28: No space left on device)" in told[0]
    assert seen(site.get(NEW)) == (200, b"new", "MISS") and seen(site.ask("/"))[2] == "HIT"


# -- stale -----------------------------------------------------------------------------------------------------------------


def test_an_expired_response_is_fetched_anew(make: MakeCached) -> None:
    site = make()
    site.get(SOON_STALE.format("", MODIFIED))
    pass_time(site, 61)
    assert seen(site.get(NEW)) == (200, b"new", "EXPIRED") and "If-" not in site.received()
    assert seen(site.ask("/")) == (200, b"new", "HIT")


def test_revalidation(make: MakeCached) -> None:
    site = make("proxy_cache_revalidate on;")
    site.get(SOON_STALE.format("", MODIFIED))
    pass_time(site, 61)
    answer = site.get("HTTP/1.1 304 Not Modified\nCache-Control: max-age=60\n\n", fields='If-None-Match: "z"')
    assert seen(answer) == (200, b"hello", "REVALIDATED") and not site.is_closed()
    asked = site.received()
    assert f'If-Modified-Since: {MODIFIED}\nIf-None-Match: "a"\n' in asked and '"z"' not in asked
    assert seen(site.ask("/")) == (200, b"hello", "HIT")


def test_a_304_that_does_not_say_for_how_long(make: MakeCached) -> None:
    """`proxy_cache_valid` of the stored response's status says it."""
    site = make("proxy_cache_revalidate on; proxy_cache_valid 200 10s;")
    site.get(SOON_STALE.format("", MODIFIED))
    pass_time(site, 61)
    assert seen(site.get("HTTP/1.1 304 Not Modified\n\n"))[2] == "REVALIDATED"
    pass_time(site, 8)
    assert seen(site.ask("/"))[2] == "HIT"
    pass_time(site, 5)
    assert seen(site.get(NEW))[2] == "EXPIRED"


def test_a_304_for_the_clients_own_condition(make: MakeCached) -> None:
    """Without `proxy_cache_revalidate` nobody has asked whether the stored response is valid: a 304 is for whoever asked."""
    site = make("proxy_no_cache 1;")
    assert site.get("HTTP/1.1 304 Not Modified\n\n").status == 304


OH = "HTTP/1.1 500 Oh\nContent-Length: 0\n\n"
FAILURES: list[tuple[str, str, str, tuple[int, bytes, str]]] = [
    ("proxy_cache_use_stale http_500;", "", OH, (200, b"hello", "STALE")),
    ("proxy_cache_use_stale http_502;", "", OH, (500, b"", "EXPIRED")),
    ("proxy_cache_use_stale error;", "", "", (200, b"hello", "STALE")),
    ("proxy_cache_use_stale timeout;", "", "", (502, b"", "EXPIRED")),
    ("proxy_cache_use_stale invalid_header;", "", "nonsense\n\n", (200, b"hello", "STALE")),
    ("", ", stale-if-error=30", "", (200, b"hello", "STALE")),
    ("", ", stale-if-error=30", OH, (500, b"", "EXPIRED")),  # nginx: no response at all
    ("proxy_cache_rfc on;", ", stale-if-error=30", OH, (200, b"hello", "STALE")),
    ("proxy_cache_rfc on;", ", stale-if-error=30, must-revalidate", OH, (500, b"", "EXPIRED")),
    ("proxy_cache_rfc on; proxy_cache_use_stale http_500;", ", no-cache=\"x\", must-revalidate", OH, (500, b"", "EXPIRED")),
]  # fmt: skip


@pytest.mark.parametrize(("directives", "control", "response", "expected"), FAILURES)
def test_a_stale_response_in_place_of_a_failure(
    make: MakeCached, directives: str, control: str, response: str, expected: tuple[int, bytes, str]
) -> None:
    site = make(directives)
    site.get(SOON_STALE.format(control, MODIFIED))
    site.drop_idle()
    pass_time(site, 61)
    if response:
        site.prepare(response)
    status, body, cache = seen(site.ask("/"))
    assert (status, body if status == 200 else b"", cache) == expected


def test_a_failure_is_stored_too(make: MakeCached) -> None:
    """`proxy_cache_valid 502`: without an upstream, and where an error page takes the response's place."""
    directives = "proxy_cache_valid 502 404 1m; proxy_intercept_errors on; error_page 404 /page;"
    site = make(directives, "location /page { return 200 page; }")
    assert site.ask("/a").status == 502
    assert site.get(OK.format(""), "/a").status == 502 and site.received() == ""
    answer = site.get("HTTP/1.1 404 No\nContent-Length: 5\n\nhello", "/b")
    assert (answer.status, answer.body) == (404, b"page")
    site.prepare(OK.format(""))
    assert site.ask("/b").status == 404 and site.received() == ""


def test_an_update_in_the_background(make: MakeCached) -> None:
    site = make("proxy_cache_use_stale updating; proxy_cache_background_update on;")
    site.get(OK.format(""))
    pass_time(site, 61)
    assert seen(site.get(NEW)) == (200, b"hello", "STALE")
    assert seen(site.ask("/")) == (200, b"new", "HIT")
    first, second = digest(cached_of(site).keys.key_of(site.request("/")))
    assert store_of(site).index.claim(first, second, 1, 0, 0) == 0  # the right to fetch is released


def test_somebody_else_fetches_it(make: MakeCached) -> None:
    site = make("proxy_cache_use_stale updating;")
    site.get(OK.format(""))
    pass_time(site, 61)
    store = store_of(site)
    first, second = digest(cached_of(site).keys.key_of(site.request("/")))
    assert store.index.claim(first, second, own_identity(), int(site.reactor.now * 1000), 5000) == 0
    assert seen(site.ask("/")) == (200, b"hello", "UPDATING")
    store.index.release(first, second, own_identity())
    assert seen(site.get(NEW)) == (200, b"new", "EXPIRED")


# -- proxy_cache_rfc -------------------------------------------------------------------------------------------------------


def test_cache_status(make: MakeCached) -> None:
    site = make("proxy_cache_rfc on;")
    answers = [site.get(SOON_STALE.format("", MODIFIED)), site.ask("/")]
    pass_time(site, 65)
    answers.append(site.get("HTTP/1.1 304 Not Modified\nCache-Control: max-age=60\n\n"))
    answers.append(site.get(NEW, fields="Cache-Control: no-cache"))
    answers.append(site.get(NEW, method="DELETE"))
    told = [str(answer.get("Cache-Status")).split("; ") for answer in answers]
    assert told[0][:2] == ["Portico", "fwd=uri-miss"] and told[0][-1] == "stored"
    assert told[1][:2] == ["Portico", "hit"] and answers[1].get("Age") == "0"
    assert told[2][1:3] == ["fwd=stale", "fwd-status=304"]
    assert told[3][1] == "fwd=request" and told[3][-1] == "stored"
    assert told[4] == ["Portico", "fwd=method"]
    assert seen(site.get(NEW))[2] == "MISS"  # section 4.4: the DELETE has made it invalid


def test_only_if_cached(make: MakeCached) -> None:
    site = make("proxy_cache_rfc on;")
    assert site.ask("/", "Cache-Control: only-if-cached").status == 504
    site.get(SOON_STALE.format("", MODIFIED))
    assert seen(site.ask("/", "Cache-Control: only-if-cached")) == (200, b"hello", "HIT")
    pass_time(site, 65)
    assert site.ask("/", "Cache-Control: only-if-cached").status == 504
    assert seen(site.ask("/", "Cache-Control: only-if-cached, max-stale=60")) == (200, b"hello", "STALE")


def test_a_304_changes_the_stored_fields(make: MakeCached) -> None:
    site = make("proxy_cache_rfc on;")
    site.get(SOON_STALE.format("", MODIFIED + "\nX-Own: 1"))
    pass_time(site, 65)
    answer = site.get("HTTP/1.1 304 Not Modified\nCache-Control: max-age=60\nX-Own: 2\n\n")
    assert (answer.get("X-Own"), answer.body) == ("2", b"hello")
    again = site.ask("/")
    assert (again.get("X-Own"), again.get("X-Cache"), again.body) == ("2", "HIT", b"hello")


def test_a_response_to_head_tells_that_the_stored_one_is_another_by_now(make: MakeCached) -> None:
    """RFC 9111 section 4.3.5."""
    site = make("proxy_cache_rfc on; proxy_cache_convert_head off;")
    for tag, status in (('"a"', "HIT"), ('"b"', "MISS")):
        site.get(SOON_STALE.format("", MODIFIED))
        pass_time(site, 65)
        site.get(f"HTTP/1.1 200 OK\nContent-Length: 5\nETag: {tag}\nCache-Control: max-age=60\n\n", method="HEAD")
        assert seen(site.get(NEW))[2] == status


# -- the parts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "most", "beyond"),
    [
        ("bytes=3-", 3, True), ("bytes=2-", 3, False), ("bytes=-5", 3, True), ("bytes= 3-", 3, True), ("bytes=2-, 9-", 3, False),
        ("bytes=x", 3, False), ("lines=5-", 3, False), ("bytes=0-", 0, True), ("", 0, False), ("BYTES=7-8", 3, True),
    ],
)  # fmt: skip
def test_ranges_that_are_asked_of_the_upstream(make: MakeCached, text: str, most: int, beyond: bool) -> None:
    site = make()
    assert _is_beyond(site.request("/", f"Range: {text}" if text else ""), most) is beyond


def test_a_client_that_leaves_does_not_end_the_fetching_of_what_is_stored(make: MakeCached) -> None:
    site = make()
    cached = cached_of(site)
    request = site.request("/")
    for may_store in (True, False):
        caching = request.upstream_state().caching = Caching(store_of(site), b"key", 1, 2)
        caching.may_store = may_store
        asked = UpstreamRequest(request, b"GET", b"/", b"app", None)
        cached.hook.before_send(request, asked)
        assert asked.abortable is not may_store
    request.upstream_state().caching = None
    asked = UpstreamRequest(request, b"GET", b"/", b"app", None)
    cached.hook.before_send(request, asked)
    assert asked.abortable


def test_a_sink_wants_no_more_than_the_cache_may_hold(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.settings.max_size = 8
    made = Fill(store, *digest(b"key"), 0, False)
    made.begin(Meta(b"key", b"", b"", b"", b"HTTP/1.1 200 OK\r\n\r\n"), Times(1, 0, 0, 0, 0))
    sink = CacheSink(made)
    sink.write(b"hello")
    assert sink.is_wanted()
    sink.write(b"hello")
    assert not sink.is_wanted() and made.over and not made.done
    sink.finish()
    assert not made.done


def test_a_cache_whose_name_has_variables(make_proxy: MakeProxy) -> None:
    text = "location / { proxy_cache $arg_zone; add_header X-Cache $upstream_cache_status always; proxy_pass http://app; }"
    site = make_proxy(text, PATH)
    for store in cached_of(site).caches.stores.values():
        store.identity = own_identity()
    for zone, status in (("c", "MISS"), ("c", "HIT"), ("off", None), ("", None)):
        assert seen(site.get(OK.format(""), f"/?zone={zone}")) == (200, b"hello", status)
    assert site.ask("/?zone=x").status == 500 and 'cache "x" not found' in site.log()


def test_purging(make: MakeCached) -> None:
    site = make("proxy_cache_key $uri; proxy_cache_purge $http_purge;")
    for target in ("/a", "/b1", "/b2"):
        site.get(OK.format("Cache-Tag: x, y\n" if target == "/a" else ""), target)
    assert site.ask("/a", "Purge: 0").get("X-Cache") == "HIT"
    assert [site.ask("/none", "Purge: 1").status, site.ask("/a", "Purge: 1").status] == [404, 204]
    assert seen(site.get(OK.format("Cache-Tag: x, y\n"), "/a"))[2] == "MISS"
    store_of(site).index.set_loaded()
    assert [site.ask("/b*", "Purge: 1").status, site.ask("/b*", "Purge: 1").status] == [204, 404]
    assert seen(site.get(OK.format(""), "/b1"))[2] == "MISS"
    assert site.ask("/", "Purge: 1\nCache-Tag: z").status == 404 and site.ask("/a").get("X-Cache") == "HIT"
    assert site.ask("/", "Purge: 1\nCache-Tag: z, y").status == 204 and seen(site.get(NEW, "/a"))[2] == "MISS"
