"""Forwarding: what the backend gets, and what becomes of what it answers."""

from __future__ import annotations

from tests.parity.backend import Close, Echo, Reset, Turns, Wait, chunked, raw_reply, reply
from tests.parity.exchange import Exchange, Pause, Read, Shut, Until, get, lines, request
from tests.parity.harness import Group, Servers, exchanges

PASSES = Group(
    r"""
    upstream named { server @BACKEND@; }
    server {
        listen 127.0.0.1:@PORT@;
        location / { proxy_pass http://@BACKEND@; }
        location /plain/ { proxy_pass http://@BACKEND@; }
        location /slash/ { proxy_pass http://@BACKEND@/; }
        location /path/ { proxy_pass http://@BACKEND@/new/; }
        location /noslash/ { proxy_pass http://@BACKEND@/new; }
        location /whole { proxy_pass http://@BACKEND@/other; }
        location /withargs/ { proxy_pass http://@BACKEND@/new?x=1&; }
        location ~ ^/regex/ { proxy_pass http://@BACKEND@; }
        location ~ ^/capture/(.+)$ { proxy_pass http://@BACKEND@/to/$1; }
        location /variable/ { proxy_pass http://@BACKEND@$request_uri; }
        location /variableuri/ { proxy_pass http://@BACKEND@/fixed?$args; }
        location /variablehost/ { proxy_pass http://named/x/; }
        location /named/ { proxy_pass http://named; }
        location /unix/ { proxy_pass http://unix:@BACKEND_UNIX@; }
        location /unixuri/ { proxy_pass http://unix:@BACKEND_UNIX@:/below/; }
        location = /exact { proxy_pass http://@BACKEND@/exactly; }
        location /method/ { proxy_method OPTIONS; proxy_pass http://@BACKEND@; }
        location /nobody/ {
            proxy_pass_request_body off;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_pass http://@BACKEND@;
        }
        location /noheaders/ { proxy_pass_request_headers off; proxy_pass http://@BACKEND@; }
        location /setbody/ { proxy_set_body "uri=$uri"; proxy_pass http://@BACKEND@; }
        location /http10/ {
            proxy_http_version 1.0;
            proxy_set_header Connection close;
            proxy_pass http://@BACKEND@;
        }
        location /internal/ {
            error_page 404 = @fallback;
            proxy_intercept_errors on;
            proxy_pass http://@BACKEND@;
        }
        location @fallback { proxy_pass http://@BACKEND_2@; }
        location /try/ { root @ROOT@; try_files $uri @fallback; }
        location /trace { proxy_pass http://@BACKEND@; }
    }
    """,
    {"try/here": b"here\n"},
)


def _passed(target: str, forwarded: str, id: str = "") -> Exchange:
    return Exchange(id or target, get(target), status=200, reached=1, forwarded=(f"GET {forwarded} HTTP/1.",))


@exchanges(
    PASSES,
    _passed("/", "/"),
    _passed("/a?b=c", "/a?b=c"),
    _passed("/plain/a%20b//c/../d?x=%20", "/plain/a%20b//c/../d?x=%20"),
    _passed("/slash/", "/"),
    _passed("/slash/a/b?c", "/a/b?c"),
    _passed("/slash/a%20b", "/a%20b"),
    _passed("/slash/a%2fb", "/a/b"),
    _passed("/slash/%3Fx%23y%25z", "/%3Fx%23y%25z"),
    _passed("/slash//a/./b/../c", "/a/c"),
    _passed("/slash/\u00fc", "/\u00c3\u00bc", "high bytes, decoded and sent on"),
    _passed("/slash/%C3%BC+%2B", "/%C3%BC++", "escaped high bytes"),
    _passed("/slash/a;b=c,d'e\"f", "/a;b=c,d'e\"f"),
    _passed("/path/x", "/new/x"),
    _passed("/path/?y", "/new/?y"),
    _passed("/noslash/x", "/newx"),
    _passed("/whole", "/other"),
    _passed("/whole/x", "/other/x"),
    _passed("/wholemeal", "/othermeal"),
    _passed("/withargs/x?y=2", "/new?x=1&x?y=2"),
    _passed("/regex/a%20b", "/regex/a%20b"),
    _passed("/capture/a/b?q=1", "/to/a/b"),
    Exchange(
        "capture with a blank",
        get("/capture/a%20b"),
        status=200,
        forwarded=("GET /to/a%20b HTTP/1.",),
        differs="nginx sends the blank as it is, and with it whatever else was decoded into the request line",
    ),
    _passed("/variable/a%20b?c", "/variable/a%20b?c"),
    _passed("/variableuri/x?a=1", "/fixed?a=1"),
    _passed("/variablehost/y", "/x/y"),
    _passed("/named/x", "/named/x"),
    _passed("/unix/x", "/unix/x"),
    _passed("/unixuri/x", "/below/x"),
    _passed("/exact?q", "/exactly?q"),
    Exchange(
        "post", request("POST", "/p", "Content-Type: text/x", body=b"data"), forwarded=("POST /p", "data")
    ),
    Exchange("put", request("PUT", "/p", body=b"data"), status=200, forwarded=("PUT /p",)),
    Exchange("delete", request("DELETE", "/p"), status=200, forwarded=("DELETE /p",)),
    Exchange("patch", request("PATCH", "/p", body=b"{}"), status=200, forwarded=("PATCH /p",)),
    Exchange("unknown method", request("BREW", "/p"), status=200, forwarded=("BREW /p",)),
    Exchange("post without body", request("POST", "/p"), status=200, reached=1),
    Exchange("post of length 0", request("POST", "/p", "Content-Length: 0"), status=200, reached=1),
    Exchange("get with a body", request("GET", "/p", body=b"data"), status=200, forwarded=("data",)),
    Exchange(
        "chunked body",
        request("POST", "/p", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n",
        status=200,
        forwarded=("abcdefg", "Content-Length: 7"),
    ),
    Exchange(
        "chunked body with trailers",
        request("POST", "/p", "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\nX-Trailer: 1\r\n\r\n",
        status=200,
        withheld=("X-Trailer",),
    ),
    Exchange(
        "empty chunked body",
        request("POST", "/p", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        status=200,
        reached=1,
    ),
    Exchange(
        "chunked body of upper-case hex, pipelined",
        request("POST", "/p", "Transfer-Encoding: chunked") + b"A\r\n0123456789\r\n0\r\n\r\n" + get("/2"),
        methods=("POST", "GET"),
        status=(200, 200),
        reached=2,
    ),
    Exchange("large body", request("POST", "/p", body=b"0123456789" * 50000), status=200, reached=1),
    Exchange("method replaced", get("/method/x"), status=200, forwarded=("OPTIONS /method/x",)),
    Exchange("body withheld", request("POST", "/nobody/x", body=b"data"), status=200, withheld=("data",)),
    Exchange("headers withheld", get("/noheaders/x", "X-One: 1"), status=200, withheld=("X-One",)),
    Exchange("body replaced", request("POST", "/setbody/x", body=b"data"), forwarded=("uri=/setbody/x",)),
    Exchange("body made for a get", get("/setbody/x"), forwarded=("uri=/setbody/x",)),
    Exchange(
        "http 1.0 to the backend", get("/http10/x"), status=200, forwarded=("HTTP/1.0", "Connection: close")
    ),
    Exchange(
        "second backend after an error",
        get("/internal/x"),
        backend={"BACKEND": reply(404, "no", reason="Not Found"), "BACKEND_2": reply(200, "second")},
        status=200,
        body=b"second",
        reached=2,
    ),
    Exchange("file before the backend", get("/try/here"), status=200, body=b"here\n", reached=0),
    Exchange("backend without the file", get("/try/nope?a=b"), status=200, forwarded=("GET /try/nope?a=b",)),
)
def test_passing(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


FIELDS = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        location /defaults {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://@BACKEND@;
        }
        location /set {
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Empty "";
            proxy_set_header Accept-Encoding "";
            proxy_set_header User-Agent "portico test";
            proxy_set_header Connection "";
            proxy_pass http://@BACKEND@;
        }
        location /httphost {
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_pass http://@BACKEND@;
        }
        location /proxyhost {
            proxy_set_header Connection "";
            proxy_set_header Host $proxy_host;
            proxy_set_header X-Port $proxy_port;
            proxy_pass http://@BACKEND@;
        }
        location /close { proxy_set_header Connection close; proxy_pass http://@BACKEND@; }
    }
    """
)
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: http://localhost/before?x=y",
    "Cookie: a=1; b=2",
    "Upgrade-Insecure-Requests: 1",
    "DNT: 1",
    "Cache-Control: max-age=0",
)


@exchanges(
    FIELDS,
    Exchange("as a browser", get("/defaults", *BROWSER), status=200, forwarded=BROWSER),
    Exchange(
        "host of the backend", get("/defaults", host="some.example"), forwarded=("Host: 127.0.0.1:@BACKEND@",)
    ),
    Exchange("connection keep-alive", get("/defaults", "Connection: keep-alive"), withheld=("Connection",)),
    Exchange("keep-alive", get("/defaults", "Keep-Alive: timeout=5"), withheld=("Keep-Alive",)),
    Exchange("te", get("/defaults", "TE: trailers"), withheld=("TE:",)),
    Exchange("upgrade", get("/defaults", "Upgrade: websocket", "Connection: Upgrade"), withheld=("Upgrade",)),
    Exchange("proxy-authorization", get("/defaults", "Proxy-Authorization: Basic x"), status=200, reached=1),
    Exchange(
        "proxy-connection",
        get("/defaults", "Proxy-Connection: keep-alive"),
        status=200,
        withheld=("Proxy-Connection",),
        differs="a hop-by-hop field; nginx forwards it",
    ),
    Exchange(
        "fields that connection names",
        get("/defaults", "Connection: X-Hop, close", "X-Hop: 1", "X-End: 2"),
        status=200,
        forwarded=("X-End: 2",),
        withheld=("X-Hop",),
        differs="RFC 9110 7.6.1: fields named by Connection end at the next hop; nginx forwards them",
    ),
    Exchange(
        "repeated fields", get("/defaults", "X-One: 1", "X-One: 2", "Cookie: a", "Cookie: b"), reached=1
    ),
    Exchange(
        "case of names", get("/defaults", "x-lower: 1", "X-MIXED-case: 2"), forwarded=("X-MIXED-case: 2",)
    ),
    Exchange("empty value", get("/defaults", "X-One:"), status=200, reached=1),
    Exchange("high bytes", lines("GET /defaults HTTP/1.1", "Host: l", "X-One: \xe9"), status=200, reached=1),
    Exchange(
        "authorization", get("/defaults", "Authorization: Basic x"), forwarded=("Authorization: Basic x",)
    ),
    Exchange("range", get("/defaults", "Range: bytes=0-1", "If-Range: x"), forwarded=("Range: bytes=0-1",)),
    Exchange(
        "conditions", get("/defaults", "If-None-Match: x", "If-Modified-Since: y"), status=200, reached=1
    ),
    Exchange(
        "forwarded for",
        get("/set", *BROWSER, host="some.example:81"),
        forwarded=("Host: some.example", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"),
        withheld=("Accept-Encoding", "Mozilla", "X-Empty"),
    ),
    Exchange(
        "forwarded for, appended",
        get("/set", "X-Forwarded-For: 10.0.0.1, 10.0.0.2"),
        forwarded=("X-Forwarded-For: 10.0.0.1, 10.0.0.2, 127.0.0.1",),
    ),
    Exchange(
        "forwarded for, repeated",
        get("/set", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"),
        forwarded=("X-Forwarded-For: 10.0.0.1, 10.0.0.2, 127.0.0.1",),
    ),
    Exchange("client's x-real-ip replaced", get("/set", "X-Real-IP: 9.9.9.9"), withheld=("9.9.9.9",)),
    Exchange("client's host", get("/httphost", host="Some.Example:81"), forwarded=("Host: Some.Example:81",)),
    Exchange("no host", get("/httphost", host="", version="1.0"), status=200, reached=1),
    Exchange(
        "proxy host and port", get("/proxyhost"), forwarded=("Host: 127.0.0.1:@BACKEND@", "X-Port: @BACKEND@")
    ),
    Exchange("connection close", get("/close"), status=200, forwarded=("Connection: close",)),
)
def test_request_fields(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


ANSWERS = Group(
    """
    lingering_timeout 100ms;
    server {
        listen 127.0.0.1:@PORT@;
        proxy_read_timeout 300ms;
        location / { proxy_pass http://@BACKEND@; }
        location /unbuffered { proxy_buffering off; proxy_pass http://@BACKEND@; }
        location /hide {
            proxy_hide_header X-Secret;
            proxy_pass_header Server;
            proxy_pass_header X-Accel-Expires;
            proxy_pass http://@BACKEND@;
        }
        location /dated { proxy_pass_header Date; proxy_pass http://@BACKEND@; }
        location /challenged { proxy_intercept_errors on; error_page 401 /ours; proxy_pass http://@BACKEND@; }
        location /ours { return 200 ours; }
        location /ignore {
            proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering;
            proxy_pass http://@BACKEND@;
        }
        location /smallbuffer {
            proxy_buffer_size 1k;
            proxy_buffers 4 1k;
            proxy_busy_buffers_size 2k;
            proxy_pass http://@BACKEND@;
        }
        location /notemp { proxy_max_temp_file_size 0; proxy_pass http://@BACKEND@; }
        location /streamed { proxy_request_buffering off; proxy_pass http://@BACKEND@; }
        location /inside/ { internal; alias @ROOT@/; }
        location /inside/again { internal; proxy_pass http://@BACKEND_2@; }
        location @inside { return 200 "named $uri"; }
        location /dead { proxy_pass http://@DEAD@; }
        location /charset { proxy_pass http://@BACKEND@; }
        location /rate { limit_rate 0; proxy_pass http://@BACKEND@; }
    }
    """,
    {"file.txt": b"0123456789"},
)
LONG = b"0123456789abcdef" * 12000


@exchanges(
    ANSWERS,
    Exchange("length", get("/"), backend=reply(200, "abc"), status=200, body=b"abc", closed=False),
    Exchange("empty", get("/"), backend=reply(200, ""), status=200, body=b""),
    Exchange("own reason", get("/"), backend=reply(200, "x", reason="Fine By Me"), status=200),
    Exchange(
        "no reason",
        get("/"),
        backend=raw_reply("HTTP/1.1 200", "Content-Length: 1", body=b"x"),
        status=200,
        differs="RFC 9112 section 4 wants the space before an empty reason",
    ),
    Exchange("unknown code", get("/"), backend=reply(299, "x", reason="Odd"), status=299),
    Exchange("error code", get("/"), backend=reply(500, "x", reason="Broken"), status=500, body=b"x"),
    Exchange(
        "503", get("/"), backend=reply(503, "x", "Retry-After: 5"), status=503, has={"Retry-After": "5"}
    ),
    Exchange("401", get("/"), backend=reply(401, "x", "WWW-Authenticate: Basic realm=x"), status=401),
    Exchange(
        "chunked",
        get("/"),
        backend=raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked(b"abc", b"defg")),
        status=200,
        body=b"abcdefg",
        has={"Transfer-Encoding": "chunked"},
    ),
    Exchange(
        "chunked to http 1.0",
        get("/", version="1.0"),
        backend=raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked(b"abc", b"defg")),
        status=200,
        body=b"abcdefg",
        lacks=("Transfer-Encoding",),
        closed=True,
    ),
    Exchange(
        "chunked to http 1.0 with keepalive",
        get("/", "Connection: keep-alive", version="1.0"),
        backend=raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked(b"abc")),
        status=200,
        closed=True,
    ),
    Exchange(
        "chunked with extensions and trailers",
        get("/"),
        backend=raw_reply(
            "HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"3;x=y\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"
        ),
        status=200,
        body=b"abc",
    ),
    Exchange(
        "until the end",
        get("/"),
        backend=[raw_reply("HTTP/1.1 200 OK", "Connection: close", body=b"abc"), Close()],
        status=200,
        body=b"abc",
        has={"Transfer-Encoding": "chunked"},
        closed=False,
    ),
    Exchange(
        "http 1.0 backend",
        get("/"),
        backend=[raw_reply("HTTP/1.0 200 OK", body=b"abc"), Close()],
        status=200,
        body=b"abc",
    ),
    Exchange(
        "until the end, to http 1.0",
        get("/", version="1.0"),
        backend=[raw_reply("HTTP/1.1 200 OK", "Connection: close", body=b"abc"), Close()],
        status=200,
        body=b"abc",
        closed=True,
    ),
    Exchange("http 1.0 client", get("/", version="1.0"), status=200, body=b"hello", closed=True),
    Exchange(
        "head",
        request("HEAD", "/"),
        backend=raw_reply("HTTP/1.1 200 OK", "Content-Length: 1000"),
        status=200,
        has={"Content-Length": "1000"},
        closed=False,
    ),
    Exchange(
        "head of a chunked answer",
        request("HEAD", "/"),
        backend=raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
        status=200,
    ),
    Exchange("head of no length", request("HEAD", "/"), backend=raw_reply("HTTP/1.1 200 OK"), status=200),
    Exchange("204", get("/"), backend=raw_reply("HTTP/1.1 204 No Content"), status=204, closed=False),
    Exchange("304", get("/"), backend=raw_reply("HTTP/1.1 304 Not Modified", 'ETag: "x"'), status=304),
    Exchange(
        "304 with a length",
        get("/"),
        backend=raw_reply("HTTP/1.1 304 Not Modified", "Content-Length: 5"),
        status=304,
        closed=False,
    ),
    Exchange("redirect", get("/"), backend=reply(302, "", "Location: http://other.example/x"), status=302),
    Exchange("long", get("/"), backend=reply(200, LONG), status=200, closed=False),
    Exchange("long, unbuffered", get("/unbuffered"), backend=reply(200, LONG), status=200, closed=False),
    Exchange("long, no temporary file", get("/notemp"), backend=reply(200, LONG), status=200),
    Exchange("long, small buffers", get("/smallbuffer"), backend=reply(200, LONG), status=200),
    Exchange(
        "long and chunked, unbuffered",
        get("/unbuffered"),
        backend=raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=chunked(LONG, LONG)),
        status=200,
    ),
    Exchange(
        "in pieces, unbuffered",
        get("/unbuffered"),
        backend=[raw_reply("HTTP/1.1 200 OK", "Content-Length: 6", body=b"abc"), Wait(0.05), b"def"],
        status=200,
        body=b"abcdef",
    ),
    Exchange(
        "head in pieces",
        get("/"),
        backend=[b"HTTP/1.1 20", Wait(0.02), b"0 OK\r\nContent-Le", Wait(0.02), b"ngth: 1\r\n\r", b"\nx"],
        status=200,
        body=b"x",
    ),
    Exchange(
        "body longer than its length", get("/"), backend=[reply(200, "abc") + b"more", Close()], status=200
    ),
    Exchange("request streamed", request("POST", "/streamed", body=b"data"), status=200, forwarded=("data",)),
    Exchange(
        "chunked request streamed",
        [
            request("POST", "/streamed", "Transfer-Encoding: chunked") + b"4\r\ndata\r\n",
            Pause(),
            b"0\r\n\r\n",
        ],
        status=200,
        forwarded=("data", "Transfer-Encoding: chunked"),
    ),
    Exchange(
        "interim answers",
        get("/"),
        backend=b"HTTP/1.1 100 Continue\r\n\r\n" + reply(200, "x"),
        status=200,
        body=b"x",
        differs="interim answers are passed over (RFC 9110 15.2); nginx 1.22 takes the first as final",
    ),
)
def test_bodies(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


def _headed(id: str, *headers: str, target: str = "/", **expected: object) -> Exchange:
    has, lacks = expected.get("has", {}), expected.get("lacks", ())
    assert isinstance(has, dict) and isinstance(lacks, tuple)
    return Exchange(
        id,
        get(target),
        backend=reply(200, "hello", *headers),
        status=200,
        has=has,
        lacks=lacks,
        differs=str(expected.get("differs", "")),
    )


@exchanges(
    ANSWERS,
    _headed(
        "many",
        "X-One: 1",
        "X-Two: 2",
        "Content-Type: text/x; charset=utf-8",
        "Vary: Accept",
        has={"X-One": "1"},
    ),
    _headed("no content type", lacks=("Content-Type",)),
    _headed("no date that is let through", target="/dated", lacks=("Date",)),
    _headed("a date that is let through", "Date: then", target="/dated", has={"Date": "*"}),
    Exchange(
        "challenges of a page in place of a 401", get("/challenged"),
        backend=reply(401, "theirs", "WWW-Authenticate: Basic", "X-One: 1"), status=401,
        has={"WWW-Authenticate": "Basic"}, lacks=("X-One",), body=b"ours",
    ),
    _headed("repeated", "Set-Cookie: a=1", "Set-Cookie: b=2", has={"Set-Cookie": "a=1"}),
    _headed("case of names", "x-lower: 1", has={"x-lower": "1"}),
    _headed(
        "own server and date", "Server: theirs", "Date: Thu, 01 Jan 1970 00:00:00 GMT", has={"Server": "*"}
    ),
    _headed("connection close", "Connection: close", has={"Connection": "keep-alive"}),
    _headed("keep-alive", "Keep-Alive: timeout=5", "Connection: keep-alive", lacks=("Keep-Alive",)),
    _headed(
        "fields about caching",
        "Cache-Control: private",
        "Expires: Thu, 01 Jan 2037 00:00:00 GMT",
        "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT",
        'ETag: W/"x"',
        has={"ETag": 'W/"x"'},
    ),
    _headed("accept-ranges", "Accept-Ranges: bytes", has={"Accept-Ranges": "bytes"}),
    Exchange(
        "upgrade without switching",
        get("/"),
        backend=reply(200, "hello", "Upgrade: h2c"),
        status=200,
        lacks=("Upgrade",),
        differs="a hop-by-hop field; nginx sends it on",
    ),
    Exchange(
        "trailer field",
        get("/"),
        backend=reply(200, "hello", "Trailer: X-T"),
        status=200,
        lacks=("Trailer",),
        differs="it announces what is not sent on; nginx sends it all the same",
    ),
    _headed("proxy-authenticate", "Proxy-Authenticate: Basic"),
    _headed("hidden", "X-Secret: 1", "X-Open: 2", target="/hide", lacks=("X-Secret",), has={"X-Open": "2"}),
    _headed("hidden by default", "X-Pad: 1", "X-Accel-Expires: 1", lacks=("X-Pad", "X-Accel-Expires")),
    _headed("passed when told", "X-Accel-Expires: 1", target="/hide", has={"X-Accel-Expires": "1"}),
    _headed("empty value", "X-One:", has={"X-One": ""}),
    _headed("blanks", "X-One:    1   ", has={"X-One": "1"}),
    _headed("status field", "Status: 404 Not Found", has={"Status": "404 Not Found"}),
    _headed("link and csp", "Link: </x>; rel=preload", "Content-Security-Policy: default-src 'self'"),
    _headed(
        "accel charset",
        "X-Accel-Charset: koi8-r",
        "Content-Type: text/html",
        has={"Content-Type": "text/html"},  # no charset is known by that name
    ),
    _headed("accel buffering", "X-Accel-Buffering: no", lacks=("X-Accel-Buffering",)),
    _headed("accel rate", "X-Accel-Limit-Rate: 100000", lacks=("X-Accel-Limit-Rate",)),
    _headed("accel rate without end", "X-Accel-Limit-Rate: " + "9" * 400, lacks=("X-Accel-Limit-Rate",)),
    _headed("no accel rate", "X-Accel-Limit-Rate: 10x", lacks=("X-Accel-Limit-Rate",)),
    Exchange(
        "accel redirect to a file",
        get("/x"),
        backend=reply(
            200, "theirs", "X-Accel-Redirect: /inside/file.txt", "Content-Type: text/own", "X-One: 1"
        ),
        status=200,
        body=b"0123456789",
        has={"Content-Type": "text/own"},
    ),
    Exchange(
        "accel redirect keeps some fields",
        get("/x"),
        backend=reply(
            200,
            "theirs",
            "X-Accel-Redirect: /inside/file.txt",
            "Set-Cookie: a=1",
            "Cache-Control: private",
            "Expires: Thu, 01 Jan 2037 00:00:00 GMT",
            "Content-Disposition: attachment",
            "Content-Language: de",
            'ETag: "theirs"',
        ),
        status=200,
        has={"Set-Cookie": "a=1"},
    ),
    Exchange(
        "accel redirects, one after the other",
        get("/x"),
        backend={
            "BACKEND": reply(200, "theirs", "X-Accel-Redirect: /inside/again", "Set-Cookie: a=1", "Cache-Control: private",
                             "Content-Type: text/own"),
            "BACKEND_2": reply(200, "theirs", "X-Accel-Redirect: /inside/file.txt", "Set-Cookie: b=2", "Cache-Control: no-cache"),
        },
        status=200,
        body=b"0123456789",
        reached=2,
    ),
    Exchange(
        "accel redirect to an upstream that has a type itself",
        get("/x"),
        backend={
            "BACKEND": reply(200, "theirs", "X-Accel-Redirect: /inside/again", "Content-Type: text/own"),
            "BACKEND_2": reply(200, "again", "Content-Type: text/again"),
        },
        has={"Content-Type": "text/again"},
        reached=2,
    ),
    Exchange(
        "accel redirect to an upstream that has none",
        get("/x"),
        backend={
            "BACKEND": reply(200, "theirs", "X-Accel-Redirect: /inside/again", "Content-Type: text/own"),
            "BACKEND_2": reply(200, "again"),
        },
        has={"Content-Type": "text/own"},
        reached=2,
    ),
    Exchange(
        "accel redirect, range",
        get("/x", "Range: bytes=2-3"),
        backend=reply(200, "theirs", "X-Accel-Redirect: /inside/file.txt"),
        status=206,
        body=b"23",
    ),
    Exchange(
        "accel redirect to a name",
        get("/x"),
        backend=reply(200, "theirs", "X-Accel-Redirect: @inside"),
        status=200,
        body=b"named /x",
    ),
    Exchange(
        "accel redirect to what is missing",
        get("/x"),
        backend=reply(200, "theirs", "X-Accel-Redirect: /inside/nope"),
        status=404,
    ),
    Exchange(
        "accel redirect ignored",
        get("/ignore"),
        backend=reply(200, "theirs", "X-Accel-Redirect: /inside/file.txt"),
        status=200,
        body=b"theirs",
    ),
    Exchange(
        "accel redirect after a post",
        request("POST", "/x", body=b"data"),
        backend=reply(200, "theirs", "X-Accel-Redirect: /inside/file.txt"),
        status=200,
        body=b"0123456789",
    ),
)
def test_answer_fields(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


ACCEL = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        error_log unsafe.log;
        proxy_set_header Connection "";
        location /x { proxy_pass http://@BACKEND@; }
        location /paged { error_page 404 =202 /page; proxy_pass http://@BACKEND@; }
        location /intercepted { proxy_intercept_errors on; error_page 404 =202 /page; proxy_pass http://@BACKEND@; }
        location /checked { auth_request /x; alias @ROOT@/h; }
        location /files/ { internal; alias @ROOT@/; }
        location /uri/ { internal; return 200 "[$uri|$args]"; }
        location /proxied/ { internal; proxy_pass http://@BACKEND_2@; }
        location ~ ^/url/(https?)://([^/]+)(/.*) {
            internal; proxy_set_header Connection ""; proxy_set_header X-Url "$1 $2"; proxy_pass http://@BACKEND_2@$3;
        }
        location /refused { internal; return 403; }
        location /again { proxy_intercept_errors on; error_page 404 /second; error_page 403 @third; proxy_pass http://@BACKEND@; }
        location /closed { deny all; error_page 403 /second; }
        location = /second { proxy_pass http://@BACKEND_2@; }
        location @third { proxy_pass http://@BACKEND_2@; }
        location /page { default_type text/page; return 200 "page"; }
        location @named { return 200 "named $request_method [$uri|$args]"; }
    }
    """,
    {"h": b"h", "h#1.txt": b"number", "h?1.txt": b"question"},
)
ACCEL_VALUES = (
    "/files/h#1.txt", "/files/h%231.txt", "/files/h?1.txt", "/files/h%3F1.txt", "/files/none#1.txt",
    "/uri/a#b?c=d", "/uri/a?c=d#e", "/uri/a?", "/uri/a?b?c", "/uri/a?%00..%zz/../", "/uri/#", "?a", "#a",
    "/uri/a%20b", "/uri/a b", "/uri/%ff", "/uri/\xff", "/uri/%25%3f", "/uri/%zz", "/uri/%", "/uri/a%4", "/uri/a%g1", "%2furi/a",
    "//uri//a", "/uri//a", "/uri/./a", "/uri/a/.", "/uri/%2e/", "/uri/..a", "/uri/a..", "/uri/a../b", "/uri/...", "/uri/..;/a",
    "/..", "/../x", "/uri/..", "/uri/../uri/a", "/uri/%2e%2e/uri/a", "/uri/%2e.", "/uri/..%2fx", "/uri/%2e%2e?x", "/uri/a/../../../x",
    "..", "../x", "a/../b", "./..", "/uri/%00", "/uri/a%00b", "", " ", "rel", "rel/a", ".", "http://h.example/x", "@named",
    "@none", "@", "@named?a=b", "/proxied/a%20b%2fc%23?d%20e", "/proxied/a#b", "/url/https://h.example/a//b?c=d",
)  # fmt: skip
UNSAFE = ("/uri/a/..", "", "@named", "/files/h", "/files/none", "/refused")


@exchanges(
    ACCEL,
    *(
        Exchange(repr(value), get("/x"), backend={"BACKEND": reply(200, "", f"X-Accel-Redirect: {value}"), "BACKEND_2": reply()})
        for value in ACCEL_VALUES
    ),
    Exchange(
        "up before a question mark", get("/x"), backend=reply(200, "theirs", "X-Accel-Redirect: /uri/..?"), status=404,
        differs="it goes up like any other; nginx misses this one",
    ),
    *(
        Exchange(
            f"{value!r} and what is kept of the answer", get("/x"),
            backend=reply(200, "theirs", f"X-Accel-Redirect: {value}", "Content-Type: text/own", "Set-Cookie: a=b"),
        )
        for value in UNSAFE
    ),
    *(
        Exchange(
            f"{value!r} where there is an error page", get("/paged"),
            backend=reply(200, "theirs", f"X-Accel-Redirect: {value}", "Content-Type: text/own", "Set-Cookie: a=b"),
        )
        for value in UNSAFE
    ),
    *(
        Exchange(f"{value!r} after a post", request("POST", "/x", body=b"1"), backend=reply(200, "", f"X-Accel-Redirect: {value}"))
        for value in UNSAFE
    ),
    *(
        Exchange(f"{value!r} of a subrequest", get("/checked"), backend=reply(200, "", f"X-Accel-Redirect: {value}"))
        for value in UNSAFE
    ),
    Exchange(
        "an error page comes first", get("/intercepted"), backend=reply(404, "theirs", "X-Accel-Redirect: /files/h"), status=202,
        body=b"page",
    ),
    Exchange("whatever the status", get("/x"), backend=reply(404, "theirs", "X-Accel-Redirect: /files/h"), status=200, body=b"h"),
    *(
        Exchange(
            f"what is logged of {value!r}", get("/x"), backend=reply(200, "theirs", f"X-Accel-Redirect: {value}"), status=404,
            log="unsafe.log", logged=f'unsafe URI "{shown}" was detected while reading response header from upstream, client: ',
            mask=(r"^\d{4}/\S+ \S+ ", r"\d+#\d+: \*\d+"),
        )
        for value, shown in (("", ""), ("/uri/%2e%2e?x", "/uri/.."))
    ),
)
def test_accel_redirect(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


BODILESS = "a GET without a body, which nginx passes on with it"


@exchanges(
    ACCEL,
    Exchange(
        "to an error page", request("POST", "/again", body=b"data"),
        backend={"BACKEND": reply(404), "BACKEND_2": reply(200, "shown")}, body=b"shown", status=404,
        forwarded=("GET /second",), withheld=("Content-Length", "data"), differs=BODILESS,
    ),
    Exchange(
        "to an error page that is a name", request("POST", "/again", body=b"data"),
        backend={"BACKEND": reply(403), "BACKEND_2": reply(200, "shown")}, forwarded=("POST /again", "Content-Length: 4"),
    ),
    Exchange(
        "to an error page, of a large body that nobody has read", request("POST", "/closed", body=b"x" * 100_000) + get("/closed"),
        methods=("GET", "GET"), backend={"BACKEND_2": reply(200, "shown")}, status=(403, 403), closed=False,
        forwarded=("GET /second",), withheld=("Content-Length", "xxx"), differs=BODILESS,
    ),
    Exchange(
        "in chunks to an error page",
        request("POST", "/again", "Transfer-Encoding: chunked") + b"4\r\ndata\r\n0\r\n\r\n" + get("/closed"),
        methods=("GET", "GET"), backend={"BACKEND": reply(404), "BACKEND_2": reply(200, "shown")}, status=(404, 403),
        forwarded=("GET /second",), withheld=("Content-Length", "Transfer-Encoding", "data"), differs=BODILESS,
    ),
    Exchange(
        "to where X-Accel-Redirect leads", request("POST", "/x", body=b"data"),
        backend={"BACKEND": reply(200, "", "X-Accel-Redirect: /proxied/a"), "BACKEND_2": reply(200, "shown")}, body=b"shown",
        forwarded=("GET /proxied/a",), withheld=("Content-Length", "data"), differs=BODILESS,
    ),
    Exchange(
        "to a name", request("POST", "/x", body=b"data"),
        backend={"BACKEND": reply(200, "", "X-Accel-Redirect: @third"), "BACKEND_2": reply(200, "shown")}, body=b"shown",
        forwarded=("Content-Length: 4",),
    ),
)
def test_what_becomes_of_a_body(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    ANSWERS,
    Exchange("refused", get("/dead"), status=502, closed=False),
    Exchange("refused, post", request("POST", "/dead", body=b"x"), status=502),
    Exchange("closed at once", get("/"), backend=[Close()], status=502, reached=1),
    Exchange("reset at once", get("/"), backend=[Reset()], status=502, reached=1),
    Exchange("silent", get("/"), backend=[Wait(0.5)], status=504, reached=1),
    Exchange("closed in the head", get("/"), backend=[b"HTTP/1.1 200 OK\r\nX-One", Close()], status=502),
    Exchange(
        "no http",
        get("/"),
        backend=[b"hello there\n", Close()],
        status=502,
        differs="an answer must have a status line; nginx takes it for HTTP/0.9 and sends it on as it is",
    ),
    Exchange(
        "no http, and no end of a line",
        get("/"),
        backend=[b"\x15\x03\x01\0\x02", Wait(0.5)],
        status=502,
        differs="an answer must have a status line; nginx takes it for HTTP/0.9 and sends it on as it is",
    ),
    Exchange(
        "bad status line",
        get("/"),
        backend=[b"HTTP/1.1 abc\r\n\r\n", Close()],
        status=502,
        differs="an answer must have a status line; nginx takes it for HTTP/0.9 and sends it on as it is",
    ),
    Exchange("bad header", get("/"), backend=raw_reply("HTTP/1.1 200 OK", "Bad Header: 1"), status=502),
    Exchange("zero in a header", get("/"), backend=raw_reply("HTTP/1.1 200 OK", "X: a\0b"), status=502),
    Exchange(
        "two lengths",
        get("/"),
        backend=raw_reply("HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2", body=b"xy"),
        status=502,
        differs="refused since nginx 1.23.0",
    ),
    Exchange(
        "bad length",
        get("/"),
        backend=raw_reply("HTTP/1.1 200 OK", "Content-Length: x"),
        status=502,
        differs="no recoverable framing (RFC 9112 6.3); nginx sends the head on and then nothing",
    ),
    Exchange(
        "length and chunked",
        get("/"),
        backend=raw_reply(
            "HTTP/1.1 200 OK", "Content-Length: 1", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
        ),
        status=502,
        differs="refused since nginx 1.23.0",
    ),
    Exchange(
        "head too large", get("/smallbuffer"), backend=reply(200, "x", "X-One: " + "a" * 2000), status=502
    ),
    Exchange(
        "cut in the body", get("/"), backend=[reply(200, "abcdef")[:-3], Close()], status=200, closed=True
    ),
    Exchange(
        "cut in a chunk",
        get("/"),
        backend=[raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"5\r\nab"), Close()],
        status=200,
        closed=True,
    ),
    Exchange(
        "bad chunk",
        get("/"),
        backend=[
            raw_reply("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n"),
            Wait(0.05),  # time to send the head on: without it nginx closes before it has sent anything
            b"zz\r\ncd",
            Close(),
        ],
        status=200,
        closed=True,
    ),
    Exchange(
        "silent in the body",
        get("/"),
        backend=[reply(200, "abcdef")[:-3], Wait(0.5)],
        status=200,
        body=b"abc",
        closed=True,
        differs="what came is sent on before the connection ends; nginx drops what its buffers hold",
    ),
    Exchange("goes on after an error", get("/dead") + get("/"), methods=("GET", "GET"), status=(502, 200)),
)
def test_failures(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


REWRITES = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        server_name main.example;
        location /default/ { proxy_pass http://@BACKEND@/inner/; }
        location /nouri/ { proxy_pass http://@BACKEND@; }
        location /off/ { proxy_redirect off; proxy_pass http://@BACKEND@/inner/; }
        location /own/ {
            proxy_pass http://@BACKEND@/inner/;
            proxy_redirect http://one.example/ /one/;
            proxy_redirect default;
            proxy_redirect ~^http://two\.example(:\d+)?/(.+)$ http://$host/two/$2;
            proxy_redirect ~*^HTTP://THREE /three;
            proxy_redirect http://$host/four /4;
        }
        location /variable/ {
            proxy_redirect http://x.example/ $scheme://$host:$server_port/;
            proxy_pass http://@BACKEND@/inner/;
        }
        location /cookie/ {
            proxy_cookie_domain inner.example outer.example;
            proxy_cookie_domain ~\.(\w+)\.local$ .$1.example;
            proxy_cookie_domain .dotted.$host .out.example;
            proxy_cookie_path /inner/ /cookie/;
            proxy_cookie_path ~^/re/(.*)$ /regex/$1;
            proxy_cookie_flags session secure httponly samesite=strict;
            proxy_cookie_flags varied $arg_f $arg_g $none;
            proxy_cookie_flags ~^un nosecure nohttponly nosamesite;
            proxy_pass http://@BACKEND@/inner/;
        }
        set $none "";
        location /cookieoff/ {
            proxy_cookie_domain off;
            proxy_cookie_path off;
            proxy_pass http://@BACKEND@/inner/;
        }
    }
    """
)


def _redirected(location: str, becomes: str, at: str = "/default/", field: str = "Location") -> Exchange:
    answer = reply(302 if field == "Location" else 200, "", f"{field}: {location}")
    return Exchange(f"{at} {field} {location}", get(f"{at}x"), backend=answer, has={field: becomes})


def _cookie(cookie: str, becomes: str, at: str = "/cookie/") -> Exchange:
    answer = reply(200, "", f"Set-Cookie: {cookie}")
    return Exchange(f"{at} {cookie}", get(f"{at}x"), backend=answer, has={"Set-Cookie": becomes})


@exchanges(
    REWRITES,
    Exchange(
        "default, address of the backend",
        get("/default/x"),
        backend=reply(301, "", "Location: http://@BACKEND@/inner/y"),
        has={"Location": "http://localhost:@PORT@/default/y"},
    ),
    Exchange(
        "default without a uri",
        get("/nouri/x"),
        backend=reply(301, "", "Location: http://@BACKEND@/nouri/y"),
        has={"Location": "http://localhost:@PORT@/nouri/y"},
    ),
    Exchange(
        "off",
        get("/off/x"),
        backend=reply(301, "", "Location: http://@BACKEND@/inner/y"),
        has={"Location": "http://127.0.0.1:@BACKEND@/inner/y"},
    ),
    _redirected("/inner/y", "/inner/y"),
    _redirected("relative", "relative"),
    _redirected("http://one.example/y", "http://localhost:@PORT@/one/y", "/own/"),
    _redirected("http://127.0.0.1/inner/y", "http://127.0.0.1/inner/y"),
    _redirected("http://two.example:99/y/z", "http://localhost/two/y/z", "/own/"),
    _redirected("http://three.example/y", "http://localhost:@PORT@/three", "/own/"),
    _redirected("http://localhost/four/y", "http://localhost:@PORT@/4/y", "/own/"),
    _redirected("http://none.example/y", "http://none.example/y", "/own/"),
    _redirected("http://x.example/y", "http://localhost:@PORT@/y", "/variable/"),
    _redirected("0; url=http://one.example/y", "0; url=/one/y", "/own/", "Refresh"),
    _cookie("varied=1; Path=/a", "varied=1; Path=/a; Secure; SameSite=Lax", "/cookie/?f=SECURE&g=samesite=lax&x="),
    _cookie("varied=1; Path=/a", "varied=1; Path=/a", "/cookie/?f=nonsense&x="),
    _cookie("varied=1", "varied=1; SameSite=Strict", "/cookie/?f=samesite=none&g=samesite=strict&x="),
    _cookie("a=1; Domain=.inner.example", "a=1; Domain=.outer.example"),
    _cookie("a=1; Domain=dotted.localhost", "a=1; Domain=out.example"),
    _cookie("a=1; Domain=.Dotted.localhost", "a=1; Domain=.out.example"),
    _cookie("a=1; Domain=..inner.example", "a=1; Domain=..inner.example"),
    _cookie("a=1; Domain=inner.example; Path=/inner/x", "a=1; Domain=outer.example; Path=/cookie/x"),
    _cookie("a=1; domain=other.example; path=/other", "a=1; domain=other.example; path=/other"),
    _cookie("a=1; domain=.sub.local", "a=1; domain=.sub.example"),
    _cookie("a=1; path=/re/x; HttpOnly", "a=1; path=/regex/x; HttpOnly"),
    _cookie("session=1; Path=/x", "session=1; Path=/x; Secure; HttpOnly; SameSite=Strict"),
    _cookie("un=1; Secure; HttpOnly; SameSite=Lax", "un=1"),
    _cookie("a=1; Path=/inner/", "a=1; Path=/inner/", "/cookieoff/"),
)
def test_rewriting(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


TUNNELS = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        location /ws {
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 300ms;
            proxy_pass http://@BACKEND@;
        }
        location /plain {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://@BACKEND@;
        }
    }
    """
)
BOUND = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        proxy_bind 127.0.0.3;
        location /inherited { proxy_pass http://127.0.0.1:@PORT_2@; }
        location /own { proxy_bind 127.0.0.2; proxy_pass http://127.0.0.1:@PORT_2@; }
        location /off { proxy_bind off; proxy_pass http://127.0.0.1:@PORT_2@; }
        location /variable { proxy_bind $arg_a; proxy_pass http://127.0.0.1:@PORT_2@; }
        location /foreign { proxy_bind 203.0.113.77; proxy_pass http://127.0.0.1:@PORT_2@; }
        location /family { proxy_bind ::1; proxy_pass http://127.0.0.1:@PORT_2@; }
        location /unix { proxy_bind 127.0.0.2; proxy_pass http://unix:@BACKEND_UNIX@; }
        location /transparent { proxy_bind 127.0.0.4 transparent; proxy_pass http://127.0.0.1:@PORT_2@; }
        location /foreignclient { proxy_bind $arg_a transparent; proxy_pass http://127.0.0.1:@PORT_2@; }
    }
    server {
        listen 127.0.0.1:@PORT_2@;
        location / { return 200 $remote_addr; }
    }
    """
)


@exchanges(
    BOUND,
    Exchange("inherited", get("/inherited"), status=200, body=b"127.0.0.3"),
    Exchange("the location's own", get("/own"), status=200, body=b"127.0.0.2"),
    Exchange("off", get("/off"), status=200, body=b"127.0.0.1"),
    Exchange("variable", get("/variable?a=127.0.0.5"), status=200, body=b"127.0.0.5"),
    Exchange("an empty variable binds to nothing", get("/variable"), status=200, body=b"127.0.0.1"),
    *(
        Exchange(f"no address: {text}", get(f"/variable?a={text}"), status=200, body=b"127.0.0.1")
        for text in ("x", "127.0.0.5:", "127.0.0.5:0", "127.0.0.5:65536", "127.0.0.5:x", "[::1", "[::1]:", "127.0.0", "[::1]x", "[]")
    ),
    Exchange("not an address of ours", get("/foreign"), status=500),
    Exchange("not one by a variable", get("/variable?a=203.0.113.77"), status=500),
    Exchange("of another family", get("/family"), status=500),
    Exchange("another family by a variable", get("/variable?a=::1"), status=500),
    Exchange(
        "another family in brackets", get("/variable?a=[::1]"), status=500,
        differs="this nginx takes brackets with a port only, newer ones without, too",
    ),
    Exchange("a Unix socket has no such address", get("/unix"), status=500, reached=0),
    Exchange("transparent", get("/transparent"), status=200, body=b"127.0.0.4"),
    Exchange("transparent by a variable", get("/foreignclient?a=127.0.0.6"), status=200, body=b"127.0.0.6"),
)
def test_bound_connections(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
SWITCH = raw_reply(
    "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "X-One: 1"
)


@exchanges(
    TUNNELS,
    Exchange(
        "both ways",
        [get("/ws", *UPGRADE), Read(), b"ping", Until(b"ping"), b"again", Until(b"again"), Shut()],
        backend=[SWITCH, Echo()],
        status=101,
        tunnel=b"pingagain",
        forwarded=("Upgrade: websocket", "Connection: upgrade"),
        closed=True,
    ),
    Exchange(
        "bytes right behind the head",
        [get("/ws", *UPGRADE), Read(), Until(b"greeting"), Shut()],
        backend=[SWITCH + b"greeting", Echo()],
        status=101,
        tunnel=b"greeting",
    ),
    Exchange(
        "ended by the backend",
        [get("/ws", *UPGRADE), Read()],
        backend=[SWITCH + b"bye", Close()],
        status=101,
        tunnel=b"bye",
        closed=True,
    ),
    Exchange("silent for too long", [get("/ws", *UPGRADE), Read()], backend=[SWITCH, Wait(0.6)], closed=True),
    Exchange("refused", get("/ws", *UPGRADE), backend=reply(403, "no"), status=403, body=b"no", closed=False),
    Exchange(
        "not asked for",
        get("/plain"),
        backend=[SWITCH, Close()],
        status=502,
        differs="nobody asked to switch; nginx sends the 101 on and the connection hangs",
    ),
    Exchange(
        "asked for and not passed on", get("/plain", *UPGRADE), status=200, withheld=("Upgrade: websocket",)
    ),
)
def test_upgrade(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


NEXT = Group(
    """
    upstream two { server @BACKEND_1@ max_fails=0; server @BACKEND_2@ max_fails=0; }
    upstream dead { server @DEAD@ max_fails=0; server @BACKEND_1@ max_fails=0; }
    upstream alldead { server @DEAD@ max_fails=0; server @DEAD_2@ max_fails=0; }
    upstream spare { server @DEAD@; server @BACKEND_1@ backup; }
    upstream down { server @BACKEND_1@ down; server @BACKEND_2@ down; }
    server {
        listen 127.0.0.1:@PORT@;
        add_header X-Upstreams "$upstream_addr | $upstream_status" always;
        location /default { proxy_pass http://two; }
        location /codes {
            proxy_next_upstream error http_500 http_503 http_404 http_403 http_429;
            proxy_pass http://two;
        }
        location /invalid { proxy_next_upstream invalid_header; proxy_pass http://two; }
        location /timeout { proxy_next_upstream timeout; proxy_read_timeout 100ms; proxy_pass http://two; }
        location /notimeout { proxy_next_upstream error; proxy_read_timeout 100ms; proxy_pass http://two; }
        location /off { proxy_next_upstream off; proxy_pass http://two; }
        location /nonidempotent { proxy_next_upstream error http_500 non_idempotent; proxy_pass http://two; }
        location /tries {
            proxy_next_upstream error http_500;
            proxy_next_upstream_tries 1;
            proxy_pass http://two;
        }
        location /dead { proxy_pass http://dead; }
        location /alldead { proxy_pass http://alldead; }
        location /spare { proxy_pass http://spare; }
        location /down { proxy_pass http://down; }
        location /intercept {
            proxy_next_upstream http_500;
            proxy_intercept_errors on;
            error_page 500 =200 /page;
            proxy_pass http://two;
        }
        location = /page { return 200 "page $upstream_status"; }
    }
    """
)
BROKEN = reply(500, "broken", reason="Internal Server Error")


def _turns(id: str, target: str, first: object, status: int, reached: int, **more: str) -> Exchange:
    assert isinstance(first, (bytes, list))
    sent = request(more.get("method", "GET"), target, body=more.get("body", "").encode())
    answers = Turns((first, reply(200, "second")))
    # Which of the two peers is first depends on the rows before; test_upstream.py is about that.
    return Exchange(id, sent, backend=answers, status=status, reached=reached, mask=(r"BACKEND_\d",))


@exchanges(
    NEXT,
    _turns("first answers", "/default", reply(200, "first"), 200, 1),
    _turns("closed", "/default", [Close()], 200, 2),
    _turns("reset", "/default", [Reset()], 200, 2),
    _turns("closed, post", "/default", [Close()], 502, 1, method="POST", body="x"),
    _turns("closed, put", "/default", [Close()], 200, 2, method="PUT", body="x"),
    _turns("closed, patch", "/default", [Close()], 502, 1, method="PATCH", body="x"),
    _turns("closed, delete", "/default", [Close()], 200, 2, method="DELETE"),
    _turns("closed, post allowed", "/nonidempotent", [Close()], 200, 2, method="POST", body="x"),
    _turns("500", "/default", BROKEN, 500, 1),
    _turns("500 tried again", "/codes", BROKEN, 200, 2),
    _turns("503 tried again", "/codes", reply(503, "x"), 200, 2),
    _turns("404 tried again", "/codes", reply(404, "x"), 200, 2),
    _turns("429 tried again", "/codes", reply(429, "x"), 200, 2),
    _turns("502 not tried again", "/codes", reply(502, "x"), 502, 1),
    _turns("500, post", "/codes", BROKEN, 500, 1, method="POST", body="x"),
    _turns("500, post allowed", "/nonidempotent", BROKEN, 200, 2, method="POST", body="x"),
    _turns("invalid header", "/invalid", [b"HTTP/1.1 200 OK\r\nBad Header: x\r\n\r\n", Close()], 200, 2),
    _turns("timeout", "/timeout", [Wait(0.3)], 200, 2),
    _turns("timeout not tried again", "/notimeout", [Wait(0.3)], 504, 1),
    _turns("off", "/off", [Close()], 502, 1),
    _turns("one try", "/tries", BROKEN, 500, 1),
    _turns("cut in the body is not tried again", "/default", [reply(200, "abcdef")[:-3], Close()], 200, 1),
    Exchange("both fail", get("/default"), backend=[Close()], status=502, reached=2, mask=(r"BACKEND_\d",)),
    Exchange("both answer 500", get("/codes"), backend=BROKEN, status=500, reached=2, mask=(r"BACKEND_\d",)),
    Exchange("refused", get("/dead"), status=200, reached=1),
    Exchange("refused, post", request("POST", "/dead", body=b"x"), status=200, reached=1),
    Exchange("all refused", get("/alldead"), status=502),
    Exchange("backup", get("/spare"), status=200, reached=1),
    Exchange("all down", get("/down"), status=502, reached=0),
    Exchange(
        "error page after all",
        get("/intercept"),
        backend=BROKEN,
        status=200,
        reached=2,
        mask=(r"BACKEND_\d",),
    ),
)
def test_next_upstream(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
