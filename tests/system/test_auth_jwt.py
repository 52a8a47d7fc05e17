"""`auth_jwt` from the outside: tokens of every algorithm, forged ones, keys that rotate, claims as variables."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import pytest
from joserfc import jwk, jws
from tests.system.guarded import Guarded, checked, guarded

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")

KINDS: dict[str, tuple[str, Any]] = {
    "HS256": ("oct", 256), "HS384": ("oct", 384), "HS512": ("oct", 512),
    "RS256": ("RSA", 2048), "RS384": ("RSA", 2048), "RS512": ("RSA", 2048),
    "PS256": ("RSA", 2048), "PS384": ("RSA", 2048), "PS512": ("RSA", 2048),
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"), "ES256K": ("EC", "secp256k1"),
    "EdDSA": ("OKP", "Ed25519"), "Ed25519": ("OKP", "Ed25519"), "Ed448": ("OKP", "Ed448"),
}  # fmt: skip
CLAIMS = {"sub": "ann", "roles": ["a", "b"], "info": {"mail": "a@example.com", "age": 7}, "ok": True, "no": 0, "nothing": None}


@lru_cache(maxsize=32)
def key(kind: str, size: Any, number: int = 0) -> Any:
    return jwk.generate_key(kind, size)


def public(made: Any, **more: object) -> dict[str, object]:
    return {**made.as_dict(private=made.key_type == "oct"), **more}


def key_set(*keys: Mapping[str, object]) -> str:
    return json.dumps({"keys": list(keys)})


def token(made: Any, algorithm: str, claims: object = None, **header: object) -> str:
    payload = json.dumps(CLAIMS if claims is None else claims).encode()
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jws.serialize_compact({"alg": algorithm, **header}, payload, made, registry=registry)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def forged(header: object, claims: object, secret: bytes) -> str:
    """A token with a header of our choice, signed by HMAC with SHA-256."""
    signed = encoded(json.dumps(header).encode()) + "." + encoded(json.dumps(claims).encode())
    return signed + "." + encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))


def secret_of(made: Any) -> bytes:
    return base64.urlsafe_b64decode(str(made.as_dict()["k"]) + "==")


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + text}


HTTP = """
auth_jwt_claim_set $mail info mail;
auth_jwt_claim_set $nested info;
auth_jwt_header_set $key_id kid;
"""
NAMES = "jwt_claim_sub mail nested jwt_claim_roles jwt_claim_ok jwt_claim_no jwt_claim_nothing jwt_claim_none key_id jwt_header_alg"
SHOWN = '"' + "|".join("$" + name for name in NAMES.split(" ")) + '"'
SERVER = (
    """
    auth_jwt_key_file keys.json;
    location / { auth_jwt "a realm"; add_header X-Shown SHOWN; add_header X-Payload $jwt_payload; }
    location /early { auth_jwt "a realm"; return 200 "[$jwt_claim_sub]"; }
    location /open { return 200 "[$jwt_claim_sub]"; }
    location /arg/ { auth_jwt "a realm" token=$arg_token; alias @FOLDER@/; }
    location /off/ { auth_jwt off; alias @FOLDER@/; }
    location /variable/ { auth_jwt $arg_realm; alias @FOLDER@/; }
    location /leeway/ { auth_jwt r; auth_jwt_leeway 1h; alias @FOLDER@/; }
    location /other/ { auth_jwt r; auth_jwt_key_file other.json; alias @FOLDER@/; }
    location /both/ { auth_jwt r; auth_jwt_key_file other.json; auth_jwt_key_file keys.json; alias @FOLDER@/; }
    location /require/ { auth_jwt r; auth_jwt_require $jwt_claim_ok $jwt_claim_sub; auth_jwt_require $arg_x error=403;
        alias @FOLDER@/; }
    location /require401/ { auth_jwt r; auth_jwt_require $jwt_claim_no; alias @FOLDER@/; }
    location /any/ { satisfy any; deny all; auth_jwt r; alias @FOLDER@/; }
    location /chosen/ { auth_jwt r; auth_jwt_key_file $arg_keys.json; alias @FOLDER@/; }
    location /rotating/ { auth_jwt r; auth_jwt_key_file rotating.json; alias @FOLDER@/; }
    location /except/ { limit_except HEAD { auth_jwt r; } alias @FOLDER@/; }
    """
).replace("SHOWN", SHOWN)


@pytest.fixture(scope="module")
def site() -> Iterator[Guarded]:
    keys = [public(key(*KINDS[name]), kid=name) for name in ("HS256", "RS256", "ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed448")]
    keys += [public(key(*KINDS[name]), kid=name) for name in ("HS384", "HS512")]
    other = [public(key("EC", "P-256", 1), kid="other")]
    files = {"keys.json": key_set(*keys), "other.json": key_set(*other), "rotating.json": key_set(*other), "broken.json": "{"}
    with guarded(files, SERVER, HTTP) as made:
        yield made


@pytest.mark.parametrize("algorithm", KINDS)
def test_algorithms(site: Guarded, algorithm: str) -> None:
    signed = token(key(*KINDS[algorithm]), algorithm)
    assert site.get("/index.html", bearer(signed)).status == 200
    assert site.get("/index.html", bearer(signed)).status == 200  # remembered
    wrong = token(key(*KINDS[algorithm], 5), algorithm)
    assert site.get("/index.html", bearer(wrong)).status == 401


def test_what_the_client_is_told(site: Guarded) -> None:
    answer = site.get("/index.html")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="a realm"')
    answer = site.get("/index.html", bearer("a.b.c"))
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="a realm", error="invalid_token"')


def test_variables(site: Guarded) -> None:
    signed = token(key(*KINDS["ES256"]), "ES256", kid="ES256")
    answer = site.get("/index.html", bearer(signed))
    assert answer.headers["X-Shown"] == 'ann|a@example.com|{"mail":"a@example.com","age":7}|a,b|true|0|||ES256|ES256'
    assert json.loads(answer.headers["X-Payload"]) == CLAIMS


def test_variables_only_of_what_is_verified(site: Guarded) -> None:
    good, bad = token(key(*KINDS["ES256"]), "ES256"), token(key("EC", "P-256", 9), "ES256")
    assert site.get("/early", bearer(good)).body == b"[ann]"
    assert site.get("/early", bearer(bad)).body == b"[]"
    assert site.get("/early", bearer(token(key(*KINDS["ES256"]), "ES256", {"sub": "x", "exp": 1}))).body == b"[]"
    assert site.get("/open", bearer(good)).body == b"[]"


def _rsa_secrets() -> list[bytes]:
    """What a confused verifier may take for the secret of an HMAC: a public key in the forms that an attacker can know."""
    made = key(*KINDS["RS256"])
    pem: bytes = made.as_pem(private=False)
    return [pem, pem.strip(), made.as_der(private=False), json.dumps(public(made)).encode(), b""]


FORGED = [
    forged({"alg": "none"}, CLAIMS, b"")[: -len(encoded(bytes(32)))],
    *(forged({"alg": name}, CLAIMS, b"") for name in ("none", "None", "NONE", "nOnE", "", "HS1", "RS256", "ES256")),
    *(forged({"alg": "HS256"}, CLAIMS, secret) for secret in _rsa_secrets()),
    *(forged({"alg": "HS256", "kid": "RS256"}, CLAIMS, secret) for secret in _rsa_secrets()),
    forged({}, CLAIMS, b""),
    forged({"alg": 5}, CLAIMS, b""),
    forged({"alg": ["HS256"]}, CLAIMS, b""),
    forged([], CLAIMS, b""),
    forged({"alg": "HS256", "jwk": public(key("oct", 256, 7))}, CLAIMS, secret_of(key("oct", 256, 7))),
]


@pytest.mark.parametrize("number", range(len(FORGED)))
def test_forged_tokens(site: Guarded, number: int) -> None:
    assert site.get("/index.html", bearer(FORGED[number])).status == 401


@pytest.mark.parametrize(
    "field",
    [
        *("", "Bearer", "Bearer ", "Bearer x", "Bearer a.b", "Bearer a.b.c.d.e", "Bearer .."),
        *("Basic YTpi", "Bearer é.é.é", "Bearer " + "A" * 6000),
    ],
)
def test_malformed_fields(site: Guarded, field: str) -> None:
    connection = site.connect()
    connection.putrequest("GET", "/index.html")
    connection.putheader("Authorization", field.encode("latin-1"))
    connection.endheaders()
    assert connection.getresponse().status == 401
    connection.close()


def test_kid(site: Guarded) -> None:
    signed = key(*KINDS["ES256"])
    assert site.get("/index.html", bearer(token(signed, "ES256", kid="ES256"))).status == 200
    assert site.get("/index.html", bearer(token(signed, "ES256", kid="ES384"))).status == 401
    assert site.get("/index.html", bearer(token(signed, "ES256", kid="unknown"))).status == 401
    assert site.get("/index.html", bearer(token(signed, "ES256"))).status == 200


def test_crit(site: Guarded) -> None:
    secret = secret_of(key(*KINDS["HS256"]))
    assert site.get("/index.html", bearer(forged({"alg": "HS256", "x": 1}, CLAIMS, secret))).status == 200
    assert site.get("/index.html", bearer(forged({"alg": "HS256", "crit": ["x"], "x": 1}, CLAIMS, secret))).status == 401
    assert site.get("/index.html", bearer(forged({"alg": "HS256", "crit": ["b64"], "b64": False}, CLAIMS, secret))).status == 401


@pytest.mark.parametrize(
    ("claims", "strict", "lenient"),
    [
        ({"exp": 3600}, 200, 200),
        ({"exp": -60}, 401, 200),
        ({"exp": -7200}, 401, 401),
        ({"nbf": -60}, 200, 200),
        ({"nbf": 600}, 401, 200),
        ({"nbf": 7200}, 401, 401),
        ({"exp": 3600, "nbf": -60}, 200, 200),
    ],
)
def test_times(site: Guarded, claims: dict[str, int], strict: int, lenient: int) -> None:
    now = int(time.time())
    for offset in (0, 0.5):  # whole seconds and parts
        signed = bearer(token(key(*KINDS["HS256"]), "HS256", {name: now + value + offset for name, value in claims.items()}))
        assert site.get("/index.html", signed).status == strict
        assert site.get("/leeway/index.html", signed).status == lenient


@pytest.mark.parametrize("value", ["tomorrow", "9999999999", None, True, [], {}, 10**400], ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("name", ["exp", "nbf"])
def test_times_that_are_none(site: Guarded, name: str, value: object) -> None:
    assert site.get("/index.html", bearer(token(key(*KINDS["HS256"]), "HS256", {name: value}))).status == 401


def test_a_remembered_token_expires(site: Guarded) -> None:
    signed = bearer(token(key(*KINDS["HS256"]), "HS256", {"exp": time.time() + 1.5}))
    assert site.get("/index.html", signed).status == 200
    deadline = time.monotonic() + 8
    while site.get("/index.html", signed).status == 200:
        assert time.monotonic() < deadline
    assert site.get("/leeway/index.html", signed).status == 200


def test_places(site: Guarded) -> None:
    signed = token(key(*KINDS["ES256"]), "ES256")
    other = token(key("EC", "P-256", 1), "ES256", kid="other")
    assert site.get("/arg/index.html?token=" + signed).status == 200
    assert site.get("/arg/index.html", bearer(signed)).status == 401
    assert site.get("/off/index.html").status == 200
    assert site.get("/variable/index.html?realm=off").status == 200
    assert site.get("/variable/index.html?realm=x").headers["WWW-Authenticate"] == 'Bearer realm="x"'
    assert site.get("/other/index.html", bearer(signed)).status == 401
    assert site.get("/other/index.html", bearer(other)).status == 200
    assert site.get("/index.html", bearer(other)).status == 401
    assert site.get("/both/index.html", bearer(other)).status == 200
    assert site.get("/both/index.html", bearer(signed)).status == 200
    assert site.get("/any/index.html", bearer(signed)).status == 200
    assert site.get("/any/index.html").status == 401
    assert site.get("/except/index.html").status == 401
    assert site.get("/except/index.html", bearer(signed)).status == 200


def test_key_file_by_variable(site: Guarded) -> None:
    signed = bearer(token(key(*KINDS["ES256"]), "ES256"))
    assert site.get("/chosen/index.html?keys=keys", signed).status == 200
    assert site.get("/chosen/index.html?keys=other", signed).status == 401
    assert site.get("/chosen/index.html?keys=none", signed).status == 500
    assert site.get("/chosen/index.html?keys=broken", signed).status == 500
    assert "broken.json\": not a JSON Web Key Set" in site.log()


def test_require(site: Guarded) -> None:
    signed = bearer(token(key(*KINDS["ES256"]), "ES256"))
    assert site.get("/require/index.html?x=1", signed).status == 200
    assert site.get("/require/index.html?x=0", signed).status == 403
    assert site.get("/require/index.html", signed).status == 403
    assert site.get("/require/index.html?x=1", bearer(token(key(*KINDS["ES256"]), "ES256", {"sub": "x"}))).status == 401
    assert site.get("/require401/index.html", signed).status == 401


def test_keys_rotate(site: Guarded) -> None:
    first, second = key("EC", "P-256", 2), key("EC", "P-256", 3)
    old, new = bearer(token(first, "ES256")), bearer(token(second, "ES256"))
    for text, statuses in (
        (key_set(public(first)), (200, 401)),
        (key_set(public(first), public(second)), (200, 200)),
        (key_set(public(second)), (401, 200)),
        ("{}", (500, 500)),
    ):
        (site.folder / "rotating.json").write_text(text)
        assert tuple(site.get("/rotating/index.html", headers).status for headers in (old, new)) == statuses


def test_no_token_reaches_a_log(site: Guarded) -> None:
    signed = token(key("EC", "P-256", 8), "ES256", {"sub": "somebody-secret"})
    assert site.get("/index.html", bearer(signed)).status == 401
    log = site.log()
    assert "JWT authentication: the signature is wrong" in log
    for part in (*signed.split(".")[1:], "somebody-secret"):
        assert part not in log


RSA_1 = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}


@pytest.mark.parametrize(
    ("server", "keys", "message"),
    [
        ("auth_jwt r;", None, 'no "auth_jwt_key_file" is defined for "auth_jwt"'),
        ("auth_jwt r; auth_jwt_key_file none;", None, "No such file"),
        ("auth_jwt r; auth_jwt_key_file keys;", "no json", "not a JSON Web Key Set"),
        ("auth_jwt r; auth_jwt_key_file keys;", "[" * 100_000, "not a JSON Web Key Set"),
        ("auth_jwt r; auth_jwt_key_file keys;", "{}", "not a JSON Web Key Set"),
        ("auth_jwt r; auth_jwt_key_file keys;", '{"keys": [5]}', "key 1 is not an object"),
        ("auth_jwt r; auth_jwt_key_file keys;", '{"keys": []}', "no key in it can verify"),
        ("auth_jwt r; auth_jwt_key_file keys;", key_set({"kty": "new"}), "no key in it can verify"),
        ("auth_jwt r; auth_jwt_key_file keys;", key_set({"kty": "oct", "k": "AAAA", "use": "enc"}), "no key in it can verify"),
        ("auth_jwt r; auth_jwt_key_file keys;", key_set({"kty": "oct", "k": "AAAA"}, RSA_1), "key 2: "),
        ("auth_jwt r; auth_jwt_key_file keys;", key_set({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "key 1: "),
        ("auth_jwt r; auth_jwt_key_file keys;", key_set({"kty": "oct", "k": "!"}), "key 1: "),
        ("auth_jwt r other;", None, 'invalid parameter "other"'),
        ("auth_jwt r token=x;", None, 'invalid parameter "token=x"'),
        ("auth_jwt_require x;", None, 'invalid parameter "x"'),
        ("auth_jwt_require $uri error=500;", None, 'invalid parameter "error=500"'),
        ("auth_jwt_require error=401;", None, "no value"),
        ("auth_jwt_type nested;", None, "not supported"),
        ("auth_jwt_type other;", None, 'invalid value "other"'),
        ("auth_jwt_leeway x;", None, "invalid value"),
    ],
)
def test_mistakes(server: str, keys: str | None, message: str) -> None:
    code, said = checked({} if keys is None else {"keys": keys}, server)
    assert code == 1
    assert message in said
    assert "in FOLDER/portico.conf:1" in said
    assert "Traceback" not in said


def test_a_variable_of_another() -> None:
    code, said = checked({}, "", "auth_jwt_claim_set $uri sub;")
    assert code == 1
    assert 'the duplicate "uri" variable' in said
