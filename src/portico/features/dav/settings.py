"""The directives of `dav_methods`, and what they say for one location."""

from __future__ import annotations

from typing import Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.passing.store_settings import access_rights

PUT: Final = 1
DELETE: Final = 2
MKCOL: Final = 4
COPY: Final = 8
MOVE: Final = 16
METHODS: Final[dict[bytes, int]] = {b"PUT": PUT, b"DELETE": DELETE, b"MKCOL": MKCOL, b"COPY": COPY, b"MOVE": MOVE}

_ALL: Final = HTTP | SERVER | LOCATION
_OFF: Final = 32
_WORDS: Final = {"off": _OFF, **{name.decode(): bit for name, bit in METHODS.items()}}

DAV_METHODS: Final = Directive[int](
    "dav_methods", _ALL, values.bits(_WORDS), args="1+", joins=True, default=_OFF, default_text="off",
    syntax="off | METHOD ...",
    doc="Allows clients to change files where `root` or `alias` point: PUT, DELETE, MKCOL, COPY and MOVE. Whoever may do that is for "
    "`limit_except`, `allow`, `auth_basic` and so on to say. A file that is put or copied is seen when it is complete. COPY and MOVE "
    "stay within the location.",
    example="location /files/ { dav_methods PUT DELETE MKCOL COPY MOVE; limit_except GET { allow 192.0.2.0/24; deny all; } }",
)
CREATE_FULL_PUT_PATH: Final = Directive[bool](
    "create_full_put_path", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether PUT makes the directories that are missing.", example="create_full_put_path on;",
)
MIN_DELETE_DEPTH: Final = Directive[int](
    "min_delete_depth", _ALL, values.number, args="1", default=0, default_text="0", syntax="NUMBER",
    doc="How many elements the path must have at least of what DELETE removes: with 2, `/a/b` may be removed, `/a` may not.",
    example="min_delete_depth 2;",
)
DAV_ACCESS: Final = Directive[int](
    "dav_access", _ALL, access_rights, args="1-3", default=0o600, default_text="user:rw", syntax="WHO:RIGHTS ...",
    doc="The rights of files and directories that PUT and MKCOL make: `user:`, `group:`, `all:` with `rw` or `r`.",
    example="dav_access group:rw all:r;",
)
DIRECTIVES: Final[tuple[Directive[object], ...]] = (DAV_METHODS, CREATE_FULL_PUT_PATH, MIN_DELETE_DEPTH, DAV_ACCESS)


@final
class DavSettings:
    """The settings as they hold in one location."""

    def __init__(self, scope: Scope) -> None:
        self.methods = scope.get(DAV_METHODS) & ~_OFF
        self.creates_path = scope.get(CREATE_FULL_PUT_PATH)
        self.least_depth = scope.get(MIN_DELETE_DEPTH)
        self.access: int = scope.get(DAV_ACCESS)
