"""`disable_symlinks`: which symbolic links are followed on the way to a file."""

from __future__ import annotations

from tests.parity.exchange import Exchange, get
from tests.parity.harness import Group, Servers, exchanges

LINKS = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        location / { alias @ROOT@/html/; }
        location /on/ { disable_symlinks on; alias @ROOT@/html/; gzip_static always; }
        location /owner/ { disable_symlinks if_not_owner; alias @ROOT@/html/; }
        location /inherited/ { disable_symlinks on; location /inherited/here/ { alias @ROOT@/html/; } }
        location /off/ { disable_symlinks on; location /off/here/ { disable_symlinks off; alias @ROOT@/html/; } }
        location /dots/ { disable_symlinks on; alias @ROOT@//./html/folder/..//; }
        location /from/ { disable_symlinks on from=@ROOT@/link; alias @ROOT@/link/; }
        location /fromslash/ { disable_symlinks on from=@ROOT@/link/; alias @ROOT@/link/; }
        location /frompart/ { disable_symlinks on from=@ROOT@/li; alias @ROOT@/link/; }
        location /fromelse/ { disable_symlinks on from=/nowhere; alias @ROOT@/link/; }
        location /fromall/ { disable_symlinks on from=@ROOT@/link/file; alias @ROOT@/link/; }
        location /fromlong/ { disable_symlinks on from=@ROOT@/link/a.txt/longer; alias @ROOT@/link/; }
        location /fromroot/ { disable_symlinks on from=$document_root; root @ROOT@/link; }
        location /fromempty/ { disable_symlinks on from=$arg_none; alias @ROOT@/html/; }
        location /try/ { disable_symlinks on; root @ROOT@; try_files $uri /index.txt =410; }
        location /if/ {
            disable_symlinks on;
            if (-f @ROOT@/html/file) { return 201; }
            if (-e @ROOT@/html/foreign) { return 202; }
            if (-d @ROOT@/html/way) { return 203; }
            if (-f @ROOT@/html/a.txt) { return 204; }
        }
        location /index/ { disable_symlinks on; alias @ROOT@/html/linked/; }
        location /indexdir/ { disable_symlinks on; alias @ROOT@/html/way/; }
        location /listing/ { disable_symlinks on; alias @ROOT@/html/way/; autoindex on; autoindex_format json; index none; }
        location /cached/ {
            open_file_cache max=10;
            open_file_cache_errors on;
            location /cached/off/ { alias @ROOT@/html/; }
            location /cached/on/ { disable_symlinks on; alias @ROOT@/html/; }
            location /cached/owner/ { disable_symlinks if_not_owner; alias @ROOT@/html/; }
        }
    }
    """,
    {
        "html/a.txt": b"0123456789",
        "html/folder/b.txt": b"b",
        "html/folder/index.html": b"index",
        "html/linked/": b"",
        "try/": b"",
    },
    links={
        "html/file": "a.txt", "html/way": "folder", "html/foreign": "/etc/passwd", "html/foreignway": "/etc", "html/loop": "loop",
        "html/nothing": "gone", "link": "html", "html/linked/index.html": "../a.txt", "try/file": "../html/a.txt",
        "html/z.txt.gz": "a.txt",
    },
)  # fmt: skip


def status(path: str, code: int) -> Exchange:
    return Exchange(path, get(path), status=code)


@exchanges(
    LINKS,
    status("/file", 200),
    status("/way/b.txt", 200),
    status("/loop", 403),
    status("/loop/x", 403),
    status("/nothing", 404),
    status("/on/a.txt", 200),
    status("/on/folder/b.txt", 200),
    status("/on/folder", 301),
    status("/on/folder/", 200),
    status("/on/file", 403),
    status("/on/way/b.txt", 404),
    status("/on/way", 403),
    status("/on/way/", 404),
    status("/on/loop", 403),
    status("/on/nothing", 403),
    status("/on/none/x", 404),
    status("/on/z.txt", 404),
    status("/owner/a.txt", 200),
    status("/owner/file", 200),
    status("/owner/way/b.txt", 200),
    status("/owner/foreign", 403),
    status("/owner/foreignway/passwd", 403),
    status("/owner/nothing", 404),
    status("/owner/loop", 403),
    status("/inherited/here/a.txt", 200),
    status("/inherited/here/file", 403),
    status("/off/here/file", 200),
    status("/dots/a.txt", 200),
    status("/dots/file", 403),
    status("/from/a.txt", 200),
    status("/from/file", 403),
    status("/from/way/b.txt", 404),
    status("/fromslash/a.txt", 200),
    status("/fromslash/file", 403),
    status("/frompart/a.txt", 404),
    status("/fromelse/a.txt", 404),
    status("/fromall/file", 200),
    status("/fromall/a.txt", 404),
    status("/fromlong/a.txt", 404),
    status("/fromroot/a.txt", 404),
    status("/fromempty/file", 403),
    status("/try/file", 410),
    status("/if/x", 204),
    status("/index/", 403),
    status("/indexdir/", 404),
    status("/listing/", 404),
    Exchange("a file in the cache, then links refused", get("/cached/off/file") + get("/cached/on/file") + get("/cached/off/file"),
             methods=("GET",) * 3, status=(200, 403, 200)),
    Exchange("a foreign file in the cache", get("/cached/off/foreign") + get("/cached/owner/foreign"),
             methods=("GET",) * 2, status=(200, 403)),
)  # fmt: skip
def test_links(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
