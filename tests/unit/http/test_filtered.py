"""A body filter over a source that stalls, ends, and is closed."""

from __future__ import annotations

import pytest

import portico.http.filtered
from portico.http.filtered import FilteredBody, transform_body, weaken_etag
from portico.http.finished import FinishedHead
from portico.http.handler import BodyTransform
from portico.http.response import MANY_RANGES, NO_RANGES, STREAM, Body, BytesBody, Response

COMPILED = str(portico.http.filtered.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")


class Pieces(Body):
    """Gives out pieces; None where there is nothing yet."""

    def __init__(self, pieces: list[bytes | None]) -> None:
        self.kind = STREAM
        self.length = -1
        self.pieces = pieces
        self.closed = False

    def take(self) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed = True


class Straight(Pieces):
    """Each piece is to be passed on at once."""

    def is_buffered(self) -> bool:
        return False


class Lines(BodyTransform):
    """Upper case, whole lines only."""

    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: bytes) -> bytes:
        lines, newline, self.held = (self.held + data).rpartition(b"\n")
        return (lines + newline).upper()

    def finish(self) -> bytes:
        rest = self.held + b"."
        self.held = b""
        return rest


class Eager(Lines):
    """The same, that holds nothing back when it may have to wait."""

    def flush(self) -> bytes:
        held = self.held
        self.held = b""
        return held


def test_pieces_are_transformed_and_what_is_held_back_comes_at_the_end() -> None:
    body = FilteredBody(Pieces([b"a", b"b\nc", None, b"d"]), Lines())
    assert [body.take() for _ in range(5)] == [b"AB\n", None, b"cd.", b"", b""]


def test_flush_is_asked_when_the_source_stalls() -> None:
    body = FilteredBody(Pieces([b"a", None, None, b"b"]), Eager())
    assert [body.take() for _ in range(4)] == [b"a", None, b"b.", b""]


def test_an_empty_source_still_finishes() -> None:
    body = FilteredBody(BytesBody(b""), Lines())
    assert [body.take(), body.take()] == [b".", b""]


def test_closing_closes_the_source_and_ends_the_body() -> None:
    source = Pieces([b"a\n"])
    body = FilteredBody(source, Lines())
    body.close()
    assert source.closed
    assert body.take() == b""


def test_a_transformed_answer_says_nothing_of_its_length() -> None:
    response = Response(200, BytesBody(b"abc"))
    response.ranges = MANY_RANGES
    response.fields = [(b"Accept-Ranges", b"bytes"), (b"X", b"y")]
    response.finished = FinishedHead([(b"X", b"y")])
    transform_body(response, Lines())
    assert (response.content_length, response.ranges, response.finished) == (-1, NO_RANGES, None)
    assert response.fields == [(b"X", b"y")]
    assert response.body.length == -1


def test_weak_etags() -> None:
    for before, after in ((b'"a"', b'W/"a"'), (b'W/"a"', b'W/"a"'), (b"a", b""), (b"", b"")):
        response = Response(200, BytesBody(b""))
        response.etag = before
        weaken_etag(response)
        assert response.etag == after


def test_a_filtered_body_is_buffered_as_its_source_is() -> None:
    assert FilteredBody(Pieces([]), Lines(), True).is_buffered()
    assert not FilteredBody(FilteredBody(Straight([]), Lines(), True), Lines(), True).is_buffered()
