"""What a request knows about the connection it came on."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.net.transport import Transport
from portico.variables.session import ClientConnection

if TYPE_CHECKING:
    from portico.codec.fields import RequestFields
    from portico.http.plan import Listener


@final
class Client(ClientConnection):
    """One client connection that speaks HTTP."""

    def __init__(self, transport: Transport, listener: Listener, peer: tuple[str, int] | None, number: int) -> None:
        super().__init__(transport, listener.spec.address, listener.default.core.error_log, peer, number)
        self.listener = listener
        self.requests = 0  # nginx's $connection_requests
        self.buffer: bytes = b""  # received and not yet consumed: the next request, or the start of a body
        self.memo_fields: RequestFields | None = None  # the header block for which `memo_block` was made, by `memo_owner`
        self.memo_owner: object = None
        self.memo_block: bytes = b""
        self.continued = False  # 100 Continue was sent, or need not be

    def forget(self) -> None:
        """Drop what was remembered of the header block."""
        self.memo_fields = None
        self.memo_owner = None
        self.memo_block = b""
