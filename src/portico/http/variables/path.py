"""The directory and the file that a request's URI stands for (`root`, `alias`), and the variables that tell
them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from portico.http.content.files import ALIAS
from portico.http.listen import LocationPattern
from portico.variables.variable import PER_REQUEST, Variable

if TYPE_CHECKING:
    from portico.config.directive import Scope
    from portico.http.request import Request

_DEFAULT_ROOT: Final = "html"  # under the prefix


def document_root(request: Request) -> bytes:
    """Return the location's `root` or `alias` for this request, an absolute path."""
    location = request.location
    load = location.scope.load
    root = location.root
    if root is None:
        return load.full_path(_DEFAULT_ROOT).encode("utf-8", "surrogateescape")
    path = root.render(request)
    if path and not path.startswith(b"/"):
        return load.prefix.encode("utf-8", "surrogateescape") + path
    return path


def request_filename(request: Request) -> bytes | None:
    """Return the path that the request's URI stands for; whether anything is there is not looked at.

    `root`: the directory and the URI. `alias`: what it says in place of the prefix of the location that has
    it; in a location given by a regex it is the whole path. None when the URI was rewritten to one without
    that prefix.
    """
    root = document_root(request)
    if not request.location.alias:
        return root + request.uri
    pattern = _aliased(request.location.scope)
    if pattern.regex is not None:
        return root
    prefix = pattern.text.encode("utf-8", "surrogateescape")
    return root + request.uri[len(prefix) :] if request.uri.startswith(prefix) else None


def _aliased(scope: Scope) -> LocationPattern:
    """Return the location, this one or one around it, that the alias in force was written in."""
    while scope.parent is not None and not scope.own_settings(ALIAS):
        scope = scope.parent
    pattern = scope.value
    assert isinstance(pattern, LocationPattern)
    return pattern


def _document_root(request: Request) -> bytes | None:
    return document_root(request)


def _realpath_root(request: Request) -> bytes | None:
    try:
        return os.path.realpath(document_root(request), strict=True)
    except (OSError, ValueError):  # not there; ValueError: a NUL that a variable brought in
        return None


def _request_filename(request: Request) -> bytes | None:
    return request_filename(request)


PATH_VARIABLES: Final[tuple[Variable[Request], ...]] = (
    Variable("document_root", _document_root, PER_REQUEST, "The `root` or `alias` in force."),
    Variable(
        "realpath_root", _realpath_root, PER_REQUEST, "`$document_root` with every symbolic link resolved."
    ),
    Variable(
        "request_filename",
        _request_filename,
        PER_REQUEST,
        "The path of the file that the URI stands for by `root` or `alias`.",
    ),
)
