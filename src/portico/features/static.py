"""Files from disk: what answers in a location where nothing else does.

A small file is read at once, so that head and body leave in one write; a larger one is handed on as an
open descriptor, for sendfile(2). (nginx: ngx_http_static_module.c.)
"""

from __future__ import annotations

import errno
import os
from stat import S_IFDIR, S_IFMT, S_IFREG, ST_MTIME
from typing import TYPE_CHECKING, Final, final

from portico.http.error_pages import own_page
from portico.http.errors import CRIT, ERR, SILENT, HTTPError
from portico.http.feature import Feature, LocationBuild
from portico.http.files import FILE_DIRECTIVES, NO_ALIAS, Files
from portico.http.handler import CONTENT, Handler
from portico.http.open_file_cache import OPEN_FLAGS, OpenFileCache
from portico.http.response import Body, BytesBody, FileBody, Response
from portico.http.uri import ESCAPE_URI, escape_uri
from portico.net.reactor import http_date

if TYPE_CHECKING:
    from portico.http.request import Request

SMALL: Final = 16384  # bytes: copying these costs less than a second system call to send them
_MEMO_SIZE: Final = 1024


@final
class Stamp:
    """The two validators of a file, as sent."""

    def __init__(self, mtime: int, size: int) -> None:
        self.last_modified: bytes = http_date(mtime)
        self.etag: bytes = b'"%x-%x"' % (mtime, size)


@final
class StaticHandler(Handler):
    """Answers GET and HEAD with the file that the URI means."""

    def __init__(self, files: Files) -> None:
        self.is_async = False
        self.files = files
        self.cache: OpenFileCache | None = files.cache
        self._stamps: dict[tuple[int, int], Stamp] = {}

    def handle(self, request: Request) -> Response | None:
        method = request.method
        if method != b"GET" and method != b"HEAD" and method != b"POST":
            raise HTTPError(405)
        path = self.files.path(request)
        if request.uri.endswith(b"/"):
            raise HTTPError(403, f'directory index of "{os.fsdecode(path)}" is forbidden', ERR)
        if self.cache is not None:
            return self._from_cache(request, path, self.cache)
        try:
            fd = os.open(path, OPEN_FLAGS)
        except OSError as error:
            raise self._refusal(request, path, error.errno or 0, "open()")
        kept = False
        try:
            status = os.fstat(fd)
            kind = S_IFMT(status.st_mode)
            if kind != S_IFREG:
                return self._irregular(request, path, kind == S_IFDIR)
            if method == b"POST":
                raise HTTPError(405)
            size = status.st_size
            body: Body
            if method == b"HEAD":
                body = BytesBody(b"")
            elif size <= SMALL:
                body = BytesBody(os.read(fd, size) if size else b"")
            else:
                body = FileBody(fd, 0, size, True)
                kept = True
            return self._answer(request, body, status, int(status[ST_MTIME]), size)
        finally:
            if not kept:
                os.close(fd)

    def describe(self) -> str:
        return f"file below {self.files.directory.text}"

    def _from_cache(self, request: Request, path: bytes, cache: OpenFileCache) -> Response:
        settings = self.files.cache_settings
        info = cache.find(path, settings, request.client.transport.reactor.now, False)
        if info.error:
            raise self._refusal(request, path, info.error, info.failed)
        if not info.is_file:
            return self._irregular(request, path, info.is_directory)
        if request.method == b"POST":
            cache.release(info, settings)
            raise HTTPError(405)
        body: Body
        if request.method == b"HEAD":
            cache.release(info, settings)
            body = BytesBody(b"")
        elif info.size <= SMALL:
            body = BytesBody(os.pread(info.fd, info.size, 0) if info.size else b"")
            cache.release(info, settings)
        else:
            body = FileBody(cache.lend(info, settings), 0, info.size, True)
        return self._answer(request, body, info.status, info.mtime, info.size)

    def _answer(self, request: Request, body: Body, status: os.stat_result | None, mtime: int, size: int) -> Response:
        response = Response(200, body)
        response.file = status
        if request.method == b"HEAD":
            response.content_length = size
        core = request.location.core
        response.content_type = core.content_type_of(request.uri)
        key = (mtime, size)
        stamp = self._stamps.get(key)
        if stamp is None:
            if len(self._stamps) >= _MEMO_SIZE:
                self._stamps.clear()
            stamp = Stamp(mtime, size)
            self._stamps[key] = stamp
        response.last_modified = float(mtime)
        response.last_modified_text = stamp.last_modified
        if core.etag:
            response.etag = stamp.etag
        response.allow_ranges = True
        response.conditional = True
        return response

    def _irregular(self, request: Request, path: bytes, is_directory: bool) -> Response:
        if not is_directory:
            raise HTTPError(404, f'"{os.fsdecode(path)}" is not a regular file', CRIT)
        response = own_page(request, 301)
        location = escape_uri(request.uri, ESCAPE_URI) + b"/"
        if request.args:
            location += b"?" + request.args
        response.location = location
        return response

    def _refusal(self, request: Request, path: bytes, number: int, failed: str) -> HTTPError:
        reason = f'{failed} "{os.fsdecode(path)}" failed ({number}: {os.strerror(number)})'
        if number == errno.ENOENT or number == errno.ENOTDIR or number == errno.ENAMETOOLONG:
            return HTTPError(404, reason, ERR if request.location.core.log_not_found else SILENT)
        if number == errno.EACCES:
            return HTTPError(403, reason, ERR)
        return HTTPError(500, reason, CRIT)


class StaticFeature(Feature):
    """Tells each location its root, and puts the handler into those without content of their own."""

    def location(self, build: LocationBuild) -> None:
        files = Files(build.scope)
        build.location.root = files.directory
        build.location.alias = files.kind != NO_ALIAS
        if not build.has_content:
            build.add_handler(CONTENT, StaticHandler(files))


FEATURE: Final = StaticFeature("http_static", FILE_DIRECTIVES)
