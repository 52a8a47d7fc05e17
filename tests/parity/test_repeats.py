"""Every directive written twice in one block: what nginx accepts is accepted, and what it refuses is refused in its words."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from portico.config.directive import Directive
from tests.parity.test_messages import assert_same, of_nginx, of_portico
from tests.processes import NGINX
from tests.unit.example_site import DIRECTIVES, fill, framed, identity

pytestmark = pytest.mark.skipif(not os.access(NGINX, os.X_OK), reason=f"{NGINX} is missing: apt-get install nginx-light")


# What cannot be compared, and why.
APART = {
    "user": "Debian has no group of that name, which nginx looks for first",
    "resolver": "Portico warns that it has the system look names up",
    "ssl_early_data": "Portico warns that it accepts none",
    "ssl_engine": "this machine has none, which nginx refuses; Portico warns that it uses none",
    "load_module": "Portico loads none, and says so",
    "http2_push": "1.22 still has it",
    "http2_push_preload": "1.22 still has it",
    "http2_max_concurrent_pushes": "1.22 still has it",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("site"))


def twice(directive: Directive[object], site: Path) -> str:
    """The directive's example as a whole configuration, with the directive's first line doubled."""
    text = framed(directive, site)
    found = re.search(rf"(?<![\w$-]){directive.name}(?=[\s;])[^;{{}}]*;", text)
    assert found is not None, text
    head = "".join(f"{name} {site}/{name};\n" for name in ("pid", "error_log") if name != directive.name)
    return f"{head}{text[: found.end()]}\n{text[found.start() :]}"


@pytest.mark.parametrize(
    "directive", [each for each in DIRECTIVES if not each.has_block() and not each.beyond and each.name not in APART], ids=identity
)
def test_twice(directive: Directive[object], site: Path) -> None:
    conf = site / "nginx.conf"
    conf.write_text(twice(directive, site))
    theirs = of_nginx(conf)
    if any("unknown directive" in message or "unknown variable" in message for message in theirs):
        pytest.skip("not in this nginx")
    assert_same(theirs, of_portico(conf))
