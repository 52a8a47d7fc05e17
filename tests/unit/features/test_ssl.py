"""`ssl_*` as loaded: contexts shared and refused, nginx's messages, and what requests know of their
handshake.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portico import errorlog
from portico.codec.fields import HeaderOptions
from portico.codec.http1_request import parse_request_fields
from portico.config import build as config_build
from portico.config.diagnostics import ConfigError
from portico.config.directive import Directive
from portico.config.load import Load
from portico.config.reader import read_text
from portico.errorlog import LogFiles
from portico.features.ssl import FEATURE
from portico.features.static import feature as static
from portico.http import error_pages, listen, settings
from portico.http.build import HttpPlan, build_http
from portico.http.errors import HTTPError
from portico.http.feature import Feature
from portico.http.handler import Handler
from portico.http.request import Request
from portico.http.variables.core import CORE_FAMILIES, CORE_VARIABLES
from portico.net import openssl
from portico.net.certificates import self_signed
from portico.net.reactor import Reactor
from portico.net.tls import TLSTransport, wrap
from portico.zones.zone import Zones

FEATURES = (Feature("core", (), CORE_VARIABLES, CORE_FAMILIES), FEATURE, static.FEATURE)


def known() -> list[Directive[object]]:
    found: list[Directive[object]] = [d for feature in FEATURES for d in feature.directives]
    for module in (settings, listen, error_pages):
        found.extend(value for value in vars(module).values() if isinstance(value, Directive))
    return list(dict.fromkeys([*found, errorlog.ERROR_LOG]))


class Conf:
    """A directory with certificates, and configurations that name them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("a.test", "b.test"):
            certificate, key = self_signed([name], 2)
            directory.joinpath(f"{name}.pem").write_bytes(certificate)
            directory.joinpath(f"{name}.key").write_bytes(key)
        directory.joinpath("garbage").write_bytes(b"garbage")
        directory.joinpath("logs").mkdir()

    def read(self, text: str) -> tuple[HttpPlan | None, list[ConfigError]]:
        """The plan of an `http {}` with this content, and the mistakes in it."""
        load = Load(str(self.directory), "nginx.conf")
        text = f"http {{ error_log logs/error.log;\n{text} }}"
        root = config_build.build(read_text(text, load.conf_path, load), known(), load)
        plan = None
        if not load.diagnostics.errors:
            try:
                plan = build_http(root, FEATURES, Zones(), LogFiles(), "")
            except ConfigError as error:
                load.diagnostics.error(error)
        return plan, load.diagnostics.errors

    def plan(self, text: str) -> HttpPlan:
        plan, errors = self.read(text)
        assert not errors, errors[0]
        assert plan is not None
        return plan

    def fails(self, text: str) -> ConfigError:
        return self.read(text)[1][0]


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Conf:
    return Conf(tmp_path_factory.mktemp("conf"))


PAIR = "ssl_certificate a.test.pem; ssl_certificate_key a.test.key;"
OTHER = "ssl_certificate b.test.pem; ssl_certificate_key b.test.key;"


def test_a_server_with_a_certificate_has_a_context(conf: Conf) -> None:
    plan = conf.plan(f"server {{ listen 127.0.0.1:8443 ssl; {PAIR} }} server {{ listen 127.0.0.1:8080; }}")
    assert plan.servers[0].tls is not None
    assert plan.servers[1].tls is None


def test_equal_settings_share_a_context(conf: Conf) -> None:
    servers = "".join(f"server {{ listen 127.0.0.1:8443 ssl; server_name n{i}; }}" for i in range(3))
    plan = conf.plan(
        f"{PAIR} {servers} server {{ listen 127.0.0.1:8443 ssl; server_name x; ssl_buffer_size 4k; }}"
    )
    first = plan.servers[0].tls
    assert first is not None
    assert plan.servers[2].tls is first
    last = plan.servers[3].tls
    assert last is not None and last is not first and last.buffer_size == 4096


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        (
            "ssl_certificate a.test.pem;",
            'no "ssl_certificate_key" is defined for certificate "{d}/a.test.pem"',
            2,
        ),
        (PAIR + "\nssl_ciphers NOPE;", 'SSL_CTX_set_cipher_list("NOPE") failed', 3),
        (PAIR + "\nssl_verify_client on;", "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client", 3),
        (PAIR + "\nssl_crl garbage;", 'X509_LOOKUP_load_file("{d}/garbage") failed', 3),
        (PAIR + "\nssl_dhparam garbage;", 'PEM_read_bio_DHparams("{d}/garbage") failed', 3),
        (PAIR + "\nssl_protocols TLSv1.4;", 'invalid value "TLSv1.4"', 3),
        (PAIR + "\nssl_session_cache foo;", 'invalid session cache "foo"', 3),
        (PAIR + "\nssl_session_cache shared:x:1k;", 'session cache "shared:x:1k" is too small', 3),
        (PAIR + "\nssl_session_ticket_key garbage;", '"{d}/garbage" must be 48 or 80 bytes', 3),
        (PAIR + "\nssl_password_file /nope;", 'open() "/nope" failed (2: No such file or directory)', 3),
        ("ssl_certificate engine:x:y;", '"engine:" is not supported in "ssl_certificate"', 2),
        ("ssl_certificate $host.pem;", 'no "ssl_certificate_key" is defined for certificate "$host.pem"', 2),
        ("ssl_certificate a.test.pem;\nssl_certificate_key data:x;", 'cannot load certificate key "data:..."', 3),
        (PAIR + "\nssl_certificate_cache valid=1m;", '"ssl_certificate_cache" must have the "max" parameter', 3),
        (PAIR + "\nssl_certificate_cache max=0;", 'invalid parameter "max=0"', 3),
        (PAIR + "\nssl_certificate_cache max=1 most=2;", 'invalid parameter "most=2"', 3),
        (
            "ssl_certificate a.test.pem;\nssl_certificate_key b.test.key;",
            'SSL_CTX_use_PrivateKey("{d}/b.test.key")',
            3,
        ),
    ],
)
def test_messages_and_places(conf: Conf, text: str, message: str, at: int) -> None:
    error = conf.fails(f"server {{ listen 127.0.0.1:8443 ssl; {text} }}")
    assert error.message.startswith(message.replace("{d}", str(conf.directory)))
    assert error.where is not None and error.where.line == at


def test_a_fifo_is_read_once_for_all_who_name_it(conf: Conf) -> None:
    for suffix in ("pem", "key"):
        os.mkfifo(conf.directory / f"fifo.{suffix}")

    def write(suffix: str) -> None:
        text = conf.directory.joinpath(f"a.test.{suffix}").read_bytes()
        conf.directory.joinpath(f"fifo.{suffix}").write_bytes(text)

    writers = [threading.Thread(target=write, args=(suffix,), daemon=True) for suffix in ("pem", "key")]
    for writer in writers:
        writer.start()
    pair = "ssl_certificate fifo.pem; ssl_certificate_key fifo.key; ssl_client_certificate fifo.pem;"
    plan = conf.plan(
        f"server {{ listen 127.0.0.1:8443 ssl; {pair} ssl_verify_client on; }}"
        f"server {{ listen 127.0.0.1:8444 ssl; {pair} ssl_verify_client optional; }}"
    )
    for writer in writers:
        writer.join(5.0)
    assert all(server.tls is not None and server.tls.context.cert_store_stats()["x509"] == 1 for server in plan.servers)


def test_a_listener_without_certificate(conf: Conf) -> None:
    error = conf.fails("server { listen 127.0.0.1:8443 ssl; }")
    assert error.message == 'no "ssl_certificate" is defined for the "listen ... ssl" directive'
    assert error.where is not None and error.where.line == 2


def test_where_the_default_server_rejects_all_others_need_one(conf: Conf) -> None:
    rejecting = "server { listen 127.0.0.1:8443 ssl; ssl_reject_handshake on; }"
    error = conf.fails(rejecting + "\nserver { listen 127.0.0.1:8443 ssl; server_name b; }")
    assert error.where is not None and error.where.line == 3


def test_rejecting_needs_no_certificate(conf: Conf) -> None:
    plan = conf.plan("server { listen 127.0.0.1:8443 ssl; ssl_reject_handshake on; }")
    tls = plan.servers[0].tls
    assert tls is not None and tls.reject


def test_every_mistake_is_told_at_once(conf: Conf) -> None:
    bad = "server { listen 127.0.0.1:8443 ssl; ssl_certificate /no%d.pem; ssl_certificate_key /no.key; }"
    _, errors = conf.read(f"{bad % 1}\n{bad % 2}")
    assert [error.message.split('"')[1] for error in errors] == ["/no1.pem", "/no2.pem"]


class Visit:
    """A handshake by the standard library's client with a server of ours, and a request on it."""

    def __init__(
        self, plan: HttpPlan, certificate: Path | None = None, name: str | None = None, server: int = 0
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if certificate is not None:
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self.reactor = Reactor()
        ours, self.theirs = socket.socketpair()
        for end in (ours, self.theirs):
            end.setblocking(False)
        listener = plan.listeners[0]
        first = listener.default.tls
        assert first is not None
        self.transport = wrap(self.reactor, ours, first, listener.find_tls)
        self.transport.register()
        client = openssl.wrap_socket(context, self.theirs, False, name)
        task = self.reactor.spawn(self.transport.handshake(5.0))
        for _ in range(20):
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            self.reactor.dispatch(0.0)
        assert task.done and self.transport.established
        self.request = self._request(plan, server, self.transport)

    def _request(self, plan: HttpPlan, server: int, transport: TLSTransport) -> Request:
        fields = parse_request_fields(b"Host: b.test", 11, HeaderOptions())
        client = plan.listeners[0].client(transport, ("127.0.0.1", 50000), 1)
        client.set_secure(transport)
        request = Request(client, b"GET / HTTP/1.1", b"GET", 11, fields, plan.servers[server])
        request.asked_host = b"b.test"
        return request

    def variable(self, name: str) -> bytes | None:
        return next(variable for variable in FEATURE.variables if variable.name == name).get(self.request)

    def status(self) -> int:
        error = next((refused for refused in map(self._refused, self.request.server.rewrites) if refused is not None), None)
        return 200 if error is None else error.status

    def _refused(self, handler: Handler) -> HTTPError | None:
        try:
            handler.handle(self.request)
        except HTTPError as error:
            return error
        return None

    def close(self) -> None:
        self.transport.close()
        self.theirs.close()
        self.reactor.epoll.close()


@pytest.fixture
def visits() -> Iterator[list[Visit]]:
    made: list[Visit] = []
    yield made
    for visit in made:
        visit.close()


def test_variables_of_a_connection(conf: Conf, visits: list[Visit]) -> None:
    visit = Visit(conf.plan(f"server {{ listen 127.0.0.1:8443 ssl; {PAIR} }}"), name="A.test")
    visits.append(visit)
    assert visit.variable("ssl_protocol") == b"TLSv1.3"
    assert visit.variable("ssl_cipher") == b"TLS_AES_256_GCM_SHA384"
    assert visit.variable("ssl_server_name") == b"A.test"
    assert visit.variable("ssl_curve") == b"X25519"
    assert (visit.variable("ssl_curves") or b"").startswith(b"X25519:prime256v1")
    assert b"ECDHE-RSA-AES128-GCM-SHA256" in (visit.variable("ssl_ciphers") or b"").split(b":")
    assert visit.variable("ssl_session_reused") == b"."
    assert visit.variable("ssl_client_verify") == b"NONE"
    assert visit.variable("ssl_client_s_dn") is None
    assert visit.variable("ssl_early_data") is None
    assert visit.variable("ssl_alpn_protocol") is None


def test_variables_of_a_client_certificate(conf: Conf, visits: list[Visit]) -> None:
    text = f"server {{ listen 127.0.0.1:8443 ssl; {PAIR} ssl_verify_client optional_no_ca; }}"
    visit = Visit(conf.plan(text), conf.directory / "b.test.pem")
    visits.append(visit)
    assert visit.variable("ssl_client_s_dn") == b"CN=b.test"
    assert visit.variable("ssl_client_s_dn_legacy") == b"/CN=b.test"
    assert (visit.variable("ssl_client_verify") or b"").startswith(b"FAILED:")
    pem = conf.directory.joinpath("b.test.pem").read_bytes()
    assert visit.variable("ssl_client_raw_cert") == pem
    assert visit.variable("ssl_client_cert") == pem[:-1].replace(b"\n", b"\n\t")
    escaped = visit.variable("ssl_client_escaped_cert") or b""
    assert escaped.startswith(b"-----BEGIN%20CERTIFICATE-----%0A") and escaped.endswith(b"-----%0A")
    assert visit.variable("ssl_client_v_remain") in (b"1", b"2")


@pytest.mark.parametrize(
    ("verify", "sent", "status"),
    [
        ("off", False, 200),
        ("on", False, 496),
        ("on", True, 495),
        ("optional", False, 200),
        ("optional", True, 495),
    ],
)
def test_client_certificates_are_judged_by_the_request(
    conf: Conf, visits: list[Visit], verify: str, sent: bool, status: int
) -> None:
    demand = f"ssl_client_certificate a.test.pem; ssl_verify_client {verify};"
    text = f"server {{ listen 127.0.0.1:8443 ssl; {PAIR} {demand} }}"
    visit = Visit(conf.plan(text), conf.directory / "b.test.pem" if sent else None)
    visits.append(visit)
    assert visit.status() == status


def test_a_host_that_demands_a_certificate_is_not_reached_by_another_name(
    conf: Conf, visits: list[Visit]
) -> None:
    """nginx: 421 Misdirected Request."""
    plan = conf.plan(
        f"server {{ listen 127.0.0.1:8443 ssl; server_name a.test; {PAIR} }}\n"
        f"server {{ listen 127.0.0.1:8443 ssl; server_name b.test; {OTHER} "
        "ssl_client_certificate b.test.pem; ssl_verify_client on; }"
    )
    for name, status in (("a.test", 421), (None, 421), ("b.test", 496)):
        visit = Visit(plan, name=name, server=1)
        visits.append(visit)
        assert visit.status() == status


def test_a_host_without_a_certificate_demands_one_of_clients_all_the_same(conf: Conf, visits: list[Visit]) -> None:
    """Its handshakes are those of the listener's default server."""
    plan = conf.plan(
        f"server {{ listen 127.0.0.1:8443 ssl; server_name a.test; {PAIR} }}\n"
        f"server {{ listen 127.0.0.1:8443 ssl; server_name c.test; {OTHER} }}"
        "server { listen 127.0.0.1:8443 ssl; server_name b.test; ssl_verify_client on; }"
    )
    for name, status in (("b.test", 496), (None, 496), ("a.test", 421), ("c.test", 421)):
        visit = Visit(plan, name=name, server=2)
        visits.append(visit)
        assert visit.status() == status


def test_authorities_whose_names_are_not_sent_suffice(conf: Conf) -> None:
    conf.plan(f"server {{ listen 127.0.0.1:8443 ssl; {PAIR} ssl_verify_client on; ssl_trusted_certificate a.test.pem; }}")


def test_servers_that_verify_get_the_handler(conf: Conf) -> None:
    plan = conf.plan(
        f"{PAIR} server "
        f"{{ listen 127.0.0.1:8443 ssl; ssl_client_certificate a.test.pem; ssl_verify_client on; }}"
        "server { listen 127.0.0.1:8443 ssl; server_name x; }"
    )
    assert [handler.describe() for handler in plan.servers[0].rewrites] == ["ClientCertificateCheck"]
    assert plan.servers[1].rewrites == ()
