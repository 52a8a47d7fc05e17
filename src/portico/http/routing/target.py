"""What a request asks for: as the client has sent it, and as the configuration has rewritten it since."""

from __future__ import annotations

from typing import Final, final


@final
class RequestTarget:
    """A request target (RFC 9112 section 3.2) in its parts. It is never changed: requests with the same request line share it, and
    what rewrites a request gives it another one.
    """

    def __init__(self, raw: bytes, uri: bytes, args: bytes, quoted: bool) -> None:
        self.raw: bytes = raw
        """Path and query as the client sent them. nginx's `$request_uri`."""
        self.uri: bytes = uri
        """Decoded, dots resolved, slashes merged; always begins with `/`. nginx's `$uri`."""
        self.args: bytes = args
        """What follows `?`, undecoded; empty when there is none. nginx's `$args`."""
        self.quoted: bool = quoted
        """The path as sent held a `%`: nginx escapes `uri` again when it builds an upstream path from it."""
        self.is_plain = True
        """`raw` can be passed on unchanged: neither rewritten nor redirected since (nginx: valid_unparsed_uri)."""
        self.seeks_location = False
        """By `rewrite`: another location is to be found (nginx: uri_changed)."""
        self.left_location = False
        """By `rewrite … break`: the URI is not what the location was chosen for (nginx: not valid_location)."""

    def with_uri(self, uri: bytes) -> RequestTarget:
        """Return one with another path, which only this location looks at (`try_files`)."""
        return self._copy(self.raw, uri, self.args)

    def with_args(self, args: bytes) -> RequestTarget:
        """Return one with other arguments."""
        return self._copy(self.raw, self.uri, args)

    def without_query(self) -> RequestTarget:
        """Return one whose query nobody can see any more, in logs neither."""
        return self._copy(self.uri, self.uri, self.args)

    def redirected(self, uri: bytes, args: bytes) -> RequestTarget:
        """Return the one that an internal redirect leads to."""
        made = self._copy(self.raw, uri, args)
        made.is_plain = False
        return made

    def rewritten(self, uri: bytes, args: bytes, stays: bool) -> RequestTarget:
        """Return the one that `rewrite` leads to. `stays`: with `break`, in the location that the request is in."""
        made = self.redirected(uri, args)
        made.seeks_location = not stays
        made.left_location = stays
        return made

    def settled(self) -> RequestTarget:
        """Return one for a rewrite phase to begin with: nothing was rewritten in this location yet."""
        if not self.seeks_location and not self.left_location:
            return self
        made = self._copy(self.raw, self.uri, self.args)
        made.seeks_location = False
        made.left_location = False
        return made

    def _copy(self, raw: bytes, uri: bytes, args: bytes) -> RequestTarget:
        made = RequestTarget(raw, uri, args, self.quoted)
        made.is_plain = self.is_plain
        made.seeks_location = self.seeks_location
        made.left_location = self.left_location
        return made


ROOT: Final = RequestTarget(b"/", b"/", b"", False)
