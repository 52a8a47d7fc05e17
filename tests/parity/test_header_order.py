"""In which order the fields of a response's header section stand."""

from __future__ import annotations

from tests.parity.backend import chunked, raw_reply, reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

ORDER = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        root @ROOT@;
        add_header X-Added 1;
        location /announced/ { keepalive_timeout 10s 20s; alias @ROOT@/; }
        location /returned { return 200 text; }
        location /moved { return 301 /there; }
        location /away { return 302 http://other.example/; }
        location /refused { return 403; }
        location /dir/ { autoindex on; }
        location /relative/ { absolute_redirect off; rewrite ^ /there redirect; }
        location /expiring { expires 1h; alias @ROOT@/a.txt; }
        location /proxied { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://@BACKEND@; }
    }
    """,
    {"a.txt": b"hello", "dir/b.txt": b"b"},
)
MODIFIED = "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT"


def row(id: str, sent: bytes, **more: object) -> Exchange:
    return Exchange(id, sent, ordered=True, **more)  # type: ignore[arg-type]


@exchanges(
    ORDER,
    row("a file", get("/a.txt"), status=200),
    row("a file, the last of its connection", get("/a.txt", "Connection: close"), status=200),
    row("a file, head", request("HEAD", "/a.txt"), status=200),
    row("not modified", get("/a.txt", f"If-Modified-Since: {MODIFIED[15:]}"), status=304),
    row("a part", get("/a.txt", "Range: bytes=1-2"), status=206),
    row("no part", get("/a.txt", "Range: bytes=10-"), status=416),
    row("announced", get("/announced/a.txt"), status=200),
    row("with expires", get("/expiring"), status=200),
    row("a list, in chunks", get("/dir/"), status=200, mask=(r"\d\d-[A-Z].*",)),
    row("text", get("/returned"), status=200),
    row("an error", get("/refused"), status=403),
    row("nothing there", get("/none"), status=404),
    row("a slash missing", get("/dir"), status=301),
    row("a redirect", get("/moved"), status=301),
    row("a redirect elsewhere", get("/away"), status=302),
    row("a redirect that stays relative", get("/relative/"), status=302),
    row("proxied", get("/proxied"), backend=reply(200, "text", MODIFIED, "X-First: 1", "X-Second: 2"), status=200),
    row(
        "proxied in chunks", get("/proxied"),
        backend=raw_reply("HTTP/1.1 200 OK", "X-One: 1", "Transfer-Encoding: chunked", body=chunked(b"text")),
    ),
    row("proxied, an error", get("/proxied"), backend=reply(500, "text", "X-First: 1"), status=500),
    row("proxied, a redirect", get("/proxied"), backend=reply(302, "", "X-First: 1", "Location: http://@BACKEND@/x"), status=302),
    row("proxied, twice", get("/proxied") * 2, methods=("GET",) * 2, backend=reply(200, "one", "X-A: 1"), status=(200, 200)),
)
def test_order(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
