"""`python -m portico.quickstart`: Portico with a certificate made on the spot and two demo applications.

Everything lives in one new directory, which is Portico's prefix and is removed at the end:

    nginx.conf -> examples/quickstart/nginx.conf    certificate.pem  key.pem    site/assets/    the logs

Three children run beside this process, each in a process group of its own, so that Ctrl-C reaches only
this one and it can end them in order: Portico first, then the applications that Portico still asks. If this
process is killed, the kernel tells them to end.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, final

from portico import __version__
from portico.demo.page import ASSETS
from portico.net.certificates import self_signed

CONF: Final = Path("examples/quickstart/nginx.conf")
PLAIN: Final = "http://127.0.0.1:8080"  # these four are what the file says
SECURE: Final = "https://127.0.0.1:8443"
APPLICATIONS: Final = (("one", 8081), ("two", 8082))

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0

ENDINGS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
PR_SET_PDEATHSIG: Final = 1

HINTS: Final = """\
Portico {version} serves {conf}

  {secure}/    two demo applications, in turn
  {plain}/     redirects there

The certificate was made a moment ago and signed by nobody: a browser warns once, curl wants -k. Try

  curl -i  {plain}/some/where
  curl -k  {secure}/api/hello              # the application receives /hello
  curl -kI {secure}/assets/demo.css        # a file, fresh for a year
  curl -k "{secure}/api/[1-4]"             # the two take turns

Change {conf}, then

  kill -HUP {pid}

Logs: {directory}/access.log and error.log
Ctrl-C ends everything.
"""


@final
class Signals:
    """Those that end this process, and SIGCHLD. The interpreter itself writes each into a pipe, from which `wait` reads.

    A handler in Python would run in the middle of whatever the main thread does, and could wait for a lock that this
    very thread holds.
    """

    def __init__(self) -> None:
        self._reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in ENDINGS:
            if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` has it
                signal.signal(number, _nothing)
        signal.signal(signal.SIGCHLD, _nothing)

    def wait(self, seconds: float | None) -> frozenset[int]:
        """Wait for one, `seconds` at most (None: without a limit); return the numbers of all that came."""
        select.select([self._reading], [], [], seconds)
        try:
            return frozenset(os.read(self._reading, select.PIPE_BUF))
        except BlockingIOError:
            return frozenset()


def _nothing(number: int, frame: FrameType | None) -> None:
    """Do nothing: without a handler the interpreter would not catch the signal."""


def end_with(parent: int) -> Callable[[], None]:
    """Return what a child of `parent` calls before it becomes another program, so that it gets SIGTERM when its parent dies."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # died before we asked: nobody will tell
            os._exit(1)

    return ask


@final
class Child:
    """One process that we started, and that ends when we are gone, however that was."""

    def __init__(self, name: str, words: list[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words], stdin=subprocess.PIPE, stdout=sys.stderr, process_group=0,
            preexec_fn=end_with(os.getpid()),
        )  # fmt: skip

    def ended(self) -> bool:
        """Return whether it is gone (and reaped)."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """End it, kindly at first, and reap it."""
        if not self.ended():
            self.process.terminate()
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@final
class Quickstart:
    """The directory, the children, and the wait for the end."""

    def __init__(self, conf: Path, directory: Path, signals: Signals) -> None:
        self.conf = conf
        self.directory = directory
        self.signals = signals
        self.children: list[Child] = []
        self.told_to_end = False

    def run(self) -> int:
        """Serve until told to end, or until a child ends by itself; return the exit code."""
        try:
            self._fill_directory()
            self._start()
            if self._wait_for_answer():
                self._print_hints()
            while not self._over():
                self._wait()
            return self._verdict()
        finally:
            for child in self.children:
                child.stop()

    def _wait(self, seconds: float | None = None) -> None:
        """Wait for a signal, at most `seconds`: we are told to end, or a child died."""
        if self.signals.wait(seconds) & ENDINGS:
            self.told_to_end = True

    def _over(self) -> bool:
        return self.told_to_end or any(child.ended() for child in self.children)

    def _verdict(self) -> int:
        if self.told_to_end:
            return 0
        for child in self.children:
            if child.ended():
                code = child.process.returncode
                sys.stderr.write(f"quickstart: {child.name} ended with code {code}, so everything ends\n")
        return 1

    def _fill_directory(self) -> None:
        self.directory.chmod(0o755)  # workers that root starts run as another user, who reads the assets
        certificate, key = self_signed(["localhost", "127.0.0.1", "::1"], 30)
        (self.directory / "certificate.pem").write_bytes(certificate)
        (self.directory / "key.pem").touch(0o600)
        (self.directory / "key.pem").write_bytes(key)
        shutil.copytree(ASSETS, self.directory / "site" / "assets")
        (self.directory / "nginx.conf").symlink_to(self.conf.resolve())

    def _start(self) -> None:
        conf, log = str(self.directory / "nginx.conf"), str(self.directory / "error.log")
        self.children.append(Child("Portico", ["portico", "-p", str(self.directory), "-c", conf, "-e", log]))
        for name, port in APPLICATIONS:
            self.children.append(Child(f"application {name}", ["portico.demo", name, str(port)]))

    def _wait_for_answer(self) -> bool:
        """Wait until both applications and the proxy answered; return False when that will not happen, or not soon.

        The applications are asked first: one that the proxy finds absent is left alone for `fail_timeout`.
        """
        context = ssl.create_default_context(cafile=str(self.directory / "certificate.pem"))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._over() and time.monotonic() < deadline:
            if all(_answers(opener, f"http://127.0.0.1:{port}/") for _, port in APPLICATIONS) and _answers(opener, f"{SECURE}/"):
                return True
            self._wait(0.05)
        if not self._over():
            sys.stderr.write(f"quickstart: no answer from {SECURE}/ within {START_SECONDS:g} s; it goes on\n")
        return False

    def _print_hints(self) -> None:
        conf = os.path.relpath(self.conf)
        text = HINTS.format(
            version=__version__, conf=conf, secure=SECURE, plain=PLAIN,
            pid=self.children[0].process.pid, directory=self.directory,
        )  # fmt: skip
        sys.stdout.write(text)
        sys.stdout.flush()


def _answers(opener: urllib.request.OpenerDirector, address: str) -> bool:
    try:
        with opener.open(address, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def find_conf(words: list[str]) -> Path | None:
    """Return the file that the command line names, else this checkout's: below here, or beside the sources; None: there is none."""
    if words:
        return Path(words[0])
    for folder in (Path(), Path(__file__).parents[2]):
        if (folder / CONF).is_file():
            return folder / CONF
    return None


def main(words: list[str]) -> int:
    """Run the quickstart; return the exit code."""
    conf = find_conf(words)
    if conf is None or not conf.is_file():
        sys.stderr.write(f"quickstart: there is no {conf or CONF} here; run this in a clone of Portico\n")
        return 1
    signals = Signals()
    with tempfile.TemporaryDirectory(prefix="portico-quickstart-") as directory:
        return Quickstart(conf, Path(directory), signals).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
