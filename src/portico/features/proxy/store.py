"""`proxy_store`: answers become files, for good, where the location's files are or a path says (ngx_http_upstream_store).

A file is written under a temporary name in `proxy_temp_path` and gets its own when it is whole, so that a static location beside this
one never shows half of one. Only answers with status 200 are stored, and only when they are buffered.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Final, final

from portico.codec.dates import parse_date
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement, Where
from portico.http.errors import CRIT, ERR
from portico.http.files import Files
from portico.http.variables import Template, template
from portico.upstream.body import Sink

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request

_ALL: Final = HTTP | SERVER | LOCATION
_WHO: Final = {"user": 6, "group": 3, "all": 0}
_RIGHTS: Final = {"rw": 6, "r": 4}


@final
class StoreSetting:
    """What `proxy_store` says; `path` None: where `root` or `alias` point."""

    def __init__(self, wanted: bool, path: Template | None) -> None:
        self.wanted = wanted
        self.path = path


def _store(statement: Statement) -> StoreSetting:
    text = statement.args[0].text
    if text in ("on", "off"):
        return StoreSetting(text == "on", None)
    if not text:
        raise statement.fail("an empty path", statement.args[0], "on, off, or a path such as /data/www$uri")
    return StoreSetting(True, template(statement))


def _access(statement: Statement) -> int:
    mode = 0
    for argument in statement.args:
        who, _, rights = argument.text.partition(":")
        if who not in _WHO or rights not in _RIGHTS:
            raise statement.fail(f'invalid value "{argument.text}"', argument, "user:, group: or all: with rw or r, as in group:r")
        mode |= _RIGHTS[rights] << _WHO[who]
    return mode if mode & 0o700 else mode | 0o600


PROXY_STORE: Final = Directive[StoreSetting](
    "proxy_store", _ALL, _store, args="1", default=StoreSetting(False, None), default_text="off", syntax="on | off | PATH",
    doc="Stores answers as files: `on` where `root` or `alias` point, else in PATH, a text with variables. Nothing removes them. "
    "A file's time is that of `Last-Modified`.",
    example="root /tmp/portico_store; proxy_store on;",
)
PROXY_STORE_ACCESS: Final = Directive[int](
    "proxy_store_access", _ALL, _access, args="1-3", default=0o600, default_text="user:rw", syntax="WHO:RIGHTS ...",
    doc="The rights of files that `proxy_store` makes, and of their directories: `user:`, `group:`, `all:` with `rw` or `r`.",
    example="proxy_store_access group:rw all:r;",
)


@final
class Store:
    """Stores the answers of one location."""

    def __init__(self, scope: Scope, setting: StoreSetting, temp_path: str) -> None:
        self.path = setting.path
        self.files = Files(scope)
        self.prefix: bytes = os.fsencode(scope.load.prefix)
        self.access: int = scope.get(PROXY_STORE_ACCESS)
        self.temp_path = temp_path

    def path_of(self, request: Request) -> bytes:
        """Where the answer is to be stored."""
        if self.path is None:
            return self.files.path(request)
        text = self.path.render(request)
        return text if text[:1] == b"/" else self.prefix + text

    def sink(self, request: Request, answer: ResponseHead) -> Sink | None:
        """Where the answer's body goes; None when it is not stored."""
        path = self.path_of(request)
        if answer.status != 200 or path.endswith(b"/") or path.find(b"\0") >= 0:
            return None
        if self.path is not None and b"/../" in path and "/../" not in self.path.text:
            shown = os.fsdecode(path)
            request.log_error(ERR, f'an answer is not stored as "{shown}": what was asked for leads out of the path in proxy_store')
            return None
        try:
            fd, draft = tempfile.mkstemp(prefix="store.", dir=self.temp_path)
        except OSError as error:
            request.log_error(CRIT, f'mkstemp() in "{self.temp_path}" failed ({error.errno}: {error.strerror})')
            return None
        return StoredFile(request, self.access, fd, draft, path, parse_date(answer.get(b"last-modified") or b""))


@final
class StoredFile(Sink):
    """One answer on its way into its file."""

    def __init__(self, request: Request, access: int, fd: int, draft: str, path: bytes, modified: float) -> None:
        self.request = request
        self.access = access
        self.fd = fd
        self.draft = draft
        self.path = path
        self.modified = modified

    def write(self, data: bytes) -> None:
        if self.fd < 0:
            return
        try:
            while data:
                written = os.write(self.fd, data)
                data = data[written:]
        except OSError as error:
            self._failed(error)

    def finish(self) -> None:
        if self.fd < 0:
            return
        try:
            os.fchmod(self.fd, self.access)
            if self.modified >= 0:
                os.utime(self.fd, (self.modified, self.modified))
            self._place()
            self.draft = ""
        except OSError as error:
            self._failed(error)
        self.abort()

    def _place(self) -> None:
        try:
            os.rename(self.draft, self.path)
            return
        except FileNotFoundError:
            rights = self.access | (self.access & 0o444) >> 2  # who may read a file may enter its directory (ngx_dir_access)
            _make_directories(os.path.dirname(self.path), rights)
            self._move()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._move()

    def _move(self) -> None:
        try:
            os.rename(self.draft, self.path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            near = self.path + b"." + os.path.basename(self.draft).encode()  # a copy in the same file system, then it is moved
            try:
                shutil.copy2(self.draft.encode(), near)
                os.rename(near, self.path)
            except OSError:
                if os.path.exists(near):
                    os.unlink(near)
                raise
            os.unlink(self.draft)

    def abort(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.draft:
            try:
                os.unlink(self.draft)
            except OSError:
                pass
            self.draft = ""

    def is_wanted(self) -> bool:
        return self.fd >= 0

    def _failed(self, error: OSError) -> None:
        shown = os.fsdecode(self.path)
        self.request.log_error(CRIT, f'an answer cannot be stored as "{shown}" ({error.errno}: {error.strerror})')
        self.abort()


def _make_directories(path: bytes, mode: int) -> None:
    """Raises OSError."""
    if not path or os.path.isdir(path):
        return
    _make_directories(os.path.dirname(path), mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        pass


def store_or_cache(scope: Scope, zone: Directive[Template | None]) -> bool:
    """Whether `proxy_store` is in force, not `proxy_cache` (`zone`): the nearer one. Raises ConfigError for both in one block."""
    block: Scope | None = scope
    looks_for_store = looks_for_cache = True
    while block is not None:
        stores = block.own_settings(PROXY_STORE) if looks_for_store else []
        zones = block.own_settings(zone) if looks_for_cache else []
        cached = bool(zones) and zones[-1].value is not None
        if stores and stores[-1].value.wanted:
            if cached:
                hint = "an answer is kept for a time by the one and for good by the other: take one of them away"
                text = '"proxy_cache" directive is incompatible with "proxy_store"'
                raise ConfigError(text, max(stores[-1].where, zones[-1].where, key=_line), hint)
            return True
        if cached:
            return False
        looks_for_store = looks_for_store and not stores
        looks_for_cache = looks_for_cache and not zones
        block = block.parent
    return False


def _line(where: Where) -> int:
    return where.line
