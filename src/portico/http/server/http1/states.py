"""The states of an HTTP/1 connection, and which may follow which.

A client that leaves, a timeout and the end of the worker lead from every state to CLOSED.
"""

from __future__ import annotations

from typing import Final

IDLE: Final = 0  # nothing of a request has come
HEAD: Final = 1  # a part of a header section has come
SERVING: Final = 2  # a request is answered
TUNNEL: Final = 3  # 101 was sent: bytes of another protocol, both ways
DISCARDING: Final = 4  # the rest of a request's body that nobody wants is read
LINGERING: Final = 5  # our side is closed; what still comes is read, so that no reset takes the response from the client
CLOSED: Final = 6

NAMES: Final[tuple[str, ...]] = (
    "idle", "reading a header section", "serving", "a tunnel", "discarding a body", "lingering", "closed",
)  # fmt: skip

# By state: the states that may follow, as bits.
FOLLOWING: Final[tuple[int, ...]] = (  # without its type it would be made anew at each look (ARCHITECTURE.md, "What mypyc taught us")
    1 << IDLE | 1 << HEAD | 1 << SERVING,
    1 << HEAD | 1 << SERVING,
    1 << IDLE | 1 << TUNNEL | 1 << DISCARDING | 1 << LINGERING,
    1 << LINGERING,
    1 << IDLE | 1 << LINGERING,
    0,
    0,
)


def may_follow(state: int, following: int) -> bool:
    """Whether a connection in `state` may enter `following`."""
    return following == CLOSED or FOLLOWING[state] >> following & 1 != 0
