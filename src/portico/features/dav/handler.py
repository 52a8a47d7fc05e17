"""Responds to PUT, DELETE, MKCOL, COPY and MOVE with what they do to the files of a location.

A file that is put is written in `client_body_temp_path` and gets its name when it is complete. What may take long is done on a
thread. Statuses are nginx's, also where RFC 4918 has others.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, final

from portico.cache.draft import STORE, Draft, Drafts
from portico.cache.placing import Placing, directory_rights, make_directory
from portico.codec.dates import parse_date
from portico.errorlog import CRIT, ERR
from portico.features.dav.fields import INFINITY, depth_of, destination_of, may_overwrite
from portico.features.dav.settings import COPY, DELETE, METHODS, MKCOL, MOVE, PUT, DavSettings
from portico.features.dav.trees import copy_file, copy_tree, move_file, move_tree, remove_tree
from portico.http.errors import HTTPError
from portico.http.handler import Handler
from portico.http.response import EMPTY, Response
from portico.http.routing.uri import ESCAPE_URI, escape_uri
from portico.http.waiting import result_of
from portico.variables.session import shown

if TYPE_CHECKING:
    from portico.http.body import RequestBody
    from portico.http.content.files import Files
    from portico.http.request import Request
    from portico.passing.store import Stores

_PIECE: Final = 65536
_MISSING: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


@final
class DavHandler(Handler):
    """The methods of one location."""

    def __init__(self, settings: DavSettings, files: Files, stores: Stores) -> None:
        self.is_async = True
        self.settings = settings
        self.files = files
        self.stores = stores
        self.drafts = Drafts()

    async def handle_async(self, request: Request) -> Response | None:
        method = METHODS.get(request.method, 0)
        if not method & self.settings.methods:
            return None
        if method == PUT:
            return await self._put(request)
        fields = request.fields
        if fields.content_length > 0 or fields.chunked:
            what = "COPY and MOVE with body are" if method & (COPY | MOVE) else f"{request.method.decode()} with body is"
            raise HTTPError(415, f"{what} unsupported", ERR)
        if method == DELETE:
            return await self._delete(request)
        if method == MKCOL:
            return self._make_collection(request)
        return await self._copy_or_move(request, method == MOVE)

    def describe(self) -> str:
        return "dav_methods " + " ".join(sorted(name.decode() for name, bit in METHODS.items() if bit & self.settings.methods))

    # -- PUT ---------------------------------------------------------------------------------------------------------

    async def _put(self, request: Request) -> Response:
        if request.uri.endswith(b"/"):
            raise HTTPError(409, "cannot PUT to a collection", ERR)
        if request.fields.get(b"content-range") is not None:
            raise HTTPError(501, "PUT with range is unsupported", ERR)
        directory = request.location.core.client_body_temp_path
        try:
            draft = self.drafts.open(f"{directory}/{STORE}", self.stores.identity)
        except OSError as error:
            raise _failed("open()", os.fsencode(directory), error, 500) from None
        try:
            await self._receive(request, draft)
            return self._place(request, draft)
        finally:
            draft.close()

    async def _receive(self, request: Request, draft: Draft) -> None:
        """Write the whole body. Raises HTTPError, ClientFailed, ClientTimeout."""
        body = request.body
        if body is None:
            return
        try:
            if body.was_read():
                _copy_body(body, draft)
                return
            seconds = request.location.core.client_body_timeout
            while True:
                data = await body.next(seconds)
                if not data:
                    return
                draft.append(data)
        except OSError as error:
            raise _failed("write()", os.fsencode(draft.path or "a request's body"), error, 500) from None

    def _place(self, request: Request, draft: Draft) -> Response:
        path = self.files.path(request)
        try:
            is_new = False
            is_directory = stat.S_ISDIR(os.stat(path).st_mode)
        except OSError:
            is_new = True
            is_directory = False
        if is_directory:
            raise HTTPError(409, f'"{shown(path)}" could not be created ({errno.EISDIR}: {os.strerror(errno.EISDIR)})', ERR)
        settings = self.settings
        placing = Placing(settings.access, parse_date(request.fields.get(b"date") or b""), self.stores.identity)
        if settings.creates_path:
            placing.make_directories(settings.access)
        try:
            placing.place(draft, os.fsdecode(path))
        except OSError as error:
            raise HTTPError(500, _reason("rename()", path, error), CRIT) from None
        return _created(request) if is_new else Response(204, EMPTY)

    # -- DELETE ------------------------------------------------------------------------------------------------------

    async def _delete(self, request: Request) -> Response:
        self._check_depth_of_uri(request)
        path = self.files.path(request)
        wants_directory = request.uri.endswith(b"/")
        status = _look(path.rstrip(b"/") if wants_directory else path, path)
        if not stat.S_ISDIR(status.st_mode):
            if wants_directory:
                raise _failed("lstat()", path, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), 409)
            if depth_of(request, 0) not in (0, INFINITY):
                raise HTTPError(400, '"Depth" header must be 0 or infinity', ERR)
            try:
                os.unlink(path)
            except OSError as error:
                raise _failed("unlink()", path, error, 404) from None
            return Response(204, EMPTY)
        if not wants_directory:
            raise HTTPError(409, f'DELETE "{shown(path)}" failed ({errno.EISDIR}: {os.strerror(errno.EISDIR)})', ERR)
        if depth_of(request, INFINITY) != INFINITY:
            raise HTTPError(400, '"Depth" header must be infinity', ERR)
        await _finish(request, _on_thread(partial(remove_tree, path.rstrip(b"/"))), "rmdir()", path)
        return Response(204, EMPTY)

    def _check_depth_of_uri(self, request: Request) -> None:
        """Refuse what is nearer to the root than `min_delete_depth` says. Raises HTTPError 409."""
        least = self.settings.least_depth
        depth = request.uri.rstrip(b"/").count(b"/")
        if depth < least:
            raise HTTPError(409, f"insufficient URI depth:{depth} to DELETE (min_delete_depth is {least})", ERR)

    # -- MKCOL -------------------------------------------------------------------------------------------------------

    def _make_collection(self, request: Request) -> Response:
        if not request.uri.endswith(b"/"):
            raise HTTPError(409, "MKCOL can create a collection only", ERR)
        path = self.files.path(request).rstrip(b"/")
        try:
            make_directory(os.fsdecode(path), directory_rights(self.settings.access))
        except OSError as error:
            raise _failed("mkdir()", path, error, 409) from None
        return _created(request)

    # -- COPY and MOVE -----------------------------------------------------------------------------------------------

    async def _copy_or_move(self, request: Request, moves: bool) -> Response:
        uri = destination_of(request)
        depth = depth_of(request, INFINITY)
        if depth != INFINITY and (moves or depth != 0):
            raise HTTPError(400, f'"Depth" header must be {"infinity" if moves else "0 or infinity"}', ERR)
        may_replace = may_overwrite(request)
        path = self.files.path(request)
        target = self.files.path_of(request, uri)
        is_collection = uri.endswith(b"/")
        source, target = _without_slash(path), _without_slash(target)
        _check_apart(request, source, target, uri)
        replaced = self._look_at_target(request, target, is_collection, may_replace)
        status = _look(source, path)
        if stat.S_ISDIR(status.st_mode):
            if not is_collection:
                raise HTTPError(400, f'"{shown(request.uri)}" is collection', ERR)
            await self._transfer_tree(request, source, target, replaced, depth, moves)
            return Response(201, EMPTY)
        if is_collection:
            raise _failed("lstat()", path, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), 404)
        identity = self.stores.identity
        if moves:
            rights = directory_rights(self.settings.access)
            await _finish(request, _on_thread(partial(move_file, source, target, rights, identity)), "rename()", target, 500)
        else:
            await _finish(request, _on_thread(partial(copy_file, source, target, identity)), "open()", target, 500)
        return Response(204, EMPTY)

    def _look_at_target(self, request: Request, target: bytes, is_collection: bool, may_replace: bool) -> os.stat_result | None:
        """Return what is to be replaced; None when nothing has the name. Raises HTTPError."""
        try:
            status = os.lstat(target)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed("lstat()", target, error, 404) from None
        if stat.S_ISDIR(status.st_mode) and not is_collection:
            method = request.method.decode()
            raise HTTPError(409, f'"{shown(request.uri)}" could not be {method}ed to collection "{shown(target)}"', ERR)
        if not may_replace:
            raise HTTPError(412, f'"{shown(target)}" could not be created ({errno.EEXIST}: {os.strerror(errno.EEXIST)})', ERR)
        return status

    async def _transfer_tree(
        self, request: Request, source: bytes, target: bytes, replaced: os.stat_result | None, depth: int, moves: bool
    ) -> None:
        if replaced is not None:
            if stat.S_ISDIR(replaced.st_mode):
                await _finish(request, _on_thread(partial(remove_tree, target)), "rmdir()", target)
            else:
                try:
                    os.unlink(target)
                except OSError as error:
                    raise _failed("unlink()", target, error, 404) from None
        identity = self.stores.identity
        if moves:
            await _finish(request, _on_thread(partial(move_tree, source, target, identity)), "rename()", target)
        else:
            await _finish(request, _on_thread(partial(copy_tree, source, target, depth, identity)), "mkdir()", target)


def _copy_body(body: RequestBody, draft: Draft) -> None:
    """Write a body that was read before. Raises OSError, FileFailed."""
    if body.data is not None:
        draft.append(body.data)
        return
    at = 0
    while at < body.length:
        data = body.read_file(at, _PIECE)
        draft.append(data)
        at += len(data)


def _created(request: Request) -> Response:
    response = Response(201, EMPTY)
    response.location = escape_uri(request.uri, ESCAPE_URI)
    return response


def _without_slash(path: bytes) -> bytes:
    return path.rstrip(b"/") or b"/"


def _check_apart(request: Request, source: bytes, target: bytes, uri: bytes) -> None:
    """Refuse to put something on itself, or into itself. Raises HTTPError 403."""
    if source == target:
        raise HTTPError(403, f'both URI "{shown(request.uri)}" and "Destination" URI "{shown(uri)}" point to the same location', ERR)
    if uri.endswith(b"/") and (target.startswith(source + b"/") or source.startswith(target + b"/")):
        method = request.method.decode()
        raise HTTPError(403, f'"{shown(request.uri)}" could not be {method}ed to collection "{shown(uri)}"', ERR)


def _look(path: bytes, asked: bytes) -> os.stat_result:
    """Return what is at a path, a link as a link. Raises HTTPError."""
    try:
        return os.lstat(path)
    except OSError as error:
        raise _failed("lstat()", asked, error, 409 if error.errno == errno.ENOTDIR else 404) from None


def _on_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Begin what may take long."""
    return asyncio.get_running_loop().run_in_executor(None, work)


async def _finish(request: Request, work: asyncio.Future[None], call: str, path: bytes, missing: int = 404) -> None:
    """Wait for the work. Raises HTTPError, and ClientGone when the client leaves: it is done all the same, then."""
    try:
        await result_of(request, work)
    except OSError as error:
        raise _failed(call, path, error, missing) from None


def _reason(call: str, path: bytes, error: OSError) -> str:
    return f'{call} "{shown(path)}" failed ({error.errno}: {error.strerror})'


def _failed(call: str, path: bytes, error: OSError, missing: int) -> HTTPError:
    """Return the error for a call that failed; `missing` is the status for what is not there (ngx_http_dav_error)."""
    reason = _reason(call, path, error)
    number = error.errno
    if number in _MISSING:
        return HTTPError(missing, reason, ERR)
    if number in (errno.EACCES, errno.EPERM):
        return HTTPError(403, reason, ERR)
    if number == errno.EEXIST:
        return HTTPError(405, reason, ERR)
    return HTTPError(507 if number == errno.ENOSPC else 500, reason, CRIT)
