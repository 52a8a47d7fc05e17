"""Heads of upstreams' answers that the filters of a location leave alone: their lines are made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.codec.http1_response import parse_response_head
from portico.features import gunzip, sub_filter
from portico.features.charset import feature as charset
from portico.features.compression import feature as compression
from portico.http.response import BytesBody, Response

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
    ],
)
def test_heads_that_are_left_alone(tmp_path: Path, text: str, head: str, fields: str, left: bool) -> None:
    """What a filter says of an upstream's head before the answer is made. If it leaves it alone, `apply` does nothing to one whose
    lines are finished.
    """
    site = Site(text, tmp_path, ALL)
    request = site.request("/page.html", fields)
    asked = [one for one in request.server.locations.find(request.uri).value.header_filters if one.concerns_upstreams()]
    answer = parse_response_head(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
    assert asked and all(one.leaves(request, answer) for one in asked) == left
    if left:
        body = BytesBody(b"an answer of more than twenty bytes")
        response = Response(200, body)
        response.from_upstream = True
        response.head = b"Content-Length: 1\r\n"
        for one in asked:
            one.apply(request, response)
        assert (response.head, response.body, response.fields) == (b"Content-Length: 1\r\n", body, [])
    site.close()
