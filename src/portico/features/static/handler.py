"""A file as the response.

A small one is read at once, or known already (`remembered.py`), so that header section and body leave in one write; a larger one is
handed on as an open descriptor, for sendfile(2).
"""

from __future__ import annotations

import errno
import os
from stat import S_IFDIR, S_IFMT, S_IFREG, ST_MTIME
from typing import TYPE_CHECKING, Final, final

from portico.codec.http1_response import ResponseHead
from portico.errorlog import CRIT, ERR, SILENT
from portico.features.static.remembered import KnownHead, RememberedFile, RememberedFiles
from portico.http.content.files import Files
from portico.http.content.open_file_cache import FORBIDDEN, OPEN_FLAGS, OpenFileCache
from portico.http.error_pages import own_page
from portico.http.errors import HTTPError, wrong_method
from portico.http.handler import Handler, HeaderFilter, can_be_finished
from portico.http.header_section import finished_head
from portico.http.response import ALL_CONDITIONS, MANY_RANGES, Body, BytesBody, FileBody, Response
from portico.http.routing.uri import ESCAPE_URI, escape_uri
from portico.net.reactor import http_date

if TYPE_CHECKING:
    from portico.http.request import Request

_NO_TOKENS: Final[frozenset[bytes]] = frozenset()
SMALL: Final = 16384  # bytes: copying these costs less than a second system call to send them
_MEMO_SIZE: Final = 1024
_MISSING: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


@final
class Stamp:
    """The two validators of a file, as sent."""

    def __init__(self, mtime: int, size: int) -> None:
        self.last_modified: bytes = http_date(mtime)
        self.etag: bytes = b'"%x-%x"' % (mtime, size)


@final
class Unserved:
    """Why a path cannot be sent: an error of `call`, or that it is no regular file."""

    def __init__(self, number: int, call: str, is_directory: bool) -> None:
        self.number = number  # errno, 0 when there is something
        self.call = call
        self.is_directory = is_directory

    def reason(self, path: bytes) -> str:
        """Return what the error log says of it."""
        if self.number:
            return f'{self.call} "{os.fsdecode(path)}" failed ({self.number}: {os.strerror(self.number)})'
        return f'"{os.fsdecode(path)}" is not a regular file'

    def is_missing(self) -> bool:
        """Return whether there is nothing of that name."""
        return self.number in _MISSING


@final
class StaticHandler(Handler):
    """Responds to GET and HEAD with the file that the URI means."""

    def __init__(self, files: Files, remembered: RememberedFiles | None) -> None:
        self.is_async = False
        self.files = files
        self.remembered = remembered  # None: off
        self.cache: OpenFileCache | None = files.cache
        self._stamps: dict[tuple[int, int], Stamp] = {}
        self.settled = False
        self.editors: list[HeaderFilter] = []  # what may change a response

    def settle(self, editors: list[HeaderFilter]) -> None:
        """Finish, from now on, the header section of a response where no filter changes it."""
        self.settled = True
        self.editors = editors

    def handle(self, request: Request) -> Response | None:
        method = request.method
        if method != b"GET" and method != b"HEAD" and method != b"POST":
            raise wrong_method(request.method, "a file")
        return self.respond(request, self.files.path(request))

    def describe(self) -> str:
        return f"file below {self.files.directory.text}"

    def respond(self, request: Request, path: bytes) -> Response:
        """Return a response with what is at `path`, the URI's own. Raises HTTPError."""
        if request.uri.endswith(b"/"):
            raise HTTPError(403, f'directory index of "{os.fsdecode(path)}" is forbidden', ERR)
        found = self.serve(request, path)
        if isinstance(found, Response):
            return found
        if found.number:
            raise self._refusal(request, path, found)
        if not found.is_directory:
            raise HTTPError(404, found.reason(path), CRIT)
        response = own_page(request, 301)
        location = escape_uri(request.uri, ESCAPE_URI) + b"/"
        if request.args:
            location += b"?" + request.args
        response.location = location
        return response

    def serve(self, request: Request, path: bytes) -> Response | Unserved:
        """Return a response with the file at `path`, whatever the URI says. Raises HTTPError 405 for POST."""
        if self.cache is not None:
            return self._from_cache(request, path, self.cache)
        if self.remembered is not None and request.method == b"GET":
            known = self.remembered.find(path)
            if known is not None:
                return self._remembered(request, known)
        links = self.files.links
        try:
            fd = os.open(path, OPEN_FLAGS) if links is None else links.open(request, path)
        except OSError as error:
            return Unserved(error.errno or 0, "open()" if links is None else "openat()", False)
        kept = False
        try:
            status = os.fstat(fd)
            kind = S_IFMT(status.st_mode)
            if kind != S_IFREG:
                return Unserved(0, "", kind == S_IFDIR)
            if request.method == b"POST":
                raise wrong_method(request.method, "a file")
            size = status.st_size
            body: Body
            if request.method == b"HEAD":
                body = BytesBody(b"", status)
            elif size <= SMALL:
                data = os.read(fd, size) if size else b""
                if self.remembered is not None:
                    self.remembered.store(path, status, data, request.reactor.wall())
                body = BytesBody(data, status)
            else:
                body = FileBody(fd, 0, size, True, None, status)
                kept = True
            return self._response(request, body, int(status[ST_MTIME]), size)
        finally:
            if not kept:
                os.close(fd)

    def _remembered(self, request: Request, file: RememberedFile) -> Response:
        """Return a response with a file that is known; the header section is made once unless this location changes it."""
        if self.settled and not request.has_conditions():
            known = file.known
            if known is None or known.owner is not self or known.uri != request.uri:
                file.known = known = self._known(request, file)
            if can_be_finished(self.editors, request, known.head):
                response = Response(200, BytesBody(file.data))
                response.finished = known.finished
                return response
        return self._response(request, BytesBody(file.data, file.status), file.mtime, len(file.data))

    def _known(self, request: Request, file: RememberedFile) -> KnownHead:
        response = self._response(request, BytesBody(file.data), file.mtime, len(file.data))
        first = {b"content-type": response.content_type, b"last-modified": response.last_modified_text, b"etag": response.etag}
        head = ResponseHead(11, 200, b"OK", [], [], [], first, response.content_length, False, False, b"", _NO_TOKENS)
        return KnownHead(self, request.uri, head, finished_head(request, response, self))

    def _from_cache(self, request: Request, path: bytes, cache: OpenFileCache) -> Response | Unserved:
        settings = self.files.cache_settings
        info = cache.find(path, settings, request.reactor.now, False)
        if info.error:
            return Unserved(info.error, info.failed, False)
        if not info.is_file:
            return Unserved(0, "", info.is_directory)
        if request.method == b"POST":
            cache.release(info, settings)
            raise wrong_method(request.method, "a file")
        body: Body
        if request.method == b"HEAD":
            cache.release(info, settings)
            body = BytesBody(b"", info.status)
        elif info.size <= SMALL:
            body = BytesBody(os.pread(info.fd, info.size, 0) if info.size else b"", info.status)
            cache.release(info, settings)
        else:
            body = FileBody(cache.lend(info, settings), 0, info.size, True, None, info.status)
        return self._response(request, body, info.mtime, info.size)

    def _response(self, request: Request, body: Body, mtime: int, size: int) -> Response:
        response = Response(200, body)
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
        response.ranges = MANY_RANGES
        response.conditions = ALL_CONDITIONS
        return response

    def _refusal(self, request: Request, path: bytes, found: Unserved) -> HTTPError:
        reason = found.reason(path)
        if found.is_missing():
            return HTTPError(404, reason, ERR if request.location.core.log_not_found else SILENT)
        if found.number in FORBIDDEN:
            return HTTPError(403, reason, ERR)
        return HTTPError(500, reason, CRIT)
