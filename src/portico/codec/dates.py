"""Dates in header fields (RFC 9110 section 5.6.7): the three forms that a recipient must accept.

Sun, 06 Nov 1994 08:49:37 GMT     IMF-fixdate
Sunday, 06-Nov-94 08:49:37 GMT    RFC 850
Sun Nov  6 08:49:37 1994          asctime
"""

import calendar
import re
from typing import Final

# The months of which the first letter is enough. nginx looks no further, so that `DEC` and `Dez` are December, and `dec` is none.
_BY_FIRST_LETTER: Final[dict[bytes, int]] = {b"F": 2, b"S": 9, b"O": 10, b"N": 11, b"D": 12}
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# The name of the day and what follows the time are not looked at, as in nginx (ngx_parse_http_time).
_IMF: Final = re.compile(rb"[^,]*, *(\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d)")
_RFC850: Final = re.compile(rb"[^,]*, *(\d\d)-(\w{3})-(\d\d) (\d\d):(\d\d):(\d\d)")
_ASCTIME: Final = re.compile(rb"\w{3} (\w{3}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})")


def parse_date(text: bytes) -> float:
    """Return the seconds since the epoch, a whole number; -1 when `text` is not a date."""
    found = _IMF.match(text)
    if found is not None:
        day, month, year, hour, minute, second = found.groups()
        return _seconds(int(year), month, int(day), int(hour), int(minute), int(second))
    found = _RFC850.match(text)
    if found is not None:
        day, month, year, hour, minute, second = found.groups()
        short = int(year)
        full = short + (1900 if short >= 70 else 2000)
        return _seconds(full, month, int(day), int(hour), int(minute), int(second))
    found = _ASCTIME.match(text)
    if found is not None:
        month, day, hour, minute, second, year = found.groups()
        return _seconds(int(year), month, int(day), int(hour), int(minute), int(second))
    return -1.0


def is_in_another_zone(text: bytes) -> bool:
    """Return whether a date has a time zone other than GMT, which RFC 9110 section 5.6.7 demands. nginx takes every zone for GMT."""
    found = _IMF.match(text) or _RFC850.match(text)
    return found is not None and text[found.end() :].strip(b" \t") not in (b"", b"GMT")


def _month(name: bytes) -> int:
    """Return the number of a month by the letters that nginx looks at; 0 when it is none."""
    first = name[:1]
    if first == b"J":
        return 1 if name[1:2] == b"a" else 6 if name[2:3] == b"n" else 7
    if first == b"M":
        return 3 if name[2:3] == b"r" else 5
    if first == b"A":
        return 4 if name[1:2] == b"p" else 8
    return _BY_FIRST_LETTER.get(first, 0)


def _seconds(year: int, name: bytes, day: int, hour: int, minute: int, second: int) -> float:
    month = _month(name)
    if month == 0 or year < 1970 or hour > 23 or minute > 59 or second > 59:
        return -1.0
    if month == 2 and day == 29:
        if not calendar.isleap(year):
            return -1.0
    elif day < 1 or day > _DAYS[month - 1]:
        return -1.0
    return float(calendar.timegm((year, month, day, hour, minute, second)))
