"""Early hints of an upstream on their way to the client (103, RFC 8297)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.net.reactor import ClientGone, ClientTimeout

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request


class HintRules:
    """Says what of an upstream's early hints the client gets."""

    def hints(self, head: ResponseHead) -> list[tuple[bytes, bytes]]:
        """Return the fields of a 103 that the client gets."""
        raise NotImplementedError


async def send_hints(request: Request, fields: list[tuple[bytes, bytes]]) -> None:
    """Send early hints to the client, if there are any. Raises ClientFailed; ClientGone when it does not take them."""
    stream = request.stream
    if not fields or stream is None:
        return
    try:
        await stream.send_interim(103, b"Early Hints", fields, request.location.core.send_timeout)
    except ClientTimeout:
        raise ClientGone from None
