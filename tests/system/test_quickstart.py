"""The quickstart as a new user meets it: start, browser, Ctrl-C; in a private machine, for its ports are fixed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import Process, children, wait_until
from tests.system.private_machine import EXAMPLES, PrivateMachine
from tests.system.supervised import alive, is_gone

from portico import quickstart

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PORTS = (8080, 8443, 8081, 8082)
COMMAND = (sys.executable, "-m", "portico.quickstart", str(EXAMPLES / "quickstart" / "nginx.conf"))


class Shown:
    """A running quickstart and what it printed."""

    def __init__(self, machine: PrivateMachine, process: Process) -> None:
        self.machine = machine
        self.process = process

    @property
    def text(self) -> str:
        return self.process.output()

    def family(self) -> list[int]:
        """All processes: Portico, its workers, the applications."""
        own = children(self.process.pid)
        return own + [pid for child in own for pid in children(child)]

    def directory(self) -> Path:
        found = re.search(r"Logs: (/.*)/access\.log", self.text)
        assert found is not None, self.text
        return Path(found[1])

    def curl(self, *words: str) -> str:
        authority = str(self.directory() / "certificate.pem")
        done = self.machine.run("curl", "-sS", "--max-time", "10", "--cacert", authority, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

GREETING = "<li>Hello through the proxy</li>"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[PrivateMachine]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with PrivateMachine(tmp_path) as private:
        yield private


@pytest.fixture
def shown(machine: PrivateMachine) -> Shown:
    started = Shown(machine, machine.start(*COMMAND))
    wait_until(lambda: "Ctrl-C" in started.text, 20, "what to try")
    return started


def test_everything_that_it_prints_is_true(shown: Shown) -> None:
    assert shown.curl("-i", f"{quickstart.PLAIN}/some/where").startswith("HTTP/1.1 301 ")
    api = json.loads(shown.curl(f"{quickstart.SECURE}/api/hello"))
    assert api["target"] == "/hello"
    assert api["headers"]["x-forwarded-proto"] == "https"
    sheet = shown.curl("-I", f"{quickstart.SECURE}/assets/demo.css")
    assert sheet.startswith("HTTP/1.1 200 ")
    assert "Content-Type: text/css" in sheet
    assert "Cache-Control: public, immutable" in sheet
    turns = re.findall(r'"application": "(\w+)"', shown.curl(f"{quickstart.SECURE}/api/[1-4]"))
    assert sorted(turns) == ["one", "one", "two", "two"]
    for address in re.findall(r'"?https?://[^\s"]+', shown.text):
        assert urllib.parse.urlsplit(address.strip('"')).port in (8080, 8443)
    found = re.search(r"kill -HUP (\d+)", shown.text)
    assert found is not None
    before = set(children(int(found[1])))
    os.kill(int(found[1]), signal.SIGHUP)
    wait_until(lambda: not before.intersection(children(int(found[1]))), what="new workers")
    assert shown.curl(f"{quickstart.SECURE}/api/after")


def test_redirect_leads_to_the_page(shown: Shown) -> None:
    page = shown.curl("--location", f"{quickstart.PLAIN}/")
    assert "<dt>Scheme</dt><dd>https</dd>" in page
    assert "<dt>Your address</dt><dd>127.0.0.1</dd>" in page


def test_websocket_echo(shown: Shown) -> None:
    """With the asyncio client: the threaded one reads and writes one TLS connection from two threads at once, for which
    Python's `ssl` has no lock; now and then its request is never sent.
    """
    client = pytest.importorskip("websockets.asyncio.client", reason="websockets is not installed")
    context = ssl.create_default_context(cafile=str(shown.directory() / "certificate.pem"))
    plain = shown.machine.connect(8443)

    async def talk() -> None:
        async with client.connect("wss://127.0.0.1:8443/ws/echo", sock=plain, ssl=context) as socket:
            for message in ("hello", os.urandom(200), os.urandom(100_000)):
                await socket.send(message)
                assert await socket.recv() == message
            await socket.send(["in ", "three ", "fragments"])
            assert await socket.recv() == "in three fragments"
            await (await socket.ping())

    asyncio.run(asyncio.wait_for(talk(), 20))


def test_page_in_a_browser(shown: Shown, tmp_path: Path) -> None:
    """Its script ran: the WebSocket is open and the greeting came back."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--disable-dev-shm-usage")
    for attempt in range(5):  # the browser's time runs on while a WebSocket opens: on a busy machine the page may be read too early
        done = shown.machine.run(
            CHROMIUM, *options, f"--user-data-dir={tmp_path}/browser{attempt}", "--virtual-time-budget=5000", "--dump-dom",
            f"{quickstart.SECURE}/", seconds=50,
        )  # fmt: skip
        if GREETING in done.stdout:
            break
    assert re.search(r"from application <strong[^>]*>(one|two)</strong>", done.stdout), done.stderr
    assert "<dt>Scheme</dt><dd>https</dd>" in done.stdout
    assert GREETING in done.stdout
    assert '<span id="state" class="state open">open</span>' in done.stdout
    log = (shown.directory() / "access.log").read_text()
    for target in ("/", "/assets/demo.css", "/assets/demo.js"):
        assert f'"GET {target} HTTP/1.1" 200 ' in log


def test_interrupt_ends_everything(shown: Shown) -> None:
    family = shown.family()
    assert len(family) >= 4
    directory = shown.directory()
    shown.process.send(signal.SIGINT)
    assert shown.process.wait() == 0
    assert all(is_gone(pid) for pid in family)
    assert not directory.exists()
    assert shown.text.rstrip().endswith("Ctrl-C ends everything.")


def test_ctrl_c_at_a_terminal(machine: PrivateMachine) -> None:
    """The key itself: the terminal sends the signal to the foreground, and nothing is left on the screen."""
    words = machine.command(*COMMAND)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(words[0], words)
    seen = b""
    try:
        while b"Ctrl-C" not in seen:
            seen += os.read(terminal, 4096)
        family = children(pid) + [grandchild for child in children(pid) for grandchild in children(child)]
        assert len(family) >= 4
        os.write(terminal, b"\x03")
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        pid = 0
        while chunk := read_rest(terminal):
            seen += chunk
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        os.close(terminal)
    assert code == 0
    assert all(is_gone(pid) for pid in family)
    assert b"Traceback" not in seen
    assert seen.rstrip().removesuffix(b"^C").rstrip().endswith(b"Ctrl-C ends everything.")


def read_rest(terminal: int) -> bytes:
    """What is still there; a terminal that nobody has open any more reads as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_interrupt_while_starting(machine: PrivateMachine) -> None:
    process = machine.start(*COMMAND)
    wait_until(lambda: children(process.pid), what="a child")
    family = children(process.pid)
    process.send(signal.SIGINT)
    assert process.wait() == 0
    assert all(is_gone(pid) for pid in family)
    assert "Traceback" not in process.output()


def test_many_signals_at_once(shown: Shown) -> None:
    """SIGCHLD comes again and again, as when children die, and then twice together with the end: nothing waits for itself."""
    family = shown.family()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        for _ in range(1000):
            shown.process.send(signal.SIGCHLD)
    for _ in range(2):
        shown.process.send(signal.SIGTERM)
        shown.process.send(signal.SIGCHLD)
    assert shown.process.wait(15) == 0
    assert all(is_gone(pid) for pid in family)
    assert not any(shown.machine.listening(port) for port in PORTS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_two_signals_in_quick_succession(machine: PrivateMachine, number: int) -> None:
    process = machine.start(*COMMAND)
    wait_until(lambda: children(process.pid), what="a child")
    process.send(number)
    process.send(number)
    assert process.wait() == 0
    assert "Traceback" not in process.output()


def inhabitants(machine: PrivateMachine) -> set[int]:
    """The processes in the private network."""
    own = os.readlink(machine.root.parent / "ns/net")
    found = set()
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        try:
            if alive(pid) and os.readlink(f"/proc/{pid}/ns/net") == own:
                found.add(pid)
        except OSError:  # it has just ended
            pass
    return found


@pytest.mark.parametrize("number_of_children", [1, 2, 3])
def test_nothing_is_left_when_it_is_killed_while_starting(
    machine: PrivateMachine, tmp_path: Path, number_of_children: int
) -> None:
    before = inhabitants(machine)
    process = machine.start(*COMMAND, env={"TMPDIR": str(tmp_path)})  # its directory is all that it cannot remove
    wait_until(lambda: len(children(process.pid)) >= number_of_children, what="the children")
    process.send(signal.SIGKILL)
    process.wait()
    try:
        wait_until(lambda: inhabitants(machine) == before, what="the end of all that was started")
    finally:
        for pid in inhabitants(machine) - before:
            os.kill(pid, signal.SIGKILL)


def test_nothing_is_left_when_it_is_killed(shown: Shown) -> None:
    family = shown.family()
    shown.process.send(signal.SIGKILL)
    try:
        wait_until(lambda: not any(alive(pid) for pid in family), what="the end of Portico and of the applications")
        assert not any(shown.machine.listening(port) for port in PORTS)
    finally:
        for pid in filter(alive, family):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(shown.directory())


def test_a_child_of_a_parent_that_is_already_dead_does_not_start() -> None:
    somebody_else = os.getppid()
    started = subprocess.run(
        [sys.executable, "-c", "print('started')"], capture_output=True, text=True, timeout=20,
        preexec_fn=quickstart.end_with(somebody_else),
    )  # fmt: skip
    assert (started.returncode, started.stdout) == (1, "")


def test_port_in_use_is_told(machine: PrivateMachine) -> None:
    machine.start(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "8443", ports=(8443,))
    process = machine.start(*COMMAND)
    assert process.wait() == 1
    assert "127.0.0.1:8443" in process.output()
    assert "Portico ended with code 1" in process.output()
    assert "Traceback" not in process.output()


def test_outside_a_clone(machine: PrivateMachine, tmp_path: Path) -> None:
    done = machine.run(sys.executable, "-m", "portico.quickstart", str(tmp_path / "none.conf"))
    assert done.returncode == 1
    assert "none.conf" in done.stderr
