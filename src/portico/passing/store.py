"""`proxy_store`: responses become files, for good, where the location's files are or a path says (ngx_http_upstream_store).

A file is written in `proxy_temp_path` and gets its name when it is complete (cache/draft.py), so that a static location beside this
one never shows half of one. Only responses with status 200 are stored, and only when they are buffered.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, final

from portico.cache.draft import STORE, Draft, Drafts, remove_leftovers
from portico.codec.dates import parse_date
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement, Where
from portico.errorlog import CRIT, ERR
from portico.http.content.files import Files
from portico.http.feature import HttpBuild, WorkerHook
from portico.passing.hook import Outgoing, ResponseHook, Sink
from portico.variables.template import Template, template
from portico.zones.owner import own_identity

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request

_STATE: Final = "proxy stores"
_ALL: Final = HTTP | SERVER | LOCATION
_WHO: Final = {"user": 6, "group": 3, "all": 0}
_RIGHTS: Final = {"rw": 6, "r": 4}


@final
class StoreSetting:
    """The setting of `proxy_store`; `path` None: where `root` or `alias` point."""

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
class Stores(WorkerHook):
    """The part of `proxy_store` in each worker: names its drafts, and removes those of dead workers."""

    def __init__(self) -> None:
        self.temp_paths: set[str] = set()
        self.identity = 0

    def start(self, runtime: object) -> None:
        self.identity = own_identity()
        for path in sorted(self.temp_paths):
            remove_leftovers(path)


def stores_of(http: HttpBuild) -> Stores:
    """Return those of the configuration that is being built."""
    stores = http.state.get(_STATE)
    if stores is None:
        stores = http.state[_STATE] = Stores()
        http.workers.append(stores)
    assert isinstance(stores, Stores)
    return stores


@final
class FileStore(ResponseHook):
    """Stores the responses of one location."""

    def __init__(self, scope: Scope, setting: StoreSetting, temp_path: str, stores: Stores) -> None:
        self.path = setting.path
        self.files = Files(scope)
        self.prefix: bytes = os.fsencode(scope.load.prefix)
        self.access: int = scope.get(PROXY_STORE_ACCESS)
        self.temp_path = temp_path
        self.stores = stores
        self.drafts = Drafts()
        stores.temp_paths.add(temp_path)

    def path_of(self, request: Request) -> bytes:
        """Return the path under which a request's response is stored."""
        if self.path is None:
            return self.files.path(request)
        text = self.path.render(request)
        return text if text[:1] == b"/" else self.prefix + text

    def before_send(self, request: Request, outgoing: Outgoing) -> None:
        outgoing.abortable = False  # what is to be stored is fetched to its end

    def sink(self, request: Request, head: ResponseHead, method: bytes, raw: bytes) -> Sink | None:
        if method == b"HEAD":
            return None
        path = self.path_of(request)
        if head.status != 200 or path.endswith(b"/") or path.find(b"\0") >= 0:
            return None
        if self.path is not None and b"/../" in path and "/../" not in self.path.text:
            shown = os.fsdecode(path)
            request.log_error(ERR, f'a response is not stored as "{shown}": what was asked for leads out of the path in proxy_store')
            return None
        try:
            draft = self.drafts.open(f"{self.temp_path}/{STORE}", self.stores.identity)
        except OSError as error:
            request.log_error(CRIT, f'a response cannot be written in "{self.temp_path}" ({error.errno}: {error.strerror})')
            return None
        modified = parse_date(head.get(b"last-modified") or b"")
        return StoreSink(request, self, draft, os.fsdecode(path), modified)


@final
class StoreSink(Sink):
    """Writes one response into its file."""

    def __init__(self, request: Request, store: FileStore, draft: Draft, path: str, modified: float) -> None:
        self.request = request
        self.store = store
        self.draft: Draft | None = draft
        self.path = path
        self.modified = modified

    def write(self, data: bytes) -> None:
        draft = self.draft
        if draft is None:
            return
        try:
            draft.append(data)
        except OSError as error:
            self._failed(error)

    def finish(self) -> None:
        draft = self.draft
        if draft is None:
            return
        try:
            self._set_metadata(draft)
            try:
                self._place(draft)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_across(draft)
        except OSError as failure:
            self._failed(failure)
        self.abort()

    def _set_metadata(self, draft: Draft) -> None:
        """Give the file its rights and its time. Raises OSError."""
        os.fchmod(draft.fd, self.store.access)
        if self.modified >= 0:
            os.utime(draft.fd, (self.modified, self.modified))

    def _place(self, draft: Draft) -> None:
        """Give the file its name, in directories that are made for it. Raises OSError."""
        try:
            draft.take_place(self.path)
        except FileNotFoundError:
            access = self.store.access
            rights = access | (access & 0o444) >> 2  # whoever may read a file may enter its directory (ngx_dir_access)
            _make_directories(os.path.dirname(self.path), rights)
            draft.take_place(self.path)

    def _copy_across(self, draft: Draft) -> None:
        """Copy the file from the file system of `proxy_temp_path` to that of the path, and give the copy its name. Raises OSError."""
        near = Drafts().open(f"{os.path.dirname(self.path)}/{STORE}", self.store.stores.identity)
        try:
            draft.copy_to(near)
            self._set_metadata(near)
            near.take_place(self.path)
        finally:
            near.close()

    def abort(self) -> None:
        draft = self.draft
        if draft is not None:
            self.draft = None
            draft.close()

    def is_wanted(self) -> bool:
        return self.draft is not None

    def _failed(self, error: OSError) -> None:
        self.request.log_error(CRIT, f'a response cannot be stored as "{self.path}" ({error.errno}: {error.strerror})')
        self.abort()


def _make_directories(path: str, mode: int) -> None:
    """Make a directory and those above it. Raises OSError."""
    if not path or os.path.isdir(path):
        return
    _make_directories(os.path.dirname(path), mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        pass


def store_or_cache(scope: Scope, zone: Directive[Template | None]) -> bool:
    """Return whether `proxy_store` is in force, not `proxy_cache` (`zone`): the nearer one. Raises ConfigError for both in one."""
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
