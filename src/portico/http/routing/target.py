"""What a request asks for: as the client has sent it, and as the configuration has rewritten it since."""

from __future__ import annotations

from typing import Final, final


@final
class RequestTarget:
    """A request target (RFC 9112 section 3.2) in its parts. It is never changed: requests with the same request line share it, and
    what rewrites a request gives it another one.
    """

    def __init__(
        self,
        raw: bytes,
        uri: bytes,
        args: bytes,
        quoted: bool,
        is_plain: bool = True,
        seeks_location: bool = False,
        left_location: bool = False,
    ) -> None:
        self.raw: bytes = raw
        """Path and query as the client sent them. nginx's `$request_uri`."""
        self.uri: bytes = uri
        """Decoded, dots resolved, slashes merged; always begins with `/`. nginx's `$uri`."""
        self.args: bytes = args
        """What follows `?`, undecoded; empty when there is none. nginx's `$args`."""
        self.quoted: bool = quoted
        """The path as sent held a `%`: nginx escapes `uri` again when it builds an upstream path from it."""
        self.is_plain: bool = is_plain
        """`raw` can be passed on unchanged: nothing of it was rewritten, redirected or set since (nginx: valid_unparsed_uri)."""
        self.seeks_location: bool = seeks_location
        """By `rewrite`: another location is to be found (nginx: uri_changed)."""
        self.left_location: bool = left_location
        """By `rewrite … break`: the URI is not what a location was chosen for (nginx: not valid_location)."""

    def with_uri(self, uri: bytes) -> RequestTarget:
        """Return one with another path, which only this location looks at (`try_files`)."""
        return RequestTarget(self.raw, uri, self.args, self.quoted, self.is_plain, self.seeks_location, self.left_location)

    def with_args(self, args: bytes) -> RequestTarget:
        """Return one with other arguments, which upstreams get as well (ngx_http_variable_set_args)."""
        return RequestTarget(self.raw, self.uri, args, self.quoted, False, self.seeks_location, self.left_location)

    def with_hidden_query(self) -> RequestTarget:
        """Return one whose `raw`, which logs show, has no query; `args` stay, until whoever needs them takes them away."""
        return RequestTarget(self.uri, self.uri, self.args, self.quoted, self.is_plain, self.seeks_location, self.left_location)

    def redirected(self, uri: bytes, args: bytes) -> RequestTarget:
        """Return the one that an internal redirect leads to; it begins anew (ngx_http_handler)."""
        return RequestTarget(self.raw, uri, args, self.quoted, False)

    def rewritten(self, uri: bytes, args: bytes, stays: bool) -> RequestTarget:
        """Return the one that `rewrite` leads to. `stays`: with `break`, in the location that the request is in."""
        return RequestTarget(self.raw, uri, args, self.quoted, False, not stays, stays or self.left_location)

    def settled(self) -> RequestTarget:
        """Return one for a rewrite phase to begin with: its location is the one that was sought (ngx_http_core_find_config_phase)."""
        if not self.seeks_location:
            return self
        return RequestTarget(self.raw, self.uri, self.args, self.quoted, self.is_plain, False, self.left_location)


ROOT: Final = RequestTarget(b"/", b"/", b"", False)
