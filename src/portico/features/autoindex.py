"""`autoindex`: the response for a directory is the list of what is in it. (nginx: ngx_http_autoindex_module.c, byte for byte.)

Names that begin with a dot are left out; directories come first, each part in the order of the bytes of the names.
"""

from __future__ import annotations

import errno
import os
import time
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.errorlog import CRIT, ERR, INFO
from portico.http.content.files import Files
from portico.http.content.media_types import split_charset
from portico.http.errors import HTTPError
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import CONTENT, Handler
from portico.http.response import EMPTY, STREAM, Body, Response
from portico.http.routing.uri import ESCAPE_URI_COMPONENT, arg, escape_uri
from portico.logs.log_format import ESCAPE_JSON, escape
from portico.net.reactor import http_date

if TYPE_CHECKING:
    from portico.http.request import Request

HTML: Final = 0
JSON: Final = 1
JSONP: Final = 2
XML: Final = 3
_TYPES: Final = (b"text/html", b"application/json", b"application/javascript", b"text/xml; charset=utf-8")
_WIDTH: Final = 50  # characters of a name that HTML shows
_LONGEST_CALLBACK: Final = 128
_CALLBACK: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_."
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_SCALES: Final = ((1 << 30, b"G", 1 << 30), (1 << 20, b"M", 1 << 20), (10000, b"K", 1 << 10))  # from which size on, in units of

_ALL: Final = HTTP | SERVER | LOCATION
AUTOINDEX: Final = Directive[bool](
    "autoindex", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="A URI that ends in `/`, and for which `index` finds no file, is answered with the list of what is in the directory.",
    example="location /files/ { autoindex on; }",
)
AUTOINDEX_EXACT_SIZE: Final = Directive[bool](
    "autoindex_exact_size", _ALL, values.flag, args="1", default=True, default_text="on", syntax="on | off",
    doc="Whether the HTML list gives sizes in bytes, or rounded to kilobytes, megabytes and gigabytes.",
    example="autoindex_exact_size off;",
)
AUTOINDEX_FORMAT: Final = Directive[int](
    "autoindex_format", _ALL, values.choice({"html": HTML, "json": JSON, "jsonp": JSONP, "xml": XML}), args="1", default=HTML,
    default_text="html", syntax="html | xml | json | jsonp",
    doc="How the list is written. With `jsonp` the argument `callback` of the request names the function; without one it is JSON.",
    example="autoindex_format json;",
)
AUTOINDEX_LOCALTIME: Final = Directive[bool](
    "autoindex_localtime", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off",
    doc="Whether the HTML list gives times in the local time zone, or in UTC.",
    example="autoindex_localtime on;",
)


@final
class Entry:
    """One name in a directory."""

    def __init__(self, name: bytes, status: os.stat_result) -> None:
        self.name = name
        self.is_directory = S_ISDIR(status.st_mode)
        self.is_file = S_ISREG(status.st_mode)
        self.size = status.st_size
        self.mtime = int(status.st_mtime)

    def kind(self) -> bytes:
        """What JSON and XML call it."""
        return b"directory" if self.is_directory else b"file" if self.is_file else b"other"


@final
class Listing(Body):
    """The list of a directory. It is written when the client gets it: by then filters have said which charset the response is in."""

    def __init__(
        self, handler: AutoindexHandler, request: Request, response: Response, format_: int, callback: bytes, entries: list[Entry]
    ) -> None:
        self.kind = STREAM
        self.length = -1
        self.handler = handler
        self.request = request
        self.response = response
        self.format = format_
        self.callback = callback
        self.entries: list[Entry] | None = entries

    def take(self) -> bytes | None:
        entries = self.entries
        if entries is None:
            return b""
        self.entries = None
        if self.format == HTML:
            utf8 = split_charset(self.response.content_type)[1].lower() == b"utf-8"
            return self.handler.html(self.request.uri, entries, utf8)
        if self.format == XML:
            return _xml(entries)
        text = _json(entries)
        return text if self.format == JSON else b"/* callback */\r\n" + self.callback + b"(" + text + b");"

    async def wait(self) -> None:
        return


@final
class AutoindexHandler(Handler):
    """Lists directories."""

    def __init__(self, files: Files, kind: int, exact: bool, local: bool) -> None:
        self.is_async = False
        self.files = files
        self.kind = kind
        self.exact = exact
        self.local = local

    def handle(self, request: Request) -> Response | None:
        if not request.uri.endswith(b"/") or request.method not in (b"GET", b"HEAD"):
            return None
        directory = self.files.path(request)
        kind = self.kind
        callback = b""
        if kind == JSONP:
            callback = _callback(request)
            if not callback:
                kind = JSON
        response = Response(200, EMPTY)
        if request.method == b"HEAD":
            _open(directory)
        else:
            response.body = Listing(self, request, response, kind, callback, _entries(request, directory))
        response.content_length = -1  # nginx begins to respond before it has read the directory
        response.content_type = _TYPES[kind]
        return response

    def describe(self) -> str:
        return f"autoindex of {self.files.directory.text}"

    def html(self, uri: bytes, entries: list[Entry], utf8: bool) -> bytes:
        """Return the list as a page; `utf8`: the response says that it is in UTF-8, so that characters are counted."""
        title = escape_html(uri)
        lines = [
            b"<html>\r\n<head><title>Index of " + title + b"</title></head>\r\n<body>\r\n",
            b"<h1>Index of " + title + b'</h1><hr><pre><a href="../">../</a>\r\n',
        ]
        for entry in entries:
            lines.append(b'<a href="%b%b">%b %b %b\r\n' % (
                escape_uri(entry.name, ESCAPE_URI_COMPONENT), b"/" if entry.is_directory else b"", _shown(entry, utf8),
                self._time(entry.mtime), self._size(entry),
            ))  # fmt: skip
        lines.append(b"</pre><hr></body>\r\n</html>\r\n")
        return b"".join(lines)

    def _time(self, mtime: int) -> bytes:
        t = time.gmtime(mtime + _offset() if self.local else mtime)
        return b"%02d-%b-%d %02d:%02d" % (t.tm_mday, _MONTHS[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min)

    def _size(self, entry: Entry) -> bytes:
        if entry.is_directory:
            return b"%19b" % b"-" if self.exact else b"%7b" % b"-"
        return b"%19d" % entry.size if self.exact else _rounded(entry.size)


def _offset() -> int:
    """Seconds that local time is ahead of UTC now; nginx shows all times with that, of winter and of summer."""
    return time.localtime().tm_gmtoff


def _shown(entry: Entry, utf8: bool) -> bytes:
    """Return the name as HTML shows it, up to the column where the time begins."""
    name = entry.name
    width = len(name)
    start = name[: _WIDTH - 3]
    if utf8:
        try:
            characters = name.decode("utf-8")
            width = len(characters)
            start = characters[: _WIDTH - 3].encode("utf-8")
        except UnicodeDecodeError:
            pass  # it is shown byte by byte
    if width > _WIDTH:
        return escape_html(start) + b"..&gt;</a>"
    text = escape_html(name)
    if entry.is_directory and width < _WIDTH:
        text += b"/"
        width += 1
    return text + b"</a>" + b" " * (_WIDTH - width)


def _rounded(size: int) -> bytes:
    for least, letter, unit in _SCALES:
        if size >= least:
            return b"%6d%b" % (size // unit + (1 if size % unit > unit // 2 - 1 else 0), letter)
    return b"%7d" % size


def escape_html(text: bytes) -> bytes:
    """ngx_escape_html."""
    return text.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;").replace(b'"', b"&quot;")


def _json(entries: list[Entry]) -> bytes:
    lines: list[bytes] = []
    for entry in entries:
        size = b', "size":%d' % entry.size if entry.is_file else b""
        lines.append(b'\r\n{ "name":"%b", "type":"%b", "mtime":"%b"%b }' % (
            escape(entry.name, ESCAPE_JSON), entry.kind(), http_date(entry.mtime), size,
        ))  # fmt: skip
    return b"[" + b",".join(lines) + b"\r\n]"


def _xml(entries: list[Entry]) -> bytes:
    lines = [b'<?xml version="1.0"?>\r\n<list>\r\n']
    for entry in entries:
        t = time.gmtime(entry.mtime)
        kind = entry.kind()
        size = b' size="%d"' % entry.size if entry.is_file else b""
        lines.append(b'<%b mtime="%4d-%02d-%02dT%02d:%02d:%02dZ"%b>%b</%b>\r\n' % (
            kind, t.tm_year, t.tm_mon, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, size, escape_html(entry.name), kind,
        ))  # fmt: skip
    lines.append(b"</list>\r\n")
    return b"".join(lines)


def _callback(request: Request) -> bytes:
    """Return the name of the function, b"" when the request gives none. Raises HTTPError."""
    name = arg(request.args, b"callback") or b""
    shown = name.decode("utf-8", "backslashreplace")
    if len(name) > _LONGEST_CALLBACK:
        raise HTTPError(400, f'client sent too long callback name: "{shown}"', INFO)
    if name.translate(None, _CALLBACK):
        raise HTTPError(400, f'client sent invalid callback name: "{shown}"', INFO)
    return name


def _open(directory: bytes) -> None:
    """Raises HTTPError when the directory cannot be read."""
    try:
        os.scandir(directory).close()
    except OSError as error:
        raise _refusal(directory, error.errno or 0) from None


def _entries(request: Request, directory: bytes) -> list[Entry]:
    found: list[Entry] = []
    try:
        with os.scandir(directory) as names:
            for item in names:
                if not item.name.startswith(b"."):
                    entry = _entry(request, directory, item.name)
                    if entry is not None:
                        found.append(entry)
    except OSError as error:
        raise _refusal(directory, error.errno or 0) from None
    found.sort(key=_by_kind_and_name)
    return found


def _by_kind_and_name(entry: Entry) -> tuple[bool, bytes]:
    return not entry.is_directory, entry.name


def _entry(request: Request, directory: bytes, name: bytes) -> Entry | None:
    """Return the entry; None for what may not be looked at. A link that leads nowhere is shown for itself. Raises HTTPError."""
    path = directory + name
    try:
        try:
            return Entry(name, os.stat(path))
        except FileNotFoundError:
            return Entry(name, os.lstat(path))
    except OSError as error:
        number = error.errno or 0
        reason = f'stat() "{os.fsdecode(path)}" failed ({number}: {os.strerror(number)})'
        if number not in (errno.EACCES, errno.ELOOP, errno.ENOENT):
            raise HTTPError(500, reason, CRIT) from None
        request.log_error(CRIT, reason)
        return None


def _refusal(directory: bytes, number: int) -> HTTPError:
    status, level = 500, CRIT
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        status, level = 404, ERR
    elif number == errno.EACCES:
        status, level = 403, ERR
    path = os.fsdecode(directory)
    shown = path[:-1] if len(path) > 1 else path
    return HTTPError(status, f'opendir() "{shown}" failed ({number}: {os.strerror(number)})', level)


class AutoindexFeature(Feature):
    """nginx's http_autoindex module."""

    def location(self, build: LocationBuild) -> None:
        scope = build.scope
        if scope.get(AUTOINDEX) and not build.has_content:
            handler = AutoindexHandler(
                Files(scope), scope.get(AUTOINDEX_FORMAT), scope.get(AUTOINDEX_EXACT_SIZE), scope.get(AUTOINDEX_LOCALTIME)
            )
            build.add_handler(CONTENT, handler)


FEATURE: Final = AutoindexFeature(
    "http_autoindex", (AUTOINDEX, AUTOINDEX_EXACT_SIZE, AUTOINDEX_FORMAT, AUTOINDEX_LOCALTIME)
)
