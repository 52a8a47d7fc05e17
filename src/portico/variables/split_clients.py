"""A variable that divides clients into shares: what `split_clients` makes. (nginx: ngx_http_split_clients_module.c; the same client
lands in the same share.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, final

from portico.config.load import Load
from portico.config.reader import Statement
from portico.variables.template import template, variable_name
from portico.variables.variable import NESTING, S, Variables

if TYPE_CHECKING:
    from portico.variables.session import Session

_M: Final = 0x5BD1E995
_32: Final = 0xFFFFFFFF
_WHOLE: Final = 10000  # a share is counted in hundredths of a percent
_PERCENT: Final = re.compile(r"([0-9]*)(?:\.([0-9]{0,2}))?%")


def murmur_hash2(data: bytes) -> int:
    """Return MurmurHash2 of Austin Appleby with seed 0, 32 bits (ngx_murmur_hash2)."""
    length = len(data)
    h = length & _32
    at = 0
    while length - at >= 4:
        k = data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24
        k = k * _M & _32
        k ^= k >> 24
        k = k * _M & _32
        h = (h * _M & _32) ^ k
        at += 4
    left = length - at
    if left == 3:
        h ^= data[at + 2] << 16
    if left >= 2:
        h ^= data[at + 1] << 8
    if left >= 1:
        h ^= data[at]
        h = h * _M & _32
    h ^= h >> 13
    h = h * _M & _32
    return h ^ (h >> 15)


@final
class Split:
    """One `split_clients`: upper bounds of the hash, each with its value; the last bound may be open (`*`)."""

    def __init__(self, statement: Statement, name: str) -> None:
        self.statement = statement
        self.name = name
        self.source = template(statement)
        self.bounds: list[int] = []  # exclusive; -1 is open
        self.values: list[bytes] = []

    def get(self, session: Session) -> bytes | None:
        """Return the value of the share that the text falls into; not found when no share is left for it."""
        known = session.values
        if known is not None and self.name in known:
            return known[self.name]
        if not NESTING.enter(session, self.name):
            return None
        try:
            number = murmur_hash2(self.source.render(session))
        finally:
            NESTING.leave()
        for index, bound in enumerate(self.bounds):
            if bound < 0 or number < bound:
                return self.values[index]
        return None


def parse_split(statement: Statement) -> Split:
    """Return a block as a `Split`; the directive's parser. Raises ConfigError."""
    made = Split(statement, variable_name(statement, 1))
    total = 0
    bound = 0  # the parts are rounded one by one, as in nginx: 99 of 1 % end a little before one of 99 %
    for line in statement.block or []:
        share = _share(line)
        if len(line.args) != 1 or line.block is not None:
            raise line.fail("invalid number of parameters: a share and a value")
        total = total + share if share else _WHOLE
        if total > _WHOLE:
            raise line.fail("percent total is greater than 100%")
        bound += share * _32 // _WHOLE
        made.bounds.append(bound if share else -1)
        made.values.append(line.args[0].text.encode("utf-8", "surrogateescape"))
    return made


def _share(line: Statement) -> int:
    """Return hundredths of a percent; 0 for `*`."""
    text = line.name
    if text == "*":
        return 0
    found = _PERCENT.fullmatch(text)
    share = 0 if found is None else int(found.group(1) or "0") * 100 + int((found.group(2) or "").ljust(2, "0"))
    if not share:
        raise line.fail(f'invalid percent value "{text}"')
    return share


def declare_splits(splits: Sequence[Split | None], variables: Variables[S], load: Load) -> None:
    """Make the variables known; mistakes go to the load's diagnostics."""
    for made in splits:
        if made is not None and not variables.define(made.name, made.get):
            load.diagnostics.error(made.statement.fail(f'the duplicate "{made.name}" variable', made.statement.args[1]))
