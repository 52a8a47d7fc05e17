"""Parsers of values, to be a Directive's `parse`: nginx's units, ranges and messages.

The `*_of` functions parse a bare text (an option such as `max_size=10m`); they return None when it is not
valid.
"""

from collections.abc import Callable
from typing import Final

from portico.config.diagnostics import ConfigError
from portico.config.reader import Statement

_MAX: Final = (1 << 63) - 1

_KILO: Final = 1 << 10
_MEGA: Final = 1 << 20
_GIGA: Final = 1 << 30

# The units of a time in the order in which they must come, with their milliseconds.
_UNITS: Final = ("y", "M", "w", "d", "h", "m", "s", "ms")
_MSEC: Final[dict[str, int]] = {
    "y": 365 * 86400_000,
    "M": 30 * 86400_000,
    "w": 7 * 86400_000,
    "d": 86400_000,
    "h": 3600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}


# -- bare texts


def number_of(text: str) -> int | None:
    """Return a decimal number of digits only (ngx_atoi); None for anything else."""
    if not text.isascii() or not text.isdigit():
        return None
    number = _digits(text)
    return number if number <= _MAX else None


def port_of(text: str) -> int | None:
    """Return the number of a port, 1 to 65535; None for anything else."""
    number = number_of(text)
    return number if number is not None and 0 < number < 65536 else None


def octets(text: str) -> bytes:
    """Return the bytes that a text of the configuration was read from, UTF-8 or not."""
    return text.encode("utf-8", "surrogateescape")


def size_of(text: str) -> int | None:
    """Return the bytes that `512`, `8k`, `10m` mean (ngx_parse_size); None when `text` is malformed."""
    return _scaled(text, {"k": _KILO, "m": _MEGA})


def offset_of(text: str) -> int | None:
    """Return the bytes that `512`, `8k`, `10m`, `2g` mean (ngx_parse_offset); None when `text` is malformed."""
    return _scaled(text, {"k": _KILO, "m": _MEGA, "g": _GIGA})


def _scaled(text: str, units: dict[str, int]) -> int | None:
    scale = units.get(text[-1:].lower(), 1)
    number = number_of(text[:-1] if scale > 1 else text)
    if number is None or number > _MAX // scale:
        return None
    return number * scale


def time_of(text: str) -> float | None:
    """Return the seconds that `10`, `500ms`, `1h30m`, `1d 2h` mean; units up to weeks (ngx_parse_time, is_sec = 0). None: malformed.
    """
    msec = _time(text, 2, 8)
    return None if msec is None else msec / 1000


def seconds_of(text: str) -> int | None:
    """Return the seconds that `10`, `1h30m`, `1y` mean; units up to years (ngx_parse_time, is_sec = 1). None: malformed."""
    msec = _time(text, 0, 7)
    return None if msec is None else msec // 1000


def _time(text: str, first: int, last: int) -> int | None:
    """Return milliseconds; the units _UNITS[first:last] are allowed, each once and in order. None when `text` is malformed."""
    total = 0
    pos = 0
    digits = ""
    seen = False
    while pos < len(text):
        char = text[pos]
        pos += 1
        if char in "0123456789":
            digits += char
            seen = True
            continue
        unit = char
        if char == "m" and text[pos : pos + 1] == "s":
            unit = "ms"
            pos += 1
        if char == " ":  # nginx: a number and a space are seconds, and nothing may follow but a bare number
            unit = "s"
        if unit not in _UNITS[first:last]:
            return None
        index = _UNITS.index(unit)
        first = len(_UNITS) if char == " " else index + 1
        total += _digits(digits) * _MSEC[unit]
        digits = ""
        while text[pos : pos + 1] == " ":
            pos += 1
    total += _digits(digits) * 1000
    limit = _MAX if last == 8 else _MAX * 1000
    return total if seen and total <= limit else None


def _digits(digits: str) -> int:
    """Convert as int() does, but "" is 0; of thousands of digits the first ones do, as the number is too large anyway."""
    return int(digits.lstrip("0")[:32] or "0")


# -- parsers

_NUMBER: Final = "it is a whole number without a unit"
_SIZE: Final = "it is a size, such as 512, 8k or 1m"
_OFFSET: Final = "it is a size, such as 8k, 10m or 1g"
_SECONDS: Final = "it is a time in whole seconds, such as 30s, 10m, 1h or 1d"
TIME: Final = "it is a time, such as 500ms, 30s, 10m or 1h"


def flag(s: Statement) -> bool:
    """Parse `on` or `off`."""
    text = s.args[0].text.lower()
    if text == "on":
        return True
    if text == "off":
        return False
    value = s.args[0].text
    raise s.fail(f'invalid value "{value}" in "{s.name}" directive, it must be "on" or "off"', s.args[0])


def number(s: Statement) -> int:
    """Parse a number without unit."""
    return _valid(s, number_of(s.args[0].text), "invalid number", _NUMBER)


def size(s: Statement) -> int:
    """Parse a size with `k` or `m`; return bytes."""
    return _valid(s, size_of(s.args[0].text), hint=_SIZE)


def offset(s: Statement) -> int:
    """Parse a size with `k`, `m` or `g`; return bytes."""
    return _valid(s, offset_of(s.args[0].text), hint=_OFFSET)


def msec(s: Statement) -> float:
    """Parse a time; return seconds, exact to the millisecond."""
    seconds = time_of(s.args[0].text)
    if seconds is None:
        raise invalid(s, hint=TIME)
    return seconds


def seconds(s: Statement) -> int:
    """Parse a time; return whole seconds."""
    return _valid(s, seconds_of(s.args[0].text), hint=_SECONDS)


def text(s: Statement) -> str:
    """Return the argument as it is."""
    return s.args[0].text


def texts(s: Statement) -> list[str]:
    """Return all arguments as they are."""
    return [argument.text for argument in s.args]


def nothing(s: Statement) -> None:
    """Accept a directive that takes no argument and only opens a block."""


def present(s: Statement) -> bool:
    """Return True, for directives without arguments that mean "on" by standing there."""
    return True


_LEVELS: Final = 10  # letters that the names of subdirectories may have together (ngx_conf_set_path_slot)


def temp_path(s: Statement) -> list[str]:
    """Return a directory and up to three levels: ["client_body_temp", "1", "2"]. Raises ConfigError for levels nginx refuses."""
    total = 0
    for index, level in enumerate(s.args[1:], 1):
        number = number_of(level.text) or _LEVELS + 1
        total += number
        if total > _LEVELS:
            raise invalid(s, index=index)
    return [argument.text for argument in s.args]


def path(s: Statement) -> str:
    """Return a path, relative to the prefix."""
    return s.load.full_path(s.args[0].text)


def conf_path(s: Statement) -> str:
    """Return a path, relative to the directory of the configuration file."""
    return s.load.full_path(s.args[0].text, conf=True)


def buffers(s: Statement) -> tuple[int, int]:
    """Parse the number and size of buffers, as in `8 4k`; neither may be 0."""
    count = number_of(s.args[0].text)
    if not count:
        raise invalid(s)
    size = size_of(s.args[1].text)
    if not size:
        raise invalid(s, index=1)
    return count, size


def choice(table: dict[str, int]) -> Callable[[Statement], int]:
    """Return a parser of one word of the table, in any case."""

    def parse(s: Statement) -> int:
        return _looked_up(s, 0, table)

    return parse


def bits(table: dict[str, int]) -> Callable[[Statement], int]:
    """Return a parser of one or more words of the table, in any case; their values are or-ed."""

    def parse(s: Statement) -> int:
        found = 0
        for index, argument in enumerate(s.args):
            bit = _looked_up(s, index, table)
            if found & bit and index >= s.repeated:
                s.warn(f'duplicate value "{argument.text}"', argument)
            found |= bit
        return found

    return parse


def invalid(s: Statement, reason: str = "invalid value", index: int = 0, hint: str = "") -> ConfigError:
    """Return the error for an argument, as nginx words it: `"client_max_body_size" directive invalid value`."""
    return s.fail(f'"{s.name}" directive {reason}', s.args[index] if index < len(s.args) else None, hint)


def _valid(s: Statement, value: int | None, reason: str = "invalid value", hint: str = "") -> int:
    if value is None:
        raise invalid(s, reason, hint=hint)
    return value


def _looked_up(s: Statement, index: int, table: dict[str, int]) -> int:
    argument = s.args[index]
    value = table.get(argument.text)
    if value is not None:
        return value
    for word, meaning in table.items():
        if word.lower() == argument.text.lower():
            return meaning
    raise s.fail(f'invalid value "{argument.text}"', argument, f"it may be: {', '.join(table)}")
