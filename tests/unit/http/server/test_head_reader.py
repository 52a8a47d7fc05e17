"""Header sections out of the bytes of a connection, however they are cut."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tests.unit.http.loaded import Loaded

from portico.http.request import Request
from portico.http.server.http1.head_reader import HeadReader
from portico.http.server.http1.lines import RequestLines
from portico.http.server.http1.sections import Sections

ONE = b"GET /one HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n"
TWO = b"POST /two HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    made = Loaded("server { listen 80; large_client_header_buffers 2 1k; }", tmp_path_factory.mktemp("site"))
    yield made
    made.close()


@pytest.fixture
def reader(site: Loaded) -> HeadReader:
    return HeadReader(site.client, site.plan.listeners[0], RequestLines(True), Sections())


def fed(reader: HeadReader, *pieces: bytes) -> Request | None:
    """The request that the last piece completes; the ones before must not complete any."""
    for piece in pieces[:-1]:
        assert reader.feed(piece) is None
    return reader.feed(pieces[-1])


def test_a_whole_request_with_what_follows_it(reader: HeadReader) -> None:
    assert reader.begin(b"") is None
    request = fed(reader, ONE + TWO)
    assert request is not None and request.target.raw == b"/one" and not reader.heads.pipelined
    assert reader.rest == TWO and reader.buffer == b""
    following = reader.begin(reader.rest)
    assert following is not None and following.target.raw == b"/two" and reader.heads.pipelined
    assert reader.rest == b"body"


def test_any_cut_gives_the_same_request(reader: HeadReader) -> None:
    numbers = random.Random(7)
    for _ in range(200):
        cuts = sorted(numbers.sample(range(1, len(ONE)), numbers.randint(0, 4)))
        pieces = [ONE[start:end] for start, end in zip([0, *cuts], [*cuts, len(ONE)], strict=True)]
        assert reader.begin(b"") is None
        request = fed(reader, *pieces)
        assert request is not None and request.refusal is None and request.fields.get(b"x-a") == b"1"
        assert request.received == len(ONE)


def test_a_repeated_header_section_is_not_parsed_again(reader: HeadReader) -> None:
    reader.begin(b"")
    first = fed(reader, ONE)
    reader.begin(b"")
    second = fed(reader, ONE)
    assert first is not None and second is not None and second.fields is first.fields
    reader.heads.section = None
    reader.begin(b"")
    third = fed(reader, ONE)
    assert third is not None and third.fields is not first.fields


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01", 400),  # TLS
        (b"GET /\r\n", 400),  # HTTP/0.9
        (b"GET / HTTP/2.1\r\n", 505),
        (b"GET / HTTP/1.1\nHost: h h\n\n", 400),
        (b"GET /" + b"x" * 1100, 414),
        (b"GET /" + b"x" * 1100 + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 1100, 494),
        (b"GET / HTTP/1.1\r\n" + b"X: 1234567890\r\n" * 150, 494),
        (b"GET / HTTP/1.1\r\n" + b"X: 1234567890\r\n" * 150 + b"\r\n", 494),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else "",
)
def test_what_cannot_become_a_request_is_refused_as_soon_as_that_is_certain(reader: HeadReader, raw: bytes, status: int) -> None:
    reader.begin(b"")
    request = fed(reader, raw)
    assert request is not None and request.refusal is not None
    assert (request.refusal.status, request.refusal.close) == (status, True)


def test_an_empty_line_before_it_does_not_save_noise(reader: HeadReader) -> None:
    reader.begin(b"")
    request = fed(reader, b"\r\nGET", b" /\r\n")
    assert request is not None and request.refusal is not None and request.refusal.status == 400


def test_what_came_behind_a_request_is_judged_at_once(reader: HeadReader) -> None:
    request = reader.begin(b"\x16\x03\x01")
    assert request is not None and request.refusal is not None


def test_empty_lines_are_not_kept(reader: HeadReader) -> None:
    reader.begin(b"\r\n")
    for _ in range(1000):
        assert reader.feed(b"\r\n\r\n") is None
    assert reader.buffer == b""
    assert fed(reader, b"\n" + ONE) is not None
