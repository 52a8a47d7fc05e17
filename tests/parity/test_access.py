"""Who may pass: `allow` and `deny`, `satisfy`, `limit_except`, `auth_basic`, `valid_referers`, `secure_link`."""

from __future__ import annotations

import base64
import hashlib

from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges


def basic(user: str, password: str) -> str:
    """An Authorization field."""
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode("latin-1")).decode()


def field(credentials: str) -> str:
    """An Authorization field with these very credentials behind the scheme."""
    return "Authorization: Basic " + credentials


# What differs from run to run in a line of the error log; and nginx says what it was doing when its probe came.
LINE = (r"^\d{4}/\S+ \S+ ", r"\d+#\d+: \*\d+", r'without "Host" header( while reading client request headers)?')

# -- by address ---------------------------------------------------------------------------------------------------------

ADDRESSES = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        listen [::1]:@PORT@;
        error_log access.log;
        location / { allow all; return 204; }
        location /files/ { root @ROOT@; allow 127.0.0.1; deny all; }
        location /files/deny/ { root @ROOT@; deny 127.0.0.1; allow all; }
        location /files/net/ { root @ROOT@; deny 127.0.0.0/8; allow all; }
        location /files/other/ { root @ROOT@; deny 10.0.0.0/8; deny 192.0.2.1; }
        location /files/order/ { root @ROOT@; allow 127.0.0.0/30; deny 127.0.0.1; deny all; }
        location /files/all/ { root @ROOT@; deny all; allow 127.0.0.1; }
        location /files/six/ { root @ROOT@; deny ::1; allow 2001:db8::/32; deny all; }
        location /files/onlysix/ { root @ROOT@; deny ::/0; }
        location /files/unix/ { root @ROOT@; deny unix:; }
        location /files/outer/ { root @ROOT@; deny all; location /files/outer/in/ { allow 127.0.0.1; } }
        location /files/inherit/ { root @ROOT@; deny all; location /files/inherit/in/ { } }
        location /files/page/ { root @ROOT@; deny all; error_page 403 /page; }
        location /files/paged/ { root @ROOT@; deny all; error_page 403 /files/deny/; }
        location /files/status/ { root @ROOT@; deny all; error_page 403 =200 /page; }
        location /files/named/ { root @ROOT@; deny all; error_page 403 @named; }
        location @named { return 402 named; }
        location = /page { return 200 page; }
        location /returned/ { deny all; return 200 "before access"; }
        location /tried/ { deny all; try_files /none @named; }
        location /proxied/ { allow 127.0.0.1; deny all; proxy_pass http://@BACKEND@; }
        location /refused/ { deny all; proxy_pass http://@BACKEND@; }
        location /index/ { root @ROOT@; allow all; location = /index/index.html { root @ROOT@; deny all; } }
        location /condition/ { root @ROOT@; deny all; if ($arg_a) { add_header X-If yes; } }
        location /zero/ { root @ROOT@; deny 0.0.0.0/0; }
        location /unix/ { proxy_pass http://unix:@PREFIX@/sock:/; }
    }
    server {
        listen unix:@PREFIX@/sock;
        root @ROOT@;
        location /allowed { allow unix:; deny all; try_files /none @shown; }
        location /denied { deny unix:; allow all; try_files /none @shown; }
        location /all { deny all; try_files /none @shown; }
        location /others { deny 127.0.0.1; deny ::/0; try_files /none @shown; }
        location @shown { return 200 "$remote_addr|$remote_port|$realip_remote_addr"; }
    }
    """,
    {
        name + "f": b"a file\n"
        for name in (
            "files/", "files/deny/", "files/net/", "files/other/", "files/order/", "files/all/", "files/six/", "files/onlysix/",
            "files/unix/", "files/outer/", "files/outer/in/", "files/inherit/in/", "files/page/", "files/status/", "zero/",
        )
    }
    | {"index/index.html": b"index\n"},
)  # fmt: skip


@exchanges(
    ADDRESSES,
    Exchange("allowed", get("/files/f"), status=200, body=b"a file\n"),
    Exchange("denied", get("/files/deny/f"), status=403, log="access.log", mask=LINE, logged="access forbidden by rule"),
    Exchange("a network", get("/files/net/f"), status=403),
    Exchange("none that fits", get("/files/other/f"), status=200),
    Exchange("the first that fits decides", get("/files/order/f"), status=200),
    Exchange("all before the rest", get("/files/all/f"), status=403),
    Exchange("only IPv6 rules and all", get("/files/six/f"), status=403),
    Exchange("only IPv6 rules", get("/files/onlysix/f"), status=200),
    Exchange("Unix sockets", get("/files/unix/f"), status=200),
    Exchange("own rules in place of inherited ones", get("/files/outer/in/f"), status=200),
    Exchange("the outer ones", get("/files/outer/f"), status=403),
    Exchange("inherited rules", get("/files/inherit/in/f"), status=403),
    Exchange("through a Unix socket, allowed", get("/unix/allowed"), status=200, body=b"unix:||unix:"),
    Exchange("through a Unix socket, denied", get("/unix/denied"), status=403),
    Exchange("through a Unix socket, all denied", get("/unix/all"), status=403),
    Exchange("through a Unix socket, rules for others", get("/unix/others"), status=200),
    Exchange("everybody by a mask of nothing", get("/zero/f"), status=403),
    Exchange("error page", get("/files/page/f"), status=403, body=b"page"),
    Exchange("error page with another status", get("/files/status/f"), status=200, body=b"page"),
    Exchange("error page that is refused too", get("/files/paged/f"), status=403),
    Exchange("named error page", get("/files/named/f"), status=403),
    Exchange("return comes before access", get("/returned/x"), status=200),
    Exchange("access before try_files", get("/tried/x"), status=403),
    Exchange("proxied", get("/proxied/x"), status=200, reached=1),
    Exchange("not proxied", get("/refused/x"), status=403, reached=0),
    Exchange("post refused", request("POST", "/refused/x", body=b"x" * 100), status=403, reached=0),
    Exchange("head", request("HEAD", "/files/deny/f"), status=403),
    Exchange("judged again after index", get("/index/"), status=403),
    Exchange("block of an if", get("/condition/f?a=1"), status=403),
    Exchange("two in one connection", (get("/files/deny/f"), get("/files/f")), methods=("GET", "GET"), status=(403, 200)),
)
def test_addresses(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


# -- limit_except -------------------------------------------------------------------------------------------------------

METHOD_ROWS = """
GET /get/f
HEAD /get/f
POST /get/f
PUT /get/f
DELETE /get/f
OPTIONS /get/f
PROPFIND /get/f
PATCH /get/f
GET /post/f
HEAD /post/f
POST /post/f
GET /allowed/f
POST /allowed/f
GET /password/x
POST /password/x
GET /return/x
POST /return/x
GET /if/f
POST /if/f
GET /if/f?a=1
POST /if/f?a=1
GET /if/f?b=1
POST /if/f?b=1
GET /tried/x
DELETE /tried/x
GET /proxy/x
POST /proxy/x
GET /inherited/x
POST /inherited/x
GET /nested/in/x
POST /nested/in/x
POST /nested/x
GET /any/f
POST /any/f
GET /error/x
POST /error/x
GET /header/f
POST /header/f
""".strip().split("\n")
METHODS = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        location /get/ { limit_except GET { deny all; } }
        location /post/ { limit_except post { deny all; } }
        location /allowed/ { deny all; limit_except POST { allow all; } }
        location /password/ { limit_except GET { auth_basic "writers"; auth_basic_user_file @ROOT@/users; } proxy_pass
        http://@BACKEND@; } location /return/ { limit_except GET { allow all; } return 200 "returned"; }
        location /if/ { limit_except GET { deny all; } if ($arg_a) { return 200 if; } if ($arg_b) { add_header X-If yes; } }
        location /tried/ { limit_except GET { allow all; } try_files /get/f =402; }
        location /proxy/ { limit_except GET { proxy_pass http://@BACKEND_2@; } proxy_pass http://@BACKEND@/base/; }
        location /inherited/ { limit_except GET { allow all; } proxy_pass http://@BACKEND@/base/; }
        location /nested/ { limit_except GET { deny all; } location /nested/in/ { proxy_pass http://@BACKEND@; } }
        location /any/ { satisfy any; auth_basic "any"; auth_basic_user_file @ROOT@/users; limit_except GET { deny all; } }
        location /error/ { error_page 404 @named; limit_except GET { allow all; } }
        location @named { limit_except GET { deny all; } return 200 named; }
        location /header/ { add_header X-Here yes always; limit_except GET { deny all; } }
    }
    """,
    {"get/f": b"f\n", "post/f": b"f\n", "allowed/f": b"f\n", "any/f": b"f\n", "users": b"ann:{PLAIN}secret\n", "if/f": b"f\n",
"header/f": b"f\n"}, )


@exchanges(
    METHODS,
    *(
        Exchange(f"{method} {target}", request(method, target))
        for method, target in (row.split(" ") for row in METHOD_ROWS)
    ),
    Exchange("the right password", request("POST", "/password/x", basic("ann", "secret"), body=b"x"), status=200, reached=1),
    Exchange("satisfy any within", request("DELETE", "/any/f", basic("ann", "secret"))),
)  # fmt: skip
def test_limit_except(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


# -- by name and password -----------------------------------------------------------------------------------------------

SECRETS = rb"""# a comment:not a user
apr1:$apr1$sTT7sHpK$RPmo9qJKkobbNgPLik09L1
md5:$1$rarLNs.j$V5zHytw/bAzEwU6YG5vjo.
sha5:$5$IRd0saKT4Dd50Amc$VYoq5AE4pVefuHFDEQ6XOHWy6nd.NwARIvZQfyPiiW3
sha6:$6$X7g05XxTZv/vB2Al$ufVk6t914/MCoEL7BYHaRWtYoBprMr370IeJVxlaiuSG6Bp1nLZv6/1lGmPOFd5eq6/JEe070wmeVfOfkxvp0.
des:abNANd1rDfiNc
bcrypt:$2b$04$83Y/cOxsVSbRSZ49EO36ae6jI5dx3eDGEHQHGnkRlzvJ7MB1IfVXe
bcrypt2y:$2y$04$EhzuzlLY1bSuYWR4tanLM.4VxMmsZ7PwwTn8mobNBDAmmOY9RpZoy
yescrypt:$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/$Tg4ZRR7tz/WRlmYbADZh9OJYakPewgSPQqW55EXAJ14
plain:{PLAIN}secret
plain:{PLAIN}a second line of one name does not count
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
ssha:{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0
more:{PLAIN}secret:and a comment
empty:
nonsense:nonsense
unknown:$9$x$y
star:*
shortssha:{SSHA}YWJj
badssha:{SSHA}!!!!
badbcrypt:$2b$04$short
badapr1:$apr1$
nothing:{PLAIN}
carriage:{PLAIN}secret"""
SECRETS += b"\r\n\r\n   \nno colon\n:{PLAIN}secret\n\xfcml\xe4ut:{PLAIN}\xfcml\xe4ut\nlast:{PLAIN}secret"
NAMES = (
    "apr1", "md5", "sha5", "sha6", "des", "bcrypt", "bcrypt2y", "yescrypt", "plain", "sha", "ssha", "more", "empty", "nonsense",
    "unknown", "star", "shortssha", "badssha", "badbcrypt", "badapr1", "nothing", "carriage", "last", "nobody", "# a comment",
)  # fmt: skip
PASSWORDS = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        error_log access.log info;
        root @ROOT@;
        auth_basic "a realm";
        auth_basic_user_file @ROOT@/users;
        set $missing @ROOT@/none;
        set $folder @ROOT@;
        location / { }
        location /off/ { auth_basic off; }
        location /variable/ { auth_basic $arg_realm; }
        location /quoted/ { auth_basic 'a "quoted" $uri'; }
        location /missing/ { auth_basic_user_file $missing; }
        location /folder/ { auth_basic_user_file $folder; }
        location /relative/ { auth_basic_user_file relative.$arg_name; }
        location /page/ { error_page 401 /public/page; }
        location /status/ { error_page 401 =200 /public/page; }
        location /elsewhere/ { error_page 401 http://example.com/login; }
        location /named/ { error_page 401 = @named; }
        location /protected/ { error_page 401 /f; }
        location /upstream/ { error_page 401 @upstream; }
        location /public/ { auth_basic off; }
        location @named { return 200 "named $remote_user"; }
        location @upstream { auth_basic off; proxy_pass http://@BACKEND@; }
        location /proxied/ { proxy_pass http://@BACKEND@; proxy_set_header Connection ""; proxy_set_header X-User $remote_user; }
        location /header/ { add_header X-User "$remote_user" always; }
        location /returned/ { return 200 "$remote_user"; }
    }
    server {
        listen 127.0.0.1:@PORT_2@;
        root @ROOT@;
        auth_basic "no file";
        location / { }
    }
    """,
    {
        "users": SECRETS,
        "f": b"f\n", "off/f": b"f\n", "public/page": b"page\n", "variable/f": b"f\n", "quoted/f": b"f\n", "header/f": b"f\n",
    },
)  # fmt: skip


@exchanges(
    PASSWORDS,
    *(Exchange(f"{name} right", get("/f", basic(name, "secret"))) for name in NAMES),
    *(Exchange(f"{name} wrong", get("/f", basic(name, "wrong"))) for name in NAMES),
    *(Exchange(f"{name} without password", get("/f", basic(name, ""))) for name in ("plain", "empty", "nothing", "apr1", "des")),
    Exchange("bytes", get("/f", basic("\xfcml\xe4ut", "\xfcml\xe4ut")), status=200),
    Exchange("a NUL ends a password", get("/f", basic("plain", "secret\0more")), status=200),
    Exchange("a NUL in a name", get("/f", basic("pl\0ain", "secret")), status=401),
    Exchange("a colon in a password", get("/f", basic("plain", "secret:x")), status=401),
    Exchange("an empty name", get("/f", basic("", "secret")), status=401),
)
def test_schemes(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    PASSWORDS,
    Exchange("no credentials", get("/f"), status=401, has={"WWW-Authenticate": 'Basic realm="a realm"'}),
    Exchange("head", request("HEAD", "/f"), status=401, has={"WWW-Authenticate": 'Basic realm="a realm"'}),
    Exchange("no such file behind it", get("/none"), status=401),
    Exchange("off", get("/off/f"), status=200),
    Exchange("off by variable", get("/variable/f?realm=off"), status=200),
    Exchange("realm by variable", get("/variable/f?realm=x"), has={"WWW-Authenticate": 'Basic realm="x"'}),
    Exchange("an empty realm", get("/variable/f"), has={"WWW-Authenticate": 'Basic realm=""'}),
    Exchange("quotes in a realm", get("/quoted/f")),
    Exchange("another case of the scheme", get("/f", basic("plain", "secret").replace("Basic", "bASIC")), status=200),
    Exchange("spaces behind the scheme", get("/f", basic("plain", "secret").replace("Basic", "Basic   ")), status=200),
    Exchange("another scheme", get("/f", "Authorization: Bearer cGxhaW46c2VjcmV0"), status=401),
    Exchange("the scheme only", get("/f", "Authorization: Basic"), status=401),
    Exchange("the scheme and a space", get("/f", "Authorization: Basic "), status=401),
    Exchange("an empty field", get("/f", "Authorization:"), status=401),
    Exchange("no base64", get("/f", field("!!!")), status=401),
    Exchange("base64 of nothing", get("/f", field("====")), status=401),
    Exchange("base64 without padding", get("/f", field("cGxhaW46c2VjcmV0")), status=200),
    Exchange("missing padding", get("/f", field("YnM6eA")), status=401),
    Exchange("one character too many", get("/f", field("cGxhaW46c2VjcmV0x")), status=401),
    Exchange("padding and more", get("/f", field("cGxhaW46c2VjcmV0=rest")), status=200),
    Exchange("base64 of a URL", get("/f", field("cGxhaW46c2VjcmV0_-")), status=401),
    Exchange("no colon", get("/f", field("cGxhaW4=")), status=401),
    Exchange("a missing file", get("/missing/f", basic("plain", "secret")), status=403),
    Exchange("a missing file, no credentials", get("/missing/f"), status=401),
    Exchange("a folder for a file", get("/folder/f", basic("plain", "secret")), status=500),
    Exchange("a relative path", get("/relative/f?name=none", basic("plain", "secret")), status=403),
    Exchange("a NUL in a path", get("/relative/f?name=%00", basic("plain", "secret")), status=403),
    Exchange("error page", get("/page/f"), status=401, has={"WWW-Authenticate": 'Basic realm="a realm"'}, body=b"page\n"),
    Exchange("error page with another status", get("/status/f")),
    Exchange("error page elsewhere", get("/elsewhere/f"), status=302),
    Exchange("error page that is named", get("/named/f")),
    Exchange("error page that is protected", get("/protected/f")),
    Exchange("error page from upstream", get("/upstream/f")),
    Exchange("the user upstream", get("/proxied/x", basic("plain", "secret")), forwarded=("X-User: plain",)),
    Exchange("not upstream", get("/proxied/x", basic("plain", "wrong")), reached=0),
    Exchange("the user in a header", get("/header/f", basic("plain", "secret")), has={"X-User": "plain"}),
    Exchange("the wrong user in a header", get("/header/f", basic("plain", "wrong")), has={"X-User": "plain"}),
    Exchange("return comes before", get("/returned/f"), status=200),
    Exchange("without a file", get("/f"), port="PORT_2", status=200),
    Exchange(
        "again and again",
        (get("/f", basic("sha6", "secret")), get("/f", basic("sha6", "wrong")), get("/f", basic("sha6", "secret"))),
        methods=("GET", "GET", "GET"),
        status=(200, 401, 200),
    ),
    Exchange("post", request("POST", "/proxied/x", basic("apr1", "secret"), body=b"x" * 1000), status=200, reached=1),
    Exchange("post refused", request("POST", "/proxied/x", body=b"x" * 1000), status=401, reached=0),
)
def test_basic(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    PASSWORDS,
    Exchange("mismatch", get("/f", basic("plain", "wrong")), log="access.log", mask=LINE, logged='user "plain": password mismatch'),
    Exchange("not found", get("/f", basic("nobody", "x")), log="access.log", mask=LINE, logged='user "nobody" was not found in'),
    Exchange("none given", get("/f"), log="access.log", mask=LINE, logged="no user/password was provided for basic authentication"),
    Exchange("no file", get("/missing/f", basic("a", "b")), log="access.log", mask=LINE, logged="(2: No such file or directory)"),
)
def test_basic_logs(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


# -- satisfy ------------------------------------------------------------------------------------------------------------

SATISFY = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        error_log access.log info;
        root @ROOT@;
        auth_basic_user_file @ROOT@/users;
        location /all/good/ { satisfy all; allow 127.0.0.1; deny all; auth_basic r; }
        location /all/bad/ { satisfy all; deny all; auth_basic r; }
        location /any/good/ { satisfy any; allow 127.0.0.1; deny all; auth_basic r; }
        location /any/bad/ { satisfy any; deny all; auth_basic r; }
        location /any/none/ { satisfy any; deny 10.0.0.0/8; auth_basic r; }
        location /any/address/ { satisfy any; deny all; }
        location /any/neither/ { satisfy any; allow 10.0.0.0/8; }
        location /any/off/ { satisfy any; deny all; auth_basic off; }
        location /any/missing/ { satisfy any; deny all; auth_basic r; auth_basic_user_file $document_root/none; }
        location /any/folder/ { satisfy any; deny all; auth_basic r; auth_basic_user_file $document_root; }
        location /any/page/ { satisfy any; deny all; auth_basic r; error_page 401 403 /page; }
        location /any/inherited/ { satisfy any; deny all; auth_basic r; location /any/inherited/in/ { } }
        location /page { return 200 page; }
        location /delay/ { auth_basic r; auth_delay 200ms; }
        location /delay/any/ { satisfy any; deny all; auth_basic r; auth_delay 200ms; }
    }
    """,
    {
        "users": b"ann:{PLAIN}secret\nbob:$apr1$sTT7sHpK$RPmo9qJKkobbNgPLik09L1\n",
        **{
            f"{name}/f": b"f\n"
            for name in ("all/good", "all/bad", "any/good", "any/bad", "any/none", "any/neither", "any/inherited/in", "delay")
        },
    },
)
RIGHT, SLOW, WRONG = basic("ann", "secret"), basic("bob", "secret"), basic("ann", "wrong")


@exchanges(
    SATISFY,
    *(
        Exchange(f"{place} {how}", get(f"/{place}/f", *fields))
        for place in (
            "all/good", "all/bad", "any/good", "any/bad", "any/none", "any/address", "any/neither", "any/off", "any/missing",
            "any/folder", "any/page", "any/inherited/in", "delay", "delay/any",
        )
        for how, fields in (("without", ()), ("right", (RIGHT,)), ("slow", (SLOW,)), ("wrong", (WRONG,)))
    ),
)  # fmt: skip
def test_satisfy(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    SATISFY,
    Exchange("all: the rule", get("/all/bad/f"), log="access.log", mask=LINE, logged="access forbidden by rule"),
    Exchange("any: the address only", get("/any/address/f"), log="access.log", mask=LINE, logged="access forbidden by rule"),
    Exchange("any: no rule in the log of a 401", get("/any/bad/f", WRONG), log="access.log", mask=LINE, logged="password mismatch"),
    Exchange("any: allowed, yet the password was wrong", get("/any/good/f", WRONG), log="access.log", mask=LINE),
    Exchange("any: a missing file", get("/any/missing/f", RIGHT), log="access.log", mask=LINE, logged="access forbidden by rule"),
    Exchange("delay", get("/delay/f", WRONG), log="access.log", mask=LINE, logged="delaying unauthorized request"),
)
def test_satisfy_logs(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


# -- by referer ---------------------------------------------------------------------------------------------------------

REFERERS = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        server_name own.example *.own.example ~^re\d+\.example$;
        location /none/ { valid_referers none good.example; return 200 "[$invalid_referer]"; }
        location /blocked/ { valid_referers blocked good.example; return 200 "[$invalid_referer]"; }
        location /names/ { valid_referers server_names; return 200 "[$invalid_referer]"; }
        location /wild/ { valid_referers *.good.example bad.* .both.example; return 200 "[$invalid_referer]"; }
        location /uri/ { valid_referers good.example/gallery *.good.example/a/; return 200 "[$invalid_referer]"; }
        location /regex/ { valid_referers ~\.google\. ~/path; return 200 "[$invalid_referer]"; }
        location /off/ { return 200 "[$invalid_referer]"; }
        location /outer/ { valid_referers good.example; location /outer/in/ { return 200 "[$invalid_referer]"; } }
        location /if/ { valid_referers none good.example; if ($invalid_referer) { return 403; } return 200 fine; }
        location /several/ { valid_referers none; valid_referers one.example; valid_referers two.example; return 200
    "[$invalid_referer]"; } }
    """
)
REFERRERS = (
    "http://good.example/", "https://good.example/x?y", "HTTP://GOOD.EXAMPLE/", "http://good.example",
    "http://good.example:8080/x", "good.example", "http://a.good.example/", "http://bad.example/", "http://bad.com/",
    "http://both.example/", "http://x.both.example/", "ftp://good.example/", "http://g", "http://", "https://i", "about:blank",
    "http://own.example/", "http://a.own.example/", "http://re12.example/", "http://re.example/",
    "http://good.example/gallery/1", "http://good.example/GALLERY", "http://good.example:80/gallery",
    "http://a.good.example/a/b", "http://a.good.example/ab", "http://www.google.com/", "http://www.GOOGLE.com/",
    "http://x/path", "http://good.example.", "http://user@good.example/", "http:///good.example/", "http://one.example/",
    "http://two.example/",
    "", "http://" + "a" * 300 + ".good.example/",
)  # fmt: skip


@exchanges(
    REFERERS,
    *(
        Exchange(f"/{place}/ {referrer[:60]}", get(f"/{place}/", f"Referer: {referrer}", host="own.example"))
        for place in ("none", "blocked", "names", "wild", "uri", "regex", "off", "outer/in", "if", "several")
        for referrer in REFERRERS
    ),
    *(
        Exchange(f"/{place}/ without", get(f"/{place}/", host="own.example"))
        for place in ("none", "blocked", "names", "wild", "uri", "regex", "off", "outer/in", "if", "several")
    ),
)
def test_referers(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


# -- by link ------------------------------------------------------------------------------------------------------------

LINKS = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        location /md5/ {
            secure_link $arg_md5,$arg_expires;
            secure_link_md5 "$secure_link_expires$uri secret";
            return 200 "[$secure_link|$secure_link_expires]";
        }
        location /plain/ { secure_link $arg_md5; secure_link_md5 "$uri secret"; return 200 "[$secure_link|$secure_link_expires]"; }
        location /before/ {
            secure_link $arg_md5,$arg_expires; secure_link_md5 "$uri secret";
            return 200 "[$secure_link_expires|$secure_link|$secure_link_expires]";
        }
        location /half/ { secure_link $arg_md5; return 200 "[$secure_link]"; }
        location /off/ { return 200 "[$secure_link|$secure_link_expires]"; }
        location /p/ { secure_link_secret word; return 200 "[$secure_link]"; }
        location /if/ {
            secure_link_secret word;
            if ($secure_link = "") { return 403; }
            rewrite ^ /secure/$secure_link;
        }
        location /secure/ { internal; return 200 "$uri"; }
        location ~ ^/regex(/.*)$ { secure_link_secret word; return 200 "[$secure_link]"; }
    }
    """
)


def md5(text: str) -> str:
    """As `secure_link_md5` wants it."""
    return base64.urlsafe_b64encode(hashlib.md5(text.encode()).digest()).decode().rstrip("=")


def word(link: str) -> str:
    """As `secure_link_secret` wants it."""
    return hashlib.md5((link + "word").encode()).hexdigest()


LATER, EARLIER = 4_000_000_000, 1_000_000_000
GOOD = md5("/plain/a secret")


@exchanges(
    LINKS,
    *(
        Exchange(target, get(target))
        for target in (
            f"/md5/a?md5={md5(f'{LATER}/md5/a secret')}&expires={LATER}",
            f"/md5/a?md5={md5(f'{EARLIER}/md5/a secret')}&expires={EARLIER}",
            f"/md5/b?md5={md5(f'{LATER}/md5/a secret')}&expires={LATER}",
            f"/md5/a?md5={md5(f'{LATER}/md5/a secret')}&expires={EARLIER}",
            f"/md5/a?md5={md5('/md5/a secret')}",
            f"/md5/a?md5={md5('0/md5/a secret')}&expires=0",
            f"/md5/a?md5={md5('x/md5/a secret')}&expires=x",
            f"/md5/a?md5={md5('-1/md5/a secret')}&expires=-1",
            f"/md5/a?md5={md5('99999999999999999999/md5/a secret')}&expires=99999999999999999999",
            *("/md5/a?expires=4000000000", "/md5/a", "/plain/a?md5=", "/plain/a?md5=!!!!", "/plain/a?md5=AAAAAAAAAAAAAAAAAAAAAA"),
            *(f"/plain/a?md5={GOOD}", f"/plain/a?md5={GOOD}==", f"/plain/a?md5={GOOD}=x", f"/plain/a?md5={GOOD}x"),
            *(f"/plain/a?md5={GOOD}xx", f"/plain/a?md5={GOOD}xxx", f"/plain/a?md5={GOOD[:-1]}", "/plain/a"),
            f"/plain/a?md5={GOOD[:-1]}{chr(ord(GOOD[-1]) + 1)}",
            f"/before/a?md5={md5('/before/a secret')}&expires={LATER}",
            *(f"/half/a?md5={md5('/half/a secret')}", "/off/a", "/p/", "/p/x/y", "/p", f"/p/{word('')}/", f"/p/{'g' * 32}/a"),
            *(f"/p/{word('a/b')}/a/b", f"/p/{word('a/b').upper()}/a/b", f"/p/{word('a')}/b", f"/p/{word('a?b=c')}/a?b=c"),
            *(f"/p/{word('a')}/a?b=c", f"/if/{word('a')}/a", f"/if/{word('a')}/b", f"/regex/{word('a')}/a"),
            *(f"/if/{word('%61')}/%61", f"/p//{word('a')}/a"),
        )
    ),
)
def test_secure_link(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
