"""Carries out the commands of one page. (Sans-IO: what a page includes is returned as an `Order`.)

How a page stands:

    hidden      what comes is not for the client: inside a block, or a part of an `if` that is not chosen
    in_block    … but kept for `stub`, commands too, as text
    branch      where in an `if` we are: OUTSIDE, IF (elif and else may follow) or ELSE
    chosen      a part of the `if` has been chosen

The commands that keep an `if` or a block going are looked at while the page is hidden; all others are not. As in nginx there is one
level of `if` and one of `block`.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ERR
from portico.features.ssi.shared import Block, Shared, SsiMistake
from portico.features.ssi.texts import Texts, shown
from portico.http.phases import split_unsafe
from portico.http.request import RequestSlot
from portico.http.routing.uri import ESCAPE_HTML, escape_uri

if TYPE_CHECKING:
    from portico.features.ssi.parser import Parameter, Parser
    from portico.http.request import Request

_OUTSIDE: Final = 0
_IF: Final = 1
_ELSE: Final = 2

_PLAIN: Final = 0
_URL: Final = 1
_ENTITY: Final = 2
_ENCODINGS: Final[dict[bytes, int]] = {b"none": _PLAIN, b"url": _URL, b"entity": _ENTITY}

_MOST_PARAMETERS: Final = 16
_DATES: Final = (b"date_gmt", b"date_local")
_TIME_FORMAT: Final = b"%A, %d-%b-%Y %H:%M:%S %Z"
_LONGEST_DATE: Final = 2048
_ASCII: Final = re.compile(rb"[\x01-\x7f]+")
IN_MEMORY: Final = RequestSlot[bool]()  # a subrequest whose response becomes the value of a variable


@final
class CommandRules:
    """What a command takes, and where it may stand."""

    def __init__(self, parameters: tuple[bytes, ...], required: tuple[bytes, ...] = (), latest: int = _OUTSIDE) -> None:
        self.parameters = parameters
        self.required = required
        self.latest = latest  # the last part of an `if` in which it may stand, one of those that need an `if`


_RULES: Final[dict[bytes, CommandRules]] = {
    b"include": CommandRules((b"virtual", b"file", b"wait", b"set", b"stub")),
    b"echo": CommandRules((b"var", b"default", b"encoding"), (b"var",)),
    b"config": CommandRules((b"errmsg", b"timefmt")),
    b"set": CommandRules((b"var", b"value"), (b"var", b"value")),
    b"if": CommandRules((b"expr",), (b"expr",)),
    b"elif": CommandRules((b"expr",), (b"expr",), _IF),
    b"else": CommandRules((), (), _IF),
    b"endif": CommandRules((), (), _ELSE),
    b"block": CommandRules((b"name",), (b"name",)),
    b"endblock": CommandRules(()),
}


@final
class Order:
    """What an `include` asks for."""

    def __init__(self, uri: bytes, args: bytes) -> None:
        self.uri = uri
        self.args = args
        self.waits = False  # the page goes on when it is there
        self.variable: bytes | None = None  # which gets it as its value
        self.stub: bytes | None = None  # what stands in its place when it is empty, or an error


@final
class Page:
    """The state of one page while it is sent."""

    def __init__(self, request: Request, shared: Shared) -> None:
        self.request = request
        self.shared = shared
        self.texts = Texts(request, shared)
        self.error_text: bytes = b"[an error occurred while processing the directive]"
        self.time_format: bytes = _TIME_FORMAT
        self.hidden = False
        self.in_block = False
        self.branch = _OUTSIDE
        self.chosen = False
        self.encoding = _ENTITY
        self.made: bytes = b""  # what the last command puts into the page

    def text(self, text: bytes) -> bytes:
        """Return what is seen of the text between commands. Raises SsiMistake."""
        if not self.hidden:
            return text
        if self.in_block:
            self.shared.add_to_block(text)
        return b""

    def run(self, parser: Parser) -> Order | None:
        """Carry out the command that the parser has found: what it puts into the page is in `made`, what it includes is returned.

        Raises SsiMistake.
        """
        self.made = b""
        name = parser.command
        rules = _RULES.get(name)
        if rules is None:
            if self.hidden:
                return None
            raise SsiMistake(f'invalid SSI command: "{shown(name)}"')
        if self.hidden and name != b"endblock":
            if self.in_block:
                words = [name, *[parameter.text() for parameter in parser.parameters]]
                self.shared.add_to_block(b"<!--#%b -->" % b" ".join(words))
                return None
            if rules.latest == _OUTSIDE:
                return None
        if rules.latest and (self.branch == _OUTSIDE or self.branch > rules.latest):
            raise SsiMistake(f'invalid context of SSI command: "{shown(name)}"')
        return self._carry_out(name, _checked(name, rules, parser.parameters))

    def _carry_out(self, name: bytes, values: dict[bytes, bytes]) -> Order | None:
        if name == b"include":
            return self._include(values)
        if name == b"echo":
            self.made = self._echo(values)
        elif name == b"set":
            self.shared.set(values[b"var"], self.texts.evaluate(values[b"value"]))
        elif name == b"config":
            self.error_text = values.get(b"errmsg", self.error_text)
            self.time_format = values.get(b"timefmt", self.time_format)
        elif name == b"block":
            self.shared.blocks.append(Block(values[b"name"]))
            self.hidden = True
            self.in_block = True
        elif name == b"endblock":
            self.hidden = False
            self.in_block = False
        else:
            self._branch(name, values)
        return None

    def _branch(self, name: bytes, values: dict[bytes, bytes]) -> None:
        """Carry out `if`, `elif`, `else` or `endif`."""
        if name == b"endif":
            self.hidden = False
            self.chosen = False
            self.branch = _OUTSIDE
            return
        if name == b"if" and self.branch != _OUTSIDE:
            raise SsiMistake('the "if" command inside the "if" command')
        if name == b"else":
            self.hidden = self.chosen
            self.branch = _ELSE
        elif self.chosen:
            self.hidden = True
        else:
            self.chosen = self.texts.is_true(values[b"expr"])
            self.hidden = not self.chosen
            self.branch = _IF

    def _echo(self, values: dict[bytes, bytes]) -> bytes:
        name = values[b"var"]
        value = self.shared.value(self.request, name)
        if value is None:
            if name.lower() in _DATES:
                raise SsiMistake(f'the date is empty, or too long, with timefmt "{shown(self.time_format)}"')
            value = values.get(b"default", b"(none)")
        if not value:
            return b""
        encoding = values.get(b"encoding")
        if encoding is not None:  # as in nginx it holds for the commands that follow, too
            chosen = _ENCODINGS.get(encoding)
            if chosen is None:
                self.request.log_error(ERR, f'unknown encoding "{shown(encoding)}" in the "echo" command')
            else:
                self.encoding = chosen
        if self.encoding == _ENTITY:
            return value.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b'"', b"&quot;")
        return escape_uri(value, ESCAPE_HTML) if self.encoding == _URL else value

    def _include(self, values: dict[bytes, bytes]) -> Order:
        virtual = values.get(b"virtual")
        file = values.get(b"file")
        _check_include(values, virtual, file)
        if IN_MEMORY.of(self.request):
            raise SsiMistake(f'nested in-memory subrequest "{shown(virtual or file or b"")}"')
        written = virtual if virtual is not None else file
        assert written is not None
        text = self.texts.evaluate(written)
        if not text.startswith(b"/") and (text or not written):
            uri = self.request.uri
            text = uri[: uri.rfind(b"/") + 1] + text
        try:
            uri, args = split_unsafe(text)
        except ValueError:
            raise SsiMistake(f'unsafe URI "{shown(text)}" was detected') from None
        order = Order(uri, args)
        order.waits = virtual is None or values.get(b"wait", b"no").lower() == b"yes"
        order.variable = values.get(b"set")
        stub = values.get(b"stub")
        if stub is not None:
            order.stub = self.shared.stub(stub)
            if order.stub is None:
                raise SsiMistake(f'"stub"="{shown(stub)}" for "include" not found')
        return order

    def date(self, is_local: bool) -> bytes | None:
        """Return the time now, as `timefmt` says; None when that makes nothing of it, or too much."""
        return date_text(self.request.reactor.wall(), self.time_format, is_local)


def _checked(name: bytes, rules: CommandRules, parameters: list[Parameter]) -> dict[bytes, bytes]:
    """Return the values of the parameters by their names. Raises SsiMistake."""
    if len(parameters) > _MOST_PARAMETERS:
        raise SsiMistake(f'too many SSI command parameters: "{shown(name)}"')
    values: dict[bytes, bytes] = {}
    for parameter in parameters:
        if parameter.name not in rules.parameters:
            raise SsiMistake(f'invalid parameter name: "{shown(parameter.name)}" in "{shown(name)}" SSI command')
        if parameter.name in values:
            raise SsiMistake(f'duplicate "{shown(parameter.name)}" parameter in "{shown(name)}" SSI command')
        values[parameter.name] = parameter.value
    for required in rules.required:
        if required not in values:
            raise SsiMistake(f'mandatory "{shown(required)}" parameter is absent in "{shown(name)}" SSI command')
    return values


def _check_include(values: dict[bytes, bytes], virtual: bytes | None, file: bytes | None) -> None:
    """Raise SsiMistake for parameters of `include` that do not go together."""
    if virtual is not None and file is not None:
        raise SsiMistake(f'inclusion may be either virtual="{shown(virtual)}" or file="{shown(file)}"')
    if virtual is None and file is None:
        raise SsiMistake('no parameter in "include" SSI command')
    if b"set" in values and b"stub" in values:
        raise SsiMistake('"set" and "stub" cannot be used together in "include" SSI command')
    wait = values.get(b"wait")
    if wait is None:
        return
    if file is not None:
        raise SsiMistake(f'"wait" cannot be used with file="{shown(file)}"')
    if wait.lower() not in (b"yes", b"no"):
        raise SsiMistake(f'invalid value "{shown(wait)}" in the "wait" parameter')


def date_text(seconds: float, time_format: bytes, is_local: bool) -> bytes | None:
    """Return a time in strftime's format; None when that makes nothing of it, or too much."""
    time_format = time_format.partition(b"\0")[0]
    if time_format == b"%s":
        return b"%d" % int(seconds)
    at = time.localtime(seconds) if is_local else time.struct_time((*time.gmtime(seconds), "GMT", 0))

    def formatted(found: re.Match[bytes]) -> bytes:
        return time.strftime(found.group().decode("ascii"), at).encode("utf-8", "surrogateescape")

    text = _ASCII.sub(formatted, time_format)  # other bytes stay what they are, whatever the locale
    return text if 0 < len(text) < _LONGEST_DATE else None


_PAGE: Final = RequestSlot[Page]()


def page_of(request: Request) -> Page | None:
    """Return the page that is made of the response to this very request; None when it is none."""
    return _PAGE.of(request)


def begin_page(request: Request, shared: Shared) -> Page:
    """Return the page that is made of the response to a request, from now on."""
    page = Page(request, shared)
    _PAGE.put(request, page)
    return page


def get_date_local(request: Request) -> bytes | None:
    """$date_local."""
    page = _PAGE.of(request)
    return date_text(request.reactor.wall(), _TIME_FORMAT, True) if page is None else page.date(True)


def get_date_gmt(request: Request) -> bytes | None:
    """$date_gmt."""
    page = _PAGE.of(request)
    return date_text(request.reactor.wall(), _TIME_FORMAT, False) if page is None else page.date(False)
