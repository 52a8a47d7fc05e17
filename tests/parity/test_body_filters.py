"""What is put into bodies, around them, and what is asked besides: sub_filter, addition, mirror."""

from __future__ import annotations

from tests.parity.backend import Wait, chunked, raw_reply, reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

HTML = "Content-Type: text/html"
FILTERS = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        types { text/html html; text/plain txt; text/css css; }
        location /sub/ { sub_filter one two; alias @ROOT@/files/; }
        location /all/ { sub_filter one two; sub_filter_once off; alias @ROOT@/files/; }
        location /several/ {
            sub_filter one 1; sub_filter "one two" 12; sub_filter two "2 $arg_x"; sub_filter_once off;
            alias @ROOT@/files/;
        }
        location /longfirst/ {
            sub_filter "one two" 12; sub_filter one 1; sub_filter two ""; sub_filter_once off; alias @ROOT@/files/;
        }
        location /kept/ { sub_filter one two; sub_filter_last_modified on; alias @ROOT@/files/; }
        location /types/ { sub_filter one two; sub_filter_types text/css; alias @ROOT@/files/; }
        location /every/ { sub_filter one two; sub_filter_types *; alias @ROOT@/files/; }
        location /variable/ { sub_filter "$arg_find" "<$arg_x>"; sub_filter_once off; alias @ROOT@/files/; }
        location /returned/ { default_type text/html; sub_filter one two; return 200 "one is one"; }
        location /missing/ { sub_filter "Not" "Yes, not"; }
        location /inherit/ { sub_filter one X; location /inherit/inner/ { alias @ROOT@/files/; } }
        location /proxied/ { sub_filter abcd 1; sub_filter bc 2; sub_filter_once off; proxy_pass http://@BACKEND@; }
        location /proxiedonce/ { sub_filter aab X; sub_filter_types *; proxy_pass http://@BACKEND@; }

        location /both/ { add_before_body /part/head.html; add_after_body /part/foot.html; alias @ROOT@/files/; }
        location /before/ { add_before_body /part/head.html; alias @ROOT@/files/; }
        location /after/ { add_after_body /part/foot.html; alias @ROOT@/files/; addition_types text/css; }
        location /absent/ { add_after_body /part/none.html; alias @ROOT@/files/; }
        location /none/ { add_before_body /part/head.html; location /none/inner/ { add_before_body ""; alias @ROOT@/files/; } }
        location /around/ {
            add_before_body /backend/one; add_after_body /backend/two; sub_filter_once off; sub_filter hello bye;
            addition_types *; proxy_pass http://@BACKEND_2@;
        }
        location /backend/ { proxy_pass http://@BACKEND@; }
        location /part/ { internal; }

        location /mirrored/ { mirror /copy; proxy_pass http://@BACKEND@; }
        location /nobody/ { mirror /copy; mirror_request_body off; proxy_pass http://@BACKEND@; }
        location /file/ { mirror /copy; alias @ROOT@/files/; }
        location = /copy {
            internal; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-Original $request_uri; proxy_pass http://@BACKEND_2@/seen$request_uri;
        }
        location = /failing { internal; return 500; }
        location /refused/ { mirror /failing; proxy_pass http://@BACKEND@; }
        location /twice/ { mirror /copy; mirror /copy2; proxy_pass http://@BACKEND@; }
        location = /copy2 {
            internal; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection "";
            proxy_pass http://@BACKEND_2@/second$request_uri;
        }
        location /small/ { client_max_body_size 10; mirror /copy; proxy_pass http://@BACKEND@; }
        location /straight/ { mirror /copy; proxy_request_buffering off; proxy_pass http://@BACKEND@; }
        location = /pixel { mirror /copy; empty_gif; }
        location /returned2/ { mirror /copy; return 200 x; }
        location /unmirrored/ { mirror off; proxy_pass http://@BACKEND@; }
    }
    """,
    {
        "files/a.html": b"One two one two",
        "files/a.txt": b"one",
        "files/a.css": b"one",
        "files/empty.html": b"",
        "part/head.html": b"<head>",
        "part/foot.html": b"<foot>",
    },
)

CHUNKED = b"POST %b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
BODILESS = "nginx announces the length of a body that does not come, unless told not to"
HELD = "what is held back when the body ends is searched too: nginx passes it on as it is"
DATES = (r"Last-Modified: [^\n]+", r"ETag: [^\n]+")


def _html(*pieces: bytes) -> bytes:
    return raw_reply("HTTP/1.1 200 OK", HTML, "Transfer-Encoding: chunked", body=chunked(*pieces))


@exchanges(
    FILTERS,
    Exchange("once", get("/sub/a.html"), body=b"two two one two", lacks=("Last-Modified", "ETag", "Content-Length", "Accept-Ranges")),
    Exchange("old client", get("/sub/a.html", version="1.0"), body=b"two two one two", closed=True),
    Exchange("head", request("HEAD", "/sub/a.html")),
    Exchange("everywhere", get("/all/a.html"), body=b"two two two two"),
    Exchange("a range of it", get("/all/a.html", "Range: bytes=0-1"), status=200),
    Exchange("not modified", get("/all/a.html", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"), status=200),
    Exchange("an empty file", get("/all/empty.html"), body=b""),
    Exchange("in the order written", get("/several/a.html?x=y"), body=b"1 2 y 1 2 y"),
    Exchange("the longer one first", get("/longfirst/a.html"), body=b"12 12"),
    Exchange("kept dates", get("/kept/a.html")),
    Exchange("another type", get("/sub/a.txt"), body=b"one"),
    Exchange("a type that is named", get("/types/a.css"), body=b"two"),
    Exchange("html is always there", get("/types/a.html"), body=b"two two one two"),
    Exchange("every type", get("/every/a.txt"), body=b"two"),
    Exchange("a variable", get("/variable/a.html?find=TWO&x=2"), body=b"One <2> one <2>"),
    Exchange("an empty variable", get("/variable/a.html"), body=b"One two one two"),
    Exchange("of return", get("/returned/"), body=b"two is one"),
    Exchange("of an error", get("/missing/"), status=404, contains=b"Yes, not"),
    Exchange("inherited", get("/inherit/inner/a.html"), body=b"X two one two"),
    Exchange("across chunks", get("/proxied/"), backend=_html(b"xa", b"b", b"c", b"d abc", b"e"), body=b"x1 a2e"),
    Exchange("held to the end", get("/proxied/"), backend=_html(b"xab", b"c"), body=b"xa2", differs=HELD),
    Exchange("half a string at the end", get("/proxied/"), backend=_html(b"xa"), body=b"xa"),
    Exchange("repeated beginnings", get("/proxiedonce/"), backend=_html(b"aaa", b"b aab"), body=b"aX aab"),
    Exchange("byte by byte", get("/proxiedonce/"), backend=_html(b"a", b"a", b"a", b"b", b"!"), body=b"aX!"),
    Exchange("with a length", get("/proxied/"), backend=reply(200, "-abcd-", HTML), body=b"-1-"),
)
def test_sub_filter(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    FILTERS,
    Exchange("around", get("/both/a.html"), body=b"<head>One two one two<foot>", mask=DATES),
    Exchange("around, old client", get("/both/a.html", version="1.0"), body=b"<head>One two one two<foot>", mask=DATES),
    Exchange("head", request("HEAD", "/both/a.html"), mask=DATES),
    Exchange("before", get("/before/a.html"), body=b"<head>One two one two"),
    Exchange("after", get("/after/a.html"), body=b"One two one two<foot>"),
    Exchange("after, another type", get("/after/a.css"), body=b"one<foot>"),
    Exchange("not this type", get("/before/a.css"), body=b"one"),
    Exchange("of an error", get("/both/none.html"), status=404),
    Exchange("a part that is missing", get("/absent/a.html"), status=200, contains=b"404 Not Found"),
    Exchange("undone", get("/none/inner/a.html"), body=b"One two one two"),
    Exchange("ranges", get("/both/a.html", "Range: bytes=0-1"), status=200),
    Exchange("not modified", get("/both/a.html", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"), status=200),
    Exchange(
        "around an upstream's", get("/around/x"),
        backend={"BACKEND": reply(200, "hello part", HTML), "BACKEND_2": reply(200, "hello whole", HTML)},
        contains=b"bye whole", reached=3, unordered=True,  # nginx asks for both at once
    ),
)
def test_addition(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    FILTERS,
    Exchange("get", get("/mirrored/x?a=b"), body=b"hello", reached=2, unordered=True),
    Exchange("of a file", get("/file/a.txt"), body=b"one", reached=1, unordered=True, forwarded=("GET /seen/file/a.txt HTTP/1.",)),
    Exchange("post", request("POST", "/mirrored/x", body=b"12345"), body=b"hello", reached=2, unordered=True),
    *(
        Exchange(f"{method} with a body", request(method, "/mirrored/x", body=b"12345"), reached=2, unordered=True)
        for method in ("PUT", "PATCH", "DELETE")
    ),
    Exchange("head of it", request("HEAD", "/mirrored/x"), reached=2, unordered=True),
    Exchange("in chunks", CHUNKED % b"/mirrored/x", reached=2, unordered=True),
    Exchange("a body in a file", request("POST", "/mirrored/x", body=b"x" * 100_000), reached=2, unordered=True),
    Exchange("not buffered", request("POST", "/straight/x", body=b"x" * 50), reached=2, unordered=True),
    Exchange("too large", request("POST", "/small/x", body=b"x" * 50), reached=0, status=413),
    Exchange("two mirrors", request("POST", "/twice/x", body=b"12345"), reached=3, unordered=True),
    Exchange("without an upstream", get("/pixel"), reached=1, unordered=True),
    Exchange("return comes before", get("/returned2/x"), body=b"x", reached=0),
    Exchange("no body", get("/nobody/x"), reached=2, unordered=True),
    *(
        Exchange(
            f"no body of {name}", sent, reached=2, unordered=True, body=b"hello", differs=BODILESS,
            backend={"BACKEND": reply(200, "hello"), "BACKEND_2": [Wait(0.1), reply(200, "late")]},
            forwarded=("POST /seen/nobody/x HTTP",), withheld=("Content-Length", "Transfer-Encoding", "12345"),
        )
        for name, sent in (("a post", request("POST", "/nobody/x", body=b"12345")), ("chunks", CHUNKED % b"/nobody/x"))
    ),
    Exchange("refused", get("/refused/x"), body=b"hello", reached=1, unordered=True),
    Exchange("off", get("/unmirrored/x"), body=b"hello", reached=1, unordered=True),
    Exchange(
        "slow ones hold up no request", request("POST", "/mirrored/1", body=b"one") + request("POST", "/mirrored/2", body=b"two"),
        methods=("POST", "POST"), reached=4, unordered=True, status=(200, 200),
        backend={"BACKEND": reply(200, "hello"), "BACKEND_2": [Wait(4.0), reply(200, "late")]},  # longer than a client here waits
        differs="in nginx the second request waits for the first one's mirror",
    ),
    Exchange(
        "some wait when many are on their way", request("POST", "/mirrored/1", body=b"one") * 7, methods=("POST",) * 7,
        reached=14, unordered=True, backend={"BACKEND": reply(200, "hello"), "BACKEND_2": [Wait(0.1), reply(200, "late")]},
    ),
    Exchange("two in a row", (get("/mirrored/1") + get("/mirrored/2"),), methods=("GET", "GET"), reached=4, unordered=True),
    Exchange(
        "the mirror says no", get("/mirrored/x"), backend={"BACKEND_2": reply(500, "no"), "BACKEND": reply(200, "yes")},
        body=b"yes", reached=2, unordered=True,
    ),
)
def test_mirror(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
