"""`try_files`: the first of several files that exists, else somewhere else.

What was found becomes the URI, and the location goes on with it; what comes last is an internal
redirect, a named location or a status. (nginx: ngx_http_try_files_module.c.)
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, final

from portico.config.directive import LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.config.values import number_of
from portico.errorlog import CRIT
from portico.http.content.files import PREFIX_ALIAS, REGEX_ALIAS, Files
from portico.http.errors import HTTPError, InternalRedirect
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import PRECONTENT, Handler
from portico.variables.template import Template, template_of

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


@final
class Try:
    """One candidate."""

    def __init__(self, name: Template, is_directory: bool) -> None:
        self.name = name
        self.is_directory = is_directory


@final
class TryFiles:
    """A `try_files` as written: candidates, and the fallback with its status (0: it is a URI)."""

    def __init__(self, candidates: list[Try], fallback: Template, status: int) -> None:
        self.candidates = candidates
        self.fallback = fallback
        self.status = status


def _try_files(statement: Statement) -> TryFiles:
    candidates: list[Try] = []
    for argument in statement.args[:-1]:
        text = argument.text
        is_directory = text.endswith("/")
        candidates.append(Try(template_of(text[:-1] if is_directory else text, statement), is_directory))
    last = statement.args[-1]
    status = 0
    if last.text.startswith("="):
        number = number_of(last.text[1:])
        if number is None or number > 999:
            raise statement.fail(f'invalid code "{last.text}"', last)
        status = number
    return TryFiles(candidates, template_of(last.text, statement), status)


TRY_FILES: Final = Directive[TryFiles | None](
    "try_files", SERVER | LOCATION, _try_files, args="2+", default=None,
    syntax="FILE ... URI | =CODE | @NAME",
    doc="Looks for each file in turn, below `root` or `alias`, a name with `/` at its end for a directory; "
    "the first that exists becomes the URI of the request. The last word is where to go when there is "
    "none: a URI (an internal redirect; arguments must be written out, as in `/index.php?$args`), a "
    "named location, or `=404`. Not inherited by locations.",
    example="location / { try_files $uri $uri/ /index.html; }",
)


@final
class TryFilesHandler(Handler):
    """Finds the file, or leaves for the fallback."""

    def __init__(self, files: Files, settings: TryFiles) -> None:
        self.is_async = False
        self.files = files
        self.settings = settings

    def handle(self, request: Request) -> Response | None:
        files = self.files
        root = files.root(request)
        if files.kind == PREFIX_ALIAS:
            files.rest(request)  # refuses a URI that the alias does not fit
        for candidate in self.settings.candidates:
            name = self._name(request, candidate.name)
            info = files.test(request, root + name)
            if info.error:
                if info.error not in _ABSENT:
                    path = os.fsdecode(root + name)
                    text = f'{info.failed} "{path}" failed ({info.error}: {os.strerror(info.error)})'
                    request.log_error(CRIT, text)
            elif info.is_directory == candidate.is_directory:
                self._take(request, name, candidate.is_directory)
                return None
        if self.settings.status:
            raise HTTPError(self.settings.status)
        target = self._name(request, self.settings.fallback)
        if target.startswith(b"@"):
            raise InternalRedirect(b"", None, os.fsdecode(target))
        uri, _, query = target.partition(b"?")
        raise InternalRedirect(uri, query)

    def describe(self) -> str:
        names = [t.name.text + ("/" if t.is_directory else "") for t in self.settings.candidates]
        return "try_files " + " ".join([*names, self.settings.fallback.text])

    def _name(self, request: Request, template: Template) -> bytes:
        """Return the name below the root; a computed one that starts with the prefix of an alias loses that."""
        name = template.render(request)
        if self.files.kind == PREFIX_ALIAS and template.has_variables():
            prefix = request.uri[: len(self.files.prefix)]
            if name.startswith(prefix):
                return name[len(prefix) :]
        return name

    def _take(self, request: Request, name: bytes, is_directory: bool) -> None:
        kind = self.files.kind
        if kind == PREFIX_ALIAS:
            request.target = request.target.with_uri(request.uri[: len(self.files.prefix)] + name)
        elif kind != REGEX_ALIAS:
            request.target = request.target.with_uri(name)
        elif not is_directory:
            self.files.put_behind_alias(request, name)


class TryFilesFeature(Feature):
    """Puts the handler where the directive is written; it is not inherited."""

    def location(self, build: LocationBuild) -> None:
        settings = build.scope.own(TRY_FILES)
        if settings is not None:
            build.add_handler(PRECONTENT, TryFilesHandler(Files(build.scope), settings))


FEATURE: Final = TryFilesFeature("http_try_files", (TRY_FILES,))
