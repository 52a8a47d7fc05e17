"""Variables that are looked up: map, geo, split_clients."""

from __future__ import annotations

from tests.parity.backend import reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

MAPS = Group(
    r"""
    map_hash_max_size 4096;
    map_hash_bucket_size 128;
    map $arg_a $plain {
        default none;
        one 1;
        Two 2;
        "three words here" 3;
        "" empty;
        \default escaped;
        ~^r(\d+)$ "regex $1";
        ~*^S(?<rest>.*) "caseless $rest";
        ~^r.* later;
        include @ROOT@/more.map;
    }
    map $arg_a $nodefault { one 1; }
    map $arg_a$arg_b $both { xy "x and y"; default "$arg_a/$arg_b"; }
    map $arg_h $host_class {
        hostnames;
        default other;
        example.com exact;
        *.example.com sub;
        *.deep.example.com deep;
        www.* www;
        .both.org both;
        ~\.net$ regex;
    }
    map $arg_h $hostnames_later {
        *.example.com literal; .both.org dotted; dot. dot; www.* star; a.b plain; volatile;
        hostnames;
        *.example.com sub; .both.org both; default other; *.b sub;
    }
    map $arg_h $nohostnames { *.example.com literal; default no; }
    map $uri $cached { default "$uri"; }
    map $uri $anew { volatile; default "$uri"; }
    map $plain $chained { 1 first; default "not $plain"; }
    map $arg_up $pool { b second; default first; }
    map $request_method:$http_x_version:$cookie_beta:$arg_to $by_everything {
        default first;
        ~^PUT: second;
        ~^\w+:2: second;
        "~^\w+:[^:]*:(?:yes|1):" second;
        ~*:sec[^:]*$ second;
    }
    map $http_upgrade $connection_upgrade { default upgrade; "" close; }
    upstream first { server @BACKEND@; }
    upstream second { server @BACKEND_2@; }

    geo $arg_ip $area {
        default nowhere;
        127.0.0.0/8 loop;
        10.0.0.0/8 ten;
        10.1.0.0/16 ten-one;
        10.1.2.3 one;
        192.168.0.0/16 private;
        192.168.1.0/24 gone;
        delete 192.168.1.0/24;
        2001:db8::/32 documentation;
        2001:db8:1::/48 part;
        include @ROOT@/more.geo;
    }
    geo $mine { default far; 127.0.0.1/32 near; }
    geo $nothing { 10.0.0.0/8 ten; }
    geo $unknown { default some; 255.255.255.255 none; 127.0.0.0/8 loop; }
    geo $unknown_range { ranges; default some; 0.0.0.0-255.255.255.254 other; }
    geo $arg_ip $unknown_arg { default some; 255.255.255.255 none; }
    geo $arg_ip $inrange {
        ranges;
        default outside;
        10.0.0.0-10.0.0.9 low;
        10.0.0.5-10.0.0.5 five;
        10.0.0.20-10.0.0.29 high;
        127.0.0.1-127.0.0.1 me;
    }
    geo $proxied { proxy 127.0.0.0/8; default none; 10.0.0.0/8 ten; 127.0.0.0/8 loop; 192.0.2.0/24 test; }
    geo $recursive { proxy 127.0.0.0/8; proxy 10.0.0.0/8; proxy_recursive; default none; 10.0.0.0/8 ten; 192.0.2.0/24 test; }

    map $around $about { default "<$around>"; }
    map $about $around { default "($about)"; }
    split_clients "$turned" $turning { * "$turned"; }
    map $turning $turned { default "[$turning]"; }
    map $arg_d $deep { ~^(?<first>.)(?<rest>.*)$ "$first-$rest"; volatile; }
    split_clients "$arg_c" $hundredths { @HUNDREDTHS@ * rest; }
    split_clients "$arg_c" $share { 0.5% tiny; 20% small; 50.25% large; * rest; }
    split_clients "${arg_c}x" $part { 30% a; 30% b; }

    server {
        listen 127.0.0.1:@PORT@;
        location /plain { return 200 "[$plain][$nodefault][$both][$chained]"; }
        location /host { return 200 "[$host_class][$nohostnames][$hostnames_later]"; }
        location /cached { set $before "$cached $anew"; rewrite ^ /after last; }
        location /after { return 200 "[$before][$cached][$anew]"; }
        location /set { set $plain changed; return 200 "[$plain][$chained]"; }
        location /capture { if ($arg_z ~ (.)) { return 200 "$plain $1"; } return 200 "$plain $1"; }
        location /pool { proxy_pass http://$pool; }
        location /upgrade { proxy_set_header Connection $connection_upgrade; proxy_pass http://first; }
        location /geo { return 200 "[$area][$mine][$nothing][$inrange]"; }
        location /proxied { return 200 "[$proxied][$recursive]"; }
        location /noaddress { return 200 "[$unknown][$unknown_range][$unknown_arg]"; }
        location /unix { proxy_pass http://unix:@PREFIX@/sock; }
        location /split { return 200 "[$share][$part][$hundredths]"; }
        location /cycle { return 200 "[$around][$about]"; }
        location /turn { return 200 "[$turned][$turning]"; }
        location /deep {
            set $before $deep;
            if ($arg_e ~ (?<first>.)) { return 200 "[$before][$deep][$first][$rest]"; }
            return 200 "$deep$rest";
        }

        location /by/ { proxy_pass http://$by_everything; }
        location /if/ {
            if ($http_x_version = 2) { proxy_pass http://second; }
            if ($cookie_beta ~ ^(yes|1)$) { proxy_pass http://second; }
            if ($request_method = PUT) { proxy_pass http://second; }
            if ($arg_to ~* ^SEC) { proxy_pass http://second; }
            proxy_pass http://first;
        }
    }
    server {
        listen unix:@PREFIX@/sock;
        location / { return 200 "[$unknown][$unknown_range][$unknown_arg]"; }
    }
    """.replace("@HUNDREDTHS@", " ".join(f"0.33% v{number};" for number in range(300))),
    {"more.map": b"included yes;\n", "more.geo": b"172.16.0.0/12 included;\n"},
)


def _rows(*targets: str) -> list[Exchange]:
    return [Exchange(target, get(target)) for target in targets]


@exchanges(
    MAPS,
    *_rows(
        *(f"/plain?a={value}" for value in ("one", "ONE", "two", "none", "default", "r12", "rx", "sMall", "Sx", "included", "")),
        "/plain", "/plain?a=x&b=y", "/plain?a=X&b=Y", "/plain?a=p&b=q",
        *(
            f"/host?h={name}"
            for name in (
                "example.com", "EXAMPLE.com", "a.example.com", "a.b.example.com", "x.deep.example.com", "www.any", "www.a.b",
                "both.org", "a.both.org", "a.net", "example.com.", "*.example.com", "", ".", ".both.org", "dot", "dot.", "dot..",
                "www.*", "WWW.*", "a.b", "a.b.", "c.b",
            )
        ),
        "/cached", "/set", "/deep?d=abc&e=z", "/deep?d=abc", "/deep",
        "/capture?a=r7&z=y", "/capture?a=r7", "/pool", "/pool?up=b", "/upgrade",
    ),
    Exchange("upgrade", get("/upgrade", "Upgrade: x")),
)
def test_map(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    MAPS,
    *_rows(
        *(
            f"/geo?ip={address}"
            for address in (
                "10.2.3.4", "10.1.9.9", "10.1.2.3", "127.9.9.9", "192.168.1.1", "192.168.2.1", "172.20.0.1", "8.8.8.8",
                "2001:db8::1", "2001:db8:1::1", "2001:db9::1", "::ffff:10.1.2.3", "nonsense", "10.0.0.0", "10.0.0.4", "10.0.0.5",
                "10.0.0.6", "10.0.0.9", "10.0.0.10", "10.0.0.25", "10.0.0.30", "1.2.3", "",
            )
        ),
        "/proxied", "/unix", "/noaddress", "/noaddress?ip=nonsense", "/noaddress?ip=2001:db8::1", "/noaddress?ip=10.0.0.1",
        "/noaddress?ip=unix:", "/noaddress?ip=::ffff:255.255.255.255",
    ),
    *(
        Exchange(f"behind {chain}", get("/proxied", f"X-Forwarded-For: {chain}"))
        for chain in (
            "10.1.1.1", "192.0.2.7", "192.0.2.7, 10.1.1.1", "10.1.1.1, 192.0.2.7", "192.0.2.7, 10.1.1.1, 127.0.0.9", "nonsense",
            "192.0.2.7, nonsense", "nonsense, 10.1.1.1", "", " , ", "192.0.2.7:80", "[2001:db8::1]:80", "10.1.1.1, 10.1.1.2",
        )
    ),
    Exchange("two fields", get("/proxied", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 10.1.1.1")),
)
def test_geo(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    MAPS,
    Exchange("a cycle of maps", get("/cycle"), status=200),
    Exchange("a cycle through split_clients", get("/turn"), status=200),
    Exchange("served after it", get("/plain?a=one"), status=200),
)
def test_cycles(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


ROUTES = (
    ("header", "GET", "", ("X-Version: 2",), True), ("other header", "GET", "", ("X-Version: 3",), False),
    ("cookie", "GET", "", ("Cookie: a=b; beta=yes",), True), ("other cookie", "GET", "", ("Cookie: beta=yess",), False),
    ("method", "PUT", "", (), True), ("other method", "DELETE", "", (), False),
    ("query", "GET", "?to=second", (), True), ("other query", "GET", "?to=first", (), False), ("nothing", "GET", "", (), False),
)  # fmt: skip


@exchanges(
    MAPS,
    *(
        Exchange(
            f"{how} {name}", request(method, f"/{how}/x{query}", *headers), reached=1,
            backend={"BACKEND": reply(200, "first"), "BACKEND_2": reply(200, "second")}, body=b"second" if second else b"first",
        )
        for how in ("by", "if")
        for name, method, query, headers, second in ROUTES
    ),
)  # fmt: skip
def test_routes(servers: Servers, exchange: Exchange) -> None:
    """To which upstream a request goes, by header, cookie, method and query, through `map` and through `if`."""
    servers.check(exchange)


@exchanges(
    MAPS,
    *_rows(*(f"/split?c={'v' * length}{number}" for length in range(5) for number in range(12))),
    # These two hash to the last 22 numbers of a share, which count to the next: each share is rounded down before they are added.
    *_rows("/split?c=207694", "/split?c=742906"),
)
def test_split_clients(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
