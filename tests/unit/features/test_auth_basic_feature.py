"""`auth_basic` in a request: who passes, what the others are told, and what the log says of it (ngx_http_auth_basic_handler)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features.auth_basic import feature as auth_basic
from portico.http.access import ALLOWED, PENDING, AccessPhase

MakeSite = Callable[[str], Site]
WITH_AUTH = (*FEATURES[:-2], auth_basic.FEATURE, *FEATURES[-2:])
USERS = "joe:{PLAIN}secret\nann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nempty:{PLAIN}\nodd:nonsense\n"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeSite]:
    (tmp_path / "users").write_text(USERS)
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "index.html").write_text("inside")
    made: list[Site] = []

    def site(text: str) -> Site:
        made.append(Site(text.replace("@", str(tmp_path)), tmp_path, WITH_AUTH))
        return made[-1]

    yield site
    for one in made:
        one.close()


def credentials(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


INSIDE = "auth_basic staff; auth_basic_user_file @/users;"


@pytest.mark.parametrize(
    ("fields", "status", "level", "message"),
    [
        (credentials("joe", "secret"), 200, None, ""),
        (credentials("ann", "secret"), 200, None, ""),
        (credentials("empty", ""), 200, None, ""),
        (credentials("joe", "wrong"), 401, "error", 'user "joe": password mismatch'),
        (credentials("joe", "secre"), 401, "error", 'user "joe": password mismatch'),
        (credentials("joe", "secret2"), 401, "error", 'user "joe": password mismatch'),
        (credentials("joe", ""), 401, "error", 'user "joe": password mismatch'),
        (credentials("Joe", "secret"), 401, "error", 'user "Joe" was not found in "{}/users"'),
        (credentials("nobody", "x"), 401, "error", 'user "nobody" was not found in "{}/users"'),
        ("", 401, "info", "no user/password was provided for basic authentication"),
        ("Authorization: Bearer x", 401, "info", "no user/password was provided for basic authentication"),
        ("Authorization: Basic !!!", 401, "info", "no user/password was provided for basic authentication"),
    ],
)
def test_who_passes(make: MakeSite, tmp_path: Path, fields: str, status: int, level: str | None, message: str) -> None:
    site = make(f"error_log logs/error.log info; {INSIDE}")
    answer = site.ask("/", fields)
    assert answer.status == status
    assert answer.get("WWW-Authenticate") == ('Basic realm="staff"' if status == 401 else None)
    assert (b"inside" in answer.body) == (status == 200)
    lines = site.log().splitlines()
    assert len(lines) == (0 if level is None else 1)
    if level is not None:
        assert f"[{level}]" in lines[0] and message.format(tmp_path) in lines[0]


@pytest.mark.parametrize(
    ("text", "target", "status"),
    [
        ("", "/", 200),
        ("auth_basic staff;", "/", 200),  # nothing to check against: as in nginx, no check
        ("auth_basic_user_file @/users;", "/", 200),
        ("auth_basic off; auth_basic_user_file @/users;", "/", 200),
        (INSIDE, "/", 401),
        (f"{INSIDE} location / {{ auth_basic off; }}", "/", 200),
        (f"{INSIDE} location /in/ {{ }}", "/in/", 401),
        ("auth_basic $arg_r; auth_basic_user_file @/users;", "/?r=off", 200),
        ("auth_basic $arg_r; auth_basic_user_file @/users;", "/?r=x", 401),
        ("auth_basic $arg_r; auth_basic_user_file @/users;", "/", 401),  # an empty realm is one
        (f"{INSIDE} return 200 open;", "/", 200),  # the rewrite phase comes before
    ],
)
def test_where_there_is_a_check(make: MakeSite, text: str, target: str, status: int) -> None:
    assert make(text).ask(target).status == status


def test_a_realm_of_variables(make: MakeSite) -> None:
    answer = make("auth_basic $arg_r; auth_basic_user_file @/users;").ask("/?r=a-b")
    assert answer.get("WWW-Authenticate") == 'Basic realm="a-b"'


@pytest.mark.parametrize(
    ("target", "status", "level", "message"),
    [
        ("/?f=users", 401, None, ""),
        ("/?f=none", 403, "error", 'open() "{}/none" failed (2: No such file or directory)'),  # nginx: whoever asks is refused
        ("/?f=html", 500, "crit", 'open() "{}/html" failed (21: Is a directory)'),
        ("/?f=users/x", 500, "crit", 'open() "{}/users/x" failed (20: Not a directory)'),
    ],
)
def test_a_file_of_variables(make: MakeSite, tmp_path: Path, target: str, status: int, level: str | None, message: str) -> None:
    site = make("auth_basic staff; auth_basic_user_file @/$arg_f;")
    assert site.ask(target, credentials("joe", "wrong")).status == status
    if level is not None:
        assert f"[{level}]" in site.log() and message.format(tmp_path) in site.log()


def test_the_file_is_read_again_when_it_changes(make: MakeSite, tmp_path: Path) -> None:
    site = make(INSIDE)
    assert site.ask("/", credentials("joe", "secret")).status == 200
    (tmp_path / "users").write_text("joe:{PLAIN}other\n")
    assert site.ask("/", credentials("joe", "secret")).status == 401
    assert site.ask("/", credentials("joe", "other")).status == 200


def test_a_file_that_cannot_be_read_when_the_configuration_is_loaded(make: MakeSite) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        make("auth_basic staff; auth_basic_user_file @/none;")


def test_a_refusal_says_nothing_of_which_was_wrong(make: MakeSite) -> None:
    site = make(INSIDE)
    answers = [site.ask("/", credentials(*pair)) for pair in (("joe", "wrong"), ("nobody", "x"))]
    assert answers[0].body == answers[1].body and answers[0].fields == answers[1].fields


def test_a_slow_scheme_waits_for_a_thread(make: MakeSite) -> None:
    """What is not quick to compare is not hashed in the worker's own time."""
    site = make(INSIDE)
    (phase,) = [handler for handler in site.plan.servers[0].fallback.handlers if isinstance(handler, AccessPhase)]
    (step,) = phase.steps
    assert step.check(site.request("/", credentials("odd", "x"))) == PENDING
    assert step.check(site.request("/", credentials("joe", "secret"))) == ALLOWED
