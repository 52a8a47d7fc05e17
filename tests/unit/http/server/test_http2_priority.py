"""What a client wishes about the order of responses."""

from __future__ import annotations

import pytest

from portico.http.server.http2.priority import priority_of


@pytest.mark.parametrize(
    ("value", "urgency", "incremental"),
    [
        (b"", 3, False),
        (b"u=0", 0, False),
        (b"u=7, i", 7, True),
        (b"i,u=1", 1, True),
        (b"i=?1", 3, True),
        (b"i=?0", 3, False),
        (b"u=8", 3, False),
        (b"u=-1", 3, False),
        (b"u=10", 3, False),
        (b"u", 3, False),
        (b"u=2;x=y, i;z", 2, True),
        (b"other=1, u=5", 5, False),
        (b"\xff\xff", 3, False),
        (b"u=1, u=4", 4, False),
    ],
)
def test_priorities(value: bytes, urgency: int, incremental: bool) -> None:
    found = priority_of(value)
    assert (found.urgency, found.incremental) == (urgency, incremental)
