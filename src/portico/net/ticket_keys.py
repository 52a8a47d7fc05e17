"""The keys that session tickets are sealed with, where `ssl_session_ticket_key` does not give them.

The supervisor makes them when it reads a configuration, and its children inherit them: a ticket of one worker is
good at all. They outlive a reload, or each renewed certificate of one site would cost all clients of all sites a
full handshake; but not by more than a day, for whoever learns a key can read recorded sessions of TLS 1.2 that it
sealed (RFC 5077 section 5.5). Without a reload they last as long as the process, as nginx's do.
"""

from __future__ import annotations

import os
from typing import Final, final

SIZE: Final = 80  # a name of 16 bytes, a key for the MAC, a key for AES-256
LIFE: Final = 86400.0  # seconds


@final
class TicketKeys:
    """One key for all servers that resume each other's sessions."""

    def __init__(self) -> None:
        self._keys: dict[bytes, tuple[float, bytes]] = {}  # identity: when it was made, the key

    def of(self, identity: bytes, now: float) -> bytes:
        """Return the key for an identity (the session ID context of its servers). `now`: monotonic seconds."""
        self._keys = {name: made for name, made in self._keys.items() if now - made[0] < LIFE}
        stored = self._keys.get(identity)
        if stored is None:
            stored = self._keys[identity] = (now, os.urandom(SIZE))
        return stored[1]


KEPT: Final = TicketKeys()
