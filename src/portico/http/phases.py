"""A request through its server's and its location's handlers, until one answers.

Refusals, error pages, internal redirects and named locations are one mechanism: something raises, the request is pointed elsewhere,
and the loop begins again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.config.regex import RegexFailed
from portico.errorlog import ALERT, CRIT, ERR
from portico.http.body import check_length
from portico.http.error_pages import error_response, own_page, redirect_response
from portico.http.errors import FileFailed, HTTPError, InternalRedirect
from portico.http.request import MAX_REDIRECTS, NO_ERROR_PAGE
from portico.http.response import UPGRADED, Response
from portico.http.routing.uri import ESCAPE_URI, escape_uri, unescape

if TYPE_CHECKING:
    from portico.http.plan import Location
    from portico.http.request import CarriedOver, Request


async def respond(request: Request) -> Response:
    """Return the response to `request`. Raises CloseConnection, ClientGone, ClientFailed and ClientTimeout."""
    rewritten = request.named_location
    while True:
        try:
            if request.refusal is not None and request.error_page_status == NO_ERROR_PAGE:
                raise request.refusal
            if not rewritten:
                rewritten = True
                for handler in request.server.rewrites:
                    response = handler.handle(request)
                    if response is not None:
                        return _given(request, response)
            response = enter_location(request)
            if response is None and request.location.rewrites:
                response = _rewrite(request)
                if response is None and request.target.seeks_location:
                    continue
            if response is not None:
                return _given(request, response)
            for handler in request.location.handlers:
                if handler.is_async:
                    response = await handler.handle_async(request)
                else:
                    response = handler.handle(request)
                if response is not None:
                    return _given(request, response)
            raise HTTPError(404)
        except HTTPError as error:
            refused = _error_answer(request, error)
        except InternalRedirect as redirect:
            refused = _follow(request, redirect)
        except (RegexFailed, FileFailed, OSError) as failure:
            refused = _error_answer(request, _own_failure(failure))
        if refused is not None:
            return _finished(request, refused)
        rewritten = request.named_location  # nginx goes back to the server's rewriting, but for a named location


def _own_failure(failure: Exception) -> HTTPError:
    """Return the error for what no client and no upstream is to blame for."""
    if isinstance(failure, RegexFailed):
        return HTTPError(500, str(failure), ALERT)
    if isinstance(failure, FileFailed):
        return HTTPError(500, str(failure), CRIT)
    return HTTPError(500, f"a system call failed ({failure})", CRIT)  # one of ours: connections raise types of their own


def _rewrite(request: Request) -> Response | None:
    """Run the location's rewrite phase. It may respond, put the block of an `if` in the location's place, or change the URI."""
    request.target = request.target.settled()
    location = request.location
    for handler in location.rewrites:
        response = handler.handle(request)
        if response is not None:
            return response
        if request.location is not location:  # the block of `limit_except`, which comes first, or of an `if`: what it has goes on
            for inner in request.location.rewrites:
                inner.handle(request)
            break
    if request.target.seeks_location:
        request.named_location = False
        request.redirects += 1
        if request.redirects > MAX_REDIRECTS:
            shown = request.uri.decode("utf-8", "backslashreplace")
            request.log_error(ERR, f'rewrite or internal redirection cycle while processing "{shown}"')
            return _plain_failure(request, 500)
    return None


def _given(request: Request, response: Response) -> Response:
    """Return the response that a handler gives, finished. Raises InternalRedirect when it redirects, and there is an `error_page`."""
    if response.is_error and response.status < 400:
        response = redirect_response(request, response)
    elif request.body is not None and response.upstream is None and request.parent is None and not response.is_error:
        request.body.check_unread()
    return _finished(request, response)


def _finished(request: Request, response: Response) -> Response:
    """Set the status that an error page keeps, and run the header filters."""
    if request.error_page_status > 0 and not response.is_error:
        if response.status == 204 and response.content_length < 0:
            response.content_length = 0  # with another status it has a body, of no length
            response.content_type = request.location.core.content_type_of(request.uri)
        response.change_status(request.error_page_status)
        if response.status == 204:  # ngx_http_header_filter, when the status is nginx's own
            response.content_type = b""
            response.last_modified_text = b""
    if request.carried is not None:
        _carry_over(request.carried, response)
    request.response = response  # for $sent_http_…, as far as it is made
    apply_filters(request, response)
    return response


def apply_filters(request: Request, response: Response) -> None:
    """Run the header filters of the request's location; of a subrequest those that concern it."""
    location = request.location
    body = response.body
    for header_filter in location.header_filters if response.finished is None else location.adding_filters:
        if request.parent is None or header_filter.concerns_subrequests():
            header_filter.apply(request, response)
    if body.kind == UPGRADED:
        response.body = body  # bytes of another protocol: no filter of bodies sees them (nginx: r->upgrade)


def _carry_over(carried: CarriedOver, response: Response) -> None:
    """Add what is kept of the response that this one replaces."""
    if carried.content_type and not response.is_error and (response.upstream is None or not response.content_type):
        response.content_type = carried.content_type
    if carried.fields:
        fields: list[tuple[bytes, bytes]] = []
        for name, value in carried.fields:
            if name.lower() != b"location":
                fields.append((name, value))
            elif not response.location:  # else it is that of the redirect which counts (nginx: ngx_http_clear_location)
                response.location = value
        response.fields = fields + response.fields


def _error_answer(request: Request, error: HTTPError) -> Response | None:
    """Return the error's response; None when the request was pointed at an error page."""
    try:
        return error_response(request, error)
    except InternalRedirect as redirect:
        return _follow(request, redirect)


def _follow(request: Request, redirect: InternalRedirect) -> Response | None:
    """Point the request at the redirect's target; return a response when that is not possible."""
    request.redirects += 1
    request.internal = True
    if request.upstream is not None:
        request.upstream.redirected = True
    if request.redirects > MAX_REDIRECTS:
        request.log_error(
            ERR, f'rewrite or internal redirection cycle while internally redirecting to "{_target(redirect)}"'
        )
        return _plain_failure(request, 500)
    if redirect.named:
        location = request.server.named.get(redirect.named)
        if location is None:
            request.log_error(ERR, f'could not find named location "{redirect.named}"')
            return _plain_failure(request, 500)
        request.location = location
        request.named_location = True
        return None
    request.target = request.target.redirected(redirect.uri, request.args if redirect.query is None else redirect.query)
    request.named_location = False
    return None


def redirect_to(value: bytes) -> InternalRedirect:
    """Return the internal redirect that an upstream asked for by the value of X-Accel-Redirect (ngx_http_parse_unsafe_uri).

    A named location, or a path and a query. The path is decoded and otherwise left as it is: `#` is a character like any other,
    and slashes are not merged, so that a whole URL can stand in it. Raises HTTPError 404 for one that does not begin with a slash,
    goes up, or has a zero byte.
    """
    if value.startswith(b"@"):
        return InternalRedirect(b"", None, value.decode("utf-8", "surrogateescape"))
    try:
        uri, args = split_unsafe(value)
    except ValueError as error:
        shown = error.args[0].decode("utf-8", "backslashreplace")
        raise HTTPError(404, f'unsafe URI "{shown}" was detected while reading response header from upstream', ERR) from None
    return InternalRedirect(uri, args)


def split_unsafe(value: bytes) -> tuple[bytes, bytes]:
    """Return the path, decoded, and the arguments of a URI that an upstream or a page asks for (ngx_http_parse_unsafe_uri).

    Raises ValueError(path) for one that does not begin with a slash, goes up, or has a zero byte.
    """
    path, _, args = value.partition(b"?")
    uri = unescape(path)
    if not uri.startswith(b"/") or uri.find(b"\0") >= 0 or (uri + b"/").find(b"/../") >= 0:
        raise ValueError(uri)
    return uri, args


def _target(redirect: InternalRedirect) -> str:
    return redirect.named or redirect.uri.decode("utf-8", "backslashreplace")


def _plain_failure(request: Request, status: int) -> Response:
    """Return an error's own page, without another look at `error_page`."""
    request.keep_alive = False
    if request.error_page_status > 0:
        request.error_page_status = 0
    return own_page(request, status)


def enter_location(request: Request) -> Response | None:
    """Choose the location (unless a named one was chosen) and check what it demands. Raises HTTPError."""
    location: Location
    if request.named_location:
        location = request.location
    else:
        match = request.server.locations.find(request.uri)
        location = match.value
        request.location = location
        if match.captures is not None:
            request.captures = match.captures
        if match.named is not None:
            request.keep_names(match.named)
        if match.auto_redirect:
            return _with_slash(request, location)
    if location.internal and not request.internal:
        raise HTTPError(404, f"{location.describe()} is internal: no client reaches it")
    if request.fields.content_length > 0 and request.body is not None and request.error_page_status == NO_ERROR_PAGE:
        check_length(request)  # a subrequest without a body has its parent's fields
    return None


def _with_slash(request: Request, location: Location) -> Response:
    """`location /x/` with a proxy behind it was asked for as "/x": nginx sends the client there."""
    response = own_page(request, 301)
    target = escape_uri(location.prefix, ESCAPE_URI)
    response.location = target + b"?" + request.args if request.args else target
    return response
