"""Header sections of responses as header blocks."""

from __future__ import annotations

from pathlib import Path

import hpack
from tests.unit.features.local_site import Site

from portico.http.finished import FinishedHead
from portico.http.response import BytesBody, Response
from portico.http.server.http2.blocks import Beginnings, block_of, response_block
from portico.net.reactor import Reactor

Field = tuple[bytes, bytes]


def decoded(block: bytes) -> list[Field]:
    return [(name, value) for name, value in hpack.Decoder().decode(block, raw=True)]


def test_names_are_in_lower_case_and_values_stay_one() -> None:
    block = block_of([(b"X-Name", b"Value"), (b"x-injected", b"a\r\nb: c\0")])
    assert decoded(block) == [(b"x-name", b"Value"), (b"x-injected", b"a  b: c ")]


def test_fields_about_a_connection_of_http1_are_left_out() -> None:
    fields = [(b"Connection", b"close"), (b"Keep-Alive", b"5"), (b"Transfer-Encoding", b"chunked"), (b"A", b"b")]
    assert decoded(block_of(fields)) == [(b"a", b"b")]


def test_the_beginning_is_made_once_a_second() -> None:
    reactor = Reactor()
    beginnings = Beginnings(reactor)
    first = beginnings.of(200, b"portico")
    assert beginnings.of(200, b"portico") is first and beginnings.of(404, b"portico") != first
    assert [name for name, _ in decoded(first)] == [b":status", b"server", b"date"]
    assert [name for name, _ in decoded(beginnings.of(200, b""))] == [b":status", b"date"]
    reactor.now += 1.0
    assert beginnings.of(200, b"portico") is not first
    reactor.epoll.close()


def test_what_is_finished_is_encoded_once(tmp_path: Path) -> None:
    site = Site("", tmp_path)
    request = site.request("/")
    response = Response(200, BytesBody(b""))
    response.finished = FinishedHead([(b"Content-Type", b"text/html"), (b"ETag", b'"x"')])
    response.fields = [(b"Set-Cookie", b"a=b")]
    block = response_block(request, response)
    assert decoded(block) == [(b"content-type", b"text/html"), (b"etag", b'"x"'), (b"set-cookie", b"a=b")]
    made = response.finished.http2
    assert made and response_block(request, response).startswith(made)
    site.close()
