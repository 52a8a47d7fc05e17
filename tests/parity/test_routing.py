"""Which server and which location answers, and what it takes the URI to be."""

from __future__ import annotations

from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

NAMES = Group(
    r"""
    server_names_hash_bucket_size 128;
    server { listen 127.0.0.1:@PORT@; server_name first; return 200 "first"; }
    server { listen 127.0.0.1:@PORT@ default_server; server_name _; return 200 "default [$server_name]"; }
    server { listen 127.0.0.1:@PORT@; server_name a.example exact.a.example; return 200 "exact"; }
    server { listen 127.0.0.1:@PORT@; server_name *.a.example; return 200 "star before"; }
    server { listen 127.0.0.1:@PORT@; server_name *.deep.a.example; return 200 "longer star before"; }
    server { listen 127.0.0.1:@PORT@; server_name www.star.*; return 200 "star after"; }
    server { listen 127.0.0.1:@PORT@; server_name .both.example; return 200 "dot"; }
    server {
        listen 127.0.0.1:@PORT@;
        server_name ~^(?<user>[a-z]+)\.users\.example$;
        return 200 "regex $user";
    }
    server { listen 127.0.0.1:@PORT@; server_name ~^(.+)\.users\.example$; return 200 "second regex $1"; }
    server { listen 127.0.0.1:@PORT@; server_name ""; return 200 "no name"; }
    server { listen 127.0.0.1:@PORT_2@; server_name one; return 200 "first of the second port"; }
    server { listen 127.0.0.1:@PORT_2@; server_name first; return 200 "first on the second port"; }
    """
)


def _named(host: str, body: str, port: str = "PORT") -> Exchange:
    return Exchange(f"{host or 'empty'} on {port}", get("/", host=host), port=port, body=body.encode())


@exchanges(
    NAMES,
    _named("first", "first"),
    _named("FIRST:99", "first"),
    _named("unknown", "default [_]"),
    _named("a.example", "exact"),
    _named("exact.a.example", "exact"),
    _named("other.a.example", "star before"),
    _named("x.y.a.example", "star before"),
    _named("x.deep.a.example", "longer star before"),
    _named("deep.a.example", "star before"),
    _named("www.star.org", "star after"),
    _named("www.star.co.uk", "star after"),
    _named("both.example", "dot"),
    _named("x.both.example", "dot"),
    _named("joe.users.example", "regex joe"),
    _named("joe2.users.example", "second regex joe2"),
    _named("first.", "first"),
    Exchange("no host in 1.0", get("/", host="", version="1.0"), body=b"no name"),
    _named("first", "first on the second port", "PORT_2"),
    _named("unknown", "first of the second port", "PORT_2"),
    Exchange("absolute form wins", get("http://a.example/", host="first"), body=b"exact"),
)
def test_server_names(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


LOCATIONS = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        location / { return 200 "root $uri"; }
        location = / { return 200 "exactly the root"; }
        location = /exact { return 200 "exact"; }
        location /exact { return 200 "prefix of exact $uri"; }
        location /docs { return 200 "docs $uri"; }
        location /docs/deep/ { return 200 "docs deep $uri"; }
        location ^~ /images/ { return 200 "images $uri"; }
        location ~ \.gif$ { return 200 "gif $uri"; }
        location ~* \.(png|jpe?g)$ { return 200 "picture $1 $uri"; }
        location ~ ^/user/(?<name>[^/]+)(/.*)?$ { return 200 "user $name [$2]"; }
        location ~ "^/[0-9]{3}$" { return 200 "three digits"; }
        location ~ ^/utf/(.)$ { return 200 "one byte"; }
        location /outer/ {
            return 200 "outer $uri";
            location /outer/inner { return 200 "inner $uri"; }
            location ~ \.gif$ { return 200 "outer gif $uri"; }
            location ~ /regex/(.+) { return 200 "outer regex $1"; }
        }
        location ^~ /stop/ {
            location ~ \.gif$ { return 200 "gif within stop"; }
            return 200 "stop $uri";
        }
        location /slash/ { proxy_pass http://@BACKEND@; }
        location /noslash { return 200 "noslash $uri"; }
        location "/with blank" { return 200 "blank"; }
        location /caf%C3%A9 { return 200 "never"; }
        location /internal { internal; return 200 "internal"; }
        location /over { error_page 404 = /internal; return 404; }
        location @named { return 200 "named $uri"; }
        location /toname { error_page 404 = @named; return 404; }
        location /show { return 200 "$uri|$request_uri|$args|$is_args|$document_uri"; }
    }
    """
)


def _located(target: str, body: str) -> Exchange:
    return Exchange(target, get(target), status=200, body=body.encode("latin-1"))


@exchanges(
    LOCATIONS,
    _located("/", "exactly the root"),
    _located("/?x", "exactly the root"),
    _located("/x", "root /x"),
    _located("/exact", "exact"),
    _located("/exact/", "prefix of exact /exact/"),
    _located("/exactly", "prefix of exact /exactly"),
    _located("/docs", "docs /docs"),
    _located("/docs/deep", "docs /docs/deep"),
    _located("/docs/deep/er", "docs deep /docs/deep/er"),
    _located("/docs/a.gif", "gif /docs/a.gif"),
    _located("/images/a.gif", "images /images/a.gif"),
    _located("/a.GIF", "root /a.GIF"),
    _located("/a.PNG", "picture PNG /a.PNG"),
    _located("/a.jpg?x=.gif", "picture jpg /a.jpg"),
    _located("/user/joe", "user joe []"),
    _located("/user/joe/x", "user joe [/x]"),
    _located("/user/a.gif", "gif /user/a.gif"),
    _located("/123", "three digits"),
    _located("/1234", "root /1234"),
    _located("/outer/x", "outer /outer/x"),
    _located("/outer/inner/x", "inner /outer/inner/x"),
    _located("/outer/a.gif", "outer gif /outer/a.gif"),
    _located("/outer/regex/x", "outer regex x"),
    _located("/stop/x", "stop /stop/x"),
    _located("/stop/a.gif", "gif within stop"),
    _located("/with%20blank", "blank"),
    Exchange("case counts", get("/DOCS"), body=b"root /DOCS"),
    Exchange("slash missing", get("/slash"), status=301, reached=0),
    Exchange("slash missing with arguments", get("/slash?a=b"), status=301),
    Exchange("slash missing in a post", request("POST", "/slash", body=b"x"), status=301),
    Exchange("internal from outside", get("/internal"), status=404),
    Exchange("internal by an error page", get("/over"), status=200, body=b"internal"),
    Exchange("named location", get("/toname/x"), status=200, body=b"named /toname/x"),
    Exchange("at sign in a path", get("/@named"), status=200, body=b"root /@named"),
)
def test_locations(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    LOCATIONS,
    _located("/show/./a", "/show/a|/show/./a|||/show/a"),
    _located("/x/../show/a", "/show/a|/x/../show/a|||/show/a"),
    _located("/show//a///b", "/show/a/b|/show//a///b|||/show/a/b"),
    _located("/show/%41%2f%3Fb", "/show/A/?b|/show/%41%2f%3Fb|||/show/A/?b"),
    _located("/%73how", "/show|/%73how|||/show"),
    _located("/show/a/..", "/show/|/show/a/..|||/show/"),
    _located("/show/a/.", "/show/a/|/show/a/.|||/show/a/"),
    _located("/show/...", "/show/...|/show/...|||/show/..."),
    _located("/show/a/%2e%2e/b", "/show/b|/show/a/%2e%2e/b|||/show/b"),
    _located("/show/%2e%2e%2fdocs", "docs /docs"),
    _located("/show?", "/show|/show?|||/show"),
    _located("/show?a=1&b=%20", "/show|/show?a=1&b=%20|a=1&b=%20|?|/show"),
    _located("/show??x", "/show|/show??x|?x|?|/show"),
    _located("/show/+a", "/show/+a|/show/+a|||/show/+a"),
    _located("/show#frag", "/show|/show#frag|||/show"),
    _located("/show/%25", "/show/%|/show/%25|||/show/%"),
    Exchange("high bytes", get("/show/\u00fc"), contains="/show/\u00fc|".encode()),
    Exchange("above the root", get("/../x"), status=400),
    Exchange("above the root, encoded", get("/%2e%2e/x"), status=400),
    Exchange("above the root, later", get("/a/../../x"), status=400),
    Exchange("bad escape", get("/show/%zz"), status=400),
    Exchange("cut escape", get("/show/%4"), status=400),
    Exchange("encoded zero", get("/show/%00"), status=400),
    Exchange("backslash", get("/show\\..\\x"), status=200),
)
def test_normalisation(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


REDIRECTS = Group(
    """
    server { listen 127.0.0.1:@PORT@; server_name main.example; location /a/ { proxy_pass http://@BACKEND@; }
    } server {
        listen 127.0.0.1:@PORT_RELATIVE@;
        absolute_redirect off;
        root @ROOT@;
        location /a/ { proxy_pass http://@BACKEND@; }
    }
    server {
        listen 127.0.0.1:@PORT_NAME@;
        server_name named.example;
        server_name_in_redirect on;
        port_in_redirect off;
        root @ROOT@;
        location /a/ { proxy_pass http://@BACKEND@; }
        location = /b { return 302 /c; }
    }
    """,
    {"dir/x.txt": b"x"},
)


@exchanges(
    REDIRECTS,
    Exchange("host and port", get("/a", host="some.example:80"), status=301),
    Exchange("no host", get("/a", host="", version="1.0"), status=301),
    Exchange("relative", get("/a?x"), port="PORT_RELATIVE", has={"Location": "/a/?x"}),
    Exchange("relative folder", get("/dir"), port="PORT_RELATIVE", status=301, has={"Location": "/dir/"}),
    Exchange("server name", get("/a"), port="PORT_NAME", has={"Location": "http://named.example/a/"}),
    Exchange(
        "server name of a folder",
        get("/dir"),
        port="PORT_NAME",
        has={"Location": "http://named.example/dir/"},
    ),
    Exchange(
        "server name of a return", get("/b"), port="PORT_NAME", has={"Location": "http://named.example/c"}
    ),
    Exchange("escaped again", get("/a%20"), status=404),
)
def test_redirects(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
