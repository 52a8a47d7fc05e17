"""gunzip: who gets the plain form, and what becomes of bodies that are no gzip."""

from __future__ import annotations

import gzip
import zlib

from tests.parity.backend import Wait, raw_reply, reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

PLAIN = b"hello, " * 10
PACKED = gzip.compress(PLAIN, mtime=0)
GUNZIP = Group(
    r"""
    gunzip on;
    server {
        listen 127.0.0.1:@PORT@;
        location / { proxy_pass http://@BACKEND@; }
        location /off/ { gunzip off; proxy_pass http://@BACKEND@; }
        location /vary/ { gzip_vary on; proxy_pass http://@BACKEND@; }
        location /disable/ { gzip_vary on; gzip_disable "old"; proxy_pass http://@BACKEND@; }
        location /old/ { gzip_http_version 1.0; proxy_pass http://@BACKEND@; }
        location /proxied/ { gzip_proxied any; proxy_pass http://@BACKEND@; }
        location /sub/ { sub_filter hello HELLO; proxy_pass http://@BACKEND@; }
        location /charset/ { charset utf-8; proxy_pass http://@BACKEND@; }
        location /small/ { gunzip_buffers 4 16; proxy_pass http://@BACKEND@; }
        location /unbuffered/ { proxy_buffering off; proxy_pass http://@BACKEND@; }
        location /added/ { add_header Content-Encoding gzip; return 200 plain; }
        location /around/ { add_after_body /inner; proxy_pass http://@BACKEND@; }
        location = /inner { proxy_pass http://@BACKEND_2@; }
    }
    """
)
HEADERS = ("Content-Type: text/html", "Content-Encoding: gzip", 'ETag: "abc"', "Accept-Ranges: bytes",
           "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT")
GZIPPED = {"Content-Encoding": "gzip"}
TAKES = "Accept-Encoding: gzip"
COMPRESSED = reply(200, PACKED, *HEADERS)

AROUND = {"BACKEND": reply(200, "plain", HEADERS[0]), "BACKEND_2": COMPRESSED}
BYTEWISE = b"".join(b"1\r\n%b\r\n" % PACKED[at : at + 1] for at in range(len(PACKED))) + b"0\r\n\r\n"
NAMED = b"\x1f\x8b\x08\x18" + PACKED[4:10] + b"name\0comment\0" + PACKED[10:]


def _gzip(body: bytes) -> bytes:
    return reply(200, body, *HEADERS)


def _named(*encodings: str) -> bytes:
    return reply(200, PACKED, *(f"Content-Encoding: {encoding}" for encoding in encodings))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = raw_reply("HTTP/1.1 200 OK", *HEADERS, "Transfer-Encoding: chunked")


@exchanges(
    GUNZIP,
    Exchange("plain", get("/"), backend=COMPRESSED, body=PLAIN, lacks=("Content-Encoding", "Content-Length", "Accept-Ranges"),
             has={"ETag": 'W/"abc"', "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}),
    Exchange("plain, old client", get("/", version="1.0"), backend=COMPRESSED, body=PLAIN, closed=True),
    Exchange("compressed", get("/", TAKES), backend=COMPRESSED, body=PLAIN, has={"Content-Encoding": "gzip", "ETag": '"abc"'}),
    Exchange("off", get("/off/"), backend=COMPRESSED, body=PLAIN, has=GZIPPED),
    Exchange("not acceptable", get("/", "Accept-Encoding: br, gzip;q=0"), backend=COMPRESSED, body=PLAIN),
    Exchange("another coding", get("/", "Accept-Encoding: br"), backend=COMPRESSED, body=PLAIN),
    Exchange("any coding", get("/", "Accept-Encoding: *"), backend=COMPRESSED, body=PLAIN, has=GZIPPED,
             differs="RFC 9110: gzip is one of them"),
    Exchange("old client that takes it", get("/", TAKES, version="1.0"), backend=COMPRESSED, body=PLAIN),
    Exchange("old client that gets it", get("/old/", TAKES, version="1.0"), backend=COMPRESSED, body=PLAIN, has=GZIPPED),
    Exchange("proxied", get("/", TAKES, "Via: 1.1 x"), backend=COMPRESSED, body=PLAIN),
    Exchange("proxied, any", get("/proxied/", TAKES, "Via: 1.1 x"), backend=COMPRESSED, body=PLAIN, has=GZIPPED),
    Exchange("head", request("HEAD", "/"), backend=raw_reply("HTTP/1.1 200 OK", *HEADERS, "Content-Length: 99"),
             lacks=("Content-Encoding", "Content-Length", "Accept-Ranges")),
    Exchange("head, compressed", request("HEAD", "/", TAKES), backend=raw_reply("HTTP/1.1 200 OK", *HEADERS, "Content-Length: 99"),
             has={"Content-Length": "99"}),
    Exchange("a range", get("/", "Range: bytes=0-3"), backend=COMPRESSED, status=200),
    Exchange("an error", get("/"), backend=reply(404, PACKED, *HEADERS, reason="Not Found"), status=404, body=PLAIN),
    Exchange("not modified", get("/"), backend=raw_reply("HTTP/1.1 304 Not Modified", *HEADERS), status=304,
             differs="nginx misses the body, and closes the connection without an answer"),
    Exchange("in capitals", get("/"), backend=_named("GZIP"), body=PLAIN),
    Exchange("x-gzip", get("/"), backend=_named("x-gzip"), body=PACKED),
    Exchange("twice", get("/"), backend=_named("gzip, gzip"), body=PACKED),
    Exchange("another one last", get("/"), backend=_named("gzip", "br"), has=GZIPPED),
    Exchange("another one first", get("/"), backend=_named("br", "gzip"), body=PLAIN, has={"Content-Encoding": "br"}),
    Exchange("none", get("/"), backend=reply(200, PLAIN, "Content-Type: text/html"), has={"Content-Length": "70 (as the body)"}),
    Exchange("what add_header says is not looked at", get("/added/"), contains=b"plain", has=GZIPPED),
    Exchange("two in a row", (get("/") + get("/", TAKES),), methods=("GET", "GET"), backend=COMPRESSED, body=PLAIN, has=GZIPPED),
)
def test_who_gets_it_plain(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    GUNZIP,
    Exchange("vary", get("/vary/"), backend=COMPRESSED, body=PLAIN, has={"Vary": "Accept-Encoding"}),
    Exchange("vary, compressed", get("/vary/", TAKES), backend=COMPRESSED, body=PLAIN,
             has={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}),
    Exchange("vary, nothing to do", get("/vary/"), backend=reply(200, PLAIN), lacks=("Vary",)),
    Exchange("vary, another coding", get("/vary/"), backend=_named("br"), lacks=("Vary",)),
    Exchange("no vary", get("/"), backend=COMPRESSED, lacks=("Vary",)),
    Exchange("disabled", get("/disable/", TAKES, "User-Agent: old one"), backend=COMPRESSED, body=PLAIN,
             has={"Vary": "Accept-Encoding"}),
    Exchange("not disabled", get("/disable/", TAKES, "User-Agent: new one"), backend=COMPRESSED, body=PLAIN, has=GZIPPED),
    Exchange("before sub_filter", get("/sub/"), backend=COMPRESSED, contains=b"HELLO, hello"),
    Exchange("with a charset", get("/charset/"), backend=COMPRESSED, body=PLAIN, has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("a part of another answer", get("/around/"), backend=AROUND,
             body=b"plain" + PLAIN, reached=2, unordered=True),
    Exchange("a part, taken", get("/around/", TAKES), backend=AROUND,
             body=b"plain" + PLAIN, reached=2, unordered=True),
)
def test_with_others(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    GUNZIP,
    Exchange("large", get("/"), backend=_gzip(gzip.compress(b"0123456789abcdef" * 20_000))),
    Exchange("in small pieces", get("/small/"), backend=_gzip(gzip.compress(bytes(range(256)) * 20))),
    Exchange("two members", get("/"), backend=_gzip(PACKED + PACKED), body=PLAIN + PLAIN),
    Exchange("an empty member", get("/"), backend=_gzip(PACKED + gzip.compress(b"")), body=PLAIN),
    Exchange("nothing in it", get("/"), backend=_gzip(gzip.compress(b"")), body=b""),
    Exchange("a name and a comment", get("/"), backend=_gzip(NAMED), body=PLAIN),
    Exchange("stored", get("/"), backend=_gzip(gzip.compress(PLAIN, 0)), body=PLAIN),
    Exchange("in chunks", get("/"), backend=CHUNKED + BYTEWISE, body=PLAIN),
    Exchange("as it comes", get("/unbuffered/"), body=PLAIN,
             backend=[CHUNKED + _chunk(PACKED[:15]), Wait(0.1), _chunk(PACKED[15:]), Wait(0.1), b"0\r\n\r\n"]),
    Exchange("empty", get("/"), backend=_gzip(b""), status=(), closed=True),
    Exchange("garbage", get("/"), backend=_gzip(b"garbage, garbage"), status=(), closed=True),
    Exchange("of zlib", get("/"), backend=_gzip(zlib.compress(PLAIN)), status=(), closed=True),
    Exchange("half a head", get("/"), backend=_gzip(PACKED[:5]), status=(), closed=True),
    Exchange("cut short", get("/"), backend=_gzip(PACKED[:-9]), status=200, closed=True),
    Exchange("cut in the check sum", get("/"), backend=_gzip(PACKED[:-3]), status=200, closed=True),
    Exchange("cut short, old client", get("/", version="1.0"), backend=_gzip(PACKED[:-9]), status=200, closed=True),
    Exchange("a wrong check sum", get("/"), backend=_gzip(PACKED[:-8] + b"1234" + PACKED[-4:]), status=(), closed=True),
    Exchange("a wrong length", get("/"), backend=_gzip(PACKED[:-4] + b"1234"), status=(), closed=True),
    Exchange("zeros behind", get("/"), backend=_gzip(PACKED + b"\0\0"), status=(), closed=True),
    Exchange("garbage behind", get("/"), backend=_gzip(PACKED + b"garbage"), status=(), closed=True),
)
def test_bodies(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
