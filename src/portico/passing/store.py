"""`*_store`: responses become files, for good, where the location's files are or a path says (ngx_http_upstream_store).

A file is written in `*_temp_path` and gets its name when it is complete (cache/draft.py), so that a static location beside this
one never shows half of one. Only responses with status 200 are stored, and only when they are buffered.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.cache.draft import STORE, Draft, Drafts, remove_leftovers
from portico.cache.placing import Placing
from portico.codec.dates import parse_date
from portico.config.directive import Scope
from portico.errorlog import CRIT, ERR
from portico.http.content.files import Files
from portico.http.feature import BuildSlot, HttpBuild
from portico.passing.hook import ResponseHook, Sink
from portico.passing.store_settings import StoreSettings
from portico.worker.hook import WorkerHook
from portico.zones.owner import own_identity

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.passing.protocol import UpstreamRequest
    from portico.worker.runtime import Runtime



@final
class Stores(WorkerHook):
    """The part of `*_store` in each worker: names its drafts, and removes those of dead workers."""

    def __init__(self) -> None:
        self.temp_paths: set[str] = set()
        self.identity = 0

    def start(self, runtime: Runtime) -> None:
        self.identity = own_identity()
        for path in sorted(self.temp_paths):
            remove_leftovers(path)


def stores_of(http: HttpBuild) -> Stores:
    """Return those of the configuration that is being built."""
    return _STORES.of(http)


def _new_stores(http: HttpBuild) -> Stores:
    stores = Stores()
    http.workers.append(stores)
    return stores


_STORES: Final = BuildSlot[Stores](_new_stores)


@final
class FileStore(ResponseHook):
    """Stores the responses of one location."""

    def __init__(self, scope: Scope, settings: StoreSettings, temp_path: str, stores: Stores) -> None:
        self.directive = settings.directive
        self.path = settings.path
        self.files = Files(scope)
        self.prefix: bytes = os.fsencode(scope.load.prefix)
        self.access: int = settings.access
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

    def before_send(self, request: Request, asked: UpstreamRequest) -> None:
        asked.abortable = False  # what is to be stored is fetched to its end

    def sink(self, request: Request, head: ResponseHead, method: bytes) -> Sink | None:
        if method == b"HEAD":
            return None
        path = self.path_of(request)
        if head.status != 200 or path.endswith(b"/") or path.find(b"\0") >= 0:
            return None
        if self.path is not None and b"/../" in path and "/../" not in self.path.text:
            shown = os.fsdecode(path)
            text = f'a response is not stored as "{shown}": the request leads out of the path in {self.directive}'
            request.log_error(ERR, text)
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
        store = self.store
        placing = Placing(store.access, self.modified, store.stores.identity)
        placing.make_directories(store.access)
        try:
            placing.place(draft, self.path)
        except OSError as failure:
            self._failed(failure)
        self.abort()

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

