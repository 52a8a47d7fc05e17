"""Conditional requests: 304 and 412 (RFC 9110 section 13; nginx: ngx_http_not_modified_filter_module.c).

If-Match and If-Unmodified-Since come first (either may end in 412), then If-None-Match and If-Modified-Since. Entity tags are
exact and dates are not: where there are tags the date of the same kind does not count. To nginx both must hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.dates import parse_date
from portico.errorlog import INFO
from portico.http.errors import HTTPError
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import HeaderFilter
from portico.http.response import CACHE_CONDITIONS, EMPTY, NO_CONDITIONS, NO_RANGES, Response, Unmodified
from portico.variables.session import shown

if TYPE_CHECKING:
    from portico.http.request import Request

_ORDER: Final = 10  # before add_header and expires, as in nginx: what they write is not compared
_IGNORE: Final = 0  # if_modified_since off
_EXACT: Final = 1


@final
class NotModifiedFilter(HeaderFilter):
    """Makes 304 or 412 of a 200 whose conditions say so."""

    def __init__(self) -> None:
        pass

    def changes_full(self) -> bool:
        return False

    def apply(self, request: Request, response: Response) -> None:
        if response.status != 200 or response.conditions == NO_CONDITIONS:
            return
        first = request.fields.first
        if response.conditions == CACHE_CONDITIONS:
            _judge_as_cache(request, response)
            return
        tags = first.get(b"if-match")
        if tags is not None:
            if not lists_etag(tags, response.etag, False):
                _fail(response, f'"If-Match: {shown(tags)}" does not list the ETag "{shown(response.etag)}"')
        else:
            text = first.get(b"if-unmodified-since")
            if text is not None and not _is_unmodified(text, response):
                _fail(response, f'modified since "{shown(text)}" (If-Unmodified-Since)')
        tags = first.get(b"if-none-match")
        if tags is not None:
            _judge_tags(tags, response)
            return
        since = first.get(b"if-modified-since")
        if since is not None and not _is_modified(since, response, request.location.core.if_modified_since):
            _not_modified(response)


def _judge_tags(tags: bytes, response: Response) -> None:
    if lists_etag(tags, response.etag, True):
        _not_modified(response)


def _judge_as_cache(request: Request, response: Response) -> None:
    """If-Match and If-Unmodified-Since are for origins (RFC 9110 section 13.2.2)."""
    first = request.fields.first
    tags = first.get(b"if-none-match")
    if tags is not None:
        _judge_tags(tags, response)
        return
    since = first.get(b"if-modified-since")
    if since is not None and response.last_modified >= 0 and parse_date(since) >= response.last_modified:
        _not_modified(response)


def _is_unmodified(text: bytes, response: Response) -> bool:
    return response.last_modified >= 0 and parse_date(text) >= response.last_modified


def _is_modified(text: bytes, response: Response, mode: int) -> bool:
    if response.last_modified < 0 or mode == _IGNORE:
        return True
    since = parse_date(text)
    return since != response.last_modified and (mode == _EXACT or since < response.last_modified)


def lists_etag(text: bytes, etag: bytes, weak: bool) -> bool:
    """Whether a list of entity tags has `etag`. `weak`: `W/` does not matter (RFC 9110 section 8.8.3.2)."""
    if text == b"*":
        return True
    if not etag:
        return False
    if weak and etag.startswith(b"W/"):
        etag = etag[2:]
    start = 0
    while start < len(text):
        if weak and text.startswith(b"W/", start):
            start += 2
        if text.startswith(etag, start):
            rest = text[start + len(etag) :].lstrip(b" \t")
            if not rest or rest.startswith(b","):
                return True
        comma = text.find(b",", start)  # nginx looks for commas in tags too
        if comma < 0:
            return False
        start = comma
        while start < len(text) and text[start] in b" \t,":
            start += 1
    return False


def _not_modified(response: Response) -> None:
    """Make it a 304."""
    response.change_status(304)
    encoding = response.get(b"content-encoding")
    if encoding is not None:
        response.unmodified = Unmodified(b"", -1, encoding)
    else:
        response.unmodified = Unmodified(response.content_type, response.content_length, b"")
    response.content_type = b""
    response.content_length = -1
    response.ranges = NO_RANGES
    response.replace(b"content-encoding", b"", b"")
    response.body.close()
    response.body = EMPTY


def _fail(response: Response, reason: str) -> None:
    """412 in place of the answer. Always raises HTTPError."""
    response.body.close()
    raise HTTPError(412, f"client's condition fails: {reason}", INFO)


class NotModifiedFeature(Feature):
    """On everywhere."""

    def __init__(self) -> None:
        super().__init__("http_not_modified", ())
        self._filter = NotModifiedFilter()

    def location(self, build: LocationBuild) -> None:
        build.add_header_filter(self._filter, _ORDER)


FEATURE: Final = NotModifiedFeature()
