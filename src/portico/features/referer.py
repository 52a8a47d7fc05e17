"""`valid_referers`: `$invalid_referer`. (nginx: ngx_http_referer_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import LOCATION, SERVER, Directive, Scope
from portico.config.reader import Argument, Statement
from portico.config.regex import Regex, RegexFailed, parse_regex
from portico.config.server_names import DEFAULT, ServerNames
from portico.http.feature import Feature, LocationBuild
from portico.http.listen import SERVER_NAME
from portico.http.plan import LocationSlot
from portico.variables.variable import PER_REQUEST, Variable

if TYPE_CHECKING:
    from portico.http.request import Request

_SHORTEST: Final = len("http://i.ru")
_LONGEST_HOST: Final = 256


def _words(statement: Statement) -> Statement:
    for argument in statement.args:
        if not argument.text:
            raise statement.fail('invalid referer ""', argument)
        if argument.text == "~":
            raise statement.fail('empty regex in "~"', argument)
    return statement


VALID_REFERERS: Final = Directive[Statement | None](
    "valid_referers", SERVER | LOCATION, _words, args="1+", many=True, default=None,
    syntax="none | blocked | server_names | NAME[/URI] | ~REGEX ...",
    doc="Which Referer fields make `$invalid_referer` empty: `none` (there is none), `blocked` (one that does not begin with http:// "
    "or https://), `server_names` (this server's own), names as in `server_name`, with the beginning of a URI if wanted, or a regex "
    "for what follows the scheme. For any other, `$invalid_referer` is 1. A Referer is easily forged: this keeps browsers away, "
    "nobody else.",
    example="location /pictures/ { valid_referers none blocked server_names *.example.com; if ($invalid_referer) { return 403; } }",
)
REFERER_HASH_MAX_SIZE: Final = Directive[int](
    "referer_hash_max_size", SERVER | LOCATION, values.number, args="1", default=2048, default_text="2048",
    doc="Sizes nginx's table. Portico's tables grow by themselves: checked, then of no effect.",
    example="referer_hash_max_size 4096;",
)
REFERER_HASH_BUCKET_SIZE: Final = Directive[int](
    "referer_hash_bucket_size", SERVER | LOCATION, values.number, args="1", default=64, default_text="64",
    doc="Sizes nginx's table. Portico's tables grow by themselves: checked, then of no effect.",
    example="referer_hash_bucket_size 128;",
)


@final
class Referers:
    """The valid referers of one location."""

    def __init__(self) -> None:
        self.none = False
        self.blocked = False
        self.names: ServerNames[bytes] = ServerNames(b"")  # host → what the URI must begin with
        self.name_regexes: list[Regex] = []  # of `server_names`: for the host
        self.regexes: list[Regex] = []  # for all that follows the scheme
        self.count = 0

    def add(self, statement: Statement, index: int, own_names: list[Scope]) -> None:
        """Add one word. Raises ConfigError."""
        argument = statement.args[index]
        text = argument.text
        if text == "none":
            self.none = True
        elif text == "blocked":
            self.blocked = True
        elif text == "server_names":
            self._add_server_names(statement, argument, own_names)
        elif text.startswith("~"):
            self.regexes.append(parse_regex(statement, index, text[1:], True))
        else:
            host, slash, uri = text.partition("/")
            self._add_name(statement, argument, host, (slash + uri).encode("utf-8", "surrogateescape"))

    def _add_server_names(self, statement: Statement, argument: Argument, scopes: list[Scope]) -> None:
        for scope in scopes:
            for group in scope.own_all(SERVER_NAME):
                for name in group:
                    if name.regex is not None:
                        self.name_regexes.append(name.regex)
                    else:
                        self._add_name(statement, argument, name.text, b"")
        self.count += 1

    def _add_name(self, statement: Statement, argument: Argument, host: str, uri: bytes) -> None:
        try:
            fresh = self.names.add(host, uri)
        except ValueError:
            raise statement.fail(f'invalid hostname or wildcard "{host}"', argument) from None
        if not fresh:
            raise statement.fail(f'conflicting parameter "{host}"', argument)
        self.count += 1

    def accept(self, referer: bytes | None) -> bool:
        """Return whether a Referer (None: there is none) is valid."""
        if referer is None:
            return self.none
        scheme = referer[:8].lower()
        start = 7 if scheme.startswith(b"http://") else 8 if scheme == b"https://" else 0
        if not start or len(referer) < _SHORTEST:
            return self.blocked
        return self._accept_url(referer[start:])

    def _accept_url(self, url: bytes) -> bool:
        try:
            return self._matches(url)
        except RegexFailed:
            return False  # who makes a pattern run for ever is no friend

    def _matches(self, url: bytes) -> bool:
        slash = url.find(b"/")
        host = (url if slash < 0 else url[:slash]).partition(b":")[0].lower()
        if len(host) > _LONGEST_HOST:
            return False
        found = self.names.find(host)
        if found.reason != DEFAULT:
            return slash >= 0 and url.startswith(found.value, slash) if found.value else True
        for regex in self.name_regexes:
            if regex.match(host) is not None:
                return True
        return any(regex.match(url) is not None for regex in self.regexes)


_REFERERS: Final = LocationSlot[Referers]()


def _invalid_referer(request: Request) -> bytes | None:
    referers = _REFERERS.of(request.location)
    if referers is None or referers.accept(request.fields.get(b"referer")):
        return b""
    return b"1"


class RefererFeature(Feature):
    """Compiles the nearest `valid_referers`."""

    def location(self, build: LocationBuild) -> None:
        statements = build.scope.all(VALID_REFERERS)
        if not statements:
            return
        referers = Referers()
        servers = _servers(build.scope)
        last: Statement | None = None
        for statement in statements:
            if statement is not None:
                last = statement
                for index in range(len(statement.args)):
                    referers.add(statement, index, servers)
        if last is not None and (referers.none or referers.blocked) and not referers.count:
            message = 'the "none" or "blocked" referers are specified in the "valid_referers" directive without any valid referer'
            raise last.fail(message)
        _REFERERS.put(build.location, referers)


def _servers(scope: Scope | None) -> list[Scope]:
    """Return the server around a block."""
    while scope is not None and scope.context != SERVER:
        scope = scope.parent
    return [] if scope is None else [scope]


FEATURE: Final = RefererFeature(
    "http_referer",
    (VALID_REFERERS, REFERER_HASH_MAX_SIZE, REFERER_HASH_BUCKET_SIZE),
    (Variable("invalid_referer", _invalid_referer, PER_REQUEST, "Empty for a Referer that `valid_referers` names, else `1`."),),
)
