"""How long a fuzzer runs, which cases it makes, and how a failure is told so that it can be replayed.

Every case follows from one number, its seed. PORTICO_FUZZ_SECONDS says for how long each fuzzer makes cases. Without it that
is 5 s, for the suite runs both forms and `make fuzz` is there for more. PORTICO_FUZZ_SEED replays the case of that seed alone.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

SECONDS = float(os.environ.get("PORTICO_FUZZ_SECONDS") or 5)
SEED = os.environ.get("PORTICO_FUZZ_SEED", "")
MINIMISING = 40.0  # seconds for making a failing case smaller
TIMEOUT = SECONDS + MINIMISING + 90  # for pytest: beyond this nothing is bounded any more

T = TypeVar("T")


def batches(size: int, seconds: float = SECONDS) -> Iterator[list[int]]:
    """Yields lists of seeds until the time is over, or once the seed to replay."""
    if SEED:
        yield [int(SEED)]
        return
    first = random.SystemRandom().randrange(10**9)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield list(range(first, first + size))
        first += size


def minimised(parts: list[T], fails: Callable[[list[T]], bool], until: float) -> list[T]:
    """Returns a shorter list that still fails: takes away halves, quarters and so on until nothing more can go or time is over."""
    size = max(1, len(parts) // 2)
    while parts:
        at = 0
        smaller = False
        while at < len(parts):
            if time.monotonic() > until:
                return parts
            rest = parts[:at] + parts[at + size :]
            if fails(rest):
                parts, smaller = rest, True
            else:
                at += size
        if size == 1 and not smaller:
            return parts
        size = max(1, size // 2)
    return parts
