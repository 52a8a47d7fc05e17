"""A page that another one includes: asked for at once, on a task of its own, and used when its turn has come.

The task gets the response and reads a bounded part of its body ahead. Then the including page takes the rest itself, so that nobody
waits for one body in two places. When the page is given up, what still runs ends as when a client leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ERR
from portico.features.ssi.page import IN_MEMORY, Order, page_of
from portico.features.ssi.settings import most_in_memory
from portico.features.ssi.shared import SsiMistake
from portico.http.errors import BodyCutShort, CloseConnection, FileFailed, HTTPError
from portico.http.phases import apply_filters
from portico.http.response import STREAM, Body, BytesBody, Response
from portico.http.subrequest import answer_of, finish, subrequest_of
from portico.net.reactor import SUSPEND, ClientGone, NetworkSignal, Task

if TYPE_CHECKING:
    from portico.features.ssi.shared import Shared
    from portico.http.request import Request
    from portico.http.server.stream import ClientStream

_MOST_AHEAD: Final = 65536  # bytes of a body that are read before its turn has come
_OWN_PAGE: Final = 0  # of `error_page_status`: an error is shown by no `error_page`, as there is a stub for it


@final
class Inclusion:
    """One subrequest of a page, and what has come of it. Raises HTTPError when subrequests ask for subrequests without end."""

    def __init__(self, request: Request, order: Order, shared: Shared) -> None:
        self.order = order
        self.shared = shared
        self.parent = request
        self.asked = asked = subrequest_of(request, order.uri, order.args)
        asked.stream = None  # a client that leaves ends the page, which ends this
        body = request.body
        if body is not None and body.was_read():
            asked.body = body
        if order.stub is not None:
            asked.error_page_status = _OWN_PAGE
        if order.variable is not None:
            IN_MEMORY.put(asked, True)
            shared.variables.setdefault(order.variable.lower(), b"")
        self.response: Response | None = None
        self.failure: Exception | None = None
        self.ahead: list[bytes] = []
        self.ended = False  # the body was read to its end
        self.running = True
        self.task: Task | None = None
        self.waiter: Task | None = None

    def start(self) -> None:
        """Begin to ask for it; return at the first wait."""
        self.task = self.asked.reactor.spawn(self._run())

    async def _run(self) -> None:
        try:
            self.response = await answer_of(self.asked)
            if self.order.variable is not None:
                await self._set_variable(self.response, self.order.variable)
            else:
                await self._read_ahead(self.response)
        except (HTTPError, CloseConnection, BodyCutShort, FileFailed, NetworkSignal) as failure:
            self.failure = failure
        finally:
            self.running = False
            self._wake()

    async def _set_variable(self, response: Response, name: bytes) -> None:
        """Make the whole body the value of a variable; that of an error changes nothing. Raises BodyCutShort when it is too long."""
        most = most_in_memory(self.asked.location)
        pieces: list[bytes] = []
        size = 0
        body = response.body
        while True:
            data = body.take()
            if data is None:
                await self._wait_for(body)
                continue
            if not data:
                break
            pieces.append(data)
            size += len(data)
            if size > most:
                self.asked.log_error(ERR, f"too big subrequest response: more than {most} bytes (subrequest_output_buffer_size)")
                raise BodyCutShort
        if size and response.status < 300:
            try:
                self.shared.set(name, b"".join(pieces))
            except SsiMistake as mistake:
                self.asked.log_error(ERR, str(mistake))
        self._end(response)

    async def _read_ahead(self, response: Response) -> None:
        """Read what comes first; a stub takes the place of an error, or of nothing at all."""
        stub = self.order.stub
        if stub is not None and response.is_error:
            response = self._put_stub(response, stub, True)
            stub = None
        body = response.body
        size = 0
        while size < _MOST_AHEAD and (stub is not None or body.kind == STREAM):
            data = body.take()
            if data is None:
                await self._wait_for(body)
            elif data:
                stub = None
                self.ahead.append(data)
                size += len(data)
                self._wake()
            elif stub is not None:
                response = self._put_stub(response, stub, False)
                stub = None
                body = response.body
            else:
                self._end(response)
                return

    async def _wait_for(self, body: Body) -> None:
        """Wait for more of a body, which may have worked long enough without any."""
        await body.wait()
        reactor = self.asked.reactor
        if reactor.is_turn_over():
            await reactor.turn()

    def _put_stub(self, response: Response, stub: bytes, is_error: bool) -> Response:
        """Put a stub in the place of a response, whose filters see it as they would have seen that one."""
        response.body.close()
        made = Response(response.status, BytesBody(stub))
        made.content_type = response.content_type
        if is_error and self.parent.response is not None:
            made.content_type = self.parent.response.content_type
        if is_error or page_of(self.asked) is not None:
            apply_filters(self.asked, made)
        self.response = made
        return made

    def _wake(self) -> None:
        if self.waiter is not None:
            self.asked.reactor.soon(self.waiter)

    def _end(self, response: Response) -> None:
        self.ended = True
        self.response = None
        finish(self.asked, response)

    # -- for the page that includes it -------------------------------------------------------------------------------

    def take(self) -> bytes | None:
        """Return the next bytes; b"" at the end; None when nothing is there yet. Raises whatever it has failed with."""
        if self.ahead:
            data = b"".join(self.ahead)
            self.ahead = []
            return data
        if self.running:
            return None
        if self.failure is not None:
            raise self.failure
        response = self.response
        if response is None:
            if not self.ended:
                raise BodyCutShort  # a defect of ours, in the log already
            return b""
        taken = response.body.take()
        if taken is not None and not taken:
            self._end(response)
        return taken

    async def wait(self) -> None:
        """Return when `take` is worth another try. Raises what the body raises, and ClientGone."""
        if self.ahead:
            return
        stream = self.parent.stream
        if stream is not None:
            stream.watch()
        try:
            if self.running:
                await self._wait_for_task()
            elif self.response is not None:
                await self.response.body.wait()
        finally:
            if stream is not None:
                stream.unwatch()

    async def _wait_for_task(self) -> None:
        self.waiter = self.asked.reactor.current
        try:
            await SUSPEND
        finally:
            self.waiter = None

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        """Wait until the client takes more; meanwhile the body may be read into its buffers."""
        if self.running or self.response is None:
            await client.room(seconds)
        else:
            await self.response.body.absorb(client, seconds)

    def close(self) -> None:
        """Release everything, finished or not."""
        task = self.task
        if self.running and task is not None and not task.done:
            task.throw(ClientGone())
        response = self.response
        self.response = None
        if response is not None:
            response.body.close()
