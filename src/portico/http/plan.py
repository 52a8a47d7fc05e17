"""What a configuration means, ready to serve: listeners, virtual servers, locations.

Everything here is built once, at load (`http/build.py`), and only read afterwards. Choosing a server and a location are pure
functions of these objects and the request, so the same objects can explain themselves: each remembers the `file:line` that gave it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast, final

from portico.codec.errors import ProtocolError
from portico.codec.http1_request import valid_host
from portico.config.reader import Where
from portico.config.regex import RegexFailed
from portico.config.server_names import DEFAULT, ServerNames
from portico.http.routing.location_tree import LocationTree
from portico.net.listen import ListenSpec
from portico.variables.client import Client

if TYPE_CHECKING:
    from portico.config.directive import Scope
    from portico.http.handler import Handler, HeaderFilter, Logger
    from portico.http.settings import CoreSettings, Http2Settings
    from portico.net.tls import ServerTLS
    from portico.net.transport import Transport
    from portico.variables.template import Template

T = TypeVar("T")


@final
class ErrorPage:
    """One status of an `error_page`: where to, and which status the client sees."""

    def __init__(self, target: Template, overwrite: int) -> None:
        self.target = target
        self.overwrite = overwrite  # -1: keep the error's; 0: the one of the page; else this


@final
class Location:
    """A finished location: only the handlers and filters that its configuration asks for."""

    def __init__(self, name: str, where: Where | None, scope: Scope, core: CoreSettings) -> None:
        self.name = name  # as written: "/api/", "~ \\.php$", "@fallback"
        self.where = where
        self.scope = scope
        self.core = core
        self.rewrites: tuple[Handler, ...] = ()  # the rewrite phase, after which `if` may have put another location in place
        self.handlers: tuple[Handler, ...] = ()  # the phases after it
        self.header_filters: tuple[HeaderFilter, ...] = ()
        self.adding_filters: tuple[HeaderFilter, ...] = ()  # those of them that add to header sections whose lines are finished
        self.loggers: tuple[Logger, ...] = ()
        self.error_pages: dict[int, ErrorPage] = {}
        self.internal = False
        self.prefix: bytes = b""  # the part of the URI that proxy_pass with a URI and alias replace; b"" for regex and named
        self.is_regex = False
        self.is_named = False
        self.is_condition = False  # the block of an `if`: a location of its own inside another one
        self.slots: dict[object, object] = {}  # by LocationSlot: what the variables of features need to know of it
        self.warns_of_unset = True  # uninitialized_variable_warn
        self.root: Template | None = None  # `root` or `alias`
        self.alias = False
        self.auto_redirect = False  # `location /x/` with a proxy: "/x" gets a 301

    def describe(self) -> str:
        """Return what logs call it: `location /api/ (nginx.conf:12)`."""
        return f"location {self.name} ({self.where})" if self.where else f"server level ({self.name})"


@final
class LocationSlot(Generic[T]):
    """What the variables of one feature need to know of a location. The feature owns the slot, a constant of its file."""

    def put(self, location: Location, value: T) -> None:
        """Leave the value with a location, while that is built."""
        location.slots[self] = value

    def of(self, location: Location) -> T | None:
        """Return what was left with this location; None when nothing was."""
        return cast("T | None", location.slots.get(self))


@final
class VirtualServer:
    """One `server {}`."""

    def __init__(self, name: str, where: Where | None, scope: Scope, core: CoreSettings) -> None:
        self.name = name  # the first server_name: nginx's $server_name
        self.name_bytes: bytes = name.encode("utf-8", "surrogateescape")
        self.where = where
        self.scope = scope
        self.core = core
        self.rewrites: tuple[Handler, ...] = ()  # server-rewrite phase
        self.fallback: Location  # where a URI goes that no location matches: the server's own settings
        self.locations: LocationTree[Location]
        self.named: dict[str, Location] = {}
        self.tls: ServerTLS | None = None
        self.http2: Http2Settings | None = None


@final
class Listener:
    """One address that clients connect to, and the servers behind it."""

    def __init__(self, spec: ListenSpec, default: VirtualServer) -> None:
        self.spec = spec
        self.default = default
        self.names: ServerNames[VirtualServer] = ServerNames(default)
        self.least_header_buffer = default.core.large_buffer_size  # of its servers: up to this no header section is too large
        self.ssl = False
        self.http2 = False  # some server of it speaks HTTP/2
        self.is_http2 = False  # … and all of them do (`listen … http2`)
        self.proxy_protocol = False  # every connection begins with a header that says who the client is
        self.captures_names = False  # some server_name is a regex with named groups
        self.servers: list[VirtualServer] = []
        self.specific: dict[str, Listener] = {}  # on a wildcard socket: listeners for single addresses of the same port

    def client(self, transport: Transport, peer: tuple[str, int] | None, number: int) -> Client:
        """Return the facts of a connection that was accepted here. `peer`: who has connected, None for a Unix socket."""
        return Client(transport, self.spec.address, self.default.core.error_log, peer, number)

    def make_default(self, server: VirtualServer) -> None:
        """Make `server` the one that is asked when no name fits (`default_server`)."""
        self.default = server
        self.names.set_default(server)

    def find(self, host: bytes) -> VirtualServer:
        """Return the server for a host (lower case, without port)."""
        return self.names.find(host).value

    def find_tls(self, name: bytes) -> ServerTLS | None:
        """Return, for SNI, what the server of that name presents: its own, or the default's; None when no server has that name."""
        try:
            match = self.names.find(valid_host(name)[0])
        except ProtocolError:
            return None  # no name that a host can have
        except RegexFailed:
            return None  # the request will have it refused, and logged
        return None if match.reason == DEFAULT else match.value.tls or self.default.tls

    def for_address(self, address: str) -> Listener:
        """Return the listener for a connection that a wildcard socket accepted on this local address."""
        return self.specific.get(address, self)
