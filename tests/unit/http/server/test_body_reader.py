"""Bodies of HTTP/1 requests out of the bytes behind their header sections (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

import pytest

from portico.http.errors import HTTPError
from portico.http.server.http1.body_reader import BodyReader


def test_a_body_of_known_length() -> None:
    reader = BodyReader(5)
    assert (reader.feed(b"he", 0), reader.done) == (b"he", False)
    assert (reader.feed(b"lloGET /", 0), reader.done, reader.remainder) == (b"llo", True, b"GET /")


def test_no_body() -> None:
    assert BodyReader(0).done


def test_a_chunked_body() -> None:
    reader = BodyReader(-1)
    assert (reader.feed(b"5\r\nhel", 0), reader.done) == (b"hel", False)
    assert (reader.feed(b"lo\r\n", 0), reader.done) == (b"lo", False)
    assert (reader.feed(b"0", 0), reader.feed(b"\r\n\r\nGET /", 0)) == (b"", b"")
    assert (reader.done, reader.remainder) == (True, b"GET /")


@pytest.mark.parametrize(
    ("raw", "largest", "status", "reason"),
    [
        (b"x\r\n", 0, 400, "client sent invalid chunked body"),
        (b"5\r\nhelloX", 0, 400, "client sent invalid chunked body"),
        (b"b\r\n", 10, 413, "(client_max_body_size is 10)"),
        (b"6\r\n123456\r\n5\r\n", 10, 413, "(client_max_body_size is 10)"),
    ],
)
def test_what_is_refused_ends_the_connection(raw: bytes, largest: int, status: int, reason: str) -> None:
    with pytest.raises(HTTPError) as refused:
        BodyReader(-1).feed(raw, largest)
    assert (refused.value.status, refused.value.close) == (status, True)
    assert reason in refused.value.reason
