"""The cache's state of one request (`Request.caching`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from portico.cache.entry import Entry
    from portico.cache.fill import Fill
    from portico.cache.store import Store

MISS: Final = b"MISS"
BYPASS: Final = b"BYPASS"
EXPIRED: Final = b"EXPIRED"
STALE: Final = b"STALE"
UPDATING: Final = b"UPDATING"
REVALIDATED: Final = b"REVALIDATED"
HIT: Final = b"HIT"


@final
class Caching:
    """A request's cache key, what was found under it, and whether its response may be stored there."""

    def __init__(self, store: Store, key: bytes, first: int, second: int) -> None:
        self.store = store
        self.key = key
        self.status: bytes = MISS  # $upstream_cache_status
        self.first = first  # the digest under which the response is looked up: the key's, or the variant's
        self.second = second
        self.main_first = first  # the key's
        self.main_second = second
        self.vary: bytes = b""  # of the key's entry, when another variant than its own is asked for
        self.family: bytes = b""  # of the key's entry, when it has variants
        self.uses = 1
        self.purges = 0  # of the index, when the upstream was asked
        self.may_store = True  # the upstream's response may be stored
        self.claimed = False  # others wait for us to fetch it
        self.method: bytes = b""  # to ask the upstream with, when it is not the client's
        self.asked_with_head = False  # the upstream is sent a HEAD: its response has no body to store
        self.entry: Entry | None = None  # acquired; it is stale
        self.revalidate = False  # ask whether `entry` is still valid
        self.fill: Fill | None = None
        self.failure = 0  # how the upstream failed (passing/failure.py)
        self.stored_head: object = None  # of `entry`, for the variables, also when the entry has been released
        self.merged: object = None  # `entry`'s header section with what a 304 says, for this request: not all of it may be stored
        self.stored = -1  # when the cached response was stored, less the age that it had then; -1: the response is the upstream's
        self.asked_at = 0  # when the upstream was asked, in seconds since the epoch; 0: it was not
        # These belong to `proxy_cache_rfc`:
        self.forced = False  # the client wants the upstream asked, although what is stored is fresh
        self.stale_forbidden = False  # `entry` may not be served stale, whatever happens
        self.forward_reason: bytes = b"uri-miss"  # why the upstream is asked (RFC 9211 section 2.2)
        self.upstream_status = 0  # when what is stored is sent in its place
        self.collapsed = False  # it waited for the response to another request
        self.cache_status_sent = False

    def hold_entry(self, entry: Entry) -> None:
        """Acquire a stale entry, whose file stays open as long as this request may need it."""
        if self.entry is not entry:
            self.release_entry()
            entry.acquire()
            self.entry = entry

    def release_entry(self) -> None:
        """Release the entry; safe to call twice."""
        if self.entry is not None:
            self.entry.release()
            self.entry = None

    def release_claim(self) -> None:
        """Release the right to fetch the key, unless a fill has taken it over. Safe to call twice."""
        if self.claimed and self.fill is None:
            self.claimed = False
            self.store.release(self.first, self.second)
