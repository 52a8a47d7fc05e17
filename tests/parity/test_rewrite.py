"""The rewrite module: `rewrite`, `if`, `set`, `break`, `return`, in servers and locations."""

from __future__ import annotations

from tests.parity.backend import reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

STATE = 'return 200 "$uri?$args|$1|$2|$x|$y|$request_uri";'
CHAIN = " ".join(f"location = /n{number} {{ rewrite ^ /n{number + 1}? last; }}" for number in range(14))
REWRITES = Group(
    r"""
    log_format rewritten '$uri $args "$x" $status';
    server {
        listen 127.0.0.1:@PORT@;
        error_log rewrite.log notice;
        root @ROOT@;
        rewrite_log on;
        default_type text/plain;
        set $x "";
        set $y "";
        rewrite ^/early/(.*)$ /state/early/$1;
        if ($arg_server) { set $y "server:$arg_server"; }
        if ($http_stop) { return 418 "stopped $uri"; }
        location /state { STATE }

        location /last/ { rewrite ^/last/(.*)$ /state/$1 last; return 500; }
        location /plain/ { rewrite ^/plain/(.*)$ /state/$1; set $x after; }
        location /break/ { rewrite ^/break/(.*)$ /files/$1 break; set $x never; }
        location /chain/ { rewrite a b; rewrite b c; rewrite ^/chcin/(.*)$ /state/chain/$1 last; }
        location /args/ { rewrite ^/args/(.*)$ /state?v=$1 last; }
        location /noargs/ { rewrite ^/noargs/(.*)$ /state?v=$1? last; }
        location /drop/ { rewrite ^/drop/(.*)$ /state/$1? last; }
        location /two/ { rewrite ^/two/(\w+)/(\w+)$ /state/$2/$1?a=$1&b=$2 last; }
        location /named/ { rewrite ^/named/(?<part>\w+)$ /state/$part last; }
        location /nomatch/ { rewrite ^/other$ /state last; STATE }
        location /empty/ { rewrite ^ ? last; }
        location /loop/ { rewrite ^/loop/(.*)$ /loop/$1x last; }
        location /redirect/ { rewrite ^/redirect/(.*)$ /there/$1 redirect; }
        location /permanent/ { rewrite ^/permanent/(.*)$ /there/$1?a=b permanent; }
        location /url/ { rewrite ^/url/(.*)$ http://example.com/$1; }
        location /urlargs/ { rewrite ^/urlargs/(.*)$ https://example.com/?x=$1; }
        location /urlnoargs/ { rewrite ^/urlnoargs/(.*)$ http://example.com/$1?; }
        location /scheme/ { rewrite ^/scheme/(.*)$ $scheme://other/$1 permanent; }
        location /variable/ { rewrite ^ /state/$arg_to last; }
        location /nocase/ { rewrite (?i)^/NOCASE/(.*) /state/$1 last; }

        location /if/ {
            if ($arg_a) { set $x "${x}a"; }
            if ($arg_b = two) { set $x "${x}b"; }
            if ($arg_b != two) { set $x "${x}B"; }
            if ($arg_c ~ ^(\d+)-(\w+)$) { set $x "${x}c$1$2"; }
            if ($arg_c ~* ^X) { set $x "${x}C"; }
            if ($arg_d !~ ^q) { set $x "${x}d"; }
            if ($arg_d !~* ^Q) { set $x "${x}D"; }
            if ($arg_a = $arg_b) { set $x "${x}="; }
            STATE
        }
        location /files/ {
            set $x "";
            if (-f $request_filename) { set $x "${x}f"; }
            if (!-f $request_filename) { set $x "${x}F"; }
            if (-d $request_filename) { set $x "${x}d"; }
            if (!-d $request_filename) { set $x "${x}D"; }
            if (-e $request_filename) { set $x "${x}e"; }
            if (!-e $request_filename) { set $x "${x}E"; }
            if (-x $request_filename) { set $x "${x}x"; }
            if (!-x $request_filename) { set $x "${x}X"; }
            add_header X-Tests $x;
        }
        location /spaces/ { if ( $arg_a = "b c" ) { return 200 spaced; } if ( $arg_a ) { return 200 given; } return 200 none; }
        location /method/ { if ($request_method = POST) { return 405; } return 200 "other"; }
        location /settings/ {
            add_header X-Outer yes;
            error_page 404 /state/outer;
            if ($arg_inner) {
                add_header X-Inner yes; error_page 404 /state/inner; root @ROOT@/inner; limit_rate 100k; expires 1h;
            }
        }
        location /later/ {
            add_header X-Outer yes;
            if ($arg_one) { add_header X-One yes; }
            if ($arg_two) { add_header X-Two yes; }
            return 204;
        }
        location /proxied/ {
            proxy_set_header X-Is outer; proxy_set_header Connection "";
            if ($arg_other) { proxy_pass http://@BACKEND_2@; }
            if ($arg_header) { add_header X-Inner yes; }
            proxy_pass http://@BACKEND@;
        }
        location /mapped/ { if ($arg_other) { set $x 1; } proxy_pass http://@BACKEND@/base/; }
        location /rewritten/ { rewrite ^/rewritten/(.*)$ /new/$1 break; proxy_pass http://@BACKEND@; }
        location /rewrittenbase/ { rewrite ^/rewrittenbase/(.*)$ /new/$1 break; proxy_pass http://@BACKEND@/ignored/; }
        location /setbase/ { set $args "n=1"; proxy_pass http://@BACKEND@; }
        location /breaking/ {
            rewrite ^/breaking/(.*)$ /new/$1 break;
            proxy_intercept_errors on; error_page 404 =200 /shown/page;
            proxy_pass http://@BACKEND@;
        }
        location /shown/ { proxy_pass http://@BACKEND_2@/base/; }
        rewrite ^/early2/(.*)$ /late/$1 break;
        rewrite ^/early3/(.*)$ /latest/$1 break;
        location /late/ { set $x 1; proxy_pass http://@BACKEND@/base/; }
        location /latest/ { proxy_pass http://@BACKEND@/base/; }
        location /tried/ { try_files $uri /state/tried; if ($arg_a) { add_header X-A a; } }
        location /break2/ { set $x 1; if ($arg_a) { break; } set $x 2; STATE }
        location /breakfiles/ { break; rewrite ^ /state last; }
        location /return/ { if ($arg_a) { return 301 /moved/$arg_a; } if ($arg_b) { return 403; } return 200 end; }
        location /setargs/ { set $args "a=1&b=2"; rewrite ^ /state last; }
        location /setargsonly/ { set $args "n=$arg_n"; STATE }
        location /unset/ { set $never $nothing; return 200 "[$never]"; if ($arg_z) { set $nothing 1; } }
        location /error/ { error_page 404 @named; rewrite ^ /files/none break; }
        location @named { rewrite ^ /state/named last; }
        location /only/ { rewrite ^/only/(.*)$ /internal/$1 last; }
        location /internal/ { internal; STATE }
        location ~ ^/regex/(\w+)/(\w+)$ { if ($arg_a ~ (.)(.)) { STATE } set $x "$1-$2"; STATE }
        location /quoted/ { if ($arg_a ~ "^(\w{2})$") { return 200 "two $1"; } return 200 no; }
        location /logged/ {
            access_log outer.log rewritten;
            if ($arg_a) { access_log inner.log rewritten; return 200 a; }
            return 200 b;
        }
        location /inner.txt { return 200 x; }
        location = /twice { rewrite ^ /twice2 last; }
        location = /twice2 { rewrite ^ /state/twice?x=y last; }
    }
    server {
        listen 127.0.0.1:@PORT_2@;
        error_page 404 /x;
        return 404;
        location /x { return 200 "page"; }
    }
    server {
        listen 127.0.0.1:@PORT_3@;
        rewrite ^/a/(.*)$ /b/$1 break;
        rewrite ^/b/(.*)$ /c/$1 last;
        rewrite ^/c/(.*)$ /d/$1;
        if ($uri ~ ^/moved) { rewrite ^ https://$host$request_uri? permanent; }
        location / { return 200 "$uri $request_uri"; }
    }
    server {
        listen 127.0.0.1:@PORT_4@;
        error_log more.log notice;
        root @ROOT@;
        set $x ""; set $id "";
        CHAIN
        location = /e0 { error_page 404 /n5; return 404; }
        location = /e1 { error_page 404 /n6; return 404; }
        location /cookie { if ($http_cookie ~* "id=([^;]+)(?:;|$)") { set $id $1; } return 200 "$id $1"; }
        location /maintained { if (-f $document_root/maintenance.html) { return 503; } error_page 503 @maintenance; return 200 no; }
        location @maintenance { rewrite ^(.*)$ /maintenance.html break; }
        location /relative { absolute_redirect off; rewrite ^/relative/(.*)$ /x/$1 permanent; }
        location /portoff { port_in_redirect off; rewrite ^/portoff/(.*)$ /x/$1 permanent; }
        location /host { rewrite ^(.*)$ http://$host$1 redirect; }
        location /inif { if ($arg_a) { rewrite ^ /target?b=$arg_a last; } return 200 "not"; }
        location /stays {
            if ($arg_a) { rewrite ^ /target.txt break; }
            if ($uri = /target.txt) { set $x again; }
            add_header X-X "$x";
        }
        location /target { return 200 "$uri $args $is_args"; }
        location /quiet { uninitialized_variable_warn off; return 200 "[$unset1]"; set $unset1 1; }
        location /warns { return 200 "[$unset2]"; set $unset2 1; }
        location /notlogged { rewrite_log off; rewrite ^ /target last; }
        location /log { rewrite_log on; rewrite ^/no /x; rewrite ^/l(.*)$ /target?a=$1 last; }
        location /lognot {
            rewrite_log on;
            if ($arg_a ~ ^b) { return 200 y; } if ($arg_a != c) { return 200 z; } if (-f $uri) { return 200 f; }
            if ($arg_a) { rewrite ^ http://x/$arg_a redirect; }
        }
        location /slashes { rewrite ^/slashes/(.*)$ //a//$1 last; }
        location / { return 200 "root $uri $args"; }
        location /dots { rewrite ^/dots/(.*)$ /a/../b/$1 last; }
        location /escaped { rewrite ^/escaped/(.*)$ /t%20$1 last; }
        location /long { rewrite ^/long/(.*)$ /t?$1&$args&$args? last; }
        location /amp { rewrite ^/amp/(.*)$ /t?$1& last; }
        location /marks { rewrite ^/marks/(.*)$ /t?a=$1?b=$1 last; }
        location /whole { set $q "/t?x=y"; rewrite ^ $q last; }
        location /only { rewrite ^ $arg_to last; }
        location /noslash { rewrite ^ target last; }
        location /noslashbreak { rewrite ^ target.txt break; }
        location /noslashredirect { rewrite ^ there redirect; }
        location /space { rewrite "^/space/a b$" "/t/x y" last; }
        location /user {
            if ($remote_user = bob) { return 200 bob; }
            if ($http_authorization) { return 200 "[$remote_user]"; }
        }
        location /again { set $v 1; if ($v) { set $v 2; } if ($v = 2) { set $v "3$v"; } return 200 $v; }
        location /nothing { if ($arg_a != "") { return 200 given; } return 200 none; }
        location /zeros { if ($arg_a) { return 200 true; } return 200 false; }
        location /canonical {
            if ($request_method !~ ^(GET|HEAD)$) { return 405; }
            if ($host ~* ^www\.(?<domain>.+)$) { return 301 $scheme://$domain$request_uri; }
            return 200 "ok";
        }
        location /there { if (-e $document_root$arg_f) { return 200 e; } return 200 n; }
        location /captured { if ($arg_a ~ (.)) { } if ($arg_b ~ (.)) { } return 200 "$1"; }
        location /lost { if ($arg_a ~ (.)) { set $x $1; } if ($arg_b ~ z(.)) { set $x no; } return 200 "$x[$1]"; }
        location ~ ^/cap/(.)(.) { if ($arg_a ~ x) { return 200 "$1$2"; } return 200 "$1$2"; }
        location ~ ^/cap2/(.)(.) { rewrite ^/cap2/(.) /shown/$1$2 last; }
        location /shown { return 200 "$uri $1"; }
        location /header { return 301 http://x/$uri; }
        location /headerrewrite { rewrite ^/headerrewrite/(?<n>(?s).*)$ http://x/$n redirect; }
        location /headeradded { add_header X-A "$uri"; return 200 x; }
        location ~ ^/line/(.*)$ { proxy_pass http://@BACKEND@/a/$1; }
        location ~ ^/lineargs/(?<n>(?s).*)$ { proxy_pass http://@BACKEND@/a?x=$n; }
    }
    """.replace("STATE", STATE).replace("CHAIN", CHAIN),
    {
        "files/a": b"a file\n", "settings/f": b"outer\n", "inner/settings/f": b"inner\n", "tried/f": b"tried\n", "dir/": b"",
        "maintenance.html": b"down\n", "target.txt": b"target\n",
    },
)
LOG = (r"\d+/\d+/\d+ [\d:]+ ", r"\d+#\d+: \*\d+ ")
EXPIRES = (r"Expires: [^\n]+",)


def _rows(*targets: str) -> list[Exchange]:
    return [Exchange(target, get(target)) for target in targets]


@exchanges(
    REWRITES,
    *_rows(
        "/early/a?b=c", "/last/a", "/last/a?b=c", "/plain/a", "/break/a", "/break/none", "/chain/a", "/args/a", "/args/a?b=c",
        "/noargs/a?b=c", "/drop/a?b=c", "/two/a/b", "/two/a/b?c=d", "/two/a", "/named/abc", "/nomatch/a", "/redirect/a",
        "/redirect/a?b=c", "/redirect/a%20b%3fc", "/permanent/a?c=d", "/url/a?b=c", "/url/a%20b", "/urlargs/a?b=c",
        "/urlnoargs/a?b=c", "/scheme/a", "/variable/?to=a%20b", "/variable/?to=a%3Fb", "/nocase/a", "/args/a%20b", "/args/a+b",
        "/args/a%26b", "/last/a%20b", "/last/a%3Fb", "/args/%E2%82%AC", "/twice", "/setargs/?z=1",
        "/setargsonly/?n=5&m=6", "/only/a", "/internal/a", "/empty/?a", "/breakfiles/a", "/regex/a/b", "/regex/a/b?a=xy", "/error/a",
    ),
    Exchange("the cycle's end", get("/loop/a"), status=500),
    Exchange("nothing hides what server steps do", get("/state?server=1"), contains=b"server:1"),
    Exchange("return in an if of the server", get("/state", "Stop: 1"), status=418),
    Exchange("head", request("HEAD", "/last/a")),
    Exchange("post", request("POST", "/last/a", body=b"x")),
)
def test_rewriting(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    REWRITES,
    *_rows(
        "/if/", "/if/?a=1", "/if/?a=0", "/if/?a=", "/if/?b=two", "/if/?c=12-ab", "/if/?c=Xy", "/if/?c=xy&d=q", "/if/?d=Qa",
        "/if/?a=s&b=s", "/files/a", "/files/", "/files/none", "/spaces/", "/spaces/?a=b", "/spaces/?a=b%20c", "/method/",
        "/settings/f", "/settings/none", "/settings/none?inner=1", "/later/", "/later/?one=1", "/later/?two=1",
        "/later/?one=1&two=1", "/tried/f", "/tried/none", "/tried/none?a=1", "/tried/f?a=1", "/break2/", "/break2/?a=1", "/return/",
        "/return/?a=b", "/return/?b=1", "/unset/", "/quoted/?a=ab", "/quoted/?a=abc", "/logged/", "/logged/?a=1",
    ),
    Exchange("settings of the block", get("/settings/f?inner=1"), has={"X-Inner": "yes"}, body=b"inner\n", mask=EXPIRES),
    Exchange("post refused", request("POST", "/method/"), status=405),
    Exchange("spaces in a value", get("/spaces/?a=b c".replace(" ", "%20")), status=200),
)
def test_if(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    REWRITES,
    *_rows(
        "/proxied/a", "/proxied/a?other=1", "/proxied/a?header=1", "/proxied/a?other=1&header=1", "/mapped/a", "/mapped/a?other=1",
        "/rewritten/a", "/rewritten/a?b=c", "/rewritten/a%20b", "/rewrittenbase/a", "/rewrittenbase/a%2fb",
        "/setbase/a?orig=1", "/early2/a", "/early3/a",
    ),
    Exchange("an error page behind a break", get("/breaking/a"), backend=reply(404), status=200),
)
def test_proxied(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    REWRITES,
    Exchange("error page of a server that returns", get("/x"), port="PORT_2", status=404),
    Exchange("break ends the server's rewriting", get("/a/1"), port="PORT_3", body=b"/b/1 /a/1"),
    Exchange("so does last", get("/b/1"), port="PORT_3", body=b"/c/1 /b/1"),
    Exchange("without a flag", get("/c/1"), port="PORT_3", body=b"/d/1 /c/1"),
    Exchange("a redirect in an if", get("/moved?a=b"), port="PORT_3", status=301),
)
def test_server(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    REWRITES,
    Exchange("the cycle", get("/loop/l"), log="rewrite.log", mask=LOG, logged="rewrite or internal redirection cycle"),
    Exchange("an empty URI", get("/empty/l"), log="rewrite.log", mask=LOG, logged="the rewritten URI has a zero length"),
    Exchange("a redirect", get("/redirect/l"), log="rewrite.log", mask=LOG, logged="rewritten redirect"),
    Exchange("rewrite_log", get("/args/l?a=b"), log="rewrite.log", mask=LOG, logged="rewritten data"),
    Exchange(
        "a variable nobody set", get("/unset/l"), log="rewrite.log", mask=LOG, logged='using uninitialized "nothing" variable'
    ),
    Exchange("access log of the block", get("/logged/l?a=1"), log="inner.log"),
    Exchange("access log around it", get("/logged/l"), log="outer.log"),
)
def test_logs(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


SAFE = "a line end in the URI cannot begin another field"
SPACE = "a space in the URI cannot end the request line"


@exchanges(
    REWRITES,
    *(
        Exchange(f"again {target}", get(target), port="PORT_4")
        for target in (
            *(f"/n{number}" for number in range(15)),  # ten rounds, and one more
            "/e0", "/e1", "/cookie", "/maintained", "/relative/a?b=c", "/relative/%0d%0aX:y", "/portoff/a", "/host/a%20b?c", "/inif",
            "/inif?a=b", "/stays", "/stays?a=1", "/slashes/x", "/dots/x", "/escaped/x", "/long/a=b?c=d", "/amp/a?b", "/amp/a",
            "/marks/a", "/marks/a?c", "/whole", "/whole?z", "/only?to=/target", "/only?to=target", "/only?to=", "/only?to=/t?x",
            "/noslash", "/noslashbreak", "/noslashredirect", "/space/a%20b", "/user", "/again", "/nothing", "/nothing?a=1",
            "/zeros?a=00", "/zeros?a=0", "/zeros?a=false", "/zeros?a=%30", "/canonical?x", "/there?f=/target.txt", "/there?f=/dir",
            "/there?f=/none", "/there?f=%00", "/captured?a=1", "/captured?a=1&b=2", "/lost?a=1", "/lost?a=1&b=zz", "/cap/ab?a=x",
            "/cap/ab?a=y", "/cap2/ab", "/header/a", "/line/a%3fb",
        )
    ),
    Exchange("by cookie", get("/cookie", "Cookie: a=b; ID=xyz; c=d"), port="PORT_4", body=b"xyz xyz"),
    Exchange("by user", get("/user", "Authorization: Basic Ym9iOng="), port="PORT_4", body=b"bob"),
    Exchange("by another user", get("/user", "Authorization: Basic YW5uOng="), port="PORT_4", body=b"[ann]"),
    Exchange("by host", get("/canonical?x=1", host="www.example.com"), port="PORT_4", status=301),
    Exchange("by method", request("POST", "/canonical", body=b"1"), port="PORT_4", status=405),
    Exchange("absolute form", get("http://other/target?x"), port="PORT_4"),
    Exchange(
        "a line end in a redirect", get("/header/a%0d%0ab:c"), port="PORT_4", has={"Location": "http://x//header/a%0D%0Ab:c"},
        lacks=("b",), differs=SAFE,
    ),
    Exchange(
        "a line end in a rewrite", get("/headerrewrite/a%0d%0ab:c"), port="PORT_4", has={"Location": "http://x/a%0D%0Ab:c"},
        lacks=("b",), differs=SAFE,
    ),
    Exchange(
        "a line end in a field", get("/headeradded/a%0d%0ab:c"), port="PORT_4", has={"X-A": "/headeradded/a  b:c"}, differs=SAFE
    ),
    Exchange("a space in a line", get("/line/a%20b"), port="PORT_4", forwarded=("GET /a/a%20b HTTP",), differs=SPACE),
    Exchange(
        "a request in a line", get("/lineargs/%20HTTP/1.1%0d%0aX:y"), port="PORT_4", lacks=("X",), withheld=("\nX:y",),
        forwarded=("GET /a?x=%20HTTP/1.1%0D%0AX:y HTTP",), differs=SPACE,
    ),
)  # fmt: skip
def test_more_rewriting(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    REWRITES,
    *(
        Exchange(f"{target} logs", get(target), port="PORT_4", log="more.log", mask=LOG)
        for target in (
            "/n0", "/e1", "/quiet", "/warns", "/notlogged", "/log?x=y", "/lognot", "/lognot?a=b", "/lognot?a=c", "/only?to=",
        )
    ),
)  # fmt: skip
def test_more_logs(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
