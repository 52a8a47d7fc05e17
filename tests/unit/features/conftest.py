"""Sites for the tests of features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

MakeSite = Callable[[str], Site]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Makes a site of a server's text on `tmp_path`."""
    made: list[Site] = []

    def make(text: str) -> Site:
        site = Site(text, tmp_path)
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()
