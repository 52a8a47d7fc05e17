"""`allow` and `deny`: rules about the client's address. What a refusal leads to is for the caller. (ngx_stream_access_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.directive import Directive, Scope, Setting
from portico.config.reader import Statement
from portico.net.networks import Network, network, unmapped

if TYPE_CHECKING:
    from portico.variables.session import Session

NO_RULE: Final = 0
ADMITTED: Final = 1
REFUSED: Final = 2

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


def parse_source(statement: Statement) -> Source:
    """Return whom an `allow` or a `deny` is about; the directives' parser. Raises ConfigError."""
    text = statement.args[0].text
    if text == "all":
        return Source(text, EVERYBODY, None)
    if text == "unix:":
        return Source(text, UNIX, None)
    found = network(text)
    if found is None or "." in text.partition("/")[2] or text == "255.255.255.255":  # nginx reads this as "no address"
        hint = "an address, a network such as 192.0.2.0/24 or 2001:db8::/32, `unix:` or `all`"
        raise statement.fail(f'invalid parameter "{text}"', statement.args[0], f"it may be: {hint}")
    if not found.exact:
        statement.warn(f"low address bits of {text} are meaningless", statement.args[0])
    return Source(text, NETWORK, found)


@final
class Rule:
    """One line; `size` of the address in bytes, 0 for clients on a Unix socket."""

    def __init__(self, size: int, shift: int, number: int, verdict: int) -> None:
        self.size = size
        self.shift = shift
        self.number = number
        self.verdict = verdict


@final
class AddressRules:
    """The rules of one block of the configuration, in the order written."""

    def __init__(self, texts: list[str], rules: list[Rule]) -> None:
        self.texts = texts
        self.rules = rules
        self.sizes = frozenset([rule.size for rule in rules])

    def verdict(self, session: Session) -> int:
        """Return what the first rule that fits says of the client, ADMITTED or REFUSED; NO_RULE when none does."""
        address = session.packed_address()
        size = len(address)
        # As in nginx, the rules for IPv4, if there are any, judge an IPv4 client that came over IPv6.
        if size == 16 and 4 in self.sizes:
            address = unmapped(address)
            size = len(address)
        if size not in self.sizes:
            return NO_RULE
        number = int.from_bytes(address, "big")
        for rule in self.rules:
            if rule.size == size and number >> rule.shift == rule.number:
                return rule.verdict
        return NO_RULE

    def describe(self) -> str:
        """Return the rules as written, for people."""
        return "; ".join(self.texts)


def nearest_rules(scope: Scope, allow: Directive[Source | None], deny: Directive[Source | None]) -> AddressRules | None:
    """Return the rules in force in a block, None without any: a block with an `allow` or a `deny` of its own inherits none."""
    nearest: Scope | None = scope
    while nearest is not None:
        lines = _lines(nearest.own_settings(allow), ADMITTED) + _lines(nearest.own_settings(deny), REFUSED)
        if lines:
            lines.sort(key=_by_order)
            rules = [rule for _, source, verdict in lines for rule in _rules_of(source, verdict)]
            return AddressRules([f"{'deny' if verdict == REFUSED else 'allow'} {source.text}" for _, source, verdict in lines], rules)
        nearest = nearest.parent
    return None


def _lines(settings: list[Setting[Source | None]], verdict: int) -> list[tuple[int, Source, int]]:
    return [(setting.where.order, setting.value, verdict) for setting in settings if setting.value is not None]


def _by_order(line: tuple[int, Source, int]) -> int:
    return line[0]


def _rules_of(source: Source, verdict: int) -> list[Rule]:
    if source.kind == EVERYBODY:
        return [Rule(4, 32, 0, verdict), Rule(16, 128, 0, verdict), Rule(0, 0, 0, verdict)]
    found = source.network
    if found is None:
        return [Rule(0, 0, 0, verdict)]
    return [Rule(found.size, found.size * 8 - found.length, found.number, verdict)]
