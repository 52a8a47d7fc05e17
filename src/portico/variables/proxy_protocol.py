"""`$proxy_protocol_…`: what the header of the PROXY protocol said (`listen … proxy_protocol`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.codec.proxy_protocol import ProxyHeader, find_tlv
from portico.variables.variable import STABLE_FIELDS, Getter, Variable, VariableFamily

if TYPE_CHECKING:
    from portico.variables.session import Session

_TYPES: Final[dict[str, int]] = {"alpn": 0x01, "authority": 0x02, "unique_id": 0x05, "ssl": 0x20, "netns": 0x30}
_SSL: Final = 0x20
_OF_SSL: Final[dict[str, int]] = {"version": 0x21, "cn": 0x22, "cipher": 0x23, "sig_alg": 0x24, "key_alg": 0x25}
_SSL_FIXED: Final = 5  # bytes of client and verify before the TLVs inside


def _header(session: Session) -> ProxyHeader | None:
    return session.client.proxied


def _addr(session: Session) -> bytes | None:
    header = _header(session)
    return None if header is None else header.address


def _port(session: Session) -> bytes | None:
    header = _header(session)
    return None if header is None else b"%d" % header.port if header.port else b""


def _server_addr(session: Session) -> bytes | None:
    header = _header(session)
    return None if header is None else header.server_address


def _server_port(session: Session) -> bytes | None:
    header = _header(session)
    return None if header is None else b"%d" % header.server_port if header.server_port else b""


def _tlv(name: str) -> Getter[Session]:
    """Return the getter of `$proxy_protocol_tlv_alpn`, `…_0xEA`; inside the TLV `ssl`: `…_ssl_cn`, `…_ssl_0x22`.

    (ngx_proxy_protocol_get_tlv.)
    """
    inside = name.startswith("ssl_")
    word = name.removeprefix("ssl_")
    kind = _number(word) if word.startswith("0x") else (_OF_SSL if inside else _TYPES).get(word, -1)

    def get(session: Session) -> bytes | None:
        header = _header(session)
        if header is None:
            return None
        if not inside:
            return None if kind < 0 else find_tlv(header.tlvs, kind)
        ssl = find_tlv(header.tlvs, _SSL)
        if ssl is None or len(ssl) < _SSL_FIXED:
            return None
        if word == "verify":
            return b"%d" % int.from_bytes(ssl[1:_SSL_FIXED], "big")
        return None if kind < 0 else find_tlv(ssl[_SSL_FIXED:], kind)

    return get


def _number(text: str) -> int:
    try:
        number = int(text, 16)
    except ValueError:
        return -1
    return number if 0 <= number <= 255 else -1


PROXY_PROTOCOL_VARIABLES: Final[tuple[Variable[Session], ...]] = (
    Variable("proxy_protocol_addr", _addr, STABLE_FIELDS, "The client's address in the header of the PROXY protocol."),
    Variable("proxy_protocol_port", _port, STABLE_FIELDS, "The client's port in it."),
    Variable("proxy_protocol_server_addr", _server_addr, STABLE_FIELDS, "The server's address in it."),
    Variable("proxy_protocol_server_port", _server_port, STABLE_FIELDS, "The server's port in it."),
)
PROXY_PROTOCOL_FAMILIES: Final[tuple[VariableFamily[Session], ...]] = (
    VariableFamily(
        "proxy_protocol_tlv_", _tlv, STABLE_FIELDS,
        "A TLV of it: `alpn`, `authority`, `unique_id`, `netns`, a type as `0xEA`; of a TLS connection `ssl_version`, `ssl_cn`, "
        "`ssl_cipher`, `ssl_sig_alg`, `ssl_key_alg`, `ssl_verify`, a type as `ssl_0x22`.",
    ),
)  # fmt: skip
