"""What a configuration says about one listening socket."""

import socket
from typing import Final, final

from portico.config.diagnostics import Where

Address = str | tuple[str, int]  # a path for a Unix socket, else (numeric host, port)

OFF: Final = 0
ON: Final = 1
DEFAULT: Final = -1  # the system's own
LISTEN_BACKLOG: Final = 511  # nginx's NGX_LISTEN_BACKLOG


@final
class ListenSpec:
    """One ``listen`` of the configuration. Two specs with the same `key` are the same socket."""

    def __init__(self, family: int, address: Address, text: str = "", where: Where | None = None) -> None:
        self.family: int = family  # AF_INET, AF_INET6, AF_UNIX
        self.kind: int = socket.SOCK_STREAM
        self.address: Address = address
        self.text: str = text  # as written in the configuration
        self.where: Where | None = where
        self.backlog: int = LISTEN_BACKLOG
        self.reuseport: bool = False
        self.ipv6only: bool = True
        self.so_keepalive: int = DEFAULT
        self.keepidle: int = 0  # seconds; 0: the system's
        self.keepintvl: int = 0
        self.keepcnt: int = 0
        self.deferred: bool = False
        self.multipath: bool = False  # Multipath TCP (RFC 8684)
        self.nodelay: bool = False  # TCP_NODELAY, which accepted connections inherit: a system call less for each of them
        self.rcvbuf: int = 0  # bytes; 0: the system's
        self.sndbuf: int = 0
        self.fastopen: int = 0  # length of the queue; 0: off

    @property
    def key(self) -> tuple[int, int, Address]:
        """Return what makes a socket of the running configuration usable for another one."""
        return (self.family, self.kind, self.address)

    @property
    def path(self) -> str:
        """Return the file of a Unix socket, else an empty string."""
        return self.address if isinstance(self.address, str) else ""

    def __str__(self) -> str:
        """Return the address as nginx's messages write it: ``0.0.0.0:80``, ``[::]:80``, ``unix:/run/x.sock``."""
        if isinstance(self.address, str):
            return f"unix:{self.address}"
        host, port = self.address
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"
