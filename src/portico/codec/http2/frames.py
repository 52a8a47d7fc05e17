"""Frames: their types, flags and settings, and the bytes of those that are sent (RFC 9113 sections 4 and 6)."""

from __future__ import annotations

from typing import Final

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
PRIORITY_UPDATE: Final = 16  # RFC 9218 section 7.1

END_STREAM: Final = 1
ACK: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
HAS_PRIORITY: Final = 32

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8  # RFC 8441
NO_RFC7540_PRIORITIES: Final = 9  # RFC 9218

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER: Final = 9  # bytes in front of a frame's payload
FRAME_SIZE: Final = 16384  # bytes of payload that anybody must take
LARGEST_FRAME_SIZE: Final = (1 << 24) - 1
DEFAULT_WINDOW: Final = 65535
LARGEST_WINDOW: Final = (1 << 31) - 1

NAMES: Final[dict[int, str]] = {
    DATA: "DATA", HEADERS: "HEADERS", PRIORITY: "PRIORITY", RST_STREAM: "RST_STREAM", SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE", PING: "PING", GOAWAY: "GOAWAY", WINDOW_UPDATE: "WINDOW_UPDATE", CONTINUATION: "CONTINUATION",
    PRIORITY_UPDATE: "PRIORITY_UPDATE",
}  # fmt: skip


def frame_start(kind: int, flags: int, size: int) -> bytes:
    """Return the first five bytes of a frame: the four of its stream's number follow."""
    return (size << 16 | kind << 8 | flags).to_bytes(5, "big")


def frame(kind: int, flags: int, number: bytes, payload: bytes) -> bytes:
    """Return a whole frame. `number`: of its stream, in four bytes."""
    return frame_start(kind, flags, len(payload)) + number + payload


def four_bytes(value: int) -> bytes:
    """Return a number as frames have it."""
    return value.to_bytes(4, "big")


CONNECTION: Final = b"\0\0\0\0"  # stream 0: the connection itself


def settings_frame(settings: list[tuple[int, int]]) -> bytes:
    """Return SETTINGS with these pairs of name and value."""
    payload = b"".join([name.to_bytes(2, "big") + four_bytes(value) for name, value in settings])
    return frame(SETTINGS, 0, CONNECTION, payload)


def header_frames(number: bytes, block: bytes, ended: bool, most: int) -> bytes:
    """Return HEADERS, and CONTINUATION for what of the block does not fit `most` bytes."""
    flags = END_STREAM if ended else 0
    if len(block) <= most:
        return frame_start(HEADERS, flags | END_HEADERS, len(block)) + number + block
    pieces = [frame(HEADERS, flags, number, block[:most])]
    at = most
    while at < len(block):
        piece = block[at : at + most]
        at += most
        pieces.append(frame(CONTINUATION, END_HEADERS if at >= len(block) else 0, number, piece))
    return b"".join(pieces)
