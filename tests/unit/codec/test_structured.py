"""Structured Fields dictionaries (RFC 9651)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.codec.structured import BOOLEAN, INTEGER, OTHER, STRING, TOKEN, NotStructured, parse_dictionary


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"a", [(b"a", BOOLEAN, 1, b"")]),
        (b"a=?0", [(b"a", BOOLEAN, 0, b"")]),
        (b"  a=1,\t b ", [(b"a", INTEGER, 1, b""), (b"b", BOOLEAN, 1, b"")]),
        (b"a=-12", [(b"a", INTEGER, -12, b"")]),
        (b"a=1.5", [(b"a", OTHER, 0, b"1.5")]),
        (b'a="x, \\"y\\\\"', [(b"a", STRING, 0, b'x, "y\\')]),
        (b"a=*t/:x", [(b"a", TOKEN, 0, b"*t/:x")]),
        (b"a=:YWI=:, b=@1659578233", [(b"a", OTHER, 0, b":YWI=:"), (b"b", OTHER, 0, b"@1659578233")]),
        (b'c=%"%c3%bc"', [(b"c", OTHER, 0, b'%"%c3%bc"')]),
        (b'a=(1 "b";x=2 c);y, d=2', [(b"a", OTHER, 0, b""), (b"d", INTEGER, 2, b"")]),
        (b"a=( ), b", [(b"a", OTHER, 0, b""), (b"b", BOOLEAN, 1, b"")]),
        (b"a;x;y=1;z=\"q\"", [(b"a", BOOLEAN, 1, b"")]),
        (b"a=1, a=2", [(b"a", INTEGER, 2, b"")]),
        (b"a=999999999999999", [(b"a", INTEGER, 999999999999999, b"")]),
    ],
)  # fmt: skip
def test_what_is_a_dictionary(text: bytes, expected: list[tuple[bytes, int, int, bytes]]) -> None:
    found = parse_dictionary(text)
    assert [(key, member.kind, member.number, member.text) for key, member in found.items()] == expected


@pytest.mark.parametrize(
    "text",
    [
        b"A=1", b"1a", b"a,", b"a,,b", b",a", b"a b", b"a=", b"a =1", b"a= 1", b'a="x', b'a="\\x"', b"a=1000000000000000",
        b"a=1.2345", b"a=1.", b"a=--1", b"a=(1", b'a=(1"b")', b"a=(1)x", b"a;", b"a;B=1", b"a=?2", b"a=:x", b"a='x'", b"a=\xff",
        b'a="\xff"', b"\ta", b"a;x=(1)", b"a=@1.5",
    ],
)  # fmt: skip
def test_what_is_none(text: bytes) -> None:
    with pytest.raises(NotStructured):
        parse_dictionary(text)


PARTS = [b"a", b"max-age", b"=", b",", b";", b'"', b"\\", b"1", b".", b"(", b")", b" ", b"\t", b"?1", b":", b"%", b"\xff"]


@given(st.lists(st.sampled_from(PARTS)))
def test_any_text_is_a_dictionary_or_none(parts: list[bytes]) -> None:
    try:
        for key, member in parse_dictionary(b"".join(parts)).items():
            assert key.islower() and member.kind in (INTEGER, STRING, TOKEN, BOOLEAN, OTHER)
    except NotStructured:
        pass
