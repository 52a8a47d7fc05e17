"""Pages for errors: nginx's own texts, and `error_page`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico import __version__
from portico.config import values
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.http.errors import HTTPError, InternalRedirect
from portico.http.plan import ErrorPage
from portico.http.request import NO_ERROR_PAGE
from portico.http.response import BytesBody, Response
from portico.variables.template import template_of

if TYPE_CHECKING:
    from portico.http.request import Request

TOO_LARGE_HEADER: Final = 494
CERTIFICATE_ERROR: Final = 495
NO_CERTIFICATE: Final = 496
PLAIN_TO_TLS: Final = 497
CLIENT_CLOSED: Final = 499

REASONS: Final[dict[int, bytes]] = {
    100: b"Continue", 101: b"Switching Protocols", 102: b"Processing", 103: b"Early Hints",
    200: b"OK", 201: b"Created", 202: b"Accepted", 204: b"No Content", 206: b"Partial Content",
    301: b"Moved Permanently", 302: b"Moved Temporarily", 303: b"See Other", 304: b"Not Modified",
    307: b"Temporary Redirect", 308: b"Permanent Redirect",
    400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found",
    405: b"Not Allowed", 406: b"Not Acceptable", 408: b"Request Time-out", 409: b"Conflict", 410: b"Gone",
    411: b"Length Required", 412: b"Precondition Failed", 413: b"Request Entity Too Large",
    414: b"Request-URI Too Large", 415: b"Unsupported Media Type", 416: b"Requested Range Not Satisfiable",
    421: b"Misdirected Request", 429: b"Too Many Requests",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Temporarily Unavailable",
    504: b"Gateway Time-out", 505: b"HTTP Version Not Supported", 507: b"Insufficient Storage",
}  # fmt: skip

# What nginx writes into the page of a status; statuses not here get an empty answer.
_TITLES: Final[dict[int, bytes]] = {
    301: b"301 Moved Permanently", 302: b"302 Found", 303: b"303 See Other", 307: b"307 Temporary Redirect",
    308: b"308 Permanent Redirect",
    400: b"400 Bad Request", 401: b"401 Authorization Required", 402: b"402 Payment Required", 403: b"403 Forbidden",
    404: b"404 Not Found", 405: b"405 Not Allowed", 406: b"406 Not Acceptable", 408: b"408 Request Time-out",
    409: b"409 Conflict", 410: b"410 Gone", 411: b"411 Length Required", 412: b"412 Precondition Failed",
    413: b"413 Request Entity Too Large", 414: b"414 Request-URI Too Large", 415: b"415 Unsupported Media Type",
    416: b"416 Requested Range Not Satisfiable", 421: b"421 Misdirected Request", 429: b"429 Too Many Requests",
    500: b"500 Internal Server Error", 501: b"501 Not Implemented", 502: b"502 Bad Gateway",
    503: b"503 Service Temporarily Unavailable", 504: b"504 Gateway Time-out", 505: b"505 HTTP Version Not Supported",
    507: b"507 Insufficient Storage",
}  # fmt: skip

# nginx's own codes beyond HTTP: what is sent is a 400 with these words.
_SPECIAL: Final[dict[int, tuple[bytes, bytes]]] = {
    TOO_LARGE_HEADER: (b"400 Request Header Or Cookie Too Large", b"Request Header Or Cookie Too Large"),
    CERTIFICATE_ERROR: (b"400 The SSL certificate error", b"The SSL certificate error"),
    NO_CERTIFICATE: (b"400 No required SSL certificate was sent", b"No required SSL certificate was sent"),
    PLAIN_TO_TLS: (
        b"400 The plain HTTP request was sent to HTTPS port",
        b"The plain HTTP request was sent to HTTPS port",
    ),
}

# After these the connection is not kept: where the next request begins is in doubt, or the peer misbehaves.
_CLOSING: Final = frozenset((400, 413, 414, 494, 495, 496, 497, 500, 501))


def page(status: int, tokens: bool) -> bytes:
    """nginx's page for `status`, signed by Portico; b"" for a status that has none."""
    signature = b"portico/" + __version__.encode() if tokens else b"portico"
    special = _SPECIAL.get(status)
    title = _TITLES.get(status) if special is None else special[0]
    if title is None:
        return b""
    heading = title if special is None else b"400 Bad Request"
    extra = b"" if special is None else b"<center>" + special[1] + b"</center>\r\n"
    return (
        b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n%b"
        b"<hr><center>%b</center>\r\n</body>\r\n</html>\r\n" % (title, heading, extra, signature)
    )


def _error_page(statement: Statement) -> tuple[list[int], ErrorPage]:
    words = [argument.text for argument in statement.args]
    overwrite = -1
    codes = words[:-1]
    if codes[-1].startswith("="):
        if len(codes) < 2:
            raise statement.fail(f'invalid value "{codes[-1]}"', statement.args[0])
        text = codes.pop()[1:]
        number = values.number_of(text or "0")
        if number is None:
            raise statement.fail(f'invalid value "={text}"', statement.args[len(codes)])
        overwrite = number
    statuses: list[int] = []
    for index, code in enumerate(codes):
        status = values.number_of(code)
        if status is None:
            raise statement.fail(f'invalid value "{code}"', statement.args[index])
        if status == CLIENT_CLOSED:
            raise statement.fail('value "499" cannot be used in "error_page"', statement.args[index])
        if status < 300 or status > 599:
            raise statement.fail(f'value "{code}" must be between 300 and 599', statement.args[index])
        statuses.append(status)
    target = template_of(words[-1], statement)
    if overwrite < 0 and TOO_LARGE_HEADER <= max(statuses) <= PLAIN_TO_TLS:
        overwrite = 400  # nginx: its own codes are never shown as they are
    return statuses, ErrorPage(target, overwrite)


ERROR_PAGE: Final = Directive[tuple[list[int], ErrorPage]](
    "error_page", HTTP | SERVER | LOCATION | IF_LOCATION, _error_page, args="2+", default=([], None), many=True,  # type: ignore[arg-type]
    syntax="CODE ... [=[CODE]] URI",
    doc="What to show in place of Portico's own page for these statuses: a URI (an internal redirect, as GET), a named location, or "
    "another site (a redirect, 302 unless `=code` says otherwise). `=200` changes the status that the client sees, `=` "
    "takes the one that the new URI is answered with.",
    example="error_page 500 502 503 504 /50x.html;",
)


def error_response(request: Request, error: HTTPError) -> Response:
    """The answer to an error. Raises InternalRedirect when an `error_page` takes over."""
    status = error.status
    if error.reason:
        request.log_error(error.level, error.reason)
    if error.close or status in _CLOSING:
        request.keep_alive = False
    if error.fields:  # nginx keeps them through an error_page too
        request.carry_over([*error.fields])
    if request.carried is not None:
        request.carried.content_type = b""  # it was that of the response which an internal redirect replaced, not of the error's page
    if request.stream is not None and request.parent is None:
        request.stream.expect_none()  # nginx: an error answers an Expect, no 100 Continue after it
    chosen = _chosen(request, status)
    return own_page(request, status) if chosen is None else _shown_by(request, chosen, status)


def redirect_response(request: Request, redirect: Response) -> Response:
    """Return the response to a request that the configuration redirects: to nginx a redirect is an error, too, with its `error_page`.

    Its status is its own, even where it stands in the place of another error. Raises InternalRedirect when an error page takes over.
    """
    chosen = _chosen(request, redirect.status)
    if chosen is not None:
        request.carry_over([(b"Location", redirect.location)])
        return _shown_by(request, chosen, redirect.status)
    if request.error_page_status > 0:
        request.error_page_status = 0
    return redirect


def _chosen(request: Request, status: int) -> ErrorPage | None:
    """Return the `error_page` for a status. What comes of an error page has none, but with `recursive_error_pages`."""
    location = request.location
    chosen = location.error_pages.get(status)
    if chosen is None or request.error_page_status == NO_ERROR_PAGE or location.core.recursive_error_pages:
        return chosen
    return None


def _shown_by(request: Request, chosen: ErrorPage, status: int) -> Response:
    request.error_page_status = chosen.overwrite if chosen.overwrite >= 0 else status
    target = chosen.target.render(request)
    if target.startswith(b"/"):
        uri, _, query = target.partition(b"?")
        request.become_get()
        raise InternalRedirect(uri, query)
    if target.startswith(b"@"):
        raise InternalRedirect(b"", None, target.decode("utf-8", "surrogateescape"))
    shown = chosen.overwrite if chosen.overwrite in (301, 302, 303, 307, 308) else 302
    request.error_page_status = 0
    response = own_page(request, shown)
    response.location = target
    return response


def own_page(request: Request, status: int) -> Response:
    """Portico's own page for `status`."""
    tokens = request.location.core.server_tokens.text != "off"
    text = page(status, tokens)
    response = Response(400 if status in _SPECIAL else status, BytesBody(text))
    response.is_error = True
    if text:
        response.content_type = b"text/html"
    return response
