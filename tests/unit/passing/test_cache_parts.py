"""The parts of `proxy_cache` by themselves: keys, the right to fetch, ages, and what is asked again in the background."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cache.test_cache_files import NOW, fill, make_store
from tests.unit.cache.test_cache_keeper import identity_of_a_dead_process
from tests.unit.features.local_site import Site
from tests.unit.passing.conftest import MakeProxy

from portico.cache.caching import EXPIRED, Caching
from portico.cache.entry import Entry, open_entry
from portico.cache.store import Store, digest
from portico.http import phases
from portico.http.body import RequestBody
from portico.http.errors import HTTPError
from portico.http.request import SLICES
from portico.http.subrequest import MAX_DEPTH, subrequest_of
from portico.passing.cached.finder import Finder
from portico.passing.cached.handler import CachedProxy
from portico.passing.cached.keys import CacheKeys
from portico.passing.cached.responses import age_of, head_of
from portico.passing.cached.update import can_be_updated, update_of
from portico.zones.owner import own_identity

PATH = "proxy_cache_path @/cache keys_zone=c:1m;"
KEY = digest(b"key")


def entry_of(folder: Path) -> tuple[Store, Entry]:
    """A stored entry, three seconds old when it was stored."""
    store = make_store(folder)
    assert fill(store, b"key", b"hello").finish()
    entry = open_entry(store.path_of(*KEY))
    assert entry is not None
    return store, entry


def parts_of(make_proxy: MakeProxy, directives: str, url: str = "http://app/below/") -> tuple[Site, CacheKeys, Finder]:
    site = make_proxy(f"location / {{ proxy_cache c; {directives} proxy_pass {url}; }}", PATH)
    handler = site.handler()
    assert isinstance(handler, CachedProxy)
    return site, handler.keys, handler.finder


# (directives, URL of proxy_pass, key): ngx_http_proxy_create_key
KEYS: list[tuple[str, str, bytes]] = [
    ("", "http://app", b"http://app/x%20y?z"),
    ("", "http://app/below/", b"http://app/below/x%20y?z"),
    ("", "http://127.0.0.1:80/below", b"http://127.0.0.1:80/belowx%20y?z"),
    ("set $name app;", "http://$name", b"http://app/x%20y?z"),  # each URI has an entry of its own
    ("set $name app;", "http://$name/fixed", b"http://app/fixed"),
    ("", "http://app$uri", b"http://app/x%20y"),
    ("proxy_cache_key $host$uri;", "http://app", b"example.com/x y"),
    ("proxy_cache_key a; proxy_cache_rfc on;", "http://app", b"a"),
]


@pytest.mark.parametrize(("directives", "url", "key"), KEYS)
def test_keys(make_proxy: MakeProxy, directives: str, url: str, key: bytes) -> None:
    site, keys, _ = parts_of(make_proxy, directives, url)
    request = site.request("/x%20y?z")
    phases.enter_location(request)
    for script in request.location.rewrites:
        script.handle(request)
    assert keys.key_of(request) == key


def test_a_url_that_is_none_has_no_key(make_proxy: MakeProxy) -> None:
    site, keys, _ = parts_of(make_proxy, "", "$arg_url")
    with pytest.raises(HTTPError) as refused:
        keys.key_of(site.request("/?url=x"))
    assert (refused.value.status, refused.value.reason) == (500, 'invalid URL prefix in "x"')


def test_a_key_by_rfc_9111_has_the_uri_that_the_client_asked_for(make_proxy: MakeProxy) -> None:
    """Section 2: hosts that one upstream serves do not share what is stored."""
    site, keys, _ = parts_of(make_proxy, "proxy_cache_rfc on;")
    one = site.request("/x")
    other = site.request("/x")
    other.asked_host = b"other.example"
    assert keys.key_of(one) != keys.key_of(other) and keys.key_of(one) == keys.key_of(site.request("/x"))


def test_the_right_to_fetch(make_proxy: MakeProxy, tmp_path: Path) -> None:
    """One request has it at a time, unless its worker has died, or takes longer than `proxy_cache_lock_age`."""
    site, _, finder = parts_of(make_proxy, "proxy_cache_lock_age 5s;")
    request = site.request("/")
    store = make_store(tmp_path)
    store.identity = own_identity()
    store.index.use(*KEY, NOW)
    first, second = Caching(store, b"key", *KEY), Caching(store, b"key", *KEY)
    assert [finder.claim(request, first), finder.claim(request, second)] == [True, False]
    first.release_claim()
    first.release_claim()
    assert finder.claim(request, second)
    site.reactor.now += 6.0
    assert finder.claim(request, first)
    store.index.release(*KEY, store.identity)
    assert store.index.claim(*KEY, identity_of_a_dead_process(), int(site.reactor.now * 1000), 5000) == 0
    assert finder.claim(request, first)


def test_ages(tmp_path: Path) -> None:
    """RFC 9111 section 4.2.3: the age that it had, and how long it has been stored; never below zero."""
    _, entry = entry_of(tmp_path)
    assert [age_of(entry, NOW + seconds) for seconds in (0, 10, -10)] == [3, 13, 0]
    assert head_of(entry).status == 200 and head_of(entry) is head_of(entry)
    entry.close()


def test_what_can_be_asked_again(make_proxy: MakeProxy) -> None:
    site, _, _ = parts_of(make_proxy, "")
    request = site.request("/")
    assert can_be_updated(request) and can_be_updated(subrequest_of(request, b"/", b""))  # `include` of a page, as in nginx
    innermost = request
    for _ in range(MAX_DEPTH + 1):
        innermost = subrequest_of(innermost, b"/", b"")
    assert not can_be_updated(innermost)  # an update would be one subrequest too many
    mirrored = subrequest_of(request, b"/", b"")
    mirrored.stream = None
    assert not can_be_updated(mirrored)  # it is in the background itself
    SLICES.put(request, object())
    assert not can_be_updated(request)
    posted = site.request("/", "Content-Length: 3", "POST")
    body = posted.body = RequestBody(posted, site.stream)
    assert not can_be_updated(posted)  # it is passed on as it comes, and gone then
    body.data = b"abc"
    assert can_be_updated(posted)


def test_the_request_of_an_update(make_proxy: MakeProxy, tmp_path: Path) -> None:
    site, _, _ = parts_of(make_proxy, "")
    store, entry = entry_of(tmp_path)
    request = site.request("/x?y", method="HEAD")
    caching = Caching(store, b"key", *KEY)
    caching.method, caching.claimed, caching.revalidate = b"GET", True, True
    caching.hold_entry(entry)
    updated = update_of(request, caching)
    assert updated is not None
    update, made = updated
    assert (update.method, update.uri, update.args) == (b"GET", b"/x", b"y")
    assert made is not caching and (made.status, made.revalidate, made.entry) == (EXPIRED, True, entry)
    assert made.claimed and not caching.claimed  # the right to fetch goes with it
    caching.release_entry()
    assert entry.users == 1
    made.release_entry()
    made.release_entry()
    assert entry.users == 0
    entry.close()
