"""Finds commands in the bytes of a page, wherever it is cut into pieces. (Sans-IO.)

    <!--# include virtual="/head.html" wait='yes' -->
         │       │       │└ VALUE            │    └ END_DASH, END
         │       │       └ BEFORE_VALUE      └ AFTER_VALUE
         │       └ NAME, AFTER_NAME, and BEFORE_NAME before it
         └ BEFORE_COMMAND, COMMAND

What breaks the grammar is skipped up to the next `-->`, and is a mistake. A command that the page ends in the middle of is dropped.
The length of everything that is held is bounded: of a command and of names by nginx's constants, of a value by `ssi_value_length`.
"""

from __future__ import annotations

from typing import Final, final

# What `next` has found
NOTHING: Final = 0  # … more bytes are needed
TEXT: Final = 1
COMMAND: Final = 2
MISTAKE: Final = 3

_START: Final = b"<!--#"
_LONGEST_NAME: Final = 32  # of a command, and of a parameter
_MOST_KEPT: Final = 17  # parameters: with more than 16, a command is refused

_IN_TEXT: Final = 0
_BEFORE_COMMAND: Final = 1
_IN_COMMAND: Final = 2
_BEFORE_NAME: Final = 3
_IN_NAME: Final = 4
_AFTER_NAME: Final = 5
_BEFORE_VALUE: Final = 6
_IN_VALUE: Final = 7
_ESCAPED: Final = 8  # in a value, behind a backslash
_AFTER_VALUE: Final = 9
_END_DASH: Final = 10  # behind the first "-" of the end
_END: Final = 11  # behind the second
_BROKEN: Final = 12
_BROKEN_DASH: Final = 13
_BROKEN_END: Final = 14

_DASH: Final = 0x2D
_EQUALS: Final = 0x3D
_GREATER: Final = 0x3E
_BACKSLASH: Final = 0x5C
_QUOTE: Final = 0x22
_APOSTROPHE: Final = 0x27


def _is_blank(char: int) -> bool:
    return char == 0x20 or char == 0x0D or char == 0x0A or char == 0x09


@final
class Parameter:
    """One parameter of a command; its value as written, backslashes and all."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.value: bytes = b""
        self.quote = _QUOTE

    def text(self) -> bytes:
        """Return it as it stands in a page."""
        return b'%b=%c%b%c' % (self.name, self.quote, self.value, self.quote)


@final
class Parser:
    """The parser of one page: `feed` bytes, then ask for what is `next` until that is NOTHING."""

    def __init__(self, longest_value: int) -> None:
        self.longest_value = longest_value
        self.text: bytes = b""  # TEXT: what stands between commands
        self.command: bytes = b""  # COMMAND: its name
        self.parameters: list[Parameter] = []
        self.message: str = ""  # MISTAKE: what is wrong, for the error log
        self._state = _IN_TEXT
        self._held: bytes = b""
        self._at = 0
        self._beginning: bytes = b""  # of a command, perhaps: the end of the text so far
        self._word = bytearray()  # the name or the value that is being read

    def feed(self, data: bytes) -> None:
        """Add the next bytes of the page, when all before were used."""
        self._held = self._beginning + data if self._beginning else data
        self._beginning = b""
        self._at = 0

    def next(self) -> int:
        """Go on to the next text, command or mistake, and return which it is."""
        while self._at < len(self._held):
            if self._state == _IN_TEXT:
                if self._read_text():
                    return TEXT
                continue
            char = self._held[self._at]
            self._at += 1
            found = self._step(char)
            if found != NOTHING:
                self._state = _IN_TEXT
                return found
        return NOTHING

    def finish(self) -> bytes:
        """Return what of the text was held back, at the end of the page."""
        rest = self._beginning
        self._beginning = b""
        return rest

    def _read_text(self) -> bool:
        """Read up to the start of a command; return whether there is any text before it."""
        held = self._held
        start = self._at
        found = held.find(_START, start)
        if found >= 0:
            self._at = found + len(_START)
            self._state = _BEFORE_COMMAND
            end = found
        else:
            self._at = len(held)
            end = len(held) - _length_of_beginning(held, start)
            self._beginning = held[end:]
        if end == start:
            return False
        self.text = held[start:end]
        return True

    def _step(self, char: int) -> int:
        """Take one character of a command; return COMMAND or MISTAKE at its end."""
        state = self._state
        if state == _IN_VALUE:
            self._value_character(char)
        elif state == _IN_NAME:
            self._name_character(char)
        elif state == _IN_COMMAND:
            self._command_character(char)
        elif state == _ESCAPED:
            self._state = _IN_VALUE
            self._add_to_value(char)
        elif state >= _BROKEN:
            return self._broken_character(char)
        elif state == _END:
            if char == _GREATER:
                return COMMAND
            self._break(f'unexpected "{chr(char)}" symbol in "{_shown(self.command)}" SSI command')
        elif state == _END_DASH:
            self._state = _END
            if char != _DASH:
                self._break(f'unexpected "{chr(char)}" symbol in "{_shown(self.command)}" SSI command')
        elif not _is_blank(char):
            self._begin(state, char)
        elif state == _AFTER_VALUE:
            self._state = _BEFORE_NAME
        return NOTHING

    def _begin(self, state: int, char: int) -> None:
        """Take the first character that is no white space where something may begin."""
        if state == _BEFORE_COMMAND:
            self._word = bytearray((char,))
            self.command = b""
            self.parameters = []
            self._state = _IN_COMMAND
        elif state == _BEFORE_NAME:
            if char == _DASH:
                self._state = _END_DASH
            else:
                self._word = bytearray((char,))
                self._state = _IN_NAME
        elif state == _AFTER_VALUE:
            if char == _DASH:
                self._state = _END_DASH
            else:
                self._break(f'unexpected "{chr(char)}" symbol after "{_shown(self._last().value)}" value of {self._place()}')
        elif state == _AFTER_NAME and char == _EQUALS:
            self._state = _BEFORE_VALUE
        elif state == _BEFORE_VALUE and char in (_QUOTE, _APOSTROPHE):
            self._last().quote = char
            self._word = bytearray()
            self._state = _IN_VALUE
        else:
            where = "after" if state == _AFTER_NAME else "before value of"
            self._break(f'unexpected "{chr(char)}" symbol {where} {self._place()}')
            if char == _DASH:
                self._state = _BROKEN_DASH

    def _command_character(self, char: int) -> None:
        if _is_blank(char) or char == _DASH:
            self.command = bytes(self._word)
            self._state = _END_DASH if char == _DASH else _BEFORE_NAME
        elif len(self._word) == _LONGEST_NAME:
            self._break(f'the "{_shown(bytes(self._word))}{chr(char)}..." SSI command is too long')
        else:
            self._word.append(char)

    def _name_character(self, char: int) -> None:
        if _is_blank(char) or char == _EQUALS:
            parameter = Parameter(bytes(self._word))
            if len(self.parameters) == _MOST_KEPT:
                self.parameters[_MOST_KEPT - 1] = parameter
            else:
                self.parameters.append(parameter)
            self._state = _BEFORE_VALUE if char == _EQUALS else _AFTER_NAME
            return
        name = _shown(bytes(self._word))
        if char == _DASH:
            self._break(f'unexpected "-" symbol after "{name}" parameter in "{_shown(self.command)}" SSI command')
            self._state = _BROKEN_DASH
        elif len(self._word) == _LONGEST_NAME:
            self._break(f'too long "{name}{chr(char)}..." parameter in "{_shown(self.command)}" SSI command')
        else:
            self._word.append(char)

    def _value_character(self, char: int) -> None:
        parameter = self._last()
        if char == parameter.quote:
            parameter.value = bytes(self._word)
            self._state = _AFTER_VALUE
            return
        if char == _BACKSLASH:
            self._state = _ESCAPED
        self._add_to_value(char)

    def _add_to_value(self, char: int) -> None:
        if len(self._word) == self.longest_value:
            self._break(f'too long "{_shown(bytes(self._word))}{chr(char)}..." value of {self._place()}')
        else:
            self._word.append(char)

    def _broken_character(self, char: int) -> int:
        if self._state == _BROKEN:
            if char == _DASH:
                self._state = _BROKEN_DASH
            else:  # however long it is, it is skipped at once
                found = self._held.find(b"-", self._at)
                self._at = len(self._held) if found < 0 else found
        elif self._state == _BROKEN_DASH:
            self._state = _BROKEN_END if char == _DASH else _BROKEN
        elif char == _GREATER:
            return MISTAKE
        else:
            self._state = _BROKEN
        return NOTHING

    def _break(self, message: str) -> None:
        self.message = message
        self._state = _BROKEN

    def _last(self) -> Parameter:
        return self.parameters[len(self.parameters) - 1]

    def _place(self) -> str:
        return f'"{_shown(self._last().name)}" parameter in "{_shown(self.command)}" SSI command'


def _length_of_beginning(held: bytes, start: int) -> int:
    """Return how many bytes at the end may be the beginning of a command."""
    for length in range(min(len(_START) - 1, len(held) - start), 0, -1):
        if held.endswith(_START[:length]):
            return length
    return 0


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
