"""Waiting that is not for the network. A client that leaves meanwhile ends its request (nginx: ngx_http_test_reading)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from portico.net.reactor import ClientGone

if TYPE_CHECKING:
    from portico.http.request import Request

T = TypeVar("T")


async def pause(request: Request, seconds: float) -> None:
    """Wait on the loop's timer: it is exact where the reactor's own come in steps of 50 ms. Raises ClientGone."""
    _watch(request)
    await asyncio.sleep(seconds)
    _unwatch(request)


async def result_of(request: Request, future: asyncio.Future[T]) -> T:
    """What comes of the future. Raises what it raises, and ClientGone."""
    _watch(request)
    try:
        return await future
    finally:
        _unwatch(request)


def _watch(request: Request) -> None:
    connection = request.connection
    if connection is not None:
        if request.client.transport.peer_closed:
            raise ClientGone  # it left before anybody watched
        connection.abortable = True


def _unwatch(request: Request) -> None:
    connection = request.connection
    if connection is not None:
        connection.abortable = False
