"""Updates in the background: the same request once more, while the client gets the stale response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.cache.caching import EXPIRED, Caching
from portico.http.errors import FileFailed
from portico.http.request import SLICES
from portico.http.subrequest import MAX_DEPTH, clone_of

if TYPE_CHECKING:
    from portico.http.request import Request


def can_be_updated(request: Request) -> bool:
    """Return whether the same can be asked again in the background: a part of a slice, or a body passed on, is gone by then.

    A subrequest that is in the background itself (`mirror`) asks the upstream in its own turn, as in nginx (r->background).
    """
    if request.parent is not None and (request.stream is None or request.depth() > MAX_DEPTH):
        return False
    return SLICES.of(request) is None and (request.body is None or request.body.was_read())


def update_of(request: Request, caching: Caching) -> tuple[Request, Caching] | None:
    """Return the request of an update and its caching, which takes over the right to fetch; None: no descriptor is left."""
    update = clone_of(request)
    if request.body is not None:
        try:
            update.body = request.body.copy_for(update)
        except FileFailed:
            return None
    update.method = caching.method or request.method
    update.stream = None
    made = Caching(caching.store, caching.key, caching.first, caching.second)
    made.main_first, made.main_second = caching.main_first, caching.main_second
    made.vary = caching.vary
    made.family = caching.family
    made.status = EXPIRED
    made.claimed = True
    caching.claimed = False
    made.revalidate = caching.revalidate
    if caching.entry is not None:
        made.hold_entry(caching.entry)
    update.upstream_state().caching = made
    return update, made
