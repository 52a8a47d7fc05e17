"""Which file answers for a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.conftest import MakeSite
from tests.unit.features.local_site import refusal


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    html = tmp_path / "html"
    (html / "d").mkdir(parents=True)
    (html / "index.html").write_bytes(b"home")
    (html / "d" / "b.html").write_bytes(b"b")
    return html


@pytest.mark.parametrize(
    ("text", "target", "status", "body"),
    [
        ("", "/", 200, b"home"),
        ("index none index.html;", "/", 200, b"home"),
        ("index a.html; index b.html;", "/d/", 200, b"b"),
        ("index a.html /index.html;", "/d/", 200, b"home"),
        ("index $arg_n.html;", "/d/?n=b", 200, b"b"),
        ("index $arg_n;", "/d/?n=/index.html", 200, b"home"),
        ("location /x/ { alias @/html/; }", "/x/", 200, b"home"),
        ("location = /index.html { return 200 other; }", "/", 200, b"other"),
        ("location = /index.html { internal; }", "/", 200, b"home"),
        ("location = /index.html { return 200 $args; }", "/?q=1", 200, b"q=1"),
        ("index b.html; location /d/ { index index.html; }", "/d/", 403, None),
    ],
)
def test_index(
    make_site: MakeSite, tmp_path: Path, text: str, target: str, status: int, body: bytes | None
) -> None:
    answer = make_site(text.replace("@", str(tmp_path))).ask(target)
    assert answer.status == status
    if body is not None:
        assert answer.body == body


@pytest.mark.parametrize(
    ("target", "status", "log"),
    [
        ("/d/", 403, 'directory index of "{}/d/" is forbidden'),
        ("/none/", 404, '"{}/none/index.html" is not found (2: No such file or directory)'),
        ("/index.html/", 404, '"{}/index.html/index.html" is not found (20: Not a directory)'),
    ],
)
def test_no_index(make_site: MakeSite, files: Path, target: str, status: int, log: str) -> None:
    site = make_site("")
    assert site.ask(target).status == status
    assert log.format(files) in site.log()


def test_post_is_redirected_too(make_site: MakeSite) -> None:
    assert make_site("").ask("/", method="POST").status == 405
    assert make_site("").ask("/none/", method="PUT").status == 405


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index /a b;", 'only the last index in "index" directive may be absolute'),
        ('index a "";', 'index "a" in "index" directive is invalid'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(text, tmp_path) == message
