"""Where lines of an access log go: a file (at once or through a buffer), a path made of variables, syslog.

What goes wrong here never reaches the client: the line is lost, and the error log says so, at most once a
minute for each writer. After a full disk nothing is written for a second, as a write to a full disk can
block.
"""

from __future__ import annotations

import errno
import os
import time
import zlib
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ALERT, CRIT, FULL_DISK_PAUSE, failed_call, open_append

if TYPE_CHECKING:
    from portico.errorlog import ErrorLog, LogFile
    from portico.syslog import Syslog
    from portico.variables.session import Session
    from portico.variables.template import Template

COMPLAINT_PAUSE: Final = 60.0  # seconds between two lines in the error log about one access log
_GZIP_WINDOW: Final = 31  # zlib's largest window, with a gzip wrapper


class LogWriter:
    """Takes finished lines."""

    def write(self, line: bytes, session: Session) -> None:
        """Write one line with its newline; `session` has the error log and the variables. Never raises."""
        raise NotImplementedError

    def flush(self) -> None:
        """Do what is due; called about once a second."""

    def finish(self) -> None:
        """Write out what is held and let go of what can be opened again."""


@final
class Complaints:
    """Tells the error log about one writer's trouble, at most once a minute."""

    def __init__(self) -> None:
        self._next = 0.0
        self._log: ErrorLog | None = None  # of the last session that was logged

    def remember(self, session: Session) -> None:
        """Send trouble of a later flush, which belongs to no session, to this session's error log."""
        self._log = session.error_log()

    def add(self, level: int, message: str, session: Session | None) -> None:
        """Write the line, unless one was written within the last minute."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + COMPLAINT_PAUSE
        if session is not None:
            session.log_error(level, f"{message} while logging request")
        elif self._log is not None:
            self._log.write(level, message)


@final
class FileWriter(LogWriter):
    """Lines for one file, each by one write, or through a buffer of `size` bytes."""

    def __init__(self, file: LogFile) -> None:
        self.file = file
        self.size = 0  # bytes that are held back; 0: none
        self.flush_time = 0.0  # seconds that a line may be held; 0.0: until the buffer is full
        self.gzip = 0  # compression level; 0: none
        self._held: list[bytes] = []
        self._held_size = 0
        self._due = 0.0  # when the oldest held line must be written (monotonic)
        self._paused_until = 0.0
        self._complaints = Complaints()

    def write(self, line: bytes, session: Session) -> None:
        """Write or hold the line; a line that does not fit sends what is held on its way first."""
        if self.size == 0:
            self._put(line, session)
            return
        if self._held_size + len(line) > self.size:
            self._write_held(session)
            if len(line) > self.size:
                self._put(line, session)
                return
        if not self._held:
            self._due = session.reactor.now + self.flush_time
            self._complaints.remember(session)
        self._held.append(line)
        self._held_size += len(line)

    def flush(self) -> None:
        """Write what has been held for `flush=`."""
        if self._held and self.flush_time > 0.0 and time.monotonic() >= self._due:
            self._write_held(None)

    def finish(self) -> None:
        """Write what is held."""
        self._write_held(None)

    def _write_held(self, session: Session | None) -> None:
        if not self._held:
            return
        data = b"".join(self._held)
        self._held = []
        self._held_size = 0
        self._put(data, session)

    def _put(self, data: bytes, session: Session | None) -> None:
        fd = self.file.fd
        if fd < 0 or (self._paused_until > 0.0 and time.monotonic() < self._paused_until):
            return
        if self.gzip:
            compressor = zlib.compressobj(self.gzip, zlib.DEFLATED, _GZIP_WINDOW)
            data = compressor.compress(data) + compressor.flush()
        try:
            written = os.write(fd, data)
            self._paused_until = 0.0
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._paused_until = time.monotonic() + FULL_DISK_PAUSE
            self._complaints.add(ALERT, failed_call(f'write() to "{self.file.path}"', error), session)
            return
        if written != len(data):
            text = f'write() to "{self.file.path}" was incomplete: {written} of {len(data)}'
            self._complaints.add(ALERT, text, session)


@final
class SyslogWriter(LogWriter):
    """Lines for a syslog server."""

    def __init__(self, syslog: Syslog) -> None:
        self.syslog = syslog

    def write(self, line: bytes, session: Session) -> None:
        """Send the line as one datagram; one that cannot be sent at once is lost."""
        self.syslog.send(line[:-1])


@final
class OpenLogFileCache:
    """What `open_log_file_cache` says. Times in seconds."""

    def __init__(self, most: int, inactive: float = 10.0, valid: float = 60.0, min_uses: int = 1) -> None:
        self.most = most  # 0: off
        self.inactive = inactive
        self.valid = valid
        self.min_uses = min_uses


@final
class _OpenLog:
    """A path that was logged to lately."""

    def __init__(self, now: float) -> None:
        self.fd = -1
        self.uses = 0
        self.used = now
        self.checked = now


class PathWriter(LogWriter):
    """Lines for a path with variables: the file is opened for each line, or stays open by `open_log_file_cache`."""

    def __init__(self, path: Template, prefix: str, cache: OpenLogFileCache) -> None:
        self.path = path
        self.cache = cache
        self._prefix: bytes = prefix.encode("utf-8", "surrogateescape")
        self._open: dict[bytes, _OpenLog] = {}  # the one used last is last
        self.complaints = Complaints()

    def write(self, line: bytes, session: Session) -> None:
        """Append the line to the file that the session's variables name."""
        path = self.path.render(session)
        if not path.startswith(b"/"):
            path = self._prefix + path
        shown = path.decode("utf-8", "backslashreplace")
        try:
            if not self.may_write(session):
                return
            opened = self._opened(path)
        except OSError as error:
            self.complaints.add(CRIT, failed_call(f'open() "{shown}"', error), session)
            return
        except ValueError:  # a NUL in the path
            self.complaints.add(CRIT, f'open() "{shown}" failed: the name holds a zero byte', session)
            return
        try:
            os.write(opened.fd, line)
        except OSError as error:
            self.complaints.add(ALERT, failed_call(f'write() to "{shown}"', error), session)
        if self.cache.most == 0 or opened.uses < self.cache.min_uses:
            _close(opened)

    def may_write(self, session: Session) -> bool:
        """Return whether a file may be made for this session; when not, that is logged."""
        return True

    def _opened(self, path: bytes) -> _OpenLog:
        now = time.monotonic()
        cache = self.cache
        found = self._open.pop(path, None)
        if found is None or now - found.used > cache.inactive:
            if found is not None:
                _close(found)
            found = _OpenLog(now)
        elif found.fd >= 0 and now - found.checked >= cache.valid:
            if not _is_same(found.fd, path):
                _close(found)
            found.checked = now
        if found.fd < 0:
            found.fd = open_append(path)
        found.uses += 1
        found.used = now
        if cache.most:
            self._open[path] = found
            if len(self._open) > cache.most:
                _close(self._open.pop(next(iter(self._open))))
        return found

    def flush(self) -> None:
        """Close what has not been used for a while."""
        if not self._open:
            return
        now = time.monotonic()
        for path in [p for p, opened in self._open.items() if now - opened.used > self.cache.inactive]:
            _close(self._open.pop(path))

    def finish(self) -> None:
        """Close all: the next lines open the files anew."""
        for opened in self._open.values():
            _close(opened)
        self._open.clear()


def _close(opened: _OpenLog) -> None:
    if opened.fd >= 0:
        os.close(opened.fd)
        opened.fd = -1


def _is_same(fd: int, path: bytes) -> bool:
    try:
        there = os.stat(path)
    except OSError:
        return False
    here = os.fstat(fd)
    return here.st_ino == there.st_ino and here.st_dev == there.st_dev
