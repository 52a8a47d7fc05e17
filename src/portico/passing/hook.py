"""What attaches to a handler that asks an upstream, and which the handler does not know: `proxy_cache` and `proxy_store`.

    before_send       the request is about to be sent: its method, more header fields, whether a client that leaves ends it
    on_failure        no upstream has responded
    on_head           the upstream's header section is here: another response may take its place
    on_intercepted    … or an error page of the location does
    sink              who gets a copy of the body
    on_response       the client's response was made of it: its header fields may change

They are called in this order, each at most once for a request, and none of them waits. A handler has one hook or none; it belongs to
the location, so what it knows of a request is in the request (`request.upstream`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.passing.protocol import UpstreamRequest


class Sink:
    """Who gets a copy of a body. It ends with `finish` or `abort`, and none of this raises."""

    def write(self, data: bytes) -> None:
        """Take the next part of the content."""
        raise NotImplementedError

    def finish(self) -> None:
        """Note that the content is complete."""
        raise NotImplementedError

    def abort(self) -> None:
        """Note that the rest will not come."""
        raise NotImplementedError

    def is_wanted(self) -> bool:
        """Return whether it is worth reading the rest when the client has left."""
        raise NotImplementedError


class ResponseHook:
    """Sees requests on their way to an upstream and the responses on their way back. Overrides what it needs."""

    def before_send(self, request: Request, asked: UpstreamRequest) -> None:
        """Change what the upstream is sent."""

    def on_failure(self, request: Request, condition: int) -> None:
        """Note that no peer has responded; `condition` says how the last attempt failed (failure.py)."""

    def on_head(self, request: Request, head: ResponseHead) -> Response | None:
        """Return a response to send in place of the upstream's, whose body nobody reads then. Raises HTTPError."""
        return None

    def on_intercepted(self, request: Request, head: ResponseHead) -> None:
        """Note that `error_page` shows a page in place of the upstream's response (`proxy_intercept_errors`)."""

    def sink(self, request: Request, head: ResponseHead, method: bytes) -> Sink | None:
        """Return who gets the body of a buffered response; None: nobody does.

        `method`: that of the upstream's request. With HEAD the sink is aborted at once, as there is no body.
        """
        return None

    def on_response(self, request: Request, head: ResponseHead, response: Response) -> None:
        """Change the client's response, whose body goes to the sink as well. Called when there is a sink."""
