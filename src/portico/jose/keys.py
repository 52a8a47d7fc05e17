"""JSON Web Key Sets (RFC 7517): keys, and the algorithms that each may verify."""

from __future__ import annotations

import importlib
from typing import Any, Final, final

from portico.jose.claims import json_object

_RSA: Final = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
_HMAC: Final = frozenset(("HS256", "HS384", "HS512"))
_BY_CURVE: Final[dict[str, frozenset[str]]] = {  # RFC 7518 section 3.4, RFC 8812, RFC 8037 and RFC 9864
    "P-256": frozenset(("ES256",)),
    "P-384": frozenset(("ES384",)),
    "P-521": frozenset(("ES512",)),
    "secp256k1": frozenset(("ES256K",)),
    "Ed25519": frozenset(("EdDSA", "Ed25519")),
    "Ed448": frozenset(("EdDSA", "Ed448")),
}
_NONE: Final[frozenset[str]] = frozenset()
ALGORITHMS: Final = _RSA | _HMAC | frozenset(name for names in _BY_CURVE.values() for name in names)
_LONGEST_PART: Final = 65536  # a token comes in a header line, which has its own limit


@final
class KeyFileError(Exception):
    """A file is no set of keys, or the library for them is missing."""


@final
class Key:
    """One key."""

    def __init__(self, kid: str, algorithms: frozenset[str], key: Any) -> None:
        self.kid = kid  # "": it has none
        self.algorithms = algorithms
        self.key = key


@final
class KeySet:
    """The keys of one file that can verify a signature."""

    def __init__(self, keys: list[Key]) -> None:
        self.keys = keys

    def candidates(self, kid: str, algorithm: str) -> list[Key]:
        """Return the keys that a token with this header may have been signed with."""
        found = [key for key in self.keys if algorithm in key.algorithms]
        return [key for key in found if key.kid in (kid, "")] if kid else found

    def public(self) -> KeySet:
        """Return only the public keys among them. Raises KeyFileError when there are none."""
        keys = [key for key in self.keys if not key.algorithms & _HMAC]
        if not keys:
            raise KeyFileError("no public key in it can verify a signature")
        return KeySet(keys)


@final
class Jose:
    """The library `joserfc`, imported when a configuration asks for it: the workers may not be allowed to read it."""

    def __init__(self) -> None:
        self._jws: Any = None
        self._jwk: Any = None
        self._registry: Any = None
        self._error: Any = None

    def find(self) -> None:
        """Import it. Raises KeyFileError."""
        if self._registry is not None:
            return
        try:
            self._jws = importlib.import_module("joserfc.jws")
            self._jwk = importlib.import_module("joserfc.jwk")
            errors = importlib.import_module("joserfc.errors")
        except ImportError:
            raise KeyFileError('JSON Web Tokens need the library joserfc') from None
        # It warns of short secrets, and of names of algorithms that newer ones replace: the administrator's choice.
        importlib.import_module("warnings").filterwarnings("ignore", category=errors.SecurityWarning)
        self._error = errors.JoseError
        registry = self._jws.JWSRegistry(algorithms=sorted(ALGORITHMS), strict_check_header=False)
        registry.max_header_length = registry.max_payload_length = _LONGEST_PART
        self._registry = registry

    def key(self, parameters: dict[str, object]) -> Any:
        """Return a key of the library. Raises KeyFileError with what is wrong."""
        try:
            return self._jwk.import_key(parameters)
        except self._error as wrong:
            raise KeyFileError(str(wrong)) from None
        except (ValueError, TypeError, ArithmeticError) as invalid:
            raise KeyFileError(str(invalid) or "not base64url") from None

    def verify(self, token: bytes, algorithm: str, key: Any) -> bool:
        """Return whether the signature of a compact token is right."""
        try:
            self._jws.deserialize_compact(token, key, [algorithm], self._registry)
        except (self._error, ValueError, TypeError, ArithmeticError):
            return False
        return True


JOSE: Final = Jose()


def parse_keys(data: bytes) -> KeySet:
    """Return the set in a file. Raises KeyFileError.

    Keys of unknown kinds, and those for encryption, are left out (RFC 7517 section 5); a known one that is malformed is an error,
    for who wrote it can mend it.
    """
    return KeySet(_keys(data, False))


def parse_published_keys(data: bytes) -> KeySet:
    """Parse as `parse_keys` does, a set that somebody else publishes: a key that is malformed takes none of the others with it."""
    return KeySet(_keys(data, True))


def _keys(data: bytes, tolerant: bool) -> list[Key]:
    JOSE.find()
    try:
        members = json_object(data).get("keys")
    except ValueError as wrong:
        raise KeyFileError(f"not a JSON Web Key Set: {wrong}") from None
    if not isinstance(members, list):
        raise KeyFileError('not a JSON Web Key Set: it has no array "keys"')
    keys: list[Key] = []
    for index, parameters in enumerate(members):
        if not isinstance(parameters, dict):
            raise KeyFileError(f"key {index + 1} is not an object")
        algorithms = _algorithms(parameters)
        if not algorithms:
            continue
        try:
            keys.append(_key(parameters, algorithms, index))
        except KeyFileError:
            if not tolerant:
                raise
    if not keys:
        raise KeyFileError("no key in it can verify a signature")
    return keys


def _key(parameters: dict[str, object], algorithms: frozenset[str], index: int) -> Key:
    try:
        made = JOSE.key(parameters)
    except KeyFileError as wrong:
        raise KeyFileError(f"key {index + 1}: {wrong}") from None
    kid = parameters.get("kid")
    return Key(kid if isinstance(kid, str) else "", algorithms, made)


def _algorithms(parameters: dict[str, object]) -> frozenset[str]:
    """Return what a key may verify: what its kind can, and no more than `alg`, `use` and `key_ops` allow (RFC 7517 section 4)."""
    kind = parameters.get("kty")
    curve = parameters.get("crv")
    algorithms = _NONE
    if kind == "RSA":
        algorithms = _RSA
    elif kind == "oct":
        algorithms = _HMAC
    elif kind in ("EC", "OKP") and isinstance(curve, str):
        algorithms = _BY_CURVE.get(curve, _NONE)
    operations = parameters.get("key_ops")
    if parameters.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return _NONE
    only = parameters.get("alg")
    return algorithms & {only} if isinstance(only, str) else algorithms
