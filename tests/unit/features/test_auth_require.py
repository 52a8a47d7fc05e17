"""`auth_require`: values that must be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features import auth_require

SERVER = """
    auth_require $arg_a;
    location / { }
    location /two { auth_require $arg_a $arg_b; }
    location /lines { auth_require $arg_a error=404; auth_require $arg_b error=503; }
    location /joined { auth_require $arg_a$arg_b; }
    location /off { auth_require off; }
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    (directory / "html").mkdir()
    for name in ("file", "two", "lines", "joined", "off"):
        (directory / "html" / name).write_text("x")
    made = Site(SERVER, directory, (auth_require.FEATURE, *FEATURES))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/file", 403), ("/file?a=0", 403), ("/file?a=", 403), ("/file?a=1", 200), ("/file?a=00", 200),
        ("/two?a=1", 403), ("/two?a=1&b=0", 403), ("/two?a=1&b=1", 200),
        ("/lines", 404), ("/lines?a=1", 503), ("/lines?a=1&b=1", 200),
        ("/joined?a=0&b=0", 200), ("/joined?b=0", 403), ("/off", 200),
    ],
)  # fmt: skip
def test_values(site: Site, target: str, status: int) -> None:
    assert site.ask(target).status == status


MISTAKES = ("x", "error=403", "$arg_a error=200", "$arg_a error=40", "$arg_a error=4x3", "off $arg_a", "$none")


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes(tmp_path: Path, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Site(f"auth_require {words};", tmp_path, (auth_require.FEATURE, *FEATURES)).close()
    assert "invalid parameter" in error.value.message or "no value" in error.value.message or "unknown" in error.value.message
