"""Statements -> scopes: every directive is checked against its declaration and parsed.

The checks come in nginx's order (name, context, braces, number of arguments, duplicate, value) and in its
words. Each statement that fails is reported and left out; building goes on.
"""

from collections.abc import Iterable, Sequence
from typing import Final, final

from portico.config.absent import advice
from portico.config.diagnostics import ConfigError
from portico.config.directive import MAIN, Directive, Scope, context_names
from portico.config.load import Load
from portico.config.reader import Statement

_HABITS: Final = {
    "ssl": 'nginx has dropped it; instead: "listen 443 ssl"',
    "else": 'there is no "else": write a second "if", or a map',
    "//": 'a comment begins with "#"',
    "(": 'a space is missing before "("',
    "}": 'a regular expression with "{" or "}" needs quotes',
}
"""What people write that is no directive, or a part of it, and what to say then."""


def build(
    statements: list[Statement], directives: Sequence[Directive[object]], load: Load, context: int = MAIN
) -> Scope:
    """Return the tree of blocks; mistakes go to `load.diagnostics`."""
    root = Scope(context, load)
    _Builder(directives, load).fill(root, statements)
    return root


@final
class _Builder:
    def __init__(self, directives: Sequence[Directive[object]], load: Load) -> None:
        self.load = load
        self.by_name: dict[str, list[Directive[object]]] = {}
        for directive in directives:
            self.by_name.setdefault(directive.name, []).append(directive)

    def fill(self, scope: Scope, statements: list[Statement]) -> None:
        """Check and parse the statements of one block."""
        for statement in statements:
            try:
                self._add(scope, statement)
            except ConfigError as error:
                if error.where is None:
                    error = statement.fail(error.message, hint=error.hint)
                self.load.diagnostics.error(error)

    def _add(self, scope: Scope, statement: Statement) -> None:
        directive = self._declared(scope.context, statement)
        _check_shape(directive, statement)
        if directive.block:
            self._open(scope, directive, statement)
            return
        _check_duplicate(scope, directive, statement)
        if statement.complete:  # else its end is missing, which was reported
            whole = scope.join(directive, statement) if directive.joins else statement
            scope.add(directive, directive.parse(whole), statement.where)

    def _open(self, scope: Scope, directive: Directive[object], statement: Statement) -> None:
        """Parse a block and what is inside: a mistake in the block's arguments does not hide those inside it. Raises ConfigError."""
        child = Scope(directive.block, self.load, scope, statement, directive)
        try:
            _check_duplicate(scope, directive, statement)
            child.value = directive.parse(statement)
            scope.add(directive, child.value, statement.where)
            scope.children.append(child)
        finally:
            if scope.context == MAIN:
                self.load.block = directive.name
            self.fill(child, statement.block or [])
            if scope.context == MAIN:
                self.load.block = ""

    def _declared(self, context: int, statement: Statement) -> Directive[object]:
        known = self.by_name.get(statement.name)
        if known is None:
            hint = self._meant(context, statement)
            raise statement.fail(f'unknown directive "{statement.name}"', hint=hint)
        for directive in known:
            if directive.contexts & context:
                return directive
        contexts = 0
        for directive in known:
            contexts |= directive.contexts
        hint = f"it may stand in: {', '.join(context_names(contexts))}"
        raise statement.fail(f'"{statement.name}" directive is not allowed here', hint=hint)

    def _meant(self, context: int, statement: Statement) -> str:
        """Return a hint at the nearest known name; at equal distance one that may stand here, then the first by alphabet."""
        name = statement.name
        for written_so, hint in _HABITS.items():
            if name == written_so or (written_so in "(}" and written_so in name):
                return hint
        absent = advice(name, self.by_name)
        if absent:
            return absent
        best = ""
        lower = name.lower()
        best_rank = (1 + max(1, min(3, len(name) // 3)), False)
        for known in sorted(self.by_name):
            if abs(len(known) - len(name)) > 3:
                continue
            misplaced = not any(d.contexts & context for d in self.by_name[known])
            rank = (distance(lower, known), misplaced)
            if rank < best_rank:
                best, best_rank = known, rank
        return f'did you mean "{best}"?' if best else ""


def _check_shape(directive: Directive[object], statement: Statement) -> None:
    name = statement.name
    if not directive.has_block() and statement.block is not None:
        raise statement.fail(f'directive "{name}" is not terminated by ";"', hint=_unended(statement))
    if directive.has_block() and statement.block is None:
        raise statement.fail(f'directive "{name}" has no opening "{{"')
    if not directive.takes(len(statement.args)):
        forms = directive.syntax.split("\n") if directive.syntax else []
        hint = _unended(statement) or "".join(
            f"{', or: ' if number else 'syntax: '}{written(directive, form)}" for number, form in enumerate(forms)
        )
        raise statement.fail(f'invalid number of arguments in "{name}" directive', hint=hint)


def written(directive: Directive[object], form: str) -> str:
    """Return a line of a directive's syntax as it stands in a configuration: it may lack the name and what ends a statement."""
    text = form.strip()
    if not (text == directive.name or text.startswith((directive.name + " ", directive.name + ";"))):
        text = f"{directive.name} {text}".rstrip()
    return text if text.endswith((";", "}")) else text + ";"


def _unended(statement: Statement) -> str:
    """Return a hint at a missing ";", the usual reason why a statement goes over several lines by mistake; "" for one line."""
    last = statement.where.line
    for argument in statement.args:
        if argument.where.line != last:
            return f'is a ";" missing at the end of line {last}?'
        last = argument.where.line
    return ""


def _check_duplicate(scope: Scope, directive: Directive[object], statement: Statement) -> None:
    if directive.many or directive.joins:
        return
    given = scope.own_settings(directive)
    if given:
        raise statement.fail(
            f'"{statement.name}" directive is duplicate', hint=f"it was given in {given[0].where} already"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known word that `name` was probably meant to be; "" when none is near."""
    best = ""
    best_distance = 1 + max(1, min(3, len(name) // 3))
    for word in sorted(known):
        if abs(len(word) - len(name)) < best_distance:
            steps = distance(name, word)
            if steps < best_distance:
                best, best_distance = word, steps
    return best


def distance(one: str, other: str) -> int:
    """Return how many letters to insert, drop, change or swap with their neighbour to make one word the other."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one):
        row = [i + 1]
        for j, b in enumerate(other):
            cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a != b))
            if i and j and a == other[j - 1] and one[i - 1] == b:
                cost = min(cost, before[j - 1] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
