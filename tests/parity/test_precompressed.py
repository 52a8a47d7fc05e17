"""gzip_static: which file answers, and what the head says; brotli_static and zstd_static, which this nginx does not have, by it."""

from __future__ import annotations

import gzip
import hashlib

from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

PAGE = b"hello, " * 10
PACKED = gzip.compress(PAGE, mtime=0)
TEXT = b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(2_000))
LARGE = gzip.compress(TEXT, 1, mtime=0)  # more than is read at once
FILES = {
    "a.html": b"<plain>",
    "a.html.gz": PACKED,
    "plain.html": b"plain only",
    "only.html.gz": PACKED,
    "large.txt": b"plain",
    "large.txt.gz": LARGE,
    "empty.html": b"plain",
    "empty.html.gz": b"",
    "odd.html": b"plain",
    "odd.html.gz": b"no gzip",
    "asfolder.html": b"plain",
    "asfolder.html.gz/x": b"",
    "folder/x": b"",
    "folder.gz": PACKED,
    "noindex/index.html.gz": PACKED,
    "index.html": b"index",
    "index.html.gz": PACKED,
    "below/a.html": b"below",
    "below/a.html.gz": PACKED,
}
STATIC = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        gzip_static on;
        types { text/html html; text/plain txt; application/gzip gz; }
        location /off/ { gzip_static off; alias @ROOT@/; }
        location /vary/ { gzip_vary on; alias @ROOT@/; }
        location /always/ { gzip_static always; gzip_vary on; alias @ROOT@/; }
        location /gunzip/ { gzip_static always; gunzip on; gzip_vary on; alias @ROOT@/; }
        location /gzip/ { gzip on; gzip_min_length 0; gzip_vary on; alias @ROOT@/; }
        location /disable/ { gzip_vary on; gzip_disable "old"; alias @ROOT@/; }
        location /version/ { gzip_http_version 1.0; alias @ROOT@/; }
        location /proxied/ { gzip_proxied any; alias @ROOT@/; }
        location /auth/ { gzip_proxied auth; alias @ROOT@/; }
        location /expired/ { gzip_proxied expired; alias @ROOT@/; }
        location /cached/ { open_file_cache max=10; open_file_cache_errors on; gzip_vary on; alias @ROOT@/; }
        location /sub/ { sub_filter e E; gunzip on; gzip_static always; alias @ROOT@/; }
        location /charset/ { charset utf-8; alias @ROOT@/; }
        location /around/ { add_after_body /a.html; alias @ROOT@/; }
        location /around-always/ { add_after_body /always/a.html; alias @ROOT@/; }
        location /try/ { try_files $uri /a.html; }
        location /page/ { error_page 404 /a.html; }
        location /etag/ { etag off; alias @ROOT@/; }
        location /header/ { add_header X-Length $sent_http_content_length; expires 1h; alias @ROOT@/; }
        location /list/ { autoindex on; alias @ROOT@/noindex/; }
        location /other/ { default_type text/own; types { } alias @ROOT@/; }
        location ~ ^/regex/(.*)$ { alias @ROOT@/$1; }
        location /proxy/ { proxy_pass http://@BACKEND@; }
        location /named/ { try_files /none @named; }
        location @named { rewrite ^/named(.*)$ $1 break; }
    }
    """,
    FILES,
)
TAKES = "Accept-Encoding: deflate, gzip;q=0.5"
GZIP = {"Content-Encoding": "gzip"}
VARY = {"Vary": "Accept-Encoding"}
ETAG = f'"6553f100-{len(PACKED):x}"'
QUIRK = "kept alive, as its Connection field says; nginx says the same and closes"
SINCE = "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT"


@exchanges(
    STATIC,
    Exchange("taken", get("/a.html", TAKES), body=PAGE, lacks=("Accept-Ranges", "Vary"),
             has={**GZIP, "ETag": ETAG, "Content-Type": "text/html", "Content-Length": f"{len(PAGE)} (as the body)"}),
    Exchange("not taken", get("/a.html"), body=b"<plain>", lacks=("Content-Encoding", "Vary"), has={"Accept-Ranges": "bytes"}),
    Exchange("refused", get("/a.html", "Accept-Encoding: br, gzip;q=0"), body=b"<plain>"),
    Exchange("any coding", get("/a.html", "Accept-Encoding: *"), body=PAGE, differs="RFC 9110: gzip is one of them"),
    Exchange("identity rather", get("/a.html", "Accept-Encoding: gzip;q=0.5, identity"), body=b"<plain>",
             differs="RFC 9110: the client's weights decide"),
    Exchange("off", get("/off/a.html", TAKES), body=b"<plain>"),
    Exchange("head", request("HEAD", "/a.html", TAKES), has={**GZIP, "Content-Length": str(len(PACKED))}),
    Exchange("large", get("/large.txt", TAKES), has={**GZIP, "Content-Length": f"{len(TEXT)} (as the body)"}),
    Exchange("large, head", request("HEAD", "/large.txt", TAKES), has={"Content-Length": str(len(LARGE))}),
    Exchange("without the other file", get("/only.html", TAKES), body=PAGE, has=GZIP),
    Exchange("without the other file, not taken", get("/only.html"), status=404),
    Exchange("there is none", get("/plain.html", TAKES), body=b"plain only"),
    Exchange("there is nothing", get("/none.html", TAKES), status=404),
    Exchange("empty", get("/empty.html", TAKES), body=b"", has=GZIP),
    Exchange("no gzip", get("/odd.html", TAKES), contains=b"no gzip", has=GZIP),
    Exchange("a folder of that name", get("/asfolder.html", TAKES), body=b"plain", lacks=("Content-Encoding",)),
    Exchange("of a folder's name", get("/folder", TAKES), body=PAGE, has=GZIP),
    Exchange("of a folder's name, not taken", get("/folder"), status=301),
    Exchange("the index", get("/", TAKES), body=PAGE, has=GZIP),
    Exchange("no index but a compressed one", get("/noindex/", TAKES), status=403),
    Exchange("a list", get("/list/", TAKES), mask=(r"Content-Length: \d+", r"\d\d-...-\d{4} \d\d:\d\d"), lacks=("Content-Encoding",)),
    Exchange("by its own name", get("/a.html.gz", TAKES), has={"Content-Type": "application/gzip"}, lacks=("Content-Encoding",)),
    Exchange("post", request("POST", "/a.html", TAKES, body=b"1"), status=405),
    Exchange("put", request("PUT", "/a.html", TAKES), status=405),
    Exchange("a range", get("/a.html", TAKES, "Range: bytes=0-3"), status=200),
    Exchange("a range, not taken", get("/a.html", "Range: bytes=0-3"), status=206, body=b"<pla"),
    Exchange("a tag", get("/a.html", TAKES, f"If-None-Match: {ETAG}"), status=304, has={"ETag": ETAG}),
    Exchange("a tag of the other", get("/a.html", TAKES, 'If-None-Match: "6553f100-7"'), status=200),
    Exchange("a date", get("/a.html", TAKES, SINCE), status=304),
    Exchange("another tag", get("/a.html", TAKES, 'If-Match: "x"'), status=412, closed=False, differs=QUIRK),
    Exchange("no tags", get("/etag/a.html", TAKES), lacks=("ETag",)),
    Exchange("an old client", get("/a.html", TAKES, version="1.0"), body=b"<plain>"),
    Exchange("an old client that may", get("/version/a.html", TAKES, version="1.0"), body=PAGE),
    Exchange("two lines", get("/a.html", "Accept-Encoding: br", "Accept-Encoding: gzip"), body=PAGE,
             differs="RFC 9110 section 5.3: the lines are one list; nginx reads the first"),
    Exchange("two in a row", (get("/a.html", TAKES) + get("/a.html"),), methods=("GET", "GET"), body=b"<plain>"),
    Exchange("another type", get("/other/a.html", TAKES), has={**GZIP, "Content-Type": "text/own"}),
    Exchange("an alias by regex", get("/regex/below/a.html", TAKES), body=PAGE, has=GZIP),
    Exchange("try_files", get("/try/none", TAKES), body=PAGE, has=GZIP),
    Exchange("an error page", get("/page/none", TAKES), status=404, body=PAGE, has=GZIP),
    Exchange("a named location", get("/named/a.html", TAKES), body=PAGE, has=GZIP),
)
def test_which_file(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    STATIC,
    Exchange("vary", get("/vary/a.html", TAKES), body=PAGE, has={**GZIP, **VARY}),
    Exchange("vary, not taken", get("/vary/a.html"), body=b"<plain>", has=VARY),
    Exchange("vary, there is none", get("/vary/plain.html", TAKES), lacks=("Vary",)),
    Exchange("vary, there is none, not taken", get("/vary/plain.html"), lacks=("Vary",)),
    Exchange("vary, not found but for others", get("/vary/only.html"), status=404, has=VARY),
    Exchange("vary, a folder of that name", get("/vary/asfolder.html"), body=b"plain", has=VARY),
    Exchange("vary, a folder of that name, taken", get("/vary/asfolder.html", TAKES), body=b"plain", has=VARY),
    Exchange("vary, of a folder's name", get("/vary/folder"), status=301, has=VARY),
    Exchange("vary, not modified", get("/vary/a.html", TAKES, SINCE), status=304, has=VARY),
    Exchange("vary, range", get("/vary/a.html", "Range: bytes=0-2"), status=206, has=VARY),
    Exchange("vary, head", request("HEAD", "/vary/a.html"), has=VARY),
    Exchange("vary, cached", get("/cached/a.html"), has=VARY),
    Exchange("vary, cached, taken", get("/cached/a.html", TAKES), has={**GZIP, **VARY}),
    Exchange("cached again", get("/cached/a.html", TAKES), body=PAGE),
    Exchange("cached, large", get("/cached/large.txt", TAKES), has=GZIP),
    Exchange("cached, none", get("/cached/plain.html", TAKES), body=b"plain only"),
    Exchange("cached, none, again", get("/cached/plain.html", TAKES), body=b"plain only"),
    Exchange("always", get("/always/a.html"), body=PAGE, has=GZIP, lacks=("Vary",)),
    Exchange("always, taken", get("/always/a.html", TAKES), body=PAGE, has=GZIP, lacks=("Vary",)),
    Exchange("always, there is none", get("/always/plain.html"), body=b"plain only", lacks=("Vary",)),
    Exchange("always, an old client", get("/always/a.html", version="1.0"), body=PAGE),
    Exchange("gunzip", get("/gunzip/a.html"), body=PAGE, has={**VARY, "ETag": f"W/{ETAG}"}, lacks=("Content-Encoding",)),
    Exchange("gunzip, taken", get("/gunzip/a.html", TAKES), body=PAGE, has={**GZIP, **VARY}),
    Exchange("gunzip, head", request("HEAD", "/gunzip/a.html"), lacks=("Content-Encoding", "Content-Length")),
    Exchange("gunzip, large", get("/gunzip/large.txt")),
    Exchange("gunzip, range", get("/gunzip/a.html", "Range: bytes=0-3"), status=200),
    Exchange("gunzip, not modified", get("/gunzip/a.html", f"If-None-Match: W/{ETAG}"), status=304,
             has={**VARY, "ETag": f"W/{ETAG}"}, differs="RFC 9110 section 15.4.5: ETag and Vary of a 304 are those of the 200"),
    Exchange("gunzip, taken, not modified", get("/gunzip/a.html", TAKES, f"If-None-Match: {ETAG}"), status=304,
             has={**VARY, "ETag": ETAG}, differs="RFC 9110 section 15.4.5, as above"),
    Exchange("gunzip, what is no gzip", get("/gunzip/odd.html"), status=(), closed=True),
    Exchange("gunzip and sub_filter", get("/sub/a.html"), contains=b"hEllo"),
    Exchange("gzip beside", get("/gzip/a.html", TAKES), body=PAGE, has={**GZIP, **VARY, "ETag": ETAG}),
    Exchange("gzip beside, not modified", get("/gzip/a.html", TAKES, f"If-None-Match: {ETAG}"), status=304, has={"ETag": ETAG}),
    Exchange("gzip where there is none", get("/gzip/plain.html", TAKES), body=b"plain only", has={**GZIP, **VARY}),
    Exchange("gzip beside, not taken", get("/gzip/a.html"), body=b"<plain>", has=VARY),
    Exchange("disabled", get("/disable/a.html", TAKES, "User-Agent: old one"), body=b"<plain>", has=VARY),
    Exchange("not disabled", get("/disable/a.html", TAKES, "User-Agent: new one"), body=PAGE),
    Exchange("through a proxy", get("/a.html", TAKES, "Via: 1.1 x"), body=b"<plain>"),
    Exchange("through a proxy that may", get("/proxied/a.html", TAKES, "Via: 1.1 x"), body=PAGE),
    Exchange("through a proxy, authorized", get("/auth/a.html", TAKES, "Via: 1.1 x", "Authorization: Basic x"), body=PAGE),
    Exchange("through a proxy, not authorized", get("/auth/a.html", TAKES, "Via: 1.1 x"), has={}),
    Exchange("through a proxy, expired", get("/expired/a.html", TAKES, "Via: 1.1 x")),
    Exchange("charset", get("/charset/a.html", TAKES), has={**GZIP, "Content-Type": "text/html; charset=utf-8"}),
    Exchange("added header fields", get("/header/a.html", TAKES), has={"X-Length": str(len(PACKED))}),
    Exchange("a part of another answer", get("/around/plain.html", TAKES), body=b"plain only<plain>"),
    Exchange("a part, always", get("/around-always/plain.html", TAKES), contains=PACKED),
)
def test_with_others(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
