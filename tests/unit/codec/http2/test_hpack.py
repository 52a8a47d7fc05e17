"""HPACK: the examples of RFC 7541 appendix C, what is refused, and what is remembered."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.codec.http2 import huffman
from portico.codec.http2.errors import COMPRESSION_ERROR, FRAME_SIZE_ERROR, HeadersTooLarge, HpackError
from portico.codec.http2.hpack import Block, Decoder, encoded_field, encoded_fields
from portico.codec.http2.tables import CODES, LENGTHS, STATIC

FIELD_LIMIT, LIMIT = 8192, 32768


def decoder() -> Decoder:
    return Decoder(FIELD_LIMIT, LIMIT)


def fields(block: Block) -> list[tuple[bytes, bytes]]:
    """What a block says, its path back in its place."""
    headers = block.headers
    return [
        (name, block.path if name == b":path" else value) for name, value in zip(headers.names, headers.values, strict=True)
    ]


def request(path: bytes, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [(b":method", b"GET"), (b":scheme", b"http"), (b":path", path), (b":authority", b"www.example.com"), *more]


# RFC 7541 sections C.3 and C.4: three requests on one connection, without and with Huffman coding.
REQUESTS = [
    request(b"/"),
    request(b"/", (b"cache-control", b"no-cache")),
    [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
     (b"custom-key", b"custom-value")],
]  # fmt: skip
PLAIN = [
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
]
CODED = ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"]


@pytest.mark.parametrize("blocks", [PLAIN, CODED], ids=["C.3", "C.4"])
def test_examples_of_requests(blocks: list[str]) -> None:
    one = decoder()
    for block, expected in zip(blocks, REQUESTS, strict=True):
        assert fields(one.decode(bytes.fromhex(block))) == expected


def test_examples_of_evicted_entries() -> None:
    """RFC 7541 section C.6: responses with a table of 256 bytes, in which the first ones are evicted."""
    one = decoder()
    one.decode(b"\x3f\xe1\x01")  # a size of 256
    first = "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"
    second = "4883640effc1c0bf"
    third = (
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270f"
        "b5291f9587316065c003ed4ee5b1063d5007"
    )
    location, private = (b"location", b"https://www.example.com"), (b"cache-control", b"private")
    date = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT")
    assert fields(one.decode(bytes.fromhex(first))) == [(b":status", b"302"), private, date, location]
    assert fields(one.decode(bytes.fromhex(second))) == [(b":status", b"307"), private, date, location]
    cookie = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
    assert fields(one.decode(bytes.fromhex(third))) == [
        (b":status", b"200"), private, (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"), location, (b"content-encoding", b"gzip"),
        (b"set-cookie", cookie),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "code"),
    [
        ("80", COMPRESSION_ERROR),  # index 0
        ("be", COMPRESSION_ERROR),  # an index beyond the dynamic table
        ("7e0161", COMPRESSION_ERROR),  # … of a name
        ("ffffffffff7f", COMPRESSION_ERROR),  # an integer that is too large
        ("ff", FRAME_SIZE_ERROR),  # … that is truncated
        ("41", FRAME_SIZE_ERROR),  # no value
        ("4105616263", FRAME_SIZE_ERROR),  # a truncated value
        ("0001", FRAME_SIZE_ERROR),  # a truncated name
        ("4181ff", None),  # padding of 8 bits, which nginx takes
        ("4182ffff", COMPRESSION_ERROR),  # more padding
        ("418100", COMPRESSION_ERROR),  # padding that is not of ones
        ("4184ffffffff", COMPRESSION_ERROR),  # the end of the string inside it
        ("8220", COMPRESSION_ERROR),  # a size of the table behind a field
        ("3fe21f", COMPRESSION_ERROR),  # a size beyond what was allowed
    ],
)
def test_what_cannot_be_decoded(block: str, code: int | None) -> None:
    if code is None:
        decoder().decode(bytes.fromhex(block))
        return
    with pytest.raises(HpackError) as raised:
        decoder().decode(bytes.fromhex(block))
    assert raised.value.code == code


def test_sizes_have_limits() -> None:
    """`large_client_header_buffers`: a name or value, and all of them, without the 32 bytes that RFC 7541 counts for each."""
    assert fields(Decoder(10, 20).decode(encoded_fields([(b"a" * 10, b"b" * 10)])))
    for limits, given_fields in [
        ((10, 100), [(b"a" * 11, b"b")]),
        ((10, 100), [(b"a", b"b" * 11)]),
        ((10, 20), [(b"a", b"b" * 9), (b"c", b"d" * 10)]),
    ]:
        with pytest.raises(HeadersTooLarge):
            Decoder(*limits).decode(encoded_fields(given_fields))


def test_a_block_of_many_references_is_bounded() -> None:
    """A bomb: an entry as large as the table, which 16,000 bytes name 16,000 times."""
    one = decoder()
    one.decode(b"\x40\x01a" + b"\x7f\xd1\x1e" + b"x" * 4048)
    with pytest.raises(HeadersTooLarge):
        one.decode(b"\xbe" * 16000)


def test_the_same_block_again_is_remembered() -> None:
    one = decoder()
    block = encoded_fields(request(b"/a", (b"accept", b"*/*")))
    assert one.decode(block) is one.decode(block)
    other = one.decode(encoded_fields(request(b"/b", (b"accept", b"*/*"))))
    assert other.path == b"/b" and other.headers is one.decode(block).headers
    one.forget()
    assert one.decode(block).headers is not other.headers


def test_what_is_remembered_ends_with_a_change_of_the_table() -> None:
    one = decoder()
    one.decode(b"\x40\x01a\x01b")
    assert fields(one.decode(b"\xbe")) == [(b"a", b"b")]
    one.decode(b"\x40\x01c\x01d")
    assert fields(one.decode(b"\xbe")) == [(b"c", b"d")]


def test_a_block_that_only_looks_like_the_last_one() -> None:
    """What stands before and behind the path is the same, and what is between is no path alone."""
    one = decoder()
    before, behind = encoded_field(b":method", b"GET"), encoded_field(b"accept", b"*/*")
    one.decode(before + b"\x04\x02/a" + behind)
    block = one.decode(before + b"\x04\x02/b" + b"\x00\x01x\x01y" + behind)
    assert fields(block) == [(b":method", b"GET"), (b":path", b"/b"), (b"x", b"y"), (b"accept", b"*/*")]
    twice = one.decode(before + b"\x04\x02/c\x04\x02/d" + behind)
    assert [name for name, _ in fields(twice)].count(b":path") == 2


def test_tables() -> None:
    assert (len(STATIC), len(CODES), len(LENGTHS)) == (61, 257, 257)
    assert sum(2.0 ** -length for length in LENGTHS) == 1.0  # a complete prefix code


@given(st.binary(max_size=300))
def test_huffman_both_ways(text: bytes) -> None:
    assert huffman.decode(huffman.encode(text)) == text == huffman.decode_short(huffman.encode_short(text))


NAMES = st.text("abcdefgh-", min_size=1, max_size=12).map(str.encode)
LISTS = st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=12)


@settings(max_examples=200)
@given(st.lists(st.tuples(LISTS, st.booleans(), st.sampled_from([None, 0, 100, 4096])), min_size=1, max_size=6))
def test_the_other_library_is_understood(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    theirs, ours = hpack.Encoder(), decoder()
    for each, huffman_coded, size in blocks:
        if size is not None:
            theirs.header_table_size = size
        assert fields(ours.decode(theirs.encode(each, huffman=huffman_coded))) == each


@given(LISTS)
def test_the_other_library_understands(each: list[tuple[bytes, bytes]]) -> None:
    assert [(name, value) for name, value in hpack.Decoder().decode(encoded_fields(each), raw=True)] == each


@settings(max_examples=500)
@given(st.binary(max_size=60))
def test_anything_is_decoded_or_refused(block: bytes) -> None:
    try:
        decoder().decode(block)
    except (HpackError, HeadersTooLarge):
        pass
