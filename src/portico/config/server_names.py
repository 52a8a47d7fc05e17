"""Which server answers for a host: `server_name` as nginx resolves it.

The servers of one listening address share one `ServerNames`. A host is looked up in nginx's order:

1. the exact name;
2. the longest leading wildcard: `*.example.com`, or `.example.com`, which stands for `example.com` as well;
3. the longest trailing wildcard: `www.example.*`;
4. the regexes, in the order in which they were added;
5. the default server.

Names live in dicts, and a lookup probes one suffix or prefix for each dot of the host. So its cost depends on
the host alone; ten thousand names cost what ten do. Regexes are tried one by one, as in nginx.
"""

from typing import Final, Generic, TypeVar, final

from portico.config.regex import Regex, compile_regex

T = TypeVar("T")

EXACT: Final = "exact name"
LEADING: Final = "leading wildcard"
TRAILING: Final = "trailing wildcard"
REGEX: Final = "regex"
DEFAULT: Final = "default server"


@final
class ServerMatch(Generic[T]):
    """The server that a host led to, and why. Shared between lookups (but for regexes): never changed."""

    def __init__(self, value: T, name: str, reason: str) -> None:
        self.value: T = value
        self.name: str = name
        """The `server_name` that matched, as written; empty for the default server."""
        self.reason: str = reason
        """How it matched: `EXACT`, `LEADING`, `TRAILING`, `REGEX` or `DEFAULT`."""
        self.captures: list[bytes | None] | None = None
        """The whole match and the groups of a regex name: `$0`, `$1`, …"""
        self.named: dict[str, bytes] | None = None
        """The named captures of a regex name, which become variables; an unset group is empty."""


@final
class ServerNames(Generic[T]):
    """The names of all servers that listen on one address."""

    def __init__(self, default: T) -> None:
        self._default: ServerMatch[T] = ServerMatch(default, "", DEFAULT)
        self._exact: dict[bytes, ServerMatch[T]] = {}
        self._leading: dict[bytes, ServerMatch[T]] = {}  # "*.example.com" by "example.com"
        self._trailing: dict[bytes, ServerMatch[T]] = {}  # "www.example.*" by "www.example"
        self._regexes: list[tuple[Regex, ServerMatch[T]]] = []
        # Exact names that are spoken for. `.example.com` claims "example.com" even when it is itself refused
        # because of an earlier "*.example.com" (ngx_hash_add_key does its checks in that order).
        self._claimed: set[bytes] = set()

    def set_default(self, default: T) -> None:
        """Set the server that answers when no name fits."""
        self._default = ServerMatch(default, "", DEFAULT)

    def add(self, name: str, value: T, regex: Regex | None = None) -> bool:
        """Add a name as written in `server_name` (lower-cased here; `~…` is a regex).

        False means that an earlier server has the name already, and this one is ignored: nginx warns
        `conflicting server name "x" on ADDRESS, ignored`. Raises `ValueError('invalid server name or wildcard
        "x"')` (the caller adds `on ADDRESS`), or what `compile_regex` raises. `regex` saves compiling the
        same name again for another address.
        """
        if name.startswith("~"):
            compiled = name_regex(name) if regex is None else regex
            self._regexes.append((compiled, ServerMatch(value, name, REGEX)))
            return True
        key = name.lower().encode("utf-8", "surrogateescape")
        if key.count(b"*") > 1 or b".." in key or b"\0" in key:
            raise invalid_name(name)
        if len(key) > 1 and key.startswith(b"."):
            return self._add_with_parent(key[1:], ServerMatch(value, name, LEADING))
        if len(key) > 2 and key.startswith(b"*."):
            return _put(self._leading, key[2:], ServerMatch(value, name, LEADING))
        if len(key) > 2 and key.endswith(b".*"):
            return _put(self._trailing, key[:-2], ServerMatch(value, name, TRAILING))
        if b"*" in key:
            raise invalid_name(name)
        if key in self._claimed:
            return False
        self._claimed.add(key)
        return _put(self._exact, key, ServerMatch(value, name, EXACT))

    def add_exact(self, key: bytes, value: T) -> bool:
        """Add a name, in lower case, that is no wildcard though it may look like one. False: it is there already."""
        if key in self._claimed:
            return False
        self._claimed.add(key)
        return _put(self._exact, key, ServerMatch(value, key.decode("utf-8", "surrogateescape"), EXACT))

    def _add_with_parent(self, key: bytes, match: ServerMatch[T]) -> bool:
        """Add `.example.com`: `example.com` itself, and everything below it."""
        if key in self._claimed:
            return False
        self._claimed.add(key)
        if not _put(self._leading, key, match):
            return False
        self._exact[key] = match
        return True

    def find(self, host: bytes) -> ServerMatch[T]:
        """Return the server for a host: lower case, no port, no trailing dot; empty when the client named none."""
        match = self._exact.get(host)
        if match is not None:
            return match
        if not host:
            return self._default
        if self._leading:
            match = self._longest_leading(host)
            if match is not None:
                return match
        if self._trailing:
            match = self._longest_trailing(host)
            if match is not None:
                return match
        return self._first_regex(host) if self._regexes else self._default

    def _longest_leading(self, host: bytes) -> ServerMatch[T] | None:
        start = 0
        for label in host.split(b"."):
            start += len(label) + 1
            match = self._leading.get(host[start:])
            if match is not None:
                return match
        return None

    def _longest_trailing(self, host: bytes) -> ServerMatch[T] | None:
        end = len(host)
        for label in host.split(b".")[:0:-1]:
            end -= len(label) + 1
            match = self._trailing.get(host[:end])
            if match is not None:
                return match
        return None

    def _first_regex(self, host: bytes) -> ServerMatch[T]:
        for regex, server in self._regexes:
            captures = regex.match(host)
            if captures is not None:
                match = ServerMatch(server.value, server.name, REGEX)
                match.captures = captures
                match.named = regex.named_values(captures)
                return match
        return self._default


def name_regex(name: str) -> Regex:
    """Compile a `~regex` server name. As in nginx, case counts unless the pattern has an upper-case letter:
    hosts are lower case, so that such a pattern would never match otherwise."""
    pattern = name[1:]
    if not pattern:
        raise ValueError(f'empty regex in server name "{name}"')
    return compile_regex(pattern, any("A" <= c <= "Z" for c in pattern))


def invalid_name(name: str) -> ValueError:
    """Return the error for a name whose wildcard is not a whole first or last label."""
    return ValueError(f'invalid server name or wildcard "{name}"')


def _put(table: dict[bytes, ServerMatch[T]], key: bytes, match: ServerMatch[T]) -> bool:
    if key in table:
        return False
    table[key] = match
    return True
