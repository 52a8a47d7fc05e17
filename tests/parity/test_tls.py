"""TLS on both sides: which certificate, who may enter, what variables know of it."""

from __future__ import annotations

import ssl

from tests.parity.exchange import Exchange, Tls, get
from tests.parity.harness import Group, Servers, exchanges

TLS12 = ssl.TLSVersion.TLSv1_2

SECURE = Group(
    """
    ssl_certificate @CERTS@/a.pem;
    ssl_certificate_key @CERTS@/a.key;
    ssl_protocols TLSv1.2 TLSv1.3; # the default of newer nginx and of Portico
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name a.example;
        location / { return 200 "$scheme|$https|$server_name|$host"; }
        location /vars {
            return 200 "$ssl_protocol|$ssl_cipher|$ssl_server_name|$ssl_session_reused|$ssl_client_verify";
        }
        location /redirect { return 301 /there; }
        location /slash/ { proxy_pass http://@BACKEND@; }
        location /proxy {
            proxy_set_header Connection "";
            proxy_set_header X-Scheme $scheme;
            proxy_pass http://@BACKEND@;
        }
        location /file { alias @ROOT@/file; }
    }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name b.example;
        ssl_certificate @CERTS@/b.pem;
        ssl_certificate_key @CERTS@/b.key;
        return 200 "b";
    }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name *.wild.example odd.*;
        ssl_certificate @CERTS@/wild.pem;
        ssl_certificate_key @CERTS@/wild.key;
        return 200 "wild";
    }
    server { listen 127.0.0.1:@PORT@ ssl; server_name same.example; return 200 "same"; }
    server {
        listen 127.0.0.1:@PORT_497@ ssl;
        error_page 497 =301 https://$host$request_uri;
        return 200 "secure";
    }
    server {
        listen 127.0.0.1:@PORT_MIXED@;
        listen 127.0.0.1:@PORT_MIXED_TLS@ ssl;
        return 200 "$scheme $https";
    }
    server {
        listen 127.0.0.1:@PORT_REJECT@ ssl default_server;
        ssl_reject_handshake on;
    }
    server { listen 127.0.0.1:@PORT_REJECT@ ssl; server_name a.example; return 200 "not rejected"; }
    server {
        listen 127.0.0.1:@PORT_12@ ssl;
        ssl_protocols TLSv1.2;
        ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;
        ssl_prefer_server_ciphers on;
        return 200 "$ssl_protocol $ssl_cipher";
    }
    """,
    {"file": b"0123456789" * 5000},
)


@exchanges(
    SECURE,
    Exchange("request", get("/", host="a.example"), tls=Tls(), body=b"https|on|a.example|a.example"),
    Exchange("second name", get("/", host="b.example"), tls=Tls("b.example"), body=b"b"),
    Exchange("wildcard name", get("/", host="x.wild.example"), tls=Tls("x.wild.example"), body=b"wild"),
    Exchange(
        "name without own certificate", get("/", host="same.example"), tls=Tls("same.example"), body=b"same"
    ),
    Exchange("unknown name", get("/", host="a.example"), tls=Tls("unknown.example"), status=200),
    Exchange("no name", get("/", host="a.example"), tls=Tls(None), status=200),
    Exchange("name in upper case", get("/", host="b.example"), tls=Tls("B.EXAMPLE"), body=b"b"),
    Exchange("name in upper case as it was sent", get("/vars", host="a.example"), tls=Tls("A.Example"), contains=b"|A.Example|"),
    *(
        Exchange(f"name {name!r}", get("/vars", host="a.example"), tls=Tls(name), status=200)
        for name in (
            b"\xff", b"b\xff.example", "é.example".encode(), b"b.example.", b"b.example..", b"..wild.example", b"x..wild.example",
            b".wild.example", b"odd.", b"odd..x", b"b.example:443", b"b.example:", b"b example", b"b.example/", b"b\x01.example",
            b"b.example\x7f", b"[::1]", b"[b.example]", b"a..b", b".", b"x" * 64 + b".wild.example", b"x" * 255, b"xn--4ca.example",
        )
    ),
    Exchange("other host than the name", get("/", host="b.example"), tls=Tls("a.example"), status=200),
    Exchange("variables", get("/vars", host="a.example"), tls=Tls(), contains=b"TLSv1.3|"),
    Exchange(
        "variables of tls 1.2", get("/vars", host="a.example"), tls=Tls(maximum=TLS12), contains=b"TLSv1.2|"
    ),
    Exchange(
        "only tls 1.2", get("/"), port="PORT_12", tls=Tls(), body=b"TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256"
    ),
    Exchange("alpn", get("/", host="a.example"), tls=Tls(alpn=("h2", "http/1.1")), status=200),
    Exchange(
        "alpn of something else",
        get("/", host="a.example"),
        tls=Tls(alpn=("spdy/9",)),
    ),
    Exchange("keepalive", get("/", host="a.example") * 3, tls=Tls(), methods=("GET",) * 3, status=(200,) * 3),
    Exchange("connection close", get("/", "Connection: close", host="a.example"), tls=Tls(), closed=True),
    Exchange(
        "redirect",
        get("/redirect", host="a.example"),
        tls=Tls(),
        has={"Location": "https://a.example:@PORT@/there"},
    ),
    Exchange("slash missing", get("/slash", host="a.example"), tls=Tls(), status=301),
    Exchange("forwarded", get("/proxy", host="a.example"), tls=Tls(), forwarded=("X-Scheme: https",)),
    Exchange(
        "file",
        get("/file", host="a.example"),
        tls=Tls(),
        status=200,
        has={"Content-Length": "50000 (as the body)"},
    ),
    Exchange(
        "plain to a tls port",
        get("/", host="a.example"),
        status=400,
        contains=b"plain HTTP request",
        closed=True,
    ),
    Exchange(
        "plain to a tls port, redirected",
        get("/x?y"),
        port="PORT_497",
        status=301,
        has={"Location": "https://localhost/x?y"},
    ),
    Exchange("tls behind the redirect", get("/x?y"), port="PORT_497", tls=Tls(), body=b"secure"),
    Exchange("both, plain", get("/"), port="PORT_MIXED", body=b"http "),
    Exchange("both, tls", get("/"), port="PORT_MIXED_TLS", tls=Tls(), body=b"https on"),
    Exchange("rejected", get("/"), port="PORT_REJECT", tls=Tls("unknown.example")),
    Exchange("rejected without a name", get("/"), port="PORT_REJECT", tls=Tls(None)),
    *(Exchange(f"rejected {name!r}", get("/"), port="PORT_REJECT", tls=Tls(name)) for name in (b"\xff", b"a.example\xff", b"a..b")),
    Exchange("not rejected, with a dot", get("/", host="a.example"), port="PORT_REJECT", tls=Tls(b"A.example.")),
    Exchange("not rejected", get("/", host="a.example"), port="PORT_REJECT", tls=Tls(), body=b"not rejected"),
)
def test_names(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


VERIFIED = Group(
    """
    ssl_certificate @CERTS@/a.pem;
    ssl_certificate_key @CERTS@/a.key;
    ssl_client_certificate @CERTS@/ca.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {
        listen 127.0.0.1:@PORT_ON@ ssl;
        ssl_verify_client on;
        location / { return 200 "$ssl_client_verify|$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_serial"; }
        location /more {
            return 200 "$ssl_client_fingerprint|$ssl_client_v_start|$ssl_client_v_end|$ssl_client_v_remain";
        }
        location /cert { return 200 "$ssl_client_escaped_cert"; }
        location /legacy { return 200 "$ssl_client_s_dn_legacy|$ssl_client_i_dn_legacy"; }
        location /raw { return 200 "$ssl_client_raw_cert"; }
    }
    server {
        listen 127.0.0.1:@PORT_OPTIONAL@ ssl;
        ssl_verify_client optional;
        return 200 "$ssl_client_verify|$ssl_client_s_dn";
    }
    server {
        listen 127.0.0.1:@PORT_NOCA@ ssl;
        ssl_verify_client optional_no_ca;
        return 200 "$ssl_client_verify|$ssl_client_s_dn";
    }
    server {
        listen 127.0.0.1:@PORT_PAGE@ ssl;
        ssl_verify_client on;
        error_page 495 496 =403 /denied;
        location / { return 200 "allowed"; }
        location = /denied { return 200 "denied $ssl_client_verify"; }
    }
    """
)
KNOWN, STRANGER = Tls(certificate="client"), Tls(certificate="stranger")


@exchanges(
    VERIFIED,
    Exchange("known", get("/"), port="PORT_ON", tls=KNOWN, contains=b"SUCCESS|CN=some client,O=Parity,C=DE|"),
    Exchange(
        "known, tls 1.2", get("/"), port="PORT_ON", tls=Tls(certificate="client", maximum=TLS12), status=200
    ),
    Exchange(
        "none", get("/"), port="PORT_ON", tls=Tls(), status=400, contains=b"No required SSL certificate"
    ),
    Exchange(
        "stranger", get("/"), port="PORT_ON", tls=STRANGER, status=400, contains=b"SSL certificate error"
    ),
    Exchange("fingerprint and dates", get("/more"), port="PORT_ON", tls=KNOWN, status=200),
    Exchange(
        "escaped", get("/cert"), port="PORT_ON", tls=KNOWN, contains=b"-----BEGIN%20CERTIFICATE-----%0A"
    ),
    Exchange(
        "legacy names", get("/legacy"), port="PORT_ON", tls=KNOWN, contains=b"/C=DE/O=Parity/CN=some client|"
    ),
    Exchange("raw", get("/raw"), port="PORT_ON", tls=KNOWN, contains=b"-----BEGIN CERTIFICATE-----\n"),
    Exchange(
        "optional, known", get("/"), port="PORT_OPTIONAL", tls=KNOWN, contains=b"SUCCESS|CN=some client"
    ),
    Exchange("optional, none", get("/"), port="PORT_OPTIONAL", tls=Tls(), body=b"NONE|"),
    Exchange("optional, stranger", get("/"), port="PORT_OPTIONAL", tls=STRANGER, status=400),
    Exchange("no ca, known", get("/"), port="PORT_NOCA", tls=KNOWN, contains=b"SUCCESS|"),
    Exchange("no ca, none", get("/"), port="PORT_NOCA", tls=Tls(), body=b"NONE|"),
    Exchange("no ca, stranger", get("/"), port="PORT_NOCA", tls=STRANGER, contains=b"FAILED:"),
    Exchange("page for none", get("/"), port="PORT_PAGE", tls=Tls(), status=403, body=b"denied NONE"),
    Exchange(
        "page for a stranger", get("/"), port="PORT_PAGE", tls=STRANGER, status=403, contains=b"denied FAILED"
    ),
)
def test_client_certificates(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


BARE = Group(
    """
    ssl_protocols TLSv1.2 TLSv1.3;
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name a.example;
        ssl_certificate @CERTS@/a.pem;
        ssl_certificate_key @CERTS@/a.key;
        return 200 "a";
    }
    server { listen 127.0.0.1:@PORT@ ssl; server_name on.example; ssl_verify_client on; return 200 "on"; }
    server { listen 127.0.0.1:@PORT@ ssl; server_name optional.example; ssl_verify_client optional; return 200 "optional"; }
    server { listen 127.0.0.1:@PORT_PLAIN@; ssl_verify_client on; return 200 "plain"; }
    """
)


@exchanges(
    BARE,
    Exchange("a certificate is demanded", get("/", host="on.example"), tls=Tls("on.example"), status=400),
    Exchange("one may be shown", get("/", host="optional.example"), tls=Tls("optional.example"), body=b"optional"),
    Exchange("by another name", get("/", host="on.example"), tls=Tls("a.example"), status=421),
    Exchange("by the name of another that has none", get("/", host="on.example"), tls=Tls("optional.example"), status=421),
    Exchange("by no name", get("/", host="on.example"), tls=Tls(None), status=400),
    Exchange("by a name that no server has", get("/", host="optional.example"), tls=Tls("unknown.example"), status=200),
    Exchange("without TLS", get("/"), port="PORT_PLAIN", body=b"plain"),
)
def test_client_certificates_of_servers_without_a_certificate(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


CHOSEN = Group(
    """
    ssl_protocols TLSv1.2 TLSv1.3;
    map $ssl_server_name $file {
        default a;
        b.example b;
        wild.example wild;
        missing.example missing;
        empty.example "";
    }
    map "$ssl_client_s_dn$ssl_client_verify$ssl_cipher$ssl_curve$ssl_curves$ssl_ciphers$ssl_session_id$ssl_session_reused" $known {
        default a;
    }
    map "$ssl_protocol$ssl_client_fingerprint$ssl_client_v_remain$ssl_client_raw_cert$ssl_early_data$tcpinfo_rtt" $same { default a; }
    map $ssl_server_name $path { default @CERTS@/b; relative.example ../nowhere; }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name a.example;
        ssl_certificate @CERTS@/$file.pem;
        ssl_certificate_key @CERTS@/$file.key;
        return 200 "$ssl_server_name|$server_name";
    }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name by.path;
        ssl_certificate $path.pem;
        ssl_certificate_key $path.key;
        return 200 "$server_name";
    }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name mismatch;
        ssl_certificate @CERTS@/a.pem;
        ssl_certificate_key $path.key;
        return 200 "$server_name";
    }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name by.host;
        ssl_certificate $host$arg_x$uri$request_uri@CERTS@/a.pem;
        ssl_certificate_key @CERTS@/a.key;
        return 200 "$server_name";
    }
    server { listen 127.0.0.1:@PORT@ ssl; server_name bare.example; return 200 "$server_name"; }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name unknown.yet;
        ssl_certificate @CERTS@/$known.pem;
        ssl_certificate_key @CERTS@/$same.key;
        return 200 "$server_name";
    }
    server {
        listen 127.0.0.1:@PORT_NAMES@ ssl;
        ssl_certificate @CERTS@/$ssl_server_name.pem;
        ssl_certificate_key @CERTS@/$ssl_server_name.key;
        return 200 "$ssl_server_name";
    }
    server {
        listen 127.0.0.1:@PORT@ ssl;
        server_name plain.example;
        ssl_certificate @CERTS@/wild.pem;
        ssl_certificate_key @CERTS@/wild.key;
        return 200 "$server_name";
    }
    """
)


@exchanges(
    CHOSEN,
    Exchange("the default", get("/"), tls=Tls("a.example"), body=b"a.example|a.example"),
    Exchange("by a map", get("/"), tls=Tls("b.example"), body=b"b.example|a.example"),
    Exchange("tls 1.2", get("/"), tls=Tls("b.example", maximum=TLS12), body=b"b.example|a.example"),
    Exchange("no name", get("/"), tls=Tls(None), body=b"|a.example"),
    Exchange("no such file", get("/"), tls=Tls("missing.example")),
    Exchange("no file's name", get("/"), tls=Tls("empty.example")),
    Exchange("whole paths", get("/", host="by.path"), tls=Tls("by.path"), body=b"by.path"),
    Exchange("another key", get("/", host="mismatch"), tls=Tls("mismatch")),
    Exchange("variables of requests", get("/", host="by.host"), tls=Tls("by.host")),
    Exchange("by what is not known yet", get("/", host="unknown.yet"), tls=Tls("unknown.yet"), body=b"unknown.yet"),
    Exchange(
        "by what is not known yet, tls 1.2", get("/", host="unknown.yet"), tls=Tls("unknown.yet", maximum=TLS12), body=b"unknown.yet"
    ),
    Exchange("a server without certificate", get("/", host="bare.example"), tls=Tls("bare.example"), body=b"bare.example"),
    Exchange("by the client's name", get("/"), port="PORT_NAMES", tls=Tls("wild"), body=b"wild"),
    Exchange(
        "by a path that the client names", get("/"), port="PORT_NAMES", tls=Tls(b"./wild"), log="error.log",
        logged='client sent invalid server name "./wild" while SSL handshaking', differs="nginx loads any file that the client names",
    ),
    Exchange("a server with its own", get("/", host="plain.example"), tls=Tls("plain.example"), body=b"plain.example"),
)
def test_certificates_that_are_chosen_in_the_handshake(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)


UPSTREAM = Group(
    """
    server {
        listen 127.0.0.1:@PORT@;
        location /plain { proxy_pass https://@BACKEND_TLS@; }
        location /verified {
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate @CERTS@/ca.pem;
            proxy_ssl_name backend.example;
            proxy_ssl_server_name on;
            proxy_pass https://@BACKEND_TLS@;
        }
        location /wrongname {
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate @CERTS@/ca.pem;
            proxy_ssl_name other.example;
            proxy_pass https://@BACKEND_TLS@;
        }
        location /wrongca {
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate @CERTS@/other-ca.pem;
            proxy_ssl_name backend.example;
            proxy_pass https://@BACKEND_TLS@;
        }
        location /withcert {
            proxy_ssl_certificate @CERTS@/client.pem;
            proxy_ssl_certificate_key @CERTS@/client.key;
            proxy_pass https://@BACKEND_TLS@;
        }
        location /old {
            proxy_ssl_protocols TLSv1.2;
            proxy_ssl_ciphers ECDHE+AESGCM;
            proxy_pass https://@BACKEND_TLS@;
        }
        location /nottls { proxy_connect_timeout 200ms; proxy_pass https://@BACKEND@; }
    }
    """
)


@exchanges(
    UPSTREAM,
    Exchange("not verified", get("/plain"), status=200, reached=1),
    Exchange("verified", get("/verified"), status=200, reached=1),
    Exchange("wrong name", get("/wrongname"), status=502, reached=0),
    Exchange("wrong authority", get("/wrongca"), status=502, reached=0),
    Exchange("with a certificate", get("/withcert"), status=200, forwarded=("certificate: some client",)),
    Exchange("protocols and ciphers", get("/old"), status=200, reached=1),
    Exchange("no tls there", get("/nottls"), status=504, reached=0),
)
def test_upstream(servers: Servers, exchange: Exchange) -> None:
    servers.check(exchange)
