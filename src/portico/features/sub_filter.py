"""`sub_filter`: replace strings in responses. (nginx: ngx_http_sub_filter_module.c.)

Strings are found without regard to ASCII case, the leftmost first, of those that begin at one place the one written first. What may
be the beginning of a string, at the end of a piece of the body, is held back until the next piece tells.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.http.content.media_types import MediaTypes, media_types
from portico.http.feature import Feature, LocationBuild
from portico.http.filtered import ORDER_SUB, transform_body, weaken_etag
from portico.http.handler import BodyTransform, HeaderFilter
from portico.variables.template import Template, template

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response

_ALL: Final = HTTP | SERVER | LOCATION


@final
class Substitution:
    """One `sub_filter`."""

    def __init__(self, wanted: Template, replacement: Template) -> None:
        self.wanted = wanted
        self.replacement = replacement


def _sub_filter(statement: Statement) -> Substitution:
    if not statement.args[0].text:
        raise statement.fail("empty search pattern", statement.args[0])
    return Substitution(template(statement), template(statement, 1))


SUB_FILTER: Final = Directive[Substitution | None](
    "sub_filter", _ALL, _sub_filter, args="2", many=True, default=None,
    syntax="STRING REPLACEMENT",
    doc="Replaces STRING, found without regard to case, in the bodies of answers; both may hold variables. Several stand side by "
    "side; a level that has one of its own inherits none. The answer loses its length, its Last-Modified and its ETag. Compressed "
    "answers are not looked into: `proxy_set_header Accept-Encoding \"\";` asks the upstream for plain ones.",
    example='sub_filter "http://127.0.0.1:8000/" "https://$host/";',
)
SUB_FILTER_TYPES: Final = Directive[MediaTypes](
    "sub_filter_types", _ALL, media_types, args="1+", joins=True,
    default=MediaTypes(frozenset((b"text/html",))), default_text="text/html",
    syntax="TYPE ...",
    doc="Media types that `sub_filter` works on besides text/html; `*` is every type.",
    example="sub_filter_types text/css application/javascript;",
)
SUB_FILTER_ONCE: Final = Directive[bool](
    "sub_filter_once", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Whether each string is replaced only where it is found first.", example="sub_filter_once off;",
)
SUB_FILTER_LAST_MODIFIED: Final = Directive[bool](
    "sub_filter_last_modified", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Keeps Last-Modified, and the ETag as a weak one, though the body is not what they were made for.",
    example="sub_filter_last_modified on;",
)


@final
class Needles:
    """The strings to look for, lower case, in the order written."""

    def __init__(self, strings: list[bytes]) -> None:
        self.strings = strings
        self.longest = max((len(string) for string in strings), default=0)
        self.pattern = re.compile(b"|".join(re.escape(string) for string in strings if string) or rb"(?!)")


@final
class SubTransform(BodyTransform):
    """The replacement in one body."""

    def __init__(self, needles: Needles, substitutions: list[Substitution], request: Request, once: bool) -> None:
        self.needles = needles
        self.substitutions = substitutions
        self.request = request
        self.once = once
        self.values: list[bytes | None] = [None] * len(substitutions)
        self.held: bytes = b""

    def feed(self, data: bytes) -> bytes:
        if self.held:
            data = self.held + data
            self.held = b""
        return self._replaced(data, False)

    def finish(self) -> bytes:
        data = self.held
        self.held = b""
        return self._replaced(data, True)

    def _replaced(self, data: bytes, ended: bool) -> bytes:
        if not self.needles.longest:
            return data  # each was replaced once
        lowered = data.lower()  # `re` looks for one case four times as quickly as for both
        out: list[bytes] = []
        at = 0
        while True:
            found = self.needles.pattern.search(lowered, at)
            start = len(data) if found is None else found.start()
            if not ended:
                undecided = self._undecided(lowered, at, start)
                if undecided >= 0:
                    self.held = data[undecided:]
                    out.append(data[at:undecided])
                    return b"".join(out)
            out.append(data[at:start])
            if found is None:
                return b"".join(out)
            out.append(self._value(found.group()))
            at = found.end()

    def _undecided(self, lowered: bytes, at: int, start: int) -> int:
        """Where, from `at` to `start`, a string begins that the data ends in the middle of; -1 when nowhere.

        At `start` itself, where another string was found, only those written before that one count.
        """
        first = max(at, len(lowered) - self.needles.longest + 1)
        for position in range(first, min(start + 1, len(lowered))):
            tail = lowered[position:]
            for string in self.needles.strings:
                if not string:
                    continue
                if position == start and tail.startswith(string):
                    break  # this one was found, and comes first
                if len(string) > len(tail) and string.startswith(tail):
                    return position
        return -1

    def _value(self, found: bytes) -> bytes:
        index = self.needles.strings.index(found)  # the pattern takes the first of those that begin here
        value = self.values[index]
        if value is None:
            value = self.substitutions[index].replacement.render(self.request)
            self.values[index] = value
        if self.once:
            remaining = list(self.needles.strings)
            remaining[index] = b""
            self.needles = Needles(remaining)
        return value


@final
class SubFilter(HeaderFilter):
    """`sub_filter` of one location."""

    def __init__(self, substitutions: list[Substitution], types: MediaTypes, once: bool, keep_dates: bool) -> None:
        self.substitutions = substitutions
        self.types = types
        self.once = once
        self.keep_dates = keep_dates
        self.fixed: Needles | None = None
        if all(substitution.wanted.constant is not None for substitution in substitutions):
            self.fixed = Needles([(substitution.wanted.constant or b"").lower() for substitution in substitutions])

    def concerns_subrequests(self) -> bool:
        return True

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        return not self.types.has(head.first.get(b"content-type", b""))

    def apply(self, request: Request, response: Response) -> None:
        if response.content_length == 0 or not self.types.include(response):
            return
        needles = self.fixed
        if needles is None:
            needles = Needles([substitution.wanted.render(request).lower() for substitution in self.substitutions])
            if not needles.longest:
                return
        transform_body(response, SubTransform(needles, self.substitutions, request, self.once))
        if self.keep_dates:
            weaken_etag(response)
        else:
            response.last_modified = -1.0
            response.last_modified_text = b""
            response.etag = b""


class SubFilterFeature(Feature):
    """Adds the filter where there is something to replace."""

    def location(self, build: LocationBuild) -> None:
        scope = build.scope
        substitutions = [substitution for substitution in scope.all(SUB_FILTER) if substitution is not None]
        if substitutions:
            build.add_header_filter(
                SubFilter(
                    substitutions, scope.get(SUB_FILTER_TYPES), scope.get(SUB_FILTER_ONCE), scope.get(SUB_FILTER_LAST_MODIFIED)
                ),
                ORDER_SUB,
            )


FEATURE: Final = SubFilterFeature(
    "http_sub", (SUB_FILTER, SUB_FILTER_TYPES, SUB_FILTER_ONCE, SUB_FILTER_LAST_MODIFIED), configure="--with-http_sub_module"
)
