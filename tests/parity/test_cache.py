"""`proxy_cache` beside nginx's: what is kept, for how long, under which key, and what is asked of the upstream meanwhile."""

from __future__ import annotations

from tests.parity.backend import Answers, Close, Notify, Turns, Wait, chunked, raw_reply, reply
from tests.parity.exchange import Act, Age, Exchange, Pause, Read, get, request
from tests.parity.harness import Group, Servers, exchanges

CACHE = Group(
    r"""
    proxy_cache_path cache levels=1:2 keys_zone=one:1m inactive=10m;
    proxy_cache_path direct keys_zone=two:1m use_temp_path=off;
    proxy_cache one;
    add_header X-Cache $upstream_cache_status always;
    log_format cache "$request_uri $status $upstream_cache_status $upstream_status";
    server {
        listen 127.0.0.1:@PORT@;
        access_log cache.log cache if=$upstream_cache_status;
        location /plain/ { proxy_pass http://@BACKEND@; }
        location /valid/ { proxy_cache_valid 200 1m; proxy_cache_valid 404 500 1m; proxy_pass http://@BACKEND@; }
        location /usual/ { proxy_cache_valid 1m; proxy_pass http://@BACKEND@; }
        location /any/ { proxy_cache_valid any 1m; proxy_pass http://@BACKEND@; }
        location /short/ { proxy_cache_valid 1s; proxy_pass http://@BACKEND@; }
        location /direct/ { proxy_cache two; proxy_cache_valid 1m; proxy_pass http://@BACKEND@; }
        location /off/ { proxy_cache off; proxy_cache_valid 1m; proxy_pass http://@BACKEND@; }
        location /key/ { proxy_cache_key "$host/$arg_k"; proxy_cache_valid 1m; proxy_pass http://@BACKEND@; }
        location /bypass/ { proxy_cache_valid 1m; proxy_cache_bypass $http_x_bypass $arg_b; proxy_pass http://@BACKEND@; }
        location /nocache/ { proxy_cache_valid 1m; proxy_no_cache $http_x_no; proxy_pass http://@BACKEND@; }
        location /uses/ { proxy_cache_valid 1m; proxy_cache_min_uses 2; proxy_pass http://@BACKEND@; }
        location /post/ { proxy_cache_valid 1m; proxy_cache_methods POST; proxy_pass http://@BACKEND@; }
        location /head/ {
            proxy_cache_valid 1m; proxy_cache_convert_head off; proxy_cache_key $request_method$uri; proxy_pass http://@BACKEND@;
        }
        location /ignore/ {
            proxy_cache_valid 1m; proxy_ignore_headers Cache-Control Expires Set-Cookie Vary X-Accel-Expires;
            proxy_pass http://@BACKEND@;
        }
        location /stale/ {
            proxy_cache_valid 200 1s; proxy_cache_use_stale error timeout http_500 http_404; proxy_pass http://@BACKEND@;
        }
        location /revalidate/ { proxy_cache_valid 200 1s; proxy_cache_revalidate on; proxy_pass http://@BACKEND@; }
        location /revalidatelong/ { proxy_cache_revalidate on; proxy_pass http://@BACKEND@; }
        location /hide/ { proxy_cache_valid 1m; proxy_hide_header X-Secret; proxy_pass http://@BACKEND@; }
        location /variable/ { set $zone two; proxy_cache $zone; proxy_cache_valid 1m; proxy_pass http://@BACKEND@; }
        location /lock/ { proxy_cache_lock on; proxy_cache_valid 1m; proxy_pass http://@BACKEND@; }
        location /intercept/ {
            proxy_cache_valid any 1m; proxy_intercept_errors on; error_page 404 = /plain/instead; proxy_pass http://@BACKEND@;
        }
        location /noranges/ { max_ranges 0; proxy_cache_valid 1m; proxy_pass http://@BACKEND@; }
        location /pages/ {
            proxy_cache_valid any 1m; proxy_intercept_errors on; error_page 403 /page; proxy_pass http://@BACKEND@;
            proxy_no_cache $arg_n; proxy_cache_bypass $arg_b; proxy_cache_key $uri;
        }
        location /pagestimed/ { proxy_intercept_errors on; error_page 403 /page; proxy_pass http://@BACKEND@; }
        location = /page { return 403 "page"; }
        location /nobody/ {
            proxy_cache_valid any 1m; proxy_no_cache $arg_n; proxy_cache_bypass $arg_b; proxy_cache_key $uri; proxy_pass http://127.0.0.1:1;
        }
        location /unbuffered/ { proxy_buffering off; proxy_cache_valid 1m; proxy_pass http://@BACKEND@; }
        location /background/ {
            proxy_cache_valid 1s; proxy_cache_use_stale updating; proxy_cache_background_update on; proxy_pass http://@BACKEND@;
        }
        location /sub/ { proxy_cache_valid 1m; sub_filter_types *; sub_filter one two; proxy_pass http://@BACKEND@; }
        location /condition/ {
            proxy_cache_valid 1m; proxy_set_header Connection ""; proxy_set_header X-Since $http_if_modified_since;
            proxy_pass http://@BACKEND@;
        }
        location /bodykey/ {
            proxy_cache_valid 1s; proxy_cache_methods POST; proxy_cache_key "$request_uri $request_body"; proxy_pass http://@BACKEND@;
            proxy_cache_use_stale updating; proxy_cache_background_update on;
        }
        location ~ ^/captured/(.*) {
            proxy_cache_valid 1s; proxy_cache_use_stale updating; proxy_cache_background_update on; proxy_pass http://@BACKEND@/the/$1;
        }
        location /left/ {
            rewrite ^/left/(.*) /stays/$1 break; proxy_pass http://@BACKEND@/prefix/;
            proxy_cache_valid 1s; proxy_cache_use_stale updating; proxy_cache_background_update on;
        }
        location /offset/ { proxy_cache_valid 1m; proxy_cache_max_range_offset 10; proxy_pass http://@BACKEND@; }
        location /nooffset/ { proxy_cache_valid 1m; proxy_cache_max_range_offset 0; proxy_pass http://@BACKEND@; }
        location /force/ { proxy_cache_valid 1m; proxy_force_ranges on; proxy_pass http://@BACKEND@; }
        location /forceoff/ { proxy_cache off; proxy_force_ranges on; proxy_pass http://@BACKEND@; }
        location /told/ {
            proxy_cache_valid 200 1s; proxy_cache_revalidate on; proxy_pass http://@BACKEND@;
            add_header X-Modified $upstream_cache_last_modified;
            add_header X-Tag $upstream_cache_etag;
            proxy_set_header Connection ""; proxy_set_header X-Modified $upstream_cache_last_modified;
            proxy_set_header X-Tag $upstream_cache_etag;
            proxy_cache_key "the key of $uri";
        }
        location /said/ { proxy_cache_valid 1m; proxy_cache_key "$uri $http_x_l"; proxy_pass http://@BACKEND@; }
        location /replaced/ {
            proxy_cache_valid 1m; proxy_set_header Connection ""; proxy_set_header X-L $http_x_l; proxy_pass http://@BACKEND@;
        }
        location /tls/ { proxy_cache_valid 1m; proxy_pass https://@BACKEND_TLS@; }
        location /rewritten/ { proxy_cache_valid 1m; proxy_pass http://@BACKEND@/other/; }
        location /variables/ { set $backend @BACKEND@; proxy_cache_valid 1m; proxy_pass http://$backend; }
        location /variableuri/ { set $backend @BACKEND@; proxy_cache_valid 1m; proxy_pass http://$backend/fixed; }
    }
    """
)
DATE = "Last-Modified: Mon, 02 Jan 2023 10:00:00 GMT"
TAG = 'ETag: "v1"'


def twice(target: str, *headers: str) -> tuple[bytes | Read, ...]:
    """The same request, again when the first is answered."""
    return (get(target, *headers), Read(), get(target, *headers))


def turns(*scripts: bytes) -> Turns:
    return Turns(scripts)


def row(id: str, acts: tuple[Act, ...], backend: Answers, methods: tuple[str, ...] = ("GET", "GET"), **more: object) -> Exchange:
    return Exchange(id, acts, methods=methods, backend=backend, log="cache.log", **more)  # type: ignore[arg-type]


FIRST, SECOND = reply(200, "first"), reply(200, "second")


def saying(*fields: str) -> Turns:
    """A first answer with these fields, and a second one that tells whether it was asked for."""
    return turns(reply(200, "first", *fields), SECOND)


def saying403(*fields: str) -> Turns:
    return turns(reply(403, "no", *fields), SECOND)


LENGTH = "nginx sends an answer that came without a length without one from the cache too"
ORDER = "nginx before 1.23 goes by the order of the fields"
TORN = "RFC 9112 section 9.8: without close_notify nobody knows whether it was all; nginx keeps it"
NAMED = "what Connection names ends here (RFC 9110 7.6.1), so the answer is of a request without it; nginx forwards it"
CLOSES = "nginx closes the connection after an error made of an upstream's answer"
HIT = {"X-Cache": "HIT"}
MISS = {"X-Cache": "MISS"}


@exchanges(
    CACHE,
    row("nothing says how long", twice("/plain/a"), turns(FIRST, SECOND), has=MISS),
    row("a URL with variables", twice("/variables/a"), turns(FIRST, SECOND), has=HIT, body=b"first"),
    row(
        "… has the request's URI in its key", (get("/variables/b"), Read(), get("/variables/c")), turns(FIRST, SECOND),
        has=MISS, body=b"second",
    ),
    row(
        "… unless it has its own", (get("/variableuri/b"), Read(), get("/variableuri/c")), turns(FIRST, SECOND),
        has=HIT, body=b"first",
    ),
    row("max-age", twice("/plain/b"), saying("Cache-Control: max-age=60"), has=HIT, body=b"first"),
    row("s-maxage first", twice("/plain/c"), saying("Cache-Control: s-maxage=60, max-age=0"), has=HIT),
    row("s-maxage last", twice("/plain/c2"), saying("Cache-Control: max-age=0, s-maxage=60"), has=HIT),
    row("s-maxage 0", twice("/plain/c3"), saying("Cache-Control: s-maxage=0, max-age=60"), has=MISS),
    row("max-age 0", twice("/plain/d"), saying("Cache-Control: max-age=0"), has=MISS),
    row("max-age of nothing", twice("/valid/d2"), saying("Cache-Control: max-age="), has=MISS),
    row("max-age in quotes", twice("/valid/cc1"), saying('Cache-Control: max-age="60"'), has=MISS),
    row("max-age with a unit", twice("/valid/cc2"), saying("Cache-Control: max-age=60s"), has=MISS),
    row("max-age of a fraction", twice("/valid/cc3"), saying("Cache-Control: max-age=3600.5"), has=MISS),
    row("max-age without a number", twice("/valid/cc4"), saying("Cache-Control: max-age"), has=HIT),
    row("the last of two fields", twice("/plain/cc5"), saying("Cache-Control: max-age=60", "Cache-Control: max-age=0"), has=MISS),
    row("private for a field", twice("/valid/cc6"), saying('Cache-Control: max-age=60, private="x-a"'), has=MISS),
    row("a name that ends so", twice("/plain/cc7"), saying("Cache-Control: xmax-age=60"), has=HIT),
    row("a stale time that is no number", twice("/valid/cc8"), saying("Cache-Control: max-age=60, stale-if-error=x"), has=MISS),
    row("Expires in another zone", twice("/plain/cc9"), saying("Expires: Thu, 31 Dec 2037 23:55:55 EST"), has=HIT),
    row("Expires in capitals", twice("/plain/cc10"), saying("Expires: Thu, 31 DEC 2037 23:55:55 GMT"), has=HIT),
    row("Expires in small letters", twice("/valid/cc11"), saying("Expires: Thu, 31 dec 2037 23:55:55 GMT"), has=MISS),
    row("no-store", twice("/valid/e"), saying("Cache-Control: no-store"), has=MISS),
    row("no-cache", twice("/valid/f"), saying("Cache-Control: no-cache"), has=MISS),
    row("private", twice("/valid/g"), saying("Cache-Control: private, max-age=60"), has=MISS),
    row("public", twice("/valid/h"), saying("Cache-Control: public"), has=HIT),
    row("capitals", twice("/valid/h2"), saying("Cache-Control: No-Store"), has=MISS),
    row("two fields", twice("/valid/h3"), saying("Cache-Control: max-age=60", "Cache-Control: no-store"), has=MISS),
    row("expires in the past", twice("/valid/i"), saying("Expires: Thu, 01 Jan 1970 00:00:10 GMT"), has=MISS),
    row("expires in the future", twice("/plain/j"), saying("Expires: Thu, 31 Dec 2037 23:55:55 GMT"), has=HIT),
    row("expires is no date", twice("/valid/k"), saying("Expires: 0"), has=MISS),
    row("max-age beats expires", twice("/plain/l"), saying("Cache-Control: max-age=60", "Expires: 0"), has=HIT),
    row("max-age after expires", twice("/plain/l2"), saying("Expires: 0", "Cache-Control: max-age=60"), has=HIT, differs=ORDER),
    row("accel beats control", twice("/plain/m"), saying("X-Accel-Expires: 60", "Cache-Control: no-store"), has=HIT),
    row("accel after control", twice("/plain/m2"), saying("Cache-Control: no-store", "X-Accel-Expires: 60"), has=HIT, differs=ORDER),
    row("accel 0", twice("/valid/n"), saying("X-Accel-Expires: 0", "Cache-Control: max-age=60"), has=MISS),
    row("accel absolute", twice("/plain/o"), saying("X-Accel-Expires: @4102444800"), has=HIT),
    row("accel absolute past", twice("/plain/o2"), saying("X-Accel-Expires: @1000"), has={"X-Cache": "EXPIRED"}),
    row("accel nonsense", twice("/valid/o3"), saying("X-Accel-Expires: soon"), has=HIT),
    row("set-cookie", twice("/valid/p"), saying("Set-Cookie: a=b"), has=MISS),
    row("vary star", twice("/valid/q"), saying("Vary: *"), has=MISS),
    row("fields ignored", twice("/ignore/a"), saying("Cache-Control: no-store", "Set-Cookie: a=b", "Vary: *"), has=HIT),
    row("accel ignored", twice("/ignore/b"), saying("X-Accel-Expires: 0"), has=HIT),
    row("valid for the status", twice("/valid/r"), turns(reply(404, "none"), SECOND), has=HIT, status=(404, 404)),
    row("a status not named", twice("/valid/s"), turns(reply(403, "no"), SECOND), has=MISS, status=(403, 200)),
    row("a failure kept", twice("/valid/s2"), turns(reply(500, "no"), SECOND), has=HIT, status=(500, 500)),
    row("the usual statuses", twice("/usual/a"), turns(reply(301, "", "Location: /x"), SECOND), has=HIT, status=(301, 301)),
    row("not the others", twice("/usual/b"), turns(reply(404, "none"), SECOND), has=MISS, status=(404, 200)),
    row("any status", twice("/any/a"), turns(reply(418, "pot"), SECOND), has=HIT, status=(418, 418)),
    row("no content", twice("/any/b"), turns(raw_reply("HTTP/1.1 204 No Content"), SECOND), has=HIT, status=(204, 204)),
    row("empty", twice("/usual/e"), turns(reply(200, ""), SECOND), has=HIT, body=b""),
    row("other directory", twice("/direct/a"), turns(FIRST, SECOND), has=HIT),
    row("off", twice("/off/a"), turns(FIRST, SECOND), lacks=("X-Cache",), body=b"second"),
    row("zone by variable", twice("/variable/a"), turns(FIRST, SECOND), has=HIT),
    row("key", (get("/key/a?k=1"), Read(), get("/key/b?k=1")), turns(FIRST, SECOND), has=HIT),
    row("key of others", (get("/key/a?k=2"), Read(), get("/key/a?k=3")), turns(FIRST, SECOND), has=MISS),
    row("query is in the key", (get("/usual/x?a"), Read(), get("/usual/x?b")), turns(FIRST, SECOND), has=MISS),
    row("host is not", (get("/usual/y"), Read(), get("/usual/y", host="other")), turns(FIRST, SECOND), has=HIT),
    row("uri replaced", twice("/rewritten/a"), turns(FIRST, SECOND), has=HIT),
    row(
        "bypass",
        (get("/bypass/a"), Read(), get("/bypass/a", "X-Bypass: 1"), Read(), get("/bypass/a")),
        turns(FIRST, SECOND),
        ("GET",) * 3,
        has=HIT,
        body=b"second",
    ),
    row("bypass 0", twice("/bypass/b?b=0"), turns(FIRST, SECOND), has=HIT),
    row("bypassed at first", (get("/bypass/c?b=1"), Read(), get("/bypass/c?b=1")), turns(FIRST, SECOND), has={"X-Cache": "BYPASS"}),
    row("no cache", (get("/nocache/a", "X-No: 1"), Read(), get("/nocache/a")), turns(FIRST, SECOND), has=MISS),
    row("no cache of a hit", (get("/nocache/b"), Read(), get("/nocache/b", "X-No: 1")), turns(FIRST, SECOND), has=HIT),
    row("min uses", (*twice("/uses/a"), Read(), get("/uses/a")), turns(FIRST, SECOND), ("GET",) * 3, has=HIT, body=b"second"),
    row(
        "post is not kept",
        (request("POST", "/usual/p", body=b"x"), Read(), get("/usual/p")),
        turns(FIRST, SECOND),
        ("POST", "GET"),
        has=MISS,
    ),
    row(
        "post by method",
        (request("POST", "/post/a", body=b"x"), Read(), request("POST", "/post/a", body=b"y")),
        turns(FIRST, SECOND),
        ("POST", "POST"),
        has=HIT,
    ),
    row(
        "a body in the key",
        (request("POST", "/bodykey/a", body=b"x"), Read(), request("POST", "/bodykey/a", body=b"y")),
        turns(FIRST, SECOND),
        ("POST", "POST"),
        has=MISS,
        body=b"second",
    ),
    row(
        "head asks with get",
        (request("HEAD", "/usual/h"), Read(), Pause(0.1), get("/usual/h")),
        turns(FIRST, SECOND),
        ("HEAD", "GET"),
        has=HIT,
    ),
    row(
        "head of what is kept",
        (get("/usual/h2"), Read(), request("HEAD", "/usual/h2")),
        turns(FIRST, SECOND),
        ("GET", "HEAD"),
        has=HIT,
    ),
    row(
        "chunked",
        twice("/usual/ch"),
        turns(raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked(b"ab", b"cd")), SECOND),
        has=HIT,
        lacks=("Transfer-Encoding",),
        body=b"abcd",
        differs=LENGTH,
    ),
    row(
        "until the end",
        twice("/usual/end"),
        Turns(((raw_reply("HTTP/1.1 200 OK", body=b"all"), Close()), SECOND)),
        has=HIT,
        lacks=("Transfer-Encoding",),
        body=b"all",
        differs=LENGTH,
    ),
    *(
        row(
            id,
            twice(f"/tls/{id}"),
            Turns(((raw_reply("HTTP/1.1 200 OK", *length, body=b"all"), end), SECOND)),
            has=MISS if torn else HIT,
            body=b"second" if torn else b"all",
            differs=TORN if torn else "" if length else LENGTH,
        )
        for id, length, end, torn in (
            ("tls-until-the-end", (), Notify(), False),
            ("tls-torn", (), Close(), True),
            ("tls-torn-behind-all-of-it", ("Content-Length: 3",), Close(), False),
        )
    ),
    row(
        "cut short",
        twice("/usual/cut"),
        Turns(((raw_reply("HTTP/1.1 200 OK", "Content-Length: 9", body=b"all"), Close()), SECOND)),
        ("GET",),
    ),
    row("large", twice("/usual/large"), turns(reply(200, b"x" * 300_000), SECOND), has=HIT),
    row("unbuffered", twice("/unbuffered/a"), turns(FIRST, SECOND), has=MISS),
    row("hidden fields", twice("/hide/a"), saying("X-Secret: s", "X-Open: o"), has=HIT | {"X-Open": "o"}, lacks=("X-Secret",)),
    row(
        "fields of the answer",
        twice("/usual/f"),
        saying("Content-Type: text/css", "X-A: 1", "X-A: 2", DATE, TAG, "Server: x", "Date: y"),
        has=HIT,
    ),
    row("filters", twice("/sub/a"), turns(reply(200, "one", "Content-Type: text/plain"), SECOND), has=HIT, body=b"two"),
    row(
        "intercepted",
        twice("/intercept/a"),
        turns(reply(404, "none"), reply(200, "page", "Cache-Control: max-age=60")),
        status=(200, 200),
    ),
    *(
        row(
            f"a failure, {id}: {place}",
            (get(f"/{place}/f{first}?{first}"), Read(), get(f"/{place}/f{first}")),
            turns(reply(403, "no"), reply(403, "never")),
            status=(403, 403) if place == "pages" else (502, 502),
            has={"X-Cache": status},
        )
        for place in ("pages", "nobody")
        for id, first, status in (
            ("kept", "", "HIT"),
            ("bypassed", "b=1", "MISS"),
            ("bypassed and not kept", "b=1&n=1", "MISS"),
            ("not kept, which nobody asks", "n=1", "HIT"),
        )
    ),
    row("intercepted, by its own time", twice("/pagestimed/a"), saying403("Cache-Control: max-age=60"), has=HIT, status=(403, 403)),
    row("intercepted, private", twice("/pages/private"), saying403("Cache-Control: private"), has=MISS, status=(403, 200)),
    row("intercepted, which varies", (get("/pages/v", "X-L: a"), Read(), get("/pages/v", "X-L: b")), saying403("Vary: X-L"), has=HIT),
    row("age", twice("/valid/age"), saying("Cache-Control: max-age=60", "Age: 5"), has=HIT | {"Age": "5"}),
    row("authorization", (get("/usual/au", "Authorization: Basic eA=="), Read(), get("/usual/au")), turns(FIRST, SECOND), has=HIT),
    # variants
    row("vary, the same", twice("/usual/v1", "Accept-Language: de"), saying("Vary: Accept-Language"), has=HIT),
    row(
        "vary, another",
        (get("/usual/v2", "Accept-Language: de"), Read(), get("/usual/v2", "Accept-Language: en")),
        saying("Vary: Accept-Language"),
        has=MISS,
    ),
    row(
        "vary, both kept",
        (
            get("/usual/v3", "X-L: de"),
            Read(),
            get("/usual/v3", "X-L: en"),
            Read(),
            get("/usual/v3", "X-L: de"),
            Read(),
            get("/usual/v3", "X-L: en"),
        ),
        turns(reply(200, "first", "Vary: X-L"), reply(200, "second", "Vary: X-L"), reply(200, "third")),
        ("GET",) * 4,
        has=HIT,
        body=b"second",
    ),
    row(
        "vary, blanks",
        (get("/usual/v4", "X-L: a, b"), Read(), get("/usual/v4", "X-L: a,b")),
        saying("Vary: X-L"),
        has=HIT,
        body=b"first",
        differs="RFC 9111 section 4.1: values that differ in white space only are the same; nginx compares them as they are",
    ),
    row("vary, none", (get("/usual/v5"), Read(), get("/usual/v5", "X-L: a")), saying("Vary: X-L"), has=MISS),
    row(
        "vary of two",
        (get("/usual/v6", "X-L: a", "X-M: b"), Read(), get("/usual/v6", "X-M: b", "X-L: a")),
        saying("Vary: X-L, x-m"),
        has=HIT,
    ),
    row("vary of 128", twice("/usual/v128"), saying("Vary: " + "X-L, " * 25 + "X-M"), has=HIT),
    row("vary of more", twice("/usual/v129"), saying("Vary: " + "X-L, " * 25 + "X-Me"), has=MISS),
    *(
        row(
            f"named by connection: {id}",
            (get(target, "X-L: a", f"Connection: keep-alive, {named}"), Read(), get(target, "X-L: a")),
            saying("Vary: X-L"),
            has=MISS if differs else HIT,
            body=b"second" if differs else b"first",
            differs=differs,
        )
        for id, target, named, differs in (
            ("vary", "/usual/n1", "X-L", NAMED),
            ("key", "/said/n", "x-l", NAMED),
            ("what is not there", "/usual/n2", "X-M", ""),
            ("what is set anew", "/replaced/n", "X-L", ""),
        )
    ),
    # conditions and ranges
    row(
        "not modified since",
        (get("/usual/c1"), Read(), get("/usual/c1", "If-Modified-Since: Mon, 02 Jan 2023 10:00:00 GMT")),
        saying(DATE, TAG),
        status=(200, 304),
    ),
    row("same tag", (get("/usual/c2"), Read(), get("/usual/c2", 'If-None-Match: "v1"')), saying(DATE, TAG), status=(200, 304)),
    row("other tag", (get("/usual/c3"), Read(), get("/usual/c3", 'If-None-Match: "v2"')), saying(DATE, TAG), status=(200, 200)),
    row(
        "failed condition",
        (get("/usual/c4"), Read(), get("/usual/c4", 'If-Match: "v2"')),
        saying(DATE, TAG),
        status=(200, 412),
        closed=False,
        differs=CLOSES,
    ),
    row(
        "conditions are not passed on",
        (get("/condition/a", "If-Modified-Since: Mon, 02 Jan 2023 10:00:00 GMT", 'If-None-Match: "v2"'),),
        FIRST,
        ("GET",),
        withheld=("If-Modified-Since", "If-None-Match"),
    ),
    row(
        "not modified at first",
        (get("/usual/c5", 'If-None-Match: "v1"'), Read(), Pause(0.1), get("/usual/c5")),
        saying(TAG),
        status=(304, 200),
        has=HIT,
    ),
    row(
        "range of a hit",
        (get("/usual/r1"), Read(), get("/usual/r1", "Range: bytes=1-2")),
        saying("Accept-Ranges: bytes"),
        status=(200, 206),
        body=b"ir",
    ),
    row(
        "ranges of a hit",
        (get("/usual/r2"), Read(), get("/usual/r2", "Range: bytes=0-0,2-3")),
        saying("Accept-Ranges: bytes"),
        status=(200, 206),
        mask=(r"\d{20}",),
    ),
    row("range without ranges", (get("/usual/r3"), Read(), get("/usual/r3", "Range: bytes=1-2")), FIRST, status=(200, 200)),
    row(
        "range at first",
        (get("/usual/r4", "Range: bytes=1-2"), Read(), get("/usual/r4")),
        saying("Accept-Ranges: bytes"),
        status=(206, 200),
        has=HIT,
    ),
    row(
        "range beyond",
        (get("/usual/r5"), Read(), get("/usual/r5", "Range: bytes=9-")),
        saying("Accept-Ranges: bytes"),
        status=(200, 416),
        closed=False,
        differs=CLOSES,
    ),
    row(
        "range beyond the offset",
        (get("/offset/a", "Range: bytes=20-"), Read(), get("/offset/a")),
        saying("Accept-Ranges: bytes"),
        has=MISS,
    ),
    row(
        "conditions beyond the offset",
        get("/offset/c", "Range: bytes=20-", 'If-Range: "v1"', 'If-None-Match: "v2"'),
        FIRST,
        ("GET",),
        forwarded=("Range: bytes=20-", 'If-Range: "v1"', 'If-None-Match: "v2"'),
    ),
    row(
        "conditions of what is not for the cache",
        request("PUT", "/usual/put", 'If-Match: "v1"', "Range: bytes=1-2", body=b"new"),
        FIRST,
        ("PUT",),
        forwarded=('If-Match: "v1"', "Range: bytes=1-2"),
    ),
    row(
        "conditions before there are uses enough",
        (get("/uses/c", "If-Unmodified-Since: " + DATE[15:]), Read(), get("/uses/c", "Range: bytes=1-2")),
        turns(FIRST, SECOND),
        body=b"second",
    ),
    row("a key that is too long", twice("/usual/" + "k" * 3600), turns(FIRST, SECOND), lacks=("X-Cache",), body=b"second"),
    *(
        row(
            f"range from {start}, to the offset of {place}",
            (get(f"/{place}/{number}", f"Range: bytes={start}"), Read(), Pause(0.1), get(f"/{place}/{number}")),
            FIRST,
            has={"X-Cache": status},
        )
        for number, (place, start, status) in enumerate(
            (
                ("offset", "9-", "HIT"),
                ("offset", "10-", "MISS"),
                ("offset", "-5", "MISS"),
                ("offset", " 20-", "MISS"),
                ("offset", "20", "MISS"),
                ("offset", "2-3,20-", "HIT"),
                ("offset", "20-,2-3", "MISS"),
                ("nooffset", "0-", "MISS"),
            )
        )
    ),
    row("range within the offset", (get("/offset/b", "Range: bytes=2-"), Read(), get("/offset/b")), FIRST, has=HIT),
    row(
        "range of what comes in pieces",
        (get("/usual/r6", "Range: bytes=2-9"), Read(), Pause(0.2), get("/usual/r6")),
        Turns(
            (
                (raw_reply("HTTP/1.1 200 OK", "Content-Length: 12", "Accept-Ranges: bytes", body=b"abcd"), Wait(0.1), b"efghijkl"),
                SECOND,
            )
        ),
        status=(206, 200),
        has=HIT,
        body=b"abcdefghijkl",
    ),
    row(
        "the end of what comes in pieces",
        (get("/usual/r7", "Range: bytes=-3"),),
        Turns(((raw_reply("HTTP/1.1 200 OK", "Content-Length: 12", "Accept-Ranges: bytes", body=b"abcd"), Wait(0.1), b"efghijkl"),)),
        ("GET",),
        status=(206,),
        body=b"jkl",
    ),
    row(
        "two ranges of what comes in pieces",
        (get("/usual/r8", "Range: bytes=0-1,4-5"),),
        Turns(((raw_reply("HTTP/1.1 200 OK", "Content-Length: 12", "Accept-Ranges: bytes", body=b"abcd"), Wait(0.1), b"efghijkl"),)),
        ("GET",),
        status=(200,),
    ),
    row(
        "no ranges at all",
        (*twice("/noranges/a"), Read(), get("/noranges/a", "Range: bytes=0-1")),
        saying("Accept-Ranges: bytes"),
        ("GET",) * 3,
        has=HIT,
    ),
    row("two ranges of what comes at once", (get("/usual/r9", "Range: bytes=0-1,4-4"),), saying("Accept-Ranges: bytes"), ("GET",)),
    row(
        "if-range",
        (get("/usual/i1"), Read(), get("/usual/i1", "Range: bytes=1-2", 'If-Range: "v1"')),
        saying(TAG, "Accept-Ranges: bytes"),
        status=(200, 206),
    ),
    row(
        "if-range, another",
        (get("/usual/i2"), Read(), get("/usual/i2", "Range: bytes=1-2", 'If-Range: "v2"')),
        saying(TAG, "Accept-Ranges: bytes"),
        status=(200, 200),
    ),
    row(
        "if-range by date",
        (get("/usual/i3"), Read(), get("/usual/i3", "Range: bytes=1-2", "If-Range: Mon, 02 Jan 2023 10:00:00 GMT")),
        saying(DATE, "Accept-Ranges: bytes"),
        status=(200, 206),
    ),
    row(
        "head with a range",
        (get("/usual/i4"), Read(), request("HEAD", "/usual/i4", "Range: bytes=1-2")),
        saying("Accept-Ranges: bytes"),
        ("GET", "HEAD"),
        status=(200, 206),
    ),
    row(
        "head of a condition",
        (get("/usual/i5"), Read(), request("HEAD", "/usual/i5", 'If-None-Match: "v1"')),
        saying(TAG),
        ("GET", "HEAD"),
        status=(200, 304),
    ),
    row(
        "force ranges",
        (get("/force/a", "Range: bytes=1-2"), Read(), get("/force/a", "Range: bytes=2-3")),
        FIRST,
        status=(206, 206),
        body=b"rs",
    ),
    row(
        "force ranges, several",
        (get("/force/b"), Read(), get("/force/b", "Range: bytes=0-0,2-2")),
        FIRST,
        status=(200, 206),
        mask=(r"\d{20}",),
    ),
    row("force ranges without a cache", (get("/forceoff/a", "Range: bytes=1-2"),), FIRST, ("GET",), status=(206,), body=b"ir"),
    row("force ranges, none asked for", (get("/forceoff/a"),), FIRST, ("GET",), status=(200,)),
    row("no answer kept", twice("/any/gone"), Turns(((b"HT", Close()), SECOND)), status=(502, 502), has=HIT),
    row("no answer not kept", twice("/valid/gone"), Turns(((b"HT", Close()), SECOND)), status=(502, 200), has=MISS),
    row("lock", twice("/lock/a"), turns(FIRST, SECOND), has=HIT),
)
def test_cache(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


# What is good no longer. Each is asked for, then time passes for all of them at once, then each is asked for again.
OLD = (
    row(
        "the variables",
        (get("/told/a"), Read(), Age(), get("/told/a")),
        turns(reply(200, "first", DATE, TAG), reply(200, "second", DATE, 'ETag: "v2"')),
    ),
    row(
        "the variables of a 304",
        (get("/told/b"), Read(), Age(), get("/told/b")),
        turns(reply(200, "first", DATE, TAG), raw_reply("HTTP/1.1 304 Not Modified")),
    ),
    row(
        "expired",
        (get("/short/a"), Read(), Age(), get("/short/a")),
        turns(FIRST, SECOND),
        has={"X-Cache": "EXPIRED"},
        body=b"second",
    ),
    row(
        "stale on 500",
        (get("/stale/a"), Read(), Age(), get("/stale/a")),
        turns(FIRST, reply(500, "no")),
        has={"X-Cache": "STALE"},
        body=b"first",
    ),
    row(
        "stale on 404",
        (get("/stale/b"), Read(), Age(), get("/stale/b")),
        turns(FIRST, reply(404, "no")),
        has={"X-Cache": "STALE"},
        body=b"first",
    ),
    row(
        "not on 503",
        (get("/stale/c"), Read(), Age(), get("/stale/c")),
        turns(FIRST, reply(503, "no")),
        has={"X-Cache": "EXPIRED"},
        status=(200, 503),
    ),
    row(
        "stale on an error",
        (get("/stale/d"), Read(), Age(), get("/stale/d")),
        Turns((FIRST, (b"HT", Close()))),
        has={"X-Cache": "STALE"},
        body=b"first",
    ),
    row(
        "stale-if-error",
        (get("/plain/sie"), Read(), Age(), get("/plain/sie")),
        turns(reply(200, "first", "Cache-Control: max-age=1, stale-if-error=60"), reply(500, "no")),
        has={"X-Cache": "EXPIRED"},
    ),
    row(
        "stale-if-error, no answer",
        (get("/plain/sie2"), Read(), Age(), get("/plain/sie2")),
        Turns((reply(200, "first", "Cache-Control: max-age=1, stale-if-error=60"), (b"HT", Close()))),
        has={"X-Cache": "STALE"},
        body=b"first",
    ),
    row(
        "revalidated",
        (get("/revalidate/a"), Read(), Age(), get("/revalidate/a"), Read(), get("/revalidate/a")),
        turns(reply(200, "first", DATE, TAG), raw_reply("HTTP/1.1 304 Not Modified"), SECOND),
        ("GET",) * 3,
        has=HIT,
        body=b"first",
        forwarded=("If-None-Match", "If-Modified-Since"),
    ),
    row(
        "revalidated, longer",
        (get("/revalidatelong/a"), Read(), Age(), get("/revalidatelong/a"), Read(), get("/revalidatelong/a")),
        turns(
            reply(200, "first", TAG, "Cache-Control: max-age=1"),
            raw_reply("HTTP/1.1 304 Not Modified", "Cache-Control: max-age=60"),
            SECOND,
        ),
        ("GET",) * 3,
        has=HIT,
        body=b"first",
    ),
    row(
        "revalidated, changed",
        (get("/revalidate/b"), Read(), Age(), get("/revalidate/b"), Read(), get("/revalidate/b")),
        turns(reply(200, "first", TAG), SECOND),
        ("GET",) * 3,
        has=HIT,
        body=b"second",
    ),
    row(
        "in the background",
        (get("/background/a"), Read(), Age(), get("/background/a"), Read(), Pause(0.2), get("/background/a")),
        turns(FIRST, SECOND),
        ("GET",) * 3,
        has=HIT,
        body=b"second",
    ),
    *(
        row(
            f"in the background {id}",
            (act, Read(), Age(), act, Read(), Pause(0.2), act),
            turns(FIRST, SECOND),
            (method,) * 3,
            has=HIT,
            body=b"second",
            **more,
        )
        for id, method, act, more in (
            ("with a body", "POST", request("POST", "/bodykey/b", body=b"text"), {}),
            ("with a capture", "GET", get("/captured/a"), {}),
            ("where a rewrite has left the location", "GET", get("/left/a"), {}),
        )
    ),
    row(
        "in the background, named by connection",
        (
            get("/background/n", "X-L: a"),
            Read(),
            Age(),
            get("/background/n", "X-L: a", "Connection: keep-alive, X-L"),
            Read(),
            Pause(0.2),
            get("/background/n", "X-L: a"),
        ),
        turns(reply(200, "first", "Vary: X-L"), SECOND, reply(200, "third")),
        ("GET",) * 3,
        has={"X-Cache": "STALE"},
        differs=NAMED,
    ),
    row(
        "stale-while-revalidate",
        (get("/plain/swr"), Read(), Age(), get("/plain/swr")),
        turns(reply(200, "first", "Cache-Control: max-age=1, stale-while-revalidate=60"), SECOND),
        has={"X-Cache": "EXPIRED"},
    ),
)


@exchanges(CACHE, *OLD)
def test_what_is_old(servers: Servers, exchange: Exchange) -> None:
    servers.begin(*OLD)
    servers.check(exchange)
