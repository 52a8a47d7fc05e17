"""`auth_oidc`: what browsers and providers send, fed with anything; sealed texts, sessions, URLs."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.features.local_site import FEATURES, Site

from portico.features.oidc import feature as oidc
from portico.features.oidc.discovery import Metadata
from portico.features.oidc.feature import PROVIDERS
from portico.features.oidc.login import State, open_state
from portico.features.oidc.own_uris import parse_arguments
from portico.features.oidc.provider import Provider
from portico.features.oidc.provider_requests import provider_url
from portico.features.oidc.sealing import CIPHERS, Sealer, base64url_decoded, base64url_encoded
from portico.features.oidc.session import Session, find_cookie, parse_session, session_cookies
from portico.features.oidc.tokens import Tokens, check_claims
from portico.http.errors import HTTPError
from portico.jose.claims import json_object
from portico.jose.token import InvalidToken, Token

CIPHERS.find()
SEALER = Sealer(os.urandom(32), b"one")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def id_token(**claims: object) -> str:
    parts = [{"alg": "RS256"}, {"sub": "ann", **claims}]
    return b".".join([*(base64url_encoded(json.dumps(part).encode()) for part in parts), b"c2ln"]).decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    (directory / "html").mkdir()
    http = "oidc_provider p { issuer https://id.example.com; client_id c; logout_uri /out; }"
    server = "location / { auth_oidc p; } location /open { return 200 $oidc_claim_sub; }"
    made = Site(server, directory, (oidc.FEATURE, *FEATURES), http)
    yield made
    made.close()


@pytest.fixture(scope="module")
def provider(site: Site) -> Provider:
    return PROVIDERS.of(site.plan.build)[b"p"]


def test_a_key_of_one_s_own(tmp_path: Path) -> None:
    """Two processes with the same file know each other's sessions, with another they do not."""
    (tmp_path / "html").mkdir()
    (tmp_path / "conf").mkdir()
    found: list[Provider] = []
    for name in ("one", "one", "two"):
        (tmp_path / "conf" / name).write_bytes(name.encode() * 20)
        http = f"oidc_provider p {{ issuer https://id.example.com; client_id c; session_key {name}; }}"
        made = Site("", tmp_path, (oidc.FEATURE, *FEATURES), http)
        found.append(PROVIDERS.of(made.plan.build)[b"p"])
        made.close()
    sealed = found[0].sealer.seal(b"session", b"data")
    assert found[1].sealer.open(b"session", sealed) == b"data"
    assert found[2].sealer.open(b"session", sealed) is None


def session(site: Site, **claims: object) -> Session:
    made = Session(id_token(**claims), "access", "refresh", '{"sub": "ann", "team": "blue"}')
    made.created = int(site.reactor.wall() * 1000.0)
    made.expires = int(site.reactor.wall()) + 3600
    return made


# -- sealed texts


@given(st.binary())
def test_what_is_sealed_can_be_opened(data: bytes) -> None:
    sealed = SEALER.seal(b"x", data)
    assert SEALER.open(b"x", sealed) == data
    assert SEALER.open(b"y", sealed) is None
    assert SEALER.seal(b"x", data) != sealed
    assert data not in base64url_decoded(sealed) or len(data) < 8


def test_only_by_us() -> None:
    sealed = SEALER.seal(b"x", b"data")
    key = os.urandom(32)
    assert Sealer(key, b"one").open(b"x", sealed) is None
    assert Sealer(key, b"one").open(b"x", Sealer(key, b"two").seal(b"x", b"data")) is None


@given(st.binary() | st.binary().map(base64url_encoded))
def test_anything_else_is_not_opened(text: bytes) -> None:
    assert SEALER.open(b"x", text) is None


SEALED = SEALER.seal(b"x", b"data")


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_every_byte_counts(place: int, change: int) -> None:
    text = bytearray(SEALED)
    text[place] ^= change
    assert SEALER.open(b"x", bytes(text)) is None


@given(st.binary())
def test_base64url(data: bytes) -> None:
    assert base64url_decoded(base64url_encoded(data)) == data
    assert base64url_decoded(base64url_encoded(data) + b"=") == b""


# -- sessions


@given(st.binary() | st.binary().map(zlib.compress) | JSON.map(lambda value: zlib.compress(json.dumps(value).encode())))
@example(zlib.compress(b"[" * 100_000))
@example(zlib.compress(b" " * 10_000_000))
def test_any_session(data: bytes) -> None:
    assert parse_session(data) is None


MEMBERS = ("id_token", "access_token", "refresh_token", "userinfo", "id", "sid", "created", "expires", "refresh_at")


@given(st.fixed_dictionaries({name: JSON | st.just(id_token()) | st.just("{}") for name in MEMBERS}))
def test_any_members_of_a_session(members: dict[str, Any]) -> None:
    found = parse_session(zlib.compress(json.dumps(members).encode()))
    if found is not None:
        assert found.claim("sub") == b"ann"
        assert parse_session(found.serialized()) is not None


def test_a_session_that_is_read_again(site: Site) -> None:
    made = session(site, sid="s", roles=["a", "b"])
    found = parse_session(made.serialized())
    assert found is not None
    for name in MEMBERS:
        assert getattr(found, name) == getattr(made, name)
    assert (found.claim("sub"), found.claim("roles"), found.claim("team"), found.claim("x")) == (b"ann", b"a,b", b"blue", None)
    assert found.sid == "s"


def cookie_line(fields: list[tuple[bytes, bytes]]) -> str:
    return "Cookie: " + "; ".join(value.partition(b";")[0].decode() for _, value in fields)


def test_a_session_in_cookies(site: Site, provider: Provider) -> None:
    for size in (10, 3000, 9000):
        made = session(site, noise=os.urandom(size // 2).hex())
        fields = session_cookies(site.request("/"), provider.cookie, provider.sessions.seal(made), True)
        assert all(len(value) < 4096 for _, value in fields)
        assert len(fields) > size // 4096
        found = provider.sessions.find(site.request("/", cookie_line(fields)))
        assert found is not None and found.id == made.id
        for missing in range(len(fields)):
            some = fields[:missing] + fields[missing + 1 :]
            assert provider.sessions.find(site.request("/", cookie_line(some))) is None
        shorter = session_cookies(site.request("/", cookie_line(fields)), provider.cookie, b"x", True)
        assert len(shorter) == len(fields)
        assert all(b"Max-Age=0" in value for _, value in shorter[1:])


def test_cookies_by_their_very_names(site: Site) -> None:
    for line, value in (
        ("a=1; NAME=2; NAME=3", b"2"),
        ("name=1; NAME=2", b"2"),
        ("XNAME=1; NAMEX=2;NAME=3", b"3"),
        ("x=NAME=1", None),
        ("NAME", b""),
        ("name=1", None),
    ):
        assert find_cookie(site.request("/", f"Cookie: {line}"), b"NAME") == value


def test_sessions_that_are_too_long(tmp_path: Path) -> None:
    """However long header lines may be: what would not be taken back is not given."""
    (tmp_path / "html").mkdir()
    http = "oidc_provider p { issuer https://id.example.com; client_id c; }"
    site = Site("large_client_header_buffers 4 64k; location / { auth_oidc p; }", tmp_path, (oidc.FEATURE, *FEATURES), http)
    providers = PROVIDERS.of(site.plan.build)
    made = session(site, noise=os.urandom(10000).hex())
    fields = providers[b"p"].sessions.cookies(site.request("/"), made, False)
    assert site.ask("/", cookie_line(fields), "POST").status != 401
    with pytest.raises(HTTPError, match="more than 30400"):
        providers[b"p"].sessions.cookies(site.request("/"), session(site, noise=os.urandom(18000).hex()), False)
    site.close()


def test_the_longest_session_can_be_read_again() -> None:
    token = id_token(noise="x" * 12000)
    text = '"' * 16384
    made = Session(token, text, text, json.dumps({"sub": "ann", "x": "\u00e9" * 16300}, ensure_ascii=False))
    assert len(made.userinfo.encode()) > 32600
    found = parse_session(made.serialized())
    assert found is not None and found.userinfo == made.userinfo


def test_the_end_of_sessions(site: Site, provider: Provider) -> None:
    made = session(site, sid="here")
    line = cookie_line(session_cookies(site.request("/"), provider.cookie, provider.sessions.seal(made), False))
    assert site.ask("/", line, "POST").status != 401
    assert site.ask("/open", line).body == b""  # no auth_oidc there
    assert not provider.shared.end_by_sid("here", made.created / 1000.0)
    used = provider.shared.ended.used()
    provider.shared.insert_sid(made)
    assert provider.shared.ended.used() == used  # logins do not push logouts out
    assert not provider.shared.is_ended(made)
    assert provider.shared.end_by_sid("here", made.created / 1000.0 + 1)
    assert provider.shared.is_ended(made)
    later = session(site, sid="here")
    later.created += 2000
    assert not provider.shared.is_ended(later)
    provider.shared.end(later, later.created / 1000.0)
    assert provider.shared.is_ended(later)
    over = session(site)
    over.expires = 5
    line = cookie_line(session_cookies(site.request("/"), provider.cookie, provider.sessions.seal(over), False))
    assert site.ask("/", line, "POST").status == 401


def test_one_worker_refreshes(site: Site, provider: Provider) -> None:
    made = session(site)
    assert provider.shared.try_claim_refresh(made, 1000.0, 60.0)
    assert not provider.shared.try_claim_refresh(made, 1059.0, 60.0)
    assert provider.shared.try_claim_refresh(made, 1061.0, 60.0)
    made.refresh_at = 7
    assert provider.shared.try_claim_refresh(made, 1061.0, 60.0)


PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f\x85"), max_size=200)


@given(PRINTABLE, PRINTABLE)
@example("1.", "")
@example("2.AAAA", "AAAA")
@example("8." + "A" * 500, "")
def test_any_cookie(site: Site, first: str, second: str) -> None:
    line = f"Cookie: NGX_OIDC_SESSION={first}; NGX_OIDC_SESSION_1={second}"
    assert site.ask("/", line, "POST").status == 401


@given(st.binary())
def test_any_sealed_session(site: Site, provider: Provider, data: bytes) -> None:
    text = provider.sealer.seal(b"session", data).decode()
    assert site.ask("/", f"Cookie: NGX_OIDC_SESSION=1.{text}", "POST").status == 401


# -- callbacks


@given(st.binary(max_size=100))
@example(b"/x")
def test_any_state(provider: Provider, data: bytes) -> None:
    assert open_state(provider, data) is None
    found = open_state(provider, provider.sealer.seal(b"state", data))
    assert found is None or len(data) > 40
    state = State(bytes(16), 5, bytes(16), b"/" + data)
    found = open_state(provider, provider.sealer.seal(b"state", state.serialized()))
    assert found is not None and (found.return_uri, found.created) == (b"/" + data, 5)


def test_a_login_that_takes_too_long_begins_anew(site: Site, provider: Provider) -> None:
    """Whatever has become of the browser's cookie: it lives no longer than the state."""
    now = int(site.reactor.wall())
    for age, status in ((590, 400), (610, 302)):
        state = State(bytes(16), now - age, bytes(16), b"//x/there?a=b")
        answer = site.ask(f"/oidc_callback?code=x&state={provider.sealer.seal(b'state', state.serialized()).decode()}")
        assert answer.status == status
        if status == 302:
            assert answer.get("location") == "http://example.com//x/there?a=b"
            assert not answer.all("set-cookie")


@given(st.binary())
@example(b"a=1&a=2")
@example(b"&" * 1000)
def test_any_arguments(args: bytes) -> None:
    try:
        found = parse_arguments(args)
    except HTTPError as refused:
        assert refused.status == 400
        return
    assert all(isinstance(value, str) for value in found.values())


# -- what providers say


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
def test_any_answer_of_a_token_endpoint(data: bytes) -> None:
    with pytest.raises(ValueError):
        Tokens(data)


@given(st.fixed_dictionaries({name: JSON | st.just("Bearer") for name in ("access_token", "token_type", "expires_in", "id_token")}))
def test_any_tokens(members: dict[str, Any]) -> None:
    try:
        found = Tokens(json.dumps(members).encode())
    except ValueError:
        return
    for token in (found.access_token, found.refresh_token, found.id_token):
        assert token.isascii() and (token.isprintable() or not token)
    assert 0 <= found.seconds < 10**12


@given(st.binary() | JSON.map(lambda value: json.dumps({"issuer": "https://i", "authorization_endpoint": value}).encode()))
def test_any_metadata(data: bytes) -> None:
    with pytest.raises(ValueError):
        Metadata(data, "https://i", True)


def test_no_endpoint_without_tls_for_who_was_asked_with_it() -> None:
    known = {"issuer": "https://i", **dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), "https://i/x")}
    Metadata(json.dumps(known).encode(), "https://i", True)
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"):
        changed = json.dumps({**known, name: "http://127.0.0.1:1/x"}).encode()
        with pytest.raises(ValueError, match=f'its "{name}" is no URL that may be used'):
            Metadata(changed, "https://i", True)
        Metadata(changed, "https://i", False)


@given(st.text() | st.text().map(lambda text: "https://" + text) | st.text().map(lambda text: "http://" + text))
@example("https://[")
@example("https://[::1]:443/x")
@example("https://a:٣/")
@example("http://localhost@evil.example/")
@example("https://a:99999999999999999999/")
def test_any_url(text: str) -> None:
    try:
        url = provider_url(text)
    except ValueError:
        return
    assert url.secure or url.host in ("localhost", "127.0.0.1", "::1")
    assert url.target.startswith("/") and 0 < url.port < 65536 and url.host
    assert text.isascii() and text.isprintable() and " " not in text


CLAIM = JSON | st.just("i") | st.just("c") | st.just("n") | st.just(1000)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "azp", "sub", "exp", "iat", "nbf", "nonce"]), CLAIM))
def test_any_claims(claims: dict[str, Any]) -> None:
    data = json.dumps(claims).encode()
    try:
        token = Token({}, json_object(data), data)
        check_claims(token, "i", "c", b"n", 1000.0)
    except InvalidToken:
        return
    assert claims["iss"] == "i" and "c" in claims["aud"] and claims["nonce"] == "n" and claims["sub"]


def test_good_claims() -> None:
    claims: dict[str, object] = {"iss": "i", "aud": "c", "nonce": "n", "sub": "s", "iat": 1000, "exp": 1010}
    check_claims(Token({}, claims, b""), "i", "c", b"n", 1005.0)
    with pytest.raises(InvalidToken):
        check_claims(Token({}, claims, b""), "i", "c", b"n", 1041.0)
