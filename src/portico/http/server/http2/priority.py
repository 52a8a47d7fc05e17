"""What a client wishes about the order of responses (RFC 9218)."""

from __future__ import annotations

from typing import Final, final

DEFAULT_URGENCY: Final = 3
_LONGEST: Final = 64  # bytes that are looked at: what is defined has nine


@final
class Priority:
    """`urgency`: 0 (first) to 7; `incremental`: a part is of use, so that others may be sent in between."""

    def __init__(self, urgency: int, incremental: bool) -> None:
        self.urgency = urgency
        self.incremental = incremental


def priority_of(value: bytes) -> Priority:
    """Return what a Priority field says: a dictionary of structured fields. What cannot be understood is not said."""
    urgency = DEFAULT_URGENCY
    incremental = False
    if len(value) > _LONGEST:
        return Priority(urgency, incremental)
    for member in value.split(b","):
        key, equals, given = member.partition(b";")[0].strip(b" \t").partition(b"=")
        if key == b"u" and len(given) == 1 and given in b"01234567":
            urgency = int(given)
        elif key == b"i":
            incremental = given == b"?1" or not equals
    return Priority(urgency, incremental)
