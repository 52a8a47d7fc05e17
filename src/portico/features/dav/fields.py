"""What the header fields Destination, Depth and Overwrite of a request ask for (RFC 4918 section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.config.directive import IF_LOCATION, LIMIT_EXCEPT, Scope
from portico.errorlog import ERR
from portico.http.errors import HTTPError
from portico.http.phases import split_unsafe
from portico.http.routing.uri import normalise
from portico.variables.session import shown

if TYPE_CHECKING:
    from portico.http.request import Request

INFINITY: Final = -1
_INVALID: Final = -2
_SINGLE: Final[dict[bytes, int]] = {b"0": 0, b"1": 1, b"infinity": INFINITY}
_OVERWRITE: Final[dict[bytes, bool]] = {b"T": True, b"t": True, b"F": False, b"f": False}


def depth_of(request: Request, default: int) -> int:
    """Return 0, 1, INFINITY, or another number for what is none of these."""
    text = request.fields.get(b"depth")
    if text is None:
        return default
    depth = _SINGLE.get(text, _INVALID)
    if depth == _INVALID:
        request.log_error(ERR, f'client sent invalid "Depth" header: "{shown(text)}"')
    return depth


def may_overwrite(request: Request) -> bool:
    """Return whether a file that exists may be replaced. Raises HTTPError 400."""
    text = request.fields.get(b"overwrite")
    if text is None:
        return True
    allowed = _OVERWRITE.get(text)
    if allowed is None:
        raise HTTPError(400, f'client sent invalid "Overwrite" header: "{shown(text)}"', ERR)
    return allowed


def destination_of(request: Request) -> bytes:
    """Return the path, in normal form, that the Destination field names on this server. Raises HTTPError.

    It belongs to the location of the request: the rules of access that were asked are those of this one.
    """
    value = request.fields.get(b"destination")
    if value is None:
        raise HTTPError(400, 'client sent no "Destination" header', ERR)
    uri = _path_in(request, value)
    try:
        path, _ = split_unsafe(uri)
        path = normalise(_quoted(path), request.server.core.merge_slashes).uri
    except ValueError:
        raise _invalid(value) from None
    if request.uri.endswith(b"/") != path.endswith(b"/"):
        what = "should be either collections or non-collections"
        raise HTTPError(409, f'both URI "{shown(request.uri)}" and "Destination" URI "{shown(value)}" {what}', ERR)
    if request.server.locations.find(path).value.scope is not _outer(request.location.scope):
        raise HTTPError(403, f'"Destination" URI "{shown(value)}" is in another location than the source URI', ERR)
    return path


def _path_in(request: Request, value: bytes) -> bytes:
    """Return the part of a Destination that begins with the path. Raises HTTPError 400."""
    if value.startswith(b"/"):
        return value
    host = request.asked_host
    if not host:
        raise HTTPError(400, 'client sent no "Host" header', ERR)
    scheme = b"https://" if request.client.secure else b"http://"
    if not value.startswith(scheme):
        raise _invalid(value)
    authority, slash, path = value[len(scheme) :].partition(b"/")
    name = authority.lower()
    if name != host and not (name.startswith(host + b":") and name[len(host) + 1 :].isdigit()):
        raise HTTPError(400, f'"Destination" URI "{shown(value)}" is handled by different repository than the source URI', ERR)
    if not slash:
        raise _invalid(value)
    return slash + path


def _invalid(value: bytes) -> HTTPError:
    return HTTPError(400, f'client sent invalid "Destination" header: "{shown(value)}"', ERR)


def _quoted(path: bytes) -> bytes:
    """Return a decoded path so that `normalise` decodes it to the same."""
    return path.replace(b"%", b"%25").replace(b"?", b"%3F").replace(b"#", b"%23")


def _outer(scope: Scope) -> Scope:
    """Return the location's own block; of a block of `if` or `limit_except` inside it that of the location."""
    while scope.context in (IF_LOCATION, LIMIT_EXCEPT) and scope.parent is not None:
        scope = scope.parent
    return scope
