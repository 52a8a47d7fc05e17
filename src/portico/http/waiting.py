"""Waiting that is not for the network. A client that leaves meanwhile ends its request (nginx: ngx_http_test_reading)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from portico.http.request import Request

T = TypeVar("T")


async def pause(request: Request, seconds: float) -> None:
    """Wait on the loop's timer: it is exact where the reactor's own come in steps of 50 ms. Raises ClientGone."""
    stream = request.stream
    if stream is not None:
        stream.watch()
    await asyncio.sleep(seconds)
    if stream is not None:
        stream.unwatch()


async def result_of(request: Request, future: asyncio.Future[T]) -> T:
    """Return what comes of the future. Raises what it raises, and ClientGone."""
    stream = request.stream
    if stream is not None:
        stream.watch()
    try:
        return await future
    finally:
        if stream is not None:
            stream.unwatch()
