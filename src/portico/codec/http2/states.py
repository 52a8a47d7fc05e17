"""The states of a stream as a table (RFC 9113 section 5.1). Nobody pushes, so none is ever reserved."""

from __future__ import annotations

from typing import Final

IDLE: Final = 0
OPEN: Final = 1
HALF_CLOSED_LOCAL: Final = 2  # we have ended, the peer goes on
HALF_CLOSED_REMOTE: Final = 3  # the peer has ended, we go on
CLOSED: Final = 4

NAMES: Final = ("idle", "open", "half-closed (local)", "half-closed (remote)", "closed")

BEGUN: Final = 0  # HEADERS that open the stream, of whichever side
REMOTE_END: Final = 1  # END_STREAM received
LOCAL_END: Final = 2  # END_STREAM sent
RESET: Final = 3  # RST_STREAM, received or sent

EVENTS: Final = ("HEADERS", "END_STREAM received", "END_STREAM sent", "RST_STREAM")

NEVER: Final = -1
_N: Final = NEVER
TABLE: Final[tuple[tuple[int, ...], ...]] = (
    # BEGUN  REMOTE_END          LOCAL_END          RESET
    (OPEN, _N, _N, _N),  # IDLE
    (_N, HALF_CLOSED_REMOTE, HALF_CLOSED_LOCAL, CLOSED),  # OPEN
    (_N, CLOSED, _N, CLOSED),  # HALF_CLOSED_LOCAL
    (_N, _N, CLOSED, CLOSED),  # HALF_CLOSED_REMOTE
    (_N, _N, _N, CLOSED),  # CLOSED
)


def next_state(state: int, event: int) -> int:
    """Return the state that follows. Raises AssertionError where the event cannot be: whoever asks has made sure of that."""
    following = TABLE[state][event]
    if following == NEVER:
        raise AssertionError(f"a stream that is {NAMES[state]} has no {EVENTS[event]}")
    return following


def takes_frames(state: int) -> bool:
    """Whether the peer may send HEADERS and DATA in this state."""
    return state in (OPEN, HALF_CLOSED_LOCAL)
