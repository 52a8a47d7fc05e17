"""The rules that all balancers share, and what each promises."""

import os
import socket
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.balancing.balancer import Balancer
from portico.balancing.hash import ConsistentHash, Hash
from portico.balancing.ip_hash import IpHash
from portico.balancing.least_conn import LeastConn
from portico.balancing.peer import Peer, ServerSettings
from portico.balancing.random import Random
from portico.balancing.round_robin import RoundRobin
from portico.balancing.shared_state import COLUMNS
from portico.zones.table import SharedTable

METHODS: list[type[Balancer]] = [RoundRobin, LeastConn, IpHash, Hash, ConsistentHash, Random]
NOW = 1000.0


def peer(
    name: str, weight: int = 1, max_conns: int = 0, max_fails: int = 1, down: bool = False, server: str = ""
) -> Peer:
    settings = ServerSettings(weight=weight, max_conns=max_conns, max_fails=max_fails, down=down)
    return Peer(name.encode(), socket.AF_INET, ("127.0.0.1", 80), settings, server.encode())


def peers(*names: str) -> list[Peer]:
    return [peer(name) for name in names]


def some_of(group: Balancer, bits: int) -> list[Peer] | None:
    """The primaries whose place's bit is set, as the peers that a request has tried."""
    return [each for place, each in enumerate(group.peers) if bits >> place & 1] or None


def zone(slots: int = 8) -> SharedTable:
    return SharedTable(slots, COLUMNS)


def names(balancer: Balancer, count: int, now: float = NOW, key: bytes = b"key", free: bool = True) -> str:
    """Peers of ``count`` requests in a row, ``-`` for none."""
    result = []
    for _ in range(count):
        found = balancer.pick(key, None, now)
        result.append("-" if found is None else found.name.decode())
        if found is not None and free:
            balancer.free(found, False, now)
    return "".join(result)


def fail(balancer: Balancer, name: str, now: float = NOW) -> bool:
    """Requests until one went to ``name``, which fails."""
    for _ in range(100):
        found = balancer.pick(os.urandom(4), None, now)
        assert found is not None
        wanted = found.name == name.encode()
        disabled = balancer.free(found, wanted, now)
        if wanted:
            return disabled
    raise AssertionError(f"{name} was never picked")


def test_the_smooth_sequence() -> None:
    group = RoundRobin([peer("a", 5), peer("b"), peer("c")])
    assert names(group, 14) == "aabacaaaabacaa"


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.booleans())
@settings(max_examples=60, deadline=None)
def test_each_round_gives_every_peer_its_weight(weights: list[int], shared: bool) -> None:
    group = RoundRobin(
        [peer(chr(97 + i), w) for i, w in enumerate(weights)], None, zone() if shared else None
    )
    for _ in range(2):
        counts = Counter(names(group, sum(weights)))
        assert [counts[chr(97 + i)] for i in range(len(weights))] == weights
    assert all(each.connections == 0 for each in group.peers)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_least_conn_keeps_load_even(weights: list[int], requests: int) -> None:
    group = LeastConn([peer(chr(97 + i), w) for i, w in enumerate(weights)])
    names(group, requests, free=False)
    load = [(each.connections, each.settings.weight) for each in group.peers]
    # no peer has a request more than would be fair to another
    assert all((c - 1) * other_w <= other_c * w for c, w in load for other_c, other_w in load)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 15)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_zone_decides_as_private_state(events: list[tuple[int, bool, int]]) -> None:
    """The same requests, failures and pauses on a group with a zone and on one without."""
    for method in (RoundRobin, LeastConn, Hash, IpHash, ConsistentHash):
        made = [[peer("a", 3, max_fails=2), peer("b", 2, max_conns=2), peer("c")] for _ in range(2)]
        private, shared = method(made[0], peers("x")), method(made[1], peers("x"), zone())
        now = NOW
        flying: list[tuple[Peer, Peer]] = []
        for pause, failed, number in events:
            now += pause
            one, two = (group.pick(b"%d" % number, some_of(group, number), now) for group in (private, shared))
            assert (one and one.name) == (two and two.name)
            if one is not None and two is not None:
                flying.append((one, two))
            if len(flying) > number % 4:
                one, two = flying.pop(0)
                assert private.free(one, failed, now) is shared.free(two, failed, now)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shared", [False, True])
def test_no_peer_or_none_available(method: type[Balancer], shared: bool) -> None:
    table = zone() if shared else None
    assert method([], None, table).pick(b"key", None, NOW) is None
    assert method([peer("a", down=True)], None, table).pick(b"key", None, NOW) is None
    assert method([peer("b", down=True), peer("c", down=True)], None, table).pick(b"key", None, NOW) is None
    both = method(peers("d", "e"), None, table)
    assert both.pick(b"key", both.peers, NOW) is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shared", [False, True])
def test_retries_visit_every_peer_once_then_the_backups(method: type[Balancer], shared: bool) -> None:
    group = method(peers("a", "b", "c"), peers("x", "y"), zone() if shared else None)
    tried: list[Peer] = []
    seen = []
    while (found := group.pick(b"key", tried, NOW)) is not None:
        tried.append(found)
        seen.append(found.name)
    assert sorted(seen[:3]) == [b"a", b"b", b"c"]
    assert sorted(seen[3:]) == [b"x", b"y"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shared", [False, True])
def test_max_conns_is_never_passed(method: type[Balancer], shared: bool) -> None:
    group = method([peer("a", max_conns=2), peer("b", max_conns=1)], None, zone() if shared else None)
    picked = [group.pick(b"key", None, NOW) for _ in range(4)]
    assert Counter(each.name if each else b"-" for each in picked) == {b"a": 2, b"b": 1, b"-": 1}
    last = picked[1]
    assert last is not None
    group.free(last, False, NOW)
    assert group.pick(b"key", None, NOW) is last


@pytest.mark.parametrize("shared", [False, True])
def test_a_single_peer_is_never_marked_as_failed(shared: bool) -> None:
    group = RoundRobin([peer("a", max_conns=1)], None, zone() if shared else None)
    assert [fail(group, "a") for _ in range(5)] == [False] * 5
    assert names(group, 3) == "aaa"
    assert names(group, 2, free=False) == "a-"


@pytest.mark.parametrize("shared", [False, True])
def test_a_failed_peer_rests_then_is_tried_once(shared: bool) -> None:
    group = RoundRobin([peer("a", max_fails=2), peer("b")], None, zone() if shared else None)
    assert fail(group, "a") is False
    assert fail(group, "a") is True
    assert names(group, 4) == "bbbb"
    assert names(group, 4, NOW + 10.0) == "bbbb"
    found = [group.pick(b"", None, NOW + 10.1) for _ in range(4)]
    # it lost its weight, so it is not the first; one try, and the others wait for how that goes
    assert [each.name for each in found if each] == [b"b", b"a", b"b", b"b"]
    assert found[1] is not None
    group.free(found[1], False, NOW + 10.2)
    assert "a" in names(group, 2, NOW + 10.3)


def test_a_try_that_fails_rests_again() -> None:
    group = RoundRobin(peers("a", "b"))
    assert fail(group, "a")
    assert fail(group, "a", NOW + 11)
    assert names(group, 3, NOW + 20) == "bbb"


def test_an_old_success_does_not_forget_a_failure() -> None:
    group = RoundRobin([peer("a", max_fails=2), peer("b")])
    slow, other, fast = (group.pick(b"", None, NOW) for _ in range(3))
    assert slow is fast and slow is not None and other is not None
    group.free(slow, True, NOW)
    group.free(slow, False, NOW + 1)
    assert slow.fails == 1


def test_failures_cost_weight_that_comes_back() -> None:
    a = peer("a", 6, max_fails=3)
    group = RoundRobin([a, peer("b")])
    fail(group, "a")
    assert a.effective_weight == 4
    fail(group, "a")
    assert a.effective_weight <= 3
    names(group, 6)
    assert a.effective_weight == 6


def test_max_fails_0_never_rests() -> None:
    group = RoundRobin([peer("a", max_fails=0), peer("b")])
    assert not any(fail(group, "a") for _ in range(5))
    assert names(group, 4).count("a") == 2


def test_backups_have_their_turn_only_when_no_primary_is_available() -> None:
    group = RoundRobin(peers("a"), peers("x", "y"))
    assert names(group, 3) == "aaa"
    assert fail(group, "a")
    assert names(group, 4) == "xyxy"
    assert names(group, 2, NOW + 11) == "aa"


def test_many_peers() -> None:
    group = RoundRobin([peer(f"p{i}") for i in range(200)])
    tried: list[Peer] = []
    while (found := group.pick(b"", tried, NOW)) is not None:
        tried.append(found)
    assert len(tried) == 200
    assert set(tried) == set(group.peers)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shared", [False, True])
def test_replace_does_not_change_what_a_request_has_tried(method: type[Balancer], shared: bool) -> None:
    """A name resolves anew while a request is at its first peer: a peer that is new is not skipped, the tried one is."""
    group = method(peers("a", "b"), None, zone() if shared else None)
    first = group.pick(b"key", None, NOW)
    assert first is not None
    group.replace([peer("new"), peer(first.name.decode())])
    assert group.peers[1] is first
    tried = [first]
    second = group.pick(b"key", tried, NOW)
    assert second is group.peers[0]
    assert group.pick(b"key", [*tried, second], NOW) is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shared", [False, True])
def test_down_peers_are_no_tries(method: type[Balancer], shared: bool) -> None:
    table = zone() if shared else None
    group = method([peer("a"), peer("b", down=True), peer("c")], [peer("x", down=True), peer("y")], table)
    assert group.most_tries() == 3
    group.replace([peer("a"), peer("b", down=True)], [peer("x", down=True)])
    assert group.most_tries() == 1


def test_replace_keeps_the_state_of_addresses_that_stay() -> None:
    a, b, c = peers("a", "b", "c")
    group = RoundRobin([a, b, c])
    assert fail(group, "b")
    flying = group.pick(b"", None, NOW)
    group.replace([peer("d"), peer("b", 4), peer("a")])
    assert [each.name for each in group.peers] == [b"d", b"b", b"a"]
    assert group.peers[1] is b and group.peers[2] is a
    assert (b.fails, b.settings.weight, b.effective_weight) == (1, 4, 4)
    assert "b" not in names(group, 4)
    assert flying is not None
    group.free(flying, False, NOW)
    assert flying.connections == 0
    group.replace([])
    assert names(group, 1) == "-"
    group.replace(peers("e"))
    assert names(group, 2) == "ee"


def test_replace_keeps_a_peer_that_becomes_a_backup() -> None:
    a, b = peers("a", "b")
    group = RoundRobin([a, b])
    assert fail(group, "b")
    group.replace([peer("a")], [peer("b"), peer("c")])
    assert group.peers == [a] and group.backup[0] is b and b.fails == 1


@pytest.mark.parametrize("shared", [False, True])
def test_replace_changes_limits_at_once(shared: bool) -> None:
    group = RoundRobin(peers("a"), None, zone() if shared else None)
    assert names(group, 2, free=False) == "aa"
    group.replace([peer("a", max_conns=3)])
    assert names(group, 2, free=False) == "a-"
    group.replace([peer("a", down=True)])
    assert names(group, 1) == "-"
    group.replace(peers("a"))
    assert names(group, 1) == "a"


@pytest.mark.parametrize("method", [Hash, ConsistentHash])
def test_a_key_stays_with_its_peer(method: type[Balancer]) -> None:
    group = method(peers("a", "b", "c", "d"))
    for number in range(50):
        assert len(set(names(group, 3, key=b"%d" % number))) == 1


def test_the_ring_moves_only_the_keys_of_a_peer_that_went() -> None:
    group = ConsistentHash([peer(f"10.0.0.{i}:80") for i in range(1, 6)])
    keys = [b"%d" % number for number in range(300)]
    before = [names(group, 1, key=key) for key in keys]
    group.replace(group.peers[:4])
    after = [names(group, 1, key=key) for key in keys]
    assert all(new == old for old, new in zip(before, after, strict=True) if old != "10.0.0.5:80")
    assert set(after) == {f"10.0.0.{i}:80" for i in range(1, 5)}


def test_the_addresses_of_one_name_share_its_points_and_take_turns() -> None:
    group = ConsistentHash(
        [peer("a", server="app:80"), peer("b", server="app:80"), peer("c", server="app2:80")]
    )
    assert len(group.points) == 320
    mine = [key for key in (b"%d" % number for number in range(20)) if names(group, 1, key=key) != "c"]
    assert {"".join(sorted(names(group, 2, key=key))) for key in mine} == {"ab"}


def test_ip_hash_takes_three_octets_of_ipv4_and_all_of_ipv6() -> None:
    group = IpHash(peers("a", "b", "c", "d"))
    assert len({names(group, 1, key=bytes([10, 1, 2, last])) for last in range(256)}) == 1
    assert len({names(group, 1, key=bytes([10, 1, third, 1])) for third in range(256)}) == 4
    assert len({names(group, 1, key=bytes(15) + bytes([last])) for last in range(256)}) == 4
    assert names(group, 1, key=b"") == names(group, 1, key=bytes(4))


def test_random_follows_the_weights() -> None:
    steps = iter([0.0, 0.49, 0.5, 0.74, 0.75, 0.99])
    group = Random([peer("a", 2), peer("b"), peer("c")], chance=lambda: next(steps))
    assert names(group, 6) == "aabbcc"


def test_random_two_takes_the_less_loaded() -> None:
    steps = iter([0.1, 0.6, 0.6, 0.1, 0.1, 0.1, 0.6])
    group = Random(peers("a", "b"), two=True, chance=lambda: next(steps))
    assert names(group, 3, free=False) == "bab"  # equal: the second, as in nginx; then by connections


def test_random_ends_in_round_robin() -> None:
    group = Random(peers("a", "b", "c"), chance=lambda: 0.0)
    found = group.pick(b"", [group.peers[0]], NOW)
    assert found is not None and found.name == b"b"


def in_child(group: Balancer, name: str, failed: bool) -> None:
    """Another worker picks until it has ``name`` and gives it back, or is killed with it in hand."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            fail(group, name) if failed else names(group, 1, free=False)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_workers_share_failures_turns_and_counts() -> None:
    group = RoundRobin([peer("a"), peer("b", max_conns=2), peer("c")], None, zone())
    in_child(group, "a", failed=True)
    assert "a" not in names(group, 4)
    fresh = RoundRobin([peer("a"), peer("b"), peer("c")], None, zone())
    in_child(fresh, "", failed=False)
    assert names(fresh, 2) == "bc"
    assert fresh.pick(b"", None, NOW) is fresh.peers[0]
    assert fresh.peers[0].connections == 2


def test_a_row_is_found_by_address_whatever_the_order() -> None:
    table = zone()
    one = RoundRobin(peers("a", "b", "c"), None, table)
    two = RoundRobin(peers("c", "d", "b"), None, table)
    assert fail(one, "c")
    assert "c" not in names(two, 6)


def test_a_full_zone_forgets_the_peer_unused_longest() -> None:
    table = zone(2)
    group = RoundRobin(peers("a", "b"), None, table)
    for step in range(20):
        group.replace([peer(f"n{step}"), peer("b")])
        assert sorted(names(group, 2, NOW + 20 * step)) in (sorted(f"n{step}b"), sorted(f"bn{step}"))
    more = RoundRobin(peers("x", "y", "z"), None, zone(1))
    assert set(names(more, 30)) <= set("xyz")


def test_times_do_not_age_by_copying() -> None:
    group = RoundRobin(peers("a", "b"), None, zone())
    now = 1001.001
    fail(group, "a", now)
    names(group, 50, now + 1)
    assert group.peers[0].accessed == pytest.approx(now, abs=0.0006)


def test_a_table_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="columns"):
        RoundRobin(peers("a"), None, SharedTable(4, 2))
