"""`random_index`: the response for a directory is one of its files, chosen at random. (nginx: ngx_http_random_index_module.c.)"""

from __future__ import annotations

import errno
import os
import random
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import LOCATION, Directive
from portico.errorlog import CRIT, ERR
from portico.http.content.files import Files
from portico.http.errors import HTTPError, InternalRedirect
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import CONTENT, Handler

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

RANDOM_INDEX: Final = Directive[bool](
    "random_index", LOCATION, values.flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="A URI that ends in `/` is redirected internally to a file of the directory, another one each time. Files that begin with "
    "a dot are never chosen.",
    example="location /quotes/ { random_index on; }",
)


@final
class RandomIndexHandler(Handler):
    """Redirects from a directory to one of its files."""

    def __init__(self, files: Files) -> None:
        self.is_async = False
        self.files = files

    def handle(self, request: Request) -> Response | None:
        uri = request.uri
        if not uri.endswith(b"/") or request.method not in (b"GET", b"HEAD", b"POST"):
            return None
        names = _names(self.files.path(request)[:-1])
        if not names:
            return None
        raise InternalRedirect(uri + random.choice(names))

    def describe(self) -> str:
        return "random_index"


def _names(directory: bytes) -> list[bytes]:
    """Return the files of a directory. Raises HTTPError."""
    names: list[bytes] = []
    try:
        with os.scandir(directory or b"/") as entries:
            for entry in entries:
                if not entry.name.startswith(b".") and entry.is_file():
                    names.append(entry.name)
    except OSError as error:
        raise _refusal(directory, error.errno or 0) from None
    return names


def _refusal(directory: bytes, number: int) -> HTTPError:
    status, level = 500, CRIT
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        status, level = 404, ERR
    elif number == errno.EACCES:
        status, level = 403, ERR
    return HTTPError(status, f'opendir() "{os.fsdecode(directory)}" failed ({number}: {os.strerror(number)})', level)


class RandomIndexFeature(Feature):
    """nginx's http_random_index module."""

    def location(self, build: LocationBuild) -> None:
        if build.scope.get(RANDOM_INDEX) and not build.has_content:
            build.add_handler(CONTENT, RandomIndexHandler(Files(build.scope)))


FEATURE: Final = RandomIndexFeature("http_random_index", (RANDOM_INDEX,), configure="--with-http_random_index_module")
