"""`limit_rate`: sending no faster than so many bytes a second.

nginx's arithmetic: after t seconds a response may have sent rate × (t + 1) bytes, plus `limit_rate_after`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, final

from portico.config import values

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response


@final
class Pace:
    """The allowance of one response."""

    def __init__(self, rate: int, after: int, started: float) -> None:
        self.rate = rate  # bytes a second
        self.after = after  # bytes that go unmetered
        self.started = started
        self.sent = 0

    @staticmethod
    def for_request(request: Request, response: Response) -> Pace | None:
        """Return the pace that `limit_rate` or X-Accel-Limit-Rate asks for; None: full speed."""
        core = request.location.core
        rate = -1 if response.upstream is None else response.upstream.limit_rate
        given = None if request.values is None else request.values.get("limit_rate")  # by `set $limit_rate`
        if rate < 0 and given:
            rate = values.size_of(given.decode("latin-1")) or 0
        if rate < 0 and core.limit_rate is not None:
            rate = values.size_of(core.limit_rate.render(request).decode("latin-1")) or 0
        if rate <= 0:
            return None
        after = 0
        if core.limit_rate_after is not None:
            after = values.size_of(core.limit_rate_after.render(request).decode("latin-1")) or 0
        return Pace(rate, after, request.reactor.now)

    async def allowance(self, request: Request, wanted: int) -> int:
        """Wait until at least one byte may be sent; return how many may, at most `wanted`.

        Raises ClientGone when the client leaves meanwhile. One that had ended its side before, having said all, is served.
        """
        reactor = request.reactor
        stream = request.stream
        while True:
            allowed = int(self.rate * (reactor.now - self.started + 1.0)) + self.after - self.sent
            if allowed > 0:
                return min(wanted, allowed)
            if stream is not None and not stream.has_left():
                stream.watch()
            await asyncio.sleep(min(1.0, (1 - allowed) / self.rate + 0.001))
            if stream is not None:
                stream.unwatch()

    def used(self, count: int) -> None:
        """`count` bytes were sent."""
        self.sent += count
