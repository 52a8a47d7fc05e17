"""`allow`, `deny`: who may come, by address. (nginx: ngx_http_access_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.directive import HTTP, LIMIT_EXCEPT, LOCATION, SERVER, Directive, Scope, Setting
from portico.config.reader import Statement
from portico.errorlog import ERR
from portico.http.access import ALLOWED, BY_RULE, NO_OPINION, AccessStep
from portico.http.errors import HTTPError
from portico.http.feature import Feature, LocationBuild
from portico.http.networks import Network, network, unmapped

if TYPE_CHECKING:
    from portico.http.request import Request

_ALL: Final = HTTP | SERVER | LOCATION | LIMIT_EXCEPT
EVERYBODY: Final = 0
UNIX: Final = 1
NETWORK: Final = 2


@final
class Source:
    """Whom one `allow` or `deny` is about."""

    def __init__(self, text: str, kind: int, network: Network | None) -> None:
        self.text = text
        self.kind = kind
        self.network = network


def _source(statement: Statement) -> Source:
    text = statement.args[0].text
    if text == "all":
        return Source(text, EVERYBODY, None)
    if text == "unix:":
        return Source(text, UNIX, None)
    found = network(text)
    if found is None or "." in text.partition("/")[2] or text == "255.255.255.255":  # nginx takes this for "no address"
        hint = "an address, a network such as 192.0.2.0/24 or 2001:db8::/32, `unix:` or `all`"
        raise statement.fail(f'invalid parameter "{text}"', statement.args[0], f"it may be: {hint}")
    if not found.exact:
        statement.warn(f"low address bits of {text} are meaningless", statement.args[0])
    return Source(text, NETWORK, found)


ALLOW: Final = Directive[Source | None](
    "allow", _ALL, _source, args="1", many=True, default=None,
    syntax="ADDRESS | NETWORK | unix: | all",
    doc="Lets clients in. `allow` and `deny` are looked at in the order written, and the first that fits decides. A block that has "
    "any of them inherits none.",
    example="location /admin/ { allow 192.0.2.0/24; allow 2001:db8::/32; deny all; }",
)
DENY: Final = Directive[Source | None](
    "deny", _ALL, _source, args="1", many=True, default=None,
    syntax="ADDRESS | NETWORK | unix: | all",
    doc="Answers these clients 403. See `allow`.",
    example="location / { deny 192.0.2.1; }",
)


@final
class Rule:
    """One line; `size` of the address in bytes, 0 for clients on a Unix socket."""

    def __init__(self, size: int, shift: int, number: int, denies: bool) -> None:
        self.size = size
        self.shift = shift
        self.number = number
        self.denies = denies


@final
class AccessRules(AccessStep):
    """The rules of one location."""

    def __init__(self, texts: list[str], rules: list[Rule]) -> None:
        self.texts = texts
        self.rules = rules
        self.sizes = frozenset([rule.size for rule in rules])

    def check(self, request: Request) -> int:
        address = request.packed_address()
        size = len(address)
        # nginx: the rules for IPv4 judge an IPv4 client that came over IPv6, if there are any
        if size == 16 and 4 in self.sizes:
            address = unmapped(address)
            size = len(address)
        if size not in self.sizes:
            return NO_OPINION
        number = int.from_bytes(address, "big")
        for rule in self.rules:
            if rule.size == size and number >> rule.shift == rule.number:
                if rule.denies:
                    raise HTTPError(403, BY_RULE, ERR)
                return ALLOWED
        return NO_OPINION

    def describe(self) -> str:
        return "; ".join(self.texts)


def _rules_of(source: Source, denies: bool) -> list[Rule]:
    if source.kind == EVERYBODY:
        return [Rule(4, 32, 0, denies), Rule(16, 128, 0, denies), Rule(0, 0, 0, denies)]
    found = source.network
    if found is None:
        return [Rule(0, 0, 0, denies)]
    return [Rule(found.size, found.size * 8 - found.length, found.number, denies)]


class AccessFeature(Feature):
    """Adds the nearest rules: a block with an `allow` or a `deny` of its own has no others."""

    def location(self, build: LocationBuild) -> None:
        lines = _lines(build.scope)
        if not lines:
            return
        rules: list[Rule] = []
        texts: list[str] = []
        for _, source, denies in lines:
            rules.extend(_rules_of(source, denies))
            texts.append(f"{'deny' if denies else 'allow'} {source.text}")
        build.add_access(AccessRules(texts, rules))


def _lines(scope: Scope | None) -> list[tuple[int, Source, bool]]:
    while scope is not None:
        lines = _given(scope.own_settings(ALLOW), False) + _given(scope.own_settings(DENY), True)
        if lines:
            return sorted(lines, key=_by_order)
        scope = scope.parent
    return []


def _given(settings: list[Setting[Source | None]], denies: bool) -> list[tuple[int, Source, bool]]:
    return [(setting.where.order, setting.value, denies) for setting in settings if setting.value is not None]


def _by_order(line: tuple[int, Source, bool]) -> int:
    return line[0]


FEATURE: Final = AccessFeature("http_access", (ALLOW, DENY))
