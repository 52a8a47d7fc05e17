"""Networks: lookups against the obvious way, and that their number does not matter."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.net.forwarded_for import client_address, peer_of
from portico.net.networks import NetworkTable, network, packed
from portico.variables.geo import Ranges

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(lambda a: a.version == 4 or not a.ipv4_mapped)


@given(st.lists(st.tuples(addresses, st.integers(0, 128)), max_size=12), st.lists(addresses, min_size=1, max_size=8))
def test_the_smallest_network_wins(
    given: list[tuple[ipaddress.IPv4Address, int]], asked: list[ipaddress.IPv4Address]
) -> None:
    table: NetworkTable[int] = NetworkTable()
    made: dict[ipaddress.IPv4Network | ipaddress.IPv6Network, int] = {}
    for index, (address, length) in enumerate(given):
        net = ipaddress.ip_network((address, min(length, address.max_prefixlen)), strict=False)
        key = network(str(net))
        assert key is not None and key.exact
        table.put(key, index)
        made[net] = index
    for address in [*asked, *(address for address, _ in given)]:
        fits = [net for net in made if address.version == net.version and address in net]
        wanted = made[max(fits, key=lambda net: net.prefixlen)] if fits else None
        assert table.find(address.packed) == wanted


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4/33", "1.2.3.4/x", "::/129", "1.2.3.4/-1", "1.2.3.4/255.0.255.0", "a", "1.2.3.4/"]
)
def test_what_is_no_network(text: str) -> None:
    assert network(text) is None


def test_a_mask_is_a_length() -> None:
    found = network("10.1.0.0/255.255.0.0")
    assert found is not None and (found.length, found.exact) == (16, True)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.one_of(st.none(), st.binary(max_size=2))), max_size=20))
def test_ranges_are_painted_over_one_another(ranges: list[tuple[int, int, bytes | None]]) -> None:
    """Around the border between two /16, where they are divided. What lies across another is refused."""
    base = 0x0A010000 - 20
    painted: list[bytes | None] = [None] * 41
    table = Ranges()
    for one, other, value in ranges:
        first, last = min(one, other), max(one, other)
        if value is None:
            if not table.remove(base + first, base + last):
                return  # some of it was there, perhaps
        elif table.put(base + first, base + last, value)[1]:
            assert any(value is not None for value in painted[first : last + 1])
            return
        painted[first : last + 1] = [value] * (last + 1 - first)
        assert [table.find((base + number).to_bytes(4, "big")) for number in range(41)] == painted


def _seconds(count: int) -> float:
    table: NetworkTable[int] = NetworkTable()
    for index in range(count):
        key = network(f"{10 + (index >> 16)}.{index >> 8 & 255}.{index & 255}.0/24")
        assert key is not None
        table.put(key, index)
    address = packed("10.0.5.9")
    assert address is not None
    started = time.perf_counter()
    for _ in range(20_000):
        table.find(address)
    return time.perf_counter() - started


def test_a_lookup_costs_the_same_with_many_networks() -> None:
    few = min(_seconds(10) for _ in range(3))
    assert min(_seconds(100_000) for _ in range(3)) < few * 4


@given(st.lists(st.binary(max_size=30), max_size=3), st.booleans())
def test_any_forwarded_bytes_give_an_address(fields: list[bytes], recursive: bool) -> None:
    everything = network("0.0.0.0/0")
    assert everything is not None
    found = client_address(bytes(4), fields, [everything], recursive)
    assert len(found) in (4, 16)


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        (b"1.2.3.4", "1.2.3.4"), (b"1.2.3.4:80", "1.2.3.4"), (b"[::1]:80", "::1"), (b"[::1]", "::1"), (b"::1", "::1"),
        (b"1.2.3.4:", None), (b"1.2.3.4:x", None), (b"1.2.3.4:99999", None), (b"[1.2.3.4]", None), (b"[::1", None),
        (b"host", None), (b"", None),
    ],
)  # fmt: skip
def test_entries(entry: bytes, wanted: str | None) -> None:
    found = peer_of(entry)
    assert (None if found is None else found.address) == (None if wanted is None else packed(wanted))
