"""What was wrong with a configuration, and where: one error type and the list that collects them.

nginx stops at the first mistake.  Portico goes on, collects every mistake of one load, and reports them in
the order in which nginx would have met them.  Each starts with nginx's own line, so that scripts and habits
that look for it keep working; the source line, a caret under the offending word and a hint follow.
"""

from typing import Final, final

COMMAND_LINE: Final = "command line"
"""The `path` of what was given by -g; nginx names no line for it."""

_BOLD: Final = "\x1b[1m"
_RED: Final = "\x1b[1;31m"
_YELLOW: Final = "\x1b[1;33m"
_CYAN: Final = "\x1b[36m"
_PLAIN: Final = "\x1b[0m"

_SHOWN: Final = 160
"""Longest part of a source line that is shown; a generated file may hold lines of megabytes."""


@final
class Where:
    """A position in a configuration file; `line` and `column` count from 1."""

    def __init__(self, path: str, line: int, column: int, order: int = 0) -> None:
        self.path = path
        self.line = line
        self.column = column
        self.order = order
        """Grows with every word read, through includes too: sorting by it gives the order nginx reads in."""

    def __str__(self) -> str:
        return self.at(self.line)

    def __repr__(self) -> str:
        return f"Where({self.path!r}, {self.line}, {self.column})"

    def at(self, line: int) -> str:
        """Return `path:line` as nginx writes it, for another line of the same file."""
        return self.path if self.path == COMMAND_LINE else f"{self.path}:{line}"


class ConfigError(Exception):
    """A mistake in the configuration.

    `message` is in nginx's words and without position.  `where` is the word at fault (None: no file is),
    `span` its length in the source, `line` the line that nginx names (it names the one where the directive
    *ends*; 0: that of `where`), `hint` a sentence on what to do instead.  `level` is the error log's word for
    how bad it is; nginx says `crit` of a file that opens and cannot be read.
    """

    def __init__(
        self, message: str, where: Where | None = None, hint: str = "", span: int = 1, line: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.span = span
        self.line = line
        self.level = "emerg"

    def __str__(self) -> str:
        """Return the message with its position, as nginx ends its own line."""
        if self.where is None:
            return self.message
        return f"{self.message} in {self.where.at(self.line or self.where.line)}"


@final
class Diagnostics:
    """The mistakes (`errors`, the load fails) and doubts (`warnings`, it does not) of one load."""

    def __init__(self, files: dict[str, str] | None = None) -> None:
        self.files: dict[str, str] = {} if files is None else files
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []

    def error(self, error: ConfigError) -> None:
        """Remember a mistake."""
        self.errors.append(error)

    def warn(
        self, message: str, where: Where | None = None, hint: str = "", span: int = 1, line: int = 0
    ) -> None:
        """Remember a doubt; the configuration loads all the same."""
        warning = ConfigError(message, where, hint, span, line)
        warning.level = "warn"
        self.warnings.append(warning)

    def render(self, program: str = "portico", colour: bool = False) -> str:
        """Return all warnings and errors in reading order, each ended by a newline; "" when there are none.

        What is wrong in a file that is included several times is reported once.
        """
        found = sorted(self.warnings + self.errors, key=_reading_order)
        return "".join(dict.fromkeys(self._one(error, program, colour) for error in found))

    def _one(self, error: ConfigError, program: str, colour: bool) -> str:
        paint = _YELLOW if error.level == "warn" else _RED
        lines = [_coloured(f"{program}: [{error.level}] {printable(str(error))}", _BOLD, colour)]
        gutter = 0
        if error.where is not None:
            source = self._source(error.where)
            if source is not None:
                number = f"{error.where.line:5}"
                gutter = len(number) + 1
                shown, caret = _excerpt(source, error.where.column, error.span)
                lines.append(f"{_coloured(f'{number} |', _CYAN, colour)} {shown}")
                bar = _coloured(f"{' ' * len(number)} |", _CYAN, colour)
                lines.append(f"{bar} {_coloured(caret, paint, colour)}")
        if error.hint:
            lines.append(f"{' ' * gutter}{'= ' if gutter else '  '}{printable(error.hint)}")
        return "\n".join(lines) + "\n"

    def _source(self, where: Where) -> str | None:
        """Return the source line at `where`, without its end; None when the text was never read or is too short."""
        text = self.files.get(where.path)
        if text is None:
            return None
        lines = text.split("\n")  # not splitlines(): only LF counts as a line for nginx
        return lines[where.line - 1] if 0 < where.line <= len(lines) else None


def _reading_order(error: ConfigError) -> tuple[int, int]:
    where = error.where
    return (1, 0) if where is None else (0, where.order)


def _excerpt(source: str, column: int, span: int) -> tuple[str, str]:
    """Return the part of the line to show, and the caret line under it (tabs stay tabs, so that they align)."""
    start = column - 1
    cut = max(0, start - _SHOWN // 2)
    shown = source[cut : cut + _SHOWN].rstrip()
    lead = source[cut:start]
    width = max(1, min(span, len(shown) - len(lead)))
    pad = "".join("\t" if c == "\t" else " " for c in lead)
    return printable(shown), pad + "^" * width


def printable(text: str) -> str:
    """Return the text with "?" for control characters and stray bytes: a configuration must not drive the terminal."""
    return "".join(c if c.isprintable() or c in "\t " else "?" for c in text)


def _coloured(text: str, paint: str, colour: bool) -> str:
    return f"{paint}{text}{_PLAIN}" if colour else text
