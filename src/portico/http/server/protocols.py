"""The protocols that clients may speak: a new one is added here, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.http.server.http1.server import Http1
from portico.http.server.http2.server import Http2
from portico.http.server.protocol import ClientProtocol

if TYPE_CHECKING:
    from portico.net.reactor import Reactor


def protocols_of(reactor: Reactor) -> list[ClientProtocol]:
    """Return the protocols of one worker, for one listening socket, in the order in which they are asked whether they are spoken."""
    return [Http2(reactor), Http1(reactor)]
