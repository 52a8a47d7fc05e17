"""The keys that session tickets are sealed with.

Whoever learns a key can read recorded sessions of TLS 1.2 that it sealed (RFC 5077 section 5.5). So it should not last:

* Where `ssl_session_ticket_key` gives them, the first seals, and the others open what they sealed before: `FixedKeys`.
* Where sessions are stored in a zone (`ssl_session_cache shared:`) the workers change them, as nginx does since 1.23.2:
  `RotatingKeys`. They are in shared memory, as a ticket of one worker is good at all, and outlive a reload.
* Else the supervisor makes one when it reads a configuration (`TicketKeys`). It outlives a reload, or each renewed
  certificate of one site would cost all clients of all sites a full handshake; but not by more than a day. Without a
  reload it lasts as long as the process, as nginx's do.
"""

from __future__ import annotations

import os
import time
from typing import Final, final

from portico.zones.lock import LOCK_SIZE, LOCKS
from portico.zones.memory import PAGE, shared_pages

SIZE: Final = 80  # a name of 16 bytes, a key for the MAC, a key for AES-256
SMALL_SIZE: Final = 48  # a name, a key for AES-128, a key for the MAC
NAME_SIZE: Final = 16
LIFE: Final = 86400.0  # seconds
_WORD: Final = 8


@final
class TicketKey:
    """One key. A ticket says by its name which one has sealed it."""

    def __init__(self, data: bytes) -> None:
        """Take a key of SIZE or SMALL_SIZE bytes, in nginx's order."""
        self.name = data[:NAME_SIZE]
        if len(data) == SIZE:
            self.mac = data[NAME_SIZE:48]
            self.cipher = data[48:]
        else:
            self.cipher = data[NAME_SIZE:32]
            self.mac = data[32:]


class KeyRing:
    """The keys of a context, when it has several."""

    def sealing(self) -> TicketKey:
        """Return the key for a new ticket."""
        raise NotImplementedError

    def opening(self, name: bytes) -> TicketKey | None:
        """Return the key that a ticket names; None when it is not known (any more)."""
        raise NotImplementedError


@final
class FixedKeys(KeyRing):
    """Keys of files: the first for new tickets, all for those that come back."""

    def __init__(self, keys: list[TicketKey]) -> None:
        self._keys = keys

    def sealing(self) -> TicketKey:
        return self._keys[0]

    def opening(self, name: bytes) -> TicketKey | None:
        for key in self._keys:
            if key.name == name:
                return key
        return None


@final
class SharedKeys:
    """A current key, the one before and the next one, for all workers of all loads (nginx: ngx_ssl_rotate_ticket_keys).

    In the memory stand, behind the lock: until when the current key is needed, until when the previous one, in whole monotonic
    seconds; and the three keys. A worker that dies while it changes them leaves keys that all others read alike.
    """

    def __init__(self) -> None:
        self._memory, address = shared_pages(PAGE)
        self._lock = LOCKS.make(address)
        self._ends: int = LOCK_SIZE
        self._keys: int = LOCK_SIZE + 2 * _WORD

    def renew(self, now: int, until: int) -> tuple[int, int, bytes, bytes]:
        """Note that a ticket is sealed that is valid until `until`; return the ends and keys: current, previous.

        A key is in use for as long as the one before it is needed.
        """
        self._lock.acquire()
        try:
            current_end, previous_end = self._end(0), self._end(1)
            if current_end == 0:
                current_end = until
                self._put(0, os.urandom(SIZE))
                self._put(2, self._key(0))
            if previous_end < now:
                previous_end = current_end
                self._put(1, self._key(0))
                self._put(0, self._key(2))
                self._put(2, os.urandom(SIZE))
            current_end = max(current_end, until)
            self._memory[self._ends : self._keys] = current_end.to_bytes(_WORD, "little") + previous_end.to_bytes(_WORD, "little")
            return current_end, previous_end, self._key(0), self._key(1)
        finally:
            self._lock.release()

    def _end(self, index: int) -> int:
        at = self._ends + index * _WORD
        return int.from_bytes(self._memory[at : at + _WORD], "little")

    def _key(self, index: int) -> bytes:
        at = self._keys + index * SIZE
        return self._memory[at : at + SIZE]

    def _put(self, index: int, key: bytes) -> None:
        at = self._keys + index * SIZE
        self._memory[at : at + SIZE] = key


@final
class RotatingKeys(KeyRing):
    """The keys of one zone as one process knows them. A ticket is valid for `lifetime` seconds."""

    def __init__(self, shared: SharedKeys, lifetime: int) -> None:
        self._shared = shared
        self._lifetime = lifetime
        self._current_end: int = 0
        self._previous_end: int = 0
        self._current = TicketKey(bytes(SIZE))
        self._previous = self._current

    def _renew(self) -> None:
        """Look at the shared keys, unless the known ones do: where another worker has gone on, its tickets are not known yet."""
        now = int(time.monotonic())
        until = now + self._lifetime
        if self._current_end >= until and self._previous_end >= now:
            return
        self._current_end, self._previous_end, current, previous = self._shared.renew(now, until)
        self._current, self._previous = TicketKey(current), TicketKey(previous)

    def sealing(self) -> TicketKey:
        self._renew()
        return self._current

    def opening(self, name: bytes) -> TicketKey | None:
        self._renew()
        if name == self._current.name:
            return self._current
        return self._previous if name == self._previous.name else None


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


@final
class ZoneKeys:
    """The shared keys of each zone, by its name. Zones are few, and stay."""

    def __init__(self) -> None:
        self._keys: dict[str, SharedKeys] = {}

    def of(self, zone: str) -> SharedKeys:
        """Return the keys of a zone; called before workers are forked."""
        keys = self._keys.get(zone)
        if keys is None:
            keys = self._keys[zone] = SharedKeys()
        return keys


KEPT: Final = TicketKeys()
ZONE_KEYS: Final = ZoneKeys()
