"""What goes wrong in HTTP/2, and the codes that say so (RFC 9113 section 7)."""

from __future__ import annotations

from typing import Final, final

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11
INADEQUATE_SECURITY: Final = 12
HTTP_1_1_REQUIRED: Final = 13


@final
class Http2Error(Exception):
    """The peer broke the protocol so that the connection ends: GOAWAY with `code`. `reason` is for the error log."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code: int = code
        self.reason: str = reason


@final
class HeadersTooLarge(Exception):
    """A header block has a field, or fields, larger than the receiver allows."""


@final
class HpackError(Exception):
    """A header block cannot be decoded: nothing that comes after it could be (RFC 7541 section 2.2)."""

    def __init__(self, reason: str, code: int = COMPRESSION_ERROR) -> None:
        super().__init__(reason)
        self.code: int = code
