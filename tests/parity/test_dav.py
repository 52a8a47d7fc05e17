"""PUT, DELETE, MKCOL, COPY and MOVE: each status of nginx's, and what is there afterwards."""

from __future__ import annotations

import itertools
import re

from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

SEED = {"a": b"0123456789", "b": b"b", "sub/x": b"x", "sub/deep/z": b"z", "other/o": b"o"}  # what each row begins with
DAV = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        root @PREFIX@/site;
        dav_methods PUT DELETE MKCOL COPY MOVE;
        location /seed/ { create_full_put_path on; alias @PREFIX@/site/d/; }
        location /d/ { }
        location /off/ { dav_methods off; }
        location /some/ { dav_methods put mkcol; }
        location /aliased/ { alias @PREFIX@/site/d/; }
        location /min/ { min_delete_depth 4; alias @PREFIX@/site/d/; }
        location /full/ { create_full_put_path on; dav_access group:rw all:r; }
        location /small/ { client_max_body_size 5; create_full_put_path on; }
        location /here/ { absolute_redirect off; create_full_put_path on; }
        location /excepted/ { limit_except GET { deny all; } create_full_put_path on; }
        location /proxied/ { proxy_pass http://@BACKEND@; }
        location /shown/ { error_page 409 404 /page; create_full_put_path on; }
        location = /page { return 200 "page"; }
    }
    """,
)


def _ask(method: str, target: str, *fields: str, body: bytes = b"") -> bytes:
    text = request(method, target, *fields, body=body)
    return text if body or method != "PUT" else text.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")


_ROWS = itertools.count()


def _row(name: str, *asked: bytes, differs: str = "", status: tuple[int, ...] | None = None) -> Exchange:
    """A row with files of its own, below `/d/`, which are there by the names `/aliased/` and `/min/`, too."""
    own = b"row%d" % next(_ROWS)
    seeds = [_ask("PUT", f"/seed/{own.decode()}/{path}", body=content) for path, content in SEED.items()]
    moved = [re.sub(rb"(?<=/)(d|aliased|min)/", rb"\1/" + own + b"/", each) for each in asked]
    methods = tuple(each.split(b" ", 1)[0].decode() for each in (*seeds, *moved))
    expected = None if status is None else ((201,) * len(seeds) + status)
    masks = (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT", r'"[0-9a-f]+-[0-9a-f]+"')
    return Exchange(name, b"".join([*seeds, *moved]), methods=methods, differs=differs, status=expected, mask=masks)


CHUNKED = b"PUT /d/chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


@exchanges(
    DAV,
    _row("a new file", _ask("PUT", "/d/new", body=b"12345"), get("/d/new"), status=(201, 200)),
    _row("again", _ask("PUT", "/d/new", body=b"12345"), _ask("PUT", "/d/new", body=b"1"), get("/d/new"), status=(201, 204, 200)),
    _row("an empty one", _ask("PUT", "/d/nothing"), get("/d/nothing"), status=(201, 200)),
    _row("in chunks", CHUNKED, get("/d/chunked"), status=(201, 200)),
    _row("a large one", _ask("PUT", "/d/large", body=b"x" * 300_000), get("/d/large"), status=(201, 200)),
    _row("escaped", _ask("PUT", "/d/a%20b%25", body=b"1"), get("/d/a%20b%25"), status=(201, 200)),
    _row("with dots", _ask("PUT", "/d/x/../dots", body=b"1"), get("/d/dots"), status=(201, 200)),
    _row("a relative Location", _ask("PUT", "/here/x?y=z", body=b"1"), status=(201,)),
    _row("a collection", _ask("PUT", "/d/put/", body=b"1"), status=(409,)),
    _row("over a directory", _ask("PUT", "/d/sub", body=b"1"), get("/d/sub/x"), status=(409, 200)),
    _row("a part", _ask("PUT", "/d/part", "Content-Range: bytes 0-1/2", body=b"1"), status=(501,)),
    _row("no directory", _ask("PUT", "/d/none/x", body=b"1"), status=(500,)),
    _row("behind a file", _ask("PUT", "/d/a/x", body=b"1"), status=(500,)),
    _row("directories are made", _ask("PUT", "/full/a/b/c", body=b"1"), get("/full/a/b/c"), status=(201, 200)),
    _row("too large", _ask("PUT", "/small/x", body=b"123456"), status=(413,)),
    _row("with a date", _ask("PUT", "/d/dated", "Date: Thu, 01 Jan 2026 00:00:00 GMT", body=b"1"), status=(201,)),
    _row("an alias", _ask("PUT", "/aliased/new", body=b"1"), get("/aliased/new"), status=(201, 200)),
    _row("off", _ask("PUT", "/off/x", body=b"1"), status=(405,)),
    _row("some", _ask("MKCOL", "/some/none/x/"), _ask("DELETE", "/some/x"), status=(409, 405)),
    _row("denied", _ask("PUT", "/excepted/x", body=b"1"), status=(403,)),
    _row("shown by an error page", _ask("PUT", "/shown/x/", body=b"1"), status=(409,)),
    _row("proxied", _ask("PUT", "/proxied/x", body=b"1"), status=(200,)),
    _row("elsewhere", _ask("PUT", "/x", body=b"1"), get("/x"), status=(201, 200)),
)
def test_put(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    DAV,
    _row("a file", _ask("PUT", "/d/gone", body=b"1"), _ask("DELETE", "/d/gone"), get("/d/gone"), status=(201, 204, 404)),
    _row("nothing", _ask("DELETE", "/d/none"), _ask("DELETE", "/d/none/"), _ask("DELETE", "/d/none/x"), status=(404, 404, 404)),
    _row("a file as a collection", _ask("DELETE", "/d/b/"), status=(409,)),
    _row("a directory as a file", _ask("DELETE", "/d/other"), get("/d/other/o"), status=(409, 200)),
    _row("a directory", _ask("MKCOL", "/d/dir/"), _ask("PUT", "/d/dir/x", body=b"1"), _ask("DELETE", "/d/dir/"), get("/d/dir/x")),
    _row("with a body", _ask("DELETE", "/d/b", body=b"1"), status=(415,)),
    *(_row(f"depth {depth} of a directory", _ask("DELETE", "/d/sub/", f"Depth: {depth}")) for depth in ("0", "1", "x", "")),
    _row("depth of a file", _ask("DELETE", "/d/a", "Depth: 1"), status=(400,)),
    _row("infinite depth", _ask("PUT", "/d/inf", body=b"1"), _ask("DELETE", "/d/inf", "Depth: infinity"), status=(201, 204)),
    _row("too near to the root", _ask("DELETE", "/min/a"), _ask("DELETE", "/min/sub/"), _ask("DELETE", "/min/sub/x"),
         _ask("DELETE", "/min/sub/deep/"), status=(409, 409, 204, 204)),
    _row("near the root", _ask("DELETE", "/min/"), status=(409,)),
    _row("shown by an error page", _ask("DELETE", "/shown/none"), status=(404,)),
)  # fmt: skip
def test_delete(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    DAV,
    _row("a directory", _ask("MKCOL", "/d/made/"), _ask("PUT", "/d/made/x", body=b"1"), get("/d/made/x"), status=(201, 201, 200)),
    _row("no collection", _ask("MKCOL", "/d/made2"), status=(409,)),
    _row("again", _ask("MKCOL", "/d/sub/"), status=(405,)),
    _row("over a file", _ask("MKCOL", "/d/a/"), status=(405,)),
    _row("nowhere", _ask("MKCOL", "/d/none/none/"), status=(409,)),
    _row("with a body", _ask("MKCOL", "/d/made3/", body=b"1"), status=(415,)),
    _row("a relative Location", _ask("MKCOL", "/here/dir/"), _ask("MKCOL", "/here/dir/")),
)
def test_mkcol(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


def _to(method: str, source: str, target: str, *fields: str) -> bytes:
    return _ask(method, source, f"Destination: {target}", *fields)


@exchanges(
    DAV,
    _row("a file", _to("COPY", "/d/a", "/d/copied"), get("/d/a"), get("/d/copied"), status=(204, 200, 200)),
    _row("over another", _ask("PUT", "/d/over", body=b"1"), _to("COPY", "/d/a", "/d/over"), get("/d/over"), status=(201, 204, 200)),
    _row("an address", _to("COPY", "/d/a", "http://localhost/d/copied2"), get("/d/copied2"), status=(204, 200)),
    _row("an address with a port", _to("COPY", "/d/a", "http://localhost:80/d/copied3"), get("/d/copied3"), status=(204, 200)),
    _row("escaped", _to("COPY", "/d/a", "/d/c%20d"), get("/d/c%20d"), status=(204, 200)),
    _row("no destination", _ask("COPY", "/d/a"), status=(400,)),
    *(
        _row(f"destination {each}", _to("COPY", "/d/a", each), status=(400,))
        for each in ("ftp://localhost/d/x", "https://localhost/d/x", "http://other/d/x", "http://localhost", "x", "", "/d/../x",
                     "/d/%2e%2e/x", "/d/a%00")
    ),
    _row("kind", _to("COPY", "/d/a", "/d/x/"), _to("COPY", "/d/sub/", "/d/x"), status=(409, 409)),
    _row("to a directory", _to("COPY", "/d/a", "/d/sub"), status=(409,)),
    _row("a directory as a file", _to("COPY", "/d/sub", "/d/x"), status=(400,)),
    _row("nothing", _to("COPY", "/d/none", "/d/x"), _to("COPY", "/d/none/", "/d/x/"), status=(404, 404)),
    _row("nowhere", _to("COPY", "/d/a", "/d/none/none/x"), status=(500,)),
    _row("with a body", _ask("COPY", "/d/a", "Destination: /d/x", body=b"1"), status=(415,)),
    *(_row(f"overwrite {each}", _to("COPY", "/d/a", "/d/b", f"Overwrite: {each}")) for each in ("F", "f", "T", "x", "", "TRUE")),
    _row("overwrite is for what exists", _to("COPY", "/d/a", "/d/fresh", "Overwrite: F"), status=(204,)),
    *(_row(f"depth {each}", _to("COPY", "/d/a", "/d/depth", f"Depth: {each}")) for each in ("0", "1", "infinity", "x")),
    _row("a directory", _to("COPY", "/d/sub/", "/d/sub2/"), get("/d/sub2/x"), get("/d/sub2/deep/z"), get("/d/sub/x"),
         status=(201, 200, 200, 200)),
    _row("a directory over another", _ask("MKCOL", "/d/sub3/"), _ask("PUT", "/d/sub3/old", body=b"1"),
         _to("COPY", "/d/sub/", "/d/sub3/"), get("/d/sub3/old"), get("/d/sub3/x"), status=(201, 201, 201, 404, 200)),
    _row("a directory nowhere", _to("COPY", "/d/sub/", "/d/none/none/"), status=(404,)),
    _row("within an alias", _to("COPY", "/aliased/a", "/aliased/c"), get("/aliased/c"), status=(204, 200)),
)  # fmt: skip
def test_copy(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    DAV,
    _row("a file", _ask("PUT", "/d/m1", body=b"1"), _to("MOVE", "/d/m1", "/d/m2"), get("/d/m1"), get("/d/m2"),
         status=(201, 204, 404, 200)),
    _row("directories are made", _ask("PUT", "/d/m3", body=b"1"), _to("MOVE", "/d/m3", "/d/new1/new2/m"), get("/d/new1/new2/m"),
         status=(201, 204, 200)),
    _row("a directory", _ask("MKCOL", "/d/m4/"), _ask("PUT", "/d/m4/x", body=b"1"), _to("MOVE", "/d/m4/", "/d/m5/"), get("/d/m5/x"),
         get("/d/m4/x"), status=(201, 201, 201, 200, 404)),
    _row("a directory over another", _ask("MKCOL", "/d/m6/"), _ask("MKCOL", "/d/m7/"), _ask("PUT", "/d/m7/old", body=b"1"),
         _to("MOVE", "/d/m6/", "/d/m7/"), get("/d/m7/old"), status=(201, 201, 201, 201, 404)),
    *(_row(f"depth {each}", _to("MOVE", "/d/a", "/d/x", f"Depth: {each}")) for each in ("0", "1", "x")),
    _row("nothing", _to("MOVE", "/d/none", "/d/x"), status=(404,)),
    _row("not over another", _to("MOVE", "/d/a", "/d/b", "Overwrite: F"), get("/d/a"), status=(412, 200)),
)  # fmt: skip
def test_move(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


SAFER = "nginx does what the client asks"


@exchanges(
    DAV,
    _row("into another location", _to("COPY", "/d/a", "/min/stolen"), _to("MOVE", "/d/a", "/off/stolen"), get("/d/a"), differs=SAFER,
         status=(403, 403, 200)),
    _row("out of an alias", _to("COPY", "/aliased/a", "/d/aliased"), get("/d/aliased"), differs=SAFER, status=(403, 404)),
    _row("on itself", _to("COPY", "/d/a", "/d/a"), _to("COPY", "/d/a", "/d//a"), get("/d/a"), differs=SAFER, status=(403, 403, 200)),
    _row("into itself", _to("COPY", "/d/sub/", "/d/sub/in/"), _to("MOVE", "/d/sub/deep/", "/d/sub/"), get("/d/sub/deep/z"),
         differs=SAFER, status=(403, 403, 200)),
    _row("another host that begins alike", _to("COPY", "/d/a", "http://localhost.evil/d/x"), differs=SAFER, status=(400,)),
    _row("without a length", request("PUT", "/d/lengthless"), get("/d/lengthless"), differs="no body is an empty one; nginx: 500",
         status=(201, 200)),
    _row("nothing but the collection", _to("COPY", "/d/sub/", "/d/shallow/", "Depth: 0"), get("/d/shallow/x"), status=(201, 404),
         differs="nginx copies what is in it, too"),
)  # fmt: skip
def test_differences(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
