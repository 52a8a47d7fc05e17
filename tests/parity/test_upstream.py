"""Upstreams: which peer gets which request.

Every backend says its name, so a sequence of answers is a sequence of peers.
"""

from __future__ import annotations

from tests.parity.backend import Close, Turns, reply
from tests.parity.exchange import Exchange, Read, get
from tests.parity.harness import Group, Servers, exchanges

BALANCED = Group(
    """
    upstream plain { server @BACKEND_1@; server @BACKEND_2@; server @BACKEND_3@; }
    upstream weights { server @BACKEND_1@ weight=5; server @BACKEND_2@; server @BACKEND_3@; }
    upstream twoweights { server @BACKEND_1@ weight=3; server @BACKEND_2@ weight=2; }
    upstream withdown { server @BACKEND_1@; server @BACKEND_2@ down; server @BACKEND_3@; }
    upstream withbackup { server @BACKEND_1@; server @BACKEND_2@ backup; }
    upstream least { least_conn; server @BACKEND_1@; server @BACKEND_2@; server @BACKEND_3@ weight=2; }
    upstream byip { ip_hash; server @BACKEND_1@; server @BACKEND_2@; server @BACKEND_3@; }
    upstream hashed { hash $arg_key; server @BACKEND_1@; server @BACKEND_2@; server @BACKEND_3@; }
    upstream hashweights { hash $arg_key; server @BACKEND_1@ weight=4; server @BACKEND_2@; }
    upstream hashdown { hash $arg_key; server @BACKEND_1@; server @BACKEND_2@ down; server @BACKEND_3@; }
    upstream one { random; server @BACKEND_1@; }
    upstream two { random two least_conn; server @BACKEND_1@; }
    upstream kept { server @BACKEND_1@; keepalive 2; }
    upstream zoned { zone zoned 64k; server @BACKEND_1@; server @BACKEND_2@; }
    upstream failing { server @BACKEND_1@ max_fails=1 fail_timeout=60s; server @BACKEND_2@; }
    upstream failing2 { server @BACKEND_1@ max_fails=2 fail_timeout=60s; server @BACKEND_2@; }
    upstream limited { server @BACKEND_1@ max_conns=1; server @BACKEND_2@; zone limited 64k; }
    upstream retried {
        server @BACKEND_1@ max_fails=0;
        server @BACKEND_2@ max_fails=0;
        server @BACKEND_3@ max_fails=0;
    }
    upstream unix { server unix:@BACKEND_UNIX@; }
    upstream dead { server @DEAD@; server @BACKEND_1@; }
    upstream backups { server @DEAD@; server @BACKEND_1@ backup; server @BACKEND_2@ backup; }
    server {
        listen 127.0.0.1:@PORT@;
        location /plain { proxy_pass http://plain; }
        location /weights { proxy_pass http://weights; }
        location /twoweights { proxy_pass http://twoweights; }
        location /withdown { proxy_pass http://withdown; }
        location /withbackup { proxy_pass http://withbackup; }
        location /least { proxy_pass http://least; }
        location /byip { proxy_pass http://byip; }
        location /hashed { proxy_pass http://hashed; }
        location /hashweights { proxy_pass http://hashweights; }
        location /hashdown { proxy_pass http://hashdown; }
        location /one { proxy_pass http://one; }
        location /two { proxy_pass http://two; }
        location /kept { proxy_pass http://kept; }
        location /zoned { proxy_pass http://zoned; }
        location /failing { proxy_pass http://failing; }
        location /failing2 { proxy_pass http://failing2; }
        location /retried { proxy_pass http://retried; }
        location /limited { proxy_pass http://limited; }
        location /unix { proxy_pass http://unix; }
        location /dead { proxy_pass http://dead; }
        location /backups { proxy_pass http://backups; }
    }
    """
)
NAMES = {name: reply(200, name) for name in ("BACKEND_1", "BACKEND_2", "BACKEND_3")}


def _sequence(target: str, count: int) -> Exchange:
    """The same request again and again on one connection."""
    return Exchange(
        f"{target} {count}",
        [act for _ in range(count) for act in (get(target), Read())],
        methods=("GET",) * count,
        backend=NAMES,
        status=(200,) * count,
        reached=count,
    )


def _keys(target: str, count: int) -> Exchange:
    """A request for each of many keys."""
    return Exchange(
        f"{target} by {count} keys",
        [act for n in range(count) for act in (get(f"{target}?key=k{n * 7919}"), Read())],
        methods=("GET",) * count,
        backend=NAMES,
        status=(200,) * count,
    )


@exchanges(
    BALANCED,
    _sequence("/plain", 7),
    _sequence("/weights", 14),
    _sequence("/twoweights", 10),
    _sequence("/withdown", 5),
    _sequence("/withbackup", 3),
    _sequence("/least", 8),
    _sequence("/byip", 4),
    _sequence("/hashed?key=a", 3),
    _sequence("/hashed?key=", 3),
    _keys("/hashed", 40),
    _keys("/hashweights", 40),
    _keys("/hashdown", 40),
    _sequence("/one", 2),
    _sequence("/two", 2),
    _sequence("/kept", 4),
    _sequence("/zoned", 5),
    _sequence("/unix", 2),
    _sequence("/limited", 4),
    Exchange(
        "left out after a failure",
        [act for _ in range(4) for act in (get("/failing"), Read())],
        methods=("GET",) * 4,
        backend=Turns(([Close()], reply(200, "x"))),
        status=(200,) * 4,
        reached=5,
    ),
    Exchange(
        "left out after two failures",
        [act for _ in range(5) for act in (get("/failing2"), Read())],
        methods=("GET",) * 5,
        backend={"BACKEND_1": [Close()], "BACKEND_2": reply(200, "second")},
        status=(200,) * 5,
        reached=7,
    ),
    Exchange(
        "refused once, then left out",
        [act for _ in range(3) for act in (get("/dead"), Read())],
        methods=("GET",) * 3,
        status=(200,) * 3,
        reached=3,
    ),
    Exchange(
        "second tries in turn",
        [act for _ in range(6) for act in (get("/retried"), Read())],
        methods=("GET",) * 6,
        backend=Turns(([Close()], *[reply(200, "x")] * 3, [Close()], reply(200, "x"))),
        status=(200,) * 6,
        reached=8,
        differs="connections are kept: one that dies unanswered is made anew to the same server first",
    ),
    Exchange(
        "backups in turn",
        [act for _ in range(4) for act in (get("/backups"), Read())],
        methods=("GET",) * 4,
        backend=NAMES,
        status=(200,) * 4,
    ),
)
def test_balancing(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


# Ketama hashes each peer's address as it is written, and the two servers have backends on different ports:
# which of several peers a key leads to cannot be the same. Only that it serves is compared here.
KETAMA = Group(
    """
    upstream consistent { hash $arg_key consistent; server @BACKEND_1@; server @DEAD@ down; }
    server { listen 127.0.0.1:@PORT@; location / { proxy_pass http://consistent; } }
    """
)


@exchanges(KETAMA, _keys("/", 5))
def test_consistent_hash(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
