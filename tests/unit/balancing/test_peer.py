"""A peer: its id, its settings, and nginx's rules of failures and weights."""

from __future__ import annotations

import socket

import pytest

from portico.balancing.peer import Peer, ServerSettings

NOW = 1000.0


def peer(settings: ServerSettings | None = None, name: str = "10.0.0.1:80", server: str = "app:80", number: int = 0) -> Peer:
    return Peer(name.encode(), socket.AF_INET, ("10.0.0.1", 80), settings or ServerSettings(), server.encode(), number)


def test_an_id_is_of_a_server_and_an_address() -> None:
    assert peer().id == peer().id == peer(ServerSettings(weight=5, down=True)).id
    others = [peer(), peer(name="10.0.0.2:80"), peer(server="app2:80"), peer(number=1), peer(server="app:80\x001")]
    assert len({each.id for each in others}) == len(others)
    assert all(0 < each.id < 1 << 62 for each in others)  # fits a cell of a shared table


def test_an_id_is_the_same_in_every_process() -> None:
    """Unlike `hash`, which is salted."""
    assert peer().id == 969406854288833262


@pytest.mark.parametrize(
    ("settings", "connections", "available"),
    [
        (ServerSettings(), 10000, True),
        (ServerSettings(max_conns=2), 1, True),
        (ServerSettings(max_conns=2), 2, False),
        (ServerSettings(down=True), 0, False),
        (ServerSettings(down=True), -1, False),
        (ServerSettings(down=True, max_conns=2), 0, False),
    ],
)
def test_limits(settings: ServerSettings, connections: int, available: bool) -> None:
    each = peer(settings)
    each.connections = connections
    assert each.is_available(NOW) is available


def test_failures_rest_a_peer_for_fail_timeout() -> None:
    each = peer(ServerSettings(max_fails=2, fail_timeout=5.0))
    assert each.count_failure(NOW) is False and each.is_available(NOW)
    assert each.count_failure(NOW + 1) is True
    assert not each.is_available(NOW + 6)
    assert each.is_available(NOW + 6.1)


def test_max_fails_0_counts_nothing_against_a_peer() -> None:
    each = peer(ServerSettings(weight=3, max_fails=0))
    assert not any(each.count_failure(NOW) for _ in range(5))
    assert each.is_available(NOW) and each.effective_weight == 3


def test_a_success_forgets_failures_only_after_a_check() -> None:
    each = peer()
    each.count_failure(NOW)
    each.count_success()
    assert each.fails == 1
    each.checked = NOW + 11  # the balancer let one attempt through to see
    each.count_success()
    assert each.fails == 0


def test_a_failure_costs_weight_that_comes_back() -> None:
    each = peer(ServerSettings(weight=6, max_fails=3))
    each.count_failure(NOW)
    assert each.effective_weight == 4
    assert [each.gain_weight() for _ in range(4)] == [4, 5, 6, 6]
    assert each.current_weight == 21
    for _ in range(9):
        each.count_failure(NOW)
    assert each.effective_weight == 0


def test_new_settings_leave_the_state() -> None:
    each = peer(ServerSettings(weight=4))
    each.connections = 3
    each.count_failure(NOW)
    each.change_settings(ServerSettings(weight=4, max_conns=3))
    assert (each.fails, each.connections, each.effective_weight) == (1, 3, 0)
    assert not each.is_available(NOW + 20)
    each.change_settings(ServerSettings(weight=2, max_conns=4))
    assert each.is_available(NOW + 20) and each.effective_weight == 2
