"""What the failure of a request means once no response can tell the client: the status and the line in the logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

from portico.errorlog import CRIT, ERR
from portico.http.errors import BodyCutShort, CloseConnection, FileFailed, HTTPError
from portico.http.server.failures import note_failure
from portico.net.reactor import ClientFailed, ClientGone, ClientTimeout, Shutdown, UpstreamFailed, UpstreamTimeout

FULL = OSError(28, "No space left on device")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site("client_body_timeout 7s; send_timeout 90s; error_log logs/error.log debug;", tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("failure", "before", "status", "level", "message"),
    [
        (CloseConnection(), 0, 444, None, ""),
        (CloseConnection(), 200, 444, None, ""),
        (ClientGone(), 0, 499, "info", "client closed connection while waiting for the answer"),
        (ClientGone(), 200, 200, "info", "client closed connection while waiting for the answer"),
        (ClientTimeout(), 0, 408, "info", "client timed out: no part of its body within 7s (client_body_timeout)"),
        (ClientTimeout(), 200, 200, "info", "client timed out: took no data within 90s (send_timeout)"),
        (ClientFailed(104, "Connection reset by peer"), 0, 499, "info", "client connection failed: Connection reset by peer"),
        (ClientFailed(32, "Broken pipe"), 206, 206, "info", "client connection failed: Broken pipe"),
        (Shutdown(), 0, 499, None, ""),
        (Shutdown(), 200, 200, None, ""),
        (HTTPError(502, "upstream prematurely closed connection", ERR), 200, 200, "error", "upstream prematurely closed connection"),
        (HTTPError(404), 200, 200, None, ""),
        (FileFailed("pread", "/x", FULL), 200, 200, "crit", 'pread() "/x" failed (28: No space left on device)'),
        (BodyCutShort(), 200, 200, None, ""),  # whoever raised it has said why
        (UpstreamFailed(104, "reset"), 0, 502, "alert", "internal error: a failure of an upstream was not handled"),
        (UpstreamTimeout(), 200, 200, "alert", "internal error: a failure of an upstream was not handled"),
    ],
)
def test_what_is_noted(site: Site, failure: Exception, before: int, status: int, level: str | None, message: str) -> None:
    """The status that was sent stays; nginx logs 499 for a client that has left, 408 for one that was too slow with its body."""
    request = site.request("/")
    request.status = before
    request.keep_alive = True
    note_failure(request, failure)
    assert request.status == status
    assert not request.keep_alive
    lines = site.log().splitlines()
    assert len(lines) == (0 if level is None else 1)
    if level is not None:
        assert f"[{level}]" in lines[0] and message in lines[0]


def test_the_level_of_a_refusal_is_its_own(site: Site) -> None:
    request = site.request("/")
    request.status = 200
    note_failure(request, HTTPError(500, "no memory", CRIT))
    assert "[crit]" in site.log()
