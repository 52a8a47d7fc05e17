"""`portico to localhost:3000`: a proxy in one line, for people without a configuration.

The words become the text of an `nginx.conf`, and that is what runs: `--print` shows it, and it means the
same to nginx. Two choices in it need a reason:

- `Connection` is passed on as the client sent it, together with `Upgrade`. nginx's usual way, a `map` from
  `$http_upgrade`, comes to the same for every client that follows RFC 9110 section 7.8: it says
  `Connection: upgrade` exactly when it sends `Upgrade`. A fixed `Connection: upgrade` would not do: some
  servers (Kestrel) refuse a body in what looks like an upgrade. A client that says `Connection: close`
  costs the upstream connection its reuse, and nothing else.
- Nothing is held back (`proxy_buffering off`) and a quiet connection lives for an hour: what is developed
  behind such a proxy streams events and keeps WebSockets open.
"""

from __future__ import annotations

import argparse
import mmap
import os
import pwd
import re
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from types import FrameType
from typing import Final, NoReturn, final

from portico import errorlog
from portico.program import Program, Source, load_program
from portico.supervisor import signals
from portico.supervisor.plan import Plan, WorkerContext
from portico.supervisor.settings import DEFAULT_USER
from portico.supervisor.supervisor import supervise

DEFAULT_LISTEN: Final = "127.0.0.1:8080"
CERTIFICATE_DAYS: Final = 365

USAGE: Final = """\
Usage: portico to TARGET... [--listen ADDR:PORT] [--tls] [--root DIR] [--host NAME] [--print]
       portico to --root DIR

Forwards every request to TARGET; several targets share the requests.

  TARGET              : localhost:3000, 3000, [::1]:3000, https://example.com, unix:/run/app.sock
  --listen ADDR:PORT  : where to take requests (default: {listen}); a port alone is one of 127.0.0.1,
                        *:PORT one of every address
  --tls               : speak TLS, with a certificate made on the spot
  --root DIR          : answer with files from DIR, and forward what is not there; without a TARGET
                        files are all there is
  --host NAME         : the name of this server, sent to TARGET as Host (without it, the client's, but
                        to an https TARGET its own)
  --print             : print the nginx.conf that this is equal to, and exit
  -h, --help          : this help
"""


class UsageError(Exception):
    """The words make no proxy; the text says why and what would."""


@final
class Target:
    """One server to forward to."""

    def __init__(self, secure: bool, address: str) -> None:
        self.secure = secure
        self.address = address  # as `server` in an upstream takes it

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.address}"


@final
class Wish:
    """The command line, parsed and checked."""

    def __init__(self, targets: list[Target], listen: str, tls: bool, root: str, host: str) -> None:
        self.targets = targets
        self.listen = listen  # as `listen` takes it
        self.tls = tls
        self.root = root  # absolute; "": no files
        self.host = host  # "": the client's
        self.show = False  # --print

    def url(self) -> str:
        """Return where to point a browser."""
        address, _, port = self.listen.rpartition(":")
        address = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(address, address)
        return f"{'https' if self.tls else 'http'}://{address}:{port}"


# -- the command line


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse_words(words: list[str]) -> Wish:
    """Parse the words of the command line. Raises UsageError."""
    parser = _Parser(prog="portico to", add_help=False, allow_abbrev=False)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--listen", default=DEFAULT_LISTEN)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--root", default="")
    parser.add_argument("--host", default="")
    parser.add_argument("--print", action="store_true", dest="show")
    found = parser.parse_intermixed_args(words)
    targets = [parse_target(str(word)) for word in found.targets]
    if not targets and not found.root:
        raise UsageError("where to? Name a target, as in: portico to localhost:3000")
    if len({target.secure for target in targets}) > 1:
        raise UsageError("targets that share the requests must be all http or all https")
    host = str(found.host)
    if host and not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", host):
        raise UsageError(f'"{host}" is not the name of a host')
    wish = Wish(targets, _listen(str(found.listen)), bool(found.tls), _root(str(found.root)), host)
    wish.show = bool(found.show)
    return wish


def parse_target(word: str) -> Target:
    """Parse `localhost:3000`, `3000`, `https://example.com`, … Raises UsageError."""
    scheme, separator, rest = word.partition("://")
    if not separator:
        scheme, rest = "http", word
    if scheme.lower() not in ("http", "https"):
        raise UsageError(f'cannot speak "{scheme}" to "{word}": a target is http or https')
    secure = scheme.lower() == "https"
    if rest.startswith("unix:"):
        if secure or not rest.startswith("unix:/") or _unwritable(rest) or ":" in rest[5:]:
            raise UsageError(f'"{word}" is not a socket: write unix:/path/to/socket')
        return Target(secure, rest)
    if separator and rest.endswith("/"):
        rest = rest[:-1]
    if "/" in rest or "?" in rest:
        raise UsageError(f'a target has no path: "{word}". Write a configuration with proxy_pass for that')
    if rest.isdecimal() and rest.isascii():
        rest = f"localhost:{rest}"
    elif rest.startswith(":"):
        rest = f"localhost{rest}"
    wrong = f'"{word}" is not a target: write HOST:PORT, as in localhost:3000'
    host, port = _split(rest, 443 if secure else 80, wrong)
    return Target(secure, f"{host}:{port}")


def _listen(word: str) -> str:
    if word.isdecimal() and word.isascii():
        word = f"127.0.0.1:{word}"
    elif word.startswith(":"):
        word = f"*{word}"
    wrong = f'cannot listen on "{word}": write ADDR:PORT, as in {DEFAULT_LISTEN}'
    host, port = _split(word.replace("*", "any", 1) if word.startswith("*:") else word, 0, wrong)
    return f"*:{port}" if word.startswith("*:") else f"{host}:{port}"


def _split(text: str, default_port: int, wrong: str) -> tuple[str, int]:
    """Return host and port, checked by shape only: whether a name resolves turns out when it is used. Raises UsageError."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?", text)
    if match is None:
        raise UsageError(wrong)
    port = int(match[2]) if match[2] else default_port
    if not 0 < port < 65536:
        raise UsageError(wrong)
    return match[1], port


def _root(word: str) -> str:
    if not word:
        return ""
    path = os.path.abspath(word)
    if not os.path.isdir(path):
        raise UsageError(f'"{word}" is not a directory')
    if _unwritable(path):
        raise UsageError(f'the path "{path}" holds a character that nginx.conf cannot write in `root`')
    return path


def _unwritable(path: str) -> bool:
    """Return whether nginx.conf cannot hold `path`: it has no way to write a "$" that is no variable, nor line ends and such."""
    return "$" in path or any(not character.isprintable() for character in path)


# -- the configuration

_TYPES: Final = (
    ("text/html", "html htm"), ("text/css", "css"), ("text/javascript", "js mjs"), ("text/plain", "txt log"),
    ("text/markdown", "md"), ("text/csv", "csv"), ("text/xml", "xml"), ("application/json", "json map"),
    ("application/manifest+json", "webmanifest"), ("application/wasm", "wasm"), ("application/pdf", "pdf"),
    ("application/rss+xml", "rss"), ("application/atom+xml", "atom"), ("application/zip", "zip"),
    ("application/gzip", "gz"), ("image/svg+xml", "svg svgz"), ("image/png", "png"),
    ("image/jpeg", "jpg jpeg"), ("image/gif", "gif"), ("image/webp", "webp"),
    ("image/avif", "avif"), ("image/x-icon", "ico"), ("font/woff", "woff"),
    ("font/woff2", "woff2"), ("font/ttf", "ttf"), ("font/otf", "otf"),
    ("audio/mpeg", "mp3"), ("audio/ogg", "ogg oga"), ("video/mp4", "mp4 m4v"), ("video/webm", "webm"),
)  # fmt: skip


def configuration(wish: Wish, directory: str) -> str:
    """Return the `nginx.conf`. `directory` is for what a running proxy stores: pid, certificate, large bodies."""
    http = [
        "access_log off;",
        f"client_body_temp_path {_quoted(directory + '/client_body')};",
        f"proxy_temp_path {_quoted(directory + '/proxy')};",
    ]
    if wish.root:
        http += ["sendfile on;", "default_type application/octet-stream;"]
        http += ["", "types {", *(f"    {kind} {ends};" for kind, ends in _TYPES), "}"]
    if wish.targets:
        # A single server that was restarted is not to be avoided for longer than a moment.
        patience = " fail_timeout=1s" if len(wish.targets) == 1 else ""
        servers = [f"server {_quoted(target.address)}{patience};" for target in wish.targets]
        http += ["", "upstream app {", *_indented([*servers, "keepalive 32;"]), "}"]
    http += ["", "server {", *_indented(_server(wish, directory)), "}"]
    main = ["error_log stderr;", f"pid {_quoted(directory + '/portico.pid')};", "", "events {", "}", ""]
    return "\n".join([*main, "http {", *_indented(http), "}", ""])


def _server(wish: Wish, directory: str) -> list[str]:
    lines = [f"listen {wish.listen}{' ssl' if wish.tls else ''};"]
    if wish.host:
        lines.append(f"server_name {wish.host};")
    if wish.tls:
        lines.append(f"ssl_certificate {_quoted(directory + '/certificate.pem')};")
        lines.append(f"ssl_certificate_key {_quoted(directory + '/certificate.key')};")
        lines.append("error_page 497 https://$http_host$request_uri;")
    if wish.targets:
        lines.append("client_max_body_size 0;")
    if wish.root:
        files = [f"root {_quoted(wish.root)};", "index index.html;"]
        if wish.targets:
            # What is no file goes to the application, and so does a POST to what is one.
            files[1:] = ["try_files $uri ${uri}index.html @app;", "error_page 405 = @app;"]
        lines += ["", "location / {", *_indented(files), "}"]
    if wish.targets:
        lines += ["", f"location {'@app' if wish.root else '/'} {{", *_indented(_proxy(wish)), "}"]
    return lines


def _proxy(wish: Wish) -> list[str]:
    secure = wish.targets[0].secure
    # A server somewhere in the world wants to be called by the name that its certificate has.
    host = wish.host or (re.sub(r":[0-9]+$", "", wish.targets[0].address) if secure else "$http_host")
    lines = [
        f"proxy_pass {'https' if secure else 'http'}://app;",
        "proxy_http_version 1.1;",
        f"proxy_set_header Host {host};",
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header Upgrade $http_upgrade;",
        "proxy_set_header Connection $http_connection;",
        "proxy_buffering off;",
        "proxy_read_timeout 1h;",
    ]
    if secure:
        lines += ["proxy_ssl_server_name on;", f"proxy_ssl_name {host};"]
    return lines


def _indented(lines: list[str]) -> list[str]:
    return ["    " + line if line else "" for line in lines]


def _quoted(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_./:@+,=-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# -- running it


def run_to(words: list[str]) -> int:
    """Run `portico to …`; return the exit code."""
    if any(word in ("-h", "--help", "-?") for word in words):
        sys.stdout.write(USAGE.format(listen=DEFAULT_LISTEN))
        return 0
    try:
        wish = parse_words(words)
    except UsageError as error:
        sys.stderr.write(f"portico to: {error}\nportico to: `portico to --help` tells more\n")
        return 1
    try:
        return _print(wish) if wish.show else _serve(wish)
    except OSError as error:
        sys.stderr.write(f"portico to: {error}\n")
        return 1


def _print(wish: Wish) -> int:
    """Print a configuration that can be used as it is, so the directory that it names is made, and stays; return the exit code."""
    directory = os.path.join(_state_directory(), wish.listen.rpartition(":")[2])
    os.makedirs(directory, 0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
    if wish.tls:
        _make_certificate(wish, directory)
    sys.stdout.write(configuration(wish, directory))
    return 0


def _state_directory() -> str:
    home = os.environ.get("XDG_STATE_HOME", "")
    if not home:
        home = "/var/lib" if os.geteuid() == 0 else os.path.expanduser("~/.local/state")
    return os.path.join(home, "portico")


def _serve(wish: Wish) -> int:
    hangup_ends = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN  # it is ignored under `nohup`
    signals.block()
    directory = tempfile.mkdtemp(prefix="portico-")
    _remove_when_ended(directory)
    signals.unblock()
    try:
        if os.geteuid() == 0:
            os.chmod(directory, 0o711)  # workers, which run as somebody else, reach their directories in it
            _warn_unreadable(wish.root)
        if wish.tls:
            _make_certificate(wish, directory)
        with open(directory + "/nginx.conf", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(configuration(wish, directory))
        source = Source(directory, "nginx.conf", "", "")
        announce = _once(_greeting(wish))

        def load(running: Plan | None) -> Plan:
            before = running.program if isinstance(running, _Announced) else None
            program = load_program(source, before)
            _forget_places(program)
            return _Announced(program, announce)

        return supervise(load, errorlog.early(directory + "/start.log"), hangup_ends)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _remove_when_ended(directory: str) -> None:
    """Let a signal that ends this process remove the directory, until the supervisor blocks signals and takes them itself.

    The handler ends the process where it stands, as the signal would by itself. It takes no lock, so it may come at any
    moment, even twice.
    """

    def end(number: int, frame: FrameType | None) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def _forget_places(program: Program) -> None:
    """Remove from what may be reported the lines of a file that nobody wrote and nobody finds again."""
    for warning in program.diagnostics.warnings:
        warning.where = None
    for listen in program.listens:
        listen.where = None


def _make_certificate(wish: Wish, directory: str) -> None:
    from portico.net.certificates import self_signed

    names = ["localhost", "127.0.0.1", "::1"]
    address = wish.listen.rpartition(":")[0].strip("[]")
    for name in (address, wish.host):
        if name and name not in (*names, "*", "::", "0.0.0.0"):
            names.insert(0, name)
    certificate, key = self_signed(names, CERTIFICATE_DAYS)
    for name, content in (("certificate.pem", certificate), ("certificate.key", key)):
        descriptor = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)


def _warn_unreadable(root: str) -> None:
    """Warn that the workers, which run as nobody when started by root, cannot read `root`: files under /root are a riddle else."""
    path = root
    while path and path != "/":
        if not os.stat(path).st_mode & stat.S_IXOTH and os.stat(path).st_uid != _uid(DEFAULT_USER):
            sys.stderr.write(
                f'portico to: [warn] the user "{DEFAULT_USER}", as whom the workers run, cannot enter '
                f'"{path}": requests for files in it are answered 403\n'
            )
            return
        path = os.path.dirname(path)


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


def _greeting(wish: Wish) -> str:
    aims = ", ".join(str(target) for target in wish.targets)
    if wish.root:
        aims = f"files in {wish.root}" + (f", else {aims}" if aims else "")
    lines = [f"portico: {wish.url()} -> {aims}"]
    if wish.tls:
        lines.append("portico: the certificate is signed by itself: browsers ask once, curl wants -k")
    return "\n".join([*lines, "portico: Ctrl-C ends it", ""])


def _once(text: str) -> Callable[[], None]:
    """Return a function that prints `text` when it is called first, in whichever process."""
    said = mmap.mmap(-1, 1)

    def announce() -> None:
        if not said[0]:
            said[0] = 1
            sys.stdout.write(text)
            sys.stdout.flush()

    return announce


@final
class _Announced(Plan):
    """A program that says where it serves as soon as it does."""

    def __init__(self, program: Program, announce: Callable[[], None]) -> None:
        super().__init__(program.settings, program.error_log, program.log_files)
        self.program = program
        self.announce = announce
        self.listens = program.listens
        self.diagnostics = program.diagnostics

    def open(self) -> None:
        self.program.open()

    def run_worker(self, worker: WorkerContext) -> None:
        ready = worker.on_ready

        def tell() -> None:
            ready()
            self.announce()

        worker.on_ready = tell
        self.program.run_worker(worker)

    def reopen(self, user: int = -1) -> None:
        self.program.reopen(user)

    def close(self) -> None:
        self.program.close()
