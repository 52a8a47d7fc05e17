"""`set_real_ip_from` and its kin: who the client is, where that is looked at."""

from __future__ import annotations

from tests.parity.backend import Close, Wait, reply
from tests.parity.exchange import Exchange, get
from tests.parity.harness import Group, Servers, exchanges

SHOWN = 'return 200 "$remote_addr $realip_remote_addr";'
REALIP = Group(
    r"""
    log_format peers '$remote_addr $request_uri $status';
    log_format both '$remote_addr $remote_port $realip_remote_addr $request_uri $uri';
    limit_req_zone $server_name zone=slow:1m rate=10r/s;
    server {
        listen 127.0.0.1:@PORT@;
        location /off { SHOWN }
        location /inner { set_real_ip_from 127.0.0.0/8; proxy_set_header X-Is $remote_addr; proxy_set_header Connection "";
                          proxy_pass http://@BACKEND@; }
    }
    server {
        listen 127.0.0.1:@PORT_2@;
        set_real_ip_from 127.0.0.1;
        set_real_ip_from 10.0.0.0/8;
        set_real_ip_from 2001:db8::/32;
        if ($remote_addr = 192.0.2.99) { return 403; }
        location / { SHOWN }
        location /logged { access_log peers.log peers; SHOWN }
        location /port { return 200 "[$remote_port]"; }
        location /forwarded { real_ip_header X-Forwarded-For; return 200 "$remote_addr"; }
        location /proxied { proxy_set_header Connection ""; proxy_set_header X-Is $remote_addr; proxy_pass http://@BACKEND@; }
    }
    server {
        listen 127.0.0.1:@PORT_3@;
        set_real_ip_from 127.0.0.1;
        set_real_ip_from 10.0.0.0/8;
        set_real_ip_from 2001:db8::/32;
        real_ip_header X-Forwarded-For;
        real_ip_recursive on;
        location / { SHOWN }
        location /binary { return 200 "$binary_remote_addr"; }
        location /geo { return 200 "$remote_addr"; }
    }
    server {
        listen unix:@PREFIX@/sock;
        set_real_ip_from unix:;
        location / { SHOWN }
        location /others { set_real_ip_from 192.0.2.0/24; root @ROOT@; try_files /none @shown; }
        location @shown { SHOWN }
    }
    server {
        listen 127.0.0.1:@PORT_4@;
        set_real_ip_from 127.0.0.1;
        set_real_ip_from 10.0.0.0/8;
        location /custom { real_ip_header X-Custom; try_files /none @shown; }
        location /recursive { real_ip_header X-Custom; real_ip_recursive on; try_files /none @shown; }
        location /untrusted { set_real_ip_from 192.0.2.0/24; try_files /none @shown; }
        location /around {
            real_ip_header X-Custom;
            location /around/in { deny 192.0.2.7; try_files /none @shown; }
        }
        location /ruled { allow 192.0.2.7; deny all; try_files /none @shown; }
        location /added {
            proxy_set_header Connection ""; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_pass http://@BACKEND@;
        }
        location @shown { return 200 "$remote_addr|$realip_remote_addr"; }
        location /unix/ {
            proxy_set_header Connection ""; proxy_set_header X-Real-IP $arg_ip; proxy_pass http://unix:@PREFIX@/sock:/;
        }
    }
    server {
        listen 127.0.0.1:@PORT_5@;
        set_real_ip_from 127.0.0.1;
        proxy_set_header Connection "";
        proxy_set_header X-Is "$remote_addr $proxy_add_x_forwarded_for $realip_remote_addr";
        log_subrequest on;
        error_log mirrors-error.log;
        root @ROOT@;
        location /mirrored/ { mirror /mirror; alias @ROOT@/; }
        location = /mirror { access_log mirrors.log both; proxy_pass http://@BACKEND@; }
        location /delayed/ { mirror /delayed-mirror; alias @ROOT@/; }
        location = /delayed-mirror { limit_req zone=slow burst=5; access_log mirrors.log both; proxy_pass http://@BACKEND@; }
        location /page { access_log requests.log both; error_page 404 /page-of-it; }
        location = /page-of-it { access_log requests.log both; SHOWN }
        location /checked { auth_request /check; access_log requests.log both; try_files /none @shown; }
        location = /check { access_log requests.log both; proxy_pass http://@BACKEND@; }
        location @shown { SHOWN }
    }
    server {
        listen 127.0.0.1:@PORT_6@;
        root @ROOT@;
        log_subrequest on;
        proxy_set_header Connection "";
        proxy_set_header X-Is "$remote_addr $realip_remote_addr";
        location /checked { auth_request /check; access_log requests.log both; proxy_pass http://@BACKEND@; }
        location = /check { access_log requests.log both; set_real_ip_from 127.0.0.1; proxy_pass http://@BACKEND@; }
    }
    """.replace("SHOWN", SHOWN),
    {"1": b"one", "2": b"two", "3": b"three"},
)


def _of(port: str, field: str, *values: str) -> list[Exchange]:
    return [Exchange(f"{port} {value!r}", get("/", f"{field}: {value}"), port=port) for value in values]


@exchanges(
    REALIP,
    Exchange("off", get("/off", "X-Real-IP: 192.0.2.1"), body=b"127.0.0.1 127.0.0.1"),
    *_of(
        "PORT_2", "X-Real-IP", "192.0.2.1", "192.0.2.1:8080", "::1", "[2001:db8::1]:80", "nonsense", "", "192.0.2.1, 10.1.1.1",
        "unix:", "192.0.2.1 ", "1.2.3.4.5", "256.1.1.1", "localhost", "192.0.2.1:x", "192.0.2.1:", "192.0.2.1:65536",
        "192.0.2.1:00080", "[::1]:", "[::1", "::1:80", "fe80::1%eth0", "1.2.3", "0x7f.1", "127.1", "192.0.2.1/24", "192.0.2.1 x",
        "x 192.0.2.1", "2001:DB8::1", "2001:db8:0:0::1", "0.0.0.0",
    ),
    *(
        Exchange(name, get(target, *fields), port="PORT_4")
        for name, target, *fields in (
            ("a field of one's own", "/custom", "X-Custom: 192.0.2.1"), ("not the usual one", "/custom", "X-Real-IP: 192.0.2.1"),
            ("a list in it", "/custom", "X-Custom: 192.0.2.1, 192.0.2.2"),
            ("recursive in it", "/recursive", "X-Custom: 192.0.2.1, 10.0.0.1"),
            ("not trusted here", "/untrusted", "X-Real-IP: 192.0.2.1"), ("allowed", "/ruled", "X-Real-IP: 192.0.2.7"),
            ("not allowed", "/ruled", "X-Real-IP: 192.0.2.8"),
            ("by a location around", "/around/in", "X-Custom: 192.0.2.7"), ("another one", "/around/in", "X-Custom: 192.0.2.8"),
            ("added", "/added", "X-Real-IP: 192.0.2.8", "X-Forwarded-For: 1.1.1.1"),
        )
    ),
    *(
        Exchange(f"through a Unix socket {target}", get(f"/unix/{target}"), port="PORT_4")
        for target in ("?ip=192.0.2.1", "?ip=192.0.2.1:80", "?ip=::1", "?ip=unix:", "?ip=", "others?ip=192.0.2.1")
    ),
    Exchange(
        "told twice", get("/", "X-Real-IP: 192.0.2.1", "X-Real-IP: 192.0.2.2"), port="PORT_2", body=b"192.0.2.2 127.0.0.1",
        differs="the last of several fields is what the proxy in front added; nginx believes the first, which may be the client's",
    ),
    Exchange(
        "a leading zero", get("/", "X-Real-IP: 192.0.2.010"), port="PORT_2", body=b"127.0.0.1 127.0.0.1",
        differs="8 to some and 10 to others: it is no address",
    ),
    Exchange(
        "IPv4 in IPv6", get("/", "X-Real-IP: ::ffff:192.0.2.1"), port="PORT_2", body=b"192.0.2.1 127.0.0.1",
        differs="an IPv4 address is one however it is written, so that rules for it apply",
    ),
    Exchange("in a location", get("/inner", "X-Real-IP: 192.0.2.1"), forwarded=("X-Is: 192.0.2.1",)),
    Exchange("no field", get("/"), port="PORT_2", body=b"127.0.0.1 127.0.0.1"),
    Exchange("another field does not count", get("/", "X-Forwarded-For: 192.0.2.1"), port="PORT_2"),
    Exchange("known before rewriting", get("/", "X-Real-IP: 192.0.2.99"), port="PORT_2", status=403),
    Exchange("a port", get("/port", "X-Real-IP: 192.0.2.1:8080"), port="PORT_2", body=b"[8080]"),
    Exchange("no port", get("/port", "X-Real-IP: 192.0.2.1"), port="PORT_2", body=b"[]"),
    Exchange("logged", get("/logged", "X-Real-IP: 192.0.2.1"), port="PORT_2", log="peers.log"),
    Exchange(
        "for one request", get("/", "X-Real-IP: 192.0.2.1") + get("/") + get("/", "X-Real-IP: 192.0.2.2"), methods=("GET",) * 3,
        port="PORT_2", body=b"192.0.2.2 127.0.0.1",
    ),
    Exchange(
        "in what is passed on", get("/proxied", "X-Real-IP: 192.0.2.1") + get("/proxied", "X-Real-IP: 192.0.2.1") + get("/proxied"),
        methods=("GET",) * 3, port="PORT_2", forwarded=("X-Is: 127.0.0.1",),
    ),
    *_of(
        "PORT_3", "X-Forwarded-For", "192.0.2.1", "192.0.2.1, 10.1.1.1", "192.0.2.1, 10.1.1.1, 2001:db8::5", "10.1.1.1",
        "10.1.1.1, 10.2.2.2", "nonsense, 10.1.1.1", "192.0.2.1, nonsense", "192.0.2.1,,10.1.1.1,", "8.8.8.8, 192.0.2.1", "",
    ),
    Exchange("two fields", get("/", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.1.1.1"), port="PORT_3", status=200),
    Exchange(
        "a mirror that goes on when its request is answered",
        get("/mirrored/1", "X-Real-IP: 192.0.2.1:81") + get("/mirrored/2", "X-Real-IP: 192.0.2.2") + get("/mirrored/3"),
        methods=("GET",) * 3, port="PORT_5", backend=[Wait(0.1), reply()], reached=3, unordered=True, log="mirrors.log",
        mask=(r"127\.0\.0\.1 \d+ ",),
    ),
    Exchange(
        "a mirror that begins when its request is answered",
        get("/delayed/1", "X-Real-IP: 192.0.2.1") + get("/delayed/2", "X-Real-IP: 192.0.2.2"),
        methods=("GET",) * 2, port="PORT_5", reached=2, unordered=True, log="mirrors.log",
        forwarded=("X-Is: 192.0.2.2 192.0.2.2 127.0.0.1",),
    ),
    Exchange(
        "what goes wrong with a mirror", get("/mirrored/1", "X-Real-IP: 192.0.2.1"), port="PORT_5", backend=[Wait(0.1), Close()],
        reached=1, unordered=True, log="mirrors-error.log", logged="client: 192.0.2.1, ",
        mask=(r"^\d{4}/\S+ \S+ ", r"\d+#\d+: \*\d+"),
    ),
    Exchange("an error page", get("/page", "X-Real-IP: 192.0.2.1"), port="PORT_5", body=b"192.0.2.1 127.0.0.1", log="requests.log"),
    Exchange(
        "a subrequest", get("/checked", "X-Real-IP: 192.0.2.1"), port="PORT_5", body=b"192.0.2.1 127.0.0.1", log="requests.log",
        forwarded=("X-Is: 192.0.2.1 192.0.2.1 127.0.0.1",),
    ),
    Exchange(
        "told to a subrequest", get("/checked", "X-Real-IP: 192.0.2.1") + get("/checked"), methods=("GET",) * 2, port="PORT_6",
        reached=4, log="requests.log", mask=(r"127\.0\.0\.1 \d+ ",),
    ),
    Exchange("binary", get("/binary", "X-Forwarded-For: 1.2.3.4"), port="PORT_3", body=b"\x01\x02\x03\x04"),
)
def test_realip(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
