"""`auth_oidc` and a provider that lies, breaks off, or is slow; logouts that the provider asks for; providers of both secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwk, jws
from tests.processes import wait_until
from tests.system.guarded import Guarded, checked, guarded

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")

KEY = jwk.RSAKey.generate_key(2048, {"kid": "one"})
OTHER_KEY = jwk.RSAKey.generate_key(2048, {"kid": "one"})
SECRET = jwk.OctKey.generate_key(256, {"kid": "shared"})
Change = Callable[["Rogue"], None]


class Rogue:
    """A provider on plain HTTP whose every answer can be changed."""

    def __init__(self) -> None:
        outer = self
        self.asked: list[tuple[str, dict[str, str], str]] = []
        self.gate = threading.Event()
        self.gate.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                outer.asked.append((self.path, dict(self.headers), body))
                outer.gate.wait(10)
                status, fields, content = outer.answer(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **fields}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.reset("")

    def reset(self, nonce: str, client: str = "portico") -> None:
        """Honest again, for a login with this nonce."""
        now = int(time.time())
        self.claims: dict[str, Any] = {
            "iss": self.issuer, "aud": client, "sub": "ann", "nonce": nonce, "iat": now, "exp": now + 600, "sid": "session-1",
        }  # fmt: skip
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.key: Any = KEY
        self.keys = [KEY.as_dict(private=False)]
        self.tokens: dict[str, Any] = {"access_token": "access", "token_type": "Bearer", "expires_in": 3600}
        self.token_status = 200
        self.fields: dict[str, str] = {}
        self.raw: dict[str, bytes] = {}
        self.userinfo: object = {"sub": "ann", "team": "blue"}

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?fixed=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path in self.raw:
            return 200, self.fields, self.raw[path]
        if path == "/token":
            tokens = {"id_token": self.id_token(), **self.tokens}
            return self.token_status, self.fields, json.dumps({k: v for k, v in tokens.items() if v is not None}).encode()
        if path == "/keys":
            return 200, {}, json.dumps({"keys": self.keys}).encode()
        if path == "/userinfo":
            return 200, {}, json.dumps(self.userinfo).encode()
        if path == "/.well-known/openid-configuration":
            return 200, {}, json.dumps(self.metadata()).encode()
        return 404, {}, b""

    def id_token(self) -> str:
        payload = json.dumps(self.claims).encode()
        if isinstance(self.key, bytes):  # an HMAC of our own making, or no signature at all
            signed = encoded(json.dumps(self.header).encode()) + "." + encoded(payload)
            return signed + "." + (encoded(hmac.digest(self.key, signed.encode(), hashlib.sha256)) if self.key else "")
        return jws.serialize_compact(self.header, payload, self.key, algorithms=[self.header["alg"]])

    def stop(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


HTTP = """
oidc_provider rogue {
    issuer @IDP@; client_id portico; client_secret "a secret:/+&"; userinfo on; frontchannel_logout_uri /signed_out;
}
oidc_provider public { issuer @IDP@; client_id public; redirect_uri /public_callback; cookie_name P; logout_uri /bye; pkce off; }
oidc_provider turning { issuer @IDP@; client_id portico; redirect_uri /turning_callback; cookie_name T; }
auth_oidc rogue;
limit_req_zone $arg_flood zone=flood:1m rate=1r/m;
"""
LIAR = "oidc_provider liar@N@ { issuer @IDP@/liar@N@; client_id x; redirect_uri /liar@N@_callback; cookie_name L@N@; }"
SERVER = """
    limit_req zone=flood;
    add_header X-Team $oidc_claim_team;
    location /public/ { auth_oidc public; alias @FOLDER@/; }
    location /turning/ { auth_oidc turning; alias @FOLDER@/; }
    location /off/ { auth_oidc off; alias @FOLDER@/; }
"""


class Ground:
    """A rogue provider, and Portico."""

    def __init__(self, site: Guarded, rogue: Rogue) -> None:
        self.site = site
        self.rogue = rogue
        self.url = f"http://127.0.0.1:{site.port}"

    def leave(self, browser: httpx.Client, path: str = "/index.html") -> tuple[str, str]:
        """Begin to sign in: state and nonce."""
        answer = browser.get(self.url + path)
        assert answer.status_code == 302, answer.text
        given = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
        assert given["fixed"] == "1"
        return given["state"], given["nonce"]

    def asked_for_tokens(self) -> tuple[dict[str, str], str]:
        """The header and the body of the last request for tokens."""
        _, fields, body = next(entry for entry in reversed(self.rogue.asked) if entry[0] == "/token")
        return fields, body

    def sign_in(
        self, browser: httpx.Client, change: Change | None = None, more: str = "",
        at: str = "/index.html", back: str = "/oidc_callback",
    ) -> httpx.Response:  # fmt: skip
        """Sign in: the callback's answer."""
        state, nonce = self.leave(browser, at)
        self.rogue.reset(nonce)
        if change is not None:
            change(self.rogue)
        return browser.get(f"{self.url}{back}?code=c&state={state}{more}")


def new_browser() -> httpx.Client:
    """A new browser. All is plain HTTP, so it need not read the authorities of the system."""
    return httpx.Client(verify=False)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    rogue = Rogue()
    try:
        liars = [LIAR.replace("@N@", str(number)) for number in range(len(METADATA))]
        places = [f"location /liar{number}/ {{ auth_oidc liar{number}; alias @FOLDER@/; }}" for number in range(len(METADATA))]
        http = "".join([HTTP, *liars]).replace("@IDP@", rogue.issuer)
        with guarded({}, SERVER + "".join(places), http) as site:
            yield Ground(site, rogue)
    finally:
        rogue.stop()


def claims(**values: object) -> Change:
    return lambda rogue: rogue.claims.update(values)


def without(name: str) -> Change:
    return lambda rogue: rogue.claims.pop(name)


def tokens(**values: object) -> Change:
    return lambda rogue: rogue.tokens.update(values)


def forged(algorithm: str, key: object) -> Change:
    def change(rogue: Rogue) -> None:
        rogue.header["alg"] = algorithm
        rogue.key = key

    return change


def published_secret(rogue: Rogue) -> None:
    """A key set with a secret in it: whoever reads it could sign."""
    rogue.keys = [KEY.as_dict(private=False), SECRET.as_dict()]
    rogue.header = {"alg": "HS256", "kid": "shared"}
    rogue.key = SECRET


def critical(rogue: Rogue) -> None:
    rogue.header = {"alg": "HS256", "crit": ["x"]}
    rogue.key = b"x"


PEM: bytes = KEY.as_pem(private=False)
HALF = encoded(hashlib.sha256(b"access").digest()[:16])
BELIEVED: list[Change | None] = [
    None,
    claims(aud=["portico"]),
    claims(aud=["portico", "z"], azp="portico"),
    claims(azp="portico"),
    claims(at_hash=HALF),
    claims(exp=time.time() + 600.5),
    tokens(token_type="bearer", expires_in="3600"),
    tokens(expires_in=None),
]
NOT_BELIEVED: list[tuple[Change, str]] = [
    (claims(iss="http://other.example"), '"iss" is another issuer'),
    (claims(aud="other"), '"aud" is another client'),
    (claims(aud=["other"]), '"aud" is another client'),
    (claims(aud=None), '"aud" is another client'),
    (claims(aud=["portico", "other"]), '"azp" is another client'),
    (claims(azp="other"), '"azp" is another client'),
    (claims(nonce="other"), '"nonce" is not that of this login'),
    (without("nonce"), '"nonce" is not that of this login'),
    (claims(nonce=5), '"nonce" is not that of this login'),
    (claims(nonce="\ud800"), '"nonce" is not that of this login'),
    (claims(exp=1), "the token has expired"),
    (without("exp"), 'there is no "exp"'),
    (claims(exp="soon"), '"exp" is not a number'),
    (without("iat"), 'there is no "iat"'),
    (claims(iat=time.time() + 3600), '"iat" is in the future'),
    (claims(nbf=time.time() + 3600), "the token is not valid yet"),
    (without("sub"), 'there is no "sub"'),
    (claims(sub=["ann"]), 'there is no "sub"'),
    (claims(at_hash="x"), '"at_hash" is not that of the access token'),
    (forged("RS256", OTHER_KEY), "the signature is wrong"),
    (forged("none", b""), "the token has no algorithm that is accepted"),
    (forged("None", b""), "the token has no algorithm that is accepted"),
    (forged("HS256", PEM), "no key for a token with HS256"),
    (forged("HS256", PEM.strip()), "no key for a token with HS256"),
    (forged("HS256", b"a secret:/+&"), "no key for a token with HS256"),
    (published_secret, "no key for a token with HS256"),
    (critical, 'the token has a "crit" header'),
    (tokens(id_token="x.y.z"), "the token is not base64url"),
    (tokens(id_token="a.b.c.d.e"), "the token is encrypted"),
]
UNUSABLE: list[tuple[Change, str]] = [
    (tokens(id_token=None), "the token endpoint gave no ID token"),
    (tokens(access_token=None), "there is no access token"),
    (tokens(access_token=""), "there is no access token"),
    (tokens(access_token="a\r\nX-Injected: yes"), '"access_token" is no token'),
    (tokens(access_token=["a"]), '"access_token" is no token'),
    (tokens(access_token="a" * 20000), '"access_token" is no token'),
    (tokens(token_type="mac"), '"token_type" is not Bearer'),
    (lambda rogue: setattr(rogue, "token_status", 500), "the token endpoint answered 500"),
    (lambda rogue: setattr(rogue, "token_status", 302), "the token endpoint answered 302"),
    (lambda rogue: rogue.raw.update({"/token": b"no json"}), "cannot be used"),
    (lambda rogue: rogue.raw.update({"/token": b"[" * 100000}), "cannot be used"),
    (lambda rogue: rogue.raw.update({"/token": b" " * 1100000}), "longer than 1048576 bytes"),
    (lambda rogue: rogue.fields.update({"Content-Length": "999999"}), "truncated"),
    (lambda rogue: rogue.fields.update({"Content-Encoding": "gzip"}), "is compressed though it was asked not to be"),
    (lambda rogue: setattr(rogue, "userinfo", {"sub": "bob"}), "the UserInfo endpoint speaks of another user"),
    (lambda rogue: setattr(rogue, "userinfo", []), "the answer of the UserInfo endpoint cannot be used"),
    (lambda rogue: rogue.raw.update({"/userinfo": '{"sub": "ann"}'.encode("utf-16")}), "UserInfo endpoint cannot be used"),
    (lambda rogue: setattr(rogue, "userinfo", {"sub": "ann", "x": "x" * 32768}), "UserInfo endpoint is longer than 32768 bytes"),
]


@pytest.mark.parametrize("number", range(len(BELIEVED)))
def test_believed(ground: Ground, number: int) -> None:
    with new_browser() as browser:
        assert ground.sign_in(browser, BELIEVED[number]).status_code == 302
        answer = browser.get(f"{ground.url}/index.html")
        assert (answer.status_code, answer.headers["X-Team"]) == (200, "blue")


@pytest.mark.parametrize("number", range(len(NOT_BELIEVED)))
def test_not_believed(ground: Ground, number: int) -> None:
    change, reason = NOT_BELIEVED[number]
    refused(ground, change, 403, f"the ID token is not believed: {reason}")


@pytest.mark.parametrize("number", range(len(UNUSABLE)))
def test_unusable(ground: Ground, number: int) -> None:
    change, reason = UNUSABLE[number]
    refused(ground, change, 502, reason)


def refused(ground: Ground, change: Change, status: int, reason: str) -> None:
    errors = ground.site.folder / "error.log"
    before = errors.stat().st_size
    with new_browser() as browser:
        assert ground.sign_in(browser, change).status_code == status
        assert browser.get(f"{ground.url}/index.html").status_code == 302
    log = errors.read_bytes()[before:].decode()
    assert reason in log
    assert "X-Injected" not in log


def test_the_code_is_refused(ground: Ground) -> None:
    def change(rogue: Rogue) -> None:
        rogue.token_status = 400
        rogue.tokens["error"] = "bad\nword"

    with new_browser() as browser:
        assert ground.sign_in(browser, change).status_code == 403
    assert "the code was refused: bad?word" in ground.site.log()


def test_issuer_in_the_callback(ground: Ground) -> None:
    with new_browser() as browser:
        assert ground.sign_in(browser, more="&iss=http%3A%2F%2Fother.example").status_code == 400
        assert ground.sign_in(browser, more=f"&iss={ground.rogue.issuer}").status_code == 302


def test_errors_in_the_callback(ground: Ground) -> None:
    with new_browser() as browser:
        state, _ = ground.leave(browser)
        for query, status in (("error=access_denied", 403), ("error=server_error&error_description=x%0ay", 502), ("", 400)):
            assert browser.get(f"{ground.url}/oidc_callback?state={state}&{query}").status_code == status
    assert "the login was refused: server_error: x?y" in ground.site.log()


def test_keys_rotate(ground: Ground) -> None:
    fresh = jwk.RSAKey.generate_key(2048, {"kid": "two"})

    def change(rogue: Rogue) -> None:
        rogue.header["kid"] = "two"
        rogue.key = fresh
        rogue.keys = [fresh.as_dict(private=False)]

    for rotation in (None, change):
        with new_browser() as browser:
            assert ground.sign_in(browser, rotation, at="/turning/index.html", back="/turning_callback").status_code == 302
            assert browser.get(f"{ground.url}/turning/index.html").status_code == 200


def test_how_the_client_authenticates(ground: Ground) -> None:
    with new_browser() as browser:
        ground.sign_in(browser)
        fields, body = ground.asked_for_tokens()
        given = parse_qs(body)
        assert (given["client_id"], given["client_secret"]) == (["portico"], ["a secret:/+&"])
        assert "Authorization" not in fields
        assert len(given["code_verifier"][0]) == 43
        state, nonce = ground.leave(browser, "/public/index.html")
        ground.rogue.reset(nonce, "public")
        answer = browser.get(f"{ground.url}/public_callback?code=c&state={state}")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"{ground.url}/public/index.html")
        given = parse_qs(ground.asked_for_tokens()[1])
        assert given["client_id"] == ["public"] and "client_secret" not in given and "code_verifier" not in given
        assert browser.get(f"{ground.url}/public/index.html").status_code == 200
        answer = browser.get(f"{ground.url}/bye")  # neither the provider nor the configuration says where to
        assert answer.status_code == 200 and "signed out" in answer.text
        assert browser.get(f"{ground.url}/public/index.html").status_code == 302


def test_logout_by_the_provider(ground: Ground) -> None:
    with new_browser() as browser, new_browser() as frame:
        path = f"{ground.url}/signed_out"
        ground.sign_in(browser)
        for query in (f"iss={ground.rogue.issuer}", "sid=session-1", "iss=http%3A%2F%2Fother&sid=session-1"):
            assert frame.get(f"{path}?{query}").status_code == 400
        assert frame.get(f"{path}?iss={ground.rogue.issuer}&sid=session-2").status_code == 200
        assert frame.get(path).status_code == 200
        assert browser.get(f"{ground.url}/index.html").status_code == 200
        assert frame.get(f"{path}?iss={ground.rogue.issuer}&sid=session-1").status_code == 200
        assert browser.get(f"{ground.url}/index.html").status_code == 302
        ground.sign_in(browser)  # in the provider's same session, later
        assert browser.get(f"{ground.url}/index.html").status_code == 200
        assert browser.get(path).status_code == 200  # by its cookie
        assert browser.get(f"{ground.url}/index.html").status_code == 302


def test_the_provider_s_name_of_a_session_outlives_a_refresh(ground: Ground) -> None:
    """A refreshed ID token need not repeat it; the provider can end the session all the same."""
    rogue = ground.rogue
    with new_browser() as browser:
        ground.sign_in(browser, tokens(refresh_token="again", expires_in=1))
        rogue.claims.pop("sid")
        rogue.tokens["expires_in"] = 3600

        def refreshed() -> bool:
            assert browser.get(f"{ground.url}/index.html").status_code == 200
            return "refresh_token=again" in ground.asked_for_tokens()[1]

        wait_until(refreshed, 10, "a refresh")
        assert browser.get(f"{ground.url}/signed_out?iss={rogue.issuer}&sid=session-1").status_code == 200
        assert browser.get(f"{ground.url}/index.html").status_code == 302


def test_who_refreshes_may_leave(ground: Ground) -> None:
    """The tokens are refreshed once, and whoever waits for them gets them."""
    rogue = ground.rogue
    with new_browser() as browser:
        ground.sign_in(browser, tokens(refresh_token="leaving", expires_in=1))
        rogue.tokens["expires_in"] = 3600
        rogue.gate.clear()
        asked = len(rogue.asked)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        while True:  # until its tokens' time is over, a request is answered at once
            leaving = ground.site.connect()
            leaving.request("GET", "/index.html", headers={"Cookie": cookies})
            leaving.sock.settimeout(0.2)
            try:
                assert leaving.getresponse().status == 200
            except TimeoutError:
                break
            finally:
                leaving.close()
        wait_until(lambda: len(rogue.asked) > asked, 10, "the provider to be asked")
        answers: list[httpx.Response] = []
        waiting = threading.Thread(target=lambda: answers.append(browser.get(f"{ground.url}/index.html", timeout=20)))
        waiting.start()
        rogue.gate.set()
        waiting.join(20)
        assert answers[0].status_code == 200
        assert "NGX_OIDC_SESSION" in answers[0].headers["Set-Cookie"]
        assert sum("refresh_token=leaving" in body for _, _, body in rogue.asked[asked:]) == 1


def test_no_code_in_the_log_of_a_callback_that_is_refused(ground: Ground) -> None:
    with new_browser() as browser:
        for status in (400, 503):  # for its state, then by limit_req
            answer = browser.get(f"{ground.url}/oidc_callback?flood=1&code=secret-code-9&state=secret-state-9")
            assert answer.status_code == status
    log = ground.site.log()
    assert "limiting requests" in log
    assert "secret-code-9" not in log and "secret-state-9" not in log


METADATA: list[tuple[dict[str, Any] | None, str]] = [
    ({"issuer": "http://127.0.0.1:1"}, 'its "issuer" is not the one that is configured'),
    ({"token_endpoint": "http://example.com/token"}, 'its "token_endpoint" is no URL that may be used'),
    ({"token_endpoint": "file:///etc/passwd"}, 'its "token_endpoint" is no URL that may be used'),
    ({"authorization_endpoint": "https://x/\r\nX: y"}, 'its "authorization_endpoint" is no URL that may be used'),
    ({"jwks_uri": None}, 'it has no "jwks_uri"'),
    ({"jwks_uri": 5}, 'its "jwks_uri" is no text'),
    (None, "the metadata cannot be used"),
]


@pytest.mark.parametrize("number", range(len(METADATA)))
def test_metadata(ground: Ground, number: int) -> None:
    metadata, reason = METADATA[number]
    rogue = ground.rogue
    rogue.reset("")
    made = {**rogue.metadata(), "issuer": f"{rogue.issuer}/liar{number}", **(metadata or {})}
    rogue.raw[f"/liar{number}/.well-known/openid-configuration"] = json.dumps(made).encode() if metadata else b"{"
    with new_browser() as browser:
        assert browser.get(f"{ground.url}/liar{number}/index.html").status_code == 502
    assert f'oidc_provider "liar{number}": the metadata cannot be used: ' in ground.site.log()
    assert reason in ground.site.log()


def test_a_slow_provider_stops_nobody_else(ground: Ground) -> None:
    rogue = ground.rogue
    with new_browser() as browser, new_browser() as other:
        state, nonce = ground.leave(browser)
        rogue.reset(nonce)
        rogue.gate.clear()
        answers: list[int] = []
        asking = threading.Thread(
            target=lambda: answers.append(browser.get(f"{ground.url}/oidc_callback?code=c&state={state}", timeout=20).status_code)
        )
        asked = len(rogue.asked)
        asking.start()
        wait_until(lambda: len(rogue.asked) > asked, 10, "the provider to be asked")
        for _ in range(5):
            assert other.get(f"{ground.url}/off/index.html").status_code == 200
        rogue.gate.set()
        asking.join(20)
        assert answers == [302]


PROVIDER = "oidc_provider p { issuer https://id.example.com; client_id c; %s }"


@pytest.mark.parametrize(
    ("http", "message"),
    [
        ("oidc_provider p { client_id c; }", '"issuer" is missing in oidc_provider "p"'),
        ("oidc_provider p { issuer https://id.example.com; }", '"client_id" is missing in oidc_provider "p"'),
        (PROVIDER % "" + PROVIDER % "", 'duplicate oidc_provider "p"'),
        ("oidc_provider off { issuer https://id.example.com; client_id c; }", 'cannot be called "off"'),
        ("oidc_provider p { issuer http://id.example.com; client_id c; }", "only a provider on this machine may"),
        ("oidc_provider p { issuer id.example.com; client_id c; }", 'it must begin with "https://"'),
        ("oidc_provider p { issuer https://; client_id c; }", "it has no host"),
        ("oidc_provider p { issuer https://u@id.example.com; client_id c; }", 'it holds a "@" in its host'),
        ("oidc_provider p { issuer https://id.example.com:99999; client_id c; }", "its port is none"),
        ("oidc_provider p { issuer https://id.example.com/?a; client_id c; }", "an issuer has no query"),
        (PROVIDER % "redirect_uri callback;", 'invalid URI "callback"'),
        (PROVIDER % "redirect_uri //evil.example/;", 'invalid URI "//evil.example/"'),
        (PROVIDER % "redirect_uri /x?y;", 'invalid URI "/x?y"'),
        (PROVIDER % "logout_uri /oidc_callback;", "has one URI for two purposes"),
        (PROVIDER % "post_logout_uri javascript://x;", 'it must begin with "https://"'),
        (PROVIDER % "cookie_name 'a;b';", 'invalid cookie name "a;b"'),
        (PROVIDER % "extra_auth_args 'a b';", 'invalid arguments "a b"'),
        (PROVIDER % "scope email;", '"scope" lacks "openid"'),
        (PROVIDER % "scope 'openid email';", 'invalid scope "openid email"'),
        (PROVIDER % "session_store sessions;", 'there is no key-value database "sessions"'),
        (PROVIDER % "session_timeout 0;", '"session_timeout" directive invalid value'),
        (PROVIDER % "ssl_trusted_certificate none.pem;", "No such file"),
        (PROVIDER % "ssl_trusted_certificate junk;", "no certificate or crl found"),
        (PROVIDER % "ssl_crl junk;", "no certificate or crl found"),
        (PROVIDER % "session_key none;", "No such file"),
        (PROVIDER % "session_key junk;", "must hold 32 random bytes at least"),
        (PROVIDER % "pkce maybe;", 'invalid value "maybe" in "pkce" directive'),
        (PROVIDER % "listen 80;", '"listen" directive is not allowed here'),
        ("auth_oidc q;", 'unknown oidc_provider "q"'),
        ("auth_oidc q;" + PROVIDER % "", "there is: p"),
        ("auth_oidc $nothing;", 'unknown "nothing" variable'),
    ],
)
def test_configuration_errors(http: str, message: str) -> None:
    code, text = checked({"junk": "no certificate"}, "", http)
    assert code == 1
    assert message in text
    assert "portico.conf:" in text and "Traceback" not in text


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("issuer https://two.example; client_id c;", True),
        ("issuer https://two.example; client_id c; redirect_uri /two;", False),
        ("issuer https://one.example; client_id d;", False),
    ],
)
def test_providers_with_one_callback(second: str, told: bool) -> None:
    """Who may be asked on one server."""
    http = f"oidc_provider one {{ issuer https://one.example; client_id c; }} oidc_provider two {{ {second} }}"
    code, text = checked({}, "location /1 { auth_oidc one; } location /2 { auth_oidc two; }", http)
    assert code == 0
    assert ('[warn] oidc_provider "one" and "two" have the same redirect_uri on one server' in text) is told
