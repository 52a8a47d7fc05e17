"""The body of a request: read whole (to memory, past `client_body_buffer_size` to a file), passed on as it comes, or discarded.

How large it may be (`client_max_body_size`) is checked before it is read when its length is known (`check_length`), and while it
comes when it is chunked (`codec/chunked.py`): 413. The temporary file is unlinked as soon as it is open, so a crash leaves nothing
behind, unless the configuration wants its name: by `client_body_in_file_only`, or as it names `$request_body_file`.
"""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING, final

from portico.errorlog import CRIT, ERR, NOTICE, WARN
from portico.http.errors import FileFailed, HTTPError
from portico.http.settings import BODY_FILES_KEPT

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.server.stream import ClientStream


def check_length(request: Request) -> None:
    """Refuse a request whose Content-Length is more than its location allows. Raises HTTPError 413."""
    length = request.fields.content_length
    most = request.location.core.client_max_body_size
    if length > most > 0:
        raise HTTPError(
            413, f"client intended to send too large body: {length} bytes (client_max_body_size is {most})", ERR
        )


@final
class RequestBody:
    """The body of one request. `length` in bytes, -1 when it is not known before the body was read whole."""

    def __init__(self, request: Request, stream: ClientStream | None) -> None:
        """Take the body that comes on `stream`; None: one that is there already (`copy_for`)."""
        fields = request.fields
        self.request = request
        self.stream = stream
        self.length = -1 if fields.chunked else fields.content_length
        self.chunked = fields.chunked
        self.done = stream is None or stream.body_ended()
        self.data: bytes | None = None  # the whole body, when it was read into memory
        self.file = -1  # descriptor of the temporary file that holds it otherwise
        self.file_path: str = ""  # where the file was made
        self.is_kept = False  # the file outlives the request
        self.is_named = False  # the file is still there by that name
        self.is_withheld = False  # the request has become a GET, which has none: it is not passed on, and discarded in the end
        self.failure: HTTPError | FileFailed | None = None  # why it could not be read whole: what was read of it is gone
        self.size = 0  # bytes of content received
        self._ahead = b""  # content that was received, and is the next to be taken

    def allow(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 section 10.1.1)."""
        if self.stream is not None:
            self.stream.allow_body()

    def take(self) -> bytes | None:
        """Return content that is there: b"" at the end of the body, None when more must come.

        Raises HTTPError, ClientFailed; and what it failed with before, when it was to be read whole.
        """
        if self.failure is not None:
            raise self.failure
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        return self._take()

    def _take(self) -> bytes | None:
        stream = self.stream
        if self.done or stream is None:
            return b""
        content = stream.take_body()
        if content is not None:
            self.size += len(content)
        self.done = stream.body_ended()
        return content

    async def next(self, seconds: float) -> bytes:
        """Return the next content, b"" at the end. Raises HTTPError, ClientFailed, ClientTimeout."""
        self.allow()
        reactor = self.request.reactor
        if reactor.is_turn_over():
            await reactor.turn()
        while True:
            data = self.take()
            if data is not None:
                return data
            if self.stream is not None:
                await self.stream.body_readable(seconds)

    def read_if_here(self, most: int) -> None:
        """Have the whole body in memory when all of it has come already and is about `most` bytes at most.

        nginx does so with a body that came with the header section, whatever `proxy_request_buffering` says. Raises HTTPError,
        ClientFailed.
        """
        held: list[bytes] = []
        total = 0
        while not self.done and total <= most:
            data = self.take()
            if data is None:
                break
            held.append(data)
            total += len(data)
        if self.done:
            self.data = b"".join(held)
            self.length = self.size
        else:
            self._ahead = b"".join(held)

    async def read_all(self) -> None:
        """Read the whole body into `data` or `file`. Raises HTTPError (413, 400), FileFailed, ClientFailed, ClientTimeout."""
        if self.failure is not None:
            raise self.failure
        self.allow()
        try:
            await self._read_whole()
        except (HTTPError, FileFailed) as failure:
            self.close()
            self.failure = failure  # an error page may want the body too: a part of it must not pass for the whole
            raise
        self.length = self.size

    async def _read_whole(self) -> None:
        core = self.request.location.core
        limit = core.client_body_buffer_size
        held: list[bytes] = []
        total = 0
        if core.client_body_in_file_only:
            self._open()
        while not self.done:
            data = await self.next(core.client_body_timeout)
            if self.file >= 0:
                self._write(data)
                continue
            held.append(data)
            total += len(data)
            if total > limit:
                self._open()
                self._write(b"".join(held))
                held = []
        if self.file < 0:
            self.data = b"".join(held)
        elif core.client_body_in_file_only == BODY_FILES_KEPT:
            self.is_kept = True

    def _open(self) -> None:
        """Make the temporary file, which has no name as soon as it is open unless somebody may want to know it."""
        core = self.request.location.core
        directory = core.client_body_temp_path
        try:
            self.file, path = tempfile.mkstemp(prefix="body.", dir=directory)
        except OSError as error:
            raise FileFailed("mkstemp", f"{directory}/body.XXXXXXXX", error) from None
        self.file_path = path
        if core.client_body_files_named:
            self.is_named = True
            if core.client_body_in_file_only:
                os.fchmod(self.file, 0o660)  # nginx: request_body_file_group_access
        else:
            os.unlink(path)
        level = NOTICE if core.client_body_in_file_only else WARN
        self.request.log_error(level, f"a client request body is buffered to a temporary file {path}")

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self.file, data)
            while written < len(data):
                data = data[written:]
                written = os.write(self.file, data)
        except OSError as error:
            raise FileFailed("write", self.file_path, error) from None

    def _remove(self) -> None:
        try:
            os.unlink(self.file_path)
        except FileNotFoundError:
            pass  # the application, which was told the name, has removed it
        except OSError as error:
            self.request.log_error(CRIT, str(FileFailed("unlink", self.file_path, error)))

    def was_read(self) -> bool:
        """Return whether the whole body is in `data` or `file`."""
        return self.data is not None or self.file >= 0

    def check_unread(self) -> None:
        """Refuse a chunked body that nobody wants when what has come of it is malformed (nginx: ngx_http_discard_request_body).

        It counts as read in neither way, by the logs too. Raises HTTPError, ClientFailed.
        """
        if not self.chunked or self.done or self.size or self._ahead or self.failure is not None:
            return
        received = self.request.received
        try:
            self._take()
        except HTTPError as failure:
            self.failure = failure
            if failure.status != 413:  # how large it is does not matter to who discards it
                raise
        finally:
            self.request.received = received

    async def discard(self, seconds: float, deadline: float) -> bool:
        """Read and forget the rest until `deadline` (monotonic); whether the end of the body was reached."""
        if self.failure is not None:
            return False
        reactor = self.request.reactor
        stream = self.stream
        self._ahead = b""
        while not self.done and stream is not None:
            data = self._take()
            left = deadline - reactor.now
            if left <= 0.0 and not self.done:
                return False
            if data is None:
                await stream.body_readable(min(seconds, left))
            elif reactor.is_turn_over():
                await reactor.turn()
        return True

    def copy_for(self, request: Request) -> RequestBody:
        """Return the same body, which was read whole, for a request that goes on when this one is over. Raises FileFailed."""
        copy = RequestBody(request, None)
        copy.length = copy.size = self.size
        copy.data = self.data
        copy.is_withheld = self.is_withheld
        if self.file >= 0:
            try:
                copy.file = os.dup(self.file)
            except OSError as error:
                raise FileFailed("dup", self.file_path, error) from None
            copy.file_path = self.file_path
        return copy

    def read_file(self, offset: int, count: int) -> bytes:
        """Return a piece of a body that was read into a file, at least a byte. Raises FileFailed."""
        try:
            data = os.pread(self.file, count, offset)
        except OSError as error:
            raise FileFailed("pread", self.file_path, error) from None
        if not data:
            raise FileFailed("pread", self.file_path, OSError(errno.EIO, "the file is shorter than the body"))
        return data

    def close(self) -> None:
        """Give the temporary file back; a file with a name is removed, unless it is whole and to be kept."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
        if self.is_named:
            self.is_named = False
            if not self.is_kept:
                self._remove()
        self.data = None
