"""Every configuration of `examples/` as it stands: ports 80 and 443, real applications, real clients."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.processes import NGINX, Process, wait_until
from tests.system.private_machine import APPS, EXAMPLES, PrivateMachine

websockets_client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
websockets_errors = pytest.importorskip("websockets.exceptions")

NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/nginx.conf") if path.parent.name != "quickstart")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[PrivateMachine]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with PrivateMachine(tmp_path) as private:
        yield private


# -- applications ------------------------------------------------------------------------------------


def uvicorn(machine: PrivateMachine, port: int, name: str = "uvicorn") -> Process:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    words = ["-m", "uvicorn", "--app-dir", str(APPS), "--port", str(port), "--log-level", "warning", "asgi_app:app"]
    return machine.begin(sys.executable, *words, ports=(port,), env={"APPLICATION": name})


def gunicorn(machine: PrivateMachine, port: int, name: str = "gunicorn") -> Process:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    words = ["-m", "gunicorn", "--chdir", str(APPS), "--bind", f"127.0.0.1:{port}", "--threads", "2", "wsgi_app:app"]
    return machine.begin(sys.executable, *words, ports=(port,), env={"APPLICATION": name})


def node(machine: PrivateMachine, port: int, name: str = "node") -> Process:
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    return machine.begin(program, str(APPS / "node_app.js"), str(port), ports=(port,), env={"APPLICATION": name})


Start = Callable[[PrivateMachine, int], Process]
APPLICATIONS = [pytest.param(start, id=start.__name__) for start in (uvicorn, gunicorn, node)]


# -- clients -----------------------------------------------------------------------------------------


class Answer:
    """One answer as `curl -i` prints it; header names in lower case, repeated ones joined."""

    def __init__(self, text: str) -> None:
        text = text.replace("\r\n", "\n")
        if text.startswith("HTTP/1.1 100 "):
            text = text.partition("\n\n")[2]
        head, _, self.body = text.partition("\n\n")
        status, *lines = head.split("\n")
        self.status = int(status.split()[1])
        self.headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            known = self.headers.get(name.lower())
            self.headers[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"

    def seen(self) -> Any:
        """What the application received."""
        assert self.status == 200, self.body[:200]
        return json.loads(self.body)


def curl(machine: PrivateMachine, url: str, *options: str) -> Answer:
    return Answer(curl_text(machine, "--include", *options, url))


def curl_text(machine: PrivateMachine, *options: str) -> str:
    names = [word for name in ("example.com", "www.example.com") for port in (80, 443)
             for word in ("--resolve", f"{name}:{port}:127.0.0.1")]  # fmt: skip
    done = machine.run("curl", "--silent", "--show-error", "--max-time", "15", *names, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- (a), (b): one application -----------------------------------------------------------------------


@pytest.mark.parametrize("application", APPLICATIONS)
def test_forward(machine: PrivateMachine, application: Start) -> None:
    application(machine, 3000)
    machine.portico("forward", 80)
    answer = curl(machine, "http://example.com/some/where?a=1&b=%20", "--interface", "127.0.0.9")
    seen = answer.seen()
    assert seen["application"] == application.__name__
    assert (seen["method"], seen["target"]) == ("GET", "/some/where?a=1&b=%20")
    assert seen["headers"]["host"] == "localhost:3000"
    assert "x-forwarded-for" not in seen["headers"]
    assert answer.headers["server"].startswith("portico/")


@pytest.mark.parametrize("application", APPLICATIONS)
def test_forward_bodies(machine: PrivateMachine, application: Start) -> None:
    """Bodies with a length and without one, and ten requests of which some meet a refusing address first."""
    application(machine, 3000)
    machine.portico("forward", 80)
    payload = machine.directory / "payload"
    payload.write_text("0123456789" * 20_000)
    fixed = curl(machine, "http://example.com/", "--data-binary", f"@{payload}").seen()
    chunked = curl(machine, "http://example.com/", "--upload-file", str(payload), "-H", "Transfer-Encoding: chunked").seen()
    assert (fixed["method"], chunked["method"]) == ("POST", "PUT")
    arrived = [seen["body"] == payload.read_text() for seen in (fixed, chunked)]
    assert arrived == [True, True]
    lines = curl_text(machine, "http://example.com/[1-10]").splitlines()
    assert [json.loads(line)["target"] for line in lines] == [f"/{number}" for number in range(1, 11)]
    path = machine.path("/var/log/portico/access.log")  # a line is written when its client has the whole answer already
    wait_until(lambda: len(path.read_text().splitlines()) >= 12, what="twelve lines in the access log")
    log = path.read_text().splitlines()
    assert len(log) == 12
    assert all('" 200 ' in line and line.startswith("127.0.0.1 - - [") for line in log)


def test_forward_without_application(machine: PrivateMachine) -> None:
    machine.portico("forward", 80)
    assert curl(machine, "http://example.com/").status == 502
    log = machine.path("/var/log/portico/error.log").read_text()
    assert "connect() failed (111: Connection refused) while connecting to upstream" in log


@pytest.mark.parametrize("application", APPLICATIONS)
def test_forwarded_headers(machine: PrivateMachine, application: Start) -> None:
    application(machine, 3000)
    machine.portico("forwarded-headers", 80)
    seen = curl(
        machine, "http://example.com/", "--interface", "127.0.0.9", "-H", "X-Forwarded-For: 192.0.2.7",
        "-H", "X-Real-IP: 192.0.2.66", "-H", "X-Forwarded-Proto: https",
    ).seen()  # fmt: skip
    assert seen["headers"]["host"] == "example.com"
    assert seen["headers"]["x-real-ip"] == "127.0.0.9"
    assert seen["headers"]["x-forwarded-for"] == "192.0.2.7, 127.0.0.9"
    assert seen["headers"]["x-forwarded-proto"] == "http"
    assert seen["scheme"] == "http"


# -- (c): HTTPS --------------------------------------------------------------------------------------


def test_plain_http_is_redirected(machine: PrivateMachine) -> None:
    machine.lets_encrypt("example.com", "www.example.com")
    machine.portico("https", 80, 443)
    for name in ("example.com", "www.example.com"):
        answer = curl(machine, f"http://{name}/a%20b?c=d")
        assert answer.status == 301
        assert answer.headers["location"] == f"https://{name}/a%20b?c=d"
    over_ipv6 = Answer(curl_text(machine, "-i", "-g", "-H", "Host: example.com", "http://[::1]/x"))
    assert over_ipv6.headers["location"] == "https://example.com/x"


@pytest.mark.parametrize("application", APPLICATIONS)
def test_https(machine: PrivateMachine, application: Start) -> None:
    authority = machine.lets_encrypt("example.com", "www.example.com")
    application(machine, 3000)
    machine.portico("https", 80, 443)
    trusting = ("--cacert", str(authority), "--interface", "127.0.0.9")
    for version in ("1.2", "1.3"):
        seen = curl(machine, "https://example.com/x", *trusting, f"--tlsv{version}", "--tls-max", version).seen()
        assert seen["scheme"] == "https"
        assert seen["headers"]["host"] == "example.com"
        assert seen["headers"]["x-forwarded-proto"] == "https"
        assert seen["headers"]["x-real-ip"] == "127.0.0.9"
    followed = curl_text(machine, *trusting, "--location", "http://www.example.com/followed")
    assert json.loads(followed)["target"] == "/followed"


def test_https_refuses(machine: PrivateMachine) -> None:
    """A client that does not trust the certificate, TLS 1.1, and plain HTTP on the TLS port."""
    machine.lets_encrypt("example.com")
    machine.portico("https", 80, 443)
    assert machine.run("curl", "-s", "--connect-to", "::127.0.0.1:", "https://example.com/").returncode == 60
    old = machine.run("curl", "-sk", "--tls-max", "1.1", "--connect-to", "::127.0.0.1:", "https://example.com/")
    assert old.returncode == 35
    plain = curl(machine, "http://example.com:443/")
    assert plain.status == 400
    assert "The plain HTTP request was sent to HTTPS port" in plain.body


def test_renewed_certificate_is_served_after_reload(machine: PrivateMachine) -> None:
    old = machine.lets_encrypt("example.com")
    old = old.rename(old.with_name("old.pem"))
    machine.portico("https", 80, 443)
    link = machine.path("/etc/letsencrypt/live/example.com/fullchain.pem")
    link.unlink()
    link.with_name("privkey.pem").unlink()
    new = machine.lets_encrypt("example.com")
    assert machine.run(sys.executable, "-m", "portico", "-s", "reload").returncode == 0

    def trusted(authority: Path) -> bool:
        words = ("curl", "-s", "--cacert", str(authority), "--connect-to", "::127.0.0.1:", "https://example.com/")
        return machine.run(*words).returncode == 0

    wait_until(lambda: trusted(new), what="the new certificate")
    wait_until(lambda: not trusted(old), what="the end of the old one")


# -- (d): API and assets -----------------------------------------------------------------------------


@pytest.fixture
def site(machine: PrivateMachine) -> PrivateMachine:
    machine.write("/var/www/example.com/assets/app.css", "body { color: teal }\n")
    machine.write("/var/www/example.com/assets/large.bin", os.urandom(1 << 20))
    machine.write("/var/www/example.com/secret.txt", "not for everyone\n")
    uvicorn(machine, 4000, "api")
    node(machine, 3000, "pages")
    machine.portico("api-and-assets", 80)
    return machine


def test_api_loses_its_prefix(site: PrivateMachine) -> None:
    seen = curl(site, "http://example.com/api/users/7?full=1", "-X", "PUT", "--data", "name=x").seen()
    assert (seen["application"], seen["method"], seen["target"]) == ("api", "PUT", "/users/7?full=1")
    assert seen["body"] == "name=x"
    assert seen["headers"]["host"] == "example.com"
    assert curl(site, "http://example.com/api/").seen()["target"] == "/"
    moved = curl(site, "http://example.com/api")
    assert (moved.status, moved.headers["location"]) == (301, "http://example.com/api/")
    for target in ("/", "/apiary", "/secret.txt"):
        seen = curl(site, f"http://example.com{target}").seen()
        assert (seen["application"], seen["target"]) == ("pages", target)


def test_assets_come_from_disk(site: PrivateMachine) -> None:
    sheet = curl(site, "http://example.com/assets/app.css")
    assert (sheet.status, sheet.body) == (200, "body { color: teal }\n")
    assert sheet.headers["content-type"] == "text/css"
    assert sheet.headers["cache-control"] == "max-age=31536000, public, immutable"
    assert "expires" in sheet.headers
    again = curl(site, "http://example.com/assets/app.css", "-H", f"If-None-Match: {sheet.headers['etag']}")
    assert again.status == 304
    large = site.path("/var/www/example.com/assets/large.bin").read_bytes()
    copy, part = site.directory / "copy", site.directory / "part"
    url = "http://example.com/assets/large.bin"
    curl_text(site, "--output", str(copy), url)
    curl_text(site, "--range", "500000-500999", "--output", str(part), url)
    assert copy.read_bytes() == large
    assert part.read_bytes() == large[500_000:501_000]
    missing = curl(site, "http://example.com/assets/no.css")
    assert missing.status == 404
    assert "cache-control" not in missing.headers
    assert curl(site, "http://example.com/assets/../secret.txt", "--path-as-is").seen()["application"] == "pages"


# -- (e): three servers ------------------------------------------------------------------------------


def test_round_robin(machine: PrivateMachine) -> None:
    for number in (1, 2, 3):
        gunicorn(machine, 3000 + number, f"app{number}")
    machine.portico("round-robin", 80)
    lines = curl_text(machine, "http://example.com/[1-18]").splitlines()  # one connection, so one worker
    turns = [json.loads(line)["application"] for line in lines]
    assert {turns.count(f"app{number}") for number in (1, 2, 3)} == {6}
    machine.processes[0].stop(signal.SIGQUIT)  # at TERM it would wait for kept connections
    lines = curl_text(machine, "http://example.com/[1-12]").splitlines()
    assert {json.loads(line)["application"] for line in lines} == {"app2", "app3"}
    assert len(lines) == 12


def test_least_connections(machine: PrivateMachine) -> None:
    for number in (1, 2, 3):
        uvicorn(machine, 3000 + number, f"app{number}")
    machine.portico("least-connections", 80)
    busy = machine.start("curl", "-sN", "--connect-to", "::127.0.0.1:", "http://example.com/slow")
    occupied = wait_until(lambda: busy.output().strip(), what="the slow answer's first line")
    lines = curl_text(machine, "http://example.com/[1-6]").splitlines()
    others = [json.loads(line)["application"] for line in lines]
    assert occupied not in others
    assert len(set(others)) == 2


# -- (f): WebSocket ----------------------------------------------------------------------------------


@pytest.fixture
def chat(machine: PrivateMachine) -> PrivateMachine:
    uvicorn(machine, 3000)
    machine.portico("websocket", 80)
    return machine


def test_websocket(chat: PrivateMachine) -> None:
    with websockets_client.connect("ws://example.com/ws/room/1?x=y", sock=chat.connect(80)) as socket:
        socket.send("where")
        assert socket.recv(timeout=10) == "/ws/room/1 example.com"
        large = os.urandom(300_000)
        for message in ("hello", "grüße", large, b""):
            socket.send(message)
            assert socket.recv(timeout=10) == message
        assert socket.ping().wait(10)
    seen = curl(chat, "http://example.com/page").seen()
    assert seen["target"] == "/page"


def test_websocket_close_code_reaches_the_client(chat: PrivateMachine) -> None:
    with websockets_client.connect("ws://example.com/ws/", sock=chat.connect(80)) as socket:
        socket.send("bye")
        with pytest.raises(websockets_errors.ConnectionClosed) as closed:
            socket.recv(timeout=10)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")


# -- all ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_portico_and_nginx_accept_it(machine: PrivateMachine, name: str) -> None:
    machine.lets_encrypt("example.com")
    conf = str(EXAMPLES / name / "nginx.conf")
    for words in ([sys.executable, "-m", "portico"], [NGINX]):
        if Path(words[0]).exists():
            done = machine.run(*words, "-t", "-c", conf)
            assert done.returncode == 0, done.stderr
            assert "[warn]" not in done.stderr
