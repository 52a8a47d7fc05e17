"""Reading requests: what is accepted, what is refused with which code, and when the connection stays open."""

from __future__ import annotations

from tests.parity.backend import reply
from tests.parity.exchange import Exchange, Pause, Read, Shut, get, lines, request
from tests.parity.harness import Group, Servers, exchanges

MIXED = "where CRLF and bare LF are mixed, another reader may see another end: no body, and the connection is closed behind it"
TABS = "a tab around a value is white space, too (RFC 9110 section 5.5); nginx takes it for a part of the value"
STRICTER = "Portico refuses what two readers could take differently; nginx 1.22 lets it pass"

READING = Group(
    """
    client_header_buffer_size 1k;
    large_client_header_buffers 2 2k;
    keepalive_requests 5;
    lingering_timeout 100ms;
    server {
        listen 127.0.0.1:@PORT@;
        server_name localhost;
        location / { return 200 "$request_method $uri [$args] host=$host\\n"; }
        location /file { alias @ROOT@/file; }
        location /proxy {
            proxy_pass http://@BACKEND@;
        }
        location /small { client_max_body_size 10; proxy_pass http://@BACKEND@; }
        location /discarded { client_max_body_size 10; return 200 "discarded"; }
        location /page { error_page 400 /400; return 200 "page"; }
        location /400 { return 200 "bad, says a page"; }
        location /header { return 200 "[$http_x_one][$http_x_two]"; }
    }
    """,
    {"file": b"contents\n"},
)


@exchanges(
    READING,
    Exchange("plain", get("/a?b=c"), status=200, body=b"GET /a [b=c] host=localhost\n", closed=False),
    Exchange("connection close", get("/", "Connection: close"), status=200, closed=True),
    Exchange("connection Close, Upper", get("/", "Connection: Close"), status=200, closed=True),
    Exchange("connection list", get("/", "Connection: TE, close"), status=200, closed=True),
    Exchange("http 1.0", get("/", version="1.0"), status=200, closed=True),
    Exchange("http 1.0 without host", lines("GET / HTTP/1.0"), status=200, closed=True),
    Exchange(
        "http 1.0 keepalive", get("/", "Connection: keep-alive", version="1.0"), status=200, closed=False
    ),
    Exchange(
        "http 0.9",
        b"GET /a\r\n",
        status=400,
        closed=True,
        differs="HTTP/0.9 is not served; nginx answers with the body alone",
    ),
    Exchange("http 1.2", get("/", version="1.2"), status=200),
    Exchange("http 2.0 version", get("/", version="2.0"), status=505, closed=True),
    Exchange("http 10.1 version", get("/", version="10.1"), status=505, closed=True),
    Exchange("no minor version", get("/", version="1"), status=400, closed=True),
    Exchange("version in lower case", lines("GET / http/1.1", "Host: localhost"), status=400),
    Exchange("head", request("HEAD", "/abc"), status=200, body=b"", closed=False),
    Exchange("head of a file", request("HEAD", "/file"), status=200, has={"Content-Length": "9"}),
    Exchange("options", request("OPTIONS", "/o"), status=200, contains=b"OPTIONS /o"),
    Exchange("unknown method", request("FROB", "/o"), status=200, contains=b"FROB /o"),
    Exchange("method with underscore", request("FOO_BAR", "/o"), status=200),
    Exchange("method in lower case", request("get", "/o"), status=400, closed=True),
    Exchange("trace", request("TRACE", "/"), status=405),
    Exchange(
        "connect",
        lines("CONNECT localhost:80 HTTP/1.1", "Host: localhost:80"),
        status=405,
        closed=True,
        differs="the method is not allowed, the request is sound (RFC 9110 section 15.5.6)",
    ),
    Exchange(
        "post of an old browser",
        request("POST", "/abc", "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)"),
        status=200,
        closed=True,
    ),
    Exchange(
        "post of a browser almost as old",
        request("POST", "/abc", "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)"),
        status=200,
        closed=False,
    ),
    Exchange("pipelined", get("/1") + get("/2") + get("/3"), methods=("GET",) * 3, status=(200, 200, 200)),
    Exchange(
        "pipelined to a backend and to itself",
        get("/proxy/1") + request("HEAD", "/proxy/2") + get("/3"),
        methods=("GET", "HEAD", "GET"),
        backend=reply(200, "x"),
        reached=2,
    ),
    Exchange(
        "pipelined after a body",
        request("POST", "/proxy", body=b"12345") + get("/2"),
        methods=("POST", "GET"),
        status=(200, 200),
        contains=b"GET /2",
    ),
    Exchange(
        "pipelined after a body that nobody reads",
        request("POST", "/x", body=b"12345") + get("/2"),
        methods=("POST", "GET"),
        status=(200, 200),
    ),
    Exchange(
        "five requests on a connection",
        b"".join(get(f"/{n}") for n in range(5)),
        methods=("GET",) * 5,
        has={"Connection": "close"},
        closed=True,
    ),
    Exchange("blank line before a request", b"\r\n" + get("/"), methods=("GET",), status=200),
    Exchange("in two packets", [get("/abc")[:9], Pause(), get("/abc")[9:]], status=200, contains=b"/abc"),
    Exchange(
        "byte after byte",
        [piece for byte in get("/z") for piece in (bytes([byte]), Pause(0.001))],
        methods=("GET",),
        status=200,
    ),
    Exchange("half closed after the request", [get("/"), Shut()], status=200),
    Exchange(
        "several requests one after the other",
        [get("/1"), Read(), get("/2"), Read(), get("/3")],
        methods=("GET",) * 3,
        status=(200, 200, 200),
    ),
)
def test_requests(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    READING,
    Exchange("no host", lines("GET / HTTP/1.1"), status=400, closed=True),
    Exchange("empty host", lines("GET / HTTP/1.1", "Host:"), status=400),
    Exchange("host with port", get("/", host="localhost:81"), status=200, contains=b"host=localhost\n"),
    Exchange("host in upper case", get("/", host="LOCALHOST"), status=200, contains=b"host=localhost\n"),
    Exchange("host with a dot at the end", get("/", host="localhost."), contains=b"host=localhost\n"),
    Exchange("host with a slash", get("/", host="local/host"), status=400, closed=True),
    Exchange("host with two dots", get("/", host="local..host"), status=400),
    Exchange("host with a blank", get("/", host="local host"), status=400),
    Exchange("host as ipv6", get("/", host="[::1]:80"), status=200, contains=b"host=[::1]\n"),
    Exchange("absolute form", get("http://other:81/abs?q"), status=200, body=b"GET /abs [q] host=other\n"),
    Exchange("absolute form without path", get("http://other"), status=200, body=b"GET / [] host=other\n"),
    Exchange("absolute form with query only", get("http://other?q=1"), status=200),
    Exchange("absolute form of https", get("https://other/x"), status=200),
    Exchange("absolute form to a backend", get("http://other:81/proxy/x?y"), status=200, reached=1),
    Exchange("no slash", lines("GET abc HTTP/1.1", "Host: localhost"), status=400),
    Exchange("star for options", lines("OPTIONS * HTTP/1.1", "Host: localhost"), status=400),
    Exchange("no target", lines("GET HTTP/1.1", "Host: localhost"), status=400),
    Exchange("target with a blank", lines("GET /a b HTTP/1.1", "Host: localhost"), status=400),
    Exchange("blanks before the version", lines("GET /a  HTTP/1.1", "Host: localhost"), status=200),
    Exchange("control character in the target", lines("GET /a\x01b HTTP/1.1", "Host: localhost"), status=400),
    Exchange("zero in the target", lines("GET /a\x00b HTTP/1.1", "Host: localhost"), status=400),
    Exchange("high bytes in the target", lines("GET /\xfc HTTP/1.1", "Host: localhost"), status=200),
    Exchange("fragment", get("/a#b?c"), status=200),
    Exchange(
        "tls record", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", methods=("GET",), status=400
    ),
)
def test_targets_and_hosts(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    READING,
    Exchange("invalid name is ignored", get("/header", "X_One: 1", "X-Two: 2"), status=200, body=b"[][2]"),
    Exchange("blanks around a value", get("/header", "X-One:   1 ", "X-Two:2"), status=200),
    Exchange("empty value", get("/header", "X-One:"), status=200, body=b"[][]"),
    Exchange("blank before the colon", get("/", "X-One : 1"), status=400, closed=True),
    Exchange("blank in a name", get("/", "X One: 1"), status=400),
    Exchange("folded header", get("/", "X-One: 1", " more"), status=400, closed=True),
    Exchange("header without colon", get("/", "X-One"), status=400, closed=True, differs=STRICTER),
    Exchange("header without name", get("/", ": value"), status=400),
    Exchange("zero in a value", get("/", "X-One: a\x00b"), status=400, closed=True),
    Exchange("control character in a name", get("/", "X\x01One: 1"), status=400),
    Exchange("high bytes in a value", lines("GET /header HTTP/1.1", "Host: l", "X-One: \xe9"), status=200),
    Exchange(
        "two lengths", request("POST", "/proxy", "Content-Length: 5", body=b"12345"), status=400, reached=0
    ),
    Exchange(
        "length and chunked",
        request("POST", "/proxy", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        status=400,
    ),
    Exchange("negative length", get("/proxy", "Content-Length: -1"), status=400),
    Exchange("length with a plus", get("/proxy", "Content-Length: +1"), status=400),
    Exchange("length not a number", get("/proxy", "Content-Length: 1x"), status=400),
    Exchange("enormous length", get("/proxy", "Content-Length: 99999999999999999999"), status=400),
    Exchange("unknown transfer coding", request("POST", "/proxy", "Transfer-Encoding: gzip"), status=501),
    Exchange("identity coding", request("POST", "/proxy", "Transfer-Encoding: identity"), status=501),
    Exchange("two codings", request("POST", "/proxy", "Transfer-Encoding: gzip, chunked"), status=501),
    Exchange(
        "chunked to http 1.0",
        request("POST", "/proxy", "Transfer-Encoding: chunked", version="1.0") + b"0\r\n\r\n",
        status=400,
    ),
    Exchange(
        "bad chunk size",
        request("POST", "/proxy", "Transfer-Encoding: chunked") + b"xyz\r\n",
        status=400,
        reached=0,
        closed=True,
    ),
    Exchange(
        "chunk longer than its size",
        request("POST", "/proxy", "Transfer-Encoding: chunked") + b"3\r\nabcd\r\n0\r\n\r\n",
        status=400,
        reached=0,
    ),
    Exchange(
        "enormous chunk size",
        request("POST", "/proxy", "Transfer-Encoding: chunked") + b"fffffffffffffffffff\r\n",
        status=400,
    ),
    *[
        Exchange(
            f"{what} in a body that nobody reads, {target}",
            request("POST" if target != "/file" else "GET", target, "Transfer-Encoding: chunked") + body + get("/next"),
            status=400,
            closed=True,
        )
        for target in ("/", "/file", "/page")
        for what, body in (("no size", b"xyz\r\n"), ("a longer chunk", b"4\r\nSEE-THIS\r\n0\r\n\r\n"), ("text", b"1\r\na\r\nhi\r\n"))
    ],
    Exchange(
        "a long chunked body that nobody reads",
        request("POST", "/discarded", "Transfer-Encoding: chunked", "Connection: close") + b"b\r\n12345678901\r\n0\r\n\r\n",
        status=200,
    ),
    Exchange(
        "a chunked body that nobody reads, and the next request",
        request("POST", "/", "Transfer-Encoding: chunked") + b"b\r\n12345678901\r\n0\r\n\r\n" + get("/next"),
        status=(200, 200),
        methods=("POST", "GET"),
    ),
    Exchange("two hosts", get("/", "Host: localhost"), status=400, closed=True),
    Exchange(
        "bare lf after the request line",
        b"GET / HTTP/1.1\nHost: localhost\r\n\r\n",
        status=200,
        closed=True,
        differs=MIXED,
    ),
    Exchange(
        "bare lf after a header",
        b"GET /header HTTP/1.1\r\nHost: localhost\nX-One: 1\r\n\r\n",
        status=200,
        body=b"[1][]",
        closed=True,
        differs=MIXED,
    ),
    Exchange(
        "a request behind line ends of both kinds",
        b"GET /header HTTP/1.1\r\nHost: localhost\n\n" + get("/proxy"),
        status=200,
        reached=0,
        differs=MIXED,
    ),
    Exchange(
        "a body behind line ends of both kinds",
        b"POST /proxy HTTP/1.1\r\nHost: localhost\nContent-Length: 1\r\n\r\nx",
        status=400,
        reached=0,
        closed=True,
        differs=MIXED,
    ),
    Exchange("bare lf everywhere", b"GET /header HTTP/1.1\nHost: localhost\nX-One: 1\n\n", status=200, body=b"[1][]", closed=False),
    Exchange("bare lf and no field", b"GET / HTTP/1.0\n\n", status=200, closed=True),
    Exchange(
        "bare lf with a body",
        b"POST /proxy HTTP/1.1\nHost: localhost\nContent-Length: 4\nX-One: 1\n\ndata",
        status=200,
        reached=1,
        forwarded=("POST /proxy", "X-One: 1", "data"),
    ),
    Exchange("bare lf and a folded field", b"GET / HTTP/1.1\nHost: localhost\nX-One: 1\n more\n\n", status=400, closed=True),
    Exchange("bare lf and a cr in a value", b"GET / HTTP/1.1\nHost: localhost\nX-One: a\rb\n\n", status=400, closed=True),
    Exchange("tabs around values", get("/header", "X-One:\t1\t", "X-Two: \t 2 \t"), status=200, body=b"[1][2]", differs=TABS),
    Exchange("length with a tab", request("POST", "/proxy", "Content-Length: \t5") + b"12345", status=200, reached=1, differs=TABS),
    Exchange(
        "coding with a tab",
        request("POST", "/proxy", "Transfer-Encoding:\tchunked") + b"0\r\n\r\n",
        status=200,
        reached=1,
        differs=TABS,
    ),
    Exchange(
        "white space before a chunk's extension",
        request("POST", "/proxy", "Transfer-Encoding: chunked") + b"5 ;a=b\r\n12345\r\n0\r\n\r\n",
        status=200,
        forwarded=("12345",),
    ),
    Exchange("coding with a byte behind", get("/", "Transfer-Encoding\xa0: chunked"), status=400, closed=True, differs=STRICTER),
    Exchange("bare cr in a value", get("/header", "X-One: a\rb"), status=400),
    Exchange(
        "bare lf after a chunk size",
        request("POST", "/proxy", "Transfer-Encoding: chunked") + b"1\nx\r\n0\r\n\r\n",
        status=400,
        reached=0,
        differs=STRICTER,
    ),
)
def test_strictness(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    READING,
    Exchange("line past the first buffer", get("/" + "a" * 1500), status=200),
    Exchange("line too long", get("/" + "a" * 2100), status=414, closed=True),
    Exchange("header too long", get("/", "X-Long: " + "a" * 2100), status=400, closed=True),
    Exchange(
        "too many large headers",
        get("/", *(f"X-{n}: " + "a" * 900 for n in range(6))),
        status=400,
        contains=b"Request Header Or Cookie Too Large",
    ),
    Exchange(
        "cookies past the first buffer", get("/header", "X-One: 1", "Cookie: " + "a" * 1500), status=200
    ),
    Exchange("body at the limit", request("POST", "/small", body=b"1234567890"), status=200, reached=1),
    Exchange("body past the limit", request("POST", "/small", body=b"12345678901"), status=413, reached=0),
    Exchange(
        "chunked body past the limit",
        request("POST", "/small", "Transfer-Encoding: chunked") + b"b\r\n12345678901\r\n0\r\n\r\n",
        status=413,
        reached=0,
    ),
    Exchange("default limit of a body", request("POST", "/proxy", "Content-Length: 1048577"), status=413),
    Exchange(
        "expect continue",
        [request("POST", "/proxy", "Expect: 100-continue", "Content-Length: 4"), Read(), b"body"],
        methods=("POST",),
        status=(100, 200),
        forwarded=("body",),
        withheld=("Expect",),
    ),
    Exchange(
        "expect continue with the body at once",
        request("POST", "/proxy", "Expect: 100-continue", body=b"body"),
        status=200,
        reached=1,
        differs="nobody waits for the 100 (RFC 9110 10.1.1); nginx sends it all the same",
    ),
    Exchange(
        "expect continue refused",
        request("POST", "/small", "Expect: 100-continue", "Content-Length: 40"),
        status=413,
        reached=0,
    ),
    Exchange("expect something else", get("/", "Expect: cookies"), status=200),
    Exchange(
        "expect continue from http 1.0",
        request("POST", "/proxy", "Expect: 100-continue", body=b"body", version="1.0"),
        status=200,
    ),
)
def test_limits(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


OPTIONS = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        client_header_timeout 150ms;
        client_body_timeout 150ms;
        keepalive_timeout 150ms;
        underscores_in_headers on;
        location / { return 200 "[$http_x_one]"; }
        location /proxy { proxy_pass http://@BACKEND@; }
    }
    server {
        listen 127.0.0.1:@PORT_STRICT@;
        ignore_invalid_headers off;
        keepalive_timeout 65 20;
        merge_slashes off;
        location / { return 200 "$uri"; }
        location /proxy { proxy_pass http://@BACKEND@; }
    }
    server {
        listen 127.0.0.1:@PORT_NONE@;
        keepalive_timeout 0;
        location / { return 200 "no keepalive"; }
    }
    """,
)


@exchanges(
    OPTIONS,
    Exchange("underscores kept", get("/", "X_One: 1"), status=200, body=b"[1]"),
    Exchange("underscores forwarded", get("/proxy", "X_One: 1"), status=200, forwarded=("X_One: 1",)),
    Exchange("head never finished", [b"GET / HTTP/1.1\r\nHost: x\r\n"], closed=True),
    Exchange("nothing sent", [], methods=("GET",), closed=True),
    Exchange("body never finished", request("POST", "/proxy", "Content-Length: 9") + b"123", closed=True),
    Exchange(
        "idle for too long", [get("/"), Read(), Pause(0.4)], methods=("GET", "GET"), status=200, closed=True
    ),
    Exchange("invalid name kept", get("/proxy", "X.One: 1"), port="PORT_STRICT", forwarded=("X.One: 1",)),
    Exchange("underscore kept", get("/proxy", "X_One: 1"), port="PORT_STRICT", status=200),
    Exchange("slashes not merged", get("/a//b"), port="PORT_STRICT", status=200, body=b"/a//b"),
    Exchange("keepalive header", get("/"), port="PORT_STRICT", has={"Keep-Alive": "timeout=20"}),
    Exchange(
        "no keepalive", get("/"), port="PORT_NONE", status=200, has={"Connection": "close"}, closed=True
    ),
)
def test_options(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
