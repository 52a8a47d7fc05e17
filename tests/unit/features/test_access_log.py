"""Access logs: formats and escapes as nginx 1.22 writes them, buffers, syslog, and what cannot be written."""

from __future__ import annotations

import gzip
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.http.loaded import PLAIN, Loaded, pointed_at, refusal

from portico.errorlog import ErrorLog
from portico.http.request import Request
from portico.logs.log_format import ESCAPE_DEFAULT, ESCAPE_JSON, ESCAPE_NONE, escape

Load = Callable[[str], Loaded]
SERVER = "server { listen 127.0.0.1:8080; server_name one; root .; %s }"
NASTY = b'GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: \x7f\xff"\\z\tx\r\n\r\n'


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    made: list[Loaded] = []

    def make(text: str) -> Loaded:
        made.append(Loaded(text, tmp_path))
        return made[-1]

    yield make
    for loaded in made:
        loaded.close()


def log(loaded: Loaded, raw: bytes = PLAIN, location: str = "") -> Request:
    """Have a request logged as the connection does."""
    request = loaded.request(raw, location)
    request.status, request.head_bytes, request.body_bytes = 200, 100, 3
    for logger in request.location.loggers:
        logger.log(request)
    return request


# -- formats


def test_combined_is_the_default(load: Load) -> None:
    loaded = load(SERVER % "")
    log(loaded)
    fields = b"Authorization: Basic dXNlcjpwdw==\r\nReferer: r\r\nUser-Agent: u\r\n"
    log(loaded, b"GET /a HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n")
    stamp = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    first, second = loaded.text("access.log").splitlines()
    assert re.fullmatch(rf'127\.0\.0\.1 - - {stamp} "GET / HTTP/1\.1" 200 3 "-" "-"', first)
    assert re.fullmatch(rf'127\.0\.0\.1 - user {stamp} "GET /a HTTP/1\.1" 200 3 "r" "u"', second)


def test_escapes_of_a_line(load: Load) -> None:
    formats = "".join(
        f"log_format f_{kind} escape={kind} '\"$http_user_agent\" $http_x ${{status}}é';"
        f"access_log logs/{kind} f_{kind};"
        for kind in ("default", "json", "none")
    )
    loaded = load(formats + SERVER % "")
    log(loaded, NASTY)
    end = " 200" + "é".encode().decode("latin-1") + "\n"
    assert loaded.text("default") == '"\\x7F\\xFF\\x22\\x5Cz\\x09x" -' + end
    assert loaded.text("json") == '"\x7f\xff\\"\\\\z\\tx" ' + end
    assert loaded.text("none") == '"\x7f\xff"\\z\tx" ' + end


def test_escapes() -> None:
    value = bytes(range(256))
    default = escape(value, ESCAPE_DEFAULT)
    assert default.startswith(b"\\x00\\x01") and default.endswith(b"\\xFE\\xFF")
    assert b" !\\x22#" in default and b"[\\x5C]" in default and b"}~\\x7F\\x80" in default
    assert escape(b'\x7f\xff"\\\x01t\x0bz\n\r\t\b\f\x1f/', ESCAPE_JSON) == (
        b'\x7f\xff\\"\\\\\\u0001t\\u000Bz\\n\\r\\t\\b\\f\\u001F/'
    )
    assert escape(value, ESCAPE_NONE) == value
    assert escape(b"plain", ESCAPE_DEFAULT) == b"plain"


def test_texts_are_put_together(load: Load) -> None:
    loaded = load("log_format a '$status' - '$uri,' '${status}0'; access_log logs/a a;" + SERVER % "")
    log(loaded)
    assert loaded.text("a") == "200-/,2000\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("log_format a '$'; ", 'invalid parameter "$"'),
        ("log_format a 'x $-y'; ", 'invalid parameter "$-y"'),
        ("log_format a '${}'; ", 'invalid parameter "${}"'),
        ("log_format a '${status'; ", 'the closing bracket in "status" variable is missing'),
        ("log_format a $nope; ", 'unknown "nope" variable'),
        ("log_format a escape=xml x; ", 'unknown log format escaping "xml"'),
        ("log_format a x; log_format a y; ", 'duplicate "log_format" name "a"'),
        ("log_format combined x; ", 'duplicate "log_format" name "combined"'),
        ("log_format a; ", 'invalid number of arguments in "log_format" directive'),
        ("access_log off x; ", 'invalid parameter "x"'),
        ("access_log a nope; ", 'unknown log format "nope"'),
        ("access_log a buffer=4k; ", 'unknown log format "buffer=4k"'),
        ("access_log a combined x=1; ", 'invalid parameter "x=1"'),
        ("access_log a combined buffer=0; ", 'invalid buffer size "0"'),
        ("access_log a combined buffer=1k flush=0; ", 'invalid flush time "0"'),
        ("access_log a combined gzip=10; ", 'invalid compression level "10"'),
        ("access_log a combined flush=1s; ", 'no buffer is defined for access_log "a"'),
        ("access_log $host combined buffer=1k; ", "buffered logs cannot have variables in name"),
        ("access_log syslog:server=127.0.0.1 combined buffer=1k; ", "logs to syslog cannot be buffered"),
        ("access_log syslog:server=127.0.0.1,tag=a-b; ",
         'syslog "tag" only allows alphanumeric characters and underscore'),
        ("access_log syslog:tag=a; ", "no syslog server specified"),
        ("access_log a combined buffer=1k; access_log a combined buffer=2k; ",
         'access_log "a" already defined with conflicting parameters'),
        ("access_log a combined if=$nope; ", 'unknown "nope" variable'),
        ("open_log_file_cache inactive=1s; ", '"open_log_file_cache" must have "max" parameter'),
        ("open_log_file_cache max=1 valid=x; ", 'invalid "open_log_file_cache" parameter "valid=x"'),
        ("open_log_file_cache max=0; ", '"open_log_file_cache" must have "max" parameter'),
    ],
)  # fmt: skip
def test_mistakes_in_nginx_words(text: str, message: str, tmp_path: Path) -> None:
    error = refusal(text + SERVER % "", tmp_path)
    assert error.message == message
    assert error.where is not None and error.where.path == "x.conf"


@pytest.mark.parametrize(
    ("text", "carets"),
    [
        ("log_format a escape=json '$status $one' $two;", ["$one", "$two"]),
        ('log_format a "say \\"$one\\" ${two} $one";', ["$one", "${two}"]),
        ("log_format a '$status\n  $one\n$two';", ["$one", "$two"]),
        ("log_format a x\n '-$status ${one';", ["${one"]),
        ("log_format a '$status $-';", ["$"]),
    ],
)
def test_each_mistake_in_a_format_is_pointed_at(text: str, carets: list[str], tmp_path: Path) -> None:
    assert pointed_at(text + SERVER % "", tmp_path) == carets


def test_a_parameter_in_the_place_of_the_format_gets_a_hint(tmp_path: Path) -> None:
    assert "before the parameters" in refusal("access_log a buffer=4k; " + SERVER % "", tmp_path).hint


def test_a_path_that_cannot_be_opened_is_refused_at_start(tmp_path: Path) -> None:
    error = refusal("access_log no/such/dir.log;" + SERVER % "", tmp_path)
    assert error.message == f'open() "{tmp_path}/no/such/dir.log" failed (2: No such file or directory)'
    assert error.where is not None and error.where.line == 1


# -- which logs


def test_inheritance(load: Load) -> None:
    loaded = load(
        "log_format u $uri; access_log logs/http u;"
        + SERVER
        % (
            "access_log logs/one u; access_log logs/two U;"
            "location /off/ { access_log off; } location /in/ { access_log logs/in u; location /in/er/ { } }"
            "location /both/ { access_log logs/in u; access_log off; }"
        )
    )
    log(loaded, b"GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
    for path in ("/off/", "/in/", "/in/er/", "/both/"):
        log(loaded, b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode(), path)
    assert loaded.text("one") == loaded.text("two") == "/s\n"
    assert loaded.text("in") == "/in/\n/in/er/\n"
    assert loaded.text("http") == ""  # opened, as nginx does, though nothing uses it
    assert not (loaded.directory / "logs/access.log").exists()


def test_one_logger_for_each_line(load: Load) -> None:
    loaded = load("access_log logs/a; access_log logs/a;" + SERVER % "location /x/ { }")
    server = loaded.plan.servers[0]
    assert server.fallback.loggers == loaded.location("/x/").loggers
    assert len(loaded.plan.build.loggers) == len(server.fallback.loggers) == 2


def test_condition(load: Load) -> None:
    loaded = load("log_format u $uri; access_log logs/a u if=$arg_log;" + SERVER % "")
    for query in (b"/1", b"/2?log=", b"/3?log=0", b"/4?log=1", b"/5?log=00"):
        log(loaded, b"GET " + query + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert loaded.text("a") == "/4\n/5\n"


# -- files


def reopen(loaded: Loaded) -> None:
    """What USR1 does."""
    for logger in loaded.plan.build.loggers:
        logger.reopen()
    loaded.log_files.reopen(-1, ErrorLog([], loaded.log_files))


def test_reopen(load: Load) -> None:
    loaded = load("log_format u $uri; access_log logs/a u; access_log logs/b u buffer=1k;" + SERVER % "")
    log(loaded)
    for name in "ab":
        os.rename(loaded.directory / "logs" / name, loaded.directory / "logs" / f"{name}.1")
    log(loaded)
    reopen(loaded)
    log(loaded)
    assert (loaded.text("a.1"), loaded.text("a")) == ("/\n/\n", "/\n")
    assert (loaded.text("b.1"), loaded.text("b")) == ("/\n/\n", "")


def test_buffer_holds_whole_lines(load: Load) -> None:
    loaded = load("log_format u $uri; access_log logs/a u buffer=10;" + SERVER % "")
    log(loaded, b"GET /12 HTTP/1.1\r\nHost: h\r\n\r\n")
    log(loaded, b"GET /34 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert loaded.text("a") == ""
    log(loaded, b"GET /56 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert loaded.text("a") == "/12\n/34\n"
    log(loaded, b"GET /too-long-for-it HTTP/1.1\r\nHost: h\r\n\r\n")
    assert loaded.text("a") == "/12\n/34\n/56\n/too-long-for-it\n"
    log(loaded, b"GET /7 HTTP/1.1\r\nHost: h\r\n\r\n")
    for logger in loaded.plan.build.loggers:
        logger.flush()  # no flush=: nothing is due, ever
    assert loaded.text("a").endswith("/too-long-for-it\n")
    for logger in loaded.plan.build.loggers:
        logger.close()
    assert loaded.text("a").endswith("\n/7\n")


def test_a_buffer_belongs_to_the_file(load: Load) -> None:
    loaded = load("log_format u $uri; access_log logs/a u; access_log logs/a u buffer=1k;" + SERVER % "")
    log(loaded)
    assert loaded.text("a") == ""
    reopen(loaded)
    assert loaded.text("a") == "/\n/\n"


def test_flush_time(load: Load) -> None:
    loaded = load("log_format u $uri; access_log logs/a u buffer=1k flush=5s;" + SERVER % "")
    (logger,) = loaded.plan.build.loggers
    loaded.reactor.now = time.monotonic() - 4.0
    log(loaded)
    logger.flush()
    assert loaded.text("a") == ""
    reopen(loaded)
    loaded.reactor.now = time.monotonic() - 6.0
    log(loaded)
    logger.flush()
    assert loaded.text("a") == "/\n/\n"


def test_gzip(load: Load) -> None:
    loaded = load("log_format u $uri; access_log logs/a u gzip=9 flush=1s;" + SERVER % "")
    for _ in range(2):
        log(loaded)
        reopen(loaded)
    assert gzip.decompress((loaded.directory / "logs/a").read_bytes()) == b"/\n/\n"


def test_full_disk_costs_lines_and_one_complaint(load: Load) -> None:
    loaded = load("access_log /dev/full; error_log logs/error.log;" + SERVER % "")
    log(loaded)
    log(loaded)
    (line,) = loaded.text("error.log").splitlines()
    assert "[alert]" in line
    assert line.endswith(
        'write() to "/dev/full" failed (28: No space left on device) while logging request, '
        'client: 127.0.0.1, server: one, request: "GET / HTTP/1.1", host: "h"'
    )


def test_full_disk_of_a_buffer(load: Load) -> None:
    loaded = load("access_log /dev/full combined buffer=1k flush=1s; error_log logs/error.log;" + SERVER % "")
    loaded.reactor.now = time.monotonic() - 2.0
    log(loaded)
    for logger in loaded.plan.build.loggers:
        logger.flush()
    (line,) = loaded.text("error.log").splitlines()
    assert line.endswith('write() to "/dev/full" failed (28: No space left on device)')


# -- variables in the path


def lines_of(loaded: Loaded, directory: str) -> dict[str, str]:
    return {p.name: p.read_text() for p in sorted((loaded.directory / directory).iterdir())}


PATHS = "log_format u $uri; access_log by/$host.log u; error_log logs/error.log;"


def test_path_with_variables(load: Load, tmp_path: Path) -> None:
    (tmp_path / "by").mkdir()
    loaded = load(PATHS + SERVER % "")
    log(loaded, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    log(loaded, b"GET /2 HTTP/1.1\r\nHost: b\r\n\r\n")
    log(loaded, b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert lines_of(loaded, "by") == {"a.log": "/1\n/3\n", "b.log": "/2\n"}


def test_path_that_cannot_be_opened_costs_one_complaint(load: Load) -> None:
    loaded = load(PATHS + SERVER % "")
    log(loaded)
    log(loaded)
    (line,) = loaded.text("error.log").splitlines()
    assert "[crit]" in line
    assert f'open() "{loaded.directory}/by/h.log" failed (2: No such file or directory) while logging' in line


def test_zero_byte_in_the_path(load: Load) -> None:
    loaded = load("access_log logs/$uri.log; error_log logs/error.log;" + SERVER % "")
    request = loaded.request()
    request.target = request.target.with_uri(b"/a\0b")
    for logger in request.location.loggers:
        logger.log(request)
    assert "the name holds a zero byte" in loaded.text("error.log")


def test_without_the_root_directory_nothing_is_made(load: Load, tmp_path: Path) -> None:
    (tmp_path / "by").mkdir()
    loaded = load(PATHS + "server { listen 127.0.0.1:8080; root sites/$host; }")
    log(loaded)
    assert lines_of(loaded, "by") == {}
    (tmp_path / "sites/h").mkdir(parents=True)
    log(loaded)
    assert lines_of(loaded, "by") == {"h.log": "/\n"}


def descriptors(loaded: Loaded) -> list[str]:
    """The logs under `by/` that this process holds open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if path.startswith(f"{loaded.directory}/by/"):
            found.append(os.path.basename(path))
    return sorted(found)


def test_open_log_file_cache(load: Load, tmp_path: Path) -> None:
    (tmp_path / "by").mkdir()
    loaded = load(PATHS + "open_log_file_cache max=2 min_uses=2 valid=0 inactive=10s;" + SERVER % "")
    for host in (b"a", b"a", b"b", b"b", b"c"):
        log(loaded, b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert descriptors(loaded) == ["b.log"]  # c was used once, a is the one unused longest of three
    os.rename(tmp_path / "by/b.log", tmp_path / "by/b.old")
    log(loaded, b"GET /new HTTP/1.1\r\nHost: b\r\n\r\n")
    assert lines_of(loaded, "by")["b.log"] == "/new\n"
    for logger in loaded.plan.build.loggers:
        logger.flush()
    assert descriptors(loaded) == ["b.log"]
    for logger in loaded.plan.build.loggers:
        logger.reopen()
    assert descriptors(loaded) == []


# -- syslog


def test_syslog(load: Load, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        target = f"syslog:server=unix:{tmp_path}/log,facility=mail,severity=debug,tag=web,nohostname"
        loaded = load(f"log_format u $uri; access_log {target} u;" + SERVER % "")
        log(loaded)
        assert re.fullmatch(rb"<23>\w{3} [ \d]\d \d\d:\d\d:\d\d web: /", server.recv(1000))


def test_syslog_over_udp_with_nobody_there(load: Load) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        port = server.getsockname()[1]
        loaded = load(f"log_format u $uri; access_log syslog:server=127.0.0.1:{port} u;" + SERVER % "")
        log(loaded)
        host = socket.gethostname().encode()
        assert re.fullmatch(rb"<190>.{15} " + re.escape(host) + rb" nginx: /", server.recv(1000))
    for _ in range(3):
        log(loaded)
