"""A WebSocket echo (RFC 6455): every message comes back as it was, fragments joined.

client frame  → data      text 1, binary 2, continuation 0: the message is sent back when FIN was set
              → ping 9    pong 10 with the same payload
              → pong 10   nothing
              → close 8   close with the same payload, and the end
"""

from __future__ import annotations

import base64
import hashlib
from asyncio import StreamReader, StreamWriter
from typing import Final, final

CONTINUATION: Final = 0
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

LARGEST_MESSAGE: Final = 16 << 20

_FIN: Final = 0x80
_MASKED: Final = 0x80
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_PROTOCOL_ERROR: Final = (1002).to_bytes(2, "big")
_TOO_BIG: Final = (1009).to_bytes(2, "big")


@final
class Frame:
    """One frame as received, unmasked."""

    def __init__(self, opcode: int, final: bool, payload: bytes) -> None:
        self.opcode = opcode
        self.final = final
        self.payload = payload


class Refused(Exception):
    """The client breaks a rule; `code` is the payload of the close frame that says which."""

    def __init__(self, code: bytes) -> None:
        super().__init__(code)
        self.code = code


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    """Serve until the client closes."""
    opcode, parts = CONTINUATION, bytearray()
    try:
        while True:
            frame = await _receive(reader)
            if frame.opcode == CLOSE:
                raise Refused(frame.payload[:2])
            if frame.opcode == PING:
                await _send(writer, PONG, frame.payload)
            elif frame.opcode < CLOSE:
                opcode = frame.opcode or opcode
                parts += frame.payload
                if len(parts) > LARGEST_MESSAGE:
                    raise Refused(_TOO_BIG)
                if frame.final:
                    await _send(writer, opcode, bytes(parts))
                    parts.clear()
    except Refused as refused:
        await _send(writer, CLOSE, refused.code)


async def _receive(reader: StreamReader) -> Frame:
    first, second = await reader.readexactly(2)
    if not second & _MASKED:
        raise Refused(_PROTOCOL_ERROR)  # section 5.1: a client masks all that it sends
    length = second & 0x7F
    if length > 125:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    if length > LARGEST_MESSAGE:
        raise Refused(_TOO_BIG)
    mask = await reader.readexactly(4)
    return Frame(first & 0x0F, bool(first & _FIN), _unmask(await reader.readexactly(length), mask))


def _unmask(data: bytes, mask: bytes) -> bytes:
    """XOR with the mask, over and over; as one large number, which is quick."""
    size = len(data)
    whole = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(size, "big")


async def _send(writer: StreamWriter, opcode: int, payload: bytes) -> None:
    size = len(payload)
    if size < 126:
        head = bytes((_FIN | opcode, size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big")
    writer.write(head + payload)
    await writer.drain()
