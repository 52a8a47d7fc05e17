"""`auth_basic` while it serves: files that change, slow passwords, what reaches a log."""

from __future__ import annotations

import threading
import time
from functools import cache
from pathlib import Path

import bcrypt
import pytest
from tests.processes import wait_until
from tests.system.guarded import Guarded, basic, checked, guarded

PROTECTED = 'location / { auth_basic "a realm"; auth_basic_user_file users; } location /open/ { return 200 open; }'
QUICK = "ann:{PLAIN}secret-of-ann\n"


def slow(password: str, rounds: int) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds)).decode()


@cache
def slow_for(seconds: float) -> str:
    """`secret`, hashed so that checking it takes this long at least: made once, as that takes as long."""
    return slow("secret", rounds_of(seconds))


def rounds_of(seconds: float) -> int:
    """A bcrypt cost that takes at least this long on this machine."""
    started = time.perf_counter()
    bcrypt.hashpw(b"x", bcrypt.gensalt(8))
    once = time.perf_counter() - started
    rounds = 8
    while once * 2 ** (rounds - 8) < seconds:
        rounds += 1
    return rounds


def test_a_changed_file_counts_with_the_next_request() -> None:
    with guarded({"users": QUICK}, PROTECTED) as site:
        assert site.get(headers=basic("bob", "other")).status == 401
        for turn in range(20):  # also within one tick of the file system's clock
            (site.folder / "users").write_text(f"bob:{{PLAIN}}other{turn}\n")
            assert site.get(headers=basic("bob", f"other{turn}")).status == 200
            assert site.get(headers=basic("ann", "secret-of-ann")).status == 401
        (site.folder / "new").write_text(QUICK)
        (site.folder / "new").rename(site.folder / "users")
        assert site.get(headers=basic("ann", "secret-of-ann")).status == 200


def test_a_changed_password_ends_what_was_remembered() -> None:
    with guarded({"users": "ann:" + slow("old", 5) + "\n"}, PROTECTED) as site:
        assert site.get(headers=basic("ann", "old")).status == 200
        assert site.get(headers=basic("ann", "old")).status == 200
        (site.folder / "users").write_text("ann:" + slow("new", 5) + "\n")
        assert site.get(headers=basic("ann", "old")).status == 401
        assert site.get(headers=basic("ann", "new")).status == 200


def test_a_file_that_goes_and_comes() -> None:
    with guarded({"users": QUICK}, PROTECTED) as site:
        (site.folder / "users").rename(site.folder / "away")
        assert site.get(headers=basic("ann", "secret-of-ann")).status == 403
        (site.folder / "users").mkdir()
        assert site.get(headers=basic("ann", "secret-of-ann")).status == 500
        (site.folder / "users").rmdir()
        (site.folder / "away").rename(site.folder / "users")
        assert site.get(headers=basic("ann", "secret-of-ann")).status == 200
        log = site.log()
        assert "users\" failed (2: No such file or directory)" in log
        assert "users\" failed (21: Is a directory)" in log


def test_others_are_served_while_a_password_is_hashed() -> None:
    with guarded({"users": "ann:" + slow_for(0.4) + "\n"}, PROTECTED) as site:
        ended: list[float] = []

        def ask() -> None:
            assert site.get(headers=basic("ann", "secret")).status == 200
            ended.append(time.monotonic())

        thread = threading.Thread(target=ask)
        thread.start()
        others = []
        while not ended and len(others) < 10_000:
            started = time.monotonic()
            assert site.get("/open/").status == 200
            others.append((started, time.monotonic()))
        thread.join()
        assert len([other for other in others if other[1] < ended[0]]) > 10


def test_a_right_password_is_hashed_once() -> None:
    with guarded({"users": "ann:" + slow_for(0.4) + "\n"}, PROTECTED) as site:
        started = time.monotonic()
        assert site.get(headers=basic("ann", "secret")).status == 200
        first = time.monotonic() - started
        started = time.monotonic()
        for _ in range(20):
            assert site.get(headers=basic("ann", "secret")).status == 200
        assert time.monotonic() - started < 10 * first
        assert site.get(headers=basic("ann", "Secret")).status == 401
        assert site.get(headers=basic("bob", "secret")).status == 401


def test_many_at_once_share_one_hashing() -> None:
    with guarded({"users": "ann:" + slow_for(0.4) + "\n"}, PROTECTED) as site:
        started = time.monotonic()
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(site.get(headers=basic("ann", "secret")).status)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 20
        assert time.monotonic() - started < 20 * 0.4


def test_a_client_that_leaves_while_its_password_is_hashed() -> None:
    with guarded({"users": "ann:" + slow_for(0.4) + "\n"}, PROTECTED) as site:
        connection = site.connect()
        connection.request("GET", "/", headers=basic("ann", "secret"))
        connection.close()
        assert site.get("/open/").status == 200
        assert site.get(headers=basic("ann", "secret")).status == 200
        assert len(site.workers()) == 1


def test_clients_that_come_and_go_keep_nobody_waiting() -> None:
    seconds = 0.2
    with guarded({"users": "ann:" + slow_for(seconds) + "\n"}, PROTECTED) as site:
        for number in range(40):
            leaver = site.connect()
            leaver.request("GET", f"/?{number}", headers=basic("ann", f"wrong{number}"))
            leaver.close()
        wait_until(lambda: site.log().count('" 499 ') >= 38, what="those who left are gone")
        started = time.monotonic()
        assert site.get(headers=basic("ann", "secret")).status == 200
        assert time.monotonic() - started < 10 * seconds, "40 passwords would have taken 40 times as long on one processor"


def test_no_secret_reaches_a_log() -> None:
    with guarded({"users": QUICK + "bob:" + slow("secret-of-bob", 4) + "\n"}, PROTECTED) as site:
        for user, password in (("ann", "secret-of-ann"), ("ann", "a-wrong-one"), ("bob", "secret-of-bob"), ("bob", "a-wrong-one")):
            site.get(headers=basic(user, password))
        site.get(headers={"Authorization": "Basic secret-and-malformed"})
        wait_until(lambda: site.log().count("GET /index.html HTTP/1.1\" ") == 5, what="access log")
        log = site.log()
        assert 'user "ann": password mismatch' in log
        hashes = (site.folder / "users").read_text().split("\n")
        for secret in ("secret", "a-wrong-one", "c2VjcmV0", "PLAIN", *(line.partition(":")[2] for line in hashes if line)):
            assert secret not in log


@pytest.mark.parametrize("satisfy", ["", "satisfy any; deny all;"])
def test_auth_delay(satisfy: str) -> None:
    server = f"location / {{ {satisfy} auth_basic r; auth_basic_user_file users; auth_delay 400ms; }}"
    with guarded({"users": QUICK}, server) as site:
        started = time.monotonic()
        assert site.get(headers=basic("ann", "wrong")).status == 401
        assert time.monotonic() - started >= 0.4
        started = time.monotonic()
        assert site.get(headers=basic("ann", "secret-of-ann")).status == 200
        assert time.monotonic() - started < 0.4
        leaver = site.connect()
        leaver.request("GET", "/", headers=basic("ann", "wrong"))
        leaver.close()
        assert site.get(headers=basic("ann", "wrong")).status == 401


def test_an_unreadable_user_file_is_an_error() -> None:
    code, said = checked({}, PROTECTED)
    assert code == 1
    assert 'portico: [emerg] open() "FOLDER/users" failed (2: No such file or directory) in FOLDER/portico.conf:14' in said
    assert "htpasswd" in said
    assert checked({}, PROTECTED.replace("users", "$host.users"))[0] == 0
    assert checked({"users": ""}, PROTECTED)[0] == 0


def test_users_of_a_reload(tmp_path: Path) -> None:
    with guarded({"users": QUICK, "others": "bob:{PLAIN}x\n"}, PROTECTED) as site:
        assert site.get(headers=basic("bob", "x")).status == 401
        site.conf.write_text(site.conf.read_text().replace("auth_basic_user_file users", "auth_basic_user_file others"))
        site.process.send(1)
        wait_until(lambda: _status(site) == 200, what="the new users")


def _status(site: Guarded) -> int:
    try:
        return site.get(headers=basic("bob", "x")).status
    except OSError:
        return 0
