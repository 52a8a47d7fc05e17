"""Header sections met before: the same fields, host and server as the first time, for one listener and version, and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.http.loaded import Loaded

from portico.codec.errors import ProtocolError
from portico.http.server.http1.sections import LONGEST, MOST, Sections

BLOCK = b"Host: Two.example:81\r\nX-Field: 1\r\n"
TWO_PORTS = (
    "server { listen 127.0.0.1:8080; server_name one; } server { listen 127.0.0.1:8080; server_name two.example; }"
    " server { listen 127.0.0.1:8081; server_name three; }"
)


@pytest.fixture
def site(tmp_path: Path) -> Loaded:
    return Loaded(TWO_PORTS, tmp_path)


def test_a_section_is_parsed_once(site: Loaded) -> None:
    listener = site.plan.listeners[0]
    sections = Sections()
    first = sections.read(BLOCK, 11, listener)
    assert (first.host, first.server.name, first.fields.get(b"x-field")) == (b"two.example", "two.example", b"1")
    second = sections.read(BLOCK, 11, listener)  # it is kept from now on
    assert second is not first and sections.read(BLOCK, 11, listener) is second
    assert sections.read(BLOCK + b"X-Other: 1\r\n", 11, listener) is not second


def test_another_listener_and_another_version_have_their_own(site: Loaded) -> None:
    """They lead to other servers, and HTTP/1.0 is kept alive by other fields."""
    one, other = site.plan.listeners
    sections = Sections()
    for _ in range(3):
        known = sections.read(BLOCK, 11, one)
    elsewhere = sections.read(BLOCK, 11, other)
    assert elsewhere is not known and elsewhere.server.name == "three"
    older = sections.read(BLOCK, 10, one)
    assert older is not known and older.version == 10


def test_what_was_refused_is_refused_again(site: Loaded) -> None:
    sections = Sections()
    for _ in range(3):
        with pytest.raises(ProtocolError):
            sections.read(b"Host: a\r\nHost: b\r\n", 11, site.plan.listeners[0])
    assert sections._known == {}


def test_the_table_is_bounded(site: Loaded) -> None:
    listener = site.plan.listeners[0]
    sections = Sections()
    for number in range(2 * MOST):
        for _ in range(2):
            sections.read(b"Host: a\r\nX-Field: %d\r\n" % number, 11, listener)
    kept = len(sections._known)
    assert 1 <= kept <= MOST
    for number in range(2 * MOST, 10 * MOST):
        sections.read(b"Host: a\r\nX-Field: %d\r\n" % number, 11, listener)  # each of them once
    assert len(sections._known) < kept + MOST // 4
    long = b"Host: a\r\nX-Field: " + b"x" * LONGEST + b"\r\n"
    assert sections.read(long, 11, listener) is not sections.read(long, 11, listener)
