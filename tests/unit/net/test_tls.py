"""TLS transports wired to each other, and to the standard library's client, over real sockets."""

from __future__ import annotations

import datetime
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from portico.balancing.tls import PeerTLSSettings, UpstreamTLS
from portico.net import openssl, ticket_keys, tls
from portico.net.certificates import ContextError
from portico.net.reactor import ClientFailed, Reactor, Timeout, UpstreamFailed
from portico.net.ticket_keys import LIFE, RotatingKeys, SharedKeys, TicketKeys
from portico.net.tls import (
    VERIFY_ON,
    VERIFY_OPTIONAL_NO_CA,
    ServerTLS,
    StatusSource,
    TLSTransport,
    is_tls,
    no_certificate,
    secure,
    staple_by_source,
    wrap,
)
from portico.net.tls_context import CACHE_KEPT, CACHE_OFF, TLSV1_2, TLSV1_3, ServerSettings, server_tls
from portico.net.transport import Transport


class Pki:
    """Files of one certificate, good for servers and clients."""

    def __init__(
        self, directory: Path, name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    ) -> None:
        self.certificate = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), 0x0A1B)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("site"), "a.test", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("other"), "b.test", ec.generate_private_key(ec.SECP256R1()))


def settings_for(pki: Pki) -> ServerSettings:
    settings = ServerSettings()
    settings.certificates = [str(pki.certificate)]
    settings.keys = [str(pki.key)]
    return settings


def upstream_for(**changes: object) -> UpstreamTLS:
    settings = PeerTLSSettings()
    for name, value in changes.items():
        setattr(settings, name, value)
    return UpstreamTLS(settings)


class Pair:
    """Our server's end and our client's end of one connection, in one reactor."""

    def __init__(
        self,
        server: ServerTLS,
        client: UpstreamTLS,
        name: bytes = b"a.test",
        find: Callable[[bytes], ServerTLS | None] | None = None,
    ) -> None:
        self.reactor = Reactor()
        left, right = socket.socketpair()
        for end in (left, right):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.server = wrap(self.reactor, left, server, find)
        self.client = client.wrap(self.reactor, right, name, b"peer")
        self.server.register()
        self.client.register()
        self.errors: dict[str, BaseException] = {}

    def run(self, *coroutines: Coroutine[object, object, None]) -> None:
        """Drive the coroutines to their ends; what they raise is kept, by position."""
        tasks = [self.reactor.spawn(self._keep(str(i), coroutine)) for i, coroutine in enumerate(coroutines)]
        for _ in range(2000):
            if all(task.done for task in tasks):
                return
            self.reactor.dispatch(1.0)
        raise AssertionError("no progress")

    async def _keep(self, name: str, coroutine: Coroutine[object, object, None]) -> None:
        try:
            await coroutine
        except (OSError, Timeout) as error:
            self.errors[name] = error

    def shake(self) -> None:
        self.run(self.server.handshake(5.0), self.client.handshake(5.0))

    def close(self) -> None:
        self.client.close()
        self.server.close()


async def read_all(transport: TLSTransport, into: bytearray) -> None:
    while True:
        data = transport.recv(8192)
        if data is None:
            await transport.readable(5.0)
        elif data:
            into += data
        else:
            return


async def write_all(transport: TLSTransport, data: bytes, most: int) -> None:
    """Offer pieces of changing size, as an output with a rate limit does."""
    position = 0
    step = most
    while position < len(data):
        sent = transport.send(data[position : position + step])
        position += sent
        step = max(1, step // 3) if sent == 0 else most
        if sent == 0:
            await transport.writable(5.0)
    transport.shutdown_write()


@pytest.mark.parametrize("protocols", [TLSV1_2, TLSV1_3])
@pytest.mark.parametrize("most", [1000, 16384, 1 << 20])
def test_a_large_stream_arrives_whole(site: Pki, protocols: int, most: int) -> None:
    settings = settings_for(site)
    settings.protocols = protocols
    pair = Pair(server_tls(settings), upstream_for())
    pair.shake()
    assert pair.errors == {}
    data = bytes(range(256)) * 1500
    received = bytearray()
    pair.run(write_all(pair.server, data, most), read_all(pair.client, received))
    assert pair.errors == {}
    assert bytes(received) == data
    assert pair.client.tls.version() == ("TLSv1.2" if protocols == TLSV1_2 else "TLSv1.3")
    pair.close()


def test_an_event_that_came_while_openssl_held_bytes_is_not_forgotten(site: Pki) -> None:
    """Two requests in one segment, a third while the first is worked on: the second was read before the third came."""
    pair = Pair(server_tls(settings_for(site)), upstream_for())
    pair.shake()
    server = pair.server
    server.recv(100)
    assert not server.ready
    pair.client.send(b"first")
    pair.client.send(b"second")
    pair.reactor.dispatch(1.0)
    assert server.recv(8192) == b"first"
    assert server.ready
    pair.client.send(b"third")
    pair.reactor.dispatch(1.0)  # nobody reads; an edge is reported once
    assert server.recv(8192) == b"second"
    assert server.ready
    assert server.recv(8192) == b"third"
    assert server.recv(8192) is None and not server.ready
    pair.client.send(b"fourth")
    pair.reactor.dispatch(1.0)
    assert server.recv(8192) == b"fourth"
    assert not server.ready  # found out without another read
    pair.close()


@pytest.mark.parametrize("length", [3000, 5000, 6000, 7000, 7900])
def test_records_that_end_where_openssls_buffer_does(site: Pki, length: int) -> None:
    """A record held in part is completed by a read of the room that is left: nothing is pending then, but more may have come."""
    pair = Pair(server_tls(settings_for(site)), upstream_for())
    pair.shake()
    pair.server.recv(100)
    pair.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    count = 100_000 // length
    for _ in range(count):
        assert pair.client.send(b"x" * length) == length
    pair.reactor.dispatch(1.0)
    got = 0
    while pair.server.ready:
        got += len(pair.server.recv(65536) or b"")
    assert got == count * length
    pair.close()


def test_failures_of_a_side(site: Pki) -> None:
    """A record that cannot be decrypted is the failure of whoever sent it."""
    for broken, kind in (("client", ClientFailed), ("server", UpstreamFailed)):
        pair = Pair(server_tls(settings_for(site)), upstream_for())
        pair.shake()
        sender, receiver = (pair.client, pair.server) if broken == "client" else (pair.server, pair.client)
        receiver.recv(100)
        sender.sock.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        pair.reactor.dispatch(1.0)
        with pytest.raises(kind):
            receiver.recv(8192)
        pair.close()


def test_ready_stays_set_while_openssl_holds_bytes(site: Pki) -> None:
    pair = Pair(server_tls(settings_for(site)), upstream_for())
    pair.shake()
    assert pair.server.send(b"x" * 100) == 100
    got = b""
    for _ in range(9):
        got += pair.client.recv(10) or b""
        assert pair.client.ready
    got += pair.client.recv(10) or b""
    assert got == b"x" * 100
    # The last piece empties OpenSSL and was shorter than what it reads at a time: an event will tell of more, and if something
    # did come meanwhile a read still gets it.
    assert pair.client.tls.pending() == 0
    assert pair.client.recv(10) is None
    assert not pair.client.ready
    pair.close()


def test_end_of_stream_with_and_without_close_notify(site: Pki) -> None:
    for polite in (True, False):
        pair = Pair(server_tls(settings_for(site)), upstream_for())
        pair.shake()
        if polite:
            pair.server.close()
        else:
            pair.server.sock.close()
        while (data := pair.client.recv(100)) is None:
            pair.reactor.dispatch(1.0)
        assert data == b""
        pair.client.close()


def test_half_close_leaves_the_other_direction_open(site: Pki) -> None:
    pair = Pair(server_tls(settings_for(site)), upstream_for())
    pair.shake()
    pair.client.shutdown_write()
    assert pair.server.recv(100) == b""
    assert pair.server.send(b"late") == 4
    assert pair.client.recv(100) == b"late"
    pair.close()


def test_reset_sends_no_close_notify(site: Pki) -> None:
    reactor = Reactor()
    listening = socket.create_server(("127.0.0.1", 0))
    raw = socket.create_connection(listening.getsockname())
    accepted, _ = listening.accept()
    accepted.setblocking(False)
    transport = wrap(reactor, accepted, server_tls(settings_for(site)))
    transport.register()
    transport.reset()
    with pytest.raises(ConnectionResetError):
        raw.recv(1)
    raw.close()
    listening.close()


def test_certificates_of_two_types(site: Pki, tmp_path: Path) -> None:
    second = Pki(tmp_path, "a.test", rsa.generate_private_key(65537, 2048))
    settings = settings_for(site)
    settings.certificates.append(str(second.certificate))
    settings.keys.append(str(second.key))
    server = server_tls(settings)
    for ciphers, used in (("aECDSA", "ECDHE-ECDSA"), ("aRSA", "ECDHE-RSA")):
        pair = Pair(server, upstream_for(protocols=TLSV1_2, ciphers=ciphers))
        pair.shake()
        assert pair.errors == {}
        cipher = pair.server.tls.cipher()
        assert cipher is not None and cipher[0].startswith(used)
        pair.close()


def test_sni_chooses_the_certificate(site: Pki, other: Pki) -> None:
    first, second = server_tls(settings_for(site)), server_tls(settings_for(other))
    asked: list[bytes] = []

    def find(name: bytes) -> ServerTLS | None:
        asked.append(name)
        return second if name == b"B.test" else None

    client = upstream_for(server_name=True, verify=True, trusted_certificate=str(other.certificate))
    pair = Pair(first, client, b"B.test:443", find)
    pair.shake()
    assert pair.errors == {}
    assert asked == [b"B.test"]
    assert pair.server.server is second
    assert pair.server.server_name == b"B.test"
    pair.close()
    refused = Pair(first, client, b"c.test", find)
    refused.shake()
    assert "CERTIFICATE_VERIFY_FAILED" in str(refused.errors["1"])
    refused.close()


@pytest.mark.parametrize(("own", "default"), [(TLSV1_2, TLSV1_3), (TLSV1_3, TLSV1_2)])
def test_the_protocols_are_those_of_the_server_that_is_asked_for(site: Pki, own: int, default: int) -> None:
    settings = settings_for(site)
    settings.protocols = default
    named = settings_for(site)
    named.protocols = own
    first, second = server_tls(settings), server_tls(named)
    for name, protocols in ((b"b.test", own), (b"c.test", default)):
        pair = Pair(first, upstream_for(server_name=True), name, lambda name: second if name == b"b.test" else None)
        pair.shake()
        assert pair.errors == {}
        assert pair.server.tls.version() == {TLSV1_2: "TLSv1.2", TLSV1_3: "TLSv1.3"}[protocols]
        pair.close()


def send_server_name(client: TLSTransport, name: bytes) -> None:
    """Have the client send any bytes as SNI (SSL_CTRL_SET_TLSEXT_HOSTNAME), which `ssl` would not."""
    library = openssl.library()
    assert library is not None
    assert library._control(library.pointer(client.tls), 55, 0, name)


@pytest.mark.parametrize("name", [b"b\xff.test", b"\xc3\xa4.test", b"\xff" * 255, b"a..b", b"x" * 64 + b".test", b" \x01\x7f"])
def test_server_name_of_any_bytes(site: Pki, name: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[bytes] = []
    pair = Pair(server_tls(settings_for(site)), upstream_for(), find=asked.append)
    send_server_name(pair.client, name)
    pair.shake()
    assert pair.errors == {}
    assert asked == [name] == [pair.server.server_name]
    assert not pair.server.name_matched
    assert capfd.readouterr() == ("", "")
    pair.close()


def test_server_name_without_the_library(
    site: Pki, other: Pki, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ssl` calls with names that it can decode, and ends the handshake for others: without a traceback."""
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    library = openssl.library()
    monkeypatch.setattr(openssl._FOUND, "library", None)
    first, second = server_tls(settings_for(site)), server_tls(settings_for(other))
    for name, refused in ((b"b.test", False), (b"b\xff.test", True)):
        pair = Pair(first, upstream_for(), find=lambda name: second)
        openssl._FOUND.library = library
        send_server_name(pair.client, name)
        openssl._FOUND.library = None
        pair.shake()
        assert ("0" in pair.errors) == refused
        assert (pair.server.server is second) == (not refused)
        pair.close()
    assert told == []
    assert capfd.readouterr() == ("", "")


def test_without_sni_the_name_is_verified_all_the_same(site: Pki) -> None:
    good = upstream_for(verify=True, trusted_certificate=str(site.certificate))
    pair = Pair(server_tls(settings_for(site)), good)
    pair.shake()
    assert pair.errors == {}
    assert pair.server.server_name == b""
    pair.close()
    pair = Pair(server_tls(settings_for(site)), good, b"b.test")
    pair.shake()
    assert "mismatch" in str(pair.errors["1"]).lower()
    pair.close()


@pytest.mark.parametrize("name", [b"a.test", b""])
def test_a_server_that_rejects_sends_unrecognized_name(name: bytes) -> None:
    settings = ServerSettings()
    settings.reject = True
    pair = Pair(server_tls(settings), upstream_for(server_name=True), name)
    pair.shake()
    assert "0" in pair.errors
    assert "UNRECOGNIZED_NAME" in str(pair.errors["1"]).upper().replace(" ", "_")
    pair.close()


@pytest.mark.skipif(not tls.__file__.endswith(".py"), reason="an interpreted class cannot inherit from a compiled one")
def test_a_defect_in_stapling_is_reported_and_the_handshake_goes_on(site: Pki) -> None:
    class BrokenStatus(StatusSource):
        """Fails where nothing may be raised: in a callback of OpenSSL's."""

        def status(self, transport: TLSTransport, pointer: int) -> bytes:
            raise ValueError("a defect")

    library = openssl.library()
    assert library is not None
    server = server_tls(settings_for(site))
    staple_by_source(server, BrokenStatus())
    pair = Pair(server, upstream_for())
    reported: list[BaseException] = []
    pair.reactor.on_error = reported.append
    assert library.control(library.pointer(pair.client.tls), 65, 1, None), "SSL_set_tlsext_status_type"
    pair.shake()
    assert pair.errors == {}
    assert [str(error) for error in reported] == ["a defect"]
    pair.close()


def test_alpn_is_http11(site: Pki) -> None:
    client = upstream_for()
    client.context.set_alpn_protocols(["h2", "http/1.1"])
    pair = Pair(server_tls(settings_for(site)), client)
    pair.shake()
    assert pair.client.tls.selected_alpn_protocol() == "http/1.1"
    pair.close()


@pytest.mark.parametrize("protocols", [TLSV1_2, TLSV1_3])
def test_alpn_without_a_common_protocol_is_refused(site: Pki, protocols: int) -> None:
    client = upstream_for()
    client.context.set_alpn_protocols(["spdy/9", "h3"])
    settings = settings_for(site)
    settings.protocols = protocols
    pair = Pair(server_tls(settings), client)
    pair.shake()
    assert "no application protocol" in str(pair.errors["1"]).lower().replace("_", " ")
    assert "0" in pair.errors
    pair.close()


@pytest.mark.parametrize("protocols", [TLSV1_2, TLSV1_3])
def test_sessions_are_resumed(site: Pki, protocols: int) -> None:
    settings = settings_for(site)
    settings.protocols = protocols
    server, client = server_tls(settings), upstream_for()
    reused: list[bool] = []
    for _ in range(2):
        pair = Pair(server, client)
        pair.shake()
        pair.server.send(b"x")
        assert pair.client.recv(10) == b"x"
        reused.append(pair.server.tls.session_reused)
        pair.close()
    assert reused == [False, True]


@pytest.mark.parametrize(("cache", "resumed"), [(CACHE_KEPT, True), (CACHE_OFF, False)])
def test_sessions_without_tickets_need_the_cache(site: Pki, cache: int, resumed: bool) -> None:
    settings = settings_for(site)
    settings.protocols = TLSV1_2
    settings.tickets = False
    settings.cache = cache
    server, client = server_tls(settings), upstream_for()
    for expected in (False, resumed):
        pair = Pair(server, client)
        pair.shake()
        assert pair.server.tls.session_reused == expected
        pair.close()


@pytest.mark.parametrize("size", [48, 80])
def test_ticket_keys_from_a_file_hold_across_reloads(site: Pki, tmp_path: Path, size: int) -> None:
    key = tmp_path / "ticket.key"
    key.write_bytes(bytes(range(size)))
    client = upstream_for()
    reused: list[bool] = []
    for _ in range(2):
        settings = settings_for(site)
        settings.ticket_keys = [str(key)]
        pair = Pair(server_tls(settings), client)
        pair.shake()
        pair.server.send(b"x")
        assert pair.client.recv(10) == b"x"
        reused.append(pair.server.tls.session_reused)
        pair.close()
    assert reused == [False, True]


def resumes(first: ServerTLS, second: ServerTLS) -> bool:
    """Whether the second server resumes a session that the first has made."""
    client = upstream_for()
    for server in (first, second):
        pair = Pair(server, client)
        pair.shake()
        pair.server.send(b"x")
        assert pair.client.recv(10) == b"x"
        reused: bool = pair.server.tls.session_reused
        pair.close()
    return reused


@pytest.mark.parametrize("protocols", [TLSV1_2, TLSV1_3])
def test_tickets_hold_when_the_configuration_is_read_again(site: Pki, other: Pki, protocols: int) -> None:
    settings = settings_for(site)
    settings.protocols = protocols
    assert resumes(server_tls(settings), server_tls(settings))
    assert not resumes(server_tls(settings), server_tls(settings_for(other)))


def test_a_change_of_whom_is_trusted_ends_tickets(site: Pki, other: Pki, tmp_path: Path) -> None:
    authorities = tmp_path / "clients.pem"
    authorities.write_bytes(other.certificate.read_bytes() + site.certificate.read_bytes())
    settings = settings_for(site)
    settings.verify = VERIFY_ON
    settings.client_certificate = str(authorities)
    first = server_tls(settings)
    assert resumes(first, server_tls(settings))
    authorities.write_bytes(other.certificate.read_bytes())
    assert not resumes(first, server_tls(settings))


@pytest.mark.parametrize("protocols", [TLSV1_2, TLSV1_3])
@pytest.mark.parametrize(("first", "second"), [(80, 80), (48, 80), (80, 48)])
def test_a_key_that_was_first_still_opens_its_tickets(
    site: Pki, tmp_path: Path, protocols: int, first: int, second: int
) -> None:
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    old.write_bytes(bytes(range(first)))
    new.write_bytes(bytes(range(100, 100 + second)))
    settings = settings_for(site)
    settings.protocols = protocols
    servers: list[ServerTLS] = []
    for keys in ([old], [new, old], [new]):
        settings.ticket_keys = [str(path) for path in keys]
        servers.append(server_tls(settings))
    before, both, after = servers
    assert resumes(before, both)
    assert resumes(both, after)
    assert not resumes(before, after)
    assert not resumes(after, before)


@pytest.mark.parametrize("protocols", [TLSV1_2, TLSV1_3])
def test_servers_of_one_zone_resume_each_other(site: Pki, protocols: int) -> None:
    """Also over a reload: the context is made anew."""
    settings = settings_for(site)
    settings.protocols = protocols
    settings.cache = CACHE_KEPT
    settings.cache_zone = "resumed"
    first = server_tls(settings)
    assert first.ticket_sealer is not None
    assert resumes(first, server_tls(settings))
    settings.cache_zone = "another"
    assert not resumes(first, server_tls(settings))


def test_a_ticket_is_renewed_when_its_key_is_not_the_first(site: Pki, tmp_path: Path) -> None:
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    old.write_bytes(bytes(range(80)))
    new.write_bytes(bytes(range(80, 160)))
    settings = settings_for(site)
    settings.protocols = TLSV1_2
    servers: list[ServerTLS] = []
    for keys in ([old], [new, old], [new]):
        settings.ticket_keys = [str(path) for path in keys]
        servers.append(server_tls(settings))
    client = upstream_for()
    reused: list[bool] = []
    for server in servers:
        pair = Pair(server, client)
        pair.shake()
        reused.append(pair.server.tls.session_reused)
        pair.close()
    assert reused == [False, True, True]


def test_keys_of_a_zone_change_when_the_one_before_is_not_needed_any_more() -> None:
    shared = SharedKeys()
    _, _, first, _ = shared.renew(1000, 1010)
    _, _, same, _ = shared.renew(1010, 1020)
    assert same == first
    _, _, second, previous = shared.renew(1011, 1021)
    assert previous == first and second != first and len(second) == 80
    # Tickets of the first key are valid until 1020: it is known until then.
    assert shared.renew(1020, 1030)[2:] == (second, first)
    assert shared.renew(1021, 1031)[3] == second


def test_workers_know_each_others_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedKeys()
    now = [1000.0]
    monkeypatch.setattr(ticket_keys.time, "monotonic", lambda: now[0])
    one, two = RotatingKeys(shared, 10), RotatingKeys(shared, 10)
    first = one.sealing().name
    assert two.opening(first) is not None
    now[0] = 1005.0
    one.sealing()  # its tickets are valid until 1015
    now[0] = 1011.0
    second = one.sealing().name
    assert second != first and two.sealing().name == second
    assert two.opening(first) is not None
    now[0] = 1018.0
    assert one.sealing().name != second
    assert two.opening(first) is None and two.opening(second) is not None


def test_ticket_keys_are_kept_for_a_day() -> None:
    keys = TicketKeys()
    first = keys.of(b"one", 1000.0)
    assert len(first) == 80 and first != keys.of(b"two", 1000.0)
    assert keys.of(b"one", 1000.0 + LIFE - 1.0) == first
    assert keys.of(b"one", 1000.0 + LIFE) != first


def mutual(site: Pki, verify: int, authority: Pki | None) -> ServerTLS:
    settings = settings_for(site)
    settings.verify = verify
    if authority is not None:
        settings.client_certificate = str(authority.certificate)
    return server_tls(settings)


def test_a_bad_client_certificate_is_left_to_the_request(site: Pki, other: Pki) -> None:
    sender = upstream_for(certificate=str(site.certificate), certificate_key=str(site.key))
    pair = Pair(mutual(site, VERIFY_ON, other), sender)
    pair.shake()
    assert pair.errors == {}
    assert pair.server.verify_result() == 18
    assert pair.server.verify_error().replace("-", " ") == "self signed certificate"
    certificate = pair.server.certificate()
    assert certificate is not None and certificate.subject() == b"CN=a.test"
    pair.close()


def test_a_good_client_certificate_and_none(site: Pki, other: Pki) -> None:
    server = mutual(site, VERIFY_ON, other)
    sender = upstream_for(certificate=str(other.certificate), certificate_key=str(other.key))
    pair = Pair(server, sender)
    pair.shake()
    assert pair.server.verify_result() == 0
    assert pair.server.peer_certificate() is not None
    pair.close()
    pair = Pair(server, upstream_for())
    pair.shake()
    assert pair.errors == {}
    assert pair.server.peer_certificate() is None
    pair.close()


def test_sni_brings_the_demand_for_a_certificate(site: Pki, other: Pki) -> None:
    plain, verifying = server_tls(settings_for(site)), mutual(other, VERIFY_ON, other)
    sender = upstream_for(
        server_name=True,
        certificate=str(other.certificate),
        certificate_key=str(other.key),
        session_reuse=False,
    )
    for name, expected in ((b"b.test", True), (b"a.test", False)):
        pair = Pair(plain, sender, name, lambda name: verifying if name == b"b.test" else None)
        pair.shake()
        assert pair.errors == {}
        assert (pair.server.peer_certificate() is not None) == expected
        pair.close()
        pair = Pair(verifying, sender, name, lambda name: plain if name == b"a.test" else None)
        pair.shake()
        assert (pair.server.peer_certificate() is not None) == expected
        pair.close()


def test_a_session_of_another_name_is_no_proof(site: Pki, other: Pki) -> None:
    """CVE-2025-23419: the ticket of a server with laxer rules, offered to one that verifies."""
    lax_settings = settings_for(site)
    lax_settings.verify = VERIFY_OPTIONAL_NO_CA
    lax, strict = server_tls(lax_settings), mutual(other, VERIFY_ON, other)
    sender = upstream_for(server_name=True, certificate=str(site.certificate), certificate_key=str(site.key))

    def find(name: bytes) -> ServerTLS | None:
        return strict if name == b"b.test" else None

    pair = Pair(lax, sender, b"a.test", find)
    pair.shake()
    pair.server.send(b"x")
    assert pair.client.recv(1) == b"x"
    pair.close()
    sender._sessions[b"peer b.test"] = sender._sessions[b"peer a.test"]
    pair = Pair(lax, sender, b"b.test", find)
    pair.shake()
    assert pair.server.server_name == b"b.test"
    assert pair.errors == {}
    assert not pair.server.tls.session_reused
    assert pair.server.verify_result() == 18
    pair.close()


def test_a_session_of_another_name_is_refused_where_the_rules_are_the_same(site: Pki, other: Pki) -> None:
    strict = mutual(site, VERIFY_ON, other)
    sender = upstream_for(server_name=True, certificate=str(other.certificate), certificate_key=str(other.key))
    pair = Pair(strict, sender, b"a.test")
    pair.shake()
    pair.server.send(b"x")
    assert pair.client.recv(1) == b"x"
    pair.close()
    sender._sessions[b"peer b.test"] = sender._sessions[b"peer a.test"]
    pair = Pair(strict, sender, b"b.test", lambda name: strict)
    pair.shake()
    assert "another server name" in str(pair.errors["0"])
    pair.close()


@pytest.mark.parametrize("together", [False, True])
def test_tls_takes_the_place_of_a_registered_transport(site: Pki, together: bool) -> None:
    """No event is lost on the way: neither of what had arrived before, nor of what arrives after the handshake."""
    reactor = Reactor()
    left, right = socket.socketpair()
    left.setblocking(False)
    context = ssl.create_default_context(cafile=str(site.certificate))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="a.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    right.sendall(outgoing.read())
    plain = Transport(reactor, left)
    plain.register()
    reactor.dispatch(1.0)  # the event of the ClientHello goes to the plain one
    assert plain.peek() == b"\x16"
    transport = secure(plain, server_tls(settings_for(site)))
    got = bytearray()

    async def serve() -> None:
        await transport.handshake(5.0)
        data = transport.recv(100) if transport.ready else None
        while data is None:
            await transport.readable(5.0)
            data = transport.recv(100)
        got.extend(data)

    task = reactor.spawn(serve())
    incoming.write(right.recv(65536))
    client.do_handshake()
    if not together:
        right.sendall(outgoing.read())
        reactor.dispatch(1.0)
        assert transport.established and not transport.ready
    client.write(b"hello")
    right.sendall(outgoing.read())
    while not task.done:
        reactor.dispatch(1.0)
    assert got == b"hello"
    transport.close()
    right.close()


def test_plain_bytes_end_the_handshake(site: Pki) -> None:
    reactor = Reactor()
    left, right = socket.socketpair()
    left.setblocking(False)
    transport = wrap(reactor, left, server_tls(settings_for(site)))
    transport.register()
    right.sendall(b"GET / HTTP/1.1\r\n\r\n")
    failed: list[BaseException] = []

    async def shake() -> None:
        try:
            await transport.handshake(1.0)
        except OSError as error:
            failed.append(error)

    reactor.spawn(shake())
    assert isinstance(failed[0], ssl.SSLError)
    transport.close()
    right.close()


def test_a_silent_client_times_out(site: Pki) -> None:
    pair = Pair(server_tls(settings_for(site)), upstream_for())
    pair.run(pair.server.handshake(0.1))
    assert isinstance(pair.errors["0"], Timeout)
    pair.close()


def test_first_bytes() -> None:
    assert is_tls(0x16) and is_tls(0x80)
    assert not is_tls(ord("G"))


def test_the_message_for_a_listener_without_certificate() -> None:
    assert str(no_certificate(None)) == 'no "ssl_certificate" is defined for the "listen ... ssl" directive'


def test_groups_and_ciphers(site: Pki) -> None:
    settings = settings_for(site)
    settings.curves = "prime256v1"
    pair = Pair(server_tls(settings), upstream_for())
    pair.shake()
    library = openssl.library()
    assert library is not None
    assert library.negotiated_group(pair.server.tls) == "prime256v1"
    assert "X25519" in library.client_groups(pair.server.tls)
    assert "TLS_AES_256_GCM_SHA384" in library.client_ciphers(pair.server.tls)
    pair.close()


@pytest.mark.parametrize(
    ("name", "value", "message", "about"),
    [
        ("ciphers", "NOPE", 'SSL_CTX_set_cipher_list("NOPE") failed', "ciphers"),
        ("curves", "nope", 'SSL_CTX_set1_curves_list("nope") failed', "ecdh_curve"),
        ("dhparam", "/nope", 'BIO_new_file("/nope") failed', "dhparam"),
        (
            "trusted_certificate",
            "/nope",
            'SSL_CTX_load_verify_locations("/nope") failed',
            "trusted_certificate",
        ),
        ("crl", "/nope", 'X509_LOOKUP_load_file("/nope") failed', "crl"),
        ("verify", VERIFY_ON, "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client", "verify_client"),
        ("certificates", ["/nope"], 'cannot load certificate "/nope": BIO_new_file() failed', "certificate"),
        ("keys", ["/nope"], 'cannot load certificate key "/nope": BIO_new_file() failed', "certificate_key"),
    ],
)
def test_what_cannot_be_made(site: Pki, name: str, value: object, message: str, about: str) -> None:
    settings = settings_for(site)
    setattr(settings, name, value)
    with pytest.raises(ContextError) as failure:
        server_tls(settings)
    assert failure.value.message.startswith(message)
    assert failure.value.about == about


def test_revoked_client_certificates(site: Pki, other: Pki, tmp_path: Path) -> None:
    """Also when the server that checks is reached by SNI: the flags must be on the store."""
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    authority = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(subject, subject, authority.public_key(), 1)
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=2))
    root = builder.add_extension(x509.BasicConstraints(True, None), True).sign(authority, hashes.SHA256())
    pem = serialization.Encoding.PEM
    for number in (2, 3):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"client {number}")])
        leaf = x509.CertificateBuilder(subject, name, key.public_key(), number)
        leaf = leaf.not_valid_before(now - datetime.timedelta(hours=1))
        leaf = leaf.not_valid_after(now + datetime.timedelta(days=2))
        tmp_path.joinpath(f"{number}.pem").write_bytes(
            leaf.sign(authority, hashes.SHA256()).public_bytes(pem)
        )
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        tmp_path.joinpath(f"{number}.key").write_bytes(key.private_bytes(pem, form, plain))
    tmp_path.joinpath("root.pem").write_bytes(root.public_bytes(pem))
    entry = x509.RevokedCertificateBuilder().serial_number(3).revocation_date(now).build()
    revoked = x509.CertificateRevocationListBuilder().issuer_name(subject).add_revoked_certificate(entry)
    revoked = revoked.last_update(now - datetime.timedelta(hours=1)).next_update(
        now + datetime.timedelta(days=1)
    )
    tmp_path.joinpath("crl.pem").write_bytes(revoked.sign(authority, hashes.SHA256()).public_bytes(pem))
    settings = settings_for(other)
    settings.verify = VERIFY_ON
    settings.client_certificate = str(tmp_path / "root.pem")
    settings.crl = str(tmp_path / "crl.pem")
    strict, plain_server = server_tls(settings), server_tls(settings_for(site))
    for number, result in ((2, 0), (3, 23)):  # 23: X509_V_ERR_CERT_REVOKED
        sender = upstream_for(
            server_name=True,
            certificate=str(tmp_path / f"{number}.pem"),
            certificate_key=str(tmp_path / f"{number}.key"),
        )
        for first in (strict, plain_server):
            pair = Pair(first, sender, b"b.test", lambda name: strict)
            pair.shake()
            assert pair.errors == {}
            assert pair.server.verify_result() == result
            pair.close()
            sender._sessions.clear()


@pytest.mark.parametrize("name", [b".a.test", b"a..test", b"\xff", b"x" * 255, b"a\0b"])
def test_odd_name_of_a_peer(site: Pki, name: bytes) -> None:
    """A client may give it, by a variable in proxy_ssl_name."""
    pair = Pair(server_tls(settings_for(site)), upstream_for(server_name=True), name)
    pair.shake()
    assert pair.errors == {}
    pair.close()
