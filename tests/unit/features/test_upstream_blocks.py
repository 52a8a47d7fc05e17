"""`upstream {}`: what a server may be called, its parameters, and what does not go together (ngx_http_upstream_module)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.config.load import Load
from portico.config.reader import read_text
from portico.features import upstream
from portico.features.upstream import UPSTREAM_SERVER, ZONE

WITH_UPSTREAMS = (*FEATURES, upstream.FEATURE)


def build(text: str, directory: Path) -> None:
    """Load `http { TEXT … }`. Raises its first mistake."""
    Site("", directory, WITH_UPSTREAMS, http=text).close()


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("127.0.0.1:3001", "127.0.0.1", 3001, "127.0.0.1:3001"),
        ("127.0.0.1", "127.0.0.1", 80, "127.0.0.1:80"),
        ("app.internal", "app.internal", 80, "app.internal:80"),
        ("[::1]:3001", "::1", 3001, "[::1]:3001"),
        ("[::1]", "::1", 80, "[::1]"),
        ("unix:/run/app.sock", "unix:/run/app.sock", 0, "unix:/run/app.sock"),
        ("unix:/run/a:b", "unix:/run/a:b", 0, "unix:/run/a:b"),
        ("a:65535", "a", 65535, "a:65535"),
    ],
)
def test_addresses(tmp_path: Path, text: str, host: str, port: int, shown: str) -> None:
    (statement,) = read_text(f"server {text};", "conf", Load(str(tmp_path), "conf"))
    server = UPSTREAM_SERVER.parse(statement)
    assert server is not None
    assert (server.host, server.port, server.text) == (host, port, shown)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unix:", 'no path in the unix domain socket in upstream "unix:"'),
        (":3001", 'no host in upstream ":3001"'),
        ('""', 'no host in upstream ""'),
        ("a:", 'invalid port in upstream "a:"'),
        ("a:0", 'invalid port in upstream "a:0"'),
        ("a:65536", 'invalid port in upstream "a:65536"'),
        ("a:x", 'invalid port in upstream "a:x"'),
        ("a:1:2", 'invalid port in upstream "a:1:2"'),
        ("::1", 'no host in upstream "::1"'),
        ("[::1", 'invalid host in upstream "[::1"'),
        ("[::g]", 'invalid IPv6 address in upstream "[::g]"'),
        ("[127.0.0.1]", 'invalid IPv6 address in upstream "[127.0.0.1]"'),
        ("[]", 'invalid IPv6 address in upstream "[]"'),
        ("[::1]:x", 'invalid port in upstream "[::1]:x"'),
        ("a weight=0", 'invalid parameter "weight=0"'),
        ("a weight=-1", 'invalid parameter "weight=-1"'),
        ("a weight=1.5", 'invalid parameter "weight=1.5"'),
        ("a weight=", 'invalid parameter "weight="'),
        ("a max_conns=x", 'invalid parameter "max_conns=x"'),
        ("a max_fails=-1", 'invalid parameter "max_fails=-1"'),
        ("a fail_timeout=1x", 'invalid parameter "fail_timeout=1x"'),
        ("a backup=1", 'invalid parameter "backup=1"'),
        ("a Down", 'invalid parameter "Down"'),
        ("a resolve", 'invalid parameter "resolve"'),
    ],
)
def test_servers_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (statement,) = read_text(f"server {text};", "conf", Load(str(tmp_path), "conf"))
    with pytest.raises(ConfigError) as caught:
        UPSTREAM_SERVER.parse(statement)
    assert caught.value.message == message


def test_parameters(tmp_path: Path) -> None:
    text = "server a weight=5 max_conns=7 max_fails=0 fail_timeout=1m30s backup down;"
    (statement,) = read_text(text, "conf", Load(str(tmp_path), "conf"))
    server = UPSTREAM_SERVER.parse(statement)
    assert server is not None
    found = server.settings
    assert (found.weight, found.max_conns, found.max_fails, found.fail_timeout) == (5, 7, 0, 90.0)
    assert found.backup and found.down
    (statement,) = read_text("server a;", "conf", Load(str(tmp_path), "conf"))
    server = UPSTREAM_SERVER.parse(statement)
    assert server is not None
    found = server.settings
    assert (found.weight, found.max_conns, found.max_fails, found.fail_timeout) == (1, 0, 1, 10.0)  # nginx's defaults
    assert not found.backup and not found.down


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("zone a 32k;", ("a", 32768)), ("zone a;", ("a", 0)), ("zone a 1m;", ("a", 1 << 20)),
        ("zone a 31k;", 'zone "a" is too small: 32k at least'), ("zone a x;", 'invalid zone size "x"'),
        ('zone "" 64k;', 'invalid zone name ""'),
    ],
)  # fmt: skip
def test_zones(tmp_path: Path, text: str, value: tuple[str, int] | str) -> None:
    (statement,) = read_text(text, "conf", Load(str(tmp_path), "conf"))
    if isinstance(value, tuple):
        assert ZONE.parse(statement) == value
        return
    with pytest.raises(ConfigError) as caught:
        ZONE.parse(statement)
    assert caught.value.message == value


ONE = "server 127.0.0.1:1;"
TWO = f"{ONE} server 127.0.0.1:2 backup;"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"upstream a {{ {ONE} }} upstream b {{ {ONE} }}", None),
        (f"upstream a {{ {TWO} }}", None),
        (f"upstream a {{ least_conn; {TWO} }}", None),
        (f"upstream a {{ random two least_conn; {ONE} }}", None),
        (f"upstream a {{ hash $uri consistent; {ONE} }}", None),
        (f"upstream a {{ keepalive 4 local; keepalive_requests 1; keepalive_time 1s; keepalive_timeout 1s; {ONE} }}", None),
        (f"upstream a {{ {ONE} }} upstream a {{ {ONE} }}", 'duplicate upstream "a"'),
        ("upstream a { }", "no servers are inside upstream"),
        ("upstream a { zone a 64k; }", "no servers are inside upstream"),
        (f"upstream a {{ hash $uri; {TWO} }}", 'balancing method does not support parameter "backup"'),
        (f"upstream a {{ ip_hash; {TWO} }}", 'balancing method does not support parameter "backup"'),
        (f"upstream a {{ random; {TWO} }}", 'balancing method does not support parameter "backup"'),
        (f"upstream a {{ random two; {TWO} }}", 'balancing method does not support parameter "backup"'),
        (f"upstream a {{ hash $uri steady; {ONE} }}", 'invalid parameter "steady"'),
        (f"upstream a {{ random three; {ONE} }}", 'invalid parameter "three"'),
        (f"upstream a {{ random two hash; {ONE} }}", 'invalid parameter "hash"'),
        (f"upstream a {{ keepalive x; {ONE} }}", 'invalid value "x" in "keepalive" directive'),
        (f"upstream a {{ keepalive 4 shared; {ONE} }}", 'invalid parameter "shared"'),
    ],
)
def test_blocks(tmp_path: Path, text: str, message: str | None) -> None:
    if message is None:
        build(text, tmp_path)
        return
    with pytest.raises(ConfigError) as caught:
        build(text, tmp_path)
    assert caught.value.message == message
