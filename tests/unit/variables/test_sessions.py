"""A session that is no request of HTTP: what `variables/`, `admission/` and `logs/` make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.variables import sessions
from tests.unit.variables.sessions import Served

from portico.admission.address_rules import ADMITTED, NO_RULE, REFUSED, nearest_rules
from portico.admission.connection_count import LimitReached, acquire_all, release_all
from portico.admission.request_rate import RateLimit, charge_all, strictest
from portico.codec.proxy_protocol import ProxyHeader
from portico.config.diagnostics import ConfigError
from portico.errorlog import ERR
from portico.logs.log_file import FileWriter, OpenLogFileCache, PathWriter
from portico.zones import counts, states
from portico.zones.table import SharedTable

Serve = Callable[[str], Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    made: list[Served] = []

    def make(text: str) -> Served:
        made.append(Served(text, tmp_path))
        return made[-1]

    yield make
    for served in made:
        served.close()


# -- variables


def test_a_text_with_what_every_session_has(serve: Serve) -> None:
    served = serve('text "$remote_addr:$remote_port on $connection, $status, $bytes_sent";')
    session = served.session()
    assert served.render(session) == [b"192.0.2.7:5000 on 42, 000, 0"]
    session.status, session.body_bytes = 200, 17
    session.replace_address(b"2001:db8::1", b"")
    assert served.render(session) == [b"2001:db8::1: on 42, 200, 17"]


def test_the_clock_the_process_and_the_address_connected_to(serve: Serve) -> None:
    names = ("msec", "time_local", "hostname", "pid", "nginx_version", "server_addr", "server_port")
    served = serve("".join(f"text ${name};" for name in names))
    assert all(value for value in served.render(served.session())[:5])
    served.transport.sock.close()  # nobody can be asked any more: the listener's own address
    assert served.render(served.session())[5:] == [b"127.0.0.1", b"8080"]


def test_what_the_proxy_protocol_told(serve: Serve) -> None:
    served = serve('text "$proxy_protocol_addr $proxy_protocol_tlv_alpn";')
    session = served.session()
    assert served.render(session) == [b" "]
    header = ProxyHeader(16)
    header.address, header.tlvs = b"198.51.100.1", b"\x01\x00\x02h2"
    session.client.proxied = header
    assert served.render(session) == [b"198.51.100.1 h2"]


@pytest.mark.parametrize("name", ["host", "uri", "http_user_agent", "request"])
def test_it_cannot_name_what_only_requests_have(serve: Serve, name: str) -> None:
    with pytest.raises(ConfigError, match=f'unknown "{name}" variable'):
        serve(f"text ${name};")


# -- variables that the configuration makes


def test_map_and_its_captures(serve: Serve) -> None:
    served = serve('map $remote_addr $net { "~^(?<head>[0-9]+)\\." "v4-$head"; default other; } text "$net $head";')
    assert served.render(served.session()) == [b"v4-192 192"]
    assert served.render(served.session("2001:db8::7")) == [b"other "]


def test_map_is_looked_up_once_for_a_session_unless_it_is_volatile(serve: Serve) -> None:
    served = serve(
        "map $status $kept { 000 none; default some; } map $status $anew { volatile; 000 none; default some; } text $kept$anew;"
    )
    session = served.session()
    assert served.render(session) == [b"nonenone"]
    session.status = 200
    assert served.render(session) == [b"nonesome"]


def test_a_cycle_of_maps_ends_and_is_logged(serve: Serve) -> None:
    served = serve("map $b $a { default $b; } map $a $b { default $a; } text x$a;")
    served.files.open()
    assert served.render(served.session()) == [b"x"]
    assert 'cycle while evaluating variable "' in served.logged() and ", client: 192.0.2.7" in served.logged()


def test_geo_by_the_client_and_by_a_text(serve: Serve) -> None:
    served = serve(
        "geo $zone { default far; 192.0.2.0/24 near; } geo $connection $odd { default none; }"
        'geo $r { ranges; 192.0.2.0-192.0.2.9 few; } text "$zone $odd $r";'
    )
    assert served.render(served.session()) == [b"near none few"]
    assert served.render(served.session("198.51.100.1")) == [b"far none "]


def test_geo_knows_proxies_in_http_only(serve: Serve) -> None:
    with pytest.raises(ConfigError, match='invalid network "proxy"'):
        serve("geo $zone { proxy 10.0.0.0/8; default x; }")


def test_split_clients(serve: Serve) -> None:
    served = serve("split_clients $remote_port $half { 50% a; * b; } text $half;")
    shares = [served.render(served.session(port=port))[0] for port in range(1000, 3000)]
    assert set(shares) == {b"a", b"b"} and 900 < shares.count(b"a") < 1100
    assert served.render(served.session(port=1000)) == shares[:1]


# -- access control and limits


def test_address_rules_in_the_order_written(serve: Serve) -> None:
    served = serve("deny 192.0.2.1; allow 192.0.2.0/24; deny all;")
    rules = nearest_rules(served.scope, sessions.ALLOW, sessions.DENY)
    assert rules is not None and rules.describe() == "deny 192.0.2.1; allow 192.0.2.0/24; deny all"
    verdicts = [rules.verdict(served.session(address)) for address in ("192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2", "2001:db8::1")]
    assert verdicts == [REFUSED, ADMITTED, ADMITTED, REFUSED]


def test_no_address_rule_that_fits(serve: Serve) -> None:
    served = serve("allow 192.0.2.0/24; deny 198.51.100.0/24;")
    rules = nearest_rules(served.scope, sessions.ALLOW, sessions.DENY)
    assert rules is not None and rules.verdict(served.session("203.0.113.1")) == NO_RULE
    assert nearest_rules(serve("text x;").scope, sessions.ALLOW, sessions.DENY) is None


def _rates(served: Served) -> list[RateLimit]:
    zones = {}
    for zone in served.scope.own_all(sessions.RATE_ZONE):
        assert zone is not None
        zone.states = states.States(SharedTable(64, states.COLUMNS))
        zones[zone.name] = zone
    return [RateLimit(limit, zones[limit.zone]) for limit in served.scope.own_all(sessions.RATE) if limit is not None]


def test_rate_limits_add_up_and_the_strictest_decides(serve: Serve) -> None:
    served = serve(
        "limit_req_zone $remote_addr zone=a:1m rate=10r/s; limit_req_zone everybody zone=b:1m rate=2r/s;"
        "limit_req zone=a burst=9; limit_req zone=b burst=2;"
    )
    limits = _rates(served)
    waits = []
    for _ in range(3):
        charges = charge_all(served.session(), limits, 1000)
        assert [charge.refused for charge in charges] == [False, False]
        waits.append((strictest(charges).limit.name, strictest(charges).wait()))
    assert waits == [("b", 0), ("b", 500), ("b", 1000)]
    charges = charge_all(served.session(), limits, 1000)
    assert [(charge.limit.name, charge.refused, charge.counted) for charge in charges] == [("a", False, False), ("b", True, False)]
    # Where it was refused in b, it was not counted in a either.
    assert charge_all(served.session(), limits[:1], 1000)[0].excess == 3000


def test_no_key_no_rate_limit(serve: Serve) -> None:
    served = serve('map "" $none { } limit_req_zone $none zone=a:1m rate=1r/s; limit_req zone=a;')
    assert charge_all(served.session(), _rates(served), 1000) == []


def test_connections_are_counted_by_key_and_released(serve: Serve) -> None:
    served = serve(
        "limit_conn_zone everybody zone=all:1m; limit_conn_zone $remote_addr zone=each:1m; limit_conn all 9; limit_conn each 2;"
    )
    zones = {}
    for zone in served.scope.own_all(sessions.CONNECTION_ZONE):
        assert zone is not None
        zone.counts = counts.Counts(SharedTable(64, counts.COLUMNS))
        zone.claim()
        zones[zone.name] = zone
    limits = [(zones[limit.zone], limit.number) for limit in served.scope.own_all(sessions.CONNECTION) if limit is not None]
    first = acquire_all(served.session(), limits)
    second = acquire_all(served.session(), limits)
    with pytest.raises(LimitReached) as reached:
        acquire_all(served.session(), limits)
    assert reached.value.zone is zones["each"] and not reached.value.full
    assert len(acquire_all(served.session("192.0.2.8"), limits)) == 2
    release_all(first)
    third = acquire_all(served.session(), limits)
    release_all(second)
    release_all(third)
    # The one that was refused left nothing in the zone that had admitted it: only that of 192.0.2.8 is counted.
    assert len([acquire_all(served.session(f"192.0.2.{n}"), limits) for n in range(10, 18)]) == 8
    with pytest.raises(LimitReached):
        acquire_all(served.session("192.0.2.99"), limits)


# -- logs


def test_a_log_line(serve: Serve, tmp_path: Path) -> None:
    served = serve("log_format short '$remote_addr [$status] $realm'; geo $realm { default 'a\"b'; } access_log x.log short;")
    form = served.scope.own_all(sessions.LOG_FORMAT)[0]
    log = served.scope.own_all(sessions.ACCESS_LOG)[0]
    assert form is not None and log is not None
    writer = FileWriter(served.files.get(log.path))
    served.files.open()
    session = served.session()
    session.status = 502
    writer.write(form.render(session), session)
    assert (tmp_path / "x.log").read_bytes() == b"192.0.2.7 [502] a\\x22b\n"


def test_a_log_whose_path_the_session_names(serve: Serve, tmp_path: Path) -> None:
    served = serve("access_log $remote_addr.log;")
    log = served.scope.own_all(sessions.ACCESS_LOG)[0]
    assert log is not None and log.template is not None
    writer = PathWriter(log.template, f"{tmp_path}/", OpenLogFileCache(0))
    writer.write(b"line\n", served.session("2001:db8::1"))
    assert (tmp_path / "2001:db8::1.log").read_bytes() == b"line\n"


def test_the_error_log_names_connection_and_client(serve: Serve) -> None:
    served = serve("text x;")
    served.files.open()
    served.session().log_error(ERR, "something failed")
    assert served.logged().endswith("*42 something failed, client: 192.0.2.7\n")
