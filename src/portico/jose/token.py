"""A compact token (RFC 7515 section 7.1): parsed, verified, and stored once it was right."""

from __future__ import annotations

import binascii
import hashlib
import os
from typing import Final, final

from portico.jose.claims import json_object
from portico.jose.keys import ALGORITHMS, JOSE, KeySet

MOST_REMEMBERED: Final = 1024
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@final
class InvalidToken(Exception):
    """Why a token is not accepted, for the error log. Never holds a part of the token but its algorithm.

    other_keys: with other keys it might be: whoever can have newer ones may ask for them.
    """

    def __init__(self, reason: str, other_keys: bool = False) -> None:
        super().__init__(reason)
        self.other_keys = other_keys


@final
class Token:
    """What a token says."""

    def __init__(self, header: dict[str, object], claims: dict[str, object], payload: bytes) -> None:
        self.header = header
        self.claims = claims
        self.payload = payload
        self.expires = _time(claims, "exp", float("inf"))
        self.not_before = _time(claims, "nbf", float("-inf"))

    def check_times(self, now: float, leeway: float) -> None:
        """Raise InvalidToken unless it is valid at `now`, in seconds since the epoch (RFC 7519 sections 4.1.4 and 4.1.5)."""
        if now >= self.expires + leeway:
            raise InvalidToken("the token has expired")
        if now < self.not_before - leeway:
            raise InvalidToken("the token is not valid yet")


def _time(claims: dict[str, object], name: str, default: float) -> float:
    value = claims.get(name)
    if name not in claims:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidToken(f'"{name}" is not a number')
    try:
        return float(value)
    except OverflowError:
        raise InvalidToken(f'"{name}" is too large') from None


def decoded(text: bytes) -> bytes:
    """Decode base64url without padding (RFC 7515 section 2), in its one canonical form. Raises InvalidToken."""
    if text.translate(None, _ALPHABET) or len(text) % 4 == 1:
        raise InvalidToken("the token is not base64url")
    plain = text.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(text) % 4)
    data = binascii.a2b_base64(plain)
    if binascii.b2a_base64(data, newline=False) != plain:  # else one signature could be written in several ways
        raise InvalidToken("the token is not base64url")
    return data


def verified(token: bytes, sets: list[KeySet]) -> Token:
    """Return the token, when one of the keys has signed it. Raises InvalidToken."""
    parts = token.split(b".")
    if len(parts) != 3:
        raise InvalidToken("the token is encrypted" if len(parts) == 5 else "the token does not have three parts")
    header = _object(decoded(parts[0]), "header")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidToken("the token has no algorithm that is accepted")
    if "crit" in header:
        raise InvalidToken('the token has a "crit" header')
    kid = header.get("kid", "")
    if not isinstance(kid, str):
        raise InvalidToken('"kid" is not a string')
    decoded(parts[2])
    _find_key(token, kid, algorithm, sets)
    payload = decoded(parts[1])
    return Token(header, _object(payload, "payload"), payload)


def unverified(token: bytes) -> Token:
    """Return what a signed token says, when somebody else has verified it. Raises InvalidToken."""
    parts = token.split(b".")
    if len(parts) != 3:
        raise InvalidToken("the token does not have three parts")
    payload = decoded(parts[1])
    return Token(_object(decoded(parts[0]), "header"), _object(payload, "payload"), payload)


def _find_key(token: bytes, kid: str, algorithm: str, sets: list[KeySet]) -> None:
    candidates = [key for keys in sets for key in keys.candidates(kid, algorithm)]
    if not candidates:
        raise InvalidToken(f"no key for a token with {algorithm}" + (" and its kid" if kid else ""), True)
    for key in candidates:
        if JOSE.verify(token, algorithm, key.key):
            return
    raise InvalidToken("the signature is wrong", True)


def _object(data: bytes, name: str) -> dict[str, object]:
    try:
        return json_object(data)
    except ValueError:
        raise InvalidToken(f"the token's {name} is not a JSON object") from None


@final
class Remembered:
    """A token that was verified with these key sets."""

    def __init__(self, token: Token, sets: list[KeySet]) -> None:
        self.token = token
        self.sets = sets

    def holds(self, sets: list[KeySet]) -> bool:
        """Return whether these are the same sets still."""
        if len(sets) != len(self.sets):
            return False
        return all(sets[i] is self.sets[i] for i in range(len(sets)))


@final
class Tokens:
    """The tokens that a worker has verified, by a hash under a key of its own."""

    def __init__(self) -> None:
        self._key: bytes = b""  # made in the worker
        self._known: dict[bytes, Remembered] = {}

    def verified(self, token: bytes, sets: list[KeySet]) -> Token:
        """Verify as the function of that name does, once for each token and set of keys. Raises InvalidToken."""
        if not self._key:
            self._key = os.urandom(32)
        tag = hashlib.blake2b(token, key=self._key, digest_size=16).digest()
        known = self._known.get(tag)
        if known is not None and known.holds(sets):
            return known.token
        made = verified(token, sets)
        if known is None and len(self._known) >= MOST_REMEMBERED:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[tag] = Remembered(made, sets)
        return made
