"""`return`: an answer straight from the configuration. (nginx: ngx_http_rewrite_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.directive import IF_LOCATION, IF_SERVER, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.config.values import number_of
from portico.http.error_pages import own_page
from portico.http.errors import CloseConnection, HTTPError
from portico.http.response import ALL_CONDITIONS, EMPTY, BytesBody, Response
from portico.variables.template import Template, template

if TYPE_CHECKING:
    from portico.http.request import Request

_REDIRECTS: Final = (301, 302, 303, 307, 308)
# 444 is nginx's own; of 408 and 499 it holds that nobody is there to read an answer.
_CLOSING: Final = (408, 444, 499)
_URL_STARTS: Final = ("http://", "https://", "$scheme")


@final
class Return:
    """A `return` as written; `text` is the body or the URL."""

    def __init__(self, status: int, text: Template | None) -> None:
        self.status = status
        self.text = text


def _return(statement: Statement) -> Return:
    first = statement.args[0]
    status = number_of(first.text)
    if status is None:
        if len(statement.args) == 1 and first.text.startswith(_URL_STARTS):
            return Return(302, template(statement))
        raise statement.fail(f'invalid return code "{first.text}"', first)
    if status > 999:
        raise statement.fail(f'invalid return code "{first.text}"', first)
    return Return(status, template(statement, 1) if len(statement.args) == 2 else None)


RETURN: Final = Directive[Return | None](
    "return", SERVER | LOCATION | IF_SERVER | IF_LOCATION, _return, args="1-2", many=True, default=None,
    syntax="CODE [TEXT] | CODE URL | URL",
    doc="Ends the request with this status. With 301, 302, 303, 307 and 308 the second word is where to "
    "redirect to, with any other the text of the answer; a URL alone is a 302. A status from 400 on "
    "without a text is an error as any other: `error_page` applies. 444 closes the connection without "
    "an answer.",
    example="return 301 https://$host$request_uri;",
)


def answer(request: Request, given: Return) -> Response:
    """What a `return` says. Raises HTTPError (error pages apply) and CloseConnection."""
    status = given.status
    text = given.text
    if status >= 400 and (text is None or not text.text):
        if status in _CLOSING:
            raise CloseConnection()
        raise HTTPError(status)
    request.response = Response(status, EMPTY)  # $status has it already
    value = b"" if text is None else text.render(request)
    if status in _REDIRECTS:
        response = own_page(request, status)
        response.location = value
        return response
    response = Response(status, BytesBody(value) if value else EMPTY)
    if status == 204:
        response.content_length = -1
    else:
        response.content_type = request.location.core.content_type_of(request.uri)
    response.conditions = ALL_CONDITIONS
    return response
