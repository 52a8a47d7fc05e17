"""Files from disk: where they are looked for, how they are described, what parts of them are sent."""

from __future__ import annotations

from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

LAST_MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
ETAG = '"6553f100-a"'  # nginx's form: modification time and size in hexadecimal

FILES = Group(
    """
    types {
        application/octet-stream bin;
        text/html html htm;
        text/css css;
        text/plain txt;
        application/javascript js;
        image/png png;
        application/gzip gz;
    }
    server {
        default_type application/octet-stream;
        listen 127.0.0.1:@PORT@;
        root @ROOT@/html;
        location /alias/ { alias @ROOT@/other/; }
        location /aliasfile { alias @ROOT@/other/one.txt; }
        location ~ ^/regexalias/(.+)$ { alias @ROOT@/other/$1; }
        location /nested/ { root @ROOT@/other; }
        location /two { index nothing.html second.html; }
        location /absoluteindex/ { index nothing.html /a.txt; }
        location /variable/ { root @ROOT@/$arg_where; }
        location /try/ { try_files $uri $uri/ $uri.txt /fallback.html; }
        location /trycode/ { try_files $uri =410; }
        location /tryname/ { try_files $uri @named; }
        location /trydir { try_files $uri/index.html $uri/ =404; }
        location /tryargs/ { try_files /nothing /args?x=$arg_a; }
        location = /args { return 200 "args=$args uri=$uri"; }
        location @named { return 200 "named $uri"; }
        location /plain/ { types { } default_type text/x-own; }
        location /noetag/ { etag off; alias @ROOT@/html/; }
        location /exactly/ { if_modified_since exact; alias @ROOT@/html/; }
        location /before/ { if_modified_since before; alias @ROOT@/html/; }
        location /never/ { if_modified_since off; alias @ROOT@/html/; }
        location /noranges/ { max_ranges 0; alias @ROOT@/html/; }
        location /onerange/ { max_ranges 1; alias @ROOT@/html/; }
        location /nofile/ { log_not_found off; alias @ROOT@/nofile/; }
        location /cached/ {
            open_file_cache max=10 inactive=20s;
            open_file_cache_valid 30s;
            open_file_cache_errors on;
            alias @ROOT@/html/;
        }
        location /nosendfile/ { sendfile off; alias @ROOT@/html/; }
        location /sendfile/ { sendfile on; tcp_nopush on; alias @ROOT@/html/; }
    }
    """,
    {
        "html/index.html": b"<p>index</p>\n",
        "html/a.txt": b"0123456789",
        "html/empty.txt": b"",
        "html/big.bin": b"0123456789abcdef" * 20000,
        "html/style.css": b"p {}\n",
        "html/app.min.js": b"1;\n",
        "html/UPPER.HTML": b"upper\n",
        "html/noextension": b"none\n",
        "html/archive.tar.gz": b"zz",
        "html/with blank.txt": b"blank\n",
        "html/.hidden.css": b"hidden\n",
        "html/folder/index.html": b"folder index\n",
        "html/two/second.html": b"second\n",
        "html/noindex/x.txt": b"x",
        "html/absoluteindex/": b"",
        "html/try/here.txt": b"here\n",
        "html/try/dir/index.html": b"tried index\n",
        "html/trydir/index.html": b"trydir index\n",
        "html/fallback.html": b"fallback\n",
        "html/plain/x.html": b"own\n",
        "html/café.txt": b"accent\n",
        "other/one.txt": b"one\n",
        "other/sub/two.txt": b"two\n",
        "other/sub/index.html": b"sub index\n",
        "other/nested/n.txt": b"nested\n",
        "that/variable/v.txt": b"v\n",
    },
)


@exchanges(
    FILES,
    Exchange("index", get("/"), status=200, body=b"<p>index</p>\n", has={"Content-Type": "text/html"}),
    Exchange(
        "file", get("/a.txt"), has={"ETag": ETAG, "Last-Modified": LAST_MODIFIED, "Accept-Ranges": "bytes"}
    ),
    Exchange("arguments are ignored", get("/a.txt?x=y"), status=200, body=b"0123456789"),
    Exchange("empty file", get("/empty.txt"), status=200, body=b"", has={"Content-Length": "0"}),
    Exchange("large file", get("/big.bin"), status=200, has={"Content-Length": "320000 (as the body)"}),
    Exchange("large file to http 1.0", get("/big.bin", version="1.0"), status=200, closed=True),
    Exchange("two large files", get("/big.bin") + get("/sendfile/big.bin"), methods=("GET", "GET")),
    Exchange("head", request("HEAD", "/a.txt"), status=200, has={"Content-Length": "10"}),
    Exchange("head of a large file", request("HEAD", "/big.bin"), status=200, closed=False),
    Exchange("css", get("/style.css"), has={"Content-Type": "text/css"}),
    Exchange("two dots", get("/app.min.js"), has={"Content-Type": "application/javascript"}),
    Exchange("upper case extension", get("/UPPER.HTML"), has={"Content-Type": "text/html"}),
    Exchange("no extension", get("/noextension"), has={"Content-Type": "application/octet-stream"}),
    Exchange("last extension counts", get("/archive.tar.gz"), has={"Content-Type": "application/gzip"}),
    Exchange("hidden file", get("/.hidden.css"), status=200, has={"Content-Type": "text/css"}),
    Exchange("no types", get("/plain/x.html"), has={"Content-Type": "text/x-own"}),
    Exchange("name with a blank", get("/with%20blank.txt"), status=200, body=b"blank\n"),
    Exchange("name in utf-8", get("/caf%C3%A9.txt"), status=200, body=b"accent\n"),
    Exchange("missing", get("/nope"), status=404),
    Exchange("missing, head", request("HEAD", "/nope"), status=404, closed=False),
    Exchange("missing folder", get("/nope/"), status=404),
    Exchange("file with a slash after it", get("/a.txt/"), status=404),
    Exchange("file below a file", get("/a.txt/b"), status=404),
    Exchange(
        "folder without slash",
        get("/folder"),
        status=301,
        has={"Location": "http://localhost:@PORT@/folder/"},
    ),
    Exchange("folder without slash, arguments", get("/folder?a=b"), status=301),
    Exchange("folder without slash, head", request("HEAD", "/folder"), status=301),
    Exchange("folder", get("/folder/"), status=200, body=b"folder index\n"),
    Exchange("folder without index", get("/noindex/"), status=403),
    Exchange("second index", get("/two/"), status=200, body=b"second\n"),
    Exchange("absolute index", get("/absoluteindex/"), status=200, body=b"0123456789"),
    Exchange("post", request("POST", "/a.txt", body=b"x"), status=405),
    Exchange("post to a folder", request("POST", "/folder/", body=b"x"), status=405),
    Exchange("post to what is missing", request("POST", "/nope", body=b"x"), status=404),
    Exchange("put", request("PUT", "/a.txt", body=b"x"), status=405),
    Exchange("delete", request("DELETE", "/a.txt"), status=405),
    Exchange("options", request("OPTIONS", "/a.txt"), status=405),
    Exchange("name too long", get("/" + "n" * 300), status=404),
    Exchange("alias", get("/alias/one.txt"), status=200, body=b"one\n"),
    Exchange("alias, deeper", get("/alias/sub/two.txt"), status=200, body=b"two\n"),
    Exchange("alias, folder", get("/alias/sub"), status=301),
    Exchange("alias, folder with index", get("/alias/sub/"), status=200, body=b"sub index\n"),
    Exchange("alias without slash", get("/alias"), status=404),
    Exchange("alias of a file", get("/aliasfile"), status=200, body=b"one\n"),
    Exchange("alias with a capture", get("/regexalias/sub/two.txt"), status=200, body=b"two\n"),
    Exchange("other root", get("/nested/n.txt"), status=200, body=b"nested\n"),
    Exchange("root with a variable", get("/variable/v.txt?where=that"), status=200, body=b"v\n"),
    Exchange("root with an empty variable", get("/variable/v.txt"), status=404),
    Exchange("open file cache", get("/cached/a.txt") * 2, methods=("GET", "GET"), status=(200, 200)),
    Exchange(
        "open file cache of what is missing", get("/cached/no") * 2, methods=("GET",) * 2, status=(404, 404)
    ),
    Exchange("sendfile off", get("/nosendfile/big.bin"), status=200),
    Exchange("missing, not logged", get("/nofile/x"), status=404),
)
def test_files(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    FILES,
    Exchange("file itself", get("/try/here.txt"), status=200, body=b"here\n"),
    Exchange("with its extension", get("/try/here"), status=200, body=b"here\n"),
    Exchange("as a folder", get("/try/dir/"), status=200, body=b"tried index\n"),
    Exchange("folder without slash", get("/try/dir"), status=301),
    Exchange("fallback", get("/try/nope"), status=200, body=b"fallback\n"),
    Exchange("post to the fallback", request("POST", "/try/nope", body=b"x"), status=405),
    Exchange("code", get("/trycode/nope"), status=410),
    Exchange("named", get("/tryname/nope"), status=200, body=b"named /tryname/nope"),
    Exchange("index in a folder", get("/trydir"), status=200, body=b"trydir index\n"),
    Exchange("index in no folder", get("/trydir2"), status=404),
    Exchange("arguments of the fallback", get("/tryargs/q?a=1"), status=200, body=b"args=x=1 uri=/args"),
)
def test_try_files(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


def _range(id: str, value: str, status: int, target: str = "/a.txt", **wanted: bytes) -> Exchange:
    return Exchange(id, get(target, f"Range: {value}"), status=status, body=wanted.get("body"))


@exchanges(
    FILES,
    _range("first bytes", "bytes=0-3", 206, body=b"0123"),
    _range("to the end", "bytes=7-", 206, body=b"789"),
    _range("last bytes", "bytes=-2", 206, body=b"89"),
    _range("last bytes, more than there are", "bytes=-20", 206),
    _range("past the end", "bytes=5-100", 206, body=b"56789"),
    _range("beyond", "bytes=10-", 416),
    _range("whole", "bytes=0-", 206),
    _range("last none", "bytes=-0", 416),
    _range("backwards", "bytes=5-2", 416),
    _range("other unit", "lines=0-1", 200),
    _range("not numbers", "bytes=a-b", 416),
    _range("empty", "bytes=", 200),
    _range("blanks", "bytes= 0-1 , 3-4", 206),
    _range("two", "bytes=0-1,4-5", 206),
    _range("three with the last", "bytes=0-0,2-2,-1", 206),
    _range("two that are more than the file", "bytes=0-9,0-9", 200),
    _range("one of two beyond", "bytes=0-1,20-30", 206),
    _range("of a large file", "bytes=100000-100015", 206, "/big.bin", body=b"0123456789abcdef"),
    _range("of an empty file", "bytes=0-", 200, "/empty.txt"),
    _range("not allowed", "bytes=0-1", 200, "/noranges/a.txt"),
    _range("one allowed, two asked", "bytes=0-1,4-5", 200, "/onerange/a.txt"),
    _range("one allowed", "bytes=0-1", 206, "/onerange/a.txt"),
    _range("upper case unit", "Bytes=0-1", 206),
    Exchange("head", request("HEAD", "/a.txt", "Range: bytes=0-3"), status=206, has={"Content-Length": "4"}),
    Exchange("if-range etag", get("/a.txt", "Range: bytes=0-3", f"If-Range: {ETAG}"), status=206),
    Exchange("if-range other etag", get("/a.txt", "Range: bytes=0-3", 'If-Range: "other"'), status=200),
    Exchange("if-range date", get("/a.txt", "Range: bytes=0-3", f"If-Range: {LAST_MODIFIED}"), status=206),
    Exchange(
        "if-range other date",
        get("/a.txt", "Range: bytes=0-3", "If-Range: Tue, 14 Nov 2023 22:13:21 GMT"),
        status=200,
    ),
    Exchange("http 1.0", get("/a.txt", "Range: bytes=0-3", version="1.0"), status=206),
)
def test_ranges(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


LATER = "Wed, 15 Nov 2023 22:13:20 GMT"
EARLIER = "Mon, 13 Nov 2023 22:13:20 GMT"


QUIRK = "kept alive, as its Connection field says; nginx says the same and closes"


def _condition(id: str, status: int, *headers: str, target: str = "/a.txt", differs: str = "") -> Exchange:
    closed = False if differs else None
    return Exchange(id, get(target, *headers), status=status, closed=closed, differs=differs)


@exchanges(
    FILES,
    _condition("modified since, same", 304, f"If-Modified-Since: {LAST_MODIFIED}"),
    _condition("modified since, later, exactly", 200, f"If-Modified-Since: {LATER}", target="/exactly/a.txt"),
    _condition("modified since, later, default", 200, f"If-Modified-Since: {LATER}"),
    _condition("modified since, later, before", 304, f"If-Modified-Since: {LATER}", target="/before/a.txt"),
    _condition("modified since, earlier", 200, f"If-Modified-Since: {EARLIER}", target="/before/a.txt"),
    _condition("modified since, off", 200, f"If-Modified-Since: {LAST_MODIFIED}", target="/never/a.txt"),
    _condition("modified since, no date", 200, "If-Modified-Since: yesterday"),
    _condition("modified since, rfc 850", 304, "If-Modified-Since: Tuesday, 14-Nov-23 22:13:20 GMT"),
    _condition("modified since, asctime", 304, "If-Modified-Since: Tue Nov 14 22:13:20 2023"),
    _condition("none match, same", 304, f"If-None-Match: {ETAG}"),
    _condition("none match, weak", 304, f"If-None-Match: W/{ETAG}"),
    _condition("none match, one of several", 304, f'If-None-Match: "x", {ETAG}'),
    _condition("none match, other", 200, 'If-None-Match: "x"'),
    _condition("none match, any", 304, "If-None-Match: *"),
    _condition(
        "none match other, since same", 200, 'If-None-Match: "x"', f"If-Modified-Since: {LAST_MODIFIED}"
    ),
    _condition(
        "none match same, since earlier", 304, f"If-None-Match: {ETAG}", f"If-Modified-Since: {EARLIER}",
        differs="where there are tags the date does not count (RFC 9110 section 13.2.2)",
    ),
    _condition("none match, two lines", 400, 'If-None-Match: "x"', f"If-None-Match: {ETAG}"),
    _condition("match, two lines", 400, 'If-Match: "x"', f"If-Match: {ETAG}"),
    _condition(
        "match same, unmodified since earlier", 200, f"If-Match: {ETAG}", f"If-Unmodified-Since: {EARLIER}",
        differs="where there are tags the date does not count",
    ),
    _condition("none match without etag", 200, f"If-None-Match: {ETAG}", target="/noetag/a.txt"),
    _condition("match, same", 200, f"If-Match: {ETAG}"),
    _condition("match, other", 412, 'If-Match: "x"', differs=QUIRK),
    _condition("match, weak", 412, f"If-Match: W/{ETAG}", differs=QUIRK),
    _condition("match, any", 200, "If-Match: *"),
    _condition("unmodified since, same", 200, f"If-Unmodified-Since: {LAST_MODIFIED}"),
    _condition("unmodified since, earlier", 412, f"If-Unmodified-Since: {EARLIER}", differs=QUIRK),
    _condition("of what is missing", 404, "If-None-Match: *", target="/nope"),
    _condition("with a range", 304, f"If-None-Match: {ETAG}", "Range: bytes=0-1"),
)
def test_conditions(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


EXPIRY = Group(
    """
    types { text/plain txt; text/css css; }
    root @ROOT@;
    server {
        listen 127.0.0.1:@PORT@;
        location /hour/ { expires 1h; alias @ROOT@/; }
        location /past/ { expires -1h; alias @ROOT@/; }
        location /zero/ { expires 0; alias @ROOT@/; }
        location /epoch/ { expires epoch; alias @ROOT@/; }
        location /max/ { expires max; alias @ROOT@/; }
        location /modified/ { expires modified +24h; alias @ROOT@/; }
        location /off/ { expires off; alias @ROOT@/; }
        location /variable/ { expires $arg_e; alias @ROOT@/; }
        location /year/ { expires 1y; add_header Cache-Control "public, immutable"; alias @ROOT@/; }
        location /return/ { expires 1d; return 200 "x"; }
        location /error/ { expires 1d; return 404 "x"; }
        location /redirect/ { expires 1d; return 301 /x; }
        location /proxy/ { expires 1d; proxy_pass http://@BACKEND@; }
        location /day/ { expires @0h; alias @ROOT@/; }
    }
    """,
    {"a.txt": b"a\n"},
)


@exchanges(
    EXPIRY,
    Exchange("hour", get("/hour/a.txt"), has={"Expires": "Date + 3600 s", "Cache-Control": "max-age=3600"}),
    Exchange("past", get("/past/a.txt"), has={"Cache-Control": "no-cache"}),
    Exchange("zero", get("/zero/a.txt"), status=200, has={"Cache-Control": "max-age=0"}),
    Exchange("epoch", get("/epoch/a.txt"), has={"Expires": "Thu, 01 Jan 1970 00:00:01 GMT"}),
    Exchange("max", get("/max/a.txt"), has={"Cache-Control": "max-age=315360000"}),
    Exchange("modified", get("/modified/a.txt"), status=200, has={"Cache-Control": "no-cache"}),
    Exchange("off", get("/off/a.txt"), status=200, lacks=("Expires", "Cache-Control")),
    Exchange("variable", get("/variable/a.txt?e=2h"), status=200, has={"Cache-Control": "max-age=7200"}),
    Exchange("variable epoch", get("/variable/a.txt?e=epoch"), status=200, has={"Cache-Control": "no-cache"}),
    Exchange("variable without sense", get("/variable/a.txt?e=soon"), status=200, lacks=("Expires",)),
    Exchange("no variable", get("/variable/a.txt"), status=200, lacks=("Expires",)),
    Exchange("year with a header", get("/year/a.txt"), has={"Cache-Control": "public, immutable"}),
    Exchange("of a return", get("/return/"), status=200, has={"Cache-Control": "max-age=86400"}),
    Exchange("of an error", get("/error/"), status=404, lacks=("Expires",)),
    Exchange("of a redirect", get("/redirect/"), status=301, has={"Cache-Control": "max-age=86400"}),
    Exchange("of a missing file", get("/hour/nope"), status=404, lacks=("Expires",)),
    Exchange("not modified", get("/hour/a.txt", f"If-Modified-Since: {LAST_MODIFIED}"), status=304),
    Exchange("of a backend", get("/proxy/"), status=200, has={"Cache-Control": "max-age=86400"}),
    Exchange("time of day", get("/day/a.txt"), status=200, mask=(r"max-age=\d+", r"Date \+ \d+ s")),
)
def test_expires(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
