"""`more_set_headers`, `more_clear_headers`, `more_set_input_headers`, `more_clear_input_headers`: declared and attached."""

from __future__ import annotations

from typing import Final

from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.features.headers_more import input, output
from portico.features.headers_more.commands import Command, commands_of, parse
from portico.features.headers_more.input import MoreInputHeaders
from portico.features.headers_more.output import MoreHeaders
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import REWRITE

_ALL: Final = HTTP | SERVER | LOCATION | IF_LOCATION
_SYNTAX_OF_OPTIONS: Final = "[-t TYPES] [-s STATUSES]"


def _set(statement: Statement) -> Command:
    return parse(statement, "tsa", False, output.FRAMING, output.FRAMING)


def _clear(statement: Statement) -> Command:
    return parse(statement, "ts", True, output.FRAMING, output.FRAMING)


def _set_input(statement: Statement) -> Command:
    made = parse(statement, "tr", False, input.FRAMING, input.NOT_BY_PATTERN)
    for change in made.changes:
        if change.is_pattern and not change.removes():
            hint = "name one field, or write no value to remove them"
            raise statement.fail(f'a value for all fields "{change.key.decode()}*"', None, hint)
    return made


def _clear_input(statement: Statement) -> Command:
    return parse(statement, "t", True, input.FRAMING, input.NOT_BY_PATTERN)


MORE_SET_HEADERS: Final = Directive[Command | None](
    "more_set_headers", _ALL, _set, args="1+", many=True, default=None, beyond=True,
    syntax=f"{_SYNTAX_OF_OPTIONS} [-a] 'NAME: VALUE' ...",
    doc="Sets fields of responses of whatever status, in place of those of the same name, `Server` and `Content-Type` included; an "
    "empty value removes them. `-s '404 500'`: only of responses with one of these statuses. `-t 'text/html text/plain'`: only of "
    "these media types. `-a`: adds to those that are there. A level has the lines of those around it, too, and runs them first. What "
    "`add_header` and `expires` add comes afterwards. `Connection`, `Keep-Alive`, `Content-Length` and `Transfer-Encoding` cannot be "
    "changed.",
    example="more_set_headers -s '404 500' 'X-Error: yes' 'Server: example';",
)
MORE_CLEAR_HEADERS: Final = Directive[Command | None](
    "more_clear_headers", _ALL, _clear, args="1+", many=True, default=None, beyond=True,
    syntax=f"{_SYNTAX_OF_OPTIONS} NAME ...",
    doc="Removes fields of responses, as `more_set_headers` with an empty value. `X-*`: all that begin with `X-`.",
    example="more_clear_headers Server X-Powered-By 'X-Internal-*';",
)
MORE_SET_INPUT_HEADERS: Final = Directive[Command | None](
    "more_set_input_headers", _ALL, _set_input, args="1+", many=True, default=None, beyond=True,
    syntax="[-r] [-t TYPES] 'NAME: VALUE' ...",
    doc="Sets fields of requests, at the end of the rewrite phase: variables and upstreams see them from then on, `$host` that of "
    "`Host`. An empty value removes them. `-r`: only in place of one that is there. `-t`: only where the request's Content-Type is "
    "one of these. "
    "`Connection`, `Content-Length` and `Transfer-Encoding` cannot be changed.",
    example="more_set_input_headers -r 'User-Agent: hidden';",
)
MORE_CLEAR_INPUT_HEADERS: Final = Directive[Command | None](
    "more_clear_input_headers", _ALL, _clear_input, args="1+", many=True, default=None, beyond=True,
    syntax="[-t TYPES] NAME ...",
    doc="Removes fields of requests, as `more_set_input_headers` with an empty value. `X-*`: all that begin with `X-`.",
    example="more_clear_input_headers 'X-Internal-*';",
)


class HeadersMoreFeature(Feature):
    """Attaches to the locations that have such lines or are inside a block that has. Must come behind the rewrite module."""

    def location(self, build: LocationBuild) -> None:
        commands = commands_of(build.scope, (MORE_SET_HEADERS, MORE_CLEAR_HEADERS))
        if commands:
            build.add_header_filter(MoreHeaders(commands), output.ORDER)
        commands = commands_of(build.scope, (MORE_SET_INPUT_HEADERS, MORE_CLEAR_INPUT_HEADERS))
        if commands:
            build.add_handler(REWRITE, MoreInputHeaders(commands))


FEATURE: Final = HeadersMoreFeature(
    "http_headers_more", (MORE_SET_HEADERS, MORE_CLEAR_HEADERS, MORE_SET_INPUT_HEADERS, MORE_CLEAR_INPUT_HEADERS)
)
