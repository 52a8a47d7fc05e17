"""Requests that Portico asks itself while it works on a client's: `auth_request`, `mirror`, `add_before_body`, `ssi`.

A subrequest goes through the same pipeline as any request, from the server's rewrite phase on; only access is not checked again
(ngx_http_core_access_phase). It shares the client and its address, the header fields, the virtual server and the variables of its
parent (ngx_http_subrequest), and its answer goes to whoever asked, not to the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.errorlog import CRIT, ERR
from portico.http.errors import BodyCutShort, CloseConnection, FileFailed, HTTPError
from portico.http.phases import respond
from portico.http.request import Request
from portico.http.routing.target import RequestTarget
from portico.net.reactor import NetworkSignal

if TYPE_CHECKING:
    from portico.http.response import Body, Response

MAX_DEPTH: Final = 50  # nginx: NGX_HTTP_MAX_SUBREQUESTS
_DRAIN: Final = 65536  # bytes of an unwanted body worth reading to keep its connection


def subrequest_of(parent: Request, uri: bytes, args: bytes) -> Request:
    """A GET for `uri` without a body. Raises HTTPError 500 when subrequests ask for subrequests without end."""
    if parent.depth() > MAX_DEPTH:
        shown = uri.decode("utf-8", "backslashreplace")
        raise HTTPError(500, f'subrequests cycle while processing "{shown}"', ERR)
    request = Request(parent.client, parent.line, b"GET", parent.version, parent.fields, parent.server)
    request.parent = parent
    request.remote_addr = parent.remote_addr
    request.remote_port = parent.remote_port
    request.told_address = parent.told_address
    request.internal = True
    request.stream = parent.stream
    request.target = RequestTarget(parent.target.raw, uri, args, quoted=False, is_plain=False)
    request.asked_host = parent.asked_host
    request.keep_alive = parent.keep_alive
    if parent.values is None:
        parent.values = {}
    request.values = parent.values
    if parent.named is None:
        parent.named = {}
    request.named = parent.named
    request.inherit(parent)
    return request


def clone_of(parent: Request) -> Request:
    """A GET, without a body, for what the parent asks for, in the location that it is in (NGX_HTTP_SUBREQUEST_CLONE)."""
    request = subrequest_of(parent, parent.uri, parent.args)
    request.target = parent.target
    request.location = parent.location
    request.named_location = parent.named_location
    request.captures = parent.captures
    return request


async def answer_of(request: Request) -> Response:
    """The answer to a subrequest; the caller closes its body. Raises what the client's side raises, and CloseConnection."""
    response = await respond(request)
    request.status = response.status
    return response


def finish(request: Request, response: Response) -> None:
    """The answer has been used: give back what it holds, and log the subrequest where `log_subrequest` says so."""
    _drain(response.body)
    response.body.close()
    if request.location.core.log_subrequest:
        for logger in request.location.loggers:
            logger.log(request)


async def content_of(response: Response, most: int) -> bytes:
    """All of an answer's body. Raises ValueError when it is longer than `most` bytes, and BodyCutShort."""
    body = response.body
    pieces: list[bytes] = []
    length = 0
    while True:
        data = body.take()
        if data is None:
            await body.wait()
            continue
        if not data:
            return b"".join(pieces)
        length += len(data)
        if length > most:
            raise ValueError(f"longer than {most} bytes")
        pieces.append(data)


def _drain(body: Body) -> None:
    """Read what is there already of a body that nobody wants: when that is all, its connection can be used again."""
    taken = 0
    try:
        while taken < _DRAIN:
            data = body.take()
            if not data:
                return
            taken += len(data)
    except (HTTPError, BodyCutShort, FileFailed):
        return


async def answer_unseen(request: Request) -> None:
    """Make the answer to a subrequest that is asked for its own sake (`mirror`), and let it go. What fails is in the error log."""
    try:
        response = await answer_of(request)
        finish(request, response)
    except FileFailed as failed:
        request.log_error(CRIT, str(failed))
    except (HTTPError, CloseConnection, BodyCutShort, NetworkSignal):
        pass  # what there was to say is in the error log
