"""Whom `set_real_ip_from` trusts."""

from __future__ import annotations

from portico.admission.trusted_proxies import TrustedProxies
from portico.net.networks import Network, network, packed


def trusted(*texts: str) -> TrustedProxies:
    """`unix:` is an empty list, as the parser makes it."""
    return TrustedProxies([_given(text) for text in texts])


def _given(text: str) -> list[Network]:
    found = network(text)
    return [] if found is None else [found]


def test_networks() -> None:
    proxies = trusted("192.0.2.0/24", "2001:db8::1")
    asked = ("192.0.2.9", "::ffff:192.0.2.9", "192.0.3.9", "2001:db8::1", "2001:db8::2")
    assert [proxies.trusts(packed(text) or b"?") for text in asked] == [True, True, False, True, False]


def test_a_unix_socket_is_trusted_only_where_the_configuration_says_so() -> None:
    assert trusted("192.0.2.0/24", "unix:").trusts(b"") and not trusted("192.0.2.0/24").trusts(b"")
    assert not trusted("unix:").trusts(packed("192.0.2.9") or b"?")
