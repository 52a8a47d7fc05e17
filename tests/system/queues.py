"""What the kernel holds for one end of a TCP connection: bytes that its process has not read, or that the other end has not taken.

Asked of sock_diag(7), which finds one socket in microseconds, where /proc/net/tcp lists every connection that ended a minute ago.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

Address = tuple[str, int]
SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
REQUEST = 1  # NLM_F_REQUEST
FAILED = 2  # NLMSG_ERROR
ANY = 0xFFFFFFFF  # all states; INET_DIAG_NOCOOKIE
QUEUES_AT = 16 + 4 + 48 + 4  # behind the header, and in inet_diag_msg behind family, address and expiry


def queued(near: Address, far: Address) -> int:
    """Bytes in both queues of the socket from `near` to `far`; -1 when there is none."""
    try:
        return _asked(near, far)
    except OSError:
        return _listed(near, far)  # a kernel without sock_diag, or no such socket


def _asked(near: Address, far: Address) -> int:
    addresses = struct.pack("!HH", near[1], far[1]) + b"".join(socket.inet_aton(host).ljust(16, b"\0") for host, _ in (near, far))
    wanted = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, ANY) + addresses + struct.pack("=III", 0, ANY, ANY)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, SOCK_DIAG) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(wanted), BY_FAMILY, REQUEST, 1, 0) + wanted)
        told = netlink.recv(4096)
    if struct.unpack_from("=IH", told)[1] == FAILED:
        raise OSError(-struct.unpack_from("=i", told, 16)[0], "sock_diag")
    return sum(struct.unpack_from("=II", told, QUEUES_AT))


def _listed(near: Address, far: Address) -> int:
    ports = (f"{near[1]:04X}", f"{far[1]:04X}")
    for row in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]):
        if (row[1][-4:], row[2][-4:]) == ports:
            return sum(int(size, 16) for size in row[4].split(":"))
    return -1
