"""`slice` and `proxy_store` beside nginx's."""

from __future__ import annotations

from tests.parity.backend import Turns, raw_reply, reply
from tests.parity.exchange import Exchange, Pause, Read, get, request
from tests.parity.harness import Group, Servers, exchanges

SLICE = Group(
    r"""
    proxy_cache_path cache levels=1:2 keys_zone=one:1m;
    server {
        listen 127.0.0.1:@PORT@;
        add_header X-Cache $upstream_cache_status;
        proxy_set_header Range $slice_range;
        proxy_set_header Connection "";
        slice 4;
        location /kept/ {
            proxy_cache one; proxy_cache_valid 200 206 1m; proxy_cache_key $uri$slice_range; proxy_pass http://@BACKEND@;
        }
        location /passed/ { proxy_pass http://@BACKEND@; }
        location /filtered/ { sub_filter_types *; sub_filter c C; proxy_pass http://@BACKEND@; }
        location /noranges/ { max_ranges 0; proxy_pass http://@BACKEND@; }
        location /off/ { slice 0; proxy_pass http://@BACKEND@; }
    }
    server {
        listen 127.0.0.1:@PORT2@;
        root stored;
        proxy_store on;
        location /store/ { proxy_pass http://@BACKEND@; }
        location /access/ { proxy_store_access group:rw all:r; proxy_pass http://@BACKEND@; }
        location /path/ { proxy_store @PREFIX@/stored/elsewhere$uri.txt; proxy_pass http://@BACKEND@; }
        location /see/ { proxy_store off; alias stored/; }
    }
    """
)
WHOLE = b"abcdefghij"
TAG = 'ETag: "v1"'
OLD, NEW = "Last-Modified: Mon, 02 Jan 2023 10:00:00 GMT", "Last-Modified: Tue, 03 Jan 2023 10:00:00 GMT"


def part(start: int, *fields: str, end: int = 0, whole: int = len(WHOLE)) -> bytes:
    end = end or min(start + 4, len(WHOLE))
    body = WHOLE[start:end]
    return raw_reply(
        "HTTP/1.1 206 Partial Content",
        f"Content-Length: {len(body)}",
        f"Content-Range: bytes {start}-{end - 1}/{whole}",
        "Accept-Ranges: bytes",
        *(fields or (TAG,)),
        body=body,
    )


ALL = Turns((part(0), part(4), part(8)))
RANGE = "Content-Range: bytes 4-7/10"
LONG = raw_reply("HTTP/1.1 206 Partial Content", "Content-Length: 9", RANGE, TAG, body=b"efghijklm")
SHORT = raw_reply("HTTP/1.1 206 Partial Content", "Content-Length: 2", RANGE, TAG, body=b"ef")
AGAIN = Turns((part(4), *ALL.scripts))
WHOLLY = {"status": 200, "reached": 4, "differs": "nginx sends what begins in the middle as if it were the whole"}
CUT = {"status": 200, "body": b"abcd", "closed": True, "differs": "nginx drops what it has not sent yet (postpone_output)"}


@exchanges(
    SLICE,
    Exchange("all parts", (get("/passed/a"),), backend=ALL, status=200, body=WHOLE, reached=3),
    Exchange("a range", (get("/passed/b", "Range: bytes=5-6"),), backend=part(4), status=206, body=b"fg", reached=1),
    Exchange(
        "a range over two parts", (get("/passed/c", "Range: bytes=5-8"),), backend=Turns((part(4), part(8))), status=206, body=b"fghi"
    ),
    Exchange("from there on", (get("/passed/d", "Range: bytes=5-"),), backend=Turns((part(4), part(8))), status=206, body=b"fghij"),
    Exchange("the end", (get("/passed/e", "Range: bytes=-1"),), backend=Turns((part(0), part(8))), status=206, body=b"j", reached=2),
    Exchange("the end, from the part before", (get("/passed/e2", "Range: bytes=-3"),), backend=ALL, status=206, body=b"hij"),
    Exchange("several ranges", (get("/passed/f", "Range: bytes=0-1,4-5"),), backend=ALL, status=200, body=WHOLE),
    Exchange("beyond the end", (get("/passed/g", "Range: bytes=20-"),), backend=reply(416, "no", reason="Range Not Satisfiable")),
    Exchange("no parts", (get("/passed/h"),), backend=reply(200, "all of it"), status=200, body=b"all of it"),
    Exchange("not found", (get("/passed/i"),), backend=reply(404, "none"), status=404),
    Exchange("head", (request("HEAD", "/passed/j"),), methods=("HEAD",), backend=part(0)),
    Exchange("same tag", (get("/passed/k", 'If-None-Match: "v1"'),), backend=ALL),
    Exchange("if-range", (get("/passed/l", "Range: bytes=5-6", 'If-Range: "v1"'),), backend=ALL, status=206, body=b"fg"),
    Exchange(
        "another version by its date",
        (get("/passed/m2"),),
        backend=Turns((part(0, OLD), part(4, NEW))),
        **(CUT | {"differs": "nginx compares tags only, and mixes the two"}),
    ),
    Exchange("no tags, one date", (get("/passed/m3"),), backend=Turns((part(0, OLD), part(4, OLD), part(8, OLD))), body=WHOLE),
    Exchange(
        "one tag, two dates",
        (get("/passed/m4"),),
        backend=Turns((part(0, TAG, OLD), part(4, TAG, NEW), part(8, TAG))),
        body=WHOLE,
    ),
    Exchange("another version", (get("/passed/m"),), backend=Turns((part(0), part(4, 'ETag: "v2"'))), **CUT),
    Exchange("another part", (get("/passed/n"),), backend=Turns((part(0), part(8))), **CUT),
    Exchange("a failure in between", (get("/passed/o"),), backend=Turns((part(0), reply(500, "no"))), **CUT),
    Exchange("filtered", get("/filtered/a"), backend=ALL, status=200, body=b"abCdefghij"),
    Exchange("a range of what is filtered", get("/filtered/b", "Range: bytes=5-6"), backend=AGAIN, **WHOLLY),
    Exchange("a range where there are none", get("/noranges/a", "Range: bytes=5-6"), backend=AGAIN, **WHOLLY),
    Exchange("a file that grows", get("/passed/p"), backend=Turns((part(0), part(4, whole=12))), **CUT),
    Exchange("a part that is too long", get("/passed/q"), backend=Turns((part(0), LONG)), **CUT),
    Exchange("a part that is too short", get("/passed/r"), backend=Turns((part(0), SHORT, part(8))), **(CUT | {"body": b"abcdef"})),
    Exchange("off", (get("/off/a", "Range: bytes=1-2"),), backend=reply(200, "all of it")),
    Exchange(
        "kept",
        (get("/kept/a"), Read(), get("/kept/a")),
        methods=("GET", "GET"),
        backend=ALL,
        body=WHOLE,
        has={"X-Cache": "HIT"},
        reached=3,
    ),
    Exchange(
        "kept by the part",
        (get("/kept/b", "Range: bytes=5-6"), Read(), get("/kept/b"), Read(), get("/kept/b", "Range: bytes=9-")),
        methods=("GET",) * 3,
        backend=Turns((part(4), part(0), part(8))),
        status=(206, 200, 206),
        body=b"j",
        reached=3,
    ),
    Exchange(
        "kept, head",
        (request("HEAD", "/kept/c"), Read(), Pause(0.1), get("/kept/c")),
        methods=("HEAD", "GET"),
        backend=ALL,
        body=WHOLE,
    ),
    Exchange(
        "kept, changed",
        (get("/kept/d", "Range: bytes=5-6"), Read(), get("/kept/d")),
        methods=("GET", "GET"),
        backend=Turns((part(4), part(0, 'ETag: "v2"'))),
    ),
)
def test_slice(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


DATE = "Last-Modified: Mon, 02 Jan 2023 10:00:00 GMT"


def stored(
    id: str, target: str, answer: Turns | bytes, seen: str = "", *, status: tuple[int, int] = (200, 200), **more: object
) -> Exchange:
    """A request, and another one for the file."""
    acts = (get(target), Read(), Pause(0.15), get("/see" + (seen or target)))
    return Exchange(id, acts, methods=("GET", "GET"), port="PORT2", backend=answer, status=status, **more)  # type: ignore[arg-type]


LATER = (r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", r"\"[0-9a-f]{8}-4\"")


@exchanges(
    SLICE,
    stored("stored", "/store/a", reply(200, "text", DATE), body=b"text", has={"Last-Modified": DATE[15:]}),
    stored("without a date", "/store/b", reply(200, "text"), body=b"text", mask=LATER),
    stored("only 200", "/store/c", reply(404, "none"), status=(404, 404)),
    stored("in a directory", "/store/d/e/f", reply(200, "text", DATE), body=b"text"),
    Exchange(
        "not a directory's name",  # where the directory above is there already
        (get("/store/g0"), Read(), Pause(0.15), get("/store/g/"), Read(), Pause(0.15), get("/see/store/g/")),
        methods=("GET", "GET", "GET"),
        port="PORT2",
        backend=reply(200, "text", DATE),
        status=(200, 200, 404),
    ),
    stored("a path", "/path/a", reply(200, "text", DATE), "/elsewhere/path/a.txt", body=b"text"),
    stored("large", "/store/large", reply(200, b"x" * 200_000, DATE), body=b"x" * 200_000),
    stored(
        "chunked",
        "/store/chunked",
        raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", DATE, body=b"2\r\nab\r\n0\r\n\r\n"),
        body=b"ab",
    ),
    stored("with rights", "/access/a", reply(200, "text", DATE), body=b"text"),
)
def test_store(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
