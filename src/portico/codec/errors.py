"""The one exception of the codecs.

Exception
└── ProtocolError      the peer broke the protocol: which status responds to it, and nginx's words for the error
log
"""

from typing import final


@final
class ProtocolError(Exception):
    """What the peer sent cannot be understood without guessing, so it is refused and the connection ends.

    `status` is sent to a client (400, 405, 413, 501, 505) or stands for the upstream's failure (502).
    `reason` is the line for the error log, in nginx's words where nginx has them; bytes of the peer in it are
    escaped.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status: int = status
        self.reason: str = reason


def shown(data: bytes, limit: int = 256) -> str:
    """Return bytes of the peer as the error log shows them: the unprintable as `\\x0a`, truncated to `limit` bytes."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in data[:limit])
    return text + "..." if len(data) > limit else text
