"""limit_req, limit_conn, limit_rate. Each row counts under a key of its own; rates are so low that the clock does not matter."""

from __future__ import annotations

from tests.parity.exchange import Exchange, Pause, Read, get, request
from tests.parity.harness import Group, Servers, exchanges

LIMITS = Group(
    """
    limit_req_zone $arg_k zone=slow:1m rate=1r/m;
    limit_req_zone $arg_k zone=other:1m rate=2r/m;
    limit_req_zone $arg_k zone=quick:1m rate=8r/s;
    limit_req_zone $arg_none zone=nokey:1m rate=1r/m;
    limit_req_zone "$arg_k$http_x_key" zone=headers:1m rate=1r/m;
    limit_req_zone @LONG_KEY@ zone=longkeys:1m rate=1r/m;
    limit_conn_zone $arg_k zone=conns:1m;
    limit_conn_zone $arg_k$arg_k zone=pairs:1m;
    limit_conn_zone $server_name zone=server:1m;
    limit_conn_zone $http_x_key zone=headerconns:1m;
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        error_log @PREFIX@/limits.log notice;
        add_header X-Req $limit_req_status always;
        add_header X-Conn $limit_conn_status always;
        error_page 418 /page.html;
        location = /none { limit_req zone=slow; alias @ROOT@/a.txt; }
        location = /burst { limit_req zone=slow burst=2 nodelay; alias @ROOT@/a.txt; }
        location = /delay { limit_req zone=quick burst=3; alias @ROOT@/a.txt; }
        location = /some { limit_req zone=quick burst=4 delay=2; alias @ROOT@/a.txt; }
        location = /first { limit_req zone=slow burst=1 nodelay; limit_req zone=other burst=3 nodelay; alias @ROOT@/a.txt; }
        location = /second { limit_req zone=other burst=3 nodelay; limit_req zone=slow burst=1 nodelay; alias @ROOT@/a.txt; }
        location = /third { limit_req zone=slow burst=9 nodelay; limit_req zone=quick burst=2; alias @ROOT@/a.txt; }
        location = /nokey { limit_req zone=nokey; alias @ROOT@/a.txt; }
        location = /halfkey { limit_req zone=slow burst=1 nodelay; limit_req zone=nokey; alias @ROOT@/a.txt; }
        location = /status { limit_req zone=slow; limit_req_status 429; limit_req_log_level warn; alias @ROOT@/a.txt; }
        location = /page { limit_req zone=slow; limit_req_status 418; alias @ROOT@/a.txt; }
        location = /page.html { limit_req zone=slow; limit_conn conns 1; alias @ROOT@/page.html; }
        location = /dry { limit_req zone=slow; limit_req_dry_run on; alias @ROOT@/a.txt; }
        location = /drydelay { limit_req zone=slow burst=5; limit_req_dry_run on; limit_req_log_level warn; alias @ROOT@/a.txt; }
        location = /returned { limit_req zone=slow; return 200 returned; }
        location = /head { limit_req zone=headers; alias @ROOT@/a.txt; }
        location = /redirected { limit_req zone=slow; try_files /none @again; }
        location @again { limit_req zone=slow; root @ROOT@/files; try_files /b.txt =404; }
        location = /proxied { limit_req zone=slow; proxy_pass http://@BACKEND@; }

        location = /inner { limit_conn conns 1; alias @ROOT@/a.txt; }
        location = /outer { limit_conn conns 1; proxy_pass http://127.0.0.1:@PORT@/inner?k=$arg_k; }
        location = /two { limit_conn conns 2; proxy_pass http://127.0.0.1:@PORT@/innertwo?k=$arg_k; }
        location = /innertwo { limit_conn conns 2; alias @ROOT@/a.txt; }
        location = /both { limit_conn pairs 5; limit_conn conns 1; proxy_pass http://127.0.0.1:@PORT@/innerboth?k=$arg_k; }
        location = /innerboth { limit_conn pairs 5; limit_conn conns 1; alias @ROOT@/a.txt; }
        location = /connstatus { limit_conn conns 1; proxy_pass http://127.0.0.1:@PORT@/innerstatus?k=$arg_k; }
        location = /innerstatus { limit_conn conns 1; limit_conn_status 429; limit_conn_log_level warn; alias @ROOT@/a.txt; }
        location = /conndry { limit_conn conns 1; proxy_pass http://127.0.0.1:@PORT@/innerdry?k=$arg_k; }
        location = /innerdry { limit_conn conns 1; limit_conn_dry_run on; alias @ROOT@/a.txt; }
        location = /connkey { limit_conn headerconns 1; alias @ROOT@/a.txt; }
        location = /connredirect { limit_conn conns 1; try_files /none @conn; }
        location @conn { limit_conn conns 1; root @ROOT@/files; try_files /b.txt =404; }
        location = /limited { limit_req zone=slow; limit_conn conns 1; alias @ROOT@/a.txt; }

        location = /longkey { limit_req zone=longkeys; alias @ROOT@/a.txt; }

        location = /rate { limit_rate $arg_rate; limit_rate_after $arg_after; alias @ROOT@/big.txt; }
        location = /setrate { set $limit_rate 30k; alias @ROOT@/a.txt; }
    }
    """.replace("@LONG_KEY@", "$arg_k" * 20),
    {"a.txt": b"a", "page.html": b"<p>slow down</p>", "files/b.txt": b"b", "big.txt": b"x" * 40_000},
)

EXCESS = (r"excess: \d+\.\d+", r"\*\d+ ", r"\d+#\d+", r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d")
LOG = "limits.log"


def times(target: str, count: int) -> bytes:
    return get(target) * count


def row(name: str, target: str, *statuses: int, **more: object) -> Exchange:
    """As many requests as statuses, all at once, under a key of the row's own."""
    count = len(statuses)
    target = f"{target}?k={name.replace(' ', '-')}"
    return Exchange(name, times(target, count), methods=("GET",) * count, status=statuses, **more)  # type: ignore[arg-type]


@exchanges(
    LIMITS,
    row("one", "/none", 200, has={"X-Req": "PASSED"}),
    row("two at once", "/none", 200, 503, has={"X-Req": "REJECTED"},
        log=LOG, mask=EXCESS, logged='limiting requests, * by zone "slow"'),
    Exchange(
        "a key of 80,000 bytes", get("/longkey?k=" + "k" * 4000) * 2, methods=("GET",) * 2, status=(200, 503),
        differs="nginx does not limit who has a long key",
    ),
    row("kept alive after it", "/none", 200, 503, 503, 503, closed=False),
    row("burst", "/burst", 200, 200, 200, 503, 503, has={"X-Req": "REJECTED"}),
    row("delayed", "/delay", 200, 200, 200, 200, has={"X-Req": "DELAYED"},
        log=LOG, mask=EXCESS, logged="delaying request, *, by zone"),
    row("delayed beyond two", "/some", 200, 200, 200, 200, 200, has={"X-Req": "DELAYED"}),
    row("not delayed up to two", "/some", 200, 200, 200, has={"X-Req": "PASSED"}),
    row("the first refuses", "/first", 200, 200, 503, 503, log=LOG, mask=EXCESS, logged='by zone "slow"'),
    row("the second refuses", "/second", 200, 200, 503, 503, 503, 503, log=LOG, mask=EXCESS, logged='by zone "slow"'),
    row("the second delays", "/third", 200, 200, 200, has={"X-Req": "DELAYED"}, log=LOG, mask=EXCESS, logged='by zone "quick"'),
    row("no key", "/nokey", 200, 200, 200, lacks=("X-Req",)),
    row("no key at the second", "/halfkey", 200, 200, 503),
    row("another status and level", "/status", 200, 429, log=LOG, mask=EXCESS, logged="[warn]"),
    row("an error page is not counted", "/page", 200, 418, contains=b"slow down", has={"X-Req": "REJECTED"}),
    row("dry run", "/dry", 200, 200, has={"X-Req": "REJECTED_DRY_RUN"}, log=LOG, mask=EXCESS, logged="limiting requests, dry run, "),
    row("dry run of a delay", "/drydelay", 200, 200, has={"X-Req": "DELAYED_DRY_RUN"}, log=LOG, mask=EXCESS, logged="[notice]"),
    row("return comes before", "/returned", 200, 200, lacks=("X-Req",)),
    row("once for each request", "/redirected", 200, 503),
    row("before an upstream", "/proxied", 200, 503, reached=1),
    Exchange("head", request("HEAD", "/none?k=h") * 2, methods=("HEAD", "HEAD"), status=(200, 503)),
    Exchange("other keys", get("/none?k=x1") + get("/none?k=x2"), methods=("GET", "GET"), status=(200, 200)),
    Exchange("keys of two parts", get("/head?k=y", "X-Key: 1") + get("/head?k=y1"), methods=("GET", "GET"), status=(200, 503)),
    Exchange(
        "after the rate's time", (get("/delay?k=t"), Read(), Pause(0.15), get("/delay?k=t")), methods=("GET", "GET"),
        status=(200, 200), has={"X-Req": "PASSED"},
    ),
    Exchange("a body is not lost", request("POST", "/proxied?k=body", body=b"12345"), forwarded=("12345",)),
)  # fmt: skip
def test_limit_req(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    LIMITS,
    row("alone", "/inner", 200, 200, has={"X-Conn": "PASSED"}),
    row("one within another", "/outer", 503, log=LOG, mask=EXCESS, logged='limiting connections by zone "conns"'),
    row("it is over afterwards", "/outer", 503, 503),
    row("two may", "/two", 200),
    row("both limits", "/both", 503),
    row("another status", "/connstatus", 429, log=LOG, mask=EXCESS, logged="[warn]"),
    row("dry run conn", "/conndry", 200, log=LOG, mask=EXCESS, logged='limiting connections, dry run, by zone "conns"'),
    row("redirected within", "/connredirect", 200, 200),
    row("req before conn", "/limited", 200, 503, lacks=("X-Conn",)),
    Exchange("no key", get("/connkey"), lacks=("X-Conn",)),
    Exchange("a key of 255 bytes", get("/connkey", "X-Key: " + "k" * 255), has={"X-Conn": "PASSED"}),
    Exchange(
        "a key of 256 bytes", get("/connkey", "X-Key: " + "k" * 256), status=200, has={"X-Conn": "PASSED"},
        differs="nginx does not limit who has a long key",
    ),
)  # fmt: skip
def test_limit_conn(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    LIMITS,
    Exchange("by variable", get("/rate?rate=100k"), body=b"x" * 40_000),
    Exchange("off by variable", get("/rate?rate=0"), body=b"x" * 40_000),
    Exchange("not a rate", get("/rate?rate=x"), body=b"x" * 40_000),
    Exchange("after by variable", get("/rate?rate=20k&after=20k"), body=b"x" * 40_000),
    Exchange("by set", get("/setrate"), body=b"a"),
)
def test_limit_rate(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
