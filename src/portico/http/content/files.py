"""`root` and `alias`: which file a URI means in a location, and looking at it.

    root /data;                      /i/a.gif  ->  /data/i/a.gif
    location /i/ { alias /pics/; }   /i/a.gif  ->  /pics/a.gif      the location's prefix is replaced
    location ~ ^/u/(.+)$ { alias /home/$1; }   the alias is the whole path

The URI is in normal form (http/routing/uri.py): it cannot climb out of the directory, and holds no zero byte.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement, Where
from portico.errorlog import ALERT, ERR
from portico.http.content.links import DISABLE_SYMLINKS, Links, look_along
from portico.http.content.open_file_cache import (
    OPEN_FILE_CACHE,
    OPEN_FILE_CACHE_ERRORS,
    OPEN_FILE_CACHE_MIN_USES,
    OPEN_FILE_CACHE_VALID,
    FileInfo,
    OpenFileCache,
    OpenFileSettings,
)
from portico.http.errors import HTTPError
from portico.http.listen import LocationPattern
from portico.http.routing.location_tree import NAMED
from portico.variables.template import Template, template_of

if TYPE_CHECKING:
    from portico.http.request import Request

# Where try_files notes (in Request.values) that its URI is to be put behind the alias of a regex location. No
# variable can have this name.
_BEHIND_ALIAS: Final = "try_files alias"


def _directory(statement: Statement, is_alias: bool) -> Template:
    text = statement.args[0].text
    for name in ("document_root", "realpath_root"):
        if f"${name}" in text or f"${{{name}}}" in text:
            raise statement.fail(
                f'the ${name} variable cannot be used in the "{statement.name}" directive', statement.args[0]
            )
    if "$" not in text:
        text = statement.load.full_path(text)
    if not is_alias and text.endswith("/"):
        text = text[:-1]
    return template_of(text, statement)


def _root(statement: Statement) -> Template:
    return _directory(statement, False)


def _alias(statement: Statement) -> Template:
    return _directory(statement, True)


ROOT: Final = Directive[Template](
    "root", HTTP | SERVER | LOCATION | IF_LOCATION, _root, args="1",
    default=Template("html", Where("", 0, 0)), default_text="html",
    syntax="DIRECTORY",
    doc="The directory that URIs are paths in: with `root /data;` the file for `/i/a.gif` is "
    "`/data/i/a.gif`. Relative to the prefix; may hold variables.",
    example="root /var/www/html;",
)
ALIAS: Final = Directive[Template | None](
    "alias", LOCATION, _alias, args="1", default=None,
    syntax="PATH",
    doc="What takes the place of the location's prefix in a path: in `location /i/ { alias /data/pics/; }` "
    "the file for `/i/a.gif` is `/data/pics/a.gif`. In a regex location it is the whole path, usually "
    "with captures. Give both or neither a trailing slash.",
    example="location /i/ { alias /data/pics/; }",
)

FILE_DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    ROOT, ALIAS, OPEN_FILE_CACHE, OPEN_FILE_CACHE_VALID, OPEN_FILE_CACHE_MIN_USES, OPEN_FILE_CACHE_ERRORS,
    DISABLE_SYMLINKS,
)  # fmt: skip

NO_ALIAS: Final = 0
PREFIX_ALIAS: Final = 1
REGEX_ALIAS: Final = 2


@final
class Files:
    """The file system as one location sees it."""

    def __init__(self, scope: Scope) -> None:
        directory, kind, prefix = _in_force(scope)
        self.directory = directory
        self.kind = kind
        self.prefix = prefix  # what a PREFIX_ALIAS replaces
        self.load_prefix: bytes = os.fsencode(scope.load.prefix)
        self.constant: bytes | None = directory.constant
        self.links: Links | None = scope.get(DISABLE_SYMLINKS)
        self.cache: OpenFileCache | None = scope.get(OPEN_FILE_CACHE) if self.links is None else None
        self.cache_settings = OpenFileSettings(
            float(scope.get(OPEN_FILE_CACHE_VALID)),
            scope.get(OPEN_FILE_CACHE_MIN_USES),
            scope.get(OPEN_FILE_CACHE_ERRORS),
        )

    def root(self, request: Request) -> bytes:
        """Return the directory, without a trailing slash; of an alias, what it says. nginx's `$document_root`."""
        constant = self.constant
        if constant is not None:
            return constant
        text = self.directory.render(request)
        return text if text[:1] == b"/" else self.load_prefix + text

    def path(self, request: Request) -> bytes:
        """Return the path of the file that `request.uri` means. Raises HTTPError."""
        kind = self.kind
        if kind == NO_ALIAS:
            return self.root(request) + request.uri
        if kind == PREFIX_ALIAS:
            return self.root(request) + self.rest(request)
        path = self.root(request)
        values = request.values
        if values is not None and values.get(_BEHIND_ALIAS) == request.uri:
            path += request.uri
        return path

    def path_of(self, request: Request, uri: bytes) -> bytes:
        """Return the path of the file that another URI, in normal form, means in the same location. Raises HTTPError.

        A REGEX_ALIAS is the path of the request's own URI, whatever the other one is.
        """
        if self.kind == NO_ALIAS:
            return self.root(request) + uri
        if self.kind == PREFIX_ALIAS:
            return self.root(request) + self._behind_prefix(request, uri)
        return self.root(request)

    def rest(self, request: Request) -> bytes:
        """Return what of the URI comes behind the prefix that a PREFIX_ALIAS replaces. Raises HTTPError."""
        return self._behind_prefix(request, request.uri)

    def _behind_prefix(self, request: Request, uri: bytes) -> bytes:
        prefix = self.prefix
        if not uri.startswith(prefix):
            where = f'in location "{request.location.name}" where URI was rewritten'
            raise HTTPError(500, f'"alias" cannot be used {where}', ALERT)
        rest = uri[len(prefix) :]
        if rest == b".." or rest.startswith(b"../"):  # `location /x { alias /y/; }` and "/x../": nginx leaves /y
            raise HTTPError(404, f'"{uri.decode("utf-8", "backslashreplace")}" leads out of the alias', ERR)
        return rest

    def put_behind_alias(self, request: Request, uri: bytes) -> None:
        """Set the URI to `uri`; in a regex location with an alias, the file is the alias with `uri` behind from now on."""
        request.target = request.target.with_uri(uri)
        if request.values is None:
            request.values = {}
        request.values[_BEHIND_ALIAS] = uri

    def test(self, request: Request, path: bytes) -> FileInfo:
        """Return what is at `path`, without opening it."""
        cache = self.cache
        if cache is not None:
            return cache.find(path, self.cache_settings, request.reactor.now, True)
        return look_along(self.links, request, path)


def _in_force(scope: Scope) -> tuple[Template, int, bytes]:
    """Return the nearest root or alias, outwards; the kind; the prefix to replace. Raises ConfigError."""
    current: Scope | None = scope
    while current is not None:
        root = current.own_settings(ROOT)
        alias = current.own_settings(ALIAS)
        if root and alias:
            raise _both(root[0].where, alias[0].where)
        if root:
            return root[-1].value, NO_ALIAS, b""
        if alias:
            found = alias[-1].value
            assert found is not None
            return found, *_alias_kind(current, alias[-1].where)
        current = current.parent
    return Template(scope.load.full_path("html"), Where("", 0, 0)), NO_ALIAS, b""


def _both(root: Where, alias: Where) -> ConfigError:
    if root.order > alias.order:
        return ConfigError('"root" directive is duplicate, "alias" directive was specified earlier', root)
    return ConfigError('"alias" directive is duplicate, "root" directive was specified earlier', alias)


def _alias_kind(scope: Scope, where: Where) -> tuple[int, bytes]:
    """Kind and prefix of an alias written in the location `scope`. Raises ConfigError."""
    pattern = scope.value
    assert isinstance(pattern, LocationPattern)
    if pattern.kind == NAMED:
        raise ConfigError('the "alias" directive cannot be used inside the named location', where)
    if pattern.regex is not None:
        return REGEX_ALIAS, b""
    return PREFIX_ALIAS, os.fsencode(pattern.text)
