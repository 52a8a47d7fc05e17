"""`auth_jwt_key_request`: keys from a subrequest, remembered, rotated, missing; concurrent requests, random names of keys."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from joserfc import jwk, jws
from tests.system.guarded import Guarded, checked, guarded


def new_key(kid: str) -> Any:
    return jwk.ECKey.generate_key("P-256", {"kid": kid})


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


def bearer(key: Any, kid: str | None = None, **claims: object) -> dict[str, str]:
    header = {"alg": "ES256", "kid": kid or key.as_dict()["kid"]}
    return {"Authorization": "Bearer " + jws.serialize_compact(header, json.dumps({"sub": "ann", **claims}).encode(), key)}


class KeyServer:
    """Answers every request with `data`, when `gate` is open, and counts them."""

    def __init__(self) -> None:
        outer = self
        self.data = b"{}"
        self.status = 200
        self.fields: dict[str, str] = {}
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.gate.wait(10)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.data)))
                for name, value in outer.fields.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(outer.data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def reset(self, data: bytes) -> None:
        """Begin anew with these keys."""
        self.data, self.status, self.fields = data, 200, {}
        self.asked.clear()

    def stop(self) -> None:
        """End it."""
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


SERVER = """
    proxy_set_header Connection "";
    proxy_set_header Accept-Encoding "";
    location / { auth_jwt r; auth_jwt_key_request /keys; add_header X-Sub $jwt_claim_sub; }
    location /cached/ { auth_jwt r; auth_jwt_key_request /keys?cached; auth_jwt_key_cache 1h; add_header X-Sub $jwt_claim_sub;
        alias @FOLDER@/; }
    location /rotated/ { auth_jwt r; auth_jwt_key_request /keys?rotated; auth_jwt_key_cache 1h; alias @FOLDER@/; }
    location /flood/ { auth_jwt r; auth_jwt_key_request /keys?flood; auth_jwt_key_cache 1h; alias @FOLDER@/; }
    location /brief/ { auth_jwt r; auth_jwt_key_request /keys?brief; auth_jwt_key_cache 300ms; alias @FOLDER@/; }
    location /together/ { auth_jwt r; auth_jwt_key_request /keys?together; auth_jwt_key_cache 1h; alias @FOLDER@/; }
    location /left/ { auth_jwt r; auth_jwt_key_request /keys?left; auth_jwt_key_cache 1h; alias @FOLDER@/; }
    location /failing/ { auth_jwt r; auth_jwt_key_request /keys?failing; auth_jwt_key_cache 1h; alias @FOLDER@/; }
    location /variable/ { auth_jwt r; auth_jwt_key_request /keys?$arg_k; auth_jwt_key_cache 1h; alias @FOLDER@/; }
    location /none/ { auth_jwt r; auth_jwt_key_request /nowhere; alias @FOLDER@/; }
    location /file/ { auth_jwt r; auth_jwt_key_request /keys?file; auth_jwt_key_file keys.json; auth_jwt_key_cache 1h;
        alias @FOLDER@/; }
    location /inner/ { auth_jwt r; auth_jwt_key_file keys.json; alias @FOLDER@/;
        location /inner/other/ { auth_jwt_key_request /keys?inner; alias @FOLDER@/; } }
    location /required/ { auth_jwt r; auth_jwt_key_request /keys; auth_jwt_require $jwt_claim_admin error=403; alias @FOLDER@/; }
    location = /keys { internal; proxy_pass http://127.0.0.1:@KEYS@; }
"""
IN_FILE = new_key("file")


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    server = KeyServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def site(keys: KeyServer) -> Iterator[Guarded]:
    with guarded({"keys.json": key_set(IN_FILE).decode()}, SERVER.replace("@KEYS@", str(keys.port))) as made:
        yield made


def test_each_request_asks(site: Guarded, keys: KeyServer) -> None:
    first, second = new_key("first"), new_key("second")
    keys.reset(key_set(first))
    for _ in range(3):
        answer = site.get("/index.html", bearer(first))
        assert (answer.status, answer.headers["X-Sub"], answer.body) == (200, "ann", b"the file\n")
    assert keys.asked == ["/keys"] * 3
    keys.data = key_set(second)
    assert site.get("/index.html", bearer(first)).status == 401
    assert site.get("/index.html", bearer(second)).status == 200
    assert site.get("/index.html").status == 401
    assert len(keys.asked) == 5  # not for a request without a token


def test_remembered(site: Guarded, keys: KeyServer) -> None:
    key = new_key("a")
    keys.reset(key_set(key))
    for _ in range(3):
        answer = site.get("/cached/index.html", bearer(key))
        assert (answer.status, answer.headers["X-Sub"]) == (200, "ann")
    assert site.get("/cached/index.html", {"Authorization": "Bearer a.b.c"}).status == 401
    assert keys.asked == ["/keys?cached"]


def test_rotation(site: Guarded, keys: KeyServer) -> None:
    """A token with a new key makes the worker ask again, long before the time is up."""
    first, second = new_key("one"), new_key("two")
    keys.reset(key_set(first))
    assert site.get("/rotated/index.html", bearer(first)).status == 200
    keys.data = key_set(second)
    assert site.get("/rotated/index.html", bearer(second)).status == 200
    assert site.get("/rotated/index.html", bearer(first)).status == 401
    assert len(keys.asked) == 2


def test_random_names_of_keys_do_not_make_requests(site: Guarded, keys: KeyServer) -> None:
    key = new_key("known")
    keys.reset(key_set(key))
    began = time.monotonic()
    for number in range(40):
        assert site.get("/flood/index.html", bearer(new_key("x"), f"random-{number}")).status == 401
    assert len(keys.asked) <= 2 + (time.monotonic() - began) / 5.0
    assert site.get("/flood/index.html", bearer(key)).status == 200


def test_the_time_is_up(site: Guarded, keys: KeyServer) -> None:
    first, second = new_key("same"), new_key("same")
    keys.reset(key_set(first))
    assert site.get("/brief/index.html", bearer(first)).status == 200
    keys.data = key_set(second)
    deadline = time.monotonic() + 8
    while site.get("/brief/index.html", bearer(first)).status == 200:
        assert time.monotonic() < deadline
    assert site.get("/brief/index.html", bearer(second)).status == 200


def test_requests_share_one_asking(site: Guarded, keys: KeyServer) -> None:
    key = new_key("a")
    keys.reset(key_set(key))
    keys.gate.clear()
    with ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(site.get, "/together/index.html", bearer(key)) for _ in range(10)]
        deadline = time.monotonic() + 8
        while not keys.asked:
            assert time.monotonic() < deadline
        assert site.get("/nothing-to-wait-for").status == 401  # the worker serves others meanwhile
        keys.gate.set()
        assert [answer.result().status for answer in waiting] == [200] * 10
    assert keys.asked == ["/keys?together"]


def test_who_asks_may_leave(site: Guarded, keys: KeyServer) -> None:
    key = new_key("a")
    keys.reset(key_set(key))
    keys.gate.clear()
    leaving = site.connect()
    leaving.request("GET", "/left/index.html", headers=bearer(key))
    deadline = time.monotonic() + 8
    while not keys.asked:
        assert time.monotonic() < deadline
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(site.get, "/left/index.html", bearer(key)) for _ in range(2)]
        leaving.close()
        while len(keys.asked) < 2:
            assert time.monotonic() < deadline
        keys.gate.set()
        assert [answer.result().status for answer in waiting] == [200] * 2


@pytest.mark.parametrize(
    ("status", "fields", "data", "message"),
    [
        (404, {}, b"", "answered 404"),
        (302, {"Location": "/x"}, b"", "answered 302"),
        (200, {}, b"no json", "not a JSON Web Key Set"),
        (200, {}, b"{}", "not a JSON Web Key Set"),
        (200, {}, b'{"keys": []}', "no key in it can verify"),
        (200, {"Content-Encoding": "gzip"}, b"x", "the answer is compressed"),
        (200, {}, b" " * 1048577, "the answer is longer than 1048576 bytes"),
    ],
)
def test_no_keys(site: Guarded, keys: KeyServer, status: int, fields: dict[str, str], data: bytes, message: str) -> None:
    keys.reset(data)
    keys.status, keys.fields = status, fields
    key = new_key("a")
    assert site.get("/failing/index.html", bearer(key)).status == 500
    assert f'auth_jwt_key_request "/keys?failing": {message}' in site.log()


def test_keys_come_back_and_old_ones_outlive_a_renewal_that_fails(site: Guarded, keys: KeyServer) -> None:
    key = new_key("a")
    keys.reset(key_set(key))
    assert site.get("/failing/index.html", bearer(key)).status == 200
    keys.status = 503
    assert site.get("/failing/index.html", bearer(new_key("b"))).status == 401
    assert len(keys.asked) == 2
    assert site.get("/failing/index.html", bearer(key)).status == 200


def test_uri_with_variables(site: Guarded, keys: KeyServer) -> None:
    key = new_key("a")
    keys.reset(key_set(key))
    assert site.get("/variable/index.html?k=1", bearer(key)).status == 200
    assert site.get("/variable/index.html?k=1", bearer(key)).status == 200
    assert site.get("/variable/index.html?k=2", bearer(key)).status == 200
    assert keys.asked == ["/keys?1", "/keys?1", "/keys?2"]


def test_places(site: Guarded, keys: KeyServer) -> None:
    key = new_key("a")
    keys.reset(key_set(key))
    assert site.get("/none/index.html", bearer(key)).status == 500
    assert site.get("/file/index.html", bearer(key)).status == 200
    assert site.get("/file/index.html", bearer(IN_FILE)).status == 200
    assert site.get("/inner/index.html", bearer(IN_FILE)).status == 200
    assert site.get("/inner/other/index.html", bearer(IN_FILE)).status == 401  # the inner block says where keys come from
    assert site.get("/inner/other/index.html", bearer(key)).status == 200
    assert site.get("/required/index.html", bearer(key)).status == 403
    assert site.get("/required/index.html", bearer(key, admin=True)).status == 200
    assert site.get("/keys").status == 404


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("auth_jwt r; auth_jwt_key_request keys;", 'invalid URI "keys"'),
        ("auth_jwt r; auth_jwt_key_request /keys; auth_jwt_key_cache soon;", '"auth_jwt_key_cache" directive invalid value'),
        ("auth_jwt r; auth_jwt_key_cache 1h;", 'no "auth_jwt_key_file" is defined for "auth_jwt"'),
        ("auth_jwt off token=$arg_x;", '"auth_jwt off" reads no token that nobody verifies'),
        ("auth_jwt_type encrypted;", '"auth_jwt_type encrypted" is not supported'),
        ("auth_jwt_type nested;", '"auth_jwt_type nested" is not supported'),
    ],
)
def test_configuration_errors(server: str, message: str) -> None:
    code, text = checked({}, server)
    assert code == 1
    assert message in text
    assert "portico.conf:" in text
