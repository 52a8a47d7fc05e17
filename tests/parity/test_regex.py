"""Patterns that Python's `re` cannot say, or never ends: what nginx does with them."""

from __future__ import annotations

from tests.parity.exchange import Exchange, get
from tests.parity.harness import Group, Servers, exchanges

REGEX = Group(
    r"""
    map $arg_x $mapped { ~^(m+)+$ yes; ~^(?<first>\w)\k<first>$ "twice $first"; default no; }
    server {
        listen 127.0.0.1:@PORT@;
        location ~ "^/rec/(?<p>\((?:[^()]|(?&p))*\))$" { return 200 "balanced $p"; }
        location ~ ^/reset/(?|a(\d)|b(\d))$ { return 200 "$1"; }
        location ~ ^/keep/\Kx+ { return 200 "kept"; }
        location ~ ^/slow/(a+)+$ { return 200 "never"; }
        location ~ ^/poss/a++b$ { return 200 "possessive"; }
        location ~ "^/comma/a{,2}$" { return 200 "text"; }
        location ~ "^/hex/(\x{62}|[\x{61}])*$" { return 200 "hexadecimal"; }
        location /if/ { if ($arg_x ~ "^(i+)+$") { return 200 "in"; } return 200 "out"; }
        location /rewrite/ { rewrite ^/rewrite/(r+)+$ /there; return 200 "stayed"; }
        location /map/ { return 200 "$mapped"; }
        location / { return 200 "other"; }
    }
    server { listen 127.0.0.1:@PORT@; server_name ~^(s+)+\.example$; return 200 "by name"; }
    """
)


def long(letter: str) -> str:
    return letter * 40 + "!"


@exchanges(
    REGEX,
    Exchange("recursion", get("/rec/(a(b)c)"), body=b"balanced (a(b)c)"),
    Exchange("recursion, not balanced", get("/rec/(a(b)c"), body=b"other"),
    Exchange("branch reset", get("/reset/b7"), body=b"7"),
    Exchange("keep out", get("/keep/xx"), body=b"kept"),
    Exchange("possessive", get("/poss/aab"), body=b"possessive"),
    Exchange("comma", get("/comma/a%7B,2%7D"), body=b"text"),
    Exchange("hexadecimal", get("/hex/abba"), body=b"hexadecimal"),
    Exchange("reference by name", get("/map/?x=bb"), body=b"twice b"),
    Exchange("location without end", get("/slow/" + long("a")), status=500),
    Exchange("if without end", get("/if/?x=" + long("i")), status=500),
    Exchange("rewrite without end", get("/rewrite/" + long("r")), status=500),
    Exchange("map without end", get("/map/?x=" + long("m")), body=b"no"),
    Exchange("server name", get("/", host="sss.example"), body=b"by name"),
    Exchange(
        "server name without end", get("/", host="s" * 40 + "-.example"), status=500,
        differs="nginx closes the connection without a word",
    ),
    Exchange("served after it", get("/if/?x=iii"), body=b"in"),
)
def test_regex(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
