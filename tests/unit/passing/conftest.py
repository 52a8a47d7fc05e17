"""Sites for the tests of what passes requests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.passing.prepared_upstream import ProxySite

MakeProxy = Callable[..., ProxySite]


@pytest.fixture
def make_proxy(tmp_path: Path) -> Iterator[MakeProxy]:
    """Makes a site of a server's text on `tmp_path`."""
    made: list[ProxySite] = []

    def make(text: str, http: str = "") -> ProxySite:
        site = ProxySite(text, tmp_path, http)
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()
