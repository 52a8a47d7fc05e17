"""Credentials, user files and stored passwords; every parser also with arbitrary bytes."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.features.auth_basic import passwords
from portico.features.auth_basic.users import parse_users
from portico.features.auth_basic.verifier import MOST_REMEMBERED, REMEMBERED_SECONDS, Verifier
from portico.http.content.watched_file import WatchedFiles
from portico.http.variables.request import basic_credentials, basic_user

passwords.prepare()

NO_COLON = st.binary().filter(lambda data: b":" not in data and data != b"")


@given(NO_COLON, st.binary(), st.sampled_from([b"Basic ", b"basic   ", b"BASIC "]), st.booleans())
def test_credentials_come_back(user: bytes, password: bytes, scheme: bytes, padded: bool) -> None:
    encoded = base64.b64encode(user + b":" + password)
    field = scheme + (encoded if padded else encoded.rstrip(b"="))
    assert basic_credentials(field) == (user, password)
    assert basic_user(field) == user


FIELDS = (
    st.binary()
    | st.binary().map(lambda data: b"Basic " + data)
    | st.binary().map(lambda data: b"Basic " + base64.b64encode(data))
)


@given(FIELDS)
def test_any_field(field: bytes) -> None:
    found = basic_credentials(field)
    assert found is None or (found[0] and b":" not in found[0])


@given(st.binary())
def test_any_user_file(data: bytes) -> None:
    for name, stored in parse_users(data).items():
        assert name and b":" not in name + stored and b"\n" not in name + stored and b"\r" not in stored
        assert name + b":" + stored in data


LINE = st.binary(max_size=12).map(lambda data: data.translate(None, b"\r\n:"))


@given(st.dictionaries(LINE.filter(lambda name: name != b"" and not name.startswith(b"#")), LINE))
def test_users_come_back(users: dict[bytes, bytes]) -> None:
    text = b"# comment\n" + b"".join(name + b":" + stored + b"\n" for name, stored in users.items())
    assert parse_users(text) == users
    assert parse_users(text.replace(b"\n", b"\r\n")) == users
    assert parse_users(text.replace(b"\n", b":more\n")) == users
    assert parse_users(text + text.replace(b":", b":x")) == users  # the first of several counts


SCHEMES = st.sampled_from([b"{PLAIN}", b"{SHA}", b"{SSHA}", b"$apr1$", b"$2b$04$", b"$2y$", b"", b"*", b"$9$", b"ab"])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), SCHEMES, st.binary(max_size=40))
def test_any_stored_password(password: bytes, scheme: bytes, rest: bytes) -> None:
    stored = scheme + rest.replace(b"\0", b"").replace(b"$", b"")
    try:
        right = passwords.verify(password, stored)
    except passwords.CryptError:
        return
    assert right in (True, False)
    if scheme == b"{PLAIN}":
        assert right == (password.partition(b"\0")[0] == stored[7:])
    elif right:
        assert passwords.verify(password, stored) and scheme != b"*"


@pytest.mark.parametrize("password", ["x", "secret", "fifteen letters", "sixteen letters.", "more than sixteen letters", "ü€" * 20])
@pytest.mark.parametrize("scheme", ["-apr1", "-1", "-5", "-6"])
def test_as_openssl(password: str, scheme: str) -> None:
    done = subprocess.run(["openssl", "passwd", scheme, "-stdin"], input=password, capture_output=True, text=True, check=True)
    stored = done.stdout.strip().encode()
    assert passwords.verify(password.encode(), stored)
    assert not passwords.verify(password.encode() + b"x", stored)
    assert not passwords.is_quick(stored)


def test_only_cheap_schemes_are_quick() -> None:
    assert passwords.is_quick(b"{SHA}x") and passwords.is_quick(b"{SSHA}x") and passwords.is_quick(b"{PLAIN}x")
    assert not passwords.is_quick(b"$2b$12$x") and not passwords.is_quick(b"abNANd1rDfiNc")


def test_bcrypt_ends_after_72_bytes() -> None:
    import bcrypt

    stored = bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4))
    assert passwords.verify(b"a" * 72, stored)
    assert passwords.verify(b"a" * 100, stored)
    assert not passwords.verify(b"a" * 71, stored)


def test_tags_tell_credentials_apart() -> None:
    verifier = Verifier()
    tags = {verifier.tag(*parts) for parts in ((b"a", b"b", b"c"), (b"a", b"c", b"b"), (b"ab", b"", b"c"), (b"a", b":b", b"c"))}
    assert len(tags) == 4
    assert verifier.tag(b"a", b"b", b"c") in tags
    assert Verifier().tag(b"a", b"b", b"c") not in tags  # each process has a key of its own


def test_what_is_remembered_has_an_end_and_a_bound() -> None:
    verifier = Verifier()

    async def run() -> None:
        for number in range(MOST_REMEMBERED + 1):
            hashing = verifier.begin(b"%d" % number, b"x", b"{PLAIN}x", 100.0)
            assert await hashing.future
            verifier.leave(hashing)
            await asyncio.sleep(0)
        assert not await verifier.begin(b"wrong", b"y", b"{PLAIN}x", 100.0).future

    asyncio.run(run())
    assert not verifier.remembers(b"wrong", 100.0)
    assert not verifier.remembers(b"0", 100.0)  # the oldest made room
    assert verifier.remembers(b"1", 100.0 + REMEMBERED_SECONDS - 1)
    assert not verifier.remembers(b"1", 100.0 + REMEMBERED_SECONDS)
    verifier.stop()


def test_watched_files(tmp_path: Path) -> None:
    parsed: list[bytes] = []

    def parse(data: bytes) -> bytes:
        parsed.append(data)
        return data

    files = WatchedFiles(parse)
    file = tmp_path / "f"
    path = str(file).encode()
    for number in range(50):  # within the coarseness of the clock
        file.write_bytes(b"%02d" % number)
        assert files.get(path) == b"%02d" % number
    deadline = 0
    while files.get(path) == b"49" and len(parsed) < 100_000 and deadline < 3:
        before = len(parsed)
        files.get(path)
        deadline = deadline + 1 if len(parsed) == before else 0  # once it has settled it is not read any more
    assert deadline == 3
    for number in range(200):
        other = tmp_path / str(number)
        other.write_bytes(b"x")
        files.get(str(other).encode())
    file.unlink()
    with pytest.raises(FileNotFoundError):
        files.get(path)


def test_what_nobody_waits_for_is_not_begun() -> None:
    verifier = Verifier()
    slow = b"$2b$11$83Y/cOxsVSbRSZ49EO36ae6jI5dx3eDGEHQHGnkRlzvJ7MB1IfVXe"

    async def run() -> None:
        first = [verifier.begin(b"%d" % number, b"x", slow, 100.0) for number in range(50)]
        shared = verifier.begin(b"49", b"x", slow, 100.0)
        assert shared is first[49]
        for hashing in first[3:]:
            verifier.leave(hashing)
        assert [hashing.future.cancelled() for hashing in first] == [False] * 3 + [True] * 46 + [False]
        again = verifier.begin(b"48", b"x", b"{PLAIN}x", 100.0)
        assert again is not first[48] and await again.future
        await asyncio.sleep(0)
        assert verifier.remembers(b"48", 100.0)
        assert not await shared.future

    asyncio.run(run())
    verifier.stop()
