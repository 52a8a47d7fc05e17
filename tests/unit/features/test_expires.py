"""`expires`."""

from __future__ import annotations

import os
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from tests.unit.features.conftest import MakeSite
from tests.unit.features.local_site import Site, refusal

from portico.features.expires import ACCESS, DAILY, MODIFIED, moment, next_time

MTIME = 1_000_000_000


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "html").mkdir()
    path = tmp_path / "html" / "a.txt"
    path.write_bytes(b"0123456789")
    os.utime(path, (MTIME, MTIME))


def fields(site: Site, target: str = "/a.txt") -> tuple[int, str | None]:
    """Seconds from now to Expires, and Cache-Control."""
    answer = site.ask(target)
    expires = answer.get("expires")
    assert expires is not None
    return int(parsedate_to_datetime(expires).timestamp() - site.reactor.wall()), answer.get("cache-control")


@pytest.mark.parametrize(
    ("text", "seconds", "cache_control"),
    [
        ("1h", 3600, "max-age=3600"),
        ("+1y", 31536000, "max-age=31536000"),
        ("0", 0, "max-age=0"),
        ("-1", -1, "no-cache"),
        ("$arg_e", 60, "max-age=60"),
    ],
)
def test_from_now(make_site: MakeSite, text: str, seconds: int, cache_control: str) -> None:
    found, control = fields(make_site(f"expires {text};"), "/a.txt?e=60")
    assert abs(found - seconds) <= 1
    assert control == cache_control


@pytest.mark.parametrize(
    ("text", "expires", "cache_control"),
    [
        ("epoch", "Thu, 01 Jan 1970 00:00:01 GMT", "no-cache"),
        ("max", "Thu, 31 Dec 2037 23:55:55 GMT", "max-age=315360000"),
        ("modified 1h", "Sun, 09 Sep 2001 02:46:40 GMT", "no-cache"),
        ("modified -1h", "Sun, 09 Sep 2001 00:46:40 GMT", "no-cache"),
        ("$arg_e", None, None),
        ("off", None, None),
    ],
)
def test_fixed(make_site: MakeSite, text: str, expires: str | None, cache_control: str | None) -> None:
    answer = make_site(f"expires {text};").ask("/a.txt?e=off")
    assert answer.get("expires") == expires
    assert answer.get("cache-control") == cache_control


def test_modified_in_the_future(make_site: MakeSite) -> None:
    site = make_site("expires modified 50y;")
    seconds, control = fields(site)
    assert control == f"max-age={MTIME + 50 * 365 * 86400 - int(site.reactor.wall())}"
    assert abs(seconds - (MTIME + 50 * 365 * 86400 - time.time())) <= 1


def test_a_variable_that_means_nothing(make_site: MakeSite) -> None:
    assert make_site("expires $arg_e;").ask("/a.txt?e=soon").get("expires") is None


def test_only_for_good_answers(make_site: MakeSite) -> None:
    assert make_site("expires 1h;").ask("/none").get("expires") is None


def test_add_header_comes_behind(make_site: MakeSite) -> None:
    answer = make_site("expires 1y; add_header Cache-Control public;").ask("/a.txt")
    assert answer.all("cache-control") == ["max-age=31536000", "public"]


def test_inherited_and_switched_off(make_site: MakeSite) -> None:
    site = make_site("expires 1h; location /a { expires off; } location /b { return 200; }")
    assert site.ask("/a.txt").get("expires") is None
    assert site.ask("/b").get("cache-control") == "max-age=3600"


@pytest.mark.parametrize("clock", ["00:00", "12:30", "23:59"])
@pytest.mark.parametrize("seconds", [0, 1, 45000, 86399, 86400])
def test_time_of_day(clock: str, seconds: int) -> None:
    hour, minute = (int(part) for part in clock.split(":"))
    now = int(time.mktime((2026, 12, 31, hour, minute, 0, 0, 0, -1)))
    found = next_time(seconds, now)
    assert 0 < found - now <= 86400
    day = time.localtime(found)
    assert (day.tm_hour * 3600 + day.tm_min * 60 + day.tm_sec) == seconds % 86400


def test_daily(make_site: MakeSite) -> None:
    seconds, control = fields(make_site("expires @15h30m;"))
    assert control is not None and 0 < int(control.removeprefix("max-age=")) <= 86400
    assert abs(int(control.removeprefix("max-age=")) - seconds) <= 1
    assert moment("@15h30m", ACCESS).kind == DAILY


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x", "invalid value"),
        ("", "invalid value"),
        ("+-1", "invalid value"),
        ("@25h", "daily time value must be less than 24 hours"),
    ],
)
def test_bad_moments(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        moment(text, ACCESS)


def test_bad_modified_moments() -> None:
    with pytest.raises(ValueError, match='daily time cannot be used with "modified" parameter'):
        moment("@1h", MODIFIED)
    with pytest.raises(ValueError, match="invalid value"):
        moment("epoch", MODIFIED)


@pytest.mark.parametrize("text", ["expires soon;", "expires changed 1h;", "expires modified max;"])
def test_mistakes(tmp_path: Path, text: str) -> None:
    assert refusal(text, tmp_path) == '"expires" directive invalid value'
