"""`limit_except`: other rules for all methods but some. (nginx: ngx_http_core_limit_except.)

The block is a location of its own inside the one around it, and takes its place before that one's rewriting: as in nginx, `return`,
`if` and `rewrite` of the location around it do not concern a request that the block applies to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.directive import LIMIT_EXCEPT, LOCATION, Directive
from portico.config.reader import Statement
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import REWRITE, Handler

if TYPE_CHECKING:
    from portico.http.plan import Location
    from portico.http.request import Request
    from portico.http.response import Response

_METHODS: Final = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "OPTIONS", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "PATCH",
)  # fmt: skip


def _methods(statement: Statement) -> frozenset[bytes]:
    methods: set[bytes] = set()
    for argument in statement.args:
        name = argument.text.upper()
        if name not in _METHODS:
            hint = f"it may be: {', '.join(_METHODS)}"
            raise statement.fail(f'invalid method "{argument.text}"', argument, hint)
        methods.add(name.encode())
    if b"GET" in methods:
        methods.add(b"HEAD")
    return frozenset(methods)


LIMIT_EXCEPT_BLOCK: Final = Directive[frozenset[bytes]](
    "limit_except", LOCATION, _methods, args="1+", default=frozenset[bytes](), block=LIMIT_EXCEPT,
    syntax="METHOD ... { ... }",
    doc="Its block applies to requests with any other method than these: `allow`, `deny`, `auth_basic` and so on, also `proxy_pass`. "
    "GET includes HEAD. What the block does not set it has from the location around it, but neither its `rewrite`, `if` and `return` "
    "nor its `try_files`.",
    example="location /files/ { limit_except GET { allow 192.0.2.0/24; deny all; } }",
)


@final
class LimitExcept(Handler):
    """Puts the block in the location's place."""

    def __init__(self, methods: frozenset[bytes], inner: Location) -> None:
        self.is_async = False
        self.methods = methods
        self.inner = inner

    def handle(self, request: Request) -> Response | None:
        if request.method not in self.methods:
            request.location = self.inner
        return None

    def describe(self) -> str:
        return "limit_except " + " ".join(sorted(method.decode() for method in self.methods))


class LimitExceptFeature(Feature):
    """Attaches to the locations that have the block; must come before the rewrite module."""

    def location(self, build: LocationBuild) -> None:
        for scope in build.scope.blocks(LIMIT_EXCEPT_BLOCK):
            build.add_handler(REWRITE, LimitExcept(scope.opened_as(LIMIT_EXCEPT_BLOCK), build.inner(scope).location))


FEATURE: Final = LimitExceptFeature("http_limit_except", (LIMIT_EXCEPT_BLOCK,))
