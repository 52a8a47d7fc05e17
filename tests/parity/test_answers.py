"""Answers that a configuration states itself: return, error_page, add_header."""

from __future__ import annotations

from tests.parity.backend import reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

RETURNS = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        server_name main.example;
        location /ok { return 200 "text"; }
        location /empty { return 200; }
        location /emptytext { return 200 ""; }
        location /html { default_type text/html; return 200 "<b>$arg_a</b>"; }
        location /json { add_header Content-Type application/json; return 200 '{"a":1}'; }
        location /201 { return 201 "made"; }
        location /204 { return 204; }
        location /204text { return 204 "none"; }
        location /301 { return 301 /there; }
        location /301full { return 301 https://other.example/x?y=z; }
        location /301own { return 301 $scheme://$host$request_uri; }
        location /302 { return 302 there; }
        location /303 { return 303 /x; }
        location /307 { return 307 /x; }
        location /308 { return 308 /x; }
        location /304 { return 304; }
        location /url { return http://only.example/; }
        location /301none { return 301; }
        location /400 { return 400; }
        location /403 { return 403; }
        location /403text { return 403 "no\n"; }
        location /404 { return 404; }
        location /405 { return 405; }
        location /408 { return 408; }
        location /410 { return 410; }
        location /418 { return 418; }
        location /429 { return 429; }
        location /444 { return 444; }
        location /451 { return 451 "law"; }
        location /500 { return 500; }
        location /502 { return 502; }
        location /503 { return 503; }
        location /599 { return 599 "own"; }
        location /tokens { server_tokens off; return 404; }
        location /quoted { return 200 'a "b" \'c\' ${arg_a}x\t\n'; }
        location /dollar { return 200 "$arg_a$arg_b-$http_x_none."; }
    }
    """
)


def _returns(code: int, path: str = "") -> Exchange:
    return Exchange(path or str(code), get(f"/{path or code}"), status=code)


@exchanges(
    RETURNS,
    Exchange("text", get("/ok"), status=200, body=b"text", has={"Content-Type": "text/plain"}),
    Exchange("text, head", request("HEAD", "/ok"), status=200, has={"Content-Length": "4"}),
    Exchange("text, post", request("POST", "/ok", body=b"unread"), status=200, body=b"text"),
    Exchange("nothing", get("/empty"), status=200, body=b""),
    Exchange("empty text", get("/emptytext"), status=200, body=b""),
    Exchange("html", get("/html?a=1"), has={"Content-Type": "text/html"}, body=b"<b>1</b>"),
    Exchange("content type added", get("/json"), status=200),
    _returns(201),
    _returns(204),
    _returns(204, "204text"),
    Exchange("301", get("/301"), status=301, has={"Location": "http://localhost:@PORT@/there"}),
    Exchange("301, head", request("HEAD", "/301"), status=301),
    Exchange("301, http 1.0 without host", get("/301", host="", version="1.0"), status=301),
    Exchange("301, full", get("/301full"), has={"Location": "https://other.example/x?y=z"}),
    Exchange(
        "301, own", get("/301own?q=%20", host="h.example"), has={"Location": "http://h.example/301own?q=%20"}
    ),
    Exchange("302, relative", get("/302"), status=302, has={"Location": "there"}),
    _returns(303),
    _returns(307),
    _returns(308),
    _returns(304),
    Exchange("url only", get("/url"), status=302, has={"Location": "http://only.example/"}),
    Exchange(
        "301none",
        get("/301none"),
        status=301,
        lacks=("Location",),
        differs="nginx sends an empty Location, which sends the client nowhere",
    ),
    _returns(400),
    _returns(403),
    Exchange("403 with text", get("/403text"), status=403, body=b"no\n"),
    _returns(404),
    _returns(405),
    Exchange("408", get("/408"), status=(), closed=True),
    _returns(410),
    _returns(418),
    _returns(429),
    Exchange("444", get("/444"), status=(), closed=True),
    _returns(451),
    _returns(500),
    _returns(502),
    _returns(503),
    _returns(599),
    Exchange("without version", get("/tokens"), status=404),
    Exchange("quotes and escapes", get("/quoted?a=1"), status=200, body=b"a \"b\" 'c' 1x\t\n"),
    Exchange("empty variables", get("/dollar?b=2"), status=200, body=b"2-."),
    Exchange("400, keepalive stops", get("/400") + get("/ok"), methods=("GET", "GET"), status=400),
    Exchange("404, keepalive goes on", get("/404") + get("/ok"), methods=("GET", "GET"), status=(404, 200)),
    Exchange("500, keepalive stops", get("/500") + get("/ok"), methods=("GET", "GET"), status=500),
)
def test_return(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


PAGES = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        error_page 404 /404.html;
        error_page 500 502 503 504 /50x.html;
        location /missing/ { }
        location /fail { return 503; }
        location /changed { error_page 404 =200 /empty.html; }
        location /taken { error_page 404 = /asis; }
        location = /asis { return 203 "as is"; }
        location /fixed { error_page 404 =410 /asis2; }
        location = /asis2 { return 203 "as is"; }
        location /toname { error_page 404 @name; }
        location /tonameas { error_page 404 = @name; }
        location @name { return 202 "named $uri $status"; }
        location /outside { error_page 404 http://other.example/404; }
        location /outsideas { error_page 404 =301 http://other.example/404; }
        location /variable { error_page 404 /$arg_page.html; }
        location /gone { error_page 404 /nowhere.html; }
        location /loop { error_page 404 /loop2; }
        location /recursive { recursive_error_pages on; error_page 404 /step; }
        location = /step { recursive_error_pages on; error_page 410 /404.html; return 410; }
        location /notrecursive { error_page 404 /step2; }
        location = /step2 { error_page 410 /404.html; return 410; }
        location /off { error_page 410 /none; }
        location /post { error_page 405 =200 /404.html; }
        location /with403 { return 403; error_page 403 /404.html; }
        location /proxied { error_page 404 /backend; }
        location = /backend { internal; proxy_pass http://@BACKEND@; }
        location /intercept { proxy_pass http://@BACKEND@; proxy_intercept_errors on; }
        location /nointercept { proxy_pass http://@BACKEND@; }
        location /dead { proxy_pass http://@DEAD@; }
        location /body { error_page 403 /404.html; return 403 "own text"; }
        location /redirected { error_page 301 /404.html; return 301 /x; }
        location = /folder { error_page 301 /404.html; return 301 /folder/; }
        location = /redirectedtwice { error_page 301 /totheother; return 301 /x; }
        location = /totheother { return 307 http://other.example/; }
        location = /redirectedout { error_page 301 http://other.example/b; return 301 /x; }
        location = /redirectfor { error_page 403 =200 /there; return 403; }
        location = /there { return 301 /y; }
        location = /rewritefor { error_page 403 /rewritten; return 403; }
        location = /rewritten { rewrite ^ http://other.example/r redirect; }
        location = /nothingfor { error_page 403 /nothing; return 403; }
        location = /nothing { return 204; }
        location = /errorfor { error_page 403 =200 /error; return 403; }
        location = /error { return 410; }
        location /expected { client_max_body_size 1; error_page 413 /404.html; }
    }
    server {
        listen 127.0.0.1:@PORT_PLAIN@;
        error_page 404 =200 /here;
        location /here { return 200 "$request_method $uri $request_uri [$args]"; }
        location / { return 404; }
    }
    """,
    {
        "404.html": b"not here\n",
        "50x.html": b"our fault\n",
        "empty.html": b"empty\n",
        "mine.html": b"mine\n",
        "post.html": b"p\n",
    },
)
NOT_HERE = b"not here\n"


@exchanges(
    PAGES,
    Exchange("page", get("/missing/x"), status=404, body=NOT_HERE),
    Exchange("page, head", request("HEAD", "/missing/x"), status=404),
    Exchange("page, post", request("POST", "/missing/x", body=b"x"), status=404, body=NOT_HERE),
    Exchange("page, range", get("/missing/x", "Range: bytes=0-2"), status=404, body=NOT_HERE),
    Exchange("page, condition", get("/missing/x", "If-None-Match: *"), status=404),
    Exchange("page of 503", get("/fail"), status=503, body=b"our fault\n"),
    Exchange("other code", get("/changed"), status=200, body=b"empty\n"),
    Exchange("code of the page", get("/taken"), status=203, body=b"as is"),
    Exchange("fixed code", get("/fixed"), status=410, body=b"as is"),
    Exchange("named", get("/toname"), status=404),
    Exchange("named, its code", get("/tonameas?x=1"), status=202),
    Exchange("elsewhere", get("/outside"), status=302, has={"Location": "http://other.example/404"}),
    Exchange("elsewhere with a code", get("/outsideas"), status=301),
    Exchange("page by a variable", get("/variable?page=mine"), status=404, body=b"mine\n"),
    Exchange("page that is missing", get("/gone"), status=404, contains=b"404 Not Found"),
    Exchange("page that fails too", get("/loop"), status=404),
    Exchange("recursive", get("/recursive"), status=410, body=NOT_HERE),
    Exchange("not recursive", get("/notrecursive"), status=410),
    Exchange("none for this code", get("/off"), status=404),
    Exchange("405 turned into 200", request("POST", "/post.html", body=b"x"), status=200, body=NOT_HERE),
    Exchange("403 before", get("/with403"), status=403, body=NOT_HERE),
    Exchange(
        "page from a backend", get("/proxied?a=b"), backend=reply(200, "b"), status=404, body=b"b", reached=1
    ),
    Exchange(
        "page from a backend, post", request("POST", "/proxied", body=b"x"), status=404, forwarded=("GET /",),
        withheld=("Content-Length",), differs="a GET has no body; nginx passes it on",
    ),
    Exchange("intercepted", get("/intercept"), backend=reply(404, "theirs"), status=404, body=NOT_HERE),
    Exchange(
        "not intercepted", get("/nointercept"), backend=reply(404, "theirs"), status=404, body=b"theirs"
    ),
    Exchange(
        "intercepted without page",
        get("/intercept"),
        backend=reply(410, "theirs"),
        status=410,
        body=b"theirs",
    ),
    Exchange("backend dead", get("/dead"), status=502, body=b"our fault\n"),
    Exchange("text of a return", get("/body"), status=403),
    Exchange("of a redirect", get("/redirected"), status=301, contains=b"not here"),
    Exchange("of a redirect to a folder", get("/folder"), status=301, contains=b"not here"),
    Exchange("another redirect for one", get("/redirectedtwice"), status=307, has={"Location": "http://other.example/"}),
    Exchange("another site for one", get("/redirectedout"), status=302, has={"Location": "http://other.example/b"}),
    Exchange("a redirect in place of an error", get("/redirectfor"), status=301),
    Exchange("a redirect by a rewrite in place of one", get("/rewritefor"), status=302),
    Exchange("204 in place of an error", get("/nothingfor"), status=403),
    Exchange("an error behind an error", get("/errorfor"), status=410),
    Exchange("of a body too large", request("POST", "/expected", body=b"xx"), status=413, body=NOT_HERE),
    Exchange(
        "inherited and internal", get("/q?a=b"), port="PORT_PLAIN", status=200, body=b"GET /here /q?a=b []"
    ),
    Exchange(
        "method of the page", request("PUT", "/q"), port="PORT_PLAIN", status=200, contains=b"GET /here"
    ),
)
def test_error_page(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


HEADERS = Group(
    """
    add_header X-Http http;
    server {
        listen 127.0.0.1:@PORT@;
        add_header X-Server server;
        root @ROOT@;
        location /inherit { return 200 "x"; }
        location /own { add_header X-One 1; add_header X-Two "$uri and $arg_a"; return 200 "x"; }
        location /twice { add_header X-One 1; add_header X-One 2; return 200 "x"; }
        location /empty { add_header X-One ""; add_header X-Two $arg_none; return 200 "x"; }
        location /404 { add_header X-One 1; add_header X-Always 2 always; return 404 "x"; }
        location /500 { add_header X-One 1; add_header X-Always 2 always; return 500; }
        location /201 { add_header X-One 1; return 201; }
        location /204 { add_header X-One 1; return 204; }
        location /206 { add_header X-One 1; return 206; }
        location /301 { add_header X-One 1; return 301 /x; }
        location /303 { add_header X-One 1; return 303 /x; }
        location /307 { add_header X-One 1; return 307 /x; }
        location /308 { add_header X-One 1; return 308 /x; }
        location /304 { add_header X-One 1; return 304; }
        location /400 { add_header X-One 1; return 400; }
        location /proxy { add_header X-One 1; add_header X-Up $upstream_status; proxy_pass http://@BACKEND@; }
        location /page { add_header X-Page 1 always; error_page 404 /target; return 404; }
        location = /target { add_header X-Target 1 always; return 200 "target"; }
        location /cache { add_header Cache-Control no-store; expires 1h; return 200 "x"; }
        location /modified { add_header Last-Modified "Tue, 14 Nov 2023 22:13:20 GMT"; return 200 "x"; }
        location /nomodified/ { add_header Last-Modified ""; alias @ROOT@/; }
        location /etag/ { add_header ETag '"own"'; alias @ROOT@/; }
        location /sent { add_header X-Type "$sent_http_content_type/$sent_http_content_length"; return 200
        "x"; }
    }
    """,
    {"a.txt": b"a\n"},
)


@exchanges(
    HEADERS,
    Exchange("inherited", get("/inherit"), has={"X-Server": "server"}, lacks=("X-Http",)),
    Exchange("own only", get("/own?a=b"), has={"X-One": "1", "X-Two": "/own and b"}, lacks=("X-Server",)),
    Exchange("twice the same", get("/twice"), has={"X-One": "2"}),
    Exchange("empty values", get("/empty"), lacks=("X-One", "X-Two")),
    Exchange("404", get("/404"), has={"X-Always": "2"}, lacks=("X-One",)),
    Exchange("500", get("/500"), has={"X-Always": "2"}, lacks=("X-One",)),
    Exchange("201", get("/201"), has={"X-One": "1"}),
    Exchange("204", get("/204"), has={"X-One": "1"}),
    Exchange("206", get("/206"), has={"X-One": "1"}),
    Exchange("301", get("/301"), has={"X-One": "1"}),
    Exchange("303", get("/303"), has={"X-One": "1"}),
    Exchange("304", get("/304"), has={"X-One": "1"}),
    Exchange("307", get("/307"), has={"X-One": "1"}),
    Exchange("308", get("/308"), has={"X-One": "1"}),
    Exchange("400", get("/400"), lacks=("X-One",)),
    Exchange(
        "from a backend", get("/proxy"), backend=reply(200, "x", "X-One: theirs"), has={"X-One": "theirs"}
    ),
    Exchange("from a backend with 404", get("/proxy"), backend=reply(404, "x"), lacks=("X-One",)),
    Exchange("error page", get("/page"), status=404, has={"X-Target": "1"}, lacks=("X-Page",)),
    Exchange("cache-control and expires", get("/cache"), status=200),
    Exchange("last-modified", get("/modified"), has={"Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}),
    Exchange("last-modified taken away", get("/nomodified/a.txt"), status=200, lacks=("Last-Modified",)),
    Exchange("etag added", get("/etag/a.txt"), status=200),
    Exchange("headers already set", get("/sent"), status=200, has={"X-Type": "text/plain/1"}),
    Exchange("missing file", get("/nope"), status=404, lacks=("X-Server",)),
)
def test_add_header(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
