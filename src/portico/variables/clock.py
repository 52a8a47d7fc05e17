"""Variables of the clock, and how times are written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

from portico.variables.variable import PER_REQUEST, Variable

if TYPE_CHECKING:
    from portico.variables.session import Session

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@final
class LocalTime:
    """The two spellings of local time that logs use, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._common: bytes = b""
        self._iso8601: bytes = b""

    def common(self, now: float) -> bytes:
        """Return `28/Sep/1970:12:00:00 +0600`. `now`: seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._update(second)
        return self._common

    def iso8601(self, now: float) -> bytes:
        """Return `1970-09-28T12:00:00+06:00`. `now`: seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._update(second)
        return self._iso8601

    def _update(self, second: int) -> None:
        t = time.localtime(second)
        sign = "-" if t.tm_gmtoff < 0 else "+"
        hours, minutes = divmod(abs(t.tm_gmtoff) // 60, 60)
        clock = f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
        self._common = (
            f"{t.tm_mday:02d}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{clock} {sign}{hours:02d}{minutes:02d}"
        ).encode()
        self._iso8601 = (
            f"{t.tm_year}-{t.tm_mon:02d}-{t.tm_mday:02d}T{clock}{sign}{hours:02d}:{minutes:02d}"
        ).encode()
        self._second = second


_LOCAL_TIME: Final = LocalTime()


def seconds_text(seconds: float) -> bytes:
    """Return `12.345`: seconds with milliseconds cut off, never negative, as nginx writes times."""
    milliseconds = int(seconds * 1000.0)
    if milliseconds <= 0:
        return b"0.000"
    return b"%d.%03d" % (milliseconds // 1000, milliseconds % 1000)


def _msec(session: Session) -> bytes | None:
    return seconds_text(session.reactor.wall())


def _time_local(session: Session) -> bytes | None:
    return _LOCAL_TIME.common(session.reactor.wall())


def _time_iso8601(session: Session) -> bytes | None:
    return _LOCAL_TIME.iso8601(session.reactor.wall())


CLOCK_VARIABLES: Final[tuple[Variable[Session], ...]] = (
    Variable("msec", _msec, PER_REQUEST, "Seconds since 1970 with milliseconds."),
    Variable("time_iso8601", _time_iso8601, PER_REQUEST, "Local time: `2026-11-23T08:07:42+01:00`."),
    Variable("time_local", _time_local, PER_REQUEST, "Local time: `23/Nov/2026:08:07:42 +0100`."),
)
