"""What the cache has to do with one request."""

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
    """A request's key, what was found under it, and whether its answer is to be kept there."""

    def __init__(self, store: Store, key: bytes, first: int, second: int) -> None:
        self.store = store
        self.key = key
        self.status: bytes = MISS  # $upstream_cache_status
        self.first = first  # the digest under which the answer is looked for: the key's, or the variant's
        self.second = second
        self.main_first = first  # the key's
        self.main_second = second
        self.vary: bytes = b""  # of the key's entry, when another variant than its own is asked for
        self.family: bytes = b""  # of the key's entry, when it has variants
        self.uses = 1
        self.purges = 0  # of the index, when the upstream was asked
        self.keep = True  # the answer may be kept
        self.claimed = False  # others wait for us to fetch it
        self.method: bytes = b""  # to ask the upstream with, when it is not the client's
        self.entry: Entry | None = None  # held; what is there but good no longer
        self.revalidate = False  # ask whether `entry` is still good
        self.fill: Fill | None = None
        self.failure = 0  # how the upstream failed (passing/failure.py)
        self.stored_head: object = None  # of `entry`, for the variables, also when the entry has been left
        self.merged: object = None  # the head of `entry` with what a 304 says, for this request only: not all of it may be kept
        self.stored = -1  # when what answers was stored, less the age that it had then; -1: the upstream answers
        self.asked = 0  # when the upstream was asked, in seconds since the epoch; 0: it was not
        # of `proxy_cache_rfc`:
        self.forced = False  # the client wants the upstream asked, although what is kept is fresh
        self.sticks = False  # nothing may make a stale answer of `entry`
        self.why: bytes = b"uri-miss"  # the upstream is asked (RFC 9211 section 2.2)
        self.upstream_status = 0  # when what is kept answers in its place
        self.collapsed = False  # it waited for somebody else's answer
        self.told = False  # Cache-Status is there

    def found(self, entry: Entry) -> None:
        """Keep the entry's file open as long as this request may need it."""
        if self.entry is not entry:
            self.leave()
            entry.hold()
            self.entry = entry

    def leave(self) -> None:
        """The entry is not needed any more; safe to call twice."""
        if self.entry is not None:
            self.entry.give()
            self.entry = None

    def release(self) -> None:
        """Nothing comes of fetching it, unless a fill has taken that over. Safe to call twice."""
        if self.claimed and self.fill is None:
            self.claimed = False
            self.store.release(self.first, self.second)
