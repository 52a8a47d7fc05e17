"""`portico -t` without starting a program each time: one forked process tests many configurations, and may write only to its folder.

Where the tests run as root, that process becomes nobody first, for a damaged configuration may name any file. Names of hosts are not
asked of a resolver.
"""

from __future__ import annotations

import importlib
import os
import re
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

from portico import cli
from portico.program import LoadFailed, Source, load_program

SECONDS = 5.0  # in which any configuration must be read
NOBODY = 65534
PLACED = re.compile(r"portico: \[(emerg|crit|alert)\] .+ in .+:\d+")
# What has no place in a file: nginx names none either.
NO_PLACE = re.compile(
    r'portico: \[(emerg|crit|alert)\] (no "events" section in configuration|open\(\) ".*" failed \(.*|mkdir\(\) ".*" failed \(.*'
    r"|still could not bind\(\)|bind\(\) to .* failed \(.*)"
)


class Hangs(BaseException):
    """It took longer than SECONDS."""


class Checker:
    """A folder with the files that configurations name."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="configs-", dir="/tmp"))

    def prepare(self, texts: list[bytes]) -> None:
        """Loads configurations in this process, so that what they import is there: nobody may not be allowed to read it."""
        for encoding in ("idna", "punycode", "utf_8_sig", "latin_1"):
            importlib.import_module(f"encodings.{encoding}")
        for text in texts:
            (self.folder / "nginx.conf").write_bytes(text)
            try:
                load_program(Source(f"{self.folder}/", "nginx.conf", "", ""), None).close()
            except LoadFailed:
                pass
        (self.folder / "nginx.conf").unlink()

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def check(self, texts: list[bytes]) -> tuple[int, str]:
        """Tests one after the other; the number and fault of the first that is treated badly, or (-1, "")."""
        self._hand_over()
        result, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(result)
            _run(self.folder, texts, told)
        os.close(told)
        try:
            if not select.select([result], [], [], len(texts) + 3 * SECONDS)[0]:
                os.kill(pid, signal.SIGKILL)
                return len(texts) - 1, "hangs, and cannot be interrupted"
            said = b""
            while data := os.read(result, 65536):
                said += data
        finally:
            os.close(result)
            status = os.waitpid(pid, 0)[1]
        number, _, fault = said.decode(errors="replace").partition("\n")
        return (int(number), fault) if number else (len(texts) - 1, f"the process ended with {os.waitstatus_to_exitcode(status)}")

    def _hand_over(self) -> None:
        """What the other process may have to write is its own."""
        if os.geteuid() == 0:
            for path in (self.folder, self.folder / "logs"):
                if path.is_dir():
                    os.chown(path, NOBODY, NOBODY)


def _run(folder: Path, texts: list[bytes], told: int) -> NoReturn:
    """In the child: checks them all, tells the first fault, and is gone."""
    verdict = "-1\n"
    try:
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        socket.getaddrinfo = _without_resolver
        errors = os.open(folder / "stderr", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        os.chdir(folder)
        signal.signal(signal.SIGALRM, _too_late)
        for number, text in enumerate(texts):
            if fault := _fault(folder, text):
                verdict = f"{number}\n{fault}"
                break
    except BaseException:
        verdict = f"{len(texts) - 1}\nthe checker failed: {traceback.format_exc()}"
    os.write(told, verdict.encode("utf-8", "replace")[:60_000])
    os._exit(0)


def _fault(folder: Path, text: bytes) -> str:
    """What `portico -t` does wrong with the configuration, "" if nothing."""
    (folder / "nginx.conf").write_bytes(text)
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        code = cli.main(["-t", "-p", f"{folder}/", "-c", "nginx.conf", "-e", "logs/early.log"])
    except Hangs:
        return f"hangs: {traceback.format_exc()}"
    except BaseException:
        return traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stderr.flush()
    return judged(code, (folder / "stderr").read_bytes())


def judged(code: int, said: bytes) -> str:
    """What is wrong with an exit status and what was printed."""
    lines = said.decode(errors="replace").splitlines()
    failures = [line for line in lines if re.match(r"portico: \[(emerg|crit|alert)\]", line)]
    if code not in (0, 1):
        return f"exit status {code}"
    if b"Traceback" in said or b"internal error" in said:
        return said.decode(errors="replace")
    if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", said):
        return f"control characters on stderr: {said!r}"
    if code == 1 and not failures:
        return f"exit status 1 without a reason: {said!r}"
    if code == 0 and failures:
        return f"exit status 0 with {failures}"
    strange = [line for line in failures if not PLACED.fullmatch(line) and not NO_PLACE.fullmatch(line)]
    return f"no place: {strange}" if strange else ""


def _too_late(_: int, __: object) -> NoReturn:
    raise Hangs


_getaddrinfo = socket.getaddrinfo


def _without_resolver(host: str | None, *more: object, **named: object) -> object:
    """Addresses and localhost; no other name is known."""
    if isinstance(host, str) and host != "localhost" and not re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.%]*:[0-9a-fA-F:.%]*", host):
        host.encode("idna")  # fails as the real one does
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _getaddrinfo(host, *more, **named)  # type: ignore[arg-type]
