"""The versions of HTTP, as numbers that can be compared, and as they are written."""

from __future__ import annotations

from typing import Final

HTTP_1_0: Final = 10
HTTP_1_1: Final = 11
HTTP_2: Final = 20

NAMES: Final[dict[int, bytes]] = {HTTP_1_0: b"HTTP/1.0", HTTP_1_1: b"HTTP/1.1", HTTP_2: b"HTTP/2.0"}
