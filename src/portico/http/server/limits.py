"""Limits of requests that all protocols have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.codec.errors import ProtocolError
from portico.http.error_pages import TOO_LARGE_HEADER

if TYPE_CHECKING:
    from portico.http.settings import CoreSettings


def check_number_of_fields(count: int, core: CoreSettings) -> None:
    """Raise ProtocolError for a header section of more fields than `max_headers`."""
    if count > core.max_headers:
        raise ProtocolError(TOO_LARGE_HEADER, f"client sent too many header lines: {count} (max_headers is {core.max_headers})")
