"""The demo's WebSocket echo, in memory: frames as RFC 6455 writes them."""

from __future__ import annotations

import asyncio

import pytest

from portico.demo.websocket import LARGEST_MESSAGE, accept_key, echo

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"  # of the RFC's example


def frame(opcode: int, payload: bytes, final: bool = True, masked: bool = True) -> bytes:
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    head = bytes([opcode | (0x80 if final else 0), length[0] | (0x80 if masked else 0)]) + length[1:]
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload))


class Writer:
    """What a StreamWriter is asked for here."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    async def drain(self) -> None:
        pass


def said(data: bytes) -> bytes:
    """What the server answers to all of `data`, up to the end of either side."""

    async def talk() -> bytes:
        reader, writer = asyncio.StreamReader(), Writer()
        reader.feed_data(data)
        reader.feed_eof()
        try:
            await echo(reader, writer)  # type: ignore[arg-type]
        except asyncio.IncompleteReadError:
            pass
        return writer.sent

    return asyncio.run(talk())


def test_the_key_of_the_rfc() -> None:
    """RFC 6455 section 1.3."""
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_frames_of_the_rfc() -> None:
    """RFC 6455 section 5.7: "Hello" masked, and as the server sends it."""
    assert said(bytes.fromhex("818537fa213d7f9f4d5158")) == bytes.fromhex("810548656c6c6f")


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 127, 65535, 65536])
def test_every_form_of_length(size: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    assert said(frame(BINARY, payload)) == frame(BINARY, payload, masked=False)


@pytest.mark.parametrize(
    ("received", "answered"),
    [
        # fragments are joined, and control frames may come between them (section 5.4)
        ([(TEXT, b"Hel", False), (0, b"lo", True)], [(TEXT, b"Hello")]),
        ([(BINARY, b"a", False), (0, b"b", False), (0, b"", True)], [(BINARY, b"ab")]),
        ([(TEXT, b"a", False), (PING, b"p", True), (0, b"b", True)], [(PONG, b"p"), (TEXT, b"ab")]),
        ([(TEXT, b"a", True), (BINARY, b"b", True)], [(TEXT, b"a"), (BINARY, b"b")]),
        ([(PING, b"", True)], [(PONG, b"")]),
        ([(PONG, b"x", True), (TEXT, b"a", True)], [(TEXT, b"a")]),  # one that nobody asked for means nothing
        # the close frame comes back with its code, and it is over (section 5.5.1)
        ([(CLOSE, b"\x03\xe8bye", True), (TEXT, b"late", True)], [(CLOSE, b"\x03\xe8")]),
        ([(CLOSE, b"", True)], [(CLOSE, b"")]),
        ([(TEXT, b"half", False)], []),
    ],
)
def test_messages(received: list[tuple[int, bytes, bool]], answered: list[tuple[int, bytes]]) -> None:
    data = b"".join(frame(opcode, payload, final) for opcode, payload, final in received)
    assert said(data) == b"".join(frame(opcode, payload, masked=False) for opcode, payload in answered)


def test_a_client_masks_all_that_it_sends() -> None:
    """Section 5.1: 1002."""
    assert said(frame(TEXT, b"a", masked=False)) == frame(CLOSE, b"\x03\xea", masked=False)


@pytest.mark.parametrize("length", [LARGEST_MESSAGE + 1, 1 << 62])
def test_a_message_that_is_too_long_is_refused_before_it_comes(length: int) -> None:
    """1009; no memory is taken for what a client only announces."""
    assert said(b"\x82\xff" + length.to_bytes(8, "big")) == frame(CLOSE, b"\x03\xf1", masked=False)


def test_fragments_together_are_limited_too() -> None:
    size = LARGEST_MESSAGE // 2 + 1
    half = b"\x02\xff" + size.to_bytes(8, "big") + bytes(4) + bytes(size)  # a mask of zeros changes nothing
    assert said(half + half) == frame(CLOSE, b"\x03\xf1", masked=False)
