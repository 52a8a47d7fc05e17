"""Heads of upstreams' answers that the filters of a location leave as they are, or only add to: their lines are made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.codec.http1_response import parse_response_head
from portico.features import gunzip, limit_req, sub_filter
from portico.features.charset import feature as charset
from portico.features.compression import feature as compression
from portico.http.finished import FinishedHead
from portico.http.header_section import finished_head
from portico.http.response import PLAIN_UPSTREAM, BytesBody, Response
from portico.http.server.http1.output import field_lines

ALL = (*FEATURES, compression.GZIP, compression.BROTLI, compression.FEATURE, compression.ZSTD,
       gunzip.FEATURE, sub_filter.FEATURE, charset.FEATURE)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "head", "fields", "left"),
    [
        ("gzip on;", "Content-Type: application/json", "Accept-Encoding: gzip", True),
        ("gzip on; gzip_vary on;", "Content-Type: application/json", "Accept-Encoding: gzip", True),
        ("gzip on;", "X: y", "Accept-Encoding: gzip", True),
        ("gzip on; gzip_types *;", "X: y", "Accept-Encoding: gzip", False),
        ("gzip on;", "Content-Type: text/html", "Accept-Encoding: gzip", False),
        ("gzip on;", "Content-Type: text/html; charset=utf-8", "Accept-Encoding: gzip", False),
        ("gzip on;", "Content-Type: text/html", "", True),
        ("gzip on; gzip_vary on;", "Content-Type: text/html", "", False),  # it says that others get something else
        ("gzip on; brotli on; brotli_types *;", "Content-Type: application/json", "Accept-Encoding: gzip", False),
        ("sub_filter a b;", "Content-Type: application/json", "", True),
        ("sub_filter a b;", "Content-Type: text/html", "", False),
        ("sub_filter a b; sub_filter_types *;", "X: y", "", False),
        ("charset utf-8;", "Content-Type: application/json", "", True),
        ("charset utf-8;", "Content-Type: text/html", "", False),
        ("charset utf-8;", "Content-Type: text/html; charset=utf-8", "", True),
        ("charset utf-8; override_charset on;", "Content-Type: text/html; charset=utf-8", "", False),
        ("charset utf-8;", "Content-Type: application/json\r\nX-Accel-Charset: utf-8", "", False),
        ("charset off; location /other { charset utf-8; }", "Content-Type: text/html", "", True),
        ("gzip on; charset utf-8;", "Content-Type: application/json", "Accept-Encoding: gzip", True),
        ("gzip on; charset utf-8;", "Content-Type: text/html; charset=utf-8", "Accept-Encoding: gzip", False),
        ("gunzip on;", "Content-Type: text/html", "", True),
        ("gunzip on;", "Content-Type: text/html\r\nContent-Encoding: gzip", "", False),
        ("gzip on; gzip_vary on; gzip_min_length 36;", "Content-Type: text/html\r\nContent-Length: 35", "Accept-Encoding: br", True),
        ("gzip on; gzip_min_length 35;", "Content-Type: text/html\r\nContent-Length: 35", "Accept-Encoding: gzip", False),
        ("gzip on; gzip_min_length 36;", "Content-Type: text/html", "Accept-Encoding: gzip", False),
        ("gzip on; gzip_min_length 36; brotli on;", "Content-Type: text/html\r\nContent-Length: 35", "Accept-Encoding: gzip", False),
        ("add_header A 1;", "Content-Type: text/html", "", True),
        ("add_header A 1 always; add_header B $uri; add_header C $sent_http_content_type;", "Content-Type: a/b", "", True),
        ('add_header A ""; add_header B $arg_none; add_header A "x y";', "X: y", "", True),
        ("add_header A 1; add_header etag 2;", "X: y", "", False),
        ('add_header Last-Modified "";', "X: y", "", False),
        ("expires 1h;", "X: y", "", True),
        ("expires epoch; add_header Cache-Control public;", "X: y", "", True),
        ("expires off; add_header A 1;", "Cache-Control: private", "", True),
        ("expires -1;", "expires: never", "", False),
        ("expires max;", "X: y\r\ncache-control: private", "", False),
        ("expires modified 1h;", "X: y", "", False),
        ("add_trailer A 1;", "X: y", "", False),
        ("gzip on; add_header A 1; expires 1h;", "Content-Type: application/json", "Accept-Encoding: gzip", True),
        ("gzip on; add_header A 1; expires 1h;", "Content-Type: text/html", "Accept-Encoding: gzip", False),
    ],
)
@pytest.mark.parametrize("status", [200, 404])
def test_heads_that_are_left_alone(tmp_path: Path, text: str, head: str, fields: str, left: bool, status: int) -> None:
    """What the filters say of an upstream's head before the answer is made. If they leave it, those that add make of finished lines
    what all of them make of the fields.
    """
    site = Site(text, tmp_path, ALL)
    request = site.request("/page.html", fields)
    location = request.server.locations.find(request.uri).value
    asked = [one for one in location.header_filters if one.changes_full()]
    answer = parse_response_head(f"HTTP/1.1 {status} OK\r\n{head}\r\n\r\n".encode())
    assert asked and all(one.preserves(request, answer) for one in asked) == left
    if left:
        made, known = (Response(status, BytesBody(b"an answer of more than twenty bytes")) for _ in range(2))
        made.content_type = answer.first.get(b"content-type", b"")
        made.fields = [(key, answer.first[key.lower()]) for key in answer.keys if not key.startswith(b"Content-")]
        known.finished = finished_head(request, made)
        body = known.body
        for response, filters in ((made, location.header_filters), (known, location.adding_filters)):
            response.upstream = PLAIN_UPSTREAM
            request.response = response
            for one in filters:
                one.apply(request, response)
        assert known.finished is not None and known.body is body
        assert field_lines(request, known) == field_lines(request, made)
    site.close()


def test_what_is_added_to_a_finished_head_is_one_line(tmp_path: Path) -> None:
    response = Response(200, BytesBody(b""))
    response.finished = FinishedHead([(b"A", b"1")])
    response.append(FinishedHead([(b"B", b"2\r\nX: d")]))
    response.add(b"C", b"3\r\nSet-Cookie: c\0")
    site = Site("", tmp_path, ALL)
    assert b"".join(field_lines(site.request("/"), response)) == b"A: 1\r\nB: 2  X: d\r\nC: 3  Set-Cookie: c \r\n"
    site.close()


def test_fields_made_once_stand_in_the_order_of_their_filters(tmp_path: Path) -> None:
    response = Response(200, BytesBody(b""))
    response.finished = FinishedHead([(b"A", b"1")])
    response.add(b"B", b"2")
    response.append(FinishedHead([(b"C", b"3")]))
    site = Site("", tmp_path, ALL)
    assert b"".join(field_lines(site.request("/"), response)) == b"A: 1\r\nB: 2\r\nC: 3\r\n"
    site.close()


def test_the_fields_of_a_limit(tmp_path: Path) -> None:
    zone = "limit_req_zone $uri zone=one:1m rate=1r/s;"
    site = Site("limit_req zone=one burst=5 nodelay; limit_req_headers on;", tmp_path, (*ALL, limit_req.FEATURE), zone)
    request = site.request("/page.html")
    location = request.server.locations.find(request.uri).value
    assert location.handlers[0].handle(request) is None
    response = Response(200, BytesBody(b""))
    response.finished = FinishedHead([(b"A", b"1")])
    for one in location.adding_filters:
        one.apply(request, response)
    lines = b"".join(field_lines(request, response))
    assert lines.startswith(b"A: 1\r\nRateLimit-Policy: ") and b"\r\nRateLimit: " in lines
    site.close()


def test_the_adding_filters_of_a_location(tmp_path: Path) -> None:
    site = Site("gzip on; add_header A 1; location /none { add_header_inherit off; }", tmp_path, ALL)
    locations = site.plan.servers[0].locations
    assert [type(one).__name__ for one in locations.find(b"/").value.adding_filters] == ["AddHeaderFilter"]
    assert locations.find(b"/none").value.adding_filters == ()
    site.close()
