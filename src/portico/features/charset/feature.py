"""`charset` and its kin: which charset a response is said to be in, and whether it is to be recoded.

    the response says none     it is in source_charset, if that is given; it is recoded to `charset` and said to be in that
    the response says one      that is left alone, but with override_charset
    X-Accel-Charset          goes before all that
    part of another response   is recoded to what that one says
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive, Scope, Setting
from portico.config.reader import Statement
from portico.errorlog import ERR
from portico.features.charset.recode import Recoding
from portico.features.charset.tables import Charset, CharsetMap, Charsets, charset_map
from portico.http.content.media_types import MediaTypes, media_types, split_charset
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.filtered import ORDER_CHARSET, transform_body, transform_bytes
from portico.http.handler import HeaderFilter
from portico.variables.template import Template, split_text, template

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response

_ALL: Final = HTTP | SERVER | LOCATION
_UNSAID: Final = (301, 302)  # nginx: Netscape 4 took it for the charset of the page that it was sent to


def _name(statement: Statement) -> Template | None:
    """Return a charset, or one variable."""
    text = statement.args[0].text
    if not text:
        raise values.invalid(statement)
    if statement.name == "charset" and text == "off":
        return None
    if text.startswith("$") and len(split_text(text, statement.args[0].where)) != 1:
        raise statement.fail(f'unknown "{text[1:]}" variable', statement.args[0], "it is one variable, or a name")
    return template(statement)


CHARSET: Final = Directive[Template | None](
    "charset", _ALL | IF_LOCATION, _name, args="1", default=None, default_text="off",
    syntax="CHARSET | $VARIABLE | off",
    doc="Says in Content-Type which charset answers are in, of the types that `charset_types` lists and where they do not say it "
    "themselves. With `source_charset` a body that is in another one is recoded; a `charset_map` must say how.",
    example="charset utf-8;",
)
SOURCE_CHARSET: Final = Directive[Template | None](
    "source_charset", _ALL | IF_LOCATION, _name, args="1", default=None,
    syntax="CHARSET | $VARIABLE",
    doc="The charset that answers are in where they do not say it themselves. What is in another one than `charset` says is recoded.",
    example="source_charset koi8-r;",
)
OVERRIDE_CHARSET: Final = Directive[bool](
    "override_charset", _ALL | IF_LOCATION, values.flag, args="1", default=False, default_text="off",
    doc="Whether an answer of an upstream that says its charset is recoded as well.", example="override_charset on;",
)
CHARSET_TYPES: Final = Directive[MediaTypes](
    "charset_types", _ALL, media_types, args="1+", joins=True,
    default=MediaTypes(
        frozenset(
            (b"text/html", b"text/xml", b"text/plain", b"text/vnd.wap.wml", b"application/javascript", b"application/rss+xml")
        )
    ),
    default_text="text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml",
    syntax="TYPE ...",
    doc="Media types that `charset` works on besides text/html; `*` is every type.",
    example="charset_types text/css application/json;",
)
CHARSET_MAP: Final = Directive[CharsetMap | None](
    "charset_map", HTTP, charset_map, args="2", many=True, default=None, raw_block=True,
    syntax="CHARSET1 CHARSET2 { ... }",
    doc="How to recode from one charset to another, and back: in each line the hexadecimal code in the first and in the second; for "
    "`utf-8`, which must be the second, its bytes. Codes below 80 are the same, and what is not listed becomes `?`, or from UTF-8 "
    "`&#8364;`. Files with maps for koi8-r, windows-1251 and utf-8 come with nginx.",
    example="charset_map koi8-r utf-8 { C0 D18E; C1 D0B0; }",
)


@final
class Named:
    """What a directive names: a charset of the configuration, or whatever a variable says."""

    def __init__(self, text: Template, charsets: Charsets) -> None:
        self.text = text
        self.fixed: Charset | None = None if text.constant is None else charsets.add(text.constant)

    def render(self, request: Request) -> bytes:
        """Return its name."""
        return self.text.render(request) if self.fixed is None else self.fixed.name


@final
class CharsetFilter(HeaderFilter):
    """`charset` of one location."""

    def __init__(self, charsets: Charsets, wanted: Named | None, source: Named | None, override: bool, types: MediaTypes) -> None:
        self.charsets = charsets
        self.wanted = wanted
        self.source = source
        self.override = override
        self.types = types

    def concerns_subrequests(self) -> bool:
        return True

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        if request.parent is not None or b"x-accel-charset" in head.first:
            return False
        return self.wanted is None or not self._is_for(head.first.get(b"content-type", b""))

    def apply(self, request: Request, response: Response) -> None:
        media_type, said = split_charset(response.content_type)
        wanted = _of_whole(request) if request.parent is not None else self._wanted(request, response)
        if wanted is None:
            return
        if said:
            self._recode(request, response, said, wanted)
        elif self.source is None:
            _say(request, response, media_type, wanted)
        else:
            self._recode(request, response, self.source.render(request), wanted)

    def _is_for(self, content_type: bytes) -> bool:
        """Return whether responses of this type get the charset that is wanted."""
        return self.override if split_charset(content_type)[1] else self.types.has(content_type)

    def _wanted(self, request: Request, response: Response) -> bytes | None:
        """Return the charset that the client is to get; None: all stays as it is (ngx_http_destination_charset)."""
        if not response.content_type:
            return None
        demanded = b"" if response.upstream is None else response.upstream.charset
        if demanded:
            if self.charsets.find(demanded) is not None:
                return demanded
            request.log_error(ERR, f'unknown charset "{_shown(demanded)}" to override')
            return None
        if self.wanted is None or not self._is_for(response.content_type):
            return None
        return self.wanted.render(request)

    def _recode(self, request: Request, response: Response, source: bytes, wanted: bytes) -> None:
        """Recode from `source` to `wanted`, as far as the two are known and differ (ngx_http_charset_header_filter)."""
        media_type, said = split_charset(response.content_type)
        have = self.charsets.find(source)
        want = self.charsets.find(wanted)
        recoding: Recoding | None = None
        if have is None or want is None:
            if have is want and source[: len(wanted)].lower() == wanted.lower():
                if not said:
                    _say(request, response, media_type, wanted)
                return
        elif have is want:
            _say(request, response, media_type, wanted)
            return
        elif response.get(b"content-encoding"):
            return
        else:
            recoding = have.recoding_to(want)
        if recoding is None:
            request.log_error(ERR, f'no "charset_map" between the charsets "{_shown(source)}" and "{_shown(wanted)}"')
            return
        _say(request, response, media_type, wanted)
        if recoding.changes_length():
            transform_body(response, recoding.transform())
        else:
            transform_bytes(response, recoding.transform())


def _of_whole(request: Request) -> bytes | None:
    """Return what the client's response is in, that this is to be a part of (ngx_http_main_request_charset)."""
    while request.parent is not None:
        request = request.parent
    return None if request.response is None else split_charset(request.response.content_type)[1] or None


def _say(request: Request, response: Response, media_type: bytes, charset: bytes) -> None:
    if request.parent is not None:
        return
    said = charset and response.status not in _UNSAID
    response.content_type = media_type + b"; charset=" + charset if said else media_type
    response.finished = None


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _named_charsets(build: HttpBuild) -> Charsets | None:
    """Return the charsets that the configuration names; None when it names none."""
    charsets = Charsets()
    named: list[Setting[object]] = []
    _collect(build.scope, named)
    for setting in sorted(named, key=_by_place):
        value = setting.value
        if isinstance(value, CharsetMap):
            try:
                charsets.add_map(value)
            except ConfigError as mistake:
                build.scope.load.diagnostics.error(mistake)
        elif isinstance(value, Template) and value.constant is not None:
            charsets.add(value.constant)
    return charsets if named else None


_CHARSETS: Final = BuildSlot[Charsets | None](_named_charsets)


class CharsetFeature(Feature):
    """Adds the filter everywhere when the configuration knows any charset: X-Accel-Charset may name it."""

    def http(self, build: HttpBuild) -> None:
        _CHARSETS.of(build)

    def location(self, build: LocationBuild) -> None:
        charsets = _CHARSETS.of(build.http)
        if charsets is None:
            return
        scope = build.scope
        wanted = _named(scope.get(CHARSET), charsets)
        source = _named(scope.get(SOURCE_CHARSET), charsets)
        if wanted is not None and source is not None:
            _check(scope, wanted, source)
        types = scope.get(CHARSET_TYPES)
        build.add_header_filter(CharsetFilter(charsets, wanted, source, scope.get(OVERRIDE_CHARSET), types), ORDER_CHARSET)


def _collect(scope: Scope, into: list[Setting[object]]) -> None:
    """Collect every place inside that names a charset."""
    for directive in (CHARSET, SOURCE_CHARSET, CHARSET_MAP):
        into.extend(setting for setting in scope.own_settings(directive) if setting.value is not None)
    for child in scope.children:
        _collect(child, into)


def _by_place(setting: Setting[object]) -> int:
    return setting.where.order


def _named(text: Template | None, charsets: Charsets) -> Named | None:
    return None if text is None else Named(text, charsets)


def _check(scope: Scope, wanted: Named, source: Named) -> None:
    """Raises ConfigError when there is no way from one to the other (ngx_http_charset_postconfiguration)."""
    have = source.fixed
    want = wanted.fixed
    if have is None or want is None or have is want or have.recoding_to(want) is not None:
        return
    message = f'no "charset_map" between the charsets "{_shown(have.name)}" and "{_shown(want.name)}"'
    hint = "nginx brings the files koi-utf, koi-win and win-utf: include the one that fits"
    raise ConfigError(message, wanted.text.where, hint, len(wanted.text.text))


FEATURE: Final = CharsetFeature(
    "http_charset", (CHARSET, SOURCE_CHARSET, OVERRIDE_CHARSET, CHARSET_TYPES, CHARSET_MAP)
)
