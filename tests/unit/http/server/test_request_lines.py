"""Request lines met before: the same answer as the first time, and bounded."""

from __future__ import annotations

import pytest

from portico.codec.errors import ProtocolError
from portico.http.server.http1.lines import LONGEST, MOST, RequestLines


def test_a_line_is_taken_apart_once() -> None:
    lines = RequestLines(True)
    first = lines.read(b"GET /a/../b%20c?d=e HTTP/1.1")
    assert first.parsed.method == b"GET" and first.parsed.version == 11
    assert first.target is not None and first.target.uri == b"/b c" and first.target.args == b"d=e"
    second = lines.read(b"GET /a/../b%20c?d=e HTTP/1.1")  # it is kept from now on
    assert second is not first and second.target is not None and second.target.uri == b"/b c"
    assert lines.read(b"GET /a/../b%20c?d=e HTTP/1.1") is second
    assert lines.read(b"GET /a/../b%20c?d=f HTTP/1.1") is not first


def test_a_target_in_another_form_is_left_to_the_caller() -> None:
    lines = RequestLines(True)
    absolute = lines.read(b"GET http://example.com/a HTTP/1.1")
    assert absolute.target is None and absolute.parsed.target == b"http://example.com/a"


@pytest.mark.parametrize("line", [b"GET / HTTP/3.0", b"get / HTTP/1.1", b"GET /\x01 HTTP/1.1", b"GET /"])
def test_what_was_refused_is_refused_again(line: bytes) -> None:
    lines = RequestLines(True)
    for _ in range(2):
        with pytest.raises(ProtocolError):
            lines.read(line)


def test_a_path_that_cannot_be_decoded_is_refused_again() -> None:
    lines = RequestLines(True)
    for _ in range(2):
        with pytest.raises(ValueError):
            lines.read(b"GET /%zz HTTP/1.1")


def test_the_table_is_bounded() -> None:
    lines = RequestLines(True)
    for number in range(2 * MOST):
        for _ in range(2):
            lines.read(b"GET /%d HTTP/1.1" % number)
    assert 1 <= len(lines._known) <= MOST
    kept = len(lines._known)
    for number in range(2 * MOST, 10 * MOST):
        lines.read(b"GET /%d HTTP/1.1" % number)  # each of them once
    assert len(lines._known) < kept + MOST // 4
    long = b"GET /" + b"x" * LONGEST + b" HTTP/1.1"
    assert lines.read(long) is not lines.read(long)
