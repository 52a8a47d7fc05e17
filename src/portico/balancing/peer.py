"""One address of an upstream group: what its `server` says, and what its balancer knows about it.

The rules are those of nginx's ``ngx_http_upstream_round_robin.c``:

- a failure counts in ``fails`` and costs ``weight / max_fails`` of the ``effective_weight``, which comes
  back by one at each pick;
- with ``max_fails`` failures the peer is left alone until ``fail_timeout`` has passed since ``checked``,
  then one attempt in each ``fail_timeout`` is let through (the pick moves ``checked``);
- a success forgets the failures if the pick that led to it was such an attempt (``accessed < checked``).

Times are seconds of a clock that only goes forward and is the same in all workers (``time.monotonic``).
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias, final

# This is what socket.connect accepts: (host, port), (host, port, flow, scope), or the path of a Unix socket.
Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str


@final
class ServerSettings:
    """What the parameters of a `server` say, for all of its peers. Never written after load."""

    def __init__(
        self,
        weight: int = 1,
        max_conns: int = 0,
        max_fails: int = 1,
        fail_timeout: float = 10.0,
        backup: bool = False,
        down: bool = False,
    ) -> None:
        self.weight: Final = weight
        self.max_conns: Final = max_conns  # 0: any number
        self.max_fails: Final = max_fails  # 0: failures are not counted
        self.fail_timeout: Final = fail_timeout  # seconds
        self.backup: Final = backup
        self.down: Final = down


DEFAULT_SETTINGS: Final = ServerSettings()
_NO_LIMIT: Final = 1 << 40


@final
class Peer:
    """An address, its settings, and its live state in this process (or copied from a zone).

    ``name`` is the address as ``$upstream_addr`` shows it. ``server`` is the text of the `server` that it belongs to (several peers
    share it when it resolves to several addresses). ``id`` is made of the two, so it is the same in every worker and after every
    `Balancer.replace`; ``number`` distinguishes servers of a group that are written alike.
    """

    def __init__(
        self,
        name: bytes,
        family: int,
        address: Address,
        settings: ServerSettings = DEFAULT_SETTINGS,
        server: bytes = b"",
        number: int = 0,
    ) -> None:
        self.name: Final = name
        self.family: Final = family
        self.address: Final[Address] = address
        self.server: Final[bytes] = server or name
        self.id: Final[int] = peer_id(self.server, number, name)
        self.settings = settings
        self.limit = _limit_of(settings)  # of `connections`

        self.slot = -1  # where the group's shared table has its row, if there is one (shared_state.py)

        self.current_weight = 0
        self.effective_weight: int = settings.weight
        self.connections = 0
        self.fails = 0
        self.accessed = 0.0  # the last failure
        self.checked = 0.0  # the last failure, or the last pick that was to check whether it is over

    def is_available(self, now: float) -> bool:
        """Return whether a request may go there now."""
        if self.fails:
            settings = self.settings
            if 0 < settings.max_fails <= self.fails and now - self.checked <= settings.fail_timeout:
                return False
        return self.connections < self.limit

    def gain_weight(self) -> int:
        """Take part in one turn of smooth round robin: add the effective weight, which recovers, to the current one; return it."""
        share = self.effective_weight
        self.current_weight += share
        if share < self.settings.weight:
            self.effective_weight = share + 1
        return share

    def count_failure(self, now: float) -> bool:
        """Count a failure; return True when it takes the peer out of use for ``fail_timeout``."""
        settings = self.settings
        self.fails += 1
        self.accessed = now
        self.checked = now
        if settings.max_fails == 0:
            return False
        self.effective_weight = max(0, self.effective_weight - settings.weight // settings.max_fails)
        return self.fails >= settings.max_fails

    def count_success(self) -> None:
        """Forget the failures if the request was sent to see whether they are over."""
        if self.accessed < self.checked:
            self.fails = 0

    def change_settings(self, settings: ServerSettings) -> None:
        """Follow a `server` that says something else than before; the state stays."""
        if settings.weight != self.settings.weight:
            self.effective_weight = settings.weight
        self.settings = settings
        self.limit = _limit_of(settings)


def _limit_of(settings: ServerSettings) -> int:
    """Return how many connections a peer may have, below any number when it may have none."""
    if settings.down:
        return -_NO_LIMIT
    return settings.max_conns or _NO_LIMIT


def peer_id(server: bytes, number: int, name: bytes) -> int:
    """Return the number that stands for an address of a server in every process; never 0, and it fits a cell of shared memory."""
    digest = hashlib.blake2b(b"%b\0%d\0%b" % (server, number, name), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 3 or 1
