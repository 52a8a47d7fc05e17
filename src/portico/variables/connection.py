"""Variables of the client's connection and of what was sent on it, for whatever protocol it speaks.

Source of names and meanings: https://nginx.org/en/docs/stream/ngx_stream_core_module.html#variables
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.variables.variable import PER_REQUEST, STABLE_FIELDS, Variable

if TYPE_CHECKING:
    from portico.variables.session import Session


def _remote_addr(session: Session) -> bytes | None:
    return session.remote_addr


def _remote_port(session: Session) -> bytes | None:
    return session.remote_port


def _binary_remote_addr(session: Session) -> bytes | None:
    return session.packed_address() or session.remote_addr


def _original_addr(session: Session) -> bytes | None:
    return session.client.remote_addr


def _original_port(session: Session) -> bytes | None:
    return session.client.remote_port


def _local(session: Session) -> tuple[str, int]:
    connection = session.client
    try:
        return connection.server_addr()
    except OSError:  # closed already, and never asked before: the listener's own address is the best we know
        address = connection.listening
        return (f"unix:{address}", 0) if isinstance(address, str) else address


def _server_addr(session: Session) -> bytes | None:
    return _local(session)[0].encode("utf-8", "surrogateescape")


def _server_port(session: Session) -> bytes | None:
    port = _local(session)[1]
    return b"%d" % port if port else b""


def _connection(session: Session) -> bytes | None:
    return b"%d" % session.client.number


def _bytes_sent(session: Session) -> bytes | None:
    return b"%d" % session.bytes_sent()


def _status(session: Session) -> bytes | None:
    status = session.current_status()
    return b"%d" % status if status >= 100 else b"%03d" % status


CONNECTION_VARIABLES: Final[tuple[Variable[Session], ...]] = (
    Variable(
        "binary_remote_addr", _binary_remote_addr, STABLE_FIELDS,
        "The client's address in binary: 4 bytes for IPv4, 16 for IPv6; good as a key.",
    ),
    Variable("bytes_sent", _bytes_sent, PER_REQUEST, "Bytes sent to the client."),
    Variable("connection", _connection, STABLE_FIELDS, "The serial number of the connection."),
    Variable("remote_addr", _remote_addr, STABLE_FIELDS, "The client's address."),
    Variable("remote_port", _remote_port, STABLE_FIELDS, "The client's port; empty for a Unix socket."),
    Variable("server_addr", _server_addr, STABLE_FIELDS, "The address that the client connected to."),
    Variable("server_port", _server_port, STABLE_FIELDS, "The port that the client connected to."),
    Variable("status", _status, PER_REQUEST, "The status of the answer."),
)  # fmt: skip

# Of a feature that must be there for them to be known (`set_real_ip_from`).
ORIGINAL_ADDRESS_VARIABLES: Final[tuple[Variable[Session], ...]] = (
    Variable("realip_remote_addr", _original_addr, STABLE_FIELDS, "The address of whoever connected."),
    Variable("realip_remote_port", _original_port, STABLE_FIELDS, "The port of whoever connected."),
)
