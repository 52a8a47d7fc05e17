"""A response: what only some have is an object of its own, and what most share is never written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from portico.http.content.open_file_cache import OPEN_FLAGS
from portico.http.filtered import transform_bytes
from portico.http.handler import BodyTransform
from portico.http.response import EMPTY, PLAIN_UPSTREAM, BytesBody, FileBody, Response, SlicedBody, UpstreamPart

MOST_ATTRIBUTES = 18


def test_every_response_has_few_attributes() -> None:
    """What concerns the body goes into the body, what one feature needs into an object that is there only when it is needed."""
    response = Response(200, EMPTY)
    names = [name for name in dir(response) if not name.startswith("_") and not callable(getattr(response, name))]
    assert len(names) <= MOST_ATTRIBUTES


def test_a_response_of_our_own_has_no_upstreams_part() -> None:
    response = Response(200, EMPTY)
    assert (response.upstream, response.unmodified, response.sliced) == (None, None, None)


@pytest.mark.parametrize("before", [None, PLAIN_UPSTREAM])
def test_what_is_written_to_is_not_the_shared_part(before: UpstreamPart | None) -> None:
    response = Response(200, EMPTY)
    response.upstream = before
    part = response.upstream_part()
    part.date = b"today"
    assert part is response.upstream and part is not PLAIN_UPSTREAM
    assert response.upstream_part() is part, "the second time it is the same"
    assert PLAIN_UPSTREAM.date == b""


def test_another_status_has_its_standard_reason_phrase() -> None:
    response = Response(200, EMPTY)
    response.upstream_part().reason = b"Fine"
    response.change_status(404)
    assert response.status == 404 and response.upstream is not None and response.upstream.reason == b""


def test_another_status_of_a_response_of_our_own() -> None:
    response = Response(200, EMPTY)
    response.change_status(404)
    assert response.status == 404 and response.upstream is None


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_body_that_takes_the_place_of_a_files_is_none_of_that_file(in_memory: bool, tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_bytes(b"page")
    fd = os.open(path, OPEN_FLAGS)
    status = os.fstat(fd)
    whole: BytesBody | FileBody = BytesBody(b"page", status) if in_memory else FileBody(fd, 0, 4, False, None, status)
    assert whole.file is status
    response = Response(200, whole)
    transform_bytes(response, BodyTransform())
    assert not isinstance(response.body, (BytesBody, FileBody))
    os.close(fd)


def test_a_sliced_body_says_where_in_the_whole_it_begins() -> None:
    assert SlicedBody(100).start == 100
