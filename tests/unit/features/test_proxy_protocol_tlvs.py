"""`$proxy_protocol_tlv_*`, which nginx has since 1.23.2: by name, by number, inside the TLV `ssl`, broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.features.local_site import Site

from portico.codec.proxy_protocol import ProxyHeader
from portico.features.proxy_protocol import FEATURE

FAMILY = FEATURE.families[0]


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


SSL = tlv(0x20, b"\7" + (18).to_bytes(4, "big") + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"ann") + tlv(0x23, b"AES") + tlv(0x25, b"EC256"))
TLVS = tlv(1, b"h2") + tlv(2, b"a.example") + tlv(5, b"id") + SSL + tlv(0x30, b"blue") + tlv(0xEA, b"vpce") + tlv(0xEA, b"second")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site("location / { }", tmp_path_factory.mktemp("site"))


def value(site: Site, name: str, tlvs: bytes) -> bytes | None:
    request = site.request("/")
    request.client.proxied = ProxyHeader(16)
    request.client.proxied.tlvs = tlvs
    return FAMILY.make(name)(request)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpn", b"h2"), ("authority", b"a.example"), ("unique_id", b"id"), ("netns", b"blue"), ("ssl", SSL[3:]), ("0x01", b"h2"),
        ("0xea", b"vpce"), ("0xeb", None), ("0x", None), ("0x1234", None), ("0xzz", None), ("nonsense", None),
        ("ssl_version", b"TLSv1.3"), ("ssl_cn", b"ann"), ("ssl_cipher", b"AES"), ("ssl_sig_alg", None), ("ssl_key_alg", b"EC256"),
        ("ssl_verify", b"18"), ("ssl_0x22", b"ann"), ("ssl_0x01", None), ("ssl_nonsense", None), ("ssl_", None),
    ],
)  # fmt: skip
def test_names_and_numbers(site: Site, name: str, expected: bytes | None) -> None:
    assert value(site, name, TLVS) == expected


def test_without_a_header(site: Site) -> None:
    request = site.request("/")
    request.client.proxied = None
    assert FAMILY.make("alpn")(request) is None and FAMILY.make("ssl_cn")(request) is None


@given(st.binary(max_size=40), st.sampled_from(["alpn", "0x00", "ssl", "ssl_cn", "ssl_verify", "ssl_0x21"]), st.booleans())
def test_any_bytes(site: Site, data: bytes, name: str, inside: bool) -> None:
    found = value(site, name, tlv(0x20, data) if inside else data)
    assert found is None or name == "ssl_verify" or found in data
