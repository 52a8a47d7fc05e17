"""The upstream groups of one configuration, as the features that use them share them while it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.balancing.balancer import Balancer
from portico.balancing.group import Group, Server
from portico.balancing.peer import Peer
from portico.balancing.round_robin import RoundRobin
from portico.config.build import nearest
from portico.config.diagnostics import Where
from portico.http.feature import BuildSlot, HttpBuild
from portico.net.resolver import ResolveError
from portico.worker.hook import WorkerHook
from portico.zones.table import SharedTable

if TYPE_CHECKING:
    from portico.worker.runtime import Runtime


@final
class Groups:
    """The groups of one configuration: those that `upstream` names, and those made of one address."""

    def __init__(self) -> None:
        self.named: dict[str, Group] = {}
        self.of_addresses: dict[tuple[str, str], Group] = {}  # by authority and address


def _no_groups(http: HttpBuild) -> Groups:
    return Groups()


_GROUPS: Final = BuildSlot[Groups](_no_groups)


@final
class GroupHook(WorkerHook):
    """A group's part in each worker: names that have no address yet, idle connections."""

    def __init__(self, group: Group) -> None:
        self.group = group

    def start(self, runtime: Runtime) -> None:
        self.group.start(runtime.reactor.resolver)

    def stop(self) -> None:
        self.group.stop()


def round_robin(peers: list[Peer], backup: list[Peer], table: SharedTable | None) -> Balancer:
    """Return a balancer of the default method."""
    return RoundRobin(peers, backup, table)


def groups_of(http: HttpBuild) -> dict[str, Group]:
    """Return the configured groups by name."""
    return _GROUPS.of(http).named


def add_group(http: HttpBuild, group: Group) -> None:
    """Make a configured group known."""
    groups_of(http)[group.name] = group
    http.workers.append(GroupHook(group))


def group_of_address(http: HttpBuild, authority: str, host: str, port: int, where: Where | None) -> Group:
    """Return the group made of one address, the same for everybody who names it. A name that does not resolve is a warning."""
    made_before = _GROUPS.of(http).of_addresses
    key = host if host.startswith("unix:") else f"{host}:{port}"
    made = made_before.get((authority, key))
    if made is None:
        server = Server(key, host, port, where)
        meant = nearest(authority, groups_of(http))
        resolve(http, server, f'did you mean the upstream "{meant}"?' if meant else "")
        made = Group(authority, [server], round_robin, None)
        made_before[(authority, key)] = made
        http.workers.append(GroupHook(made))
    return made


def resolve(http: HttpBuild, server: Server, hint: str = "") -> None:
    """Look the server's addresses up; failing that is a warning, and the workers go on trying."""
    try:
        server.resolve()
    except ResolveError as error:
        http.scope.load.diagnostics.warn(
            f'host not found in upstream "{server.text}" ({error.strerror}); requests for it are answered 502 until it is found',
            server.where,
            hint,
        )
