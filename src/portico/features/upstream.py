"""`upstream {}`: groups of servers and the ways to choose among them.

nginx's ngx_http_upstream_module with its balancing modules (least_conn, ip_hash, hash, random), keepalive and zone.
"""

from __future__ import annotations

from typing import Final, final

from portico.balancing.balancer import Balancer
from portico.balancing.group import DEFAULT_KEEPALIVE, Group, Server
from portico.balancing.hash import ConsistentHash, Hash
from portico.balancing.ip_hash import IpHash
from portico.balancing.least_conn import LeastConn
from portico.balancing.peer import Peer, ServerSettings
from portico.balancing.pool import Pool
from portico.balancing.random import Random
from portico.balancing.shared_state import COLUMNS
from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, UPSTREAM, Directive, Scope, Setting
from portico.config.reader import Statement
from portico.http.feature import Feature, HttpBuild
from portico.net.networks import packed
from portico.passing.groups import add_group, groups_of, resolve, round_robin
from portico.passing.variables import UPSTREAM_FAMILIES, UPSTREAM_VARIABLES
from portico.variables.template import Template, template
from portico.zones.opening import open_zone
from portico.zones.table import SharedTable
from portico.zones.zone import ZoneConflict


def _server(statement: Statement) -> Server:
    text = statement.args[0].text
    host, port = _address(statement, text)
    return Server(text if ":" in text else f"{text}:80", host, port, statement.where, _settings(statement))


def _address(statement: Statement, text: str) -> tuple[str, int]:
    if text.startswith("unix:"):
        if len(text) == 5:
            raise statement.fail(f'no path in the unix domain socket in upstream "{text}"', statement.args[0])
        return text, 0
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest[1:] if rest.startswith(":") else "80"
        if not bracket:
            raise statement.fail(f'invalid host in upstream "{text}"', statement.args[0])
        if ":" not in host or packed(host) is None:
            raise statement.fail(f'invalid IPv6 address in upstream "{text}"', statement.args[0])
    else:
        host, colon, port = text.partition(":")
        port = port if colon else "80"
    if not host:
        raise statement.fail(f'no host in upstream "{text}"', statement.args[0])
    number = values.port_of(port)
    if number is None:
        raise statement.fail(f'invalid port in upstream "{text}"', statement.args[0])
    return host, number


def _settings(statement: Statement) -> ServerSettings:
    """Return what the parameters behind the address say."""
    weight, max_conns, max_fails, fail_timeout = 1, 0, 1, 10.0
    backup = down = False
    for argument in statement.args[1:]:
        name, _, value = argument.text.partition("=")
        number = values.number_of(value)
        if argument.text == "backup":
            backup = True
        elif argument.text == "down":
            down = True
        elif name == "weight" and number:
            weight = number
        elif name == "max_conns" and number is not None:
            max_conns = number
        elif name == "max_fails" and number is not None:
            max_fails = number
        elif name == "fail_timeout" and values.seconds_of(value) is not None:
            fail_timeout = float(values.seconds_of(value) or 0)
        else:
            raise statement.fail(f'invalid parameter "{argument.text}"', argument)
    return ServerSettings(weight, max_conns, max_fails, fail_timeout, backup, down)


def _name(statement: Statement) -> str:
    return statement.args[0].text


@final
class Method:
    """How a group balances: the class and what it needs."""

    def __init__(self, kind: str, key: Template | None = None, option: str = "") -> None:
        self.kind = kind
        self.key = key
        self.option = option

    def make(self, peers: list[Peer], backup: list[Peer], table: SharedTable | None) -> Balancer:
        """Return the balancer for these peers."""
        if self.kind == "least_conn":
            return LeastConn(peers, backup, table)
        if self.kind == "ip_hash":
            return IpHash(peers, backup, table)
        if self.kind == "hash":
            return ConsistentHash(peers, backup, table) if self.option else Hash(peers, backup, table)
        if self.kind == "random":
            return Random(peers, backup, table, two=self.option == "two")
        return round_robin(peers, backup, table)


def _least_conn(statement: Statement) -> Method:
    return Method("least_conn")


def _ip_hash(statement: Statement) -> Method:
    return Method("ip_hash")


def _hash(statement: Statement) -> Method:
    if len(statement.args) > 1 and statement.args[1].text != "consistent":
        raise statement.fail(f'invalid parameter "{statement.args[1].text}"', statement.args[1])
    return Method("hash", template(statement), "consistent" if len(statement.args) > 1 else "")


def _random(statement: Statement) -> Method:
    words = [argument.text for argument in statement.args]
    if words and words[0] != "two":
        raise statement.fail(f'invalid parameter "{words[0]}"', statement.args[0])
    if len(words) > 1 and words[1] not in ("least_conn", "least_conn="):
        raise statement.fail(f'invalid parameter "{words[1]}"', statement.args[1])
    return Method("random", None, "two" if words else "")


def _keepalive(statement: Statement) -> int:
    text = statement.args[0].text
    number = values.number_of(text)
    if number is None:
        raise statement.fail(f'invalid value "{text}" in "keepalive" directive', statement.args[0])
    if len(statement.args) > 1 and statement.args[1].text != "local":
        raise statement.fail(f'invalid parameter "{statement.args[1].text}"', statement.args[1])
    return number


def _zone(statement: Statement) -> tuple[str, int]:
    size = 0
    if len(statement.args) > 1:
        found = values.size_of(statement.args[1].text)
        if found is None:
            raise statement.fail(f'invalid zone size "{statement.args[1].text}"', statement.args[1])
        if found < 32768:
            raise statement.fail(f'zone "{statement.args[0].text}" is too small: 32k at least', statement.args[1])
        size = found
    if not statement.args[0].text:
        raise statement.fail('invalid zone name ""', statement.args[0])
    return statement.args[0].text, size


UPSTREAM_BLOCK: Final = Directive[str](
    "upstream", HTTP, _name, args="1", default="", many=True, block=UPSTREAM, syntax="NAME { ... }",
    doc="A group of servers that `proxy_pass` can name. Requests are spread by weighted round robin unless the group says "
    "otherwise.",
    example="upstream app { server 127.0.0.1:3001; server 127.0.0.1:3002; }",
)
UPSTREAM_SERVER: Final = Directive[Server | None](
    "server", UPSTREAM, _server, args="1+", default=None, many=True,
    syntax="ADDRESS [weight=N] [max_conns=N] [max_fails=N] [fail_timeout=TIME] [backup] [down]",
    doc="A server of the group: a name (each of its addresses becomes a peer), an address, `unix:/path`. After `max_fails` "
    "failures within `fail_timeout` it is left alone for `fail_timeout`. A name that does not resolve is a warning; its "
    "requests are answered 502 until it does.",
    example="upstream app { server 127.0.0.1:3001 weight=2 max_fails=3 fail_timeout=5s; }",
)
LEAST_CONN: Final = Directive[Method | None](
    "least_conn", UPSTREAM, _least_conn, args="0", default=None, many=True,
    doc="Choose the server with the fewest active connections, with regard to weights.",
    example="upstream app { least_conn; server 127.0.0.1:3001; server 127.0.0.1:3002; }",
)
IP_HASH: Final = Directive[Method | None](
    "ip_hash", UPSTREAM, _ip_hash, args="0", default=None, many=True,
    doc="Choose by the client's address (the first three octets of IPv4, all of IPv6), so that a client stays with a server.",
    example="upstream app { ip_hash; server 127.0.0.1:3001; server 127.0.0.1:3002; }",
)
HASH: Final = Directive[Method | None](
    "hash", UPSTREAM, _hash, args="1-2", default=None, many=True, syntax="KEY [consistent]",
    doc="Choose by a hash of the key; with `consistent` (ketama) most keys stay where they are when servers come and go.",
    example="upstream app { hash $request_uri consistent; server 127.0.0.1:3001; server 127.0.0.1:3002; }",
)
RANDOM: Final = Directive[Method | None](
    "random", UPSTREAM, _random, args="0-2", default=None, many=True, syntax="[two [least_conn]]",
    doc="Choose at random; with `two`, the one of two random servers that has fewer active connections.",
    example="upstream app { random two least_conn; server 127.0.0.1:3001; server 127.0.0.1:3002; }",
)
KEEPALIVE: Final = Directive[int](
    "keepalive", UPSTREAM, _keepalive, args="1-2", default=DEFAULT_KEEPALIVE, default_text="32 local",
    syntax="NUMBER [local]",
    doc="How many idle connections to the group each worker keeps; 0: none. `local` (nginx 1.29.7) is accepted: connections are "
    "never used with other TLS settings than those they were made with. An address in `proxy_pass` that is no group keeps none.",
    example="upstream app { server 127.0.0.1:3001; keepalive 64; }",
)
KEEPALIVE_REQUESTS: Final = Directive[int](
    "keepalive_requests", UPSTREAM, values.number, args="1", default=1000, default_text="1000",
    doc="After how many requests a connection to the group is closed.",
    example="upstream app { server 127.0.0.1:3001; keepalive_requests 10000; }",
)
KEEPALIVE_TIME: Final = Directive[float](
    "keepalive_time", UPSTREAM, values.msec, args="1", default=3600.0, default_text="1h",
    doc="How old a connection to the group may become.",
    example="upstream app { server 127.0.0.1:3001; keepalive_time 10m; }",
)
KEEPALIVE_TIMEOUT: Final = Directive[float](
    "keepalive_timeout", UPSTREAM, values.msec, args="1", default=60.0, default_text="60s",
    doc="How long an idle connection to the group is kept.",
    example="upstream app { server 127.0.0.1:3001; keepalive_timeout 30s; }",
)
ZONE: Final = Directive[tuple[str, int]](
    "zone", UPSTREAM, _zone, args="1-2", default=("", 0), many=True, syntax="NAME [SIZE]",
    doc="Lets all workers share the group's state (failures, active connections, turns). Without it each worker has its own.",
    example="upstream app { zone app 64k; server 127.0.0.1:3001; }",
)

_METHODS: Final = (LEAST_CONN, IP_HASH, HASH, RANDOM)


class UpstreamFeature(Feature):
    """nginx's http_upstream module and its balancing methods."""

    def http(self, build: HttpBuild) -> None:
        for scope in build.scope.blocks(UPSTREAM_BLOCK):
            name = str(scope.value)
            statement = scope.statement
            assert statement is not None
            try:
                if name in groups_of(build):
                    raise statement.fail(f'duplicate upstream "{name}"', statement.args[0])
                add_group(build, _group(build, scope, name))
            except ConfigError as error:
                build.scope.load.diagnostics.error(error)


def _group(build: HttpBuild, scope: Scope, name: str) -> Group:
    statement = scope.statement
    assert statement is not None
    servers = [server for server in scope.own_all(UPSTREAM_SERVER) if server is not None]
    if not servers:
        raise statement.fail("no servers are inside upstream")
    method = _method(scope)
    for server in servers:
        if server.settings.backup and method.kind in ("hash", "ip_hash", "random"):
            raise ConfigError('balancing method does not support parameter "backup"', server.where)
        resolve(build, server)
    group = Group(name, servers, method.make, _table(build, scope))
    group.hash_key = method.key
    group.key_is_address = method.kind == "ip_hash"
    group.pool = Pool(
        scope.get(KEEPALIVE),
        _own(scope, KEEPALIVE_TIMEOUT),
        scope.own(KEEPALIVE_REQUESTS) or KEEPALIVE_REQUESTS.default,
        _own(scope, KEEPALIVE_TIME),
    )
    return group


def _own(scope: Scope, directive: Directive[float]) -> float:
    value = scope.own(directive)
    return directive.default if value is None else value


def _method(scope: Scope) -> Method:
    """Return the balancing method that was given last; nginx warns of those before it."""
    given: list[Setting[Method | None]] = []
    for directive in _METHODS:
        given.extend(scope.own_settings(directive))
    given.sort(key=_order)
    for setting in given[1:]:
        scope.load.diagnostics.warn("load balancing method redefined", setting.where)
    chosen = given[-1].value if given else None
    return chosen or Method("round_robin")


def _order(setting: Setting[Method | None]) -> int:
    return setting.where.order


def _table(build: HttpBuild, scope: Scope) -> SharedTable | None:
    setting = scope.setting(ZONE)
    if setting is None:
        return None
    name, size = setting.value
    try:
        zone = build.zones.add(name, size, "upstream", reuse=False)
    except ZoneConflict as error:
        raise ConfigError(str(error), setting.where) from None
    return open_zone(zone, COLUMNS, setting.where)


FEATURE: Final = UpstreamFeature(
    "http_upstream",
    (
        UPSTREAM_BLOCK, UPSTREAM_SERVER, LEAST_CONN, IP_HASH, HASH, RANDOM, KEEPALIVE, KEEPALIVE_REQUESTS, KEEPALIVE_TIME,
        KEEPALIVE_TIMEOUT, ZONE,
    ),
    tuple(UPSTREAM_VARIABLES),
    tuple(UPSTREAM_FAMILIES),
)
