"""What everything that sends compressed responses has in common: which clients may have one, and what caches have to know.

`gzip`, `gzip_static` and `gunzip`, and what does the same for Brotli and Zstandard, are features of their own. They share one reading
of Accept-Encoding, `gzip_vary`, and, for gzip alone, as the nginx modules for the others do not ask them, the conditions of
ngx_http_gzip_ok.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.accept_encoding import BROTLI, GZIP, NOTHING, ZSTD, AcceptEncoding, parse_accept_encoding
from portico.codec.dates import parse_date
from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.config.regex import Regex, RegexFailed, parse_regex
from portico.http.feature import BuildSlot
from portico.http.user_agent import is_msie6

if TYPE_CHECKING:
    from portico.http.feature import HttpBuild
    from portico.http.request import Request
    from portico.http.response import Response

_ALL: Final = HTTP | SERVER | LOCATION

OFF: Final = 1
EXPIRED: Final = 2
NO_CACHE: Final = 4
NO_STORE: Final = 8
PRIVATE: Final = 16
NO_LAST_MODIFIED: Final = 32
NO_ETAG: Final = 64
AUTH: Final = 128
ANY: Final = 256

_CODINGS: Final = (ZSTD, BROTLI, GZIP)
_REMEMBERED: Final = 1024  # values of Accept-Encoding; browsers have a handful
_LONG: Final = 256  # bytes of a value that is not worth remembering


def _disable(statement: Statement) -> list[Regex | None]:
    """Return the patterns; None stands for `msie6`."""
    return [
        None if argument.text == "msie6" else parse_regex(statement, index, argument.text, True)
        for index, argument in enumerate(statement.args)
    ]


def _order(statement: Statement) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for argument in statement.args:
        name = argument.text.encode("utf-8", "surrogateescape")
        if name not in _CODINGS:
            raise statement.fail(f'unknown content coding "{argument.text}"', argument, "it may be: zstd, br, gzip")
        if name in found:
            raise statement.fail(f'duplicate content coding "{argument.text}"', argument)
        found.append(name)
    return (*found, *(coding for coding in _CODINGS if coding not in found))


GZIP_VARY: Final = Directive[bool](
    "gzip_vary", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Says `Vary: Accept-Encoding` in answers that are compressed for clients that take it, by whatever coding, so that caches "
    "on the way keep the forms apart.",
    example="gzip_vary on;",
)
GZIP_HTTP_VERSION: Final = Directive[int](
    "gzip_http_version", _ALL, values.choice({"1.0": 10, "1.1": 11}), args="1", default=11, default_text="1.1",
    syntax="1.0 | 1.1",
    doc="The lowest version of HTTP that a request must have for its answer to be compressed with gzip.",
    example="gzip_http_version 1.0;",
)
GZIP_PROXIED: Final = Directive[int](
    "gzip_proxied", _ALL,
    values.bits(
        {
            "off": OFF, "expired": EXPIRED, "no-cache": NO_CACHE, "no-store": NO_STORE, "private": PRIVATE,
            "no_last_modified": NO_LAST_MODIFIED, "no_etag": NO_ETAG, "auth": AUTH, "any": ANY,
        }
    ),
    args="1+", joins=True, default=OFF, default_text="off",
    syntax="off | expired | no-cache | no-store | private | no_last_modified | no_etag | auth | any ...",
    doc="Which answers to requests that came through a proxy (they have a Via field) are compressed with gzip: those that the "
    "proxy will not keep, as Expires or Cache-Control tell (`expired`, `no-cache`, `no-store`, `private`), those without "
    "Last-Modified or ETag, those to a request with Authorization, or all.",
    example="gzip_proxied expired no-cache no-store private auth;",
)  # fmt: skip
GZIP_DISABLE: Final = Directive[list[Regex | None]](
    "gzip_disable", _ALL, _disable, args="1+", many=True, default=list[Regex | None](),
    syntax="REGEX ...",
    doc="Requests whose User-Agent matches one of the patterns, in whatever case, get nothing compressed with gzip. `msie6` stands "
    "for Internet Explorer 4 to 6 without its last service pack.",
    example='gzip_disable msie6 "^Wget/1\\.[0-9]$";',
)
COMPRESSION_ORDER: Final = Directive[tuple[bytes, ...]](
    "compression_order", _ALL, _order, args="1-3", default=_CODINGS, default_text="zstd br gzip", beyond=True,
    syntax="CODING ...",
    doc="Which coding a client gets that takes several equally gladly: the first of these that is on. A client's own weights "
    "(`br;q=0.5`) go first. Codings that are not named follow.",
    example="compression_order br gzip zstd;",
)

SHARED_DIRECTIVES: Final[tuple[Directive[object], ...]] = (GZIP_VARY, GZIP_HTTP_VERSION, GZIP_PROXIED, GZIP_DISABLE)


@final
class AcceptedCodings:
    """What clients say in Accept-Encoding, each value read once. One for a whole configuration."""

    def __init__(self) -> None:
        self._known: dict[bytes, AcceptEncoding] = {}

    def of(self, request: Request) -> AcceptEncoding:
        """Return what the client of `request` accepts."""
        fields = request.fields
        text = fields.first.get(b"accept-encoding")
        if text is None:
            return NOTHING
        if len(fields.first) != len(fields.names):
            text = fields.joined(b"accept-encoding") or b""
        known = self._known.get(text)
        if known is None:
            known = parse_accept_encoding(text)
            if len(text) <= _LONG:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[text] = known
        return known


def accepted_codings(build: HttpBuild) -> AcceptedCodings:
    """Return the one of this configuration."""
    return _ACCEPTED.of(build)


def _new_codings(build: HttpBuild) -> AcceptedCodings:
    return AcceptedCodings()


_ACCEPTED: Final = BuildSlot[AcceptedCodings](_new_codings)


@final
class CompressionRules:
    """`gzip_vary` and the conditions for gzip, as they hold in one location."""

    def __init__(self, scope: Scope) -> None:
        self.vary: bool = scope.get(GZIP_VARY)
        self.version: int = scope.get(GZIP_HTTP_VERSION)
        self.proxied: int = scope.get(GZIP_PROXIED)
        self.not_msie6, self.not_for = _disabled(scope)

    def allow(self, request: Request, response: Response | None) -> bool:
        """Return whether the response may be gzip, if the client accepts that (ngx_http_gzip_ok). None: there is none yet."""
        if request.parent is not None or request.version < self.version:
            return False
        first = request.fields.first
        if (self.not_msie6 or self.not_for) and self._is_disabled(first.get(b"user-agent")):
            return False
        return b"via" not in first or self._allow_proxied(request, response)

    def _is_disabled(self, agent: bytes | None) -> bool:
        if agent is None:
            return False
        if self.not_msie6 and is_msie6(agent):
            return True
        try:
            return any(regex.match(agent) is not None for regex in self.not_for)
        except RegexFailed:
            return True

    def _allow_proxied(self, request: Request, response: Response | None) -> bool:
        proxied = self.proxied
        if proxied & OFF:
            return False
        if proxied & ANY or (proxied & AUTH and b"authorization" in request.fields.first):
            return True
        if response is None:
            return True
        expires = response.get(b"expires")
        if expires is not None:
            return proxied & EXPIRED != 0 and _is_past(expires, request, response)
        cache_control = [value for key, value in response.fields if len(key) == 13 and key.lower() == b"cache-control"]
        if cache_control:
            return (
                (proxied & NO_CACHE != 0 and has_token(cache_control, b"no-cache"))
                or (proxied & NO_STORE != 0 and has_token(cache_control, b"no-store"))
                or (proxied & PRIVATE != 0 and has_token(cache_control, b"private"))
            )
        if proxied & NO_LAST_MODIFIED and response.upstream is not None and response.last_modified_text:
            return False  # nginx does not look at the times of its own files
        return not (proxied & NO_ETAG and response.etag)


def _disabled(scope: Scope) -> tuple[bool, list[Regex]]:
    """Patterns and `msie6` are inherited apart from each other, as in nginx (ngx_http_core_merge_loc_conf)."""
    msie6 = False
    patterns: list[Regex] = []
    current: Scope | None = scope
    while current is not None:
        own = [pattern for group in current.own_all(GZIP_DISABLE) for pattern in group]
        msie6 = msie6 or None in own
        if not patterns:
            patterns = [pattern for pattern in own if pattern is not None]
        current = current.parent
    return msie6, patterns


def _is_past(expires: bytes, request: Request, response: Response) -> bool:
    moment = parse_date(expires)
    if moment < 0:
        return False
    if response.upstream is not None and response.upstream.date:
        date = parse_date(response.upstream.date)
        return date >= 0 and moment < date
    return moment < request.reactor.wall()


def has_token(lines: list[bytes], wanted: bytes) -> bool:
    """Return whether a field of several lines lists `wanted` (lower case), without an argument.

    As ngx_http_parse_multi_header_lines.
    """
    return any(element.strip(b" \t") == wanted for line in lines for element in line.lower().split(b","))


def say_vary(response: Response) -> None:
    """Vary: Accept-Encoding, unless the response says so already (RFC 9110 section 12.5.5)."""
    for key, value in response.fields:
        if len(key) == 4 and key.lower() == b"vary":
            lowered = value.lower()
            if lowered.strip(b" \t") == b"*" or has_token([lowered], b"accept-encoding"):
                return
    response.fields.append((b"Vary", b"Accept-Encoding"))
    response.finished = None
