"""An upstream group: its servers and their addresses, the balancer that picks among the peers, the pool of connections to them.

A group is built at load. Names are resolved then; one that does not resolve is a warning, the group has no peer for it, and each
worker asks again in the background until it resolves.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, final

from portico.balancing.balancer import Balancer
from portico.balancing.peer import DEFAULT_SETTINGS, Address, Peer, ServerSettings
from portico.balancing.pool import Pool
from portico.net.resolver import RESOLVE_SECONDS, ResolveError, Resolver, resolve_blocking
from portico.zones.table import SharedTable

if TYPE_CHECKING:
    from portico.config.diagnostics import Where

# Seconds until a name is asked for again: soon at first, as what starts together with us may take a moment, then less often.
FIRST_RETRY: Final = 0.5
LAST_RETRY: Final = 5.0
DEFAULT_KEEPALIVE: Final = 32  # as nginx since 1.29.7
MakeBalancer = Callable[[list[Peer], list[Peer], "SharedTable | None"], Balancer]


@final
class Server:
    """One `server` of a group, or an address that stands for a group of its own: a name, and the addresses that it resolves to."""

    def __init__(
        self, text: str, host: str, port: int, where: Where | None, settings: ServerSettings = DEFAULT_SETTINGS
    ) -> None:
        self.text = text  # as configured
        self.host = host  # name or address; "unix:/path" for a Unix socket
        self.port = port
        self.where = where
        self.settings = settings
        self.number = 0  # how many servers before it in its group have the same text
        self.resolved = False
        self._addresses: dict[bytes, tuple[int, Address]] = {}  # by name; in the order that the resolver gave

    def resolve(self) -> None:
        """Look up the addresses of the host, while everybody waits. Raises ResolveError."""
        if self.host.startswith("unix:"):
            self.set_addresses([(socket.AF_UNIX, self.host[5:])])
            return
        self.set_addresses(resolve_blocking(self.host, self.port).addresses)

    def set_addresses(self, addresses: Sequence[tuple[int, Address]]) -> None:
        """Set what the name resolves to: address families and addresses, as a resolver returns them."""
        self.resolved = True
        self._addresses = {}
        for family, address in addresses:
            name = _name_of(family, address)
            if name not in self._addresses:
                self._addresses[name] = (family, address)

    def peers(self) -> list[Peer]:
        """Return new peers, one for each address."""
        text = self.text.encode("utf-8", "surrogateescape")
        return [
            Peer(name, family, address, self.settings, text, self.number) for name, (family, address) in self._addresses.items()
        ]


def _name_of(family: int, address: Address) -> bytes:
    """Return an address as $upstream_addr shows it."""
    if family == socket.AF_UNIX:
        return b"unix:" + str(address).encode("utf-8", "surrogateescape")
    assert isinstance(address, tuple)
    if family == socket.AF_INET6:
        return f"[{address[0]}]:{address[1]}".encode()
    return f"{address[0]}:{address[1]}".encode()


def _number(servers: list[Server]) -> None:
    """Number the servers that are written alike: each of them has peers of its own."""
    seen: dict[str, int] = {}
    for server in servers:
        server.number = seen.get(server.text, 0)
        seen[server.text] = server.number + 1


@final
class Group:
    """One upstream group. The live state, `balancer` and `pool`, belongs to the process that uses them."""

    def __init__(self, name: str, servers: list[Server], make: MakeBalancer, table: SharedTable | None) -> None:
        self.name = name
        self.name_bytes: bytes = name.encode("utf-8", "surrogateescape")
        self.servers = servers
        self.table = table
        _number(servers)
        self.balancer: Balancer = make(self._peers(False), self._peers(True), table)
        self.pool = Pool(0, 60.0, 1000, 3600.0)  # keeps none, unless an `upstream` block says how many
        self.hash_key: object = None  # a Template, for `hash key`
        self.key_is_address = False  # ip_hash: the key is the packed client address
        self._resolving: asyncio.Task[None] | None = None

    def _peers(self, backup: bool) -> list[Peer]:
        return [peer for server in self.servers if server.settings.backup == backup for peer in server.peers()]

    def start(self, resolver: Resolver) -> None:
        """Resolve, in the background of a worker, the names that have no address yet."""
        if any(not server.resolved for server in self.servers):
            self._resolving = asyncio.get_event_loop().create_task(self._resolve_missing(resolver))

    def stop(self) -> None:
        """Close what the group has open in a worker, which ends."""
        if self._resolving is not None:
            self._resolving.cancel()
        self.pool.close()

    async def _resolve_missing(self, resolver: Resolver) -> None:
        pause = FIRST_RETRY
        while True:
            missing = [server for server in self.servers if not server.resolved]
            if not missing:
                return
            for server in missing:
                try:
                    found = await resolver.resolve(server.host, server.port, RESOLVE_SECONDS)
                except ResolveError:
                    continue
                server.set_addresses(found.addresses)
                self.balancer.replace(self._peers(False), self._peers(True))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY)
