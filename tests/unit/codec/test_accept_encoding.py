"""Accept-Encoding: RFC 9110's own examples, what nginx makes of odd ones, and any bytes at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.codec.accept_encoding import NOTHING, parse_accept_encoding

ORDER = (b"zstd", b"br", b"gzip")


def chosen(text: bytes, order: tuple[bytes, ...] = ORDER) -> bytes:
    place = parse_accept_encoding(text).choose(order)
    return order[place] if place >= 0 else b""


@pytest.mark.parametrize(
    ("text", "coding"),
    [
        (b"gzip, deflate, br, zstd", b"zstd"),  # of equal ones the server's order decides
        (b"gzip, deflate, br", b"br"),
        (b"gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"gzip;q=1.0, br;q=0.9", b"gzip"),  # the client's weights go first
        (b"gzip;q=0.5, br;q=0.50", b"br"),
        (b"br;q=0.001, gzip;q=0.002", b"gzip"),
        (b"compress, gzip", b"gzip"),  # RFC 9110 section 12.5.3, the examples
        (b"", b""),
        (b"*", b"zstd"),
        (b"compress;q=0.5, gzip;q=1.0", b"gzip"),
        (b"gzip;q=1.0, identity; q=0.5, *;q=0", b"gzip"),
        (b"*;q=0.5, zstd;q=0", b"br"),
        (b"gzip;q=0, *", b"zstd"),
        (b"gzip;q=0, *;q=0", b""),
        (b"*;q=0", b""),
        (b"identity", b""),
        (b"identity, gzip", b"gzip"),
        (b"identity;q=0.5, gzip;q=0.4", b""),  # it would rather have none
        (b"identity;q=0, gzip;q=0.1", b"gzip"),
        (b"deflate", b""),
        (b"xgzip, gzipx", b""),
        (b"gzip;q=0", b""),
        (b"gzip;q=0.0", b""),
        (b"gzip;q=0.000", b""),
        (b"gzip ; q=0.5", b"gzip"),
        (b"gzip;\tQ=1", b"gzip"),
        (b"gzip;", b"gzip"),
        (b",, gzip ,", b"gzip"),
        (b"gzip;q=0, gzip", b""),  # named twice: the first counts
        (b"gzip, gzip;q=0", b"gzip"),
    ],
)
def test_choice(text: bytes, coding: bytes) -> None:
    assert chosen(text) == coding


@pytest.mark.parametrize(
    "parameter",
    b"q|q=|q=2|q=1.001|q=1.1|q=0.0001|q=.5|q=-1|q=0.5;x=1|q=a|level=9|q =1|q= 1|q=+1".split(b"|"),
)
def test_what_is_no_weight_is_not_acceptable(parameter: bytes) -> None:
    assert chosen(b"gzip;" + parameter) == b""
    assert chosen(b"gzip;" + parameter + b", br") == b"br"


def test_who_says_nothing_gets_no_coding() -> None:
    assert NOTHING.choose(ORDER) == -1


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([b"gzip", b"br", b"zstd", b"*", b"identity", b";q=0", b";q=0.5", b",", b" ", b"x"]), max_size=30))
def test_what_is_chosen_is_acceptable(pieces: list[bytes]) -> None:
    accepted = parse_accept_encoding(b"".join(pieces))
    place = accepted.choose(ORDER)
    if place >= 0:
        assert accepted.weight(ORDER[place]) == max(accepted.weight(coding) for coding in ORDER) > 0
    elif all(accepted.weight(coding) == 0 for coding in ORDER):
        assert place == -1


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(text: bytes) -> None:
    assert -1 <= parse_accept_encoding(text).choose(ORDER) < len(ORDER)


def test_a_field_without_end_is_not_read_to_it() -> None:
    assert chosen(b"x," * 100_000 + b"gzip") == b""
