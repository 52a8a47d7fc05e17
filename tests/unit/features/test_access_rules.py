"""`allow`, `deny`: the first rule that fits decides, a block with rules of its own inherits none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.features import access, split_clients


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        ("", 200),
        ("deny all;", 403),
        ("allow all;", 200),
        ("allow 127.0.0.1; deny all;", 200),
        ("deny 127.0.0.0/8; allow all;", 403),
        ("deny 10.0.0.0/8;", 200),  # none fits
        ("deny unix:;", 200),
        ("deny ::1;", 200),
    ],
)
def test_the_first_rule_that_fits_decides(tmp_path: Path, rules: str, status: int) -> None:
    site = Site(f"location / {{ {rules} root {tmp_path}; }}", tmp_path, (*FEATURES, access.FEATURE))
    (tmp_path / "a").write_text("a")
    assert site.ask("/a").status == status
    site.close()


def test_a_block_with_rules_inherits_none(tmp_path: Path) -> None:
    text = f"deny all; root {tmp_path}; location /open/ {{ allow all; }} location /closed/ {{ }}"
    site = Site(text, tmp_path, (*FEATURES, access.FEATURE))
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a").write_text("a")
    assert [site.ask("/open/a").status, site.ask("/closed/a").status] == [200, 403]
    site.close()


def test_the_log_says_why(tmp_path: Path) -> None:
    site = Site("deny all;", tmp_path, (*FEATURES, access.FEATURE))
    site.ask("/")
    site.close()
    assert "access forbidden by rule" in site.log_path.read_text()


def test_shares_of_clients(tmp_path: Path) -> None:
    """The same text is in the same share, and the shares are as large as they say."""
    http = 'split_clients "$arg_client" $share { 25% a; 25% b; * ""; }'
    site = Site('location / { return 200 "$share."; }', tmp_path, (*FEATURES, split_clients.FEATURE), http)
    found = [site.ask(f"/?client={number}").body for number in range(400)]
    assert found == [site.ask(f"/?client={number}").body for number in range(400)]
    counts = [found.count(share) for share in (b"a.", b"b.", b".")]
    assert sum(counts) == 400 and 60 < counts[0] < 140 and 60 < counts[1] < 140
    site.close()


def test_shares_beyond_the_whole(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="percent total is greater than 100%"):
        Site("", tmp_path, (*FEATURES, split_clients.FEATURE), 'split_clients "$uri" $s { 60% a; 60% b; }')
