"""Header sections that are made once.

An upstream that repeats its header section, a cached response and a small file in memory have the same fields each time, unless
something in the location changes them (`HeaderFilter.preserves`). Their fields are remembered as a `FinishedHead`; each protocol adds
the bytes that it makes from them, when it first sends them.
"""

from __future__ import annotations

from typing import final


@final
class FinishedHead:
    """The fields of a response's header section, in order, without those that are about the connection."""

    def __init__(self, fields: list[tuple[bytes, bytes]], owner: object = None, reason: bytes = b"") -> None:
        self.fields = fields
        self.owner = owner  # the handler in whose location they hold
        self.reason = reason  # the reason phrase, b"" for the standard one
        self.http1: bytes = b""  # the field lines of HTTP/1, once somebody has asked for them
