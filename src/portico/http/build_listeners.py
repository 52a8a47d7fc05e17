"""From the `listen`s of all servers to listeners: what each address offers, which servers are behind it, which sockets it takes."""

from __future__ import annotations

from typing import final

from portico.config.diagnostics import ConfigError, Diagnostics
from portico.http.listen import Listen, ServerName, names_of
from portico.http.plan import Listener, VirtualServer
from portico.net.tls import no_certificate

_Key = tuple[int, int, object]  # ListenSpec.key: one address


@final
class ListenerBuilder:
    """Collects server after server."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self.listeners: dict[_Key, Listener] = {}
        self._with_default: set[_Key] = set()  # some `listen` says `default_server`
        self._with_options: set[_Key] = set()  # some `listen` says what belongs to the socket
        self._conflicts: list[tuple[Listener, str]] = []
        self._invalid: list[tuple[Listener, ConfigError]] = []
        self._bound: set[_Key] = set()  # to be bound separately, even where a wildcard address has the same port

    def add(self, server: VirtualServer, listens: list[Listen], names: list[ServerName]) -> None:
        """Put a server behind all its addresses. Raises ConfigError."""
        seen: set[_Key] = set()
        for listen in listens:
            key = listen.spec.key
            if key in seen:
                raise ConfigError(f"a duplicate listen {listen.spec}", listen.where)
            seen.add(key)
            listener = self.listeners.get(key)
            if listener is None:
                listener = self.listeners[key] = Listener(listen.spec, server)
            self._apply(listen, listener, server)
            listener.servers.append(server)
            listener.least_header_buffer = min(listener.least_header_buffer, server.core.large_buffer_size)
            self._add_names(listener, server, names, listen)

    def _apply(self, listen: Listen, listener: Listener, server: VirtualServer) -> None:
        """Add what this `listen` says to what others say of the same address."""
        key = listen.spec.key
        if listen.default_server:
            if key in self._with_default:
                raise ConfigError(f"a duplicate default server for {listen.spec}", listen.where)
            self._with_default.add(key)
            listener.make_default(server)
        if listen.sets_options:
            if key in self._with_options:
                raise ConfigError(f"duplicate listen options for {listen.spec}", listen.where)
            self._with_options.add(key)
            listener.spec = listen.spec
        if listen.bind:
            self._bound.add(key)
        listener.ssl = listener.ssl or listen.ssl
        listener.is_http2 = listener.is_http2 or listen.http2
        listener.proxy_protocol = listener.proxy_protocol or listen.proxy_protocol

    def _add_names(self, listener: Listener, server: VirtualServer, names: list[ServerName], listen: Listen) -> None:
        for name in names or [ServerName("", None)]:
            if name.regex is not None and name.regex.groups:
                listener.captures_names = True
            try:
                added = listener.names.add(name.text, server, name.regex)
            except ValueError as error:
                self._invalid.append((listener, ConfigError(f"{error} on {listen.spec}", server.where)))
                continue
            if not added:
                self._conflicts.append((listener, f'conflicting server name "{name.text}" on {listen.spec}, ignored'))

    def judge_names(self) -> None:
        """Report names that cannot be, and those that two servers want, unless the address has but one server (_looks_at_names)."""
        for listener, error in self._invalid:
            if _looks_at_names(listener):
                self.diagnostics.error(error)
        for listener, message in self._conflicts:
            if _looks_at_names(listener):
                self.diagnostics.warn(message, None)

    def check_tls(self) -> None:
        """Report who listens with `ssl` and has no certificate.

        The default server needs one, or, when that one rejects handshakes, all the others.
        """
        for listener in self.listeners.values():
            if not listener.ssl:
                continue
            default = listener.default
            rejects = default.tls is not None and not default.tls.has_certificate
            asked = listener.servers if rejects else [default]
            for server in asked:
                if server.tls is None:
                    self.diagnostics.error(no_certificate(server.where))

    def settle_http2(self) -> None:
        """Note which addresses speak HTTP/2: without TLS it is their default server's matter (ngx_http_wait_request_handler)."""
        for listener in self.listeners.values():
            servers = listener.servers if listener.ssl else [listener.default]
            listener.http2 = listener.is_http2 or any(server.http2 is not None and server.http2.enabled for server in servers)

    def sockets(self) -> list[Listener]:
        """Return one listener for each socket: an address whose port also has a wildcard is served by the wildcard's socket."""
        wildcards: dict[tuple[int, int], Listener] = {}
        for listener in self.listeners.values():
            listener.spec.nodelay = listener.default.core.tcp_nodelay
            address = listener.spec.address
            if not isinstance(address, str) and address[0] in ("0.0.0.0", "::"):
                wildcards[(listener.spec.family, address[1])] = listener
        result: list[Listener] = []
        for key, listener in self.listeners.items():
            address = listener.spec.address
            wildcard = None if isinstance(address, str) else wildcards.get((listener.spec.family, address[1]))
            if wildcard is None or wildcard is listener or key in self._bound:
                result.append(listener)
            elif not isinstance(address, str):
                wildcard.specific[address[0]] = listener
        return result


def _looks_at_names(listener: Listener) -> bool:
    """Return whether nginx makes a table of names: where one server alone is behind an address, it serves all hosts.

    But for the captures of its last regular expression, which are taken from the host all the same.
    """
    regexes = [name.regex for name in names_of(listener.default.scope) if name.regex is not None]
    return len(listener.servers) > 1 or (len(regexes) > 0 and regexes[-1].groups > 0)
