"""What a location is made of: handlers in phase order, filters, loggers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response

# Phases in the order they run; nginx's, as far as handlers exist for them.
REWRITE: Final = 1
PREACCESS: Final = 2
ACCESS: Final = 3
PRECONTENT: Final = 4
CONTENT: Final = 5


class Handler:
    """One step of a location: responds to the request, or lets it pass (None), or raises a RequestOutcome."""

    def __init__(self) -> None:
        self.is_async = False

    def handle(self, request: Request) -> Response | None:
        """Decide without waiting. Called when `is_async` is false."""
        raise NotImplementedError

    async def handle_async(self, request: Request) -> Response | None:
        """Do the same with I/O. Called when `is_async` is true."""
        raise NotImplementedError

    def describe(self) -> str:
        """Return one line for people: what this step does."""
        return type(self).__name__


class HeaderFilter:
    """Changes the header section of a response before it is sent."""

    def apply(self, request: Request, response: Response) -> None:
        """Edit `response` in place; may replace its body by a filtered one."""
        raise NotImplementedError

    def changes_full(self) -> bool:
        """Return whether it may change the response to a request without conditions and ranges."""
        return True

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        """Return whether it leaves everything in a response with this header section as it is, and at most appends fields.

        When every filter says so, the header section may be finished (`Response.finished`) and the attributes empty; then `apply` is
        called for those alone that append (`appends`).
        """
        return False

    def appends(self) -> bool:
        """Return whether it may append fields to a response that it preserves; it does so by `Response.add` or `Response.append`."""
        return False

    def concerns_subrequests(self) -> bool:
        """Return whether it looks at the response to a subrequest, a part of another response without a header section of its own."""
        return False


def can_be_finished(editors: list[HeaderFilter], request: Request, head: ResponseHead) -> bool:
    """Return whether nothing but `Response.add` changes a response with this header section: no filter, and not the way of
    the request.

    Not of a subrequest, either: who asks it reads its fields.
    """
    if request.parent is not None:
        return False
    for editor in editors:
        if not editor.preserves(request, head):
            return False
    return request.carried is None and request.error_page_status <= 0


class Logger:
    """Writes something about a finished request."""

    def log(self, request: Request) -> None:
        """Called once per client request, after the last byte; must not raise."""
        raise NotImplementedError

    def reopen(self) -> None:
        """USR1: open the files again."""

    def flush(self) -> None:
        """Once a second: write out what has been buffered long enough."""

    def close(self) -> None:
        """Write out everything: the worker ends."""


class BodyTransform:
    """A sans-IO transform of a body: compression, substitution."""

    def feed(self, data: bytes) -> bytes:
        """Transform one piece; may hold bytes back."""
        raise NotImplementedError

    def flush(self) -> bytes:
        """Return what must not wait for more to come: the source has nothing for now. b"" keeps everything held back."""
        return b""

    def finish(self) -> bytes:
        """Return the rest."""
        raise NotImplementedError
