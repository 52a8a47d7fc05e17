"""The chunked coding, taken apart and put together."""

import pytest

from portico.codec.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk
from portico.codec.errors import ProtocolError


def decoded(wire: bytes, strict: bool = True) -> bytes:
    decoder = ChunkedDecoder(strict)
    content = b"".join(decoder.feed(wire))
    assert decoder.done
    return content


def refused(wire: bytes, strict: bool = True, piece: int = 0) -> tuple[int, str]:
    decoder = ChunkedDecoder(strict)
    with pytest.raises(ProtocolError) as caught:
        for at in range(0, len(wire), piece or len(wire)):
            decoder.feed(wire[at : at + (piece or len(wire))])
    return caught.value.status, caught.value.reason


def test_body_and_the_next_request() -> None:
    decoder = ChunkedDecoder(True)
    assert decoder.feed(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\nGET / HTTP/1.1\r\n") == [
        b"hello",
        b" world",
    ]
    assert (decoder.done, decoder.remainder, decoder.trailers) == (True, b"GET / HTTP/1.1\r\n", b"")
    assert decoder.received == 11
    assert decoder.feed(b"Host: a\r\n") == []
    assert decoder.remainder == b"GET / HTTP/1.1\r\nHost: a\r\n"


def test_content_comes_before_its_chunk_is_complete() -> None:
    decoder = ChunkedDecoder(True)
    assert decoder.feed(b"A\r\nhello") == [b"hello"]
    assert decoder.feed(b"world") == [b"world"]
    assert decoder.feed(b"\r\n") == []
    assert not decoder.done
    assert decoder.feed(LAST_CHUNK) == []
    assert decoder.done


def test_trailers_are_kept_as_sent() -> None:
    decoder = ChunkedDecoder(True)
    decoder.feed(b"0\r\nExpires: never\r\nX-Sum: 5")
    assert not decoder.done
    decoder.feed(b"\r\n\r\nrest")
    assert (decoder.trailers, decoder.remainder) == (b"Expires: never\r\nX-Sum: 5\r\n", b"rest")


def test_sizes() -> None:
    assert decoded(b"00005\r\nhello\r\n000\r\n\r\n") == b"hello"
    assert decoded(b"0a\r\n0123456789\r\n0;last\r\n\r\n") == b"0123456789"
    assert decoded(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n') == b"hello"


BAD_SIZES = [b"", b"g", b"+5", b"-5", b"0x5", b"5 5", b" 5", b"5h", b"1_0", b"5,5", b";x", b"\x0b5",
             b"f" * 16, b"7fffffffffffffff", b"5;a\0b", b"5;a\x7fb", b"5;a\rb", b"\xd9\xa5"]  # fmt: skip


@pytest.mark.parametrize("piece", [0, 1])
@pytest.mark.parametrize("size", [*BAD_SIZES, b"5 ", b"5\t", b"5 5;x", b" ;x", b"5\x0b;x"])
def test_client_sends_a_bad_size(size: bytes, piece: int) -> None:
    assert refused(size + b"\r\nhello\r\n0\r\n\r\n", True, piece) == (400, "client sent invalid chunked body")


@pytest.mark.parametrize("size", [b"5;a=b", b"5 ;a=b", b"5\t ;a=b", b"05 ; a"])
def test_white_space_before_an_extension(size: bytes) -> None:
    assert decoded(size + b"\r\nhello\r\n0 ;x\r\n\r\n") == b"hello"


@pytest.mark.parametrize("size", [size for size in BAD_SIZES if size != b"5 5"])
def test_upstream_sends_a_bad_size(size: bytes) -> None:
    assert refused(size + b"\r\nhello\r\n0\r\n\r\n", False) == (502, "upstream sent invalid chunked response")


def test_upstream_pads_its_sizes() -> None:
    assert decoded(b"5  \r\nhello\r\n0\t;x\r\n\r\n", strict=False) == b"hello"


@pytest.mark.parametrize(
    "wire",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r\n0\n\r\n",
        b"5\r\nhello\r\n0\r\n\n",
        b"5\r\nhello\r\n0\r\nA: b\n\r\n",
        b"5;x\nhello\r\n0\r\n\r\n",
    ],
)
def test_bare_line_feeds(wire: bytes) -> None:
    assert refused(wire)[0] == 400
    assert decoded(wire, strict=False) == b"hello"


@pytest.mark.parametrize(
    "wire",
    [
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello\rX0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"0\r\n folded: x\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n: x\r\n\r\n",
        b"0\r\nA: b\0\r\n\r\n",
        b"0\r\nA: b\rc\r\n\r\n",
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_body_is_refused(wire: bytes, strict: bool) -> None:
    assert refused(wire, strict)[0] == (400 if strict else 502)
    assert refused(wire, strict, piece=1)[0] == (400 if strict else 502)


def test_nothing_grows_without_bound() -> None:
    assert refused(b"5;" + b"x" * 10000)[0] == 400
    assert refused(b"0" * 10000)[0] == 400
    assert refused(b"0\r\n" + b"A: b\r\n" * 10000)[0] == 400
    assert refused(b"0\r\nA" + b"a" * 20000)[0] == 400


def test_too_large_a_body_is_refused_by_its_announcement() -> None:
    decoder = ChunkedDecoder(True, max_size=10)
    assert decoder.feed(b"5\r\nhello\r\n") == [b"hello"]
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(b"6\r\n")
    assert caught.value.status == 413
    assert caught.value.reason == "client intended to send too large chunked body: 5+6 bytes"


def test_what_is_encoded_is_decoded() -> None:
    parts = [b"a", b"b" * 70000, b"\r\n0\r\n\r\n"]
    assert decoded(b"".join(map(encode_chunk, parts)) + LAST_CHUNK) == b"".join(parts)
