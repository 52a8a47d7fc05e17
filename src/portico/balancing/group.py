"""An upstream group: peers, the balancer that picks among them, the pool of idle connections, and their names' addresses.

A group is built at load. Names are resolved then; one that does not resolve is a warning, the group answers 502 for it, and each
worker asks again in the background until it does.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, final

from portico.balancing.balancer import Balancer
from portico.balancing.peer import Address, Peer
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
    """One `server` of an upstream, or the address of a proxy_pass: resolves to one or more peers."""

    def __init__(self, text: str, host: str, port: int, where: Where | None) -> None:
        self.text = text  # as configured
        self.host = host  # name or address; "unix:/path" for a Unix socket
        self.port = port
        self.where = where
        self.weight = 1
        self.max_conns = 0
        self.max_fails = 1
        self.fail_timeout = 10.0
        self.backup = False
        self.down = False
        self.resolved = False
        self.peers: list[Peer] = []

    def resolve(self) -> None:
        """Make the peers for the addresses of the host, which is asked for while everybody waits. Raises ResolveError."""
        if self.host.startswith("unix:"):
            self.take_addresses([(socket.AF_UNIX, self.host[5:])])
            return
        self.take_addresses(resolve_blocking(self.host, self.port).addresses)

    def take_addresses(self, addresses: Sequence[tuple[int, Address]]) -> None:
        """Make the peers for what a resolver answered."""
        self.resolved = True
        self.peers = []
        seen: set[bytes] = set()
        for family, address in addresses:
            name = _shown(family, address)
            if name not in seen:
                seen.add(name)
                self.peers.append(self._peer(name, family, address))

    def _peer(self, name: bytes, family: int, address: Address) -> Peer:
        return Peer(
            name,
            family,
            address,
            server=self.text.encode("utf-8", "surrogateescape"),
            weight=self.weight,
            max_conns=self.max_conns,
            max_fails=self.max_fails,
            fail_timeout=self.fail_timeout,
            backup=self.backup,
            down=self.down,
        )


def _shown(family: int, address: Address) -> bytes:
    """An address as $upstream_addr shows it."""
    if family == socket.AF_UNIX:
        return b"unix:" + str(address).encode("utf-8", "surrogateescape")
    assert isinstance(address, tuple)
    if family == socket.AF_INET6:
        return f"[{address[0]}]:{address[1]}".encode()
    return f"{address[0]}:{address[1]}".encode()


@final
class Group:
    """One upstream group. `balancer` and `pool` belong to the process that uses them."""

    def __init__(self, name: str, servers: list[Server], make: MakeBalancer, table: SharedTable | None) -> None:
        self.name = name
        self.name_bytes: bytes = name.encode("utf-8", "surrogateescape")
        self.servers = servers
        self.table = table
        self.balancer: Balancer = make(self._peers(False), self._peers(True), table)
        self.pool = Pool(DEFAULT_KEEPALIVE, 60.0, 1000, 3600.0)
        self.hash_key: object = None  # a Template, for `hash key`
        self.key_is_address = False  # ip_hash: the key is the packed client address
        self._resolving: asyncio.Task[None] | None = None

    def _peers(self, backup: bool) -> list[Peer]:
        return [peer for server in self.servers if server.backup == backup for peer in server.peers]

    def start(self, resolver: Resolver) -> None:
        """In a worker: see to names that have no address yet."""
        if any(not server.resolved for server in self.servers):
            self._resolving = asyncio.get_event_loop().create_task(self._resolve_missing(resolver))

    def stop(self) -> None:
        """The worker ends."""
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
                server.take_addresses(found.addresses)
                self.balancer.replace(self._peers(False), self._peers(True))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY)
