"""A group: the addresses of its servers, names that do not resolve yet, and peers that stay the same when names are resolved anew."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from portico.balancing.balancer import Balancer
from portico.balancing.group import Group, Server
from portico.balancing.least_conn import LeastConn
from portico.balancing.peer import Address, Peer, ServerSettings
from portico.balancing.round_robin import RoundRobin
from portico.balancing.shared_state import COLUMNS
from portico.net.resolver import ResolveError, Resolver
from portico.zones.table import SharedTable

NOW = 1000.0
INET, INET6 = int(socket.AF_INET), int(socket.AF_INET6)


def round_robin(peers: list[Peer], backup: list[Peer], table: SharedTable | None) -> Balancer:
    return RoundRobin(peers, backup, table)


def least_conn(peers: list[Peer], backup: list[Peer], table: SharedTable | None) -> Balancer:
    return LeastConn(peers, backup, table)


def server(text: str, *hosts: str, settings: ServerSettings | None = None) -> Server:
    """A server whose name resolves to `hosts`; without any it does not resolve."""
    host, _, port = text.partition(":")
    made = Server(text, host, int(port), None, settings or ServerSettings())
    if hosts:
        made.set_addresses(addresses(*hosts, port=int(port)))
    return made


def addresses(*hosts: str, port: int = 80) -> list[tuple[int, Address]]:
    return [(INET, (host, port)) for host in hosts]


def names(peers: list[Peer]) -> list[bytes]:
    return [peer.name for peer in peers]


# -- addresses ------------------------------------------------------------------------------------------------------------


def test_each_address_of_a_name_is_a_peer_with_the_settings_of_the_server() -> None:
    settings = ServerSettings(weight=3, max_conns=7)
    made = server("app:80", "10.0.0.1", "10.0.0.2", "10.0.0.1", settings=settings)
    assert names(made.peers()) == [b"10.0.0.1:80", b"10.0.0.2:80"]
    for peer in made.peers():
        assert peer.settings is settings and peer.effective_weight == 3 and peer.server == b"app:80"


def test_addresses_as_upstream_addr_shows_them() -> None:
    made = Server("app:80", "app", 80, None)
    made.set_addresses([(INET6, ("::1", 80, 0, 0)), (INET, ("10.0.0.1", 80))])
    assert names(made.peers()) == [b"[::1]:80", b"10.0.0.1:80"]


def test_a_unix_socket_needs_no_resolver() -> None:
    made = Server("unix:/run/app.sock", "unix:/run/app.sock", 0, None)
    made.resolve()
    (peer,) = made.peers()
    assert (peer.name, peer.family, peer.address) == (b"unix:/run/app.sock", socket.AF_UNIX, "/run/app.sock")


def test_an_address_resolves_to_itself() -> None:
    made = Server("127.0.0.1:8080", "127.0.0.1", 8080, None)
    made.resolve()
    assert [peer.address for peer in made.peers()] == [("127.0.0.1", 8080)]


def test_backups_are_apart() -> None:
    spare = server("b:80", "10.0.0.2", settings=ServerSettings(backup=True))
    group = Group("g", [server("a:80", "10.0.0.1"), spare], round_robin, None)
    assert names(group.balancer.peers) == [b"10.0.0.1:80"]
    assert names(group.balancer.backup) == [b"10.0.0.2:80"]


# -- ids ------------------------------------------------------------------------------------------------------------------


def test_servers_that_are_written_alike_have_peers_of_their_own() -> None:
    servers = [server("a:80", "10.0.0.1"), server("b:80", "10.0.0.1"), server("a:80", "10.0.0.1")]
    group = Group("g", servers, round_robin, SharedTable(8, COLUMNS))
    peers = group.balancer.peers
    assert len({peer.id for peer in peers}) == len({peer.slot for peer in peers}) == 3
    group.balancer.replace([peer for each in servers for peer in each.peers()])
    assert all(new is old for new, old in zip(group.balancer.peers, peers, strict=True))


@pytest.mark.parametrize("make", [round_robin, least_conn])
@pytest.mark.parametrize("shared", [False, True])
def test_a_peer_stays_itself_when_its_name_is_resolved_anew(
    make: Callable[[list[Peer], list[Peer], SharedTable | None], Balancer], shared: bool
) -> None:
    app = server("app:80", "10.0.0.1", "10.0.0.2")
    group = Group("g", [app], make, SharedTable(8, COLUMNS) if shared else None)
    balancer = group.balancer
    held = balancer.pick(b"", None, NOW)
    assert held is not None and held.name == b"10.0.0.1:80"
    app.set_addresses(addresses("10.0.0.3", "10.0.0.1"))  # in another order, with another neighbour
    balancer.replace(app.peers())
    assert names(balancer.peers) == [b"10.0.0.3:80", b"10.0.0.1:80"] and balancer.peers[1] is held
    assert held.connections == 1
    assert balancer.free(held, True, NOW)
    assert not held.is_available(NOW + 1) and held.connections == 0


def test_workers_that_resolve_differently_mean_the_same_rows() -> None:
    table = SharedTable(8, COLUMNS)
    one = Group("g", [server("app:80", "10.0.0.1", "10.0.0.2")], round_robin, table).balancer
    two = Group("g", [server("app:80", "10.0.0.3", "10.0.0.2")], round_robin, table).balancer
    first, second = one.peers[1], two.peers[1]
    assert first is not second and first.id == second.id and first.slot == second.slot
    for _ in range(2):
        picked = one.pick(b"", None, NOW)
        assert picked is not None
        one.free(picked, picked is first, NOW)
    assert names([peer for peer in (two.pick(b"", None, NOW) for _ in range(3)) if peer]) == [b"10.0.0.3:80"] * 3


def test_an_attempt_to_a_peer_that_is_gone_ends_as_usual() -> None:
    app = server("app:80", "10.0.0.1", "10.0.0.2")
    balancer = Group("g", [app], round_robin, SharedTable(8, COLUMNS)).balancer
    held = balancer.pick(b"", None, NOW)
    assert held is not None
    app.set_addresses(addresses("10.0.0.9"))
    balancer.replace(app.peers())
    balancer.free(held, False, NOW)
    app.set_addresses(addresses("10.0.0.1"))
    balancer.replace(app.peers())
    assert balancer.peers[0] is not held and balancer.peers[0].id == held.id
    assert balancer.pick(b"", None, NOW) is balancer.peers[0] and balancer.peers[0].connections == 1


# -- names that do not resolve --------------------------------------------------------------------------------------------


class System:
    """Stands for getaddrinfo(3): fails `failures` times for each name, then knows one address."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked: list[str] = []

    def getaddrinfo(self, host: bytes, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        name = host.decode() if isinstance(host, bytes) else str(host)
        self.asked.append(name)
        if self.asked.count(name) <= self.failures:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", port))]


def started(group: Group, ready: Callable[[], bool]) -> None:
    """Run the group in a worker until `ready`."""

    async def worker() -> None:
        group.start(Resolver())
        for _ in range(500):
            if ready():
                break
            await asyncio.sleep(0.01)
        group.stop()

    asyncio.run(worker())


def test_a_name_that_does_not_resolve_has_no_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", System(9).getaddrinfo)
    missing = server("late:80")
    with pytest.raises(ResolveError):
        missing.resolve()
    group = Group("g", [missing], round_robin, None)
    assert not missing.resolved and group.balancer.pick(b"", None, NOW) is None and group.balancer.most_tries() == 0


def test_a_worker_asks_until_the_name_resolves(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(1)
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    group = Group("g", [server("known:80", "10.0.0.1"), server("late:80")], round_robin, None)
    known = group.balancer.peers[0]
    assert group.balancer.pick(b"", None, NOW) is known
    started(group, lambda: len(group.balancer.peers) == 2)
    assert system.asked == ["late", "late"]  # and not the one that has addresses
    assert names(group.balancer.peers) == [b"10.0.0.1:80", b"10.0.0.7:80"]
    assert group.balancer.peers[0] is known and known.connections == 1


def test_where_all_names_resolve_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(0)
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    started(Group("g", [server("known:80", "10.0.0.1")], round_robin, None), lambda: True)
    assert system.asked == []
