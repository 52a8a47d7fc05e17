"""empty_gif, stub_status, autoindex, random_index, userid, add_trailer, expires by variable."""

from __future__ import annotations

from tests.parity.backend import chunked, raw_reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

LONG = "long & " + "n" * 60
LISTS = Group(
    """
    map $arg_e $when { default off; hour 1h; past -1; bad nonsense; epoch epoch; max max; }
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        location = /pixel { empty_gif; }
        location = /status { stub_status; }
        location = /statusarg { stub_status on; }
        location = /numbers { return 200 "$connections_active $connections_reading $connections_writing $connections_waiting"; }
        location /list/ { autoindex on; }
        location /rounded/ { autoindex on; autoindex_exact_size off; alias @ROOT@/list/; }
        location /local/ { autoindex on; autoindex_localtime on; alias @ROOT@/list/; }
        location /json/ { autoindex on; autoindex_format json; alias @ROOT@/list/; }
        location /jsonp/ { autoindex on; autoindex_format jsonp; alias @ROOT@/list/; }
        location /xml/ { autoindex on; autoindex_format xml; alias @ROOT@/list/; }
        location /utf8/ { autoindex on; charset utf-8; alias @ROOT@/list/; }
        location /latin1/ { autoindex on; charset iso-8859-1; alias @ROOT@/list/; }
        location /off/ { alias @ROOT@/list/; }
        location /indexed/ { autoindex on; }
        location /random/ { random_index on; alias @ROOT@/one/; }
        location /randomnone/ { random_index on; alias @ROOT@/none/; }
        location /randomdirs/ { random_index on; autoindex on; alias @ROOT@/dirs/; }
        location /randomoff/ { random_index off; alias @ROOT@/one/; }

        location = /trailer { add_trailer X-After $uri; add_trailer X-Empty ""; add_trailer X-Second $arg_s; alias @ROOT@/a.txt; }
        location = /trailerempty { add_trailer X-After 1; alias @ROOT@/empty; }
        location = /trailerbig { add_trailer X-Length $sent_http_content_range; alias @ROOT@/big; }
        location = /trailerstatus { add_trailer X-Safe 1; add_trailer X-Always 2 always; return 404; }
        location = /trailerunsafe { add_trailer X-Safe 1; return 404; }
        location = /trailernone { add_trailer X-After 1; return 204; }
        location = /trailerproxied { add_trailer X-After $upstream_status; proxy_pass http://@BACKEND@; }
        location = /trailerunchunked { add_trailer X-After 1; chunked_transfer_encoding off; alias @ROOT@/a.txt; }
        location /outertrailer/ {
            add_trailer X-Outer 1;
            location = /outertrailer/has { alias @ROOT@/a.txt; }
            location = /outertrailer/own { add_trailer X-Own 1; alias @ROOT@/a.txt; }
        }
        location = /expires { expires $when; alias @ROOT@/a.txt; }
        location = /expiresmodified { expires modified $arg_e; alias @ROOT@/a.txt; }
    }
    """,
    {
        "list/sub dir/": b"",
        "list/A/": b"",
        "list/a.txt": b"1",
        "list/B": b"22",
        "list/a:b": b"1",
        "list/.hidden": b"1",
        'list/<&>"\'%?;.txt': b"1",
        "list/größe": b"1",
        "list/" + "m" * 50: b"1",
        "list/" + "m" * 51: b"1",
        "list/" + "d" * 49 + "/": b"",
        "list/" + "d" * 50 + "/": b"",
        f"list/{LONG}": b"1",
        "list/" + "ü" * 30: b"1",
        "list/" + "ö" * 50: b"1",
        "list/" + "ä" * 51: b"1",
        "list/<ф>" + "ф" * 60: b"1",
        "list/" + "ß" * 49 + "/": b"",
        "list/" + "é" * 60 + "/": b"",
        "list/back\\slash\ttab\x01": b"1",
        "list/k9999": b"x" * 9999,
        "list/k10000": b"x" * 10000,
        "list/k10751": b"x" * 10751,
        "list/k10752": b"x" * 10752,
        "list/m": b"x" * (1 << 20),
        "list/m15": b"x" * ((1 << 20) + (1 << 19)),
        "list/empty/inner/": b"",
        "indexed/index.html": b"index",
        "one/only.txt": b"the only one",
        "one/sub/": b"",
        "one/.dot": b"1",
        "none/": b"",
        "dirs/sub/": b"",
        "a.txt": b"hello",
        "empty": b"",
        "big": b"0123456789" * 20_000,
    },
)
# The times of directories, which nobody sets.
DATES = (
    r"\d\d-[A-Z][a-z]{2}-20(?!23)\d\d \d\d:\d\d",
    r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 20(?!23)\d\d [\d:]+ GMT",
    r'mtime="20(?!23)[^"]*"',
)  # fmt: skip
NUMBERS = (r"(?<= )\d+(?= )",)


def listed(name: str, target: str, *headers: str, **more: object) -> Exchange:
    return Exchange(name, get(target, *headers), mask=DATES, **more)  # type: ignore[arg-type]


@exchanges(
    LISTS,
    Exchange("get", get("/pixel"), has={"Content-Type": "image/gif", "Content-Length": "43 (as the body)"}),
    Exchange("head", request("HEAD", "/pixel")),
    Exchange("post", request("POST", "/pixel", body=b"1"), status=405),
    Exchange("arguments", get("/pixel?x=1")),
    Exchange("not modified", get("/pixel", "If-Modified-Since: Mon, 28 Sep 1970 06:00:00 GMT"), status=304),
    Exchange("another date", get("/pixel", "If-Modified-Since: Mon, 28 Sep 1970 06:00:01 GMT"), status=200),
    Exchange("a range of it", get("/pixel", "Range: bytes=0-5"), status=200),
)
def test_empty_gif(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    LISTS,
    Exchange("get", get("/status"), mask=NUMBERS, body=b"Active connections: * \nserver accepts handled requests\n * * * \n"
             b"Reading: * Writing: * Waiting: * \n"),
    Exchange("alone", get("/status"), mask=(r"(?<= )\d\d+(?= )",), contains=b"Active connections: 1 ",),
    Exchange("head", request("HEAD", "/status"), mask=NUMBERS, has={"Content-Type": "text/plain"}),
    Exchange("post", request("POST", "/status", body=b"1"), status=405),
    Exchange("with an argument", get("/statusarg"), mask=NUMBERS, status=200),
    Exchange("variables", get("/numbers"), body=b"1 0 1 0"),
)
def test_stub_status(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    LISTS,
    listed("html", "/list/", contains=b'<a href="a.txt">a.txt</a>', lacks=("Content-Length", "Last-Modified")),
    listed("rounded sizes", "/rounded/", contains=b"11K"),
    listed("local time", "/local/"),
    listed("json", "/json/", contains=b'"name":"B", "type":"file"'),
    listed("jsonp", "/jsonp/?callback=a_b.c1", contains=b"a_b.c1(["),
    listed("jsonp without a name", "/jsonp/"),
    listed("jsonp with an empty name", "/jsonp/?callback="),
    listed("jsonp with a bad name", "/jsonp/?callback=a-b", status=400),
    listed("jsonp with a long name", "/jsonp/?callback=" + "a" * 129, status=400),
    listed("jsonp with the longest name", "/jsonp/?callback=" + "a" * 128, status=200),
    listed("xml", "/xml/", contains=b'<file mtime="2023-11-14T22:13:20Z" size="2">B</file>'),
    listed("names in UTF-8 that the response says it is in", "/utf8/", contains=("ф" * 44 + "..&gt;").encode()),
    listed("names in UTF-8 where the response says something else", "/latin1/"),
    listed("an empty directory", "/list/empty/inner/"),
    listed("an empty directory as json", "/json/empty/inner/"),
    listed("an empty directory as xml", "/xml/empty/inner/"),
    listed("a title to escape", "/list/%3Cb%3E&/", status=404),
    listed("off", "/off/", status=403),
    listed("an index comes before", "/indexed/", body=b"index"),
    listed("a directory without slash", "/list/A", status=301),
    listed("a directory that is not there", "/list/none/", status=404),
    listed("a file as a directory", "/list/B/", status=404),
    Exchange("head", request("HEAD", "/list/"), lacks=("Content-Length", "Transfer-Encoding")),
    Exchange("head of json", request("HEAD", "/json/"), has={"Content-Type": "application/json"}),
    Exchange("head of none", request("HEAD", "/list/none/"), status=404),
    Exchange("post", request("POST", "/list/", body=b"1"), status=403),
    Exchange("old client", get("/json/empty/inner/", version="1.0"), closed=True),
    listed("a range", "/json/empty/inner/", "Range: bytes=0-1", status=200),
)
def test_autoindex(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    LISTS,
    Exchange("the only file", get("/random/"), body=b"the only one"),
    Exchange("a file itself", get("/random/only.txt"), body=b"the only one"),
    Exchange("head", request("HEAD", "/random/"), status=200),
    Exchange("no files", get("/randomnone/"), status=403),
    Exchange("only directories", get("/randomdirs/"), status=200, mask=DATES, contains=b"sub/"),
    Exchange("no directory", get("/random/none/"), status=404),
    Exchange("off", get("/randomoff/"), status=403),
)
def test_random_index(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    LISTS,
    Exchange("of a file", get("/trailer?s=2"), body=b"hello",
             has={"(trailer) X-After": "/trailer", "(trailer) X-Second": "2"}, lacks=("Content-Length",)),
    Exchange("of an empty file", get("/trailerempty"), body=b""),
    Exchange("of a large file", get("/trailerbig"), lacks=("Content-Length",)),
    Exchange("a part of it", get("/trailerbig", "Range: bytes=5-8"), status=206, body=b"5678"),
    Exchange("several parts", get("/trailerbig", "Range: bytes=5-8,10-11"), status=206),
    Exchange("head", request("HEAD", "/trailer")),
    Exchange("not modified", get("/trailer", "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT"), status=304),
    Exchange("old client", get("/trailer", version="1.0"), body=b"hello", has={"Content-Length": "5 (as the body)"}),
    Exchange("of an error", get("/trailerstatus"), status=404, lacks=("Content-Length",)),
    Exchange("not of an error", get("/trailerunsafe"), status=404, lacks=("Transfer-Encoding",)),
    Exchange("no body", get("/trailernone"), status=204),
    Exchange("of an upstream's", get("/trailerproxied"), body=b"hello"),
    Exchange(
        "of an upstream's in chunks", get("/trailerproxied"),
        backend=raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked(b"one", b"two")), body=b"onetwo",
    ),
    Exchange("chunks are off", get("/trailerunchunked"), body=b"hello", has={"Content-Length": "5 (as the body)"}),
    Exchange("inherited", get("/outertrailer/has")),
    Exchange("not inherited", get("/outertrailer/own")),
)  # fmt: skip
def test_add_trailer(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    LISTS,
    *(Exchange(f"expires {word}", get(f"/expires?e={word}")) for word in ("hour", "past", "bad", "epoch", "max", "none")),
    *(Exchange(f"expires modified {word}", get(f"/expiresmodified?e={word}")) for word in ("1h", "0", "-1h", "max", "")),
)
def test_expires_by_variable(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


USERS = Group(
    """
    map $arg_reset $again { default ""; }
    log_format uids '$uid_got|$uid_set';
    server {
        listen 127.0.0.1:@PORT@;
        error_log @PREFIX@/uids.log notice;
        userid on;
        location = /on { add_header X-Got $uid_got; return 200; }
        location = /set { return 200 "$uid_set"; }
        location = /v1 { userid v1; userid_service 5; return 200; }
        location = /log { userid log; return 200 "$uid_got|$uid_set"; }
        location = /off { userid off; return 200 "$uid_got|$uid_set"; }
        location = /all {
            userid_name Visitor; userid_domain example.com; userid_path /a/; userid_expires max; userid_p3p 'policyref="/x"';
            userid_service 7; add_header X-Before 1; return 200;
        }
        location = /day { userid_expires 1d; return 200; }
        location = /flags { userid_flags samesite=lax httponly secure; return 200; }
        location /strict { userid_flags samesite=strict; location = /strict/off { userid_flags off; return 200; } return 200; }
        location = /none { userid_domain none; userid_p3p none; userid_expires off; userid_mark off; return 200; }
        location = /mark { userid_mark Z; return 200 "$uid_got|$uid_set"; }
        location = /error { return 404; }
        location = /reset { set $uid_reset $arg_r; return 200 "$uid_got"; }
    }
    """
)
NEW = (
    r"uid=[0-9A-F]{32}", r"uid=[0-9A-Za-z+/]{22}", r"Visitor=[0-9A-Za-z+/]{22}", r"\d\d:\d\d:\d\d", r"\d+#\d+", r"\*\d+ ",
    r"\d{4}/\d\d/\d\d",
)  # fmt: skip
COOKIE = "fwAAAWsFhPw0L1NTAwMDAgA="


@exchanges(
    USERS,
    Exchange("new", get("/on"), mask=NEW, has={"Set-Cookie": "*==; path=/"}),
    Exchange("known", get("/on", f"Cookie: a=b; uid={COOKIE}; c=d"), has={"X-Got": "uid=0100007FFC84056B53532F3402030303"},
             lacks=("Set-Cookie",)),
    Exchange("name in another case", get("/on", f"Cookie: UID={COOKIE}"), lacks=("Set-Cookie",)),
    Exchange("in the second field", get("/on", "Cookie: a=b", f"Cookie: uid={COOKIE}"), lacks=("Set-Cookie",)),
    Exchange("garbage behind", get("/on", "Cookie: uid=fwAAAWsFhPw0L1NTAwMDAg!!garbage"), lacks=("Set-Cookie",)),
    Exchange("too short", get("/on", "Cookie: uid=short"), mask=NEW, log="uids.log", logged="client sent too short userid cookie"),
    Exchange("not base64", get("/on", "Cookie: uid=!wAAAWsFhPw0L1NTAwMDAgA="), mask=NEW, log="uids.log",
             logged="client sent invalid userid cookie"),
    Exchange("ends early", get("/on", "Cookie: uid=fwAA=WsFhPw0L1NTAwMDAgA="), mask=NEW, log="uids.log"),
    Exchange("the end is zero", get("/on", "Cookie: uid=AAAAAAAAAAAAAAAAAAAAAA=="), mask=NEW),
    Exchange("as a variable", get("/set"), mask=NEW, body=b"*"),
    Exchange("version 1", get("/v1"), mask=(r"uid=BQAAA[0-9A-Za-z+/]{17}",), has={"Set-Cookie": "*==; path=/"}),
    Exchange("only logged", get("/log", f"Cookie: uid={COOKIE}"),
             body=b"uid=0100007FFC84056B53532F3402030303|", lacks=("Set-Cookie",)),
    Exchange("off", get("/off", f"Cookie: uid={COOKIE}"), body=b"|", lacks=("Set-Cookie",)),
    Exchange("everything", get("/all"), mask=NEW),
    Exchange("for a day", get("/day"), mask=NEW),
    Exchange("nothing", get("/none"), mask=NEW),
    Exchange("flags", get("/flags"), mask=NEW, has={"Set-Cookie": "*==; path=/; secure; httponly; samesite=lax"}),
    Exchange("strict", get("/strict"), mask=NEW, has={"Set-Cookie": "*==; path=/; samesite=strict"}),
    Exchange("no flags", get("/strict/off"), mask=NEW, has={"Set-Cookie": "*==; path=/"}),
    Exchange("to be marked", get("/mark", f"Cookie: uid={COOKIE}"), has={"Set-Cookie": "uid=fwAAAWsFhPw0L1NTAwMDAgZ=; path=/"}),
    Exchange("marked", get("/mark", "Cookie: uid=fwAAAWsFhPw0L1NTAwMDAgZ="), lacks=("Set-Cookie",)),
    Exchange("new and marked", get("/mark"), mask=NEW, has={"Set-Cookie": "*Z=; path=/"}),
    Exchange("of an error", get("/error"), mask=NEW, status=404),
    Exchange("reset", get("/reset?r=1", f"Cookie: uid={COOKIE}"), mask=NEW),
    Exchange("not reset", get("/reset?r=0", f"Cookie: uid={COOKIE}"), lacks=("Set-Cookie",)),
    Exchange("reset and logged", get("/reset?r=log", f"Cookie: uid={COOKIE}"), mask=NEW, log="uids.log", logged="was reset"),
)  # fmt: skip
def test_userid(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
