"""Substitution: the same result however the body is cut into pieces."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import portico.features.sub_filter
from portico.config.reader import Where
from portico.features.sub_filter import Needles, Substitution, SubTransform
from portico.http.request import Request
from portico.variables.template import Template

HERE = Where("test.conf", 1, 1)
COMPILED = str(portico.features.sub_filter.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="constant replacements need no request, but compiled code insists on one")


def transform(pairs: list[tuple[str, str]], once: bool) -> SubTransform:
    substitutions = [Substitution(Template(wanted, HERE), Template(value, HERE)) for wanted, value in pairs]
    needles = Needles([wanted.lower().encode() for wanted, _ in pairs])
    return SubTransform(needles, substitutions, cast(Request, None), once)


def replaced(pairs: list[tuple[str, str]], pieces: list[bytes], once: bool = False) -> bytes:
    made = transform(pairs, once)
    return b"".join(made.feed(piece) for piece in pieces) + made.finish()


def expected(pairs: list[tuple[str, str]], data: bytes, once: bool) -> bytes:
    """The obvious way: at each place, the strings in their order."""
    out = b""
    left = list(pairs)
    at = 0
    while at < len(data):
        for pair in left:
            if data[at:].lower().startswith(pair[0].encode()):
                out += pair[1].encode()
                at += len(pair[0])
                if once:
                    left.remove(pair)
                break
        else:
            out += data[at : at + 1]
            at += 1
    return out


strings = st.text("ab", min_size=1, max_size=4)


@given(
    st.lists(st.tuples(strings, st.text("xyz", max_size=3)), min_size=1, max_size=4, unique_by=lambda pair: pair[0]),
    st.lists(st.text("abAB-", max_size=6).map(str.encode), max_size=8),
    st.booleans(),
)
def test_pieces_do_not_matter(pairs: list[tuple[str, str]], pieces: list[bytes], once: bool) -> None:
    assert replaced(pairs, pieces, once) == expected(pairs, b"".join(pieces), once)


def test_only_what_may_begin_a_string_is_held_back() -> None:
    made = transform([("needle", "")], False)
    assert made.feed(b"hay nee") == b"hay "
    assert made.feed(b"d hay") == b"need hay"
    assert made.feed(b"needl") == b""
    assert made.finish() == b"needl"
