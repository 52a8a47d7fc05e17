"""`auth_oidc` against a real provider process, with a browser-like client that follows redirects and keeps cookies."""

from __future__ import annotations

import json
import re
import ssl
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.processes import Process, free_port, wait_until
from tests.system.guarded import Guarded, guarded

from portico.net.certificates import self_signed

HTTP = """
auth_jwt_claim_set $mail email;
map $oidc_claim_email $is_ann { ann@example.com 1; }
log_format who '$remote_addr "$request" $status $oidc_claim_sub';
access_log @FOLDER@/access.log who;
oidc_provider idp {
    issuer https://127.0.0.1:@IDP@; client_id portico; client_secret client-secret-1; ssl_trusted_certificate @FOLDER@/cert.pem;
    scope openid email profile; logout_uri /logout; post_logout_uri /bye; logout_token_hint on; userinfo on;
}
oidc_provider other {
    issuer https://127.0.0.1:@IDP@; client_id other; client_secret client-secret-2; ssl_trusted_certificate @FOLDER@/cert.pem;
    redirect_uri /other/callback;
}
oidc_provider brief {
    issuer https://127.0.0.1:@IDP@; client_id brief; client_secret client-secret-3; ssl_trusted_certificate @FOLDER@/cert.pem;
    cookie_name BRIEF; redirect_uri /brief_callback; session_timeout 2s;
}
oidc_provider changing {
    issuer https://127.0.0.1:@IDP2@; client_id changing; client_secret client-secret-4; ssl_trusted_certificate @FOLDER@/cert.pem;
    cookie_name CHANGING; redirect_uri /changing_callback; scope openid email;
}
oidc_provider untrusted { issuer https://127.0.0.1:@IDP@; client_id x; cookie_name U; redirect_uri /untrusted_callback; }
oidc_provider misnamed {
    issuer https://localhost:@IDP@; client_id x; ssl_trusted_certificate @FOLDER@/cert.pem; cookie_name M;
    redirect_uri /misnamed_callback;
}
oidc_provider nobody { issuer http://127.0.0.1:@NOBODY@; client_id x; cookie_name N; redirect_uri /nobody_callback; }
server {
    listen 127.0.0.1:@TLS@ ssl;
    ssl_certificate @FOLDER@/cert.pem;
    ssl_certificate_key @FOLDER@/key.pem;
    root @FOLDER@;
    location / { auth_oidc idp; add_header X-Sub $oidc_claim_sub; }
    location = /bye { return 200 "bye\\n"; }
}
"""
SERVER = """
    location / { auth_oidc idp; add_header X-Sub $oidc_claim_sub; }
    location /app/ {
        auth_oidc idp; auth_jwt off token=$oidc_id_token;
        proxy_set_header X-Sub $oidc_claim_sub; proxy_set_header X-Name $oidc_claim_name;
        proxy_set_header X-Groups $oidc_claim_groups;
        proxy_set_header X-Mail $mail; proxy_set_header X-Token $oidc_access_token; proxy_set_header X-Info $oidc_userinfo;
        proxy_pass http://127.0.0.1:@PORT@/echo/;
    }
    location /echo/ { return 200 "$http_x_sub|$http_x_name|$http_x_groups|$http_x_mail|$http_x_injected|$http_x_token|$http_x_info"; }
    location /other/ { auth_oidc other; add_header X-Sub $oidc_claim_sub; alias @FOLDER@/; }
    location /brief/ { auth_oidc brief; alias @FOLDER@/; }
    location /changing/ { auth_oidc changing; add_header X-Token $oidc_access_token; alias @FOLDER@/; }
    location /untrusted/ { auth_oidc untrusted; alias @FOLDER@/; }
    location /misnamed/ { auth_oidc misnamed; alias @FOLDER@/; }
    location /nobody/ { auth_oidc nobody; alias @FOLDER@/; }
    location /open/ { return 200 "[$oidc_claim_sub]"; }
    location /off/ { auth_oidc off; alias @FOLDER@/; }
    location /chosen/ { auth_oidc $arg_who; alias @FOLDER@/; }
    location /required/ { auth_oidc idp; auth_require $is_ann; alias @FOLDER@/; }
    location /accel/ { auth_oidc changing; proxy_pass http://127.0.0.1:@PORT@/sends_on/; }
    location /sends_on/ { add_header X-Accel-Redirect /off/index.html; add_header Set-Cookie a=b; return 200 x; }
    location /any/ {
        satisfy any; allow 192.0.2.1; deny all; auth_oidc idp; auth_basic x; auth_basic_user_file users; alias @FOLDER@/;
    }
    location /rewritten/ { auth_oidc idp; if ($oidc_claim_sub = ann) { return 200 "ann is here"; } return 200 "who is it"; }
    location = /bye { return 200 "bye\\n"; }
"""


class Ground:
    """A provider (two: the second's tokens last a second), and Portico in front of a file."""

    def __init__(self, site: Guarded, idp: int, idp2: int, tls: int) -> None:
        self.site = site
        self.idp = f"https://127.0.0.1:{idp}"
        self.idp2 = f"https://127.0.0.1:{idp2}"
        self.url = f"http://127.0.0.1:{site.port}"
        self.secure_url = f"https://127.0.0.1:{tls}"
        self.context = ssl.create_default_context(cafile=str(site.folder / "cert.pem"))

    def browser(self) -> httpx.Client:
        """A new browser."""
        return httpx.Client(verify=self.context, timeout=20, follow_redirects=False)

    def seen(self, idp: str) -> list[dict[str, str]]:
        """What the provider was asked."""
        with self.browser() as browser:
            found: list[dict[str, str]] = browser.get(f"{idp}/seen").json()
            return found


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("provider")
    certificate, key = self_signed(["127.0.0.1"], 1)
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    idp, idp2, tls, nobody = (free_port() for _ in range(4))
    with provider(folder, idp, 3600) as first, provider(folder, idp2, 1) as second:
        first.wait_listening(idp)
        second.wait_listening(idp2)
        files = {"cert.pem": certificate.decode(), "key.pem": key.decode(), "users": "bob:{PLAIN}password"}
        http = HTTP
        for name, port in (("@IDP@", idp), ("@IDP2@", idp2), ("@TLS@", tls), ("@NOBODY@", nobody)):
            http = http.replace(name, str(port))
        with guarded(files, SERVER, http, workers=2) as site:
            yield Ground(site, idp, idp2, tls)


def provider(folder: Path, port: int, seconds: int) -> Process:
    words = ["-m", "tests.system.oidc_provider", str(port), f"{folder}/cert.pem", f"{folder}/key.pem", str(seconds)]
    root = Path(__file__).parents[2]
    return Process([sys.executable, *words], folder / f"output-{port}", cwd=root)


def at_provider(browser: httpx.Client, url: str) -> str:
    """Ask for a page: the URL at the provider that the browser is sent to."""
    answer = browser.get(url)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.headers["Location"]


def authorize(browser: httpx.Client, authorization: str, user: str = "ann") -> str:
    """Sign in at the provider: the URL of the callback."""
    assert browser.get(authorization).status_code == 200
    answer = browser.post(authorization, data={"sub": user})
    assert answer.status_code == 302, answer.text
    return answer.headers["Location"]


def sign_in(browser: httpx.Client, url: str, user: str = "ann") -> httpx.Response:
    """All of it: the answer to the request that follows the callback."""
    answer = browser.get(authorize(browser, at_provider(browser, url), user))
    assert answer.status_code == 302, answer.text
    return browser.get(answer.headers["Location"])


def arguments(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


# -- signing in


def test_the_way_to_the_provider(ground: Ground) -> None:
    with ground.browser() as browser:
        first = at_provider(browser, f"{ground.url}/index.html?a=b")
        assert first.startswith(f"{ground.idp}/oauth2/authorize?")
        given = arguments(first)
        assert given["response_type"] == "code"
        assert given["client_id"] == "portico"
        assert given["scope"] == "openid email profile"
        assert given["redirect_uri"] == f"{ground.url}/oidc_callback"
        assert given["code_challenge_method"] == "S256"
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", given["code_challenge"])
        again = arguments(at_provider(browser, f"{ground.url}/index.html?a=b"))
        for name in ("state", "nonce", "code_challenge"):
            assert given[name] != again[name]


def test_signing_in(ground: Ground) -> None:
    with ground.browser() as browser:
        answer = sign_in(browser, f"{ground.url}/index.html?a=b")
        assert (answer.status_code, answer.text, answer.headers["X-Sub"]) == (200, "the file\n", "ann")
        assert str(answer.url) == f"{ground.url}/index.html?a=b"
        for _ in range(6):  # any worker knows the session
            assert browser.get(f"{ground.url}/index.html").headers["X-Sub"] == "ann"


def test_cookies(ground: Ground) -> None:
    for url, secure in ((ground.url, False), (ground.secure_url, True)):
        with ground.browser() as browser:
            answer = browser.get(f"{url}/index.html")
            login = answer.headers["Set-Cookie"]
            assert login.startswith("__Host-NGX_OIDC_SESSION_LOGIN=" if secure else "NGX_OIDC_SESSION_LOGIN=")
            answer = browser.get(authorize(browser, answer.headers["Location"]))
            cookies = [login, *answer.headers.get_list("Set-Cookie")]
            assert len(cookies) == 3
            for cookie in cookies:
                assert "; HttpOnly; SameSite=Lax" in cookie and "; Path=/" in cookie and "Domain" not in cookie
                assert cookie.endswith("; Secure") is secure
                assert "eyJ" not in cookie and "ann" not in cookie and len(cookie) < 4096
            assert browser.get(answer.headers["Location"]).headers["X-Sub"] == "ann"


def test_claims_as_variables(ground: Ground) -> None:
    with ground.browser() as browser:
        answer = sign_in(browser, f"{ground.url}/app/")
        sub, name, groups, mail, injected, token, info = answer.text.split("|")
        assert (sub, groups, mail, injected) == ("ann", "a,b", "ann@example.com", "")
        assert "\n" not in name and name.startswith("Ann")
        assert len(token) > 20
        assert json.loads(info)["email"] == "ann@example.com"
        assert browser.get(f"{ground.url}/open/").text == "[]"
        assert browser.get(f"{ground.url}/rewritten/").text == "ann is here"
    with ground.browser() as browser:
        assert browser.get(f"{ground.url}/rewritten/").text == "who is it"


def test_several_tabs(ground: Ground) -> None:
    """Logins that are under way at the same time end where each of them began."""
    with ground.browser() as browser:
        first = authorize(browser, at_provider(browser, f"{ground.url}/index.html?tab=1"))
        second = authorize(browser, at_provider(browser, f"{ground.url}/index.html?tab=2"))
        assert browser.get(second).headers["Location"] == f"{ground.url}/index.html?tab=2"
        assert browser.get(first).headers["Location"] == f"{ground.url}/index.html?tab=1"
        assert browser.get(f"{ground.url}/index.html?tab=1").status_code == 200


def test_long_session(ground: Ground) -> None:
    with ground.browser() as browser:
        assert sign_in(browser, f"{ground.url}/index.html", "long").headers["X-Sub"] == "long"
    with ground.browser() as browser:
        answer = browser.get(authorize(browser, at_provider(browser, f"{ground.url}/index.html"), "huge"))
        assert answer.status_code == 500
        assert "large_client_header_buffers are of 8192 bytes" in ground.site.log()


def test_places(ground: Ground) -> None:
    with ground.browser() as browser:
        assert browser.get(f"{ground.url}/off/index.html").status_code == 200
        assert browser.get(f"{ground.url}/chosen/index.html?who=off").status_code == 200
        assert browser.get(f"{ground.url}/chosen/index.html?who=unknown").status_code == 500
        assert arguments(at_provider(browser, f"{ground.url}/chosen/index.html?who=other"))["client_id"] == "other"
        assert browser.post(f"{ground.url}/index.html").status_code == 401
        assert browser.get(f"{ground.url}/any/index.html", auth=("bob", "password")).status_code == 200
        at_provider(browser, f"{ground.url}/any/index.html")
        assert browser.get(f"{ground.url}/untrusted/index.html").status_code == 502
        assert browser.get(f"{ground.url}/misnamed/index.html").status_code == 502
        assert browser.get(f"{ground.url}/nobody/index.html").status_code == 502
        log = ground.site.log()
        assert "certificate verify error" in log
        assert 'SSL certificate does not match "localhost"' in log
        assert 'oidc_provider "nobody": 127.0.0.1:' in log
        sign_in(browser, f"{ground.url}/any/index.html")
        assert browser.get(f"{ground.url}/any/index.html").status_code == 200
        assert browser.post(f"{ground.url}/index.html").status_code == 405  # of the file


def test_who_may(ground: Ground) -> None:
    for user, status in (("ann", 200), ("bea", 403)):
        with ground.browser() as browser:
            assert sign_in(browser, f"{ground.url}/required/index.html", user).status_code == status
    assert 'access forbidden: auth_require "$is_ann"' in ground.site.log()


def test_the_user_refuses(ground: Ground) -> None:
    with ground.browser() as browser:
        authorization = at_provider(browser, f"{ground.url}/index.html")
        answer = browser.post(authorization, data={"action": "deny"})
        callback = answer.headers["Location"] + f"&state={arguments(authorization)['state']}"
        assert browser.get(callback).status_code == 403
        assert "the login was refused: access_denied" in ground.site.log()


# -- the end of sessions


def test_logout(ground: Ground) -> None:
    with ground.browser() as browser:
        sign_in(browser, f"{ground.url}/index.html")
        stolen = dict(browser.cookies)
        answer = browser.get(f"{ground.url}/logout")
        assert answer.status_code == 302
        given = arguments(answer.headers["Location"])
        assert answer.headers["Location"].startswith(f"{ground.idp}/oauth2/end_session?")
        assert given["client_id"] == "portico"
        assert given["post_logout_redirect_uri"] == f"{ground.url}/bye"
        assert given["id_token_hint"].count(".") == 2
        assert browser.get(answer.headers["Location"]).status_code == 200
        assert browser.get(given["post_logout_redirect_uri"]).text == "bye\n"
        at_provider(browser, f"{ground.url}/index.html")
    with ground.browser() as thief:
        thief.cookies.update(stolen)
        for _ in range(6):  # no worker takes it any more
            assert thief.get(f"{ground.url}/index.html").status_code == 302


def test_a_session_times_out(ground: Ground) -> None:
    with ground.browser() as browser:
        assert sign_in(browser, f"{ground.url}/brief/index.html").status_code == 200
        wait_until(lambda: browser.get(f"{ground.url}/brief/index.html").status_code == 302, 10, "the session to end")


def test_tokens_are_refreshed(ground: Ground) -> None:
    with ground.browser() as browser:
        first = sign_in(browser, f"{ground.url}/changing/index.html").headers["X-Token"]
        seen = len(ground.seen(ground.idp2))

        def refreshed() -> bool:
            answer = browser.get(f"{ground.url}/changing/index.html")
            assert answer.status_code == 200
            return answer.headers["X-Token"] != first

        wait_until(refreshed, 15, "new tokens")
        grants = ground.seen(ground.idp2)[seen:]
        assert {"grant": "refresh_token"} in grants
        assert {"grant": "authorization_code"} not in grants
        assert browser.get(f"{ground.url}/changing/index.html").status_code == 200


def test_new_tokens_reach_the_browser_with_whatever_answer(ground: Ground) -> None:
    with ground.browser() as browser:
        sign_in(browser, f"{ground.url}/changing/index.html")

        def refreshed() -> bool:
            answer = browser.get(f"{ground.url}/accel/")
            assert (answer.status_code, answer.text) == (200, "the file\n")
            cookies = answer.headers.get_list("Set-Cookie")
            assert cookies[-1] == "a=b"
            return any(cookie.startswith("CHANGING=") for cookie in cookies)

        wait_until(refreshed, 15, "new cookies")


def test_many_requests_refresh_once(ground: Ground) -> None:
    with ground.browser() as browser:
        sign_in(browser, f"{ground.url}/changing/index.html")
        cookies = dict(browser.cookies)
    seen = len(ground.seen(ground.idp2))
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + 1.1, 10, "the end of the tokens' time, of which nothing tells")

    def ask(number: int) -> int:
        with ground.browser() as other:
            other.cookies.update(cookies)
            return other.get(f"{ground.url}/changing/index.html").status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(16))) == {200}
    assert ground.seen(ground.idp2)[seen:].count({"grant": "refresh_token"}) == 1


def test_a_refresh_that_is_refused_ends_the_session(ground: Ground) -> None:
    with ground.browser() as browser:
        sign_in(browser, f"{ground.url}/changing/index.html", "bea")
        assert browser.post(f"{ground.idp2}/users/bea/revoke-tokens").status_code == 204
        wait_until(lambda: browser.get(f"{ground.url}/changing/index.html").status_code == 302, 15, "the session to end")
        assert sign_in(browser, f"{ground.url}/changing/index.html", "bea").status_code == 200


def test_sessions_outlive_a_reload(ground: Ground) -> None:
    with ground.browser() as browser:
        sign_in(browser, f"{ground.url}/index.html")
        before = set(ground.site.workers())
        ground.site.process.send(1)
        wait_until(lambda: not before & set(ground.site.workers()), 20, "new workers")
        assert browser.get(f"{ground.url}/index.html").status_code == 200


# -- attacks


def test_another_browser_cannot_finish_a_login(ground: Ground) -> None:
    with ground.browser() as attacker, ground.browser() as victim:
        callback = authorize(attacker, at_provider(attacker, f"{ground.url}/index.html"))
        assert victim.get(callback).status_code == 400
        at_provider(victim, f"{ground.url}/index.html")  # also while the victim has a login of its own under way
        assert victim.get(callback).status_code == 400
        assert attacker.get(callback).status_code == 302


def test_a_callback_counts_once(ground: Ground) -> None:
    with ground.browser() as browser:
        callback = authorize(browser, at_provider(browser, f"{ground.url}/index.html"))
        cookies = dict(browser.cookies)
        assert browser.get(callback).status_code == 302
        again = browser.get(callback)
        assert (again.status_code, again.headers["Location"]) == (302, f"{ground.url}/index.html")
        assert "Set-Cookie" not in again.headers
    with ground.browser() as replayed:  # with the cookies of the moment before: the provider does not take the code again
        replayed.cookies.update(cookies)
        assert replayed.get(callback).status_code == 403
    assert "the code was refused: invalid_grant" in ground.site.log()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state[:-1] + ("A" if state[-1] != "A" else "B"),
        lambda state: ("A" if state[0] != "A" else "B") + state[1:],
        lambda state: state[: len(state) // 2],
        lambda state: "",
        lambda state: "x" * 5000,
        lambda state: "%00%ff%0d%0aX: y",
    ],
)
def test_tampered_state(ground: Ground, change: object) -> None:
    assert callable(change)
    with ground.browser() as browser:
        callback = authorize(browser, at_provider(browser, f"{ground.url}/index.html"))
        state = arguments(callback)["state"]
        assert browser.get(callback.replace(state, change(state))).status_code == 400


@pytest.mark.parametrize(
    "query", ["", "?", "?code=x", "?state=x&state=y&code=x", "?error=x", "?code=%0d%0a&state=%0d%0a", "?" + "a&" * 100, "?%ff=%ff"]
)
def test_malformed_callbacks(ground: Ground, query: str) -> None:
    with ground.browser() as browser:
        assert browser.get(f"{ground.url}/oidc_callback{query}").status_code == 400
        assert browser.post(f"{ground.url}/oidc_callback{query}").status_code == 405


def test_no_open_redirect(ground: Ground) -> None:
    with ground.browser() as browser:
        for path in ("//evil.example/x", "/\\evil.example", "/%0d%0aX:%20y", "/.//evil.example"):
            callback = authorize(browser, at_provider(browser, ground.url + path))
            location = browser.get(callback).headers["Location"]
            assert urlsplit(location).netloc == urlsplit(ground.url).netloc
            assert browser.get(f"{ground.url}/logout").status_code == 302
        assert browser.get(f"{ground.url}/logout?post_logout_redirect_uri=https://evil.example/").headers["Location"].startswith(ground.idp)


def shown(ground: Ground, session: str) -> int:
    """The status of an answer to who has this session."""
    with ground.browser() as browser:
        return browser.get(f"{ground.url}/index.html", headers={"Cookie": f"NGX_OIDC_SESSION={session}"}).status_code


def test_tampered_cookies(ground: Ground) -> None:
    with ground.browser() as browser:
        sign_in(browser, f"{ground.url}/index.html")
        good = browser.cookies["NGX_OIDC_SESSION"]
    places = [0, 1, 2, 3, len(good) // 2, len(good) - 1]
    forged = [good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :] for place in places]
    for value in [*forged, good[:-1], good + "A", "", "1.", "9." + good[2:], "2." + good[2:], "1.eyJ.x.y", "a" * 3000]:
        assert shown(ground, value) == 302, value
    assert shown(ground, good) == 200


def test_cookies_of_another_provider(ground: Ground) -> None:
    with ground.browser() as browser:
        sign_in(browser, f"{ground.url}/index.html")
        given = arguments(at_provider(browser, f"{ground.url}/other/index.html"))
        assert given["client_id"] == "other"
        state = arguments(authorize(browser, at_provider(browser, f"{ground.url}/other/index.html")))["state"]
        assert browser.get(f"{ground.url}/oidc_callback?code=x&state={state}").status_code == 400
        assert sign_in(browser, f"{ground.url}/other/index.html").headers["X-Sub"] == "ann"


def test_sealed_texts_of_one_kind_are_none_of_another(ground: Ground) -> None:
    with ground.browser() as browser:
        state = arguments(at_provider(browser, f"{ground.url}/index.html"))["state"]
        answer = browser.get(f"{ground.url}/index.html", headers={"Cookie": f"NGX_OIDC_SESSION=1.{state}"})
        assert answer.status_code == 302


def test_a_browser_without_cookies_is_not_sent_round_for_ever(ground: Ground) -> None:
    with ground.browser() as browser:
        authorization = at_provider(browser, f"{ground.url}/index.html")
        callback = authorize(browser, authorization)
        browser.cookies.clear()
        assert browser.get(callback).status_code == 400


def test_logins_without_a_session_are_bounded(ground: Ground) -> None:
    """A browser that keeps the small cookie and never the session."""
    with ground.browser() as browser:
        rounds = 0
        while rounds < 30:
            answer = browser.get(f"{ground.url}/index.html")
            if answer.status_code == 500:
                break
            browser.get(authorize(browser, answer.headers["Location"]))
            rounds += 1
            for name in list(browser.cookies):
                if not name.endswith("_LOGIN"):
                    browser.cookies.delete(name)
        assert (answer.status_code, rounds) == (500, 10)


def test_no_secret_in_a_log(ground: Ground) -> None:
    with ground.browser() as browser:
        callback = authorize(browser, at_provider(browser, f"{ground.url}/app/"))
        tokens = browser.get(browser.get(callback).headers["Location"]).text.split("|")
        session = browser.cookies["NGX_OIDC_SESSION"]
        browser.get(f"{ground.url}/oidc_callback?code=secret-code-1&state=secret-state-1")
    given = arguments(callback)
    log = ground.site.log()
    for secret in ("client-secret", given["code"], given["state"], tokens[5], session[:40], "secret-code-1", "secret-state-1", "eyJ"):
        assert secret not in log
    assert '"GET /oidc_callback HTTP/1.1" 302' in log
