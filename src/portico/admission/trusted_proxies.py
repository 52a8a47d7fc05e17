"""Who is trusted to tell the client's address: `set_real_ip_from`. (nginx: ngx_stream_realip_module.c.)"""

from __future__ import annotations

from typing import final

from portico.config.reader import Statement
from portico.net.networks import Network, NetworkTable, network
from portico.net.resolver import ResolveError, resolve_blocking


def parse_trusted(statement: Statement) -> list[Network]:
    """Return the networks that an argument names; an empty list stands for `unix:`. A directive's parser; raises ConfigError."""
    text = statement.args[0].text
    if text == "unix:":
        return []
    found = network(text)
    if found is not None:
        if not found.exact:
            statement.warn(f"low address bits of {text} are meaningless", statement.args[0])
        return [found]
    if "/" in text:
        raise statement.fail(f'invalid network "{text}"', statement.args[0])
    try:
        resolved = resolve_blocking(text, 0).addresses
    except ResolveError as error:
        raise statement.fail(f'host not found in set_real_ip_from "{text}" ({error.reason})', statement.args[0]) from None
    return [made for made in (network(address[0]) for _, address in resolved) if made is not None]


@final
class TrustedProxies:
    """The networks of all `set_real_ip_from` in force."""

    def __init__(self, given: list[list[Network]]) -> None:
        self._networks: NetworkTable[bool] = NetworkTable()
        for networks in given:
            for found in networks:
                self._networks.put(found, True)
        self._unix_sockets = any(not networks for networks in given)

    def trusts(self, address: bytes) -> bool:
        """Return whether an address in network order is trusted; b"" is that of a Unix socket."""
        if not address:
            return self._unix_sockets
        return self._networks.find(address) is not None
