"""`root` and `alias`: which path a URI means (nginx: ngx_http_map_uri_to_path)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import Site, refusal

from portico.config.diagnostics import ConfigError
from portico.http.content.files import Files
from portico.http.errors import HTTPError
from portico.http.phases import enter_location


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    made: list[Site] = []
    yield made
    for site in made:
        site.close()


def path_of(site: Site, target: str) -> str:
    """The path in the location that the URI leads to."""
    request = site.request(target)
    assert enter_location(request) is None
    handler = request.location.handlers[-1]
    files = getattr(handler, "files", None)
    assert isinstance(files, Files)
    return files.path(request).decode()


@pytest.mark.parametrize(
    ("text", "target", "path"),
    [
        ("root /data;", "/", "/data/"),
        ("root /data;", "/i/a.gif", "/data/i/a.gif"),
        ("root /data/;", "/i/a.gif", "/data/i/a.gif"),
        ("root /;", "/i/a.gif", "/i/a.gif"),
        ("root data;", "/a", "PREFIX/data/a"),
        ("root $arg_r;", "/a?r=/x", "/x/a"),
        ("root $arg_r;", "/a?r=x", "PREFIX/x/a"),
        ("root /x/$host;", "/a", "/x/example.com/a"),
        ("", "/a", "PREFIX/html/a"),
        ("root /data; location /b/ { }", "/b/c", "/data/b/c"),  # inherited
        ("root /data; location /b/ { root /other; }", "/b/c", "/other/b/c"),
        ("location /i/ { alias /pics/; }", "/i/a.gif", "/pics/a.gif"),
        ("location /i/ { alias /pics/; }", "/i/", "/pics/"),
        ("location /i { alias /pics; }", "/i/a.gif", "/pics/a.gif"),
        ("location /i { alias /pics; }", "/ia", "/picsa"),
        ("location /i/ { alias pics/; }", "/i/a", "PREFIX/pics/a"),
        ("location /i/ { alias /pics/; location /i/j/ { } }", "/i/j/a", "/pics/j/a"),  # the prefix is the outer one's
        ("location /i/ { alias /pics/; location /i/j/ { root /data; } }", "/i/j/a", "/data/i/j/a"),
        ("location = /a { alias /x/b.txt; }", "/a", "/x/b.txt"),
        ("location /i/ { alias /$host/; }", "/i/a", "/example.com/a"),
        (r"location ~ ^/u/(.+)$ { alias /home/$1; }", "/u/joe/x", "/home/joe/x"),
        (r"location ~ ^/u/(?<who>\w+) { alias /home/$who/fix; }", "/u/joe/x", "/home/joe/fix"),  # it is the whole path
        ("location /i/ { alias /pics/; }", "/i/..a/b", "/pics/..a/b"),
        ("location /i/ { alias /pics/; }", "/i/a/../b", "/pics/b"),
        ("root /data;", "/%2e%2e/%2e%2e/etc/passwd", None),
    ],
)
def test_paths(sites: list[Site], tmp_path: Path, text: str, target: str, path: str | None) -> None:
    if path is None:
        with pytest.raises(ValueError):
            Site(text, tmp_path).request(target)
        return
    sites.append(Site(text, tmp_path))
    assert path_of(sites[-1], target) == path.replace("PREFIX", str(tmp_path))


@pytest.mark.parametrize("target", ["/x../secret", "/x..", "/x../../secret"])
def test_an_alias_that_lacks_a_slash_does_not_lead_out_of_its_directory(sites: list[Site], tmp_path: Path, target: str) -> None:
    """`location /x { alias /pics/; }` and `/x../secret`: nginx answers with /secret, a well-known hole."""
    sites.append(Site("location /x { alias /pics/; }", tmp_path))
    request = sites[-1].request("/x")
    enter_location(request)
    request.target = request.target.with_uri(target.encode())
    with pytest.raises(HTTPError, match="leads out of the alias") as caught:
        request.location.handlers[-1].files.path(request)  # type: ignore[attr-defined]
    assert caught.value.status == 404


def test_an_alias_whose_prefix_is_not_in_the_uri_any_more(sites: list[Site], tmp_path: Path) -> None:
    sites.append(Site("location /i/ { alias /pics/; rewrite ^ /other break; }", tmp_path))
    assert sites[-1].ask("/i/a").status == 500
    assert '"alias" cannot be used in location "/i/" where URI was rewritten' in sites[-1].log()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("location / { root /a; alias /b; }", '"alias" directive is duplicate, "root" directive was specified earlier'),
        ("location / { alias /b; root /a; }", '"root" directive is duplicate, "alias" directive was specified earlier'),
        ("location @n { alias /b; }", 'the "alias" directive cannot be used inside the named location'),
        ("root $document_root/x;", 'the $document_root variable cannot be used in the "root" directive'),
        ("root ${realpath_root}/x;", 'the $realpath_root variable cannot be used in the "root" directive'),
        ("location / { alias $document_root; }", 'the $document_root variable cannot be used in the "alias" directive'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(text, tmp_path) == message


def test_the_mistake_of_both_is_told_at_the_second(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Site("location / { root /a;\n alias /b; }", tmp_path)
    assert caught.value.where is not None and caught.value.where.line == 2
