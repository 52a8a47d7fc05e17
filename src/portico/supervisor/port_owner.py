"""Who holds an address that we could not bind: what ``ss -lp`` would say, from /proc alone."""

import os
import socket
import struct
from typing import Final

from portico.net.listen import ListenSpec

TCP_LISTEN: Final = "0A"
UDP_BOUND: Final = "07"


def port_owner(spec: ListenSpec) -> str:
    """Return ``process 123 (nginx)``, or an empty string when it cannot be found (another user's, another namespace)."""
    try:
        inodes = _unix_inodes(spec.path) if spec.path else _inet_inodes(spec)
        return _process_with({f"socket:[{inode}]" for inode in inodes}) if inodes else ""
    except OSError:
        return ""


def _inet_inodes(spec: ListenSpec) -> set[str]:
    """Return the inodes of listening sockets that conflict: the same port on the same address or on all addresses."""
    assert not isinstance(spec.address, str)
    name, state = ("tcp", TCP_LISTEN) if spec.kind == socket.SOCK_STREAM else ("udp", UDP_BOUND)
    wanted = socket.inet_pton(spec.family, spec.address[0])
    found: set[str] = set()
    for table in (name, name + "6"):
        for fields in _rows(f"/proc/net/{table}"):
            host, _, port = fields[1].partition(":")
            if fields[3] == state and int(port, 16) == spec.address[1] and _overlap(_packed(host), wanted):
                found.add(fields[9])
    return found


def _rows(path: str) -> list[list[str]]:
    try:
        with open(path) as file:
            return [line.split() for line in file][1:]
    except FileNotFoundError:  # no IPv6 here
        return []


def _packed(host: str) -> bytes:
    """Return the bytes of an address, which the kernel prints as hexadecimal words in the CPU's byte order."""
    words = (host[start : start + 8] for start in range(0, len(host), 8))
    return b"".join(struct.pack("=I", int(word, 16)) for word in words)


def _overlap(bound: bytes, wanted: bytes) -> bool:
    return bound == wanted or not any(bound) or not any(wanted)


def _unix_inodes(path: str) -> set[str]:
    return {fields[6] for fields in _rows("/proc/net/unix") if len(fields) > 7 and fields[7] == path}


def _process_with(links: set[str]) -> str:
    """Return the oldest process that has one of the sockets open: a master before its workers; "" when none has."""
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        if _has_open(pid, links):
            with open(f"/proc/{pid}/comm") as file:
                return f"process {pid} ({file.read().strip()})"
    return ""


def _has_open(pid: int, links: set[str]) -> bool:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # the process is gone meanwhile, or not ours to look at
        return False
    return any(_target(f"/proc/{pid}/fd/{name}") in links for name in names)


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # this descriptor was closed meanwhile, as the one that listed the others always is
        return ""
