"""Which browser is modern."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features import browser
from portico.features.browser import version_number

MSIE = "Mozilla/4.0 (compatible; MSIE %s; Windows NT 5.1)"
GECKO = "Mozilla/5.0 (X11; rv:%s) Gecko/20100101"
OPERA_AS_MSIE = "Mozilla/4.0 (compatible; MSIE 6.0; Windows) Opera 9.0"


@pytest.mark.parametrize(
    ("text", "number"), [(b"1", 1000000), (b"1.2.3", 1020300), (b"", 0), (b"..", 0), (b"12.34", 12340000), (b"1.2.3.4", 1020304)]
)
def test_versions_are_numbers(text: bytes, number: int) -> None:
    assert version_number(text) == number


@pytest.mark.parametrize(
    ("directives", "agent", "modern"),
    [
        ("modern_browser msie 5.5;", MSIE % "6.0", True),
        ("modern_browser msie 5.5;", MSIE % "5.5", True),
        ("modern_browser msie 5.5;", MSIE % "5.0", False),
        ("modern_browser msie 5.5;", OPERA_AS_MSIE, False),  # an Opera is no MSIE, whatever it says
        ("modern_browser msie 5.5; modern_browser opera 8.0;", OPERA_AS_MSIE, True),
        ("modern_browser gecko 1.9;", GECKO % "128.0", True),
        ("modern_browser gecko 1.9;", "Lynx", False),
        ("modern_browser unlisted;", "Lynx", True),
        ("modern_browser unlisted; ancient_browser Lynx;", "Lynx/2.8", False),
        ("modern_browser unlisted; ancient_browser netscape4;", "Mozilla/4.72 [en] (X11)", False),
        ("ancient_browser Links;", "Mozilla", False),
    ],
)
def test_browsers(tmp_path: Path, directives: str, agent: str, modern: bool) -> None:
    text = f'{directives} location / {{ return 200 "$modern_browser|$ancient_browser"; }}'
    site = Site(text, tmp_path, (*FEATURES, browser.FEATURE))
    assert site.ask("/", f"User-Agent: {agent}").body == (b"1|" if modern else b"|1")
    site.close()


@pytest.mark.parametrize(("agent", "value"), [(MSIE % "6.0", b"1"), (OPERA_AS_MSIE, b""), ("MSIE", b""), ("curl", b"")])
def test_msie(tmp_path: Path, agent: str, value: bytes) -> None:
    site = Site('location / { return 200 "$msie"; }', tmp_path, (*FEATURES, browser.FEATURE))
    assert site.ask("/", f"User-Agent: {agent}").body == value
    site.close()


@pytest.mark.parametrize("text", ["modern_browser lynx 1.0;", "modern_browser msie x;", "modern_browser msie;"])
def test_mistakes(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        Site(text, tmp_path, (*FEATURES, browser.FEATURE))
