"""`expires`: Expires and Cache-Control. (nginx: ngx_http_headers_filter_module.c.)"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

from portico.codec.dates import parse_date
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.config.values import seconds_of
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import HeaderFilter
from portico.net.reactor import http_date
from portico.variables.template import Template, template

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response

OFF: Final = 0
EPOCH: Final = 1
MAX: Final = 2
ACCESS: Final = 3  # counted from now
MODIFIED: Final = 4  # counted from Last-Modified
DAILY: Final = 5  # at a time of day
_WORDS: Final[dict[str, int]] = {"epoch": EPOCH, "max": MAX, "off": OFF}

_SAFE: Final = frozenset((200, 201, 204, 206, 301, 302, 303, 304, 307, 308))
_ORDER: Final = 48  # before add_header, which adds to the Cache-Control set here
_DAY: Final = 86400


@final
class Moment:
    """When a response expires: kind, and seconds from the point that the kind says (of the day: DAILY)."""

    def __init__(self, kind: int, seconds: int) -> None:
        self.kind = kind
        self.seconds = seconds


def moment(text: str, kind: int) -> Moment:
    """Return what `text` says; `kind` is ACCESS or MODIFIED. Raises ValueError with nginx's reason."""
    if kind != MODIFIED and text in _WORDS:
        return Moment(_WORDS[text], 0)
    sign = text[:1]
    if sign == "@" and kind == MODIFIED:
        raise ValueError('daily time cannot be used with "modified" parameter')
    seconds = seconds_of(text[1:] if sign and sign in "@+-" else text)
    if seconds is None:
        raise ValueError("invalid value")
    if sign == "@":
        if seconds > _DAY:
            raise ValueError("daily time value must be less than 24 hours")
        return Moment(DAILY, seconds)
    return Moment(kind, -seconds if sign == "-" else seconds)


def next_time(seconds: int, now: int) -> int:
    """Return the next time, strictly after `now`, that it is `seconds` past midnight, local time."""
    day = time.localtime(now)
    hour, minute, second = seconds // 3600, seconds // 60 % 60, seconds % 60
    for later in (0, 1):
        found = int(time.mktime((day[0], day[1], day[2] + later, hour, minute, second, 0, 0, -1)))
        if found > now:
            break
    return found


@final
class Expires:
    """An `expires` as written: fixed, or a template to be read for each response."""

    def __init__(self, kind: int, fixed: Moment | None, variable: Template | None) -> None:
        self.kind = kind
        self.fixed = fixed
        self.variable = variable


def _expires(statement: Statement) -> Expires:
    kind = ACCESS
    last = statement.args[-1]
    if len(statement.args) == 2:
        if statement.args[0].text != "modified":
            raise statement.fail('"expires" directive invalid value', statement.args[0])
        kind = MODIFIED
    if "$" in last.text:
        return Expires(kind, None, template(statement, len(statement.args) - 1))
    try:
        return Expires(kind, moment(last.text, kind), None)
    except ValueError as error:
        raise statement.fail(f'"expires" directive {error}', last)


EXPIRES: Final = Directive[Expires](
    "expires", HTTP | SERVER | LOCATION | IF_LOCATION, _expires, args="1-2",
    default=Expires(OFF, Moment(OFF, 0), None), default_text="off",
    syntax="[modified] TIME | @TIME | epoch | max | off",
    doc="Sets `Expires` and `Cache-Control` in answers with status 200, 201, 204, 206, 301, 302, 303, 304, "
    "307 or 308: a time from now (or from the file's modification, with `modified`; a negative one "
    "means `no-cache`), a time of day (`@15h30m`), `epoch` (long ago, `no-cache`) or `max` (2037, ten "
    "years). May be a variable, with these words as its values.",
    example="location /assets/ { expires 1y; }",
)


@final
class ExpiresFilter(HeaderFilter):
    """Writes the two fields."""

    def __init__(self, settings: Expires) -> None:
        self.kind = settings.kind
        self.fixed = settings.fixed
        self.variable = settings.variable
        self._second = -1  # the last date written, and for which second
        self._date = b""

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        return b"expires" not in head.first and b"cache-control" not in head.first and self.kind != MODIFIED

    def appends(self) -> bool:
        return True

    def apply(self, request: Request, response: Response) -> None:
        if response.status not in _SAFE:
            return
        chosen = self.fixed
        if chosen is None:
            chosen = self._read(request)
            if chosen is None or chosen.kind == OFF:
                return
        now = int(request.reactor.wall())
        kind = chosen.kind
        if kind == EPOCH:
            self._set(response, b"Thu, 01 Jan 1970 00:00:01 GMT", b"no-cache")
            return
        if kind == MAX:
            self._set(response, b"Thu, 31 Dec 2037 23:55:55 GMT", b"max-age=315360000")
            return
        seconds = chosen.seconds
        if kind == DAILY:
            expires = next_time(seconds, now)
        else:
            modified = _modified(response) if kind == MODIFIED and seconds != 0 else -1
            expires = (modified if modified >= 0 else now) + seconds
        age = expires - now
        if age < 0 or (seconds < 0 and self.variable is None):
            self._set(response, self._format(expires), b"no-cache")
        else:
            self._set(response, self._format(expires), b"max-age=%d" % age)

    def _read(self, request: Request) -> Moment | None:
        assert self.variable is not None
        try:
            return moment(self.variable.render(request).decode("latin-1"), self.kind)
        except ValueError:
            return None

    def _format(self, second: int) -> bytes:
        if second != self._second:
            self._date = http_date(second)
            self._second = second
        return self._date

    def _set(self, response: Response, date: bytes, cache_control: bytes) -> None:
        if response.fields:
            response.replace(b"expires", b"", b"")
            response.replace(b"cache-control", b"", b"")
        response.add(b"Expires", date)
        response.add(b"Cache-Control", cache_control)


def _modified(response: Response) -> int:
    """Return when the content was modified, also as an upstream tells it; -1: nobody says."""
    return int(response.last_modified if response.last_modified >= 0 else parse_date(response.last_modified_text))


class ExpiresFeature(Feature):
    """Adds the filter unless it is `off`."""

    def location(self, build: LocationBuild) -> None:
        settings = build.scope.get(EXPIRES)
        if settings.fixed is None or settings.fixed.kind != OFF:
            build.add_header_filter(ExpiresFilter(settings), _ORDER)


FEATURE: Final = ExpiresFeature("http_expires", (EXPIRES,))
