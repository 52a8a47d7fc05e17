"""Configuration text -> statements: nginx's lexer, and `include`.

A statement is words ended by ";" or by "{ ... }".  Rules of a word, all nginx's (ngx_conf_read_token):

- `"..."` and `'...'` only at the start of a word; after the closing quote must come a space, ";", "{" or ")".
- A backslash takes the next character along, so that this cannot end the word.  Before a quote or a
  backslash it is dropped; before `t`, `r`, `n` the two make the control character; any other backslash
  stays.
- `${` does not open a block.
- `#` starts a comment only where a word could start.
- A word, or a comment, is at most about 4095 bytes long (nginx reads through a buffer of 4096).
- Ours alone: no word holds a zero byte, at which nginx stops to read it where it is a path or a name.
- What stands in the braces of `…_by_lua_block` is Lua, and left alone: nobody executes it, but what follows is read.

The first syntax error ends the reading; what was read so far is returned, so that its mistakes are reported too.
"""

import errno
import glob
import os
import re
from typing import Final, final

from portico.config.diagnostics import COMMAND_LINE, ConfigError
from portico.config.diagnostics import Where as Where
from portico.config.files import read_file
from portico.config.load import Load

_BUFFER: Final = 4096
"""NGX_CONF_BUFFER."""

MAX_DEPTH: Final = 100
"""How deep blocks and includes may nest; nginx goes on until it runs out of stack or of descriptors."""

_SPACE: Final = " \t\r\n"
_BLANK: Final = re.compile(r"[ \t\r\n]+")
_COMMENT: Final = re.compile(r"#[^\n]*")
_WORD: Final = re.compile(r"(?:\\[\s\S]|\$\{*+|[^ \t\r\n;{\\$])++")
_DOUBLE: Final = re.compile(r'(?:\\[\s\S]|[^"\\])*+')
_SINGLE: Final = re.compile(r"(?:\\[\s\S]|[^'\\])*+")
_ESCAPE: Final = re.compile(r"""\\(["'\\trn])""")
_QUOTED: Final = re.compile(r"\\([\s\S])")
_ESCAPED: Final = {"t": "\t", "r": "\r", "n": "\n"}
_LUA_BLOCK: Final = "_by_lua_block"
_LUA: Final = re.compile(  # a comment or a string, of one line or long, or a brace; what is long and has no end takes the rest
    r"""--\[(=*)\[[\s\S]*?(?:\]\1\]|\Z)|--[^\n]*|\[(=*)\[[\s\S]*?(?:\]\2\]|\Z)|"(?:\\[\s\S]|[^"\\\n])*+"|'(?:\\[\s\S]|[^'\\\n])*+'|[{}]"""
)

_SHOWN: Final = 40
_ZERO_BYTE: Final = "is the file text? one that an editor has saved as UTF-16 must be saved as UTF-8"
_BYTE_ORDER_MARK: Final = "\ufeff"

_OPEN: Final = 0  # what next_words() ended with: "{"
_END: Final = 1  # ";"
_CLOSE: Final = 2  # "}"
_EOF: Final = 3


@final
class Argument:
    """One word of a statement.

    `text` is without quotes and escapes (`$` is left alone), `span` its length in the source.
    """

    def __init__(self, text: str, where: Where, quoted: bool = False, span: int = 0) -> None:
        self.text = text
        self.where = where
        self.quoted = quoted
        self.span = span or len(text)

    def __repr__(self) -> str:
        return f"Argument({self.text!r})"


@final
class Statement:
    """A directive as written: its name, its arguments, and the statements in its braces (None: it has none).

    `where` is the name's position, `end` the line of the ";" or "{" (nginx reports errors there),
    `complete` is False when the closing "}" was never found.
    """

    def __init__(self, head: Argument, args: list[Argument], load: Load, end: int = 0) -> None:
        self.name = head.text
        self.args = args
        self.where = head.where
        self.block: list[Statement] | None = None
        self.load = load
        self.span = head.span
        self.end = end or head.where.line
        self.complete = True
        self.repeated = 0  # arguments (of a block: lines) at the beginning that are those of an earlier statement

    def __repr__(self) -> str:
        words = " ".join([self.name] + [a.text for a in self.args])
        return f"<{words}{';' if self.block is None else ' {...}'} at {self.where}>"

    def behind(self, before: "Statement") -> "Statement":
        """Return this statement with the arguments and the lines of another one in front of its own."""
        whole = Statement(Argument(self.name, self.where, span=self.span), [*before.args, *self.args], self.load, self.end)
        whole.repeated = len(before.args)
        if self.block is not None and before.block is not None:
            whole.block = [*before.block, *self.block]
            whole.repeated = len(before.block)
        return whole

    def fail(self, message: str, argument: Argument | None = None, hint: str = "") -> ConfigError:
        """Return the error to raise about this statement (about one argument of it)."""
        if argument is None:
            return ConfigError(message, self.where, hint, self.span, self.end)
        return ConfigError(message, argument.where, hint, argument.span, self.end)

    def fail_within(self, message: str, argument: Argument | None, part: str, position: int, span: int = 1) -> ConfigError:
        """Return the error about `span` characters from `position` of `part`, which is in the argument's text (None: in the name)."""
        error = self.fail(message, argument)
        text = self.name if argument is None else argument.text
        place = _place_within(self.load, error.where, text.find(part) + max(0, min(position, len(part) - 1)))
        if place is not None:
            error.where, error.span = place, span
        return error

    def warn(self, message: str, argument: Argument | None = None, hint: str = "") -> None:
        """Remember a doubt about this statement; it loads all the same."""
        error = self.fail(message, argument, hint)
        self.load.diagnostics.warn(message, error.where, hint, error.span, error.line)


def read(path: str, load: Load) -> list[Statement]:
    """Read a file with all that it includes.

    Mistakes, also a file that cannot be opened, go to `load.diagnostics`; what could be read is returned.
    """
    statements: list[Statement] = []
    try:
        _Reader(path, _text_of(path, load, None), load, 0, []).read(statements)
    except ConfigError as error:
        load.diagnostics.error(error)
    return statements


def read_text(text: str, path: str, load: Load) -> list[Statement]:
    """Read a text as if it were the file `path` (COMMAND_LINE: the value of -g, which cannot hold blocks)."""
    load.files[path] = text
    statements: list[Statement] = []
    try:
        _Reader(path, text, load, 0, []).read(statements)
    except ConfigError as error:
        load.diagnostics.error(error)
    return statements


def _text_of(path: str, load: Load, include: Statement | None) -> str:
    """Return the text of a file; bytes that are not UTF-8 survive as surrogates. Raises ConfigError."""
    try:
        data = read_file(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        number = error.errno or 0 if isinstance(error, OSError) else errno.ENOENT
        call = "pread()" if number == errno.EISDIR else "open()"
        reason = error.strerror if isinstance(error, OSError) else os.strerror(number)
        message = f'{call} "{path}" failed ({number}: {reason})'
        failed = ConfigError(message) if include is None else include.fail(message, include.args[0])
        failed.level = "crit" if number == errno.EISDIR else "emerg"
        raise failed
    text = data.decode("utf-8", "surrogateescape")
    load.files[path] = text
    return text


@final
class _Reader:
    """Reads one file; an include makes another one."""

    def __init__(self, path: str, text: str, load: Load, depth: int, within: list[str]) -> None:
        self.path = path
        self.within = within  # the files that include this one, the outermost first
        self.text = text
        self.load = load
        self.depth = depth
        self.pos = 0
        self.line = 1
        self.line_start = 0
        self.words: list[Argument] = []
        self.askew: list[tuple[Statement, int, int]] = []
        """Blocks whose "}" is in another column than their name, with its line and column; for the hint on a missing one."""

    def read(self, into: list[Statement]) -> None:
        """Read the whole text.  What is found is appended at once, so that it remains after a ConfigError."""
        self._block(into, None)

    def _block(self, into: list[Statement], opened: Statement | None) -> None:
        while True:
            end = self._next_words()
            if end == _CLOSE:
                if opened is None:
                    raise self._fail('unexpected "}"', self.pos - 1)
                opened.complete = True
                self._closed(opened)
                return
            if end == _EOF:
                if opened is not None:
                    error = self._fail('unexpected end of file, expecting "}"', self.pos)
                    error.hint = f'"{opened.name}" was opened in line {opened.where.line}{self._unclosed()}'
                    raise error
                return
            statement = Statement(self.words[0], self.words[1:], self.load, self.line)
            if statement.name.startswith(_BYTE_ORDER_MARK):
                self._marked(statement)
            if statement.name == "include":
                self._include(statement, into, end)
            elif end == _OPEN:
                self._open(statement, into)
            else:
                into.append(statement)

    def _closed(self, opened: Statement) -> None:
        column = self.pos - self.line_start
        if opened.where.line != self.line and opened.where.column != column:
            self.askew.append((opened, self.line, column))

    def _unclosed(self) -> str:
        """Return which block lacks its "}", going by the indentation: the first that seems to end in another column than it began."""
        lines = self.text.split("\n")
        for opened, line, column in self.askew:
            begins, ends = lines[opened.where.line - 1][: opened.where.column - 1], lines[line - 1][: column - 1]
            if not begins.strip() and not ends.strip():
                name, at = opened.name, opened.where.line
                return f'; going by the indentation it is "{name}", opened in line {at}, that is not closed'
        return ""

    def _open(self, statement: Statement, into: list[Statement]) -> None:
        if self.path == COMMAND_LINE:
            raise statement.fail("block directives are not supported in -g option")
        if self.depth >= MAX_DEPTH:
            hint = f'does "{self.path}" include itself?' if self.path in self.within else ""
            raise statement.fail(f"blocks and includes are nested more than {MAX_DEPTH} deep", hint=hint)
        statement.block = []
        statement.complete = False
        into.append(statement)
        if statement.name.endswith(_LUA_BLOCK):
            self._skip_lua(statement)
            return
        self.depth += 1
        self._block(statement.block, statement)
        self.depth -= 1

    def _skip_lua(self, statement: Statement) -> None:
        """Go to the end of a block of Lua. Raises ConfigError when there is none."""
        depth = 1
        for found in _LUA.finditer(self.text, self.pos):
            depth += {"{": 1, "}": -1}.get(found[0], 0)
            if depth == 0:
                self._advance(found.end())
                statement.complete = True
                return
        self._advance(len(self.text))
        error = self._fail('unexpected end of file, expecting "}"', self.pos)
        error.hint = f'"{statement.name}" was opened in line {statement.where.line}'
        raise error

    def _marked(self, statement: Statement) -> None:
        """Report a byte order mark, to nginx a letter of the first word; as it cannot be seen, it is named. The rest is read."""
        hint = "the file begins with a byte order mark, which editors do not show: save it as UTF-8 without one"
        self.load.diagnostics.error(statement.fail(f'unknown directive "{statement.name}"', hint=hint))
        statement.name = statement.name[len(_BYTE_ORDER_MARK) :]

    # -- include

    def _include(self, statement: Statement, into: list[Statement], end: int) -> None:
        if end == _OPEN:
            raise statement.fail('directive "include" is not terminated by ";"')
        if len(statement.args) != 1:
            self.load.diagnostics.error(statement.fail('invalid number of arguments in "include" directive'))
            return
        pattern = self.load.full_path(statement.args[0].text, conf=True)
        if not any(c in pattern for c in "*?["):
            self._include_file(pattern, statement, into)
            return
        for path in _matches(pattern):
            self._include_file(path, statement, into)

    def _include_file(self, path: str, statement: Statement, into: list[Statement]) -> None:
        if self.depth >= MAX_DEPTH:
            hint = f'does "{path}" include itself?' if path == self.path or path in self.within else ""
            argument = statement.args[0]
            raise statement.fail(f"blocks and includes are nested more than {MAX_DEPTH} deep", argument, hint)
        try:
            text = _text_of(path, self.load, statement)
        except ConfigError as error:
            self.load.diagnostics.error(error)
            return
        _Reader(path, text, self.load, self.depth + 1, [*self.within, self.path]).read(into)

    # -- words

    def _next_words(self) -> int:
        """Collect the words up to the next ";", "{", "}" or the end; return which."""
        self.words = []
        while True:
            self._skip_blank()
            if self.pos >= len(self.text):
                if self.words:
                    raise self._ended()
                return _EOF
            char = self.text[self.pos]
            if char in ";{}":
                return self._punctuation(char)
            if char in "\"'":
                self._quoted(char)
            else:
                self._word()

    def _punctuation(self, char: str) -> int:
        if bool(self.words) == (char == "}"):
            error = self._fail(f'unexpected "{char}"', self.pos)
            if self.words:
                error.hint = (
                    f'is a ";" missing after "{self.words[-1].text}" in line {self.words[-1].where.line}?'
                )
            raise error
        self.pos += 1
        if char == "}":
            return _CLOSE
        return _OPEN if char == "{" else _END

    def _word(self) -> None:
        start = self.pos
        found = _WORD.match(self.text, start)
        end = len(self.text) if found is None else found.end()  # None: a backslash is the last character
        where = self._where(start)
        self._bound(start, end, self._after(end), "")
        if end >= len(self.text):
            self.words.append(Argument(self.text[start:end], where))
            raise self._ended()
        self._take(where, start, end, end, False)

    def _quoted(self, quote: str) -> None:
        start = self.pos + 1
        found = (_DOUBLE if quote == '"' else _SINGLE).match(self.text, start)
        end = start if found is None else found.end()
        where = self._where(start - 1)
        self._bound(start, end, self._after(end + 1), quote)
        if end + 1 >= len(self.text):
            error = self._ended()
            if end >= len(self.text):
                error.where, error.span, error.hint = where, 1, f"the closing {quote} is missing"
            raise error
        self._take(where, start, end, end + 1, True)
        after = self.text[self.pos]
        if after not in " \t\r\n;{)":
            raise self._fail(f'unexpected "{after}"', self.pos)

    def _take(self, where: Where, start: int, end: int, resume: int, quoted: bool) -> None:
        raw = self.text[start:end]
        if "\0" in raw:
            raise ConfigError(f'zero byte in "{raw[:_SHOWN]}"', where, _ZERO_BYTE, resume - self.pos)
        text = _ESCAPE.sub(_unescaped, raw) if "\\" in raw else raw
        self.words.append(Argument(text, where, quoted, resume - self.pos))
        self._advance(resume)

    def _after(self, end: int) -> int:
        """Return the position of the last character that nginx reads for a word: its terminator (at `end`), one more after a space.
        """
        return end + 1 if end < len(self.text) and self.text[end] in _SPACE else end

    def _bound(self, start: int, end: int, last: int, quote: str) -> None:
        """Refuse what does not fit nginx's buffer when it reads the character at `last`."""
        if self._size(start, min(last, len(self.text) - 1)) < _BUFFER:
            return
        if quote and self._size(start, end) >= _BUFFER:
            message = f'too long parameter, probably missing terminating "{quote}" character'
        else:
            message = f'too long parameter "{self.text[start : start + 10]}..." started'
        raise self._fail(message, start)

    def _size(self, start: int, end: int) -> int:
        """Return the bytes between two positions (short ones are not counted: no character has more than 4 bytes)."""
        if end - start < _BUFFER // 4:
            return 0
        return len(self.text[start:end].encode("utf-8", "surrogateescape"))

    def _skip_blank(self) -> None:
        while self.pos < len(self.text):
            char = self.text[self.pos]
            found = (_COMMENT if char == "#" else _BLANK).match(self.text, self.pos)
            if found is None:
                return
            if char == "#":
                self._bound(self.pos, found.end(), found.end(), "")
            self._advance(found.end())

    # -- positions

    def _advance(self, to: int) -> None:
        newlines = self.text.count("\n", self.pos, to)
        if newlines:
            self.line += newlines
            self.line_start = self.text.rindex("\n", self.pos, to) + 1
        self.pos = to

    def _where(self, at: int) -> Where:
        """Return the position `at`, which must be in the current line."""
        self.load.order += 1
        return Where(self.path, self.line, at - self.line_start + 1, self.load.order)

    def _fail(self, message: str, at: int) -> ConfigError:
        return ConfigError(message, self._where(at))

    def _ended(self) -> ConfigError:
        """Return the error for a text that ended within a statement: nginx names its last line, the caret is where it began."""
        self._advance(len(self.text))
        if self.path == COMMAND_LINE:
            message = 'unexpected end of parameter, expecting ";"'
        else:
            message = 'unexpected end of file, expecting ";" or "}"'
        error = self._fail(message, self.pos)
        error.line = self.line
        if self.words:
            error.where, error.span = self.words[0].where, self.words[0].span
        return error


def _unescaped(found: re.Match[str]) -> str:
    char = found.group(1)
    return _ESCAPED.get(char, char)


def _place_within(load: Load, word: Where | None, position: int) -> Where | None:
    """Return where the character stands that became the one at `position` of a word's text; None when the text is not in memory."""
    lines = [] if word is None else load.files.get(word.path, "").split("\n")
    if word is None or position < 0 or not 0 < word.line <= len(lines):
        return None
    text = "\n".join(lines[word.line - 1 :])
    at = word.column - 1
    if text[at : at + 1] in ("'", '"'):
        at += 1
    for _ in range(position):
        found = _ESCAPE.match(text, at)
        at = at + 1 if found is None else found.end()
    if at >= len(text):
        return None
    return Where(word.path, word.line + text.count("\n", 0, at), at - text.rfind("\n", 0, at), word.order)


def _matches(pattern: str) -> list[str]:
    """Return what glob(3) finds in the C locale: sorted by bytes, `[^a]` means `[!a]`, a backslash quotes."""
    pattern = _QUOTED.sub(lambda found: glob.escape(found.group(1)), pattern.replace("[^", "[!"))
    return sorted(glob.glob(pattern), key=os.fsencode)
