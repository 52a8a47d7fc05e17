"""`auth_request`: what the subrequest's answer makes of the request."""

from __future__ import annotations

from tests.parity.backend import reply
from tests.parity.exchange import Exchange, get, request
from tests.parity.harness import Group, Servers, exchanges

CHALLENGE = 'WWW-Authenticate: Basic realm="x"'
AUTH = Group(
    r"""
    server {
        listen 127.0.0.1:@PORT@;
        error_log auth.log info;
        root @ROOT@;
        default_type text/plain;
        location /ok/ { auth_request /allowed; alias @ROOT@/files/; }
        location /asked/ {
            auth_request /backend; auth_request_set $who $upstream_http_x_user; auth_request_set $code $upstream_status;
            add_header X-Who $who; add_header X-Code $code always; alias @ROOT@/files/;
        }
        location /proxied/ {
            auth_request /backend; auth_request_set $who $upstream_http_x_user;
            proxy_set_header X-User $who; proxy_set_header Connection ""; proxy_pass http://@BACKEND_2@;
        }
        location /cookies/ {
            auth_request /backend; auth_request_set $cookies $upstream_http_set_cookie;
            add_header Set-Cookie $cookies; add_header X-Cookies "$cookies"; alias @ROOT@/files/;
        }
        location /body/ { client_max_body_size 1m; auth_request /small; proxy_pass http://@BACKEND_2@; }
        location = /small {
            internal; client_max_body_size 10; proxy_pass http://@BACKEND@/auth; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; proxy_set_header Connection "";
        }
        location /page/ { auth_request /backend; error_page 401 = @login; error_page 403 /denied; alias @ROOT@/files/; }
        location @login { return 302 /login; }
        location = /denied { return 200 "denied page"; }
        location /off/ { auth_request /no; location /off/inner/ { auth_request off; alias @ROOT@/files/; } }
        location /nested/ { auth_request /nested/auth; alias @ROOT@/files/; }
        location /returned/ { auth_request /status; alias @ROOT@/files/; }
        location = /allowed { internal; return 204; }
        location = /no { internal; return 403; }
        location = /status { internal; if ($arg_s = 401) { return 401; } if ($arg_s = 500) { return 500; } return 200 ok; }
        location = /backend {
            internal; proxy_pass http://@BACKEND@/auth; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; proxy_set_header Connection ""; proxy_set_header X-Original $request_uri;
        }
    }
    """,
    {"files/a": b"content\n"},
)
LOG = (r"\d+/\d+/\d+ [\d:]+ ", r"\d+#\d+: \*\d+ ", r"status: 404[^,]*")


@exchanges(
    AUTH,
    Exchange("allowed", get("/ok/a"), body=b"content\n"),
    Exchange("head", request("HEAD", "/ok/a")),
    Exchange("allowed by a backend", get("/asked/a?x=y", "X-Given: 1"), backend=reply(200, "", "X-User: ann"), has={"X-Who": "ann"}),
    Exchange("allowed with a body", get("/asked/a"), backend=reply(200, "z" * 3000, "X-User: ann"), body=b"content\n"),
    Exchange("allowed by another 2xx", get("/asked/a"), backend=reply(299, ""), status=200),
    Exchange(
        "a cookie of the backend's", get("/cookies/a"), backend=reply(200, "", "Set-Cookie: a=1; Path=/"),
        has={"Set-Cookie": "a=1; Path=/", "X-Cookies": "a=1; Path=/"},
    ),
    Exchange(
        "several cookies of the backend's", get("/cookies/a"),
        backend=reply(200, "", "Set-Cookie: a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT", "Set-Cookie: b=2, c", "Set-Cookie: d="),
        has={
            "Set-Cookie": "b=2, c",
            "X-Cookies": "a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT, b=2, c, d=",
        },
        differs="the first cookie only, in nginx 1.22; joined in one field by later ones",
    ),
    Exchange(
        "a body that is too large for the check, which does not get it", request("POST", "/body/a", body=b"x" * 100),
        backend=reply(200, "ok"), status=200, reached=2, differs="413 in nginx",
    ),
    Exchange("401", get("/asked/a"), backend=reply(401, "no", CHALLENGE), status=401, has={"WWW-Authenticate": 'Basic realm="x"'}),
    Exchange("401 without a challenge", get("/asked/a"), backend=reply(401, "no"), status=401),
    Exchange("403", get("/asked/a"), backend=reply(403, "no"), status=403),
    Exchange("404", get("/asked/a"), backend=reply(404, "no"), status=500),
    Exchange("302", get("/asked/a"), backend=reply(302, "", "Location: /x"), status=500),
    Exchange("500", get("/asked/a"), backend=reply(500, "no"), status=500),
    Exchange("off", get("/off/inner/a"), body=b"content\n"),
    Exchange("refused", get("/off/a"), status=403),
    Exchange("page of 401", get("/page/a"), backend=reply(401, "no"), status=302),
    Exchange("page of 403", get("/page/a"), backend=reply(403, "no"), status=403, body=b"denied page"),
    Exchange("return 401", get("/returned/a?s=401")),
    Exchange("missing", get("/ok/none"), status=404),
    Exchange("its own location", get("/nested/a")),
    Exchange(
        "who it is goes on", get("/proxied/a"), backend={"BACKEND": reply(200, "", "X-User: ann"), "BACKEND_2": reply(200, "hello")},
        forwarded=("X-User: ann",), reached=2,
    ),
    Exchange(
        "the body goes on", request("POST", "/proxied/a", body=b"12345"),
        backend={"BACKEND": reply(200, "", "X-User: ann"), "BACKEND_2": reply(200, "hello")}, body=b"hello", reached=2,
    ),
    Exchange(
        "two on a connection", get("/ok/a") + get("/asked/a"), methods=("GET", "GET"), backend=reply(403, "no"), status=(200, 403)
    ),
)
def test_auth_request(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


@exchanges(
    AUTH,
    Exchange(
        "an unexpected status", get("/asked/l"), backend=reply(404, "no"), log="auth.log", mask=LOG,
        logged="auth request unexpected",
    ),
)
def test_logs(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
