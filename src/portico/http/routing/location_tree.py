"""Which location serves a URI: nginx's precedence, at a cost that does not grow with the configuration.

On one level, as `ngx_http_core_find_location`:

1. an exact location (`= /x`) that is the URI decides at once;
2. a URI that lacks only the last `/` of a location that proxies (`/app` for `location /app/`) is redirected
   there, unless `/app` is a location too;
3. the longest prefix location is remembered; if there are locations inside it, their level is searched now,
   and what is decided there stays decided;
4. unless that longest prefix was `^~`, the regexes of this level are tried in order; the first that matches
   decides, after the level inside it had its say;
5. else the remembered location, else the owner of the level: the enclosing location, or the server.

How the longest prefix is found
-------------------------------
nginx's prefixes are not cut at slashes (`location /ab` takes `/abc`), so a dict of path segments will not do.
nginx descends a tree of names; a byte trie would walk the URI: loops over characters, cheap in C only. A dict
per prefix length means a loop over the distinct lengths. Those lengths are searched in halves instead
(Waldvogel et al., "Scalable High Speed IP Routing Lookups", 1997): look up the URI's first n bytes for the
middle length n; a hit leads to the longer lengths, a miss to the shorter. For this to be right, each prefix
leaves a *marker* at the lengths tried on the way to it, and a marker knows the longest location that is a
prefix of it, so that nothing is looked at twice. The cost is log2(number of distinct lengths) lookups: 3 for
ten locations, 5 for ten thousand. `bench/routing.py` measures it.
"""

from collections.abc import Sequence
from typing import Final, Generic, TypeVar, final

from portico.config.regex import Regex, compile_regex

T = TypeVar("T")

EXACT: Final = 0  # location = /x
PREFIX: Final = 1  # location /x
PREFIX_STOP: Final = 2  # location ^~ /x
REGEX: Final = 3  # location ~ x
REGEX_ICASE: Final = 4  # location ~* x
NAMED: Final = 5  # location @x

MODIFIERS: Final = ("= ", "", "^~ ", "~ ", "~* ", "")


@final
class Location(Generic[T]):
    """One `location` block: what it matches, and what the caller gets when it does."""

    def __init__(
        self, kind: int, pattern: str, value: T, auto_redirect: bool = False, regex: Regex | None = None
    ) -> None:
        """`auto_redirect`: its handler proxies; the URI without the last `/` of `pattern` leads to a 301.

        `regex`: a regex location's pattern, when the caller has compiled it already; else it is compiled here
        and raises what `compile_regex` raises.
        """
        self.kind: int = kind
        self.pattern: str = pattern
        self.value: T = value
        self.auto_redirect: bool = auto_redirect and kind <= PREFIX_STOP and pattern.endswith("/")
        self.key: bytes = pattern.encode("utf-8", "surrogateescape")
        if regex is None and kind in (REGEX, REGEX_ICASE):
            regex = compile_regex(pattern, kind == REGEX_ICASE)
        self.regex: Regex | None = regex
        self.nested: LocationTree[T] | None = None
        """The locations inside this one; set by `nest`."""

    def text(self) -> str:
        """Return it as written: modifier and pattern."""
        return MODIFIERS[self.kind] + self.pattern

    def nest(self, inner: "Sequence[Location[T]]") -> None:
        """Put locations inside this one; `ValueError`, in nginx's words, when they cannot stand there."""
        for location in inner:
            check_nesting(self, location)
        self.nested = LocationTree(inner, self.value)


@final
class LocationMatch(Generic[T]):
    """The location that a URI led to, and why. Shared between lookups (but for regexes): never changed."""

    def __init__(self, location: Location[T] | None, value: T, reason: str, final: bool) -> None:
        self.location: Location[T] | None = location
        """None when no location matched: the server itself answers."""
        self.value: T = value
        self.reason: str = reason
        """Why, for people."""
        self.auto_redirect: bool = False
        """Answer 301 to the location's pattern (with the arguments); the URI lacks its last slash."""
        self.captures: list[bytes | None] | None = None
        """The whole match and the groups of the last regex that matched: `$0`, `$1`, …"""
        self.named: dict[str, bytes] | None = None
        """Named captures of all regex locations on the way in: variables. An unset group is empty."""
        self.final: bool = final
        """No regex of an enclosing level may override this."""


@final
class LocationTree(Generic[T]):
    """The locations of one level: of a server, or nested in one location."""

    def __init__(self, locations: Sequence[Location[T]], default: T) -> None:
        """Raises `ValueError('duplicate location "x"')`; `duplicate` tells beforehand which one."""
        twice = duplicate(locations)
        if twice is not None:
            raise ValueError(f'duplicate location "{twice.pattern}"')
        self._default: LocationMatch[T] = LocationMatch(None, default, "no location matches", False)
        self._named: dict[str, Location[T]] = {}
        self._regexes: list[Location[T]] = [one for one in locations if one.regex is not None]
        prefixes: dict[bytes, LocationMatch[T]] = {}
        self._whole: dict[bytes, LocationMatch[T]] = {}
        for one in locations:
            if one.kind == EXACT:
                self._whole[one.key] = LocationMatch(one, one.value, f'the URI is "{one.pattern}"', True)
            elif one.kind == PREFIX or one.kind == PREFIX_STOP:
                prefixes[one.key] = LocationMatch(one, one.value, _prefix_reason(one), False)
            elif one.kind == NAMED:
                self._named.setdefault(one.pattern, one)  # nginx takes the first, without a word
        self._add_redirects(locations, prefixes)
        self._lengths: list[int] = sorted({len(key) for key in prefixes})
        self._table: dict[bytes, LocationMatch[T]] = self._markers(prefixes)

    def _add_redirects(
        self, locations: Sequence[Location[T]], prefixes: dict[bytes, LocationMatch[T]]
    ) -> None:
        """Let `/app` lead to `/app/`, where `/app` is not itself a location.

        Of `= /app/` and `/app/`, either may ask for it, and the exact one gives the settings.
        """
        exact = {one.key: one for one in locations if one.kind == EXACT}
        for one in locations:
            key = one.key[:-1]
            if not one.auto_redirect or key in prefixes or key in exact:
                continue
            one = exact.get(one.key, one)
            match = LocationMatch(one, one.value, f'the URI lacks the last "/" of "{one.pattern}"', True)
            match.auto_redirect = True
            self._whole[key] = match

    def _markers(self, prefixes: dict[bytes, LocationMatch[T]]) -> dict[bytes, LocationMatch[T]]:
        table: dict[bytes, LocationMatch[T]] = {}
        for key in prefixes:
            low, high = 0, len(self._lengths)
            while low < high:
                middle = (low + high) >> 1
                length = self._lengths[middle]
                if length > len(key):
                    high = middle
                    continue
                low = middle + 1
                marker = key[:length]
                if marker not in table:
                    table[marker] = self._longest(marker, prefixes)
                if length == len(key):
                    break
        return table

    def _longest(self, marker: bytes, prefixes: dict[bytes, LocationMatch[T]]) -> LocationMatch[T]:
        """Return the longest location that is a prefix of a marker; the default if there is none."""
        for length in reversed(self._lengths):
            if length <= len(marker):
                match = prefixes.get(marker[:length])
                if match is not None:
                    return match
        return self._default

    def find(self, uri: bytes) -> LocationMatch[T]:
        """Return the location for a normal URI (decoded, dots resolved, slashes merged)."""
        match = self._search(uri)
        return self._default if match is None else match

    def named(self, name: str) -> Location[T] | None:
        """Return the location `@name` (given with its `@`); None when there is none."""
        return self._named.get(name)

    def _search(self, uri: bytes) -> LocationMatch[T] | None:
        """Search one level and what is nested in it; None when nothing matches."""
        match = self._whole.get(uri)
        if match is not None:
            return match
        match = self._longest_prefix(uri)
        location = match.location
        if location is None:
            return self._first_regex(uri) if self._regexes else None
        if location.nested is not None:
            inner = location.nested._search(uri)
            if inner is not None:
                if inner.final:
                    return inner
                match = inner
        if self._regexes and location.kind != PREFIX_STOP:
            decided = self._first_regex(uri)
            if decided is not None:
                return decided
        return match

    def _longest_prefix(self, uri: bytes) -> LocationMatch[T]:
        table = self._table
        lengths = self._lengths
        size = len(uri)
        best = self._default
        low, high = 0, len(lengths)
        while low < high:
            middle = (low + high) >> 1
            length = lengths[middle]
            if length <= size:
                found = table.get(uri[:length])
                if found is not None:
                    best = found
                    low = middle + 1
                    continue
            high = middle
        return best

    def _first_regex(self, uri: bytes) -> LocationMatch[T] | None:
        for location in self._regexes:
            regex = location.regex
            captures = None if regex is None else regex.match(uri)
            if regex is None or captures is None:
                continue
            match = LocationMatch(location, location.value, f'regex "{location.pattern}" matches', True)
            match.captures = captures
            match.named = regex.named_values(captures)
            return match if location.nested is None else _inside(match, location.nested._search(uri))
        return None


def _inside(outer: LocationMatch[T], inner: LocationMatch[T] | None) -> LocationMatch[T]:
    """Return what a regex location leads to, given what matched inside it.

    The regex has decided, so enclosing regexes are not tried. As in nginx, no redirect comes from inside it:
    the location that would redirect is entered.
    """
    if inner is None:
        return outer
    match = LocationMatch(inner.location, inner.value, inner.reason, True)
    match.captures = outer.captures if inner.captures is None else inner.captures
    if outer.named is None or inner.named is None:
        match.named = outer.named if inner.named is None else inner.named
    else:
        match.named = {**outer.named, **inner.named}
    return match


def _prefix_reason(location: Location[T]) -> str:
    if location.kind == PREFIX_STOP:
        return f'"{location.pattern}" is the longest prefix, and "^~" stops regexes'
    return f'"{location.pattern}" is the longest prefix'


def duplicate(locations: Sequence[Location[T]]) -> Location[T] | None:
    """Return the first location of a level that stands there already: `= /x` twice, or two of `/x` and `^~ /x`."""
    seen: set[tuple[bool, bytes]] = set()
    for location in locations:
        if location.kind > PREFIX_STOP:
            continue
        key = (location.kind == EXACT, location.key)
        if key in seen:
            return location
        seen.add(key)
    return None


def check_nesting(outer: Location[T], inner: Location[T]) -> None:
    """Raise `ValueError` with nginx's words when a location cannot stand inside another."""
    if outer.kind == EXACT:
        raise ValueError(f'location "{inner.pattern}" cannot be inside the exact location "{outer.pattern}"')
    if outer.kind == NAMED:
        raise ValueError(f'location "{inner.pattern}" cannot be inside the named location "{outer.pattern}"')
    if inner.kind == NAMED:
        raise ValueError(f'named location "{inner.pattern}" can be on the server level only')
    if inner.regex is None and not inner.pattern.startswith(outer.pattern):
        raise ValueError(f'location "{inner.pattern}" is outside location "{outer.pattern}"')


def location_name(args: Sequence[str]) -> tuple[int, str]:
    """Kind and pattern of the arguments of `location`: `= /x`, `=/x`, `/x`, `@x`, `~* \\.php$`, `^~/x`.

    Raises `ValueError('invalid location modifier "x"')`. (One or two arguments; the directive checks that.)
    """
    if len(args) > 1:
        kind = _KINDS.get(args[0], -1)
        if kind < 0:
            raise ValueError(f'invalid location modifier "{args[0]}"')
        return kind, args[1]
    text = args[0]
    for modifier, kind in _KINDS.items():
        if text.startswith(modifier):
            return kind, text[len(modifier) :]
    return (NAMED if text.startswith("@") else PREFIX), text


_KINDS: Final = {"=": EXACT, "^~": PREFIX_STOP, "~*": REGEX_ICASE, "~": REGEX}
