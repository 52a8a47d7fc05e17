"""`modern_browser`, `ancient_browser`: `$modern_browser`, `$ancient_browser` and `$msie`. (nginx: ngx_http_browser_module.c.)

What a browser says of itself is compared with words that were right when nginx got them, twenty years ago. They are here for
configurations that have them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.http.feature import Feature, LocationBuild
from portico.http.plan import LocationSlot
from portico.http.user_agent import is_msie
from portico.variables.variable import PER_REQUEST, Variable

if TYPE_CHECKING:
    from portico.http.request import Request

_ALL: Final = HTTP | SERVER | LOCATION
_VERSION: Final = re.compile(rb"[0-9.]*")
_NETSCAPE: Final = re.compile(rb"Mozilla/[1-4]")
_MOST_DIGITS: Final = 10
_UNREACHABLE: Final = 4001000000


@final
class BrowserMark:
    """How to find a browser's version in a User-Agent: `word`, not before `skip` bytes, then the version `add` bytes on."""

    def __init__(self, name: str, skip: int, add: int, word: bytes) -> None:
        self.name = name
        self.skip = skip
        self.add = add
        self.word = word


# In the order in which they are looked for: an Opera may call itself an MSIE, too.
_MARKS: Final[tuple[BrowserMark, ...]] = (
    BrowserMark("opera", 0, len("Opera "), b"Opera"),
    BrowserMark("msie", len("Mozilla/4.0 (compatible; "), len("MSIE "), b"MSIE "),
    BrowserMark("gecko", len("Mozilla/5.0 ("), len("rv:"), b"rv:"),
    BrowserMark("safari", len("Mozilla/5.0 ("), len("Safari/"), b"Safari/"),
    BrowserMark("konqueror", len("Mozilla/5.0 (compatible; "), len("Konqueror/"), b"Konqueror/"),
)


def version_number(text: bytes) -> int:
    """Return a version as a number that can be compared: 1.2.3 is 1020300, with two digits for each part behind the first."""
    number = 0
    scale = 1000000
    for part in text.split(b"."):
        number += int(part[:_MOST_DIGITS] or b"0") * scale
        scale //= 100
    return number


@final
class ModernBrowser:
    """One `modern_browser`; `mark` -1: `unlisted`."""

    def __init__(self, mark: int, version: int) -> None:
        self.mark = mark  # its place in the order
        self.version = version  # the least that is modern


def _modern_browser(statement: Statement) -> ModernBrowser:
    name = statement.args[0].text
    if len(statement.args) == 1:
        if name != "unlisted":
            raise statement.fail(f'invalid value "{name}"', statement.args[0], "unlisted, or a browser and its version: gecko 1.0.0")
        return ModernBrowser(-1, 0)
    text = statement.args[1].text
    for place in range(len(_MARKS)):
        if _MARKS[place].name == name.lower():
            if text.strip("0123456789."):
                raise statement.fail(f'invalid browser version "{text}"', statement.args[1])
            return ModernBrowser(place, version_number(text.encode()))
    known = ", ".join(mark.name for mark in _MARKS)
    raise statement.fail(f'unknown browser name "{name}"', statement.args[0], f"it may be: {known}")


def _ancient_browser(statement: Statement) -> list[str]:
    return [argument.text for argument in statement.args]


MODERN_BROWSER: Final = Directive[ModernBrowser | None](
    "modern_browser", _ALL, _modern_browser, args="1-2", many=True, default=None,
    syntax="BROWSER VERSION | unlisted",
    doc="From which version on a browser is modern: `msie`, `gecko`, `opera`, `safari` or `konqueror`. With `unlisted`, so is every "
    "browser that neither these nor `ancient_browser` name.",
    example="modern_browser gecko 1.0.0;",
)
ANCIENT_BROWSER: Final = Directive[list[str] | None](
    "ancient_browser", _ALL, _ancient_browser, args="1+", many=True, default=None,
    syntax="STRING ...",
    doc="A browser whose User-Agent has one of these strings in it is ancient; `netscape4` stands for Netscape 4 and older. "
    "`modern_browser` goes first.",
    example="ancient_browser Links Lynx netscape4;",
)
MODERN_BROWSER_VALUE: Final = Directive[str | None](
    "modern_browser_value", _ALL, values.text, args="1", many=True, default=None, default_text="1",
    syntax="STRING",
    doc="What `$modern_browser` is for a modern browser; for any other it is empty.", example="modern_browser_value modern;",
)
ANCIENT_BROWSER_VALUE: Final = Directive[str | None](
    "ancient_browser_value", _ALL, values.text, args="1", many=True, default=None, default_text="1",
    syntax="STRING",
    doc="What `$ancient_browser` is for an ancient browser; for any other it is empty.", example="ancient_browser_value ancient;",
)


@final
class Browsers:
    """What one location takes for modern and for ancient."""

    def __init__(self, scope: Scope) -> None:
        self.modern: list[ModernBrowser] = []
        self.unlisted_are_modern = False
        for browser in scope.all(MODERN_BROWSER):
            if browser is not None and browser.mark >= 0:
                self.modern.append(browser)
            elif browser is not None:
                self.unlisted_are_modern = True
        if self.modern and all(browser.mark != 0 for browser in self.modern):
            self.modern.append(ModernBrowser(0, _UNREACHABLE))  # an Opera is no MSIE, whatever it says
        self.modern.sort(key=_place_of)
        self.ancient: list[bytes] = []
        self.netscape4_is_ancient = False
        for words in scope.all(ANCIENT_BROWSER):
            for word in words or ():
                if word == "netscape4":
                    self.netscape4_is_ancient = True
                else:
                    self.ancient.append(word.encode("utf-8", "surrogateescape"))
        self.modern_value = _last(scope.all(MODERN_BROWSER_VALUE))
        self.ancient_value = _last(scope.all(ANCIENT_BROWSER_VALUE))

    def is_modern(self, agent: bytes | None) -> bool:
        """Return whether a User-Agent is that of a modern browser; None: the client sent none."""
        if agent is None:
            return self.unlisted_are_modern
        for browser in self.modern:
            mark = _MARKS[browser.mark]
            found = agent.find(mark.word, mark.skip)
            start = found + mark.add
            if found >= 0 and start < len(agent):
                version = _VERSION.match(agent, start)
                return version is not None and version_number(version.group()) >= browser.version
        return self.unlisted_are_modern and not self._is_ancient(agent)

    def _is_ancient(self, agent: bytes) -> bool:
        if self.netscape4_is_ancient and len(agent) > len("Mozilla/4.72 ") and _NETSCAPE.match(agent) is not None:
            return True
        return any(agent.find(word) >= 0 for word in self.ancient)


def _place_of(browser: ModernBrowser) -> int:
    return browser.mark


def _last(texts: list[str | None]) -> bytes:
    text = texts[len(texts) - 1] if texts else None
    return b"1" if text is None else text.encode("utf-8", "surrogateescape")


_BROWSERS: Final = LocationSlot[Browsers]()


def _modern(request: Request) -> bytes | None:
    browsers = _BROWSERS.of(request.location)
    if browsers is None or not browsers.is_modern(request.fields.get(b"user-agent")):
        return b""
    return browsers.modern_value


def _ancient(request: Request) -> bytes | None:
    browsers = _BROWSERS.of(request.location)
    if browsers is None:
        return b"1"
    return b"" if browsers.is_modern(request.fields.get(b"user-agent")) else browsers.ancient_value


def _msie(request: Request) -> bytes | None:
    agent = request.fields.get(b"user-agent")
    return b"1" if agent is not None and is_msie(agent) else b""


class BrowserFeature(Feature):
    """Tells locations which browsers are modern, where the configuration says anything about it."""

    def location(self, build: LocationBuild) -> None:
        scope = build.scope
        if any(scope.all(directive) not in ([], [None]) for directive in DIRECTIVES):
            _BROWSERS.put(build.location, Browsers(scope))


DIRECTIVES: Final[tuple[Directive[object], ...]] = (MODERN_BROWSER, ANCIENT_BROWSER, MODERN_BROWSER_VALUE, ANCIENT_BROWSER_VALUE)
FEATURE: Final = BrowserFeature(
    "http_browser",
    DIRECTIVES,
    (
        Variable("modern_browser", _modern, PER_REQUEST, "What `modern_browser_value` says, for a modern browser; else empty."),
        Variable("ancient_browser", _ancient, PER_REQUEST, "What `ancient_browser_value` says, for an ancient browser; else empty."),
        Variable("msie", _msie, PER_REQUEST, "1 for Internet Explorer, of any version; else empty."),
    ),
)
