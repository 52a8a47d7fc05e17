"""charset, source_charset, override_charset, charset_map: what is said, and what is recoded."""

from __future__ import annotations

from tests.parity.backend import chunked, raw_reply, reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

KOI = "<html>привет, мир: ".encode("koi8-r") + b"\xb9 1 \x01 \xdf\n"  # the sign № is nginx's own
CHARSETS = Group(
    r"""
    include /etc/nginx/koi-utf;
    include /etc/nginx/koi-win;
    include /etc/nginx/win-utf;
    charset_map one two { 41 42; 80 81; fF 82; }
    server {
        listen 127.0.0.1:@PORT@;
        types {
            text/html html; text/plain txt; text/css css; application/javascript js; image/png png; "text/html; level=1" level;
        }
        location /said/ { charset utf-8; alias @ROOT@/; }
        location /spelled/ { charset UTF-8; alias @ROOT@/; }
        location /off/ { charset off; alias @ROOT@/; }
        location /types/ { charset utf-8; charset_types text/css; alias @ROOT@/; }
        location /every/ { charset utf-8; charset_types *; alias @ROOT@/; }
        location /variable/ { charset $arg_c; alias @ROOT@/; }
        location /source/ { charset koi8-r; source_charset $arg_c; alias @ROOT@/; }
        location /both/ { charset $arg_c; source_charset $arg_s; alias @ROOT@/; }
        location /same/ { charset koi8-r; source_charset KOI8-R; alias @ROOT@/; }
        location /koi-utf/ { charset utf-8; source_charset koi8-r; alias @ROOT@/; }
        location /utf-koi/ { charset koi8-r; source_charset utf-8; alias @ROOT@/; }
        location /koi-win/ { charset windows-1251; source_charset koi8-r; alias @ROOT@/; }
        location /win-koi/ { charset koi8-r; source_charset windows-1251; alias @ROOT@/; }
        location /two/ { charset two; source_charset one; charset_types *; alias @ROOT@/; }
        location /if/ { if ($arg_c) { charset utf-8; } alias @ROOT@/; }
        location /inherit/ { charset utf-8; source_charset koi8-r; location /inherit/inner/ { charset koi8-r; alias @ROOT@/; } }
        location /ok/ { charset utf-8; return 200 "x"; }
        location /moved/ { charset utf-8; return 301 /x; }
        location /found/ { charset utf-8; return 302 /x; }
        location /again/ { charset utf-8; return 307 /x; }
        location /nothing/ { charset utf-8; return 204; }
        location /missing/ { charset utf-8; }
        location /list/ { autoindex on; autoindex_format xml; charset koi8-r; alias @ROOT@/list/; }
        location /added/ { charset utf-8; add_after_body /part/k.html; alias @ROOT@/; }
        location /added-source/ { charset utf-8; source_charset koi8-r; add_after_body /part/k.html; alias @ROOT@/; }
        location /added-off/ { add_after_body /part/k.html; alias @ROOT@/; }
        location /part/ { source_charset koi8-r; alias @ROOT@/; }
        location /sub/ { charset utf-8; source_charset koi8-r; sub_filter html HTML; alias @ROOT@/; }

        location /proxied/ { charset utf-8; proxy_pass http://@BACKEND@; }
        location /override/ { charset utf-8; override_charset on; proxy_pass http://@BACKEND@; }
        location /proxied-koi/ { charset utf-8; source_charset koi8-r; override_charset on; proxy_pass http://@BACKEND@; }
        location /proxied-utf/ { charset koi8-r; source_charset utf-8; proxy_pass http://@BACKEND@; }
        location /proxied-off/ { proxy_pass http://@BACKEND@; }
        location /ignoring/ { proxy_ignore_headers X-Accel-Charset; proxy_pass http://@BACKEND@; }
        location /redirected/ { charset utf-8; override_charset on; alias @ROOT@/; }
        location /filtered/ { sub_filter e E; proxy_pass http://@BACKEND@; }
    }
    """,
    {
        "k.html": KOI,
        "u.html": "<html>привет ☃ 😀 ¡ конец".encode(),
        "bad.html": b"a\xd0Ab\xf0\x41\x42\x43c\xe0\x80\xd0\xb0d\xed\xa0\x80e\xf5\xff\xff\xffz\xc1\xd0",
        "high.html": b"a\xf8\xf9\xfc\xfe\xffb",
        "bytes.txt": bytes(range(256)),
        "big.html": KOI * 8_000,
        "a.css": b"x",
        "a.js": b"x",
        "a.png": b"x",
        "a.level": b"x",
        "list/": b"",
        "list/n": b"",
    },
)
SINCE = "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT"
DATES = (r"mtime=\"[^\"]*\"",)
UNSET = "nginx closes the connection without an answer when the variable is not set"


def _answer(content_type: str, *fields: str, body: bytes = KOI) -> bytes:
    return reply(200, body, f"Content-Type: {content_type}", *fields)


def _pieces(*pieces: bytes) -> bytes:
    return raw_reply("HTTP/1.1 200 OK", "Content-Type: text/html", "Transfer-Encoding: chunked", body=chunked(*pieces))


@exchanges(
    CHARSETS,
    Exchange("said", get("/said/k.html"), has={"Content-Type": "text/html; charset=utf-8"}, body=KOI),
    Exchange("as it is spelled first", get("/spelled/k.html"), has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("off", get("/off/k.html"), has={"Content-Type": "text/html"}),
    Exchange("head", request("HEAD", "/said/k.html"), has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("javascript", get("/said/a.js"), has={"Content-Type": "application/javascript; charset=utf-8"}),
    Exchange("not of a picture", get("/said/a.png"), has={"Content-Type": "image/png"}),
    Exchange("not of a style sheet", get("/said/a.css"), has={"Content-Type": "text/css"}),
    Exchange("a type with a parameter", get("/said/a.level"), has={"Content-Type": "text/html; level=1"}),
    Exchange("types that are named", get("/types/a.css"), has={"Content-Type": "text/css; charset=utf-8"}),
    Exchange("html is always there", get("/types/k.html"), has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("not those of the default", get("/types/a.js"), has={"Content-Type": "application/javascript"}),
    Exchange("every type", get("/every/a.png"), has={"Content-Type": "image/png; charset=utf-8"}),
    Exchange("a variable", get("/variable/k.html?c=foo"), has={"Content-Type": "text/html; charset=foo"}),
    Exchange("a variable, a known one", get("/variable/k.html?c=UTF-8"), has={"Content-Type": "text/html; charset=UTF-8"}),
    Exchange("an empty variable", get("/variable/k.html?c="), has={"Content-Type": "text/html"}),
    Exchange("a variable that is not set", get("/variable/k.html"), status=200, has={"Content-Type": "text/html"}, differs=UNSET),
    Exchange("in an if", get("/if/k.html?c=1"), has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("beside the if", get("/if/k.html"), has={"Content-Type": "text/html"}),
    Exchange("of return", get("/ok/"), has={"Content-Type": "text/plain; charset=utf-8"}),
    Exchange("not of 301", get("/moved/"), status=301, has={"Content-Type": "text/html"}),
    Exchange("not of 302", get("/found/"), status=302, has={"Content-Type": "text/html"}),
    Exchange("of 307", get("/again/"), status=307, has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("204", get("/nothing/"), status=204, lacks=("Content-Type",)),
    Exchange("of an error", get("/missing/"), status=404, has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("not modified", get("/said/k.html", SINCE), status=304, lacks=("Content-Type",)),
    Exchange("what says its own", get("/list/"), has={"Content-Type": "text/xml; charset=utf-8"}, mask=DATES),
)
def test_what_is_said(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    CHARSETS,
    Exchange("to utf-8", get("/koi-utf/k.html"), lacks=("Content-Length", "Accept-Ranges"), contains="привет, мир: № 1".encode()),
    Exchange("to utf-8, old client", get("/koi-utf/k.html", version="1.0"), closed=True),
    Exchange("to utf-8, head", request("HEAD", "/koi-utf/k.html"), lacks=("Content-Length",)),
    Exchange("to utf-8, range", get("/koi-utf/k.html", "Range: bytes=0-3"), status=200),
    Exchange("to utf-8, much", get("/koi-utf/big.html")),
    Exchange("to utf-8, every byte", get("/koi-utf/bytes.txt")),
    Exchange("to utf-8, not modified", get("/koi-utf/k.html", SINCE), status=304),
    Exchange("to utf-8, another type", get("/koi-utf/a.css"), body=b"x"),
    Exchange("from utf-8", get("/utf-koi/u.html"), contains="привет &#9731; &#128512; &#161; конец".encode("koi8-r")),
    Exchange("from what is no utf-8", get("/utf-koi/bad.html")),
    Exchange("from what is no byte of utf-8", get("/utf-koi/high.html"), body=b"a?????b", differs="as in nginx since 1.23.4"),
    Exchange("from utf-8, koi as it is", get("/utf-koi/k.html")),
    Exchange("byte for byte", get("/koi-win/k.html"), contains="привет, мир: № 1".encode("windows-1251"), status=200),
    Exchange("byte for byte, back", get("/win-koi/bytes.txt")),
    Exchange("byte for byte, head", request("HEAD", "/koi-win/k.html"), has={"Content-Length": str(len(KOI))}),
    Exchange("byte for byte, much", get("/koi-win/big.html"), has={"Content-Length": f"{len(KOI) * 8_000} (as the body)"}),
    Exchange("a range", get("/koi-win/k.html", "Range: bytes=6-8"), status=206, body="при".encode("windows-1251")),
    Exchange("a range of much", get("/koi-win/big.html", "Range: bytes=100000-100020"), status=206),
    Exchange("ranges", get("/koi-win/k.html", "Range: bytes=0-1,6-8"), status=206),
    Exchange("ranges of much", get("/koi-win/big.html", "Range: bytes=0-1,100000-180000,-5"), status=206),
    Exchange("a range too far", get("/koi-win/k.html", "Range: bytes=1000-"), status=416, has={"Content-Type": "text/html"},
             differs="the page of a refused range is not said to be in any charset"),
    Exchange("ASCII in a map", get("/two/bytes.txt")),
    Exchange("the same", get("/same/k.html"), body=KOI, has={"Content-Type": "text/html; charset=koi8-r"}),
    Exchange("a variable source", get("/source/u.html?c=UTF-8"), has={"Content-Type": "text/html; charset=koi8-r"}),
    Exchange("an unknown source", get("/source/k.html?c=foo"), body=KOI, has={"Content-Type": "text/html"}),
    Exchange("unknown and known", get("/both/k.html?c=koi8-r&s=foo"), body=KOI, has={"Content-Type": "text/html"}),
    Exchange("unknown, and not the same", get("/both/k.html?c=foo&s=bar"), has={"Content-Type": "text/html"}),
    Exchange("unknown, the same", get("/both/k.html?c=foo&s=FOO"), has={"Content-Type": "text/html; charset=foo"}),
    Exchange("known, without a map", get("/both/k.html?c=koi8-r&s=one"), body=KOI, has={"Content-Type": "text/html"}),
    Exchange("known, by variables", get("/both/k.html?c=Utf-8&s=KOI8-R"), has={"Content-Type": "text/html; charset=Utf-8"}),
    Exchange("inherited", get("/inherit/inner/k.html"), body=KOI, has={"Content-Type": "text/html; charset=koi8-r"}),
    Exchange("after sub_filter", get("/sub/k.html"), contains="<HTML>привет".encode()),
    Exchange("a part of another answer", get("/added/u.html"), contains="конец<html>привет".encode()),
    Exchange("both recoded", get("/added-source/k.html")),
    Exchange("a part where nothing is said", get("/added-off/u.html"), contains="конец".encode() + KOI),
)
def test_what_is_recoded(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    CHARSETS,
    Exchange("without", get("/proxied/"), backend=_answer("text/html"), has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("its own", get("/proxied/"), backend=_answer("text/html; charset=koi8-r"), body=KOI),
    Exchange("another parameter", get("/proxied/"), backend=_answer("text/html; q=1"), has={"Content-Type": "text/html; q=1"}),
    Exchange("no type", get("/proxied/"), backend=reply(200, KOI), lacks=("Content-Type",)),
    Exchange("a kept head", (get("/proxied/") + get("/proxied/"),), methods=("GET", "GET"), backend=_answer("text/html")),
    Exchange("recoded", get("/proxied-koi/"), backend=_answer("text/html"), contains="привет".encode()),
    Exchange("empty", get("/proxied-koi/"), backend=_answer("text/html", body=b"")),
    Exchange("head", request("HEAD", "/proxied-koi/"), backend=raw_reply("HTTP/1.1 200 OK", "Content-Type: text/html")),
    Exchange(
        "across chunks", get("/proxied-utf/"), backend=_pieces(b"\xd0", b"\xbfx\xe2", b"\x98", b"\x83\xf0\x9f\x98", b"\x80\xd1\x82"),
        body="пx&#9731;&#128512;т".encode("koi8-r"),
    ),
    Exchange("cut short in a character", get("/proxied-utf/"), backend=_pieces(b"ab\xd0"), body=b"ab"),
    Exchange("compressed", get("/proxied-koi/"), backend=_answer("text/html", "Content-Encoding: gzip"), contains=KOI),
    Exchange("compressed, without a source", get("/proxied/"), backend=_answer("text/html", "Content-Encoding: gzip"),
             has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("overridden", get("/override/"), backend=_answer("text/html; charset=koi8-r"), contains="привет".encode()),
    Exchange("overridden, quoted", get("/override/"), backend=_answer('text/html; charset="koi8-r"'), contains="привет".encode()),
    Exchange("overridden, second parameter", get("/override/"), backend=_answer("text/html; a=b;  CharSet=koi8-r")),
    Exchange("overridden, third parameter", get("/override/"), backend=_answer("text/html; charset=koi8-r; a=b"), body=KOI),
    Exchange("overridden, whatever type", get("/override/"), backend=_answer("a/b; charset=koi8-r"), contains="привет".encode()),
    Exchange("overridden, the same", get("/override/"), backend=_answer("text/html; charset=UTF-8"),
             has={"Content-Type": "text/html; charset=utf-8"}),
    Exchange("overridden, unknown", get("/override/"), backend=_answer("text/html; charset=latin1"),
             has={"Content-Type": "text/html; charset=latin1"}),
    Exchange("overridden, compressed", get("/override/"), backend=_answer("text/html; charset=koi8-r", "Content-Encoding: gzip")),
    Exchange("X-Accel-Charset", get("/proxied-off/"), backend=_answer("text/html", "X-Accel-Charset: utf-8"),
             has={"Content-Type": "text/html; charset=utf-8"}, lacks=("X-Accel-Charset",)),
    Exchange("X-Accel-Charset, recoded", get("/proxied-off/"),
             backend=_answer("text/html; charset=koi8-r", "X-Accel-Charset: utf-8"), contains="привет".encode()),
    Exchange("X-Accel-Charset first", get("/proxied-koi/"), backend=_answer("text/html", "X-Accel-Charset: windows-1251"),
             contains="привет".encode("windows-1251")),
    Exchange("X-Accel-Charset, unknown", get("/proxied-koi/"), backend=_answer("text/html", "X-Accel-Charset: foo"),
             has={"Content-Type": "text/html"}, body=KOI),
    Exchange("X-Accel-Charset, no type", get("/proxied-off/"), backend=reply(200, KOI, "X-Accel-Charset: utf-8")),
    Exchange("X-Accel-Charset, ignored", get("/ignoring/"), backend=_answer("text/html", "X-Accel-Charset: utf-8"),
             has={"Content-Type": "text/html"}),
    Exchange("X-Accel-Redirect keeps what is said", get("/proxied-off/"), body=None,
             backend=_answer("text/html; charset=koi8-r", "X-Accel-Redirect: /redirected/k.html"), contains="привет".encode()),
    Exchange("a filter, a parameter", get("/filtered/"), backend=reply(200, "eee", "Content-Type: text/html; a=b"), body=b"eee"),
    Exchange("a filter, a charset", get("/filtered/"), backend=reply(200, "eee", "Content-Type: text/html; charset=x"), body=b"Eee"),
)
def test_of_upstreams(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
