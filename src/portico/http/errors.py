"""How a request ends otherwise than with a handler's own response.

RequestOutcome
├── HTTPError          refuse with a status: error pages, `error_page` and the error log take it from there
├── InternalRedirect   start again with another URI or in a named location (error_page, try_files, index, X-Accel-Redirect)
└── CloseConnection    nginx's 444: close without a response

FileFailed             a file of ours failed: 500, or, once the header section is sent, the end of the connection
BodyCutShort           the source of a body ended before its end

What a client's connection or an upstream's does is of the types of its side (`NetworkSignal` in net/reactor.py).
"""

from __future__ import annotations

from typing import final

from portico.errorlog import INFO


class RequestOutcome(Exception):
    """Base of the three ways out of a handler that are not a Response."""


@final
class HTTPError(RequestOutcome):
    """Refuse the request with `status`; `reason` is for the error log (empty: nothing to log), never for the client."""

    def __init__(self, status: int, reason: str = "", level: int = INFO) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.level = level
        self.fields: tuple[tuple[bytes, bytes], ...] = ()  # header fields of the response: WWW-Authenticate
        self.close = False  # the connection cannot go on: request framing is in doubt


def wrong_method(method: bytes, what: str, methods: str = "GET and HEAD") -> HTTPError:
    """Return the refusal of a method by `what`, which answers `methods` only."""
    return HTTPError(405, f'client sent method "{method.decode("ascii", "backslashreplace")}": {what} answers {methods} only')


@final
class InternalRedirect(RequestOutcome):
    """Process the request again. `named` ("@name") wins over `uri`; `query` None keeps the present one."""

    def __init__(self, uri: bytes, query: bytes | None = None, named: str = "") -> None:
        super().__init__(uri, named)
        self.uri = uri
        self.query = query
        self.named = named


@final
class CloseConnection(RequestOutcome):
    """Close the connection without a response (`return 444`)."""


@final
class FileFailed(Exception):
    """A file of ours (a temporary one, or what is being sent) cannot be written or read; no client or upstream is to blame.

    Its text names the call, the path and the reason as nginx does: `pwrite() "/tmp/body.x" failed (28: No space left on device)`.
    """

    def __init__(self, call: str, path: str, error: OSError) -> None:
        super().__init__(f'{call}() "{path}" failed ({error.errno}: {error.strerror})')


@final
class BodyCutShort(Exception):
    """The source of a body ended before its end: the connection must be closed to tell the client."""
