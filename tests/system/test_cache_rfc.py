"""`proxy_cache_rfc` on one server: what RFC 9111, 5861, 9211 and 9213 demand; each test names the section.

Nothing waits for time to pass: an answer that comes with a large `Age` is stale from the start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from tests.parity.wire import Message
from tests.processes import wait_until
from tests.system.proxied import End, Proxied, answer, pattern, running

HTTP = """
    proxy_cache_path @folder@/cache keys_zone=one:1m use_temp_path=off;
    proxy_cache one;
    proxy_cache_rfc on;
    server_tokens off;
    map $request_method $purge { default 0; PURGE 1; }
"""
LOCATIONS = {
    "a": "",
    "memo": "",
    "announced": "",
    "lock": "proxy_cache_lock on; proxy_cache_lock_timeout 30s;",
    "tolerant": "proxy_cache_use_stale error timeout http_500 http_503;",
    "head": "proxy_cache_convert_head off;",
    "bypass": "proxy_cache_bypass $arg_b;",
    "valid": "proxy_cache_valid any 1m; proxy_cache_methods POST;",
    "pages": """
        proxy_cache_valid any 1m; proxy_intercept_errors on; proxy_no_cache $http_x_no; error_page 404 /pages/own;
        location = /pages/own { internal; return 404 own; }
    """,
    "nobody": "proxy_cache_valid any 1m;",
    "tagged": "proxy_cache_purge $purge;",
    "plain": "proxy_cache_rfc off; proxy_cache_valid any 1m;",
}
STALE = "Age: 1000"
MINUTE = "Cache-Control: max-age=60"
TAG = 'ETag: "v1"'
ANY_AGE = "Cache-Control: max-stale"


class Origin:
    """Answers each path with what was laid out for it, in turn; the last one again and again. Remembers what it was asked.

    A path in `held` gets its first answer when that is set; one in `cut` has its connection closed behind it.
    """

    def __init__(self) -> None:
        self.held: dict[str, threading.Event] = {}
        self.cut: set[str] = set()
        self.answers: dict[str, list[bytes]] = {}
        self.asked: dict[str, list[Message]] = {}

    def say(self, end: End, request: Message) -> None:
        path = request.start.split(b" ")[1].decode()
        asked = self.asked.setdefault(path, [])
        answers = self.answers[path]
        asked.append(request)
        number = len(asked)
        if number == 1 and path in self.held:
            self.held[path].wait(8)
        end.send(answers[min(number, len(answers)) - 1])
        if number == 1 and path in self.cut:
            end.half_close()


class Site:
    def __init__(self, proxy: Proxied, origin: Origin) -> None:
        self.proxy = proxy
        self.origin = origin

    def lay(self, path: str, *answers: bytes) -> None:
        self.origin.answers[path] = list(answers)

    def ask(self, path: str, *fields: str, method: str = "GET") -> Message:
        return self.proxy.fetch(path, *fields, method=method)

    def asked_anew(self, path: str) -> None:
        """The next request gets the first answer."""
        self.origin.asked.pop(path, None)

    def count(self, path: str) -> int:
        return len(self.origin.asked.get(path, []))

    def last(self, path: str) -> Message:
        return self.origin.asked[path][-1]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running(Proxied(LOCATIONS, http=HTTP)) as proxy:
        origin = Origin()
        for name in LOCATIONS:
            proxy.upstream(name).serve(origin.say)
        yield Site(proxy, origin)


def told(message: Message) -> str:
    """What Cache-Status says, without the name and the seconds."""
    text = (message.get(b"cache-status") or b"").decode()
    assert text.startswith("Portico; "), message
    return "; ".join(part for part in text.split("; ")[1:] if not part.startswith("ttl="))


def every(message: Message, name: bytes) -> list[bytes]:
    return [value for key, value in message.headers if key.lower() == name]


def ttl(message: Message) -> int:
    text = (message.get(b"cache-status") or b"").decode()
    return int(text.partition("ttl=")[2].partition(";")[0])


OTHER = answer(b"second", MINUTE)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=60\r\n\r\n3\r\nall\r\n"
# (section, first answer, fields of the first request, fields of the second request, what the second one's Cache-Status says)
TWICE: list[tuple[str, bytes, tuple[str, ...], tuple[str, ...], str]] = [
    ("4.2 fresh", answer(b"x", MINUTE), (), (), "hit"),
    ("3.5 authorization", answer(b"x", MINUTE), ("Authorization: Basic eA==",), (), "fwd=uri-miss; stored"),
    ("3.5 public", answer(b"x", "Cache-Control: public, max-age=60"), ("Authorization: Basic eA==",), (), "hit"),
    ("5.2.1.5 request no-store", answer(b"x", MINUTE), ("Cache-Control: no-store",), (), "fwd=uri-miss; stored"),
    ("5.2.1.5 of what is kept", answer(b"x", MINUTE), (), ("Cache-Control: no-store",), "hit"),
    ("5.2.1.4 request no-cache", answer(b"x", MINUTE), (), ("Cache-Control: no-cache",), "fwd=request; stored"),
    ("5.4 pragma", answer(b"x", MINUTE), (), ("Pragma: no-cache",), "fwd=request; stored"),
    ("5.2.1.1 request max-age", answer(b"x", MINUTE, "Age: 30"), (), ("Cache-Control: max-age=10",), "fwd=request; stored"),
    ("5.2.1.3 request min-fresh", answer(b"x", MINUTE, "Age: 30"), (), ("Cache-Control: min-fresh=40",), "fwd=request; stored"),
    ("5.2.1.3 fresh enough", answer(b"x", MINUTE, "Age: 30"), (), ("Cache-Control: min-fresh=20",), "hit"),
    ("5.2.1.2 max-stale", answer(b"x", MINUTE, STALE, TAG), (), ("Cache-Control: max-stale=2000",), "hit; detail=STALE"),
    ("5.2.1.2 too stale", answer(b"x", MINUTE, STALE, TAG), (), ("Cache-Control: max-stale=100",), "fwd=stale; stored"),
    ("4.2.4 must-revalidate", answer(b"x", f"{MINUTE}, must-revalidate", STALE, TAG), (), (ANY_AGE,), "fwd=stale; stored"),
    ("4.2.4 proxy-revalidate", answer(b"x", f"{MINUTE}, proxy-revalidate", STALE, TAG), (), (ANY_AGE,), "fwd=stale; stored"),
    ("4.2.4 s-maxage", answer(b"x", "Cache-Control: s-maxage=60", STALE, TAG), (), (ANY_AGE,), "fwd=stale; stored"),
    ("5.2.2.4 no-cache", answer(b"x", "Cache-Control: no-cache", TAG), (), (), "fwd=stale; stored"),
    ("4.2.3 Age", answer(b"x", MINUTE, STALE, TAG), (), (), "fwd=stale; stored"),
    ("4.1 another variant", answer(b"x", MINUTE, "Vary: X-L"), ("X-L: a",), ("X-L: b",), "fwd=vary-miss; stored"),
    ("4.1 the same variant", answer(b"x", MINUTE, "Vary: X-L, X-M"), ("X-L: a,b",), ("X-L: a , b",), "hit"),
    ("5.2.2.7 private", answer(b"x", "Cache-Control: private"), (), (), "fwd=uri-miss; stored"),
    ("RFC 9213", answer(b"x", "Cache-Control: no-store", "CDN-Cache-Control: max-age=60"), (), (), "hit"),
    ("RFC 9213, malformed", answer(b"x", "Cache-Control: no-store", "CDN-Cache-Control: Max-Age=60"), (), (), "fwd=uri-miss; stored"),
    ("RFC 5861 3", answer(b"x", "Cache-Control: max-age=60, stale-while-revalidate=9999", STALE), (), (), "hit; detail=STALE"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "first", "before", "after", "says"), TWICE, ids=[row[0] for row in TWICE])
def test_the_second_request(
    site: Site, name: str, first: bytes, before: tuple[str, ...], after: tuple[str, ...], says: str
) -> None:
    path = "/a/" + name.replace(" ", "-")
    site.lay(path, first, OTHER)
    assert told(site.ask(path, *before)).startswith("fwd=uri-miss")
    message = site.ask(path, *after)
    assert told(message) == says
    assert message.body == (b"x" if "hit" in says else b"second")


def test_5_1_age_and_date(site: Site) -> None:
    made = "Date: " + time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 20))
    for path in ("/a/age", "/memo/age"):
        site.lay(path, answer(b"x", MINUTE, made, "Age: 7"))
        assert site.ask(path).get(b"date") == made[6:].encode()
        for _ in range(3):  # the second one comes with lines that are made already
            message = site.ask(path)
            assert 20 <= int(message.get(b"age") or 0) <= 30 and message.get(b"date") == made[6:].encode()
            assert every(message, b"age") == [message.get(b"age")]
            assert 25 <= ttl(message) <= 40
        assert site.count(path) == 1


def test_4_3_validation(site: Site) -> None:
    """Sections 4.3.1 (what is asked), 4.3.3, 4.3.4 and 3.2 (the fields of the 304 are kept)."""
    modified = "Last-Modified: Mon, 02 Jan 2023 10:00:00 GMT"
    path = "/a/validated"
    site.lay(
        path,
        answer(b"body", MINUTE, STALE, TAG, modified, "X-A: old", "X-B: b"),
        b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\nX-A: new\r\nCache-Control: max-age=90\r\nContent-Length: 0\r\n\r\n',
    )
    site.ask(path)
    message = site.ask(path)
    assert told(message) == "fwd=stale; fwd-status=304" and message.body == b"body"
    assert site.last(path).get(b"if-none-match") == b'"v1"' and site.last(path).get(b"if-modified-since") == modified[15:].encode()
    for _ in range(2):
        assert (every(message, b"x-a"), message.get(b"x-b"), message.get(b"cache-control")) == ([b"new"], b"b", b"max-age=90")
        assert int(message.get(b"age") or 9) < 5 and ttl(message) > 80
        message = site.ask(path)
        assert told(message) == "hit" and message.body == b"body"
    assert site.count(path) == 2


def test_4_3_4_a_long_one(site: Site) -> None:
    body = pattern(3_000_000)
    path = "/a/long"
    site.lay(
        path,
        answer(body, MINUTE, STALE, TAG, "X-A: old"),
        b"HTTP/1.1 304 Not Modified\r\nX-A: new\r\nCache-Control: max-age=90\r\n\r\n",
    )
    site.ask(path)
    message = site.ask(path)
    assert message.get(b"x-a") == b"new" and message.body == body

    def written() -> bool:
        again = site.ask(path)
        assert again.body == body
        return again.get(b"x-a") == b"new"

    wait_until(written, what="the new head")
    assert site.count(path) == 2


def not_modified(*fields: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 304 Not Modified", *fields, "", ""]).encode()


def test_a_304_with_another_vary(site: Site) -> None:
    """What is kept under no Vary, or another one, may be somebody else's answer."""
    for path, before, kept in (("/a/vary1", (), False), ("/a/vary2", ("Vary: X-L",), False), ("/a/vary3", ("Vary: Cookie",), True)):
        mine, yours = (answer(text, MINUTE, TAG, *more) for text, more in ((b"alice", (STALE, *before)), (b"bob", ("Vary: Cookie",))))
        site.lay(path, mine, not_modified(TAG, "Vary: Cookie", MINUTE), yours)
        site.ask(path, "Cookie: alice")
        assert site.ask(path, "Cookie: alice").body == b"alice"
        assert site.ask(path, "Cookie: bob").body == b"bob"
        assert (told(site.ask(path, "Cookie: alice")) == "hit") is kept


def test_a_304_with_other_tags(site: Site) -> None:
    path = "/tagged/a"
    tags = ("Cache-Tag: old", "Surrogate-Key: both")
    site.lay(path, answer(b"x", MINUTE, STALE, TAG, *tags), not_modified(TAG, "Cache-Tag: new", MINUTE))
    for tag in ("new", "both"):
        site.asked_anew(path)
        site.ask(path)
        assert told(site.ask(path)) == "fwd=stale; fwd-status=304"
        assert site.ask("/tagged/", "Cache-Tag: old", method="PURGE").status == 404
        assert told(site.ask(path)) == "hit"
        assert site.ask("/tagged/", f"Cache-Tag: {tag}", method="PURGE").status == 204
    fresh = 'Cache-Control: max-age=60, private="Cache-Tag"'  # the head is kept without it, but it is known
    for path, said, gone, there in (("/tagged/b", (), "new", "old"), ("/tagged/c", ("Cache-Tag: new",), "old", "new")):
        site.lay(path, answer(b"x", fresh, STALE, TAG, "Cache-Tag: old"), not_modified(TAG, fresh, *said))
        site.ask(path)
        assert told(site.ask(path)) == "fwd=stale; fwd-status=304"
        assert site.ask("/tagged/", f"Cache-Tag: {gone}", method="PURGE").status == 404
        assert site.ask("/tagged/", f"Cache-Tag: {there}", method="PURGE").status == 204


def test_a_kept_head_grows_no_longer_than_one_that_comes(site: Site) -> None:
    path = "/a/growing"
    more = [not_modified(TAG, f"X-{number}: {'y' * 1500}", STALE) for number in range(9)]
    site.lay(path, answer(b"x", STALE, TAG, MINUTE), *more, OTHER)
    longest = 0
    for _ in range(9):
        message = site.ask(path)
        longest = max(longest, sum(len(key) + len(value) + 4 for key, value in message.headers))
    assert 3000 < longest < 6000  # proxy_buffer_size, and what the last 304 brought


def test_a_304_that_announces_a_body(site: Site) -> None:
    """It may come, as the beginning of the next answer: the connection is not used again."""
    path = "/announced/a"
    for length, connections in ((0, 0), (5, 3)):
        says = f"HTTP/1.1 304 Not Modified\r\n{TAG}\r\nContent-Length: {length}\r\nX-Length: {length}\r\n\r\n"
        site.lay(path, answer(b"text", STALE, TAG, MINUTE), says.encode())
        site.ask(path)
        before = site.proxy.upstream("announced").accepted
        for _ in range(4):
            assert site.ask(path, "Cache-Control: no-cache").body == b"text"
        assert site.proxy.upstream("announced").accepted == before + connections


def test_4_3_4_another_tag(site: Site) -> None:
    """A 304 that speaks of something else freshens nothing."""
    path = "/a/othertag"
    site.lay(path, answer(b"x", MINUTE, STALE, TAG), b'HTTP/1.1 304 Not Modified\r\nETag: "v2"\r\nCache-Control: max-age=90\r\n\r\n')
    site.ask(path)
    site.ask(path)
    assert told(site.ask(path)).startswith("fwd=stale") and site.count(path) == 3


def test_4_3_3_failures(site: Site) -> None:
    """A 5xx goes out unless staleness is allowed, by what is configured or RFC 5861 section 4; never against the upstream's word."""
    failed = answer(b"no", status="503 No")
    for name, control, says in (
        ("/a/failing", "max-age=60", "fwd=stale"),
        ("/a/failing-sie", "max-age=60, stale-if-error=9999", "fwd=stale; fwd-status=503; detail=STALE"),
        ("/tolerant/failing", "max-age=60", "fwd=stale; fwd-status=503; detail=STALE"),
        ("/tolerant/failing-must", "max-age=60, must-revalidate", "fwd=stale"),
        ("/a/failing-must", "max-age=60, stale-if-error=9999, proxy-revalidate", "fwd=stale"),
    ):
        site.lay(name, answer(b"x", f"Cache-Control: {control}", STALE, TAG), failed)
        site.ask(name)
        message = site.ask(name)
        assert told(message) == says, name
        assert message.body == (b"x" if "STALE" in says else b"no")
    site.lay("/tolerant/forced", answer(b"x", MINUTE, TAG), failed)
    site.ask("/tolerant/forced")
    assert site.ask("/tolerant/forced", "Cache-Control: no-cache").status == 503  # section 5.2.1.4


def test_3_5_failures_that_are_kept(site: Site) -> None:
    """By `proxy_cache_valid`, in place of an answer or of an upstream: never what one client's name, or its wish, has led to."""
    authorization = "Authorization: Basic eA=="
    for path, says, field, asked in (
        ("/pages/a", (), "", 1),
        ("/pages/b", (), authorization, 2),
        ("/pages/c", ("Cache-Control: public",), authorization, 1),
        ("/pages/d", ("Vary: Cookie",), "", 2),
        ("/pages/e", ("Cache-Control: no-store",), "", 2),
        ("/pages/f", (), "X-No: 1", 2),
    ):
        site.lay(path, answer(b"none", *says, status="404 No"))
        messages = [site.ask(path, *([field] if field else [])), site.ask(path)]
        assert [(message.status, message.body) for message in messages] == [(404, b"own")] * 2
        assert site.count(path) == asked, path
    site.proxy.upstream("nobody").close()
    assert site.ask("/nobody/a", authorization).status == 502
    before = site.proxy.log().count("connect() failed")
    assert before > 0
    for _ in range(2):
        assert site.ask("/nobody/a").status == 502
    assert site.proxy.log().count("connect() failed") == before + 1


def test_4_3_5_head(site: Site) -> None:
    path = "/head/same"
    site.lay(
        path, answer(b"body", MINUTE, STALE, TAG, "X-A: old"), answer(b"", "Cache-Control: max-age=90", TAG, "X-A: new", length=4)
    )
    site.ask(path)
    assert site.ask(path, method="HEAD").get(b"x-a") == b"new"
    assert site.last(path).start.startswith(b"HEAD")
    message = site.ask(path)
    assert told(message) == "hit" and message.body == b"body" and message.get(b"x-a") == b"new"
    assert told(site.ask(path, method="HEAD")) == "hit"
    path = "/head/changed"
    site.lay(path, answer(b"body", MINUTE, STALE, TAG), answer(b"", MINUTE, TAG, length=9), answer(b"long body", MINUTE, TAG))
    site.ask(path)
    site.ask(path, method="HEAD")
    assert site.ask(path).body == b"long body" and site.last(path).get(b"if-none-match") is None


@pytest.mark.parametrize(
    ("method", "status", "says"),
    [
        ("POST", "200 OK", "fwd=uri-miss; stored"),
        ("PUT", "204 No Content", "fwd=uri-miss; stored"),
        ("DELETE", "303 See Other", "fwd=uri-miss; stored"),
        ("FROB", "200 OK", "fwd=uri-miss; stored"),
        ("POST", "404 Not Found", "hit"),
        ("OPTIONS", "200 OK", "hit"),
    ],
)
def test_4_4_invalidation(site: Site, method: str, status: str, says: str) -> None:
    path = f"/valid/{method}{status[:3]}"
    site.lay(path, answer(b"x", MINUTE), answer(status=status), OTHER)
    site.ask(path)
    assert told(site.ask(path)) == "hit"
    assert told(site.ask(path, method=method)) == "fwd=method"
    assert told(site.ask(path)) == says


def test_4_4_what_was_asked_for_before(site: Site) -> None:
    """An answer that is on its way while another request changes the resource is not kept."""
    path = "/a/changing"
    site.lay(path, answer(b"old", MINUTE), answer(), answer(b"new", MINUTE))
    held = site.origin.held[path] = threading.Event()
    with site.proxy.get(path) as client:
        wait_until(lambda: site.count(path) == 1, what="the origin is asked")
        assert site.ask(path, method="POST").status == 200
        held.set()
        assert client.response().body == b"old"
    assert site.ask(path).body == b"new"
    assert told(site.ask(path)) == "hit"


def test_5_2_1_7_only_if_cached(site: Site) -> None:
    wish = "Cache-Control: only-if-cached"
    path = "/a/only"
    site.lay(path, answer(b"x", MINUTE, TAG))
    assert site.ask(path, wish).status == 504 and site.count(path) == 0
    site.ask(path)
    assert site.ask(path, wish).body == b"x"
    site.lay("/lock/only", answer(b"x", MINUTE, STALE, TAG), OTHER)
    assert site.ask("/lock/only", wish).status == 504
    site.ask("/lock/only")
    assert site.ask("/lock/only", wish).status == 504
    assert site.ask("/lock/only", f"{wish}, max-stale").body == b"x"


def test_5_2_2_7_withheld_fields(site: Site) -> None:
    path = "/a/withheld"
    site.lay(path, answer(b"x", 'Cache-Control: max-age=60, private="X-Mine", no-cache="X-Old"', "X-Mine: 1", "X-Old: 2", "X-All: 3"))
    message = site.ask(path)
    assert (message.get(b"x-mine"), message.get(b"x-old"), message.get(b"x-all")) == (b"1", b"2", b"3")
    message = site.ask(path)
    assert told(message) == "hit"
    assert (message.get(b"x-mine"), message.get(b"x-old"), message.get(b"x-all")) == (None, None, b"3")


def test_5_2_2_7_withheld_fields_of_a_304(site: Site) -> None:
    """What it names goes to who asked, and to nobody after that; a cookie that it does not name ends the keeping."""
    path = "/a/withheld304"
    fresh = 'Cache-Control: max-age=60, no-cache="Set-Cookie"'
    site.lay(
        path,
        answer(b"x", fresh, TAG, STALE),
        *(f"HTTP/1.1 304 Not Modified\r\n{TAG}\r\nSet-Cookie: whose=mine\r\n{says}\r\n\r\n".encode() for says in (fresh, MINUTE)),
        answer(b"y", "Cache-Control: no-store"),
    )
    site.ask(path)
    assert site.ask(path).get(b"set-cookie") == b"whose=mine"
    message = site.ask(path)
    assert (told(message), message.get(b"set-cookie")) == ("hit", None)
    assert site.ask(path, "Cache-Control: no-cache").get(b"set-cookie") == b"whose=mine"
    assert site.ask(path).get(b"cache-status") == b"Portico; fwd=uri-miss"


def test_2_hosts_are_told_apart(site: Site) -> None:
    """Section 2: the key has the target URI, of which the host is a part. nginx's default key has not."""
    for name, count in (("/a/hosts", 2), ("/plain/hosts", 1)):
        site.lay(name, answer(b"x", MINUTE))
        for host in (b"one.example", b"two.example"):
            with site.proxy.client() as client:
                client.send(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (name.encode(), host))
                assert client.response().body == b"x"
        assert site.count(name) == count


def test_4_3_2_conditions_of_clients(site: Site) -> None:
    """RFC 9110 section 13.2.2: If-None-Match rules out If-Modified-Since; what is meant for origins is not judged."""
    path = "/a/conditions"
    site.lay(path, answer(b"body", MINUTE, TAG, "Last-Modified: Mon, 02 Jan 2023 10:00:00 GMT", "Accept-Ranges: bytes"))
    site.ask(path)
    assert site.ask(path, 'If-None-Match: "v1"', "If-Modified-Since: Mon, 02 Jan 2022 10:00:00 GMT").status == 304
    assert site.ask(path, 'If-None-Match: "v2"', "If-Modified-Since: Mon, 02 Jan 2023 10:00:00 GMT").status == 200
    assert site.ask(path, "If-Modified-Since: Mon, 02 Jan 2023 10:00:00 GMT").status == 304
    assert site.ask(path, 'If-Match: "v2"').status == 200
    assert site.ask(path, "Range: bytes=1-2").body == b"od"
    assert site.ask(path, "Range: bytes=1-2", 'If-Range: "v2"').status == 200
    assert site.count(path) == 1


def test_3_3_incomplete_answers(site: Site) -> None:
    """Half an answer is not kept, with or without a length."""
    for name, first in (("/a/cut", answer(b"all", MINUTE, length=9)), ("/a/cut-chunked", CHUNKED)):
        site.lay(name, first, answer(b"all of it", MINUTE))
        site.origin.cut.add(name)
        with site.proxy.get(name) as client:
            assert client.wire.response(b"GET").truncated  # type: ignore[union-attr]
        message = site.ask(name)
        assert told(message) == "fwd=uri-miss; stored" and message.body == b"all of it"


def test_collapsed(site: Site) -> None:
    """RFC 9211 section 2.7."""
    path = "/lock/many"
    site.lay(path, answer(b"x", MINUTE))
    held = site.origin.held[path] = threading.Event()
    with site.proxy.get(path) as first:
        wait_until(lambda: site.count(path) == 1, what="the origin is asked")
        with site.proxy.get(path) as second:
            assert second.silent()
            held.set()
            assert told(first.response()) == "fwd=uri-miss; stored"
            assert told(second.response()) == "fwd=uri-miss; collapsed"
    assert site.count(path) == 1


def test_other_caches_and_bypass(site: Site) -> None:
    """RFC 9211 section 2."""
    path = "/bypass/x?b=1"
    site.lay(path, answer(b"x", MINUTE))
    assert told(site.ask(path)) == "fwd=bypass; stored"
    site.lay("/plain/nothing", answer(b"x"))
    assert site.ask("/plain/nothing").get(b"cache-status") is None
    site.lay("/a/before", answer(b"x", MINUTE, "Cache-Status: Origin; hit"))
    site.ask("/a/before")
    values = every(site.ask("/a/before"), b"cache-status")
    assert values[0] == b"Origin; hit" and values[1].startswith(b"Portico; hit; ttl=")
