"""`listen`, `server_name`, `location`: the directives that say which request is whose."""

from __future__ import annotations

import socket
from typing import Final, final

from portico.config import values
from portico.config.diagnostics import Where
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.config.regex import Regex, parse_regex
from portico.http.routing.location_tree import MODIFIERS, REGEX, REGEX_ICASE, location_name
from portico.net.listen import ListenSpec
from portico.net.resolver import ResolveError, resolve_blocking

_OPTIONS_THAT_SET: Final = (
    "backlog", "rcvbuf", "sndbuf", "deferred", "reuseport", "ipv6only", "so_keepalive", "fastopen", "multipath", "bind",
)  # fmt: skip


@final
class Listen:
    """One `listen` of one server: the address, and what this server wants of it."""

    def __init__(self, spec: ListenSpec, where: Where) -> None:
        self.spec = spec
        self.where = where
        self.default_server = False
        self.ssl = False
        self.http2 = False
        self.proxy_protocol = False
        self.sets_options = False  # options that belong to the socket were given here
        self.bind = False  # bind it separately, even where a wildcard address has the same port


def _address(statement: Statement, text: str) -> list[ListenSpec]:
    """Return what to listen on, one for each address that a name stands for. Raises ConfigError in nginx's words."""
    if text.startswith("unix:"):
        return [_unix_address(statement, text)]
    if text.startswith("["):
        return _ipv6_addresses(statement, text)
    where = statement.where
    first = statement.args[0]
    host, colon, port_text = text.rpartition(":")
    if not colon:
        is_port = values.number_of(text.replace("-", "", 1)) is not None and text[0] != "-"
        host, port_text = ("*", text) if is_port else (text, "80")
    ports = _ports(statement, port_text)
    if host == "":
        raise statement.fail(f'no host in "{text}" of the "listen" directive', first)
    addresses: list[tuple[int, str]]
    if host == "*":
        addresses = [(socket.AF_INET, "0.0.0.0")]
    else:
        try:
            addresses = [(family, str(address[0])) for family, address in resolve_blocking(host, ports[0]).addresses]
        except ResolveError:
            raise statement.fail(f'host not found in "{text}" of the "listen" directive', first) from None
    return [
        ListenSpec(family, (address, port), text if len(ports) == 1 else f"{address}:{port}", where)
        for port in ports for family, address in addresses
    ]  # fmt: skip


def _unix_address(statement: Statement, text: str) -> ListenSpec:
    path = text[5:]
    first = statement.args[0]
    if not path:
        raise statement.fail(f'no path in the unix domain socket in "{text}" of the "listen" directive', first)
    if len(values.octets(path)) > 107:
        raise statement.fail(f'too long path in the unix domain socket in "{text}" of the "listen" directive', first)
    return ListenSpec(socket.AF_UNIX, path, text, statement.where)


def _ipv6_addresses(statement: Statement, text: str) -> list[ListenSpec]:
    host, bracket, rest = text[1:].partition("]")
    first = statement.args[0]
    if not bracket or (rest and not rest.startswith(":")):
        raise statement.fail(f'invalid host in "{text}" of the "listen" directive', first)
    ports = _ports(statement, rest[1:] if rest else "80")
    try:
        packed = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    except (OSError, ValueError):  # ValueError: not ASCII
        raise statement.fail(f'invalid IPv6 address in "{text}" of the "listen" directive', first) from None
    where = statement.where
    return [ListenSpec(socket.AF_INET6, (packed, port), text if len(ports) == 1 else f"[{packed}]:{port}", where) for port in ports]


def _ports(statement: Statement, text: str) -> range:
    """Return the ports that `8080` and `8080-8089` stand for."""
    first, dash, last = text.partition("-")
    ports = range(_port(statement, first), _port(statement, last if dash else first) + 1)
    if not ports:
        raise statement.fail(f'invalid port range in "{statement.args[0].text}" of the "listen" directive', statement.args[0])
    return ports


def _port(statement: Statement, text: str) -> int:
    port = values.port_of(text)
    if port is None:
        raise statement.fail(
            f'invalid port in "{statement.args[0].text}" of the "listen" directive', statement.args[0]
        )
    return port


def parse_listen(statement: Statement) -> list[Listen]:
    """Return one Listen for each address that the text stands for. Raises ConfigError in nginx's words."""
    listens = [Listen(spec, statement.where) for spec in _address(statement, statement.args[0].text)]
    for listen in listens:
        for index in range(1, len(statement.args)):
            _option(statement, listen, index)
    return listens


def _option(statement: Statement, listen: Listen, index: int) -> None:
    argument = statement.args[index]
    name, equals, value = argument.text.partition("=")
    if name in _OPTIONS_THAT_SET:
        listen.sets_options = True
        listen.bind = True
    known = _with_value(statement, listen.spec, index, name, value) if equals else _word(statement, listen, argument.text)
    if not known:
        raise statement.fail(f'invalid parameter "{argument.text}"', argument)


def _word(statement: Statement, listen: Listen, word: str) -> bool:
    """Set what one word says; return False for a word that nobody knows."""
    if word in ("default_server", "default"):
        listen.default_server = True
    elif word == "ssl":
        listen.ssl = True
    elif word == "proxy_protocol":
        listen.proxy_protocol = True
    elif word == "quic":
        hint = 'remove the line: clients get HTTP/2 or 1.1, on a "listen ... ssl" of the same port'
        raise statement.fail('the "quic" parameter requires ngx_http_v3_module', hint=hint)
    elif word == "http2":
        listen.http2 = True
    elif word == "reuseport":
        listen.spec.reuseport = True
    elif word == "deferred":
        listen.spec.deferred = True
    elif word == "multipath":
        listen.spec.multipath = True
    else:
        return word == "bind"
    return True


def _with_value(statement: Statement, spec: ListenSpec, index: int, name: str, value: str) -> bool:
    """Set what `name=value` says; return False for a name that nobody knows. Raises ConfigError in nginx's words."""
    argument = statement.args[index]
    if name == "backlog":
        spec.backlog = _number(statement, index, value, 'invalid backlog "%s"')
    elif name == "fastopen":
        spec.fastopen = _number(statement, index, value, 'invalid fastopen "%s"', least=0)
    elif name in ("rcvbuf", "sndbuf"):
        size = values.size_of(value)
        if size is None:
            raise statement.fail(f'invalid {name} "{argument.text}"', argument)
        if name == "rcvbuf":
            spec.rcvbuf = size
        else:
            spec.sndbuf = size
    elif name == "ipv6only" and value.startswith("o"):  # of no effect on other addresses
        if value not in ("on", "off"):
            raise statement.fail(f'invalid ipv6only flags "{value}"', argument)
        spec.ipv6only = value == "on"
    elif name == "so_keepalive":
        _keepalive(statement, spec, index, value)
    else:
        return False
    return True


def _number(statement: Statement, index: int, text: str, message: str, least: int = 1) -> int:
    number = values.number_of(text)
    if number is None or number < least:
        raise statement.fail(message % statement.args[index].text, statement.args[index])
    return number


def _keepalive(statement: Statement, spec: ListenSpec, index: int, value: str) -> None:
    if value in ("on", "off"):
        spec.so_keepalive = 1 if value == "on" else 0
        return
    parts = value.split(":")
    numbers: list[int] = []
    for part in parts:
        seconds = 0 if not part else values.seconds_of(part) if len(numbers) < 2 else values.number_of(part)
        if seconds is None:
            raise statement.fail(f'invalid so_keepalive value: "{value}"', statement.args[index])
        numbers.append(seconds)
    if len(parts) > 3 or not any(numbers):
        raise statement.fail(f'invalid so_keepalive value: "{value}"', statement.args[index])
    spec.so_keepalive = 1
    spec.keepidle, spec.keepintvl, spec.keepcnt = [*numbers, 0, 0][:3]


@final
class ServerName:
    """One name of a `server_name`: text for exact and wildcard names, a regex otherwise."""

    def __init__(self, text: str, regex: Regex | None) -> None:
        self.text = text
        self.regex = regex


def _server_names(statement: Statement) -> list[ServerName]:
    """Return the names. What hosts have to do with them is seen where they are put behind an address."""
    names: list[ServerName] = []
    for index, argument in enumerate(statement.args):
        text = argument.text
        if (text.startswith("*") and (len(text) < 3 or text[1] != ".")) or text == ".":
            raise statement.fail(f'server name "{text}" is invalid', argument)
        if "/" in text:
            statement.warn(f'server name "{text}" has suspicious symbols', argument)
        if text.lower() == "$hostname":
            names.append(ServerName(socket.gethostname().lower(), None))
        elif not text.startswith("~"):
            names.append(ServerName(text.lower(), None))
        elif len(text) == 1:
            raise statement.fail('empty regex in server name "~"', argument)
        else:
            # nginx matches names regardless of case: the host is lower-case, a pattern with capitals is made caseless
            caseless = text.lower() != text
            names.append(ServerName(text, parse_regex(statement, index, text[1:], caseless)))
    return names


@final
class LocationPattern:
    """What stands between `location` and its brace."""

    def __init__(self, kind: int, text: str, regex: Regex | None) -> None:
        self.kind = kind  # EXACT, PREFIX, … of http/routing/location_tree.py
        self.text = text
        self.regex = regex

    def __str__(self) -> str:
        return MODIFIERS[self.kind] + self.text


def _location(statement: Statement) -> LocationPattern:
    try:
        kind, text = location_name([argument.text for argument in statement.args])
    except ValueError as error:
        raise statement.fail(str(error), statement.args[0]) from None
    regex = None
    if kind in (REGEX, REGEX_ICASE):
        regex = parse_regex(statement, len(statement.args) - 1, text, kind == REGEX_ICASE)
    return LocationPattern(kind, text, regex)


LISTEN: Final = Directive[list[Listen]](
    "listen", SERVER, parse_listen, args="1+", default=list[Listen](), many=True,
    default_text="*:80 | *:8000",
    syntax="ADDRESS[:PORT] | PORT | unix:PATH [default_server] [ssl] [http2] [proxy_protocol] [backlog=N] [rcvbuf=SIZE] "
    "[sndbuf=SIZE] [deferred] [multipath] [bind] [ipv6only=on|off] [reuseport] [fastopen=N] "
    "[so_keepalive=on|off|idle:interval:count]",
    doc="An address that this server takes connections on. `default_server` makes it the one that answers when no name "
    "fits. `ssl`: TLS. `proxy_protocol`: every connection begins with a header of the PROXY protocol, version 1 or 2, which "
    "says who the client is (`$proxy_protocol_addr`, `real_ip_header proxy_protocol`). `reuseport` gives every worker a socket "
    "of its own. `multipath`: Multipath TCP, where the kernel has it (`net.mptcp.enabled`). `http2`: HTTP/2 for all servers of the "
    "address, as `http2 on` is for one.",
    example="listen 127.0.0.1:8080 default_server;",
)
SERVER_NAME: Final = Directive[list[ServerName]](
    "server_name", SERVER, _server_names, args="1+", default=list[ServerName](), many=True, default_text='""',
    syntax="NAME ...",
    doc="The names of this server: exact, `*.example.com`, `example.*`, `.example.com` (both the name and all below it), `$hostname` "
    "(this machine's name), or a regex after `~`, whose named groups become variables. The order of choice is that of nginx: "
    "exact, longest leading wildcard, longest trailing wildcard, first regex, default server.",
    example="server_name example.com *.example.com;",
)


def names_of(server: Scope) -> list[ServerName]:
    """Return all names of a server, in the order written."""
    return [name for group in server.own_all(SERVER_NAME) for name in group]


LOCATION_BLOCK: Final = Directive[LocationPattern | None](
    "location", SERVER | LOCATION, _location, args="1-2", default=None, many=True, block=LOCATION,
    syntax="[= | ~ | ~* | ^~] URI { ... }\n@NAME { ... }",
    doc="What happens to requests whose URI (decoded, dots resolved, slashes merged) fits: `=` exactly, a prefix (the longest "
    "wins; `^~` then ends the search), or a regex (`~`, `~*` regardless of case; the first that matches wins over plain "
    "prefixes). `@name` is reached from `error_page` and `try_files` only.",
    example="location /api/ { return 204; }",
)
INTERNAL: Final = Directive[bool](
    "internal", LOCATION, values.present, args="0", default=False,
    doc="Only internal redirects reach this location; for clients it does not exist (404).",
    example="location /protected/ { internal; }",
)
def _ssl(statement: Statement) -> bool:
    statement.warn('the "ssl" directive is deprecated, use the "listen ... ssl" directive instead')
    return values.flag(statement)


SSL: Final = Directive[bool](
    "ssl", HTTP | SERVER, _ssl, args="1", default=False, default_text="off", syntax="on | off",
    doc="All addresses of the server take TLS, as `listen … ssl` says for one. Deprecated, as in nginx, which has dropped it in "
    "1.25.1.",
    example="ssl off;",
)
HTTP2: Final = Directive[bool](
    "http2", HTTP | SERVER, values.flag, args="1", default=False, default_text="off",
    syntax="on | off",
    doc="Speak HTTP/2 with clients that want to: over TLS those that choose it by ALPN, as browsers do, and without TLS those that "
    "begin with it (\"prior knowledge\"). All others get HTTP/1.1 as before.",
    example="http2 on;",
)
