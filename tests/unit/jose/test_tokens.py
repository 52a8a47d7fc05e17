"""Tokens and key sets, with arbitrary and with almost right bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portico.jose.claims import json_object, member, shown
from portico.jose.keys import KeyFileError, KeySet, parse_keys, parse_published_keys
from portico.jose.token import MOST_REMEMBERED, InvalidToken, Tokens, verified

SECRET = b"a secret of thirty-two characters"


def encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
KEYS = parse_keys(json.dumps({"keys": [{"kty": "oct", "k": encoded(SECRET).decode(), "kid": "one"}]}).encode())


def signed(header: bytes, payload: bytes) -> bytes:
    """A token whose signature is right, whatever it says."""
    data = encoded(header) + b"." + encoded(payload)
    return data + b"." + encoded(hmac.digest(SECRET, data, hashlib.sha256))


HEADER = b'{"alg":"HS256"}'
GOOD = signed(HEADER, b'{"sub":"ann"}')
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@given(st.binary() | st.lists(st.binary().map(encoded), max_size=6).map(b".".join))
def test_any_bytes(token: bytes) -> None:
    with pytest.raises(InvalidToken):
        verified(token, [KEYS])


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
@example(len(GOOD) - 1, 1)
@example(len(GOOD) - 1, 2)
@example(len(GOOD) - 1, 3)
def test_every_byte_counts(place: int, change: int) -> None:
    token = bytearray(GOOD)
    token[place] ^= change
    with pytest.raises(InvalidToken):
        verified(bytes(token), [KEYS])


@given(st.binary())
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"exp":NaN}')
@example(b'{"exp":1e999}')
@example(b'{"exp":' + b"9" * 5000 + b"}")
@example(b'{"sub":"\\ud800"}')
def test_any_payload(payload: bytes) -> None:
    try:
        token = verified(signed(HEADER, payload), [KEYS])
        token.check_times(0.0, 0.0)
    except InvalidToken:
        return
    for name in token.claims:
        member(token.claims, [name])


@given(st.binary())
@example(b"[" * 100_000)
@example(b"null")
def test_any_header(header: bytes) -> None:
    try:
        verified(signed(header, b"{}"), [KEYS])
    except InvalidToken:
        return
    assert json.loads(header)["alg"] == "HS256"


FIELD_NAMES = st.sampled_from(["alg", "kid", "crit", "typ", "b64", "jwk", "x5c", "zip"])


@given(st.dictionaries(FIELD_NAMES, JSON | st.just("HS256") | st.just("one")))
def test_any_header_fields(header: dict[str, Any]) -> None:
    try:
        verified(signed(json.dumps(header).encode(), b"{}"), [KEYS])
    except InvalidToken:
        return
    assert header["alg"] == "HS256" and "crit" not in header and header.get("kid", "one") in ("one", "")


@given(JSON)
def test_any_value_can_be_shown(value: Any) -> None:
    value_shown = shown(value)
    assert value_shown is None if value is None else isinstance(value_shown, bytes)
    if isinstance(value, str):
        assert value_shown == value.encode()


@given(st.binary() | JSON.map(lambda value: json.dumps({"keys": value}).encode()))
@example(b"[" * 100_000)
def test_any_key_file(data: bytes) -> None:
    with pytest.raises(KeyFileError):
        parse_keys(data)


def test_a_published_key_that_is_malformed_takes_no_other_with_it() -> None:
    known = {"kty": "oct", "k": encoded(SECRET).decode()}
    for malformed in ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "oct"}):
        data = json.dumps({"keys": [malformed, known]}).encode()
        assert verified(GOOD, [parse_published_keys(data)]).claims == {"sub": "ann"}
        with pytest.raises(KeyFileError, match="key 1: "):
            parse_keys(data)
        with pytest.raises(KeyFileError, match="no key in it can verify"):
            parse_published_keys(json.dumps({"keys": [malformed]}).encode())


PARAMETERS = st.dictionaries(
    st.sampled_from(["kty", "k", "n", "e", "d", "p", "q", "crv", "x", "y", "alg", "use", "key_ops", "kid"]),
    JSON | st.sampled_from(["oct", "RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "sig", "HS256"]) | st.binary(max_size=40).map(
        lambda data: encoded(data).decode()
    ),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(PARAMETERS | st.tuples(PARAMETERS, st.sampled_from(["oct", "RSA", "EC", "OKP"])).map(lambda pair: {**pair[0], "kty": pair[1]}))
def test_any_key(parameters: dict[str, Any]) -> None:
    try:
        keys = parse_keys(json.dumps({"keys": [parameters]}).encode())
    except KeyFileError:
        return
    assert isinstance(keys, KeySet) and len(keys.keys) == 1
    if keys.keys[0].algorithms & {"HS256", "HS384", "HS512"}:
        assert parameters["kty"] == "oct"


def test_objects_only() -> None:
    assert json_object(b'{"a": 1}') == {"a": 1}
    for text in (b"", b"[]", b"5", b'"x"', b"{", b"\xff", b'{"a": Infinity}'):
        with pytest.raises(ValueError):
            json_object(text)


def test_a_text_in_another_encoding_is_none() -> None:
    for encoding in ("utf-16", "utf-16-le", "utf-32", "latin-1"):
        with pytest.raises(InvalidToken):
            verified(signed(HEADER, '{"sub":"\u00e9"}'.encode(encoding)), [KEYS])
    assert verified(signed(HEADER, '{"sub":"\u00e9"}'.encode()), [KEYS]).claims == {"sub": "\u00e9"}


def test_deep_values() -> None:
    """Whatever the parser takes has a value or none, and ends nothing else."""
    for depth in (10, 100, 400, 600, 900):
        for opening, closing in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")):
            data = '{"x":' + opening * depth + "1" + closing * depth + "}"
            try:
                found = json_object(data.encode())
            except ValueError:
                continue
            value = member(found, ["x"])
            assert value is None or b"1" in value


def test_members() -> None:
    found = {"a": {"b": {"c": 5}}, "list": ["x", 1, None, {"y": 2}], "dotted.name": "z"}
    assert member(found, ["a", "b", "c"]) == b"5"
    assert member(found, ["a", "b"]) == b'{"c":5}'
    assert member(found, ["a", "x"]) is None
    assert member(found, ["list", "x"]) is None
    assert member(found, ["list"]) == b'x,1,,{"y":2}'
    assert member(found, ["dotted.name"]) == b"z"


def test_remembered_tokens() -> None:
    tokens = Tokens()
    first = tokens.verified(GOOD, [KEYS])
    assert tokens.verified(GOOD, [KEYS]) is first
    other = parse_keys(json.dumps({"keys": [{"kty": "oct", "k": encoded(SECRET).decode()}]}).encode())
    assert tokens.verified(GOOD, [other]) is not first  # other keys: verified again
    none = parse_keys(b'{"keys": [{"kty": "oct", "k": "AAAA"}]}')
    with pytest.raises(InvalidToken):
        tokens.verified(GOOD, [none])
    with pytest.raises(InvalidToken):
        tokens.verified(GOOD, [])
    again = tokens.verified(GOOD, [KEYS])
    for number in range(MOST_REMEMBERED):
        tokens.verified(signed(HEADER, b'{"n":%d}' % number), [KEYS])
    assert tokens.verified(GOOD, [KEYS]) is not again  # it made room
