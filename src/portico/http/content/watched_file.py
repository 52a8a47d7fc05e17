"""Files that the worker reads while it serves, and reads again when they change: users, keys.

nginx opens such a file for each request. Here each request asks for its status only (about a microsecond), so that a change counts as
soon as it does in nginx, and the text is parsed once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

from portico.config.files import read_file, read_with_status
from portico.config.reader import Statement
from portico.errorlog import failed_call
from portico.variables.template import Template, template

if TYPE_CHECKING:
    from portico.http.request import Request

T = TypeVar("T")

_MOST: Final = 64  # a path may hold variables: more than this many are not remembered
_UNSETTLED_NS: Final = 50_000_000  # time stamps are coarse: a file just written may be written again under the same stamp

Mark = tuple[int, int, int, int, int]


@final
class _Entry(Generic[T]):
    def __init__(self, mark: Mark, settled: bool, value: T) -> None:
        self.mark = mark
        self.settled = settled
        self.value = value


@final
class WatchedFiles(Generic[T]):
    """What `parse` makes of the bytes of each file."""

    def __init__(self, parse: Callable[[bytes], T]) -> None:
        self._parse = parse
        self._entries: dict[bytes, _Entry[T]] = {}

    def get(self, path: bytes) -> T:
        """Return the parsed file as it is now. Raises OSError, and what `parse` raises."""
        entry = self._entries.get(path)
        if entry is not None and entry.settled and _mark(os.stat(path)) == entry.mark:
            return entry.value
        status, data = read_with_status(path)
        settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _UNSETTLED_NS
        fresh = _Entry(_mark(status), settled, self._parse(data))
        if entry is None and len(self._entries) >= _MOST:
            del self._entries[next(iter(self._entries))]
        self._entries[path] = fresh
        return fresh.value


def _mark(status: os.stat_result) -> Mark:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


@final
class FilePath:
    """A path that may hold variables; a relative one counts from the configuration file's directory."""

    def __init__(self, path: Template, prefix: bytes) -> None:
        self.path = path
        self.prefix = prefix

    def of(self, request: Request) -> bytes:
        """Return the path for this request."""
        path = self.path.render(request).partition(b"\0")[0]  # a C string, in nginx
        return path if path.startswith(b"/") else self.prefix + path


def file_path(statement: Statement, hint: str) -> FilePath:
    """Return the statement's argument. Raises ConfigError when the path is constant and cannot be read."""
    path = template(statement)
    if path.constant is not None:
        full = statement.load.full_path(path.text, conf=True)
        try:
            read_file(full)
        except OSError as error:
            raise statement.fail(failed_call(f'open() "{full}"', error), statement.args[0], hint) from None
    return FilePath(path, os.fsencode(statement.load.conf_prefix))
