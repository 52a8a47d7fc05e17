"""`disable_symlinks`: files are reached name by name, from an open directory to the next, and a symbolic link on the way is refused.

    disable_symlinks on;                   no name of the path may be a link
    disable_symlinks if_not_owner;         a link may be one whose owner has what it leads to, too
    disable_symlinks on from=/srv/www;     the names up to there are not looked at

Each name is opened relative to the directory that was opened before, so that nobody can put a link in its place between the look and
the opening. Where the directive is in force, no file is remembered: `open_file_cache` and `static_memory` go by the whole path.
(nginx: ngx_open_file_wrapper.)
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, final

from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.http.content.open_file_cache import OPEN_FLAGS, FileInfo, look
from portico.http.plan import LocationSlot
from portico.variables.template import Template, template_of

if TYPE_CHECKING:
    from portico.http.request import Request

_SEARCH: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ALL: Final = -1  # of what is trusted: the whole path


@final
class Links:
    """Which symbolic links a location follows."""

    def __init__(self, owned: bool, trusted: Template | None) -> None:
        self.owned = owned  # those that lead to what belongs to their owner
        self.trusted = trusted  # the beginning of a path in which all are followed

    def open(self, request: Request, path: bytes) -> int:
        """Return a descriptor of what is at `path`. Raises OSError.

        A link that is not followed is ELOOP, but ENOTDIR in front of other names where no link is followed.
        """
        start = 0 if self.trusted is None else _trusted(path, self.trusted.render(request))
        if start == _ALL:
            return os.open(path, OPEN_FLAGS)
        first = path[:start] if start else b"/" if path.startswith(b"/") else b"."
        names = path[start:].split(b"/")
        last = names.pop() or b"."  # behind a slash: the directory itself
        directory = os.open(first, _SEARCH)
        try:
            for name in names:
                if name:
                    opened = self._open_at(directory, name, _SEARCH)
                    os.close(directory)
                    directory = opened
            return self._open_at(directory, last, OPEN_FLAGS)
        finally:
            os.close(directory)

    def _open_at(self, directory: int, name: bytes, flags: int) -> int:
        """Return a descriptor of what has this name in an open directory. Raises OSError."""
        if not self.owned:
            return os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)
        opened = os.open(name, flags, dir_fd=directory)
        try:
            owner = os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
            if os.fstat(opened).st_uid != owner:  # also of what is no link any more: it may have been one when it was opened
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        except OSError:
            os.close(opened)
            raise
        return opened

    def look(self, request: Request, path: bytes, info: FileInfo) -> None:
        """Fill `info` with what is at `path`, as fstat(2) says."""
        try:
            opened = self.open(request, path)
        except OSError as error:
            info.error = error.errno or 0
            info.failed = "openat()"
            return
        try:
            info.fill(os.fstat(opened))
        finally:
            os.close(opened)


def look_along(links: Links | None, request: Request, path: bytes) -> FileInfo:
    """Return what is at `path`, without opening it; where some links are not followed, along those that are. Raises ValueError."""
    info = FileInfo()
    if links is None:
        look(path, info)
    else:
        links.look(request, path, info)
    return info


def _trusted(path: bytes, beginning: bytes) -> int:
    """Return up to where `path` is trusted, 0 for nowhere. The beginning counts in whole names only."""
    length = len(beginning)
    if length == 0 or not path.startswith(beginning):
        return 0
    if length == len(path):
        return _ALL
    if path[length : length + 1] == b"/":
        return length
    return length - 1 if beginning.endswith(b"/") else 0


def _links(statement: Statement) -> Links | None:
    mode = ""
    trusted: Template | None = None
    for argument in statement.args:
        if argument.text in ("off", "on", "if_not_owner"):
            mode = argument.text
        elif argument.text.startswith("from="):
            trusted = template_of(argument.text.removeprefix("from="), statement)
        else:
            raise statement.fail(f'invalid parameter "{argument.text}"', argument)
    if not mode:
        raise statement.fail('"disable_symlinks" must have "off", "on" or "if_not_owner" parameter')
    if len(statement.args) == 2:
        if trusted is None:
            shown = " ".join([argument.text for argument in statement.args])
            raise statement.fail(f'duplicate parameters "{shown}"')
        if mode == "off":
            raise statement.fail('"from=" cannot be used with "off" parameter')
    return None if mode == "off" else Links(mode == "if_not_owner", trusted)


DISABLE_SYMLINKS: Final = Directive[Links | None](
    "disable_symlinks", HTTP | SERVER | LOCATION, _links, args="1-2", default=None, default_text="off",
    syntax="off\non | if_not_owner [from=PART]",
    doc="Refuses files that are reached through a symbolic link (403; 404 where the link is not the last name): with `on` through "
    "any, with `if_not_owner` through one whose owner is not that of what it leads to. The names of `from`, the beginning of the "
    "path (it may hold variables), are not looked at. It holds for files that are sent, `index`, `try_files` and `if (-f …)`. Each "
    "name of a path costs a system call or two, and `open_file_cache` and `static_memory` are not used.",
    example="disable_symlinks if_not_owner from=$document_root;",
)  # fmt: skip

LINKS: Final = LocationSlot[Links]()
"""The policy of a location where the directive is in force, for who has no `Files`."""
