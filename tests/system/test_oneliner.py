"""`portico to …` from the command line to its end: what it serves, prints and leaves behind."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import pty
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.processes import NGINX, PORTICO, Process, children, free_port, listening, portico_says, wait_until
from tests.system.supervised import alive


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked, and by which name of its own."""

    protocol_version = "HTTP/1.1"
    label = ""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        told = {
            "label": self.label, "method": self.command, "path": self.path, "body": body.decode(),
            "peer": self.client_address[1], "fields": {k.lower(): v for k, v in self.headers.items()},
        }  # fmt: skip
        text = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        pass


class Application:
    """An `Echo` server on a port of its own, in a thread."""

    def __init__(self, label: str) -> None:
        self.port = free_port()
        handler = type("Named", (Echo,), {"label": label})
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def application() -> Iterator[Application]:
    made = Application("one")
    yield made
    made.close()


class OneLiner:
    """A running `portico to …`, its temporary files below `directory`."""

    def __init__(self, directory: Path, *words: str, wrap: Sequence[str] = (), wait: bool = True) -> None:
        self.port = free_port()
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)
        words = (*words, "--listen", f"127.0.0.1:{self.port}")
        self.process = Process(
            [*wrap, *PORTICO, "to", *words], directory / "output", env={"TMPDIR": str(self.temporary)}
        )
        if wait:
            self.process.wait_listening(self.port)

    def __enter__(self) -> OneLiner:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def ask(
        self, path: str = "/", method: str = "GET", body: bytes | None = None, **fields: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {name.replace("_", "-"): value for name, value in fields.items()}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()


def run(*words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    return portico_says("to", *words, env={"XDG_STATE_HOME": str(home)} if home else None)


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """A directory that workers can enter when they run as nobody (pytest's own are closed to others)."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & stat.S_IXOTH:
            path.chmod(path.stat().st_mode | stat.S_IXOTH)
    return tmp_path


def test_forwards_with_the_usual_fields(open_path: Path, application: Application) -> None:
    with OneLiner(open_path, f"localhost:{application.port}") as portico:
        status, _, body = portico.ask("/a%20b?c=d", X_Forwarded_For="203.0.113.7")
        told = json.loads(body)
        assert (status, told["path"]) == (200, "/a%20b?c=d")
        assert told["fields"]["host"] == f"127.0.0.1:{portico.port}"
        assert told["fields"]["x-real-ip"] == "127.0.0.1"
        assert told["fields"]["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"
        assert told["fields"]["x-forwarded-proto"] == "http"
        assert "connection" not in told["fields"] and "upgrade" not in told["fields"]
        told = json.loads(portico.ask("/", "POST", b"x" * 3_000_000)[2])
        assert (told["method"], len(told["body"])) == ("POST", 3_000_000)


def test_connections_to_the_target_are_kept(open_path: Path, application: Application) -> None:
    with OneLiner(open_path, f"127.0.0.1:{application.port}") as portico:
        peers = {json.loads(portico.ask(Connection="keep-alive")[2])["peer"] for _ in range(4)}
        assert len(peers) == 1
        # One that wants its own connection closed gets its answer all the same.
        assert [portico.ask(Connection="close")[0] for _ in range(3)] == [200, 200, 200]


def test_says_where_it_listens_and_ends_cleanly(open_path: Path, application: Application) -> None:
    target = f"localhost:{application.port}"
    with OneLiner(open_path, target) as portico:
        wait_until(lambda: "Ctrl-C" in portico.process.output())
        said = f"portico: http://127.0.0.1:{portico.port} -> http://{target}\nportico: Ctrl-C ends it\n"
        assert portico.process.output() == said
        assert len(list(portico.temporary.iterdir())) == 1
        portico.process.send(signal.SIGINT)
        assert portico.process.wait() == 0
        assert portico.process.output() == said
        assert list(portico.temporary.iterdir()) == []
        assert not listening(portico.port)


def test_ctrl_c_reaches_all_processes(open_path: Path, application: Application) -> None:
    """A terminal sends the signal to the workers too, in any order; it is one end for all of them."""
    port = free_port()
    command = [*PORTICO, "to", str(application.port), "--listen", str(port)]
    path = open_path / "output"
    with path.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        # That it listens is not enough: the supervisor has not taken over yet, and Ctrl-C would end it with another code.
        wait_until(lambda: "Ctrl-C" in path.read_text())
        os.killpg(process.pid, signal.SIGINT)
        process.wait(10)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 0
    output = path.read_text()
    assert "Traceback" not in output and "emerg" not in output


STARTING: dict[str, Callable[[OneLiner], object]] = {
    "while modules are imported": lambda portico: "/_ssl.cpython" in Path(f"/proc/{portico.process.pid}/maps").read_text(),
    "with a directory": lambda portico: list(portico.temporary.iterdir()),
    "while it loads": lambda portico: list(portico.temporary.glob("*/nginx.conf")),
    "listening": lambda portico: listening(portico.port),
    "with a worker": lambda portico: children(portico.process.pid),
    "serving": lambda portico: "Ctrl-C" in portico.process.output(),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", STARTING)
def test_two_signals_in_quick_succession(open_path: Path, moment: str, number: int) -> None:
    """At any moment: it ends at once, without a word, and leaves nothing behind."""
    with OneLiner(open_path, "127.0.0.1:9", wait=False) as portico:
        wait_until(lambda: STARTING[moment](portico), what=moment)
        workers = children(portico.process.pid)
        portico.process.send(number)
        portico.process.send(number)
        assert portico.process.wait(5) in (0, -number, 128 + number)
        wait_until(lambda: not any(alive(pid) for pid in workers), what="the end of the workers")
        assert "Traceback" not in portico.process.output()
        assert list(portico.temporary.iterdir()) == []
        assert not listening(portico.port)


def test_the_end_of_the_terminal(open_path: Path) -> None:
    """A window that is closed: the kernel sends SIGHUP to what runs in it."""
    port = free_port()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(PORTICO[0], [*PORTICO, "to", "127.0.0.1:9", "--listen", str(port)])
    try:
        seen = b""
        while b"Ctrl-C" not in seen:
            seen += os.read(terminal, 4096)
        workers = children(pid)
        os.close(terminal)
        wait_until(lambda: not alive(pid), what="the end")
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 0
    assert not any(alive(worker) for worker in workers)


def test_without_a_terminal_a_hangup_is_a_reload(open_path: Path, application: Application) -> None:
    """As under `nohup`, which lets SIGHUP be ignored; what was said is not said again."""
    nohup = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    with OneLiner(open_path, str(application.port), wrap=nohup) as portico:
        wait_until(lambda: "Ctrl-C" in portico.process.output())
        said = portico.process.output()
        before = children(portico.process.pid)
        portico.process.send(signal.SIGHUP)
        wait_until(lambda: len(now := children(portico.process.pid)) == 1 and now != before, what="a new worker")
        assert portico.ask()[0] == 200
        assert portico.process.output() == said


def test_tls_on_the_spot(open_path: Path, application: Application) -> None:
    with OneLiner(open_path, str(application.port), "--tls", "--host", "app.example") as portico:
        (directory,) = portico.temporary.iterdir()
        key = directory / "certificate.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        context = ssl.create_default_context(cafile=str(directory / "certificate.pem"))
        for name in ("app.example", "localhost", "127.0.0.1"):
            with (
                socket.create_connection(("127.0.0.1", portico.port)) as plain,
                context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                secure.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: secure.recv(65536), b""))
            told = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert told["fields"]["host"] == "app.example"
            assert told["fields"]["x-forwarded-proto"] == "https"
        status, fields, _ = portico.ask("/a?b")
        assert (status, fields["Location"]) == (302, f"https://127.0.0.1:{portico.port}/a?b")


def test_files_then_target(open_path: Path, application: Application) -> None:
    site = open_path / "my site"
    (site / "docs").mkdir(parents=True)
    (site / "index.html").write_text("<h1>index")
    (site / "docs" / "index.html").write_text("<h1>docs")
    (site / "app.js").write_text("1")
    with OneLiner(open_path, str(application.port), "--root", str(site)) as portico:
        assert portico.ask("/")[2] == b"<h1>index"
        assert portico.ask("/docs/")[2] == b"<h1>docs"
        status, fields, body = portico.ask("/app.js?v=2")
        assert (status, body, fields["Content-Type"]) == (200, b"1", "text/javascript")
        for method, path, sent in (
            ("GET", "/missing?a=b", None), ("GET", "/docs", None), ("POST", "/", b"data"),
            ("POST", "/app.js", b"data"), ("POST", "/new", b"data"),
        ):  # fmt: skip
            told = json.loads(portico.ask(path, method, sent)[2])
            assert (told["method"], told["path"], told["body"]) == (method, path, (sent or b"").decode())


def test_files_only(open_path: Path) -> None:
    (open_path / "a.html").write_text("hello")
    with OneLiner(open_path, "--root", str(open_path)) as portico:
        status, fields, body = portico.ask("/a.html")
        assert (status, fields["Content-Type"], body) == (200, "text/html", b"hello")
        assert portico.ask("/missing")[0] == 404


def test_several_targets_share(open_path: Path, application: Application) -> None:
    other = Application("two")
    try:
        with OneLiner(open_path, f"127.0.0.1:{application.port}", f"127.0.0.1:{other.port}") as portico:
            labels = [json.loads(portico.ask()[2])["label"] for _ in range(6)]
        assert sorted(labels) == ["one"] * 3 + ["two"] * 3
    finally:
        other.close()


def test_a_restarted_application_is_back_at_once(open_path: Path) -> None:
    application = Application("first")
    with OneLiner(open_path, f"localhost:{application.port}") as portico:
        assert portico.ask(Connection="close")[0] == 200
        application.close()
        assert portico.ask()[0] == 502
        server = ThreadingHTTPServer(("127.0.0.1", application.port), Echo)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            wait_until(lambda: portico.ask()[0] == 200, seconds=3)
        finally:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize("tls", [False, True])
def test_websocket(open_path: Path, tls: bool) -> None:
    websockets = pytest.importorskip("websockets")
    port = free_port()
    told: list[str] = []

    async def echo(connection: object) -> None:
        told.append(connection.request.headers["X-Forwarded-Proto"])  # type: ignore[attr-defined]
        async for message in connection:  # type: ignore[attr-defined]
            await connection.send(message)  # type: ignore[attr-defined]

    async def talk(portico: OneLiner) -> list[object]:
        context = ssl._create_unverified_context() if tls else None
        scheme = "wss" if tls else "ws"
        async with (
            websockets.serve(echo, "127.0.0.1", port),
            websockets.connect(f"{scheme}://127.0.0.1:{portico.port}/ws", ssl=context) as client,
        ):
            answers = []
            for message in ("hello", b"\0" * 200_000, "end"):
                await client.send(message)
                answers.append(await asyncio.wait_for(client.recv(), 10))
            return answers

    with OneLiner(open_path, str(port), *(["--tls"] if tls else [])) as portico:
        assert asyncio.run(talk(portico)) == ["hello", b"\0" * 200_000, "end"]
    assert told == ["https" if tls else "http"]


def test_an_upgrade_that_the_application_does_not_want(open_path: Path, application: Application) -> None:
    """As `curl --http2` asks: the answer is an ordinary one."""
    with OneLiner(open_path, str(application.port)) as portico:
        status, _, body = portico.ask(
            Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABkAARAAAAAAAIAAAAA"
        )
        assert status == 200
        assert "http2-settings" not in json.loads(body)["fields"]


PRINTED = [
    ("localhost:3000",),
    ("3000", ":3001", "--tls", "--host", "app.example"),
    ("--root", "."),
    ("[::1]:3000", "--root", ".", "--listen", "*:18080"),
    ("unix:/run/app.sock",),
    ("https://127.0.0.1:8443", "--listen", "[::1]:18080"),
]


@pytest.mark.parametrize("words", PRINTED, ids=" ".join)
def test_what_is_printed_loads(tmp_path: Path, words: tuple[str, ...]) -> None:
    if "--listen" not in words:
        words = (*words, "--listen", f"127.0.0.1:{free_port()}")
    printed = run(*words, "--print", home=tmp_path)
    assert (printed.returncode, printed.stderr) == (0, "")
    conf = tmp_path / "printed.conf"
    conf.write_text(printed.stdout)
    tested = portico_says("-t", "-c", str(conf))
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr
    if shutil.which(NGINX) and os.geteuid() == 0:
        tested = subprocess.run([NGINX, "-t", "-c", str(conf)], capture_output=True, text=True, timeout=20)
        assert tested.returncode == 0, tested.stderr
        assert "[warn]" not in tested.stderr


def test_nginx_does_the_same_with_it(tmp_path: Path, application: Application) -> None:
    """The printed text in nginx's hands: files first, and a POST to one of them goes to the application."""
    if not shutil.which(NGINX) or os.geteuid() != 0:
        pytest.skip("nginx is not installed, or not started by root")
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<h1>index")
    port = free_port()
    words = (str(application.port), "--root", str(site), "--listen", str(port), "--print")
    printed = run(*words, home=tmp_path).stdout
    conf = tmp_path / "printed.conf"
    conf.write_text(f"daemon off; user root;\n{printed}")
    with Process([NGINX, "-c", str(conf), "-e", "stderr"], tmp_path / "output") as process:
        process.wait_listening(port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"<h1>index"
        connection.request("POST", "/?a=b", b"data")
        told = json.loads(connection.getresponse().read())
        assert (told["method"], told["path"], told["body"]) == ("POST", "/?a=b", "data")
        connection.close()


@pytest.mark.parametrize(
    "words, said",
    [
        ((), "where to? Name a target, as in: portico to localhost:3000"),
        (("ftp://x",), 'cannot speak "ftp" to "ftp://x": a target is http or https'),
        (("localhost:99999",), '"localhost:99999" is not a target: write HOST:PORT, as in localhost:3000'),
        (("3000/api",), 'a target has no path: "3000/api". Write a configuration with proxy_pass for that'),
        (("http://a", "https://b"), "targets that share the requests must be all http or all https"),
        (("3000", "--listen", "here"), 'cannot listen on "here": write ADDR:PORT, as in 127.0.0.1:8080'),
        (("3000", "--listen"), "argument --listen: expected one argument"),
        (("3000", "--root", "/no/such"), '"/no/such" is not a directory'),
        (("3000", "--host", "a b"), '"a b" is not the name of a host'),
        (("3000", "--list"), "unrecognized arguments: --list"),
    ],
)
def test_usage_errors(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"portico to: {said}\nportico to: `portico to --help` tells more\n"


def test_a_port_in_use(application: Application) -> None:
    done = run("3000", "--listen", str(application.port))
    assert done.returncode == 1
    assert f"127.0.0.1:{application.port}" in done.stderr and "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert "nginx.conf" not in done.stderr  # nobody wrote one


def test_a_target_that_has_no_address_yet(open_path: Path) -> None:
    with OneLiner(open_path, "no-such-host.invalid:3000") as proxy:
        assert proxy.ask()[0] == 502
        said = proxy.process.output()
    assert said.startswith('portico: [warn] host not found in upstream "no-such-host.invalid:3000"')
    assert "nginx.conf" not in said


def test_help() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: portico to TARGET... ")
