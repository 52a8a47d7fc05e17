"""The listening sockets. They belong to the supervisor, from its first start to its end and beyond.

A connection that the kernel has accepted waits in the queue of one socket, and is lost when that socket's
last descriptor is closed. So the supervisor keeps every socket open as long as its address is listed:
workers come and go, a reload takes the sockets over by address, an upgrade hands them to the new program.

An address has one socket that all workers share or, with ``reuseport``, at least one for each worker. Those
are not closed when there are fewer workers afterwards, or no ``reuseport``: the workers that there are
serve them all.
"""

import errno
import os
import socket
import stat
import time
from collections.abc import Sequence
from typing import Final, final

from portico.config.diagnostics import ConfigError
from portico.errorlog import ALERT, EMERG, NOTICE, failed_call
from portico.net.listen import DEFAULT, OFF, Address, ListenSpec
from portico.supervisor.plan import Listener
from portico.supervisor.port_owner import port_owner
from portico.supervisor.report import Report

BIND_TRIES: Final = 5  # nginx's: an old process may be about to go
BIND_PAUSE: Final = 0.5  # seconds
LARGEST: Final = 2**31 - 1  # number that the system calls take; the kernel has limits of its own

Key = tuple[int, int, Address]


@final
class Sockets:
    """The sockets of one configuration: for each address its spec, and one or more sockets."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.specs: dict[Key, ListenSpec] = {}
        self.opened: dict[Key, list[socket.socket]] = {}
        self.shared: set[Key] = set()  # addresses that sockets of another protocol have, too: those of the running configuration

    def all(self) -> list[socket.socket]:
        """Return every socket."""
        return [opened for group in self.opened.values() for opened in group]

    def of_worker(self, number: int) -> list[Listener]:
        """Return what the worker of that number serves."""
        found: list[Listener] = []
        for key, spec in self.specs.items():
            group = self.opened[key]
            mine = group[number :: self.workers] if spec.reuseport else group
            found += [(spec, opened) for opened in mine]
        return found

    def close_others(self, mine: list[Listener]) -> None:
        """Close what the worker does not serve, in the worker."""
        served = {opened.fileno() for _, opened in mine}
        for opened in self.all():
            if opened.fileno() not in served:
                opened.close()

    def close(self, unlink: bool, keep: "Sockets | None" = None) -> None:
        """Close all except those that `keep` has as well. `unlink`: remove the files of Unix sockets."""
        for key, group in self.opened.items():
            still_used = keep.opened.get(key, []) if keep is not None else []
            for opened in group:
                if opened not in still_used:
                    opened.close()
            if unlink and group and not still_used and isinstance(key[2], str):
                _unlink(key[2])


def open_sockets(
    specs: Sequence[ListenSpec], workers: int, running: Sockets | None, report: Report, testing: bool = False
) -> Sockets:
    """Return sockets for all specs: those of `running` (left as it is), and new ones.

    Raises ConfigError, and then nothing new stays open. An address in use is reported and tried five times,
    as nginx does, and is no mistake for ``-t`` (`testing`): it is most likely in use by the very server
    whose next configuration is tested.
    """
    sockets = Sockets(workers)
    try:
        for spec in specs:
            sockets.specs[_key(spec)] = spec
            found = running.opened.get(_key(spec), []) if running is not None else []
            sockets.opened[_key(spec)] = [each for each in found if _is_multipath(each) == spec.multipath]
            if len(sockets.opened[_key(spec)]) < len(found):  # the old ones serve until the old workers end (nginx: change_protocol)
                _allow_reuse(found)
                sockets.shared.add(_key(spec))
        _bind_all(sockets, report, testing)
        for key, spec in sockets.specs.items():
            _listen(spec, sockets.opened[key], report)
    except ConfigError:
        _abandon(sockets, running)
        raise
    return sockets


def _abandon(sockets: Sockets, running: Sockets | None) -> None:
    sockets.close(unlink=True, keep=running)


def inherit(descriptors: Sequence[int]) -> Sockets:
    """Return the sockets that an old program left us, by their address. A descriptor that is none is left alone."""
    sockets = Sockets(1)
    for descriptor in descriptors:
        try:
            inherited = socket.socket(fileno=descriptor)
        except OSError:
            continue
        inherited.set_inheritable(False)
        name = inherited.getsockname()
        address: Address = name if isinstance(name, str) else (str(name[0]), int(name[1]))
        sockets.opened.setdefault((inherited.family, inherited.type, address), []).append(inherited)
    return sockets


def _key(spec: ListenSpec) -> Key:
    """Return the address in the words of getsockname(2): an IPv6 address has many spellings."""
    if spec.family != socket.AF_INET6 or isinstance(spec.address, str):
        return spec.key
    host, port = spec.address
    return (
        spec.family,
        spec.kind,
        (socket.inet_ntop(spec.family, socket.inet_pton(spec.family, host)), port),
    )


def _bind_all(sockets: Sockets, report: Report, testing: bool) -> None:
    pending = list(sockets.specs)
    for attempt in range(1, BIND_TRIES + 1):
        pending = [
            key for key in pending if not _bind_group(sockets, key, report, attempt == 1 and not testing)
        ]
        if not pending or testing:
            return
        report.write(NOTICE, "try again to bind() after 500ms")
        time.sleep(BIND_PAUSE)
    raise ConfigError("still could not bind()")


def _bind_group(sockets: Sockets, key: Key, report: Report, tell: bool) -> bool:
    """Open what the address lacks; return False when it is in use (reported if `tell`)."""
    spec, group = sockets.specs[key], sockets.opened[key]
    wanted = sockets.workers if spec.reuseport else 1
    if len(group) < wanted and spec.reuseport:
        _allow_reuse(group)
    while len(group) < wanted:
        try:
            group.append(_bind(spec, shared=bool(group) or key in sockets.shared))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(_explain(spec, error), spec.where) from None
            if tell:
                owner = port_owner(spec)
                message = str(ConfigError(_explain(spec, error), spec.where))
                report.write(EMERG, f"{message}, held by {owner}" if owner else message)
            return False
        if spec.reuseport:
            _allow_reuse(group)
    return True


def _is_multipath(opened: socket.socket) -> bool:
    return opened.proto == socket.IPPROTO_MPTCP


def _allow_reuse(group: list[socket.socket]) -> None:
    """Set SO_REUSEPORT. The first socket is bound without it, so that a second server started by mistake is noticed."""
    for opened in group:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _explain(spec: ListenSpec, error: OSError) -> str:
    message = failed_call(f"bind() to {spec}", error)
    if error.errno == errno.EACCES and not spec.path:
        message += ": ports below 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EPROTONOSUPPORT and spec.multipath:
        message += ": this kernel has no Multipath TCP for it"
    return message


def _bind(spec: ListenSpec, shared: bool) -> socket.socket:
    opened = socket.socket(spec.family, spec.kind, socket.IPPROTO_MPTCP if spec.multipath else 0)
    try:
        opened.setblocking(False)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if isinstance(spec.address, str):
            _bind_unix(opened, spec.address)
        else:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if spec.family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(spec.ipv6only))
            opened.bind(spec.address)
    except OSError:
        opened.close()
        raise
    return opened


def _bind_unix(opened: socket.socket, path: str) -> None:
    try:
        opened.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_stale(path):
            raise
        os.unlink(path)
        opened.bind(path)
    os.chmod(path, 0o666)  # nginx's: who may connect is the directory's business


def _is_stale(path: str) -> bool:
    """Return whether it is the socket of a process that is gone: nobody listens there."""
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
    return False


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _listen(spec: ListenSpec, group: list[socket.socket], report: Report) -> None:
    """Set what can be changed while the socket is in use; a reload may bring new values."""
    for opened in group:
        for level, option, value in _options(spec):
            try:
                opened.setsockopt(level, option, min(value, LARGEST))
            except OSError as error:
                report.write(ALERT, failed_call(f"setsockopt({option}, {value}) {spec}", error) + ", ignored")
        if spec.kind == socket.SOCK_STREAM:
            try:
                opened.listen(min(spec.backlog, LARGEST))
            except OSError as error:
                call = f"listen() to {spec}, backlog {spec.backlog}"
                raise ConfigError(failed_call(call, error), spec.where) from None


def _options(spec: ListenSpec) -> list[tuple[int, int, int]]:
    """Return (level, option, value) for setsockopt(2)."""
    options: list[tuple[int, int, int]] = []
    if spec.rcvbuf:
        options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, spec.rcvbuf))
    if spec.sndbuf:
        options.append((socket.SOL_SOCKET, socket.SO_SNDBUF, spec.sndbuf))
    if spec.path or spec.kind != socket.SOCK_STREAM:
        return options
    if spec.so_keepalive != DEFAULT:
        options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(spec.so_keepalive != OFF)))
    tcp = (
        (socket.TCP_KEEPIDLE, spec.keepidle),
        (socket.TCP_KEEPINTVL, spec.keepintvl),
        (socket.TCP_KEEPCNT, spec.keepcnt),
        (socket.TCP_FASTOPEN, spec.fastopen),
    )
    options += [(socket.IPPROTO_TCP, option, value) for option, value in tcp if value]
    options.append((socket.IPPROTO_TCP, socket.TCP_NODELAY, int(spec.nodelay)))
    # 1 second: at least one retransmission of the SYN-ACK, which is what nginx asks for.
    options.append((socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(spec.deferred)))
    return options
