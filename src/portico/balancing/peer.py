"""One address of an upstream group, with what its balancer knows about it.

The rules are those of nginx's ``ngx_http_upstream_round_robin.c``:

- a failure counts in ``fails`` and costs ``weight / max_fails`` of the ``effective_weight``, which comes
  back by one at each pick;
- with ``max_fails`` failures the peer is left alone until ``fail_timeout`` has passed since ``checked``,
  then one try in each ``fail_timeout`` is let through (the pick moves ``checked``);
- a success forgets the failures if the pick that led to it was such a try (``accessed < checked``).

Times are seconds of a clock that only goes forward and is the same in all workers (``time.monotonic``).
"""

from typing import TypeAlias, final

# what socket.connect takes: (host, port), (host, port, flow, scope), or the path of a unix socket
Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str


@final
class Peer:
    """An address that requests can be sent to.

    ``name`` is the address as ``$upstream_addr`` shows it (``127.0.0.1:8080``, ``[::1]:8080``,
    ``unix:/path``), ``server`` the name as the configuration has it (several peers share it when it
    resolves to several addresses). ``index`` is the place in the group, given by the balancer.
    """

    def __init__(
        self,
        name: bytes,
        family: int,
        address: Address,
        *,
        server: bytes = b"",
        weight: int = 1,
        max_conns: int = 0,
        max_fails: int = 1,
        fail_timeout: float = 10.0,
        backup: bool = False,
        down: bool = False,
    ) -> None:
        self.name = name
        self.family = family
        self.address: Address = address
        self.server = server or name
        self.weight = weight
        self.max_conns = max_conns
        self.max_fails = max_fails
        self.fail_timeout = fail_timeout
        self.backup = backup
        self.down = down

        self.index = 0
        self.slot = -1  # row of the group's shared table, if it has one
        self.identity = 0  # what says in that row that it is this peer's

        self.current_weight = 0
        self.effective_weight = weight
        self.connections = 0
        self.fails = 0
        self.accessed = 0.0  # the last failure
        self.checked = 0.0  # the last failure, or the last pick that was to check whether it is over

    def available(self, now: float) -> bool:
        """Whether a request may go there now."""
        if self.down:
            return False
        if self.fails and 0 < self.max_fails <= self.fails and now - self.checked <= self.fail_timeout:
            return False
        return self.max_conns == 0 or self.connections < self.max_conns

    def gain_weight(self) -> int:
        """One turn of smooth round robin: weight grows by its share (returned), which itself recovers."""
        share = self.effective_weight
        self.current_weight += share
        if share < self.weight:
            self.effective_weight = share + 1
        return share

    def failed(self, now: float) -> bool:
        """Count a failure; True when it is the one that takes the peer out of use for ``fail_timeout``."""
        self.fails += 1
        self.accessed = now
        self.checked = now
        if self.max_fails == 0:
            return False
        self.effective_weight = max(0, self.effective_weight - self.weight // self.max_fails)
        return self.fails >= self.max_fails

    def worked(self) -> None:
        """A request went well: forget failures if it was sent to see whether they are over."""
        if self.accessed < self.checked:
            self.fails = 0

    def configure(self, other: "Peer") -> None:
        """Take over the settings of ``other``, the same address in a newer list; keep the state."""
        if other.weight != self.weight:
            self.weight = other.weight
            self.effective_weight = other.weight
        self.max_conns = other.max_conns
        self.max_fails = other.max_fails
        self.fail_timeout = other.fail_timeout
        self.backup = other.backup
        self.down = other.down
