"""Answers compressed by gzip: which, when, and what their heads say. nginx's are compared decoded."""

from __future__ import annotations

import gzip

from tests.parity.backend import Close, chunked, raw_reply, reply
from tests.parity.exchange import Exchange, Read, get, request
from tests.parity.harness import Group, Servers, exchanges

HTML = "Content-Type: text/html"
GZIP = "Accept-Encoding: gzip"
VIA = "Via: 1.1 proxy.example"
LAST_MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
LINES = b"".join(b"<p>A line of text, number %d, of a page.</p>\n" % number for number in range(200))
SMALL = b"<p>19 bytes long</p>"[:19]
LIMIT = b"<p>20 bytes long</p>"
QUIRK = "kept alive, as its Connection field says; nginx says the same and closes"
ETAG = f'"6553f100-{len(LINES):x}"'

PAGES = Group(
    r"""
    types { text/html html; text/css css; text/plain txt; image/png png; application/json json; }
    gzip on;
    gzip_vary on;
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        add_header Cache-Control "max-age=60";

        location /off/ { gzip off; alias @ROOT@/; }
        location /novary/ { gzip_vary off; alias @ROOT@/; }
        location /types/ { gzip_types text/css application/json; alias @ROOT@/; }
        location /every/ { gzip_types *; alias @ROOT@/; }
        location /length/ { gzip_min_length 9000; gzip_types *; alias @ROOT@/; }
        location /nolength/ { gzip_min_length 0; alias @ROOT@/; }
        location /nine/ { gzip_comp_level 9; gzip_buffers 4 8k; alias @ROOT@/; }
        location /five/ { gzip_comp_level 5; alias @ROOT@/; }
        location /old/ { gzip_http_version 1.0; alias @ROOT@/; }
        location /noetag/ { etag off; alias @ROOT@/; }
        location /disabled/ { gzip_disable msie6 "^Robot/[12]\."; alias @ROOT@/; }
        location /disabled/inner/ { gzip_disable "Crawler"; alias @ROOT@/; }
        location /if/ { gzip off; if ($arg_z) { gzip on; } alias @ROOT@/; }
        location /missing { return 404; }
        location /denied { deny all; }
        location /failing { return 500 "an answer that is long enough"; }
        location /moved { return 301 /elsewhere; }
        location /said { default_type text/html; return 200 "an answer that is long enough"; }
        location /errorpage { error_page 404 /page.html; return 404; }
        location /sub/ { sub_filter text TEXT; sub_filter_once off; alias @ROOT@/; }
        location /around/ { add_before_body /part.html; add_after_body /part.html; alias @ROOT@/; }
        location /charset/ { charset utf-8; alias @ROOT@/; }
        location /nochunks/ { chunked_transfer_encoding off; alias @ROOT@/; }
        location /rate/ { limit_rate 10m; alias @ROOT@/; }

        location /proxied/ { proxy_pass http://@BACKEND@; }
        location /everyproxied/ { gzip_types *; proxy_pass http://@BACKEND@; }
        location /unbuffered/ { proxy_buffering off; proxy_pass http://@BACKEND@; }
        location /intercepted/ { proxy_intercept_errors on; error_page 404 /page.html; proxy_pass http://@BACKEND@; }
        location /accel/ { proxy_pass http://@BACKEND@; }
        location /failed/ { error_page 418 =404 /proxied/; return 418; }
    }
    upstream kept { server @BACKEND@; keepalive 1; }
    server {
        listen 127.0.0.1:@PORT_VIA@;
        root @ROOT@;
        location /off/ { gzip_proxied off; alias @ROOT@/; }
        location /any/ { gzip_proxied any; alias @ROOT@/; }
        location /auth/ { gzip_proxied auth; alias @ROOT@/; }
        location /expired/ { gzip_proxied expired; proxy_pass http://@BACKEND@; }
        location /nocache/ { gzip_proxied no-cache; proxy_pass http://@BACKEND@; }
        location /nostore/ { gzip_proxied no-store; proxy_pass http://@BACKEND@; }
        location /private/ { gzip_proxied private; proxy_pass http://@BACKEND@; }
        location /several/ { gzip_proxied expired no-cache no-store private auth; proxy_pass http://@BACKEND@; }
        location /nolm/ { gzip_proxied no_last_modified; proxy_pass http://@BACKEND@; }
        location /nolmfile/ { gzip_proxied no_last_modified; alias @ROOT@/; }
        location /noetag/ { gzip_proxied no_etag; proxy_pass http://@BACKEND@; }
        location /noetagfile/ { gzip_proxied no_etag; alias @ROOT@/; }
        location /passdate/ { gzip_proxied expired; proxy_pass_header Date; proxy_pass http://@BACKEND@; }
        location /ownexpires/ { gzip_proxied expired; expires -1; alias @ROOT@/; }
        location /later/ { gzip_proxied expired; expires 1h; alias @ROOT@/; }
        location /kept/ { proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection ""; }
        location /accelkept/ { proxy_pass http://@BACKEND_2@; }
    }
    """,
    {
        "page.html": LINES,
        "style.css": LINES,
        "note.txt": LINES,
        "data.json": LINES,
        "picture.png": LINES,
        "noextension": LINES,
        "small.html": SMALL,
        "limit.html": LIMIT,
        "empty.html": b"",
        "part.html": b"<hr>",
        "large.html": LINES * 40,
        "inner/page.html": LINES,
    },
)

PLAIN = {"Content-Length": f"{len(LINES)} (as the body)", "ETag": ETAG, "Accept-Ranges": "bytes"}
CODED = {"Content-Encoding": "gzip", "ETag": f"W/{ETAG}", "Vary": "Accept-Encoding", "Transfer-Encoding": "chunked"}
LOST = ("Content-Length", "Accept-Ranges")


@exchanges(
    PAGES,
    Exchange("gzip", get("/page.html", GZIP), body=LINES, has=CODED, lacks=LOST),
    Exchange("nobody asked", get("/page.html"), body=LINES, has={**PLAIN, "Vary": "Accept-Encoding"}, lacks=("Content-Encoding",)),
    Exchange("a browser", get("/page.html", "Accept-Encoding: gzip, deflate, br, zstd"), has=CODED),
    Exchange("not first", get("/page.html", "Accept-Encoding: deflate, gzip"), has=CODED),
    Exchange("capitals", get("/page.html", "Accept-Encoding: GZip"), has=CODED),
    Exchange("weighted", get("/page.html", "Accept-Encoding: gzip;q=0.5"), has=CODED),
    Exchange("a small weight", get("/page.html", "Accept-Encoding: gzip;q=0.001"), has=CODED),
    Exchange("weight zero", get("/page.html", "Accept-Encoding: gzip;q=0"), lacks=("Content-Encoding",)),
    Exchange("weight zero in full", get("/page.html", "Accept-Encoding: gzip;q=0.000"), lacks=("Content-Encoding",)),
    Exchange("too many digits", get("/page.html", "Accept-Encoding: gzip;q=0.1234"), lacks=("Content-Encoding",)),
    Exchange("more than one", get("/page.html", "Accept-Encoding: gzip;q=1.5"), lacks=("Content-Encoding",)),
    Exchange("no weight", get("/page.html", "Accept-Encoding: gzip;level=9"), lacks=("Content-Encoding",)),
    Exchange("spaces", get("/page.html", "Accept-Encoding: deflate ,  gzip ; q=1"), has=CODED),
    Exchange("something like it", get("/page.html", "Accept-Encoding: gzipped, agzip"), lacks=("Content-Encoding",)),
    Exchange("empty", get("/page.html", "Accept-Encoding:"), lacks=("Content-Encoding",)),
    Exchange("identity", get("/page.html", "Accept-Encoding: identity"), lacks=("Content-Encoding",)),
    Exchange("head", request("HEAD", "/page.html", GZIP), has={"Content-Encoding": "gzip"}, lacks=LOST),
    Exchange("head of plain", request("HEAD", "/page.html"), lacks=("Content-Encoding",)),
    Exchange("old client", get("/page.html", GZIP, version="1.0"), body=LINES, has=PLAIN, closed=True),
    Exchange("old client allowed", get("/old/page.html", GZIP, version="1.0"), has={"Content-Encoding": "gzip"}, closed=True),
    Exchange("old client kept alive", get("/old/page.html", GZIP, "Connection: keep-alive", version="1.0"), closed=True),
    Exchange("no chunks", get("/nochunks/page.html", GZIP), has={"Content-Encoding": "gzip"}, closed=True),
    Exchange("off", get("/off/page.html", GZIP), body=LINES, has=PLAIN, lacks=("Vary",)),
    Exchange("no vary", get("/novary/page.html", GZIP), has={"Content-Encoding": "gzip"}, lacks=("Vary",)),
    Exchange("another type", get("/style.css", GZIP), has=PLAIN, lacks=("Vary", "Content-Encoding")),
    Exchange("a type that is named", get("/types/style.css", GZIP), has=CODED),
    Exchange("html is always there", get("/types/page.html", GZIP), has=CODED),
    Exchange("every type", get("/every/picture.png", GZIP), has=CODED),
    Exchange("the default type", get("/types/noextension", GZIP), lacks=("Content-Encoding",)),
    Exchange("below the limit", get("/small.html", GZIP), body=SMALL, lacks=("Vary", "Content-Encoding")),
    Exchange("at the limit", get("/limit.html", GZIP), body=LIMIT, has={"Content-Encoding": "gzip"}),
    Exchange("a limit of one's own", get("/length/page.html", GZIP), has=CODED),
    Exchange("below it", get("/length/small.html", GZIP), lacks=("Content-Encoding",)),
    Exchange("an empty file", get("/empty.html", GZIP), body=b"", lacks=("Content-Encoding",)),
    Exchange("level 9", get("/nine/large.html", GZIP), has={"Content-Encoding": "gzip"}),
    Exchange("level 5", get("/five/large.html", GZIP), has={"Content-Encoding": "gzip"}),
    Exchange("a large one", get("/large.html", GZIP), body=LINES * 40),
    Exchange("at a rate", get("/rate/large.html", GZIP), has={"Content-Encoding": "gzip"}),
    Exchange("with a charset", get("/charset/page.html", GZIP), has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("in an if", get("/if/page.html?z=1", GZIP), has=CODED),
    Exchange("not in the if", get("/if/page.html", GZIP), lacks=("Content-Encoding",)),
)
def test_which_answers(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    PAGES,
    Exchange("404", get("/missing", GZIP), status=404, has={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}),
    Exchange("403", get("/denied", GZIP), status=403, has={"Content-Encoding": "gzip"}),
    Exchange("500", get("/failing", GZIP), status=500, lacks=("Content-Encoding", "Vary")),
    Exchange("301", get("/moved", GZIP), status=301, lacks=("Content-Encoding",)),
    Exchange("of return", get("/said", GZIP), has={"Content-Encoding": "gzip"}),
    Exchange("an error page", get("/errorpage", GZIP), status=404, body=LINES),
    Exchange("a range", get("/page.html", GZIP, "Range: bytes=0-9"), status=200, body=LINES, has=CODED),
    Exchange("a range of plain", get("/page.html", "Range: bytes=0-9"), status=206, body=LINES[:10], has={"Vary": "Accept-Encoding"}),
    Exchange("a range where it is off", get("/off/page.html", GZIP, "Range: bytes=0-9"), status=206),
    Exchange("if-range", get("/page.html", GZIP, "Range: bytes=0-9", f"If-Range: W/{ETAG}"), status=200),
    Exchange("weak tag does not match", get("/page.html", GZIP, f"If-Match: W/{ETAG}"), status=412, differs=QUIRK),
    Exchange("strong tag matches", get("/page.html", GZIP, f"If-Match: {ETAG}"), status=200, has=CODED),
    Exchange("modified", get("/page.html", GZIP, "If-Modified-Since: Mon, 13 Nov 2023 22:13:20 GMT"), status=200),
    Exchange("another tag", get("/page.html", GZIP, 'If-None-Match: W/"other"'), status=200, has=CODED),
    Exchange("not modified, plain type", get("/style.css", GZIP, f"If-None-Match: {ETAG}"), status=304, has={"ETag": ETAG}),
    Exchange("not modified, off", get("/off/page.html", GZIP, f"If-None-Match: W/{ETAG}"), status=304, has={"ETag": ETAG}),
    Exchange("not modified, small", get("/small.html", GZIP, f"If-Modified-Since: {LAST_MODIFIED}"), status=304, lacks=("Vary",)),
    Exchange(
        "not modified, weak tag", get("/page.html", GZIP, f"If-None-Match: W/{ETAG}"),
        status=304, has={"ETag": f"W/{ETAG}", "Vary": "Accept-Encoding"}, lacks=("Content-Encoding",),
        differs="RFC 9110 section 15.4.5: Vary and ETag of a 304 are those of the 200; nginx leaves the one out and the other strong",
    ),
    Exchange(
        "not modified, nobody asked", get("/page.html", f"If-None-Match: {ETAG}"),
        status=304, has={"ETag": ETAG, "Vary": "Accept-Encoding"},
        differs="RFC 9110 section 15.4.5: the Vary of a 304 is that of the 200",
    ),
    Exchange("no tag", get("/noetag/page.html", GZIP), lacks=("ETag",)),
    Exchange("with sub_filter", get("/sub/page.html", GZIP), body=LINES.replace(b"text", b"TEXT"), lacks=("ETag",)),
    Exchange("with addition", get("/around/page.html", GZIP), body=b"<hr>" + LINES + b"<hr>"),
)  # fmt: skip
def test_statuses_ranges_conditions(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    PAGES,
    Exchange("msie 6", get("/disabled/page.html", GZIP, "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)"),
             lacks=("Content-Encoding",)),
    Exchange("msie 6 mended", get("/disabled/page.html", GZIP, "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)"),
             has=CODED),
    Exchange("msie 5", get("/disabled/page.html", GZIP, "User-Agent: x MSIE 5.5; Windows"), lacks=("Content-Encoding",)),
    Exchange("msie 7", get("/disabled/page.html", GZIP, "User-Agent: x MSIE 7.0; Windows"), has=CODED),
    Exchange("opera", get("/disabled/page.html", GZIP, "User-Agent: x MSIE 6.0; Windows; Opera 8"), has=CODED),
    Exchange("a robot", get("/disabled/page.html", GZIP, "User-Agent: robot/1.0"), lacks=("Content-Encoding",)),
    Exchange("another robot", get("/disabled/page.html", GZIP, "User-Agent: Robot/3.0"), has=CODED),
    Exchange("no agent", get("/disabled/page.html", GZIP), has=CODED),
    Exchange("inherits no msie6", get("/disabled/inner/page.html", GZIP, "User-Agent: x MSIE 6.0; Windows"), has=CODED),
    Exchange("has its own", get("/disabled/inner/page.html", GZIP, "User-Agent: a crawler"), lacks=("Content-Encoding",)),
)  # fmt: skip
def test_gzip_disable(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


def _via(name: str, target: str, coded: bool, *fields: str, answer: tuple[str, ...] = ()) -> Exchange:
    """A row that came through a proxy."""
    has = {"Content-Encoding": "gzip"} if coded else {}
    lacks = () if coded else ("Content-Encoding",)
    backend = reply(200, LINES, HTML, *answer)
    return Exchange(name, get(target, GZIP, VIA, *fields), port="PORT_VIA", backend=backend, body=LINES, has=has, lacks=lacks)


PAST = "Expires: Thu, 01 Jan 1970 00:00:01 GMT"
FUTURE = "Expires: Thu, 31 Dec 2099 23:55:55 GMT"


@exchanges(
    PAGES,
    _via("off", "/off/page.html", False),
    _via("any", "/any/page.html", True),
    _via("auth without", "/auth/page.html", True),
    _via("auth with", "/auth/page.html", True, "Authorization: Basic eDp5"),
    _via("expired", "/expired/", True, answer=(PAST,)),
    _via("not expired", "/expired/", False, answer=(FUTURE,)),
    _via("no date", "/expired/", False, answer=("Expires: 0",)),
    _via("says nothing of expiring", "/expired/", True),
    _via("no-cache does not matter", "/expired/", False, answer=("Cache-Control: no-cache",)),
    _via("expired on the day", "/passdate/", True, answer=(FUTURE, "Date: Thu, 31 Dec 2099 23:55:56 GMT")),
    _via("not yet on the day", "/passdate/", False, answer=(PAST, "Date: Thu, 01 Jan 1970 00:00:01 GMT")),
    _via("no-cache", "/nocache/", True, answer=("Cache-Control: max-age=0, no-cache",)),
    _via("no-cache with an argument", "/nocache/", False, answer=('Cache-Control: no-cache="Set-Cookie"',)),
    _via("another", "/nocache/", False, answer=("Cache-Control: no-store",)),
    _via("expires goes first", "/nocache/", False, answer=(PAST, "Cache-Control: no-cache")),
    _via("no-store", "/nostore/", True, answer=("Cache-Control: No-Store",)),
    _via("two lines", "/nostore/", True, answer=("Cache-Control: max-age=0", "Cache-Control: no-store")),
    _via("private", "/private/", True, answer=("Cache-Control: private",)),
    _via("public", "/private/", False, answer=("Cache-Control: public",)),
    _via("several", "/several/", True, answer=("Cache-Control: private",)),
    _via("several, none of them", "/several/", False, answer=("Cache-Control: max-age=60",)),
    _via("no last-modified", "/nolm/", True),
    _via("last-modified", "/nolm/", False, answer=(f"Last-Modified: {LAST_MODIFIED}",)),
    _via("of a file", "/nolmfile/page.html", True),
    _via("no etag", "/noetag/", True),
    _via("etag", "/noetag/", False, answer=('ETag: "x"',)),
    _via("etag of a file", "/noetagfile/page.html", False),
    _via("expires of one's own", "/ownexpires/page.html", True),
    _via("later", "/later/page.html", False),
)
def test_gzip_proxied(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


TRANSFORM = "RFC 9110 section 7.7: nobody may change the content of such an answer; nginx compresses it"


@exchanges(
    PAGES,
    Exchange("with a length", get("/proxied/", GZIP), backend=reply(200, LINES, HTML, 'ETag: "x"', "Accept-Ranges: bytes"),
             body=LINES, has={"ETag": 'W/"x"', "Content-Encoding": "gzip"}, lacks=LOST),
    Exchange("in chunks", get("/proxied/", GZIP), body=LINES * 3,
             backend=raw_reply("HTTP/1.1 200 OK", HTML, "Transfer-Encoding: chunked", body=chunked(LINES, LINES, LINES))),
    Exchange("to its end", get("/proxied/", GZIP), body=LINES, backend=[raw_reply("HTTP/1.0 200 OK", HTML, body=LINES), Close()]),
    Exchange("a weak tag", get("/proxied/", GZIP), backend=reply(200, LINES, HTML, 'ETag: W/"x"'), has={"ETag": 'W/"x"'}),
    Exchange("a broken tag", get("/proxied/", GZIP), backend=reply(200, LINES, HTML, "ETag: x"), lacks=("ETag",)),
    Exchange("encoded already", get("/proxied/", GZIP), has={"Content-Encoding": "gzip"}, body=LINES, lacks=("Vary",),
             backend=reply(200, gzip.compress(LINES, mtime=0), HTML, "Content-Encoding: gzip")),
    Exchange("encoded otherwise", get("/proxied/", GZIP), has={"Content-Encoding": "br"},
             backend=reply(200, LINES, HTML, "Content-Encoding: br")),
    Exchange("another type", get("/proxied/", GZIP), backend=reply(200, LINES, "Content-Type: image/png"), lacks=("Vary",)),
    Exchange("no type", get("/proxied/", GZIP), backend=reply(200, LINES), lacks=("Content-Encoding",)),
    Exchange("no type, and every one", get("/everyproxied/", GZIP), backend=reply(200, LINES), has={"Content-Encoding": "gzip"}),
    Exchange("a charset", get("/proxied/", GZIP), backend=reply(200, LINES, "Content-Type: text/html; charset=koi8-r"),
             has={"Content-Encoding": "gzip", "Content-Type": "text/html; charset=koi8-r"}),
    Exchange("small", get("/proxied/", GZIP), backend=reply(200, "tiny", HTML), lacks=("Content-Encoding", "Vary")),
    Exchange("small without a length", get("/proxied/", GZIP), has={"Content-Encoding": "gzip"}, body=b"tiny",
             backend=raw_reply("HTTP/1.1 200 OK", HTML, "Transfer-Encoding: chunked", body=chunked(b"tiny"))),
    Exchange("nothing in chunks", get("/proxied/", GZIP), has={"Content-Encoding": "gzip"}, body=b"",
             backend=raw_reply("HTTP/1.1 200 OK", HTML, "Transfer-Encoding: chunked", body=chunked())),
    Exchange("201", get("/proxied/", GZIP), backend=reply(201, LINES, HTML, reason="Created"), lacks=("Content-Encoding",)),
    Exchange("404", get("/proxied/", GZIP), backend=reply(404, LINES, HTML, reason="Not Found"), has={"Content-Encoding": "gzip"}),
    Exchange("206", get("/proxied/", GZIP, "Range: bytes=0-3"), lacks=("Content-Encoding",),
             backend=reply(206, LINES[:30], HTML, f"Content-Range: bytes 0-29/{len(LINES)}", reason="Partial Content")),
    Exchange("204", get("/proxied/", GZIP), backend=raw_reply("HTTP/1.1 204 No Content", HTML), lacks=("Content-Encoding",)),
    Exchange("304 of the backend", get("/proxied/", GZIP, 'If-None-Match: "x"'), status=304, has={"ETag": '"x"'},
             backend=raw_reply("HTTP/1.1 304 Not Modified", 'ETag: "x"')),
    Exchange("head", request("HEAD", "/proxied/", GZIP), has={"Content-Encoding": "gzip"}, lacks=LOST,
             backend=raw_reply("HTTP/1.1 200 OK", HTML, f"Content-Length: {len(LINES)}", 'ETag: "x"')),
    Exchange("post", request("POST", "/proxied/", GZIP, body=b"x"), backend=reply(200, LINES, HTML), body=LINES),
    Exchange("unbuffered", get("/unbuffered/", GZIP), backend=reply(200, LINES, HTML), body=LINES, has={"Content-Encoding": "gzip"}),
    Exchange("intercepted", get("/intercepted/", GZIP), backend=reply(404, "no", HTML, reason="Not Found"), status=404, body=LINES),
    Exchange("accelerated", get("/accel/", GZIP), body=LINES, has={"Content-Encoding": "gzip"},
             backend=reply(200, "no", HTML, "X-Accel-Redirect: /page.html")),
    Exchange("a 304 that tells a length, as an error page", get("/failed/", GZIP), status=404,
             backend=raw_reply("HTTP/1.1 304 Not Modified", HTML, "Content-Length: 500")),
    Exchange("to an old client", get("/proxied/", GZIP, version="1.0"), backend=reply(200, LINES, HTML), closed=True,
             lacks=("Content-Encoding",)),
    Exchange("vary of the backend's own", get("/proxied/", GZIP), backend=reply(200, LINES, HTML, "Vary: Origin"),
             has={"Vary": "Accept-Encoding", "Content-Encoding": "gzip"}),
    Exchange("vary said already", get("/proxied/", GZIP), backend=reply(200, LINES, HTML, "Vary: Cookie, accept-encoding"),
             has={"Vary": "Cookie, accept-encoding", "Content-Encoding": "gzip"}, lacks=("Trailer",),
             differs="what is said already is not said twice"),
    Exchange("no-transform", get("/proxied/", GZIP), body=LINES,
             backend=reply(200, LINES, HTML, "Cache-Control: public, No-Transform"),
             lacks=("Content-Encoding", "Vary"), differs=TRANSFORM),
    Exchange("no-transform asked for", get("/proxied/", GZIP, "Cache-Control: no-transform"), body=LINES,
             backend=reply(200, LINES, HTML), lacks=("Content-Encoding", "Vary"), differs=TRANSFORM),
    Exchange("any coding", get("/page.html", "Accept-Encoding: *"), has=CODED,
             differs="RFC 9110 section 12.5.3: * is any coding; nginx looks for the word gzip"),
    Exchange("its old name", get("/page.html", "Accept-Encoding: x-gzip"), has=CODED,
             differs="RFC 9110 section 8.4.1.3: x-gzip is gzip; nginx looks for the word gzip"),
    Exchange("would rather have it plain", get("/page.html", "Accept-Encoding: identity, gzip;q=0.5"), lacks=("Content-Encoding",),
             differs="RFC 9110 section 12.5.3: identity has a weight too; nginx knows only that of gzip"),
)  # fmt: skip
def test_proxied_answers(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


JSON = reply(200, '{"a": "an object of more than twenty bytes"}', "Content-Type: application/json", "X-One: 1")
THREE = ("GET",) * 3
SHORT = LINES[:2000]  # it comes with its head
PAGE = reply(200, SHORT, HTML, 'ETag: "x"', "X-One: 1")


@exchanges(
    PAGES,
    Exchange("a type that is left alone", [get("/kept/", GZIP), Read(), get("/kept/"), Read(), get("/kept/", GZIP)],
             port="PORT_VIA", methods=THREE, backend=JSON, has={"Content-Type": "application/json", "X-One": "1"},
             lacks=("Content-Encoding", "Vary")),
    Exchange("a page for one, then for the other", [get("/kept/"), Read(), get("/kept/", GZIP), Read(), get("/kept/")],
             port="PORT_VIA", methods=THREE, backend=PAGE, body=SHORT, has={"ETag": '"x"', "X-One": "1", "Vary": "Accept-Encoding"}),
    Exchange("and the other way round", [get("/kept/"), Read(), get("/kept/"), Read(), get("/kept/", GZIP)],
             port="PORT_VIA", methods=THREE, backend=PAGE, body=SHORT, has={"ETag": 'W/"x"', "Content-Encoding": "gzip"}),
    Exchange("with a type from another answer", [get("/kept/"), Read(), get("/accelkept/", GZIP), Read(), get("/kept/")],
             backend={"BACKEND": JSON, "BACKEND_2": reply(200, "", HTML, "X-Accel-Redirect: /kept/")}, port="PORT_VIA", methods=THREE,
             has={"Content-Type": "application/json", "X-One": "1"}),
)  # fmt: skip
def test_the_same_head_again(servers: Servers, exchange: Exchange) -> None:
    """From the second time on, the lines of a head that is left alone are those of the first time."""
    servers.check(exchange)
