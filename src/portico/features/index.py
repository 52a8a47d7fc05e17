"""`index`: which file is sent for a directory.

A URI that ends in a slash is redirected internally to the first file of the list that exists, so that
the location of that file decides what becomes of it. (nginx: ngx_http_index_module.c.)
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final, final

from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.config.reader import Statement, Where
from portico.errorlog import ALERT, CRIT, ERR, SILENT
from portico.http.content.files import Files
from portico.http.content.open_file_cache import FORBIDDEN
from portico.http.errors import HTTPError, InternalRedirect
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import CONTENT, Handler
from portico.variables.template import Template, template_of

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response


def _index(statement: Statement) -> list[Template]:
    names: list[Template] = []
    for argument in statement.args:
        if argument.text.startswith("/") and argument is not statement.args[-1]:
            raise statement.fail('only the last index in "index" directive may be absolute', argument)
        if not argument.text:
            first = statement.args[0].text
            raise statement.fail(f'index "{first}" in "index" directive is invalid', argument)
        names.append(template_of(argument.text, statement))
    return names


INDEX: Final = Directive[list[Template]](
    "index", HTTP | SERVER | LOCATION, _index, args="1+", many=True,
    default=[Template("index.html", Where("", 0, 0))], default_text="index.html", syntax="FILE ...",
    doc="The files that may answer for a URI that ends in `/`, tried in order; the last may be a URI of "
    "its own, starting with `/`. The one that is found is served by an internal redirect, so another "
    "location may handle it. May hold variables.",
    example="index index.html index.htm;",
)


@final
class IndexHandler(Handler):
    """Redirects from a directory to its index."""

    def __init__(self, files: Files, names: list[Template]) -> None:
        self.is_async = False
        self.files = files
        self.names = names

    def handle(self, request: Request) -> Response | None:
        uri = request.uri
        if not uri.endswith(b"/"):
            return None
        method = request.method
        if method != b"GET" and method != b"HEAD" and method != b"POST":
            return None
        directory = b""
        tested = False
        for template in self.names:
            name = template.render(request)
            if name.startswith(b"/"):
                raise InternalRedirect(name)
            if not directory:
                directory = self.files.path(request)
            info = self.files.test(request, directory + name)
            if info.error == 0:
                raise InternalRedirect(uri + name)
            self._refuse(request, directory + name, info.error)
            if not tested:
                self._test_directory(request, directory, name)
                tested = True
            if info.error != errno.ENOENT:
                raise _failed(info.failed, directory + name, info.error, CRIT)
        return None

    def describe(self) -> str:
        return "index " + " ".join([name.text for name in self.names])

    def _test_directory(self, request: Request, directory: bytes, name: bytes) -> None:
        """Raise HTTPError when the directory is missing ("not found", not "forbidden"), or is none."""
        info = self.files.test(request, directory.rstrip(b"/") or b"/")
        if info.error:
            self._refuse(request, directory + name, info.error)
            if info.error == errno.ENOENT:
                raise self._not_found(request, directory + name, info.error)
            raise _failed(info.failed, directory, info.error, CRIT)
        if not info.is_directory:
            raise HTTPError(500, f'"{os.fsdecode(directory)}" is not a directory', ALERT)

    def _refuse(self, request: Request, path: bytes, number: int) -> None:
        """Raise for the errors that end the search."""
        if number in FORBIDDEN:
            raise HTTPError(403, f'"{os.fsdecode(path)}" is forbidden ({number}: {os.strerror(number)})', ERR)
        if number == errno.ENOTDIR or number == errno.ENAMETOOLONG:
            raise self._not_found(request, path, number)

    def _not_found(self, request: Request, path: bytes, number: int) -> HTTPError:
        level = ERR if request.location.core.log_not_found else SILENT
        return HTTPError(404, f'"{os.fsdecode(path)}" is not found ({number}: {os.strerror(number)})', level)


def _failed(call: str, path: bytes, number: int, level: int) -> HTTPError:
    return HTTPError(500, f'{call} "{os.fsdecode(path)}" failed ({number}: {os.strerror(number)})', level)


class IndexFeature(Feature):
    """Puts the handler into each location without content of its own."""

    def location(self, build: LocationBuild) -> None:
        if build.has_content:
            return
        names: list[Template] = []
        for given in build.scope.all(INDEX):
            names.extend(given)
        build.add_handler(CONTENT, IndexHandler(Files(build.scope), names or INDEX.default))


FEATURE: Final = IndexFeature("http_index", (INDEX,))
