"""The same head from the upstream again and again, where the location adds fields: `add_header`, `expires`, `userid`.

From the second time on, the lines of such a head are those of the first time (`HeaderFilter.preserves`), and what is added is added
to them. nginx makes every head anew, so each answer is compared with one that was made so.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.parity.backend import Answers, Turns, chunked, raw_reply, reply
from tests.parity.exchange import Act, Exchange, Read, get, request
from tests.parity.harness import Group, Servers, exchanges

SETTLED = Path(os.__file__).parent  # a file there has been as it is for long: it may be kept in memory
SENT = "$uri $status [$sent_http_x_frame_options] [$sent_http_x_one] [$sent_http_cache_control]"
HEADS = Group(
    f"""
    log_format sent '{SENT} [$sent_http_content_type] '
        '[$sent_http_etag] [$sent_http_accept_ranges]';
    map $sent_http_content_type $by_type {{ text/html 1h; text/css max; default off; }}
    map $uri $asked {{ / ""; "" ""; default 1; }}
    upstream kept {{ server @BACKEND@; keepalive 1; }}
    proxy_cache_path @PREFIX@/cache keys_zone=heads:1m;
    server {{
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        access_log @PREFIX@/sent.log sent if=$asked;
        add_header X-Frame-Options SAMEORIGIN;
        add_header Strict-Transport-Security "max-age=31536000" always;
        location /two/ {{ proxy_pass http://kept; }}
        location /own/ {{ add_header X-Own "a b"; proxy_pass http://kept; }}
        location /unbuffered/ {{ proxy_buffering off; proxy_pass http://kept; }}
        location /twice/ {{ add_header X-Two mine; add_header X-Two more; proxy_pass http://kept; }}
        location /variables/ {{
            add_header X-Arg $arg_a;
            add_header X-Host $host always;
            add_header X-Up $upstream_status always;
            add_header X-Sent "$sent_http_x_one $sent_http_content_type $sent_http_content_length $sent_http_x_arg";
            add_header X-Empty "";
            proxy_pass http://kept;
        }}
        location /etag/ {{ add_header ETag '"mine"'; add_header X-Own 1; proxy_pass http://kept; }}
        location /undated/ {{ add_header Last-Modified ""; proxy_pass http://kept; }}
        location /hour/ {{ expires 1h; proxy_pass http://kept; }}
        location /past/ {{ expires -1; proxy_pass http://kept; }}
        location /epoch/ {{ expires epoch; proxy_pass http://kept; }}
        location /max/ {{ expires max; add_header Cache-Control public; proxy_pass http://kept; }}
        location /modified/ {{ expires modified 1h; proxy_pass http://kept; }}
        location /typed/ {{ expires $by_type; proxy_pass http://kept; }}
        location /if/ {{ if ($arg_z) {{ add_header X-If 1; }} proxy_pass http://kept; }}
        location /coded/ {{ gzip on; gzip_min_length 100; gzip_vary on; proxy_pass http://kept; }}
        location /uid/ {{ userid on; userid_p3p P; proxy_pass http://kept; }}
        location /cached/ {{ proxy_cache heads; proxy_cache_valid any 1h; expires 1h; proxy_pass http://kept; }}
        location /hidden/ {{ proxy_hide_header X-One; add_header X-One mine; proxy_pass http://kept; }}
        location /cookie/ {{ proxy_cookie_path / "/$arg_a"; proxy_pass http://kept; }}
        location /settled/ {{ alias {SETTLED}/; }}
        location /settled/own/ {{ add_header X-Own 1; etag off; default_type text/x-own; alias {SETTLED}/; }}
        location /settled/hour/ {{ expires 1h; alias {SETTLED}/; }}
        location /settled/modified/ {{ expires modified 1h; alias {SETTLED}/; }}
        location /settled/coded/ {{ gzip on; gzip_vary on; gzip_types text/plain; alias {SETTLED}/; }}
        location /settled/short/ {{ gzip on; gzip_vary on; gzip_types text/plain; gzip_min_length 9000; alias {SETTLED}/; }}
        location /settled/charset/ {{ charset utf-8; alias {SETTLED}/; }}
        location /settled/parts/ {{ max_ranges 0; alias {SETTLED}/; }}
        location /settled/page/ {{ error_page 404 /settled/this.py; return 404; }}
        location = /this.py {{ root {SETTLED}; error_page 418 = @named; if ($arg_z) {{ return 418; }} }}
        location @named {{ root {SETTLED}; etag off; default_type text/z; }}
        location /fallback/ {{ error_page 404 = @app; return 404; }}
        location @app {{ add_header X-App 1; proxy_pass http://kept; }}
        location /page/ {{ error_page 404 /two/; return 404; }}
        location /nothing/ {{ error_page 404 =204 /two/; return 404; }}
        location /intercepted/ {{ proxy_intercept_errors on; error_page 500 502 /two/; proxy_pass http://kept; }}
        location /accel/ {{ proxy_pass http://@BACKEND_2@; }}
    }}
    """,
    {"a.txt": b"0123456789"},
)
HTML = "Content-Type: text/html"
ANSWER = reply(200, "hello", HTML, "X-One: 1")
TWO = {"X-Frame-Options": "SAMEORIGIN", "Strict-Transport-Security": "max-age=31536000"}


def again(
    name: str, *targets: str, backend: Answers = ANSWER, has: dict[str, str] | None = None, lacks: tuple[str, ...] = (),
    mask: tuple[str, ...] = (),
) -> Exchange:  # fmt: skip
    """One target three times, or several in turn, on one connection and one to the upstream; what the log tells is compared too."""
    chosen = targets * 3 if len(targets) == 1 else targets
    acts: list[Act] = []
    for target in chosen:
        acts += [get(target) if target.startswith("/") else request(*target.split()), Read()]
    methods = tuple("GET" if target.startswith("/") else target.split()[0] for target in chosen)
    return Exchange(name, acts[:-1], methods=methods, backend=backend, has=has or {}, lacks=lacks, mask=mask, log="sent.log")


def status(number: int, *headers: str) -> bytes:
    return reply(number, "hello", HTML, *headers, reason="Some Reason")


EXPIRED = ("Expires: Thu, 01 Jan 1970 00:00:01 GMT", "Cache-Control: private")
DATED = ("Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT", 'ETag: "theirs"')


@exchanges(
    HEADS,
    again("two constants", "/two/", has=TWO),
    again("no other fields", "/two/", backend=raw_reply("HTTP/1.1 200 OK", "Content-Length: 0"), has=TWO),
    again("in chunks", "/two/", has=TWO,
          backend=raw_reply("HTTP/1.1 200 OK", HTML, "Transfer-Encoding: chunked", body=chunked(b"hel", b"lo"))),
    again("in chunks without other fields", "/two/", has=TWO,
          backend=raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked(b"hel", b"lo"))),
    again("unbuffered", "/unbuffered/", has=TWO),
    again("long", "/two/", backend=reply(200, "x" * 200_000, HTML), has=TWO),
    again("with the upstream's own", "/twice/", backend=reply(200, "hello", "X-Two: 1", "X-Two: 2"), has={"X-Two": "mine"},
          lacks=("X-Frame-Options",)),
    again("in place of a hidden one", "/hidden/", has={"X-One": "mine"}),
    again("turn by turn", "/two/", "/own/?a", "/two/", "/own/?b", "/two/", has=TWO, lacks=("X-Own",)),
    again("turn by turn with what replaces", "/two/", "/etag/", "/two/", "/undated/", "/etag/", backend=reply(200, "x", *DATED),
          has={"ETag": '"mine"', "X-Own": "1"}, lacks=("X-Frame-Options",)),
    again("of variables", "/variables/?a=1", "/variables/?a=2", "/variables/", "/variables/?a=3",
          has={"X-Arg": "3", "X-Sent": "1 text/html 5 3"}, lacks=("X-Empty",)),
    again("in the block of an if", "/if/", "/if/?z=1", "/if/", "/if/?z=1", has={"X-If": "1"}, lacks=("X-Frame-Options",)),
    again("not in the block of an if", "/if/?z=1", "/if/?z=1", "/if/", has=TWO, lacks=("X-If",)),
    again("head in between", "/two/", "HEAD /two/", "/two/", "HEAD /two/", has=TWO),
    again("post in between", "/two/", "POST /two/", "/two/", "POST /two/", has=TWO),
    again("a cookie of the upstream's, rewritten", "/cookie/?a=1", "/cookie/?a=2", "/cookie/?a=3", has={"Set-Cookie": "a=b; path=/3"},
          backend=reply(200, "x", "Set-Cookie: a=b; path=/")),
    again("no cookie to rewrite", "/cookie/?a=1", "/cookie/?a=2", has=TWO),
    again("a visitor's number", "/uid/", has={"P3P": "P"}, mask=("uid=[^;]*",)),
    again("below the length that is compressed", "/coded/", has=TWO, lacks=("Vary",)),
)  # fmt: skip
def test_fields_added(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    HEADS,
    *(again(str(number), "/two/", backend=status(number), has=TWO) for number in (200, 201, 206, 303)),
    *(
        again(str(number), "/two/", backend=status(number), has={"Strict-Transport-Security": "max-age=31536000"},
              lacks=("X-Frame-Options",))
        for number in (202, 207, 400, 404, 410, 500, 503)
    ),
    again("301", "/two/", backend=status(301, "Location: /elsewhere"), has=TWO),
    again("304", "/two/", backend=raw_reply("HTTP/1.1 304 Not Modified", 'ETag: "theirs"'), has=TWO),
    again("204", "/two/", backend=raw_reply("HTTP/1.1 204 No Content", "X-One: 1"), has=TWO),
    again("one head in, one out of the list", "/two/", backend=Turns((ANSWER, status(404), ANSWER, status(404), ANSWER))),
    again("a part", "/two/", backend=reply(206, "ell", HTML, "Content-Range: bytes 1-3/5", reason="Partial Content"), has=TWO),
    again("a fallback", "/fallback/", has={"X-App": "1"}, lacks=("X-Frame-Options",)),
    again("a page of the upstream's", "/two/", "/page/", "/two/", "/page/", "/page/", lacks=("X-Frame-Options",)),
    again("no content in the end", "/two/", "/nothing/", "/two/", "/nothing/", "/nothing/", has=TWO),
    again("an error page in its place", "/intercepted/", lacks=("X-Frame-Options",),
          backend=Turns((status(500), ANSWER, status(500), ANSWER, status(502), ANSWER))),
)  # fmt: skip
def test_statuses(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    HEADS,
    again("an hour", "/hour/", has={"Cache-Control": "max-age=3600", **TWO}),
    again("past", "/past/", has={"Cache-Control": "no-cache"}),
    again("epoch", "/epoch/", has={"Cache-Control": "no-cache"}),
    again("max, and a word more", "/max/", has={"Cache-Control": "public"}),
    again("since the modification", "/modified/", backend=reply(200, "x", HTML, *DATED)),
    again("since an unknown modification", "/modified/"),
    again("by the type", "/typed/", has={"Cache-Control": "max-age=3600"}),
    again("by another type", "/typed/", backend=reply(200, "x", "Content-Type: text/css")),
    again("off by the type", "/typed/", backend=reply(200, "x", "Content-Type: image/png"), lacks=("Expires",)),
    again("in place of the upstream's", "/hour/", backend=reply(200, "x", HTML, *EXPIRED), has={"Cache-Control": "max-age=3600"}),
    again("now in place of it, now not", "/hour/", "/hour/?a", "/hour/?b", "/hour/?c",
          backend=Turns((ANSWER, reply(200, "x", *EXPIRED), ANSWER, ANSWER))),
    again("not for that status", "/hour/", backend=status(404), lacks=("Expires", "Cache-Control")),
    again("with what another answer has set", "/hour/", "/accel/", "/hour/", "/accel/",
          has={"Cache-Control": "max-age=3600", "Set-Cookie": "a=b"},
          backend={"BACKEND": reply(200, "x", "X-One: 1"),
                   "BACKEND_2": reply(200, "", *EXPIRED, "Set-Cookie: a=b", "X-Accel-Redirect: /hour/")}),
)  # fmt: skip
def test_expires(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    HEADS,
    again("a hit", "/cached/hit", "/cached/hit", "/cached/hit", "/cached/hit", has={"Cache-Control": "max-age=3600", **TWO}),
    again("of a 404", "/cached/404", "/cached/404", "/cached/404", backend=status(404), lacks=("X-Frame-Options", "Expires")),
    again("with a head and a part", "/cached/part", "/cached/part", "HEAD /cached/part", "/cached/part",
          backend=reply(200, "hello", HTML, "Accept-Ranges: bytes", *DATED), has=TWO),
    Exchange("conditions between hits", [
        get("/cached/if"), Read(), get("/cached/if"), Read(), get("/cached/if", 'If-None-Match: "theirs"'), Read(),
        get("/cached/if", "Range: bytes=1-3"), Read(), get("/cached/if")], methods=("GET",) * 5,
        status=(200, 200, 304, 206, 200), backend=reply(200, "hello", HTML, "Accept-Ranges: bytes", *DATED), has=TWO),
)  # fmt: skip
def test_hits(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


GZIP = "Accept-Encoding: gzip"


def asked(target: str, *fields: str) -> list[Act]:
    """The target before, between and after requests that say one of `fields` each."""
    acts: list[Act] = [get(target), Read(), get(target)]
    for field in fields:
        acts += [Read(), get(target, field), Read(), get(target)]
    return acts


@exchanges(
    HEADS,
    again("just made", "/a.txt", has=TWO),
    again("whole", "/settled/this.py", has=TWO),
    again("head", "/settled/this.py", "HEAD /settled/this.py", "/settled/this.py", "HEAD /settled/this.py", has=TWO),
    again("missing", "/settled/this.py", "/settled/none", "/settled/this.py", "/settled/none", lacks=("X-Frame-Options",)),
    again("in two locations", *("/settled/this.py", "/settled/own/this.py") * 2, has={"X-Own": "1", "Content-Type": "text/x-own"},
          lacks=("ETag",)),
    again("in two locations by one name", *("/this.py", "/this.py?z=1") * 2, has={"Content-Type": "text/z", **TWO}, lacks=("ETag",)),
    again("an hour", "/settled/hour/this.py", has={"Cache-Control": "max-age=3600", **TWO}),
    again("an hour after the modification", "/settled/modified/this.py", has={"Cache-Control": "no-cache"}),
    again("with a charset", "/settled/charset/this.py", has={"Content-Type": "text/plain; charset=utf-8"}),
    again("without parts", "/settled/parts/this.py", lacks=("Accept-Ranges",)),
    again("an error page", "/settled/this.py", "/settled/page/", "/settled/this.py", "/settled/page/", lacks=("X-Frame-Options",)),
    Exchange("compressed for some", asked("/settled/coded/this.py", GZIP), methods=("GET",) * 4, has={"Vary": "Accept-Encoding"}),
    Exchange("compressed for none", asked("/settled/short/this.py", GZIP), methods=("GET",) * 4, lacks=("Vary",)),
    Exchange(
        "parts and conditions",
        asked("/settled/this.py", "Range: bytes=1-3", "Range: bytes=1-2,4-5", 'If-None-Match: "x"', "If-None-Match: *",
              "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", "If-Modified-Since: Tue, 14 Nov 1995 22:13:20 GMT",
              "If-Unmodified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
        methods=("GET",) * 16, status=(200, 200, 206, 200, 206, 200, 200, 200, 304, 200, 200, 200, 200, 200, 200, 200), has=TWO),
    Exchange("a part that is not there", get("/settled/this.py", "Range: bytes=90000-"), status=416, has=TWO,
             differs="nginx runs the filters twice over a 416: what says `always` stands there twice"),
)  # fmt: skip
def test_files(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
