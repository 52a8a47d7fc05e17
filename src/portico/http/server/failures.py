"""What the failure of a request means once no response can tell the client: a status for the access log, a line for the error log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.errorlog import ALERT, CRIT, INFO
from portico.http.errors import CloseConnection, FileFailed, HTTPError
from portico.net.reactor import ClientFailed, ClientGone, ClientTimeout, Shutdown, UpstreamFailed, UpstreamTimeout

if TYPE_CHECKING:
    from portico.http.request import Request


def note_failure(request: Request, failure: Exception) -> None:
    """Note why a request ended before its response was sent to the end: its connection serves no other one."""
    request.keep_alive = False
    if isinstance(failure, CloseConnection):
        request.status = 444
    elif isinstance(failure, ClientGone):
        request.status = request.status or 499
        request.log_error(INFO, "client closed connection while waiting for the answer")
    elif isinstance(failure, ClientTimeout):
        _timed_out(request)
    elif isinstance(failure, ClientFailed):
        # As nginx: 400 while the body is read, 499 when the client fails at anything else.
        request.status = request.status or (400 if request.body is not None and not request.body.done else 499)
        request.log_error(INFO, f"client connection failed: {failure.strerror}")
    elif isinstance(failure, Shutdown):
        request.status = request.status or 499
    elif isinstance(failure, HTTPError):  # the body's source failed after the header section was sent
        if failure.reason:
            request.log_error(failure.level, failure.reason)
    elif isinstance(failure, FileFailed):
        request.log_error(CRIT, str(failure))
    elif isinstance(failure, (UpstreamFailed, UpstreamTimeout)):
        request.status = request.status or 502
        request.log_error(ALERT, f"internal error: a failure of an upstream was not handled ({failure})")


def _timed_out(request: Request) -> None:
    core = request.location.core
    if request.status == 0:
        request.status = 408
        text = f"client timed out: no part of its body within {core.client_body_timeout:g}s (client_body_timeout)"
    else:
        text = f"client timed out: took no data within {core.send_timeout:g}s (send_timeout)"
    request.log_error(INFO, text)
