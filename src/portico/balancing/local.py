"""The address of ours that connections to peers come from (`*_bind`)."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final, final

from portico.config.values import port_of
from portico.net.networks import packed

_IP_BIND_ADDRESS_NO_PORT: Final = 24  # linux/in.h: connect(2) chooses the port, which may be in use towards another peer
_IPV6_TRANSPARENT: Final = 75  # linux/in6.h


@final
class LocalAddress:
    """An address to bind to; port 0 leaves the port to the kernel. `transparent`: it need not be one of this machine's."""

    def __init__(self, text: str, family: int, host: str, port: int, transparent: bool) -> None:
        self.text = text  # as configured, or as the variables came to it
        self.family = family
        self.host = host
        self.port = port
        self.transparent = transparent

    def is_same(self, other: LocalAddress | None) -> bool:
        """Return whether a connection from `other` comes from this address, too."""
        return other is not None and self.text == other.text and self.transparent == other.transparent

    def bind(self, sock: socket.socket) -> None:
        """Bind a socket that is not connected yet. Raises OSError with nginx's words for the call that failed."""
        if self.transparent:
            try:
                if self.family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
                else:
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
            except OSError as refused:
                option = "IPV6_TRANSPARENT" if self.family == socket.AF_INET6 else "IP_TRANSPARENT"
                raise OSError(refused.errno, f"setsockopt({option}) failed ({refused.errno}: {refused.strerror})") from None
        if self.port == 0 and sock.family != socket.AF_UNIX:
            try:
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            except OSError:
                pass  # an old kernel chooses the port at once
        code = errno.EINVAL  # the family is another one than the peer's
        if sock.family == self.family:
            try:
                sock.bind((self.host, self.port))
                return
            except OSError as failed:
                code = failed.errno or errno.EINVAL
        raise OSError(code, f"bind({self.text}) failed ({code}: {os.strerror(code)})")


def local_address(text: str, transparent: bool) -> LocalAddress | None:
    """Return the address that `192.0.2.1`, `2001:db8::1` or one in brackets writes, with a port or without; None when it is none.

    The port is behind a colon; with one, an address of IPv6 needs its brackets (ngx_parse_addr_port).
    """
    host = text
    digits = ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        digits = rest[1:] or "0" if rest else ""
    elif packed(text) is None:
        host, colon, digits = text.partition(":")
        if not colon:
            return None
        digits = digits or "0"
    port = port_of(digits) if digits else 0
    if port is None or packed(host) is None:
        return None
    return LocalAddress(text, int(socket.AF_INET6 if ":" in host else socket.AF_INET), host, port, transparent)
