"""The command line: the same words as to nginx give the same exit code, and messages of the same shape."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.processes import NGINX, PORTICO, free_port, portico_says

from portico import cli

LISTEN = f"listen 127.0.0.1:{free_port()};"  # `-t` binds, and other tests run at the same time
CONF = f"events {{}}\nhttp {{ server {{ {LISTEN} }} }}\n"
TWICE = f"events {{}}\nhttp {{ server {{ {LISTEN} server_name a; }} server {{ {LISTEN} server_name a; }} }}\n"

needs_nginx = pytest.mark.skipif(not shutil.which(NGINX), reason="nginx is not installed")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """With a configuration that loads, one that does not, and pid files that lead nowhere."""
    (tmp_path / "logs").mkdir()
    pid = "pid logs/some.pid;"
    (tmp_path / "good.conf").write_text(f"{pid}\n{CONF}")
    (tmp_path / "bad.conf").write_text(f"{pid}\nproxy_pas x;\n{CONF}")
    (tmp_path / "stale.conf").write_text(f"pid logs/stale.pid;\n{CONF}")
    (tmp_path / "logs" / "stale.pid").write_text("4194304\n")  # one more than Linux gives
    (tmp_path / "odd.conf").write_text(f"pid logs/odd.pid;\n{CONF}")
    (tmp_path / "logs" / "odd.pid").write_text("x\n")
    (tmp_path / "huge.conf").write_text(f"pid logs/huge.pid;\n{CONF}")
    (tmp_path / "logs" / "huge.pid").write_text("123456789012345678901234567890\n")
    (tmp_path / "none.conf").write_text(f"pid logs/none.pid;\n{CONF}")
    (tmp_path / "logs" / "none.pid").write_text("")
    (tmp_path / "minus.conf").write_text(f"pid logs/minus.pid;\n{CONF}")
    (tmp_path / "logs" / "minus.pid").write_text("-1\n")
    (tmp_path / "directory.conf").write_text(f"pid logs;\n{CONF}")
    (tmp_path / "doubt.conf").write_text(f"{pid}\n{TWICE}")
    (tmp_path / "unended.conf").write_text(f"pid logs/some.pid\n{CONF}")
    (tmp_path / "own_log.conf").write_text(f"{pid} error_log logs/own.log;\n{CONF}")
    return tmp_path


def run(program: tuple[str, ...], *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*program, *words], capture_output=True, text=True, timeout=20, cwd=cwd)


def shape(text: str, notices: bool = False) -> list[str]:
    """Messages without what must differ: the program's name, time and pid, and Portico's own lines below nginx's."""
    text = re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (\[\w+\]) \d+#\d+: ", r"NAME: \1 ", text, flags=re.M)
    text = re.sub(r"^(nginx|portico): ", "NAME: ", text, flags=re.M)
    return [line for line in text.split("\n") if line.startswith("NAME: ") and (notices or "[notice]" not in line)]


# Everything that nginx does without a configuration of its own, and with one below the prefix.
SAME = [
    "-v", "-h", "-?", "-V", "-x", "x", "-tx", "-tvx", "-s bad", "-sbad", "-s", "-p", "-c", "-e", "-g", "-t -g", "-vh",
    "PREFIX -c good.conf -t", "PREFIX -cgood.conf -t", "PREFIX -c good.conf -tq", "PREFIX -c good.conf -qt",
    "PREFIX -c good.conf -T", "PREFIX -c good.conf -Tq", "PREFIX -c good.conf -tv", "PREFIX -c good.conf -Vt",
    "PREFIX -c bad.conf -t", "PREFIX -c bad.conf -tq", "PREFIX -c missing.conf -t",
    "PREFIX -c good.conf -t -g worker_processes=2", "PREFIX -c good.conf -t -g worker_processes\N{NBSP}2;",
    "PREFIX -c good.conf -t -g foo;", "PREFIX -c good.conf -t -e logs/other.log", "PREFIX -c good.conf -t -e stderr",
    "PREFIX -c stale.conf -s stop", "PREFIX -c stale.conf -sreload", "PREFIX -c odd.conf -s quit",
    "PREFIX -c good.conf -s quit", "PREFIX -c bad.conf -s stop", "PREFIX -c good.conf -t -", "PREFIX -c bad.conf",
    "PREFIX -c huge.conf -s stop", "PREFIX -c none.conf -s stop", "PREFIX -c minus.conf -s stop", "PREFIX -c own_log.conf -s quit",
    "PREFIX -c directory.conf -s reopen", "PREFIX -c good.conf -qs stop", "PREFIX -c good.conf -t -s stop",
    "PREFIX -c missing.conf -s stop", "PREFIX -c logs -t", "PREFIX -c logs", "PREFIX -c logs -s stop", "PREFIX -c EMPTY -t",
    "PREFIX -c doubt.conf -t", "PREFIX -c doubt.conf -tq", "PREFIX -c unended.conf -t", "PREFIX -c good.conf -t -g }",
    "PREFIX -c good.conf -t -g pid\N{NBSP}x;", "PREFIX -c good.conf -t -g EMPTY", "PREFIX -c good.conf -t --", "--version",
    "PREFIX -c own_log.conf -t -e nowhere/x.log", "PREFIX -c good.conf -T -g worker_processes\N{NBSP}2;",
]  # fmt: skip


@needs_nginx
@pytest.mark.parametrize("line", SAME)
def test_as_nginx(line: str, prefix: Path) -> None:
    """stdout is the same but for the name, and so are the exit code, nginx's lines on stderr, and the early error log."""
    words = [word.replace("\N{NBSP}", " ") for word in line.replace("PREFIX", f"-p {prefix}/ -e early.log").split(" ")]
    words = ["" if word == "EMPTY" else word for word in words]
    if words[-1].endswith(".log") or words[-1] == "stderr":
        words = [word for word in words if word != "early.log"]
        words.remove("-e")
    theirs = run((NGINX,), *words)
    log = prefix / "early.log"
    their_log = log.read_text() if log.exists() else ""
    log.unlink(missing_ok=True)
    ours = portico_says(*words)
    our_log = log.read_text() if log.exists() else ""
    assert shape(our_log, notices=True) == shape(their_log, notices=True)
    assert ours.returncode == theirs.returncode, ours.stderr
    if line in ("-v", "-h", "-?", "-V", "-vh"):
        assert ours.stdout == theirs.stdout == ""
        assert ours.stderr.startswith("portico version: portico/")
        return
    if "V" in line or "v" in line.split(" ")[-1]:
        versions = re.compile(r"^NAME: (?!configuration|the)|.*version: ")
        assert [m for m in shape(ours.stderr) if not versions.match(m)] == [
            m for m in shape(theirs.stderr) if not versions.match(m)
        ]
        return
    assert shape(ours.stderr) == shape(theirs.stderr)
    assert ours.stdout == theirs.stdout


def test_version() -> None:
    done = run(PORTICO, "-V")
    lines = done.stderr.split("\n")
    assert re.fullmatch(r"portico version: portico/\d+\.\d+\.\d+", lines[0])
    assert lines[1] in ("data plane: interpreted", "data plane: compiled by mypyc")
    assert lines[2].startswith("built with CPython 3.")
    assert "OpenSSL" in lines[3]
    arguments = next(line for line in lines if line.startswith("configure arguments: ")).split()
    assert "--with-http_ssl_module" in arguments
    assert "--without-http_uwsgi_module" in arguments
    assert not any("http_proxy" in word for word in arguments)  # built by default, and there
    assert run(PORTICO, "-v").stderr == lines[0] + "\n"


def test_help_names_every_option() -> None:
    shown = run(PORTICO, "-h").stderr
    for letter in "hvVtTqspecg":
        assert re.search(rf"^  (-\?,)?-{letter}\b", shown, re.M)
    assert "portico to TARGET" in shown and "portico directives" in shown


def test_joined_letters() -> None:
    options = cli.parse_options(["-tqc", "a.conf", "-p/some/", "-g", "user x;", "-sreload", "-elog"])
    assert (options.test, options.quiet, options.dump) == (True, True, False)
    assert (options.conf, options.prefix, options.globals_text) == ("a.conf", "/some/", "user x;")
    assert (options.signal, options.error_log) == ("reload", "log")


def test_no_configuration_at_the_default_place(tmp_path: Path) -> None:
    """Who starts Portico for the first time is told how to give one, and nothing that does not help."""
    if os.path.exists("/etc/portico/nginx.conf") or os.path.exists("/etc/portico/logs"):
        pytest.skip("there is a configuration, or a log, at the default place")
    done = run(PORTICO, "-t", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        'portico: [emerg] open() "/etc/portico/nginx.conf" failed (2: No such file or directory)\n'
        "  name your configuration: portico -c /etc/nginx/nginx.conf; or go without one: "
        "portico to localhost:3000\n"
        "portico: configuration file /etc/portico/nginx.conf test failed\n"
    )
    assert list(tmp_path.iterdir()) == []
    conf = tmp_path / "a.conf"
    paths = f"access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;"
    conf.write_text(f"pid {tmp_path}/some.pid; error_log stderr;\n{CONF}".replace("http {", f"http {{ {paths}"))
    done = run(PORTICO, "-t", "-c", str(conf), "-g", "")
    assert done.returncode == 0 and "[alert]" not in done.stderr  # the default prefix is nobody's concern then


@pytest.mark.parametrize("written", [".", "./", "././", "../{name}"])
def test_a_relative_prefix(prefix: Path, written: str) -> None:
    done = portico_says("-t", "-p", written.format(name=prefix.name), "-c", "good.conf", cwd=prefix)
    assert done.returncode == 0
    shown = prefix if "{" not in written else f"{prefix}/../{prefix.name}"
    assert done.stderr.startswith(f"portico: the configuration file {shown}/good.conf syntax is ok\n")
    assert (prefix / "logs" / "error.log").exists()


def test_a_configuration_of_the_current_directory(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """-c begins at the prefix, as with nginx: who means the current directory is told how to say so."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "mine.conf").write_text(CONF)
    done = portico_says("-t", "-p", f"{prefix}/", "-c", "mine.conf", cwd=elsewhere)
    assert done.returncode == 1
    assert done.stderr.split("\n")[:2] == [
        f'portico: [emerg] open() "{prefix}/mine.conf" failed (2: No such file or directory)',
        f"  -c is relative to the prefix: portico -c {elsewhere}/mine.conf; "
        "or, for all other paths too: portico -p . -c mine.conf",
    ]
    assert "-c is relative" not in portico_says("-t", "-p", f"{prefix}/", "-c", "nowhere.conf", cwd=elsewhere).stderr


def test_the_error_log_of_an_empty_name_is_stderr(prefix: Path) -> None:
    done = portico_says("-p", f"{prefix}/", "-c", "none.conf", "-s", "stop", "-e", "")
    assert shape(done.stderr, notices=True) == [
        "NAME: [notice] signal process started",
        f'NAME: [error] invalid PID number "" in "{prefix}/logs/none.pid"',
    ]
    assert not (prefix / "logs" / "error.log").exists()


def test_what_is_missing_may_stand_in_what_could_not_be_read(prefix: Path) -> None:
    """No second complaint about the section that the first mistake swallowed; alone it is one."""
    (prefix / "typo.conf").write_text("event {}\nhttp {}\n")
    (prefix / "lacking.conf").write_text("http {}\n")
    for conf, told in (("typo.conf", 'unknown directive "event"'), ("lacking.conf", 'no "events" section in configuration')):
        said = portico_says("-t", "-p", f"{prefix}/", "-c", conf, "-e", "stderr").stderr
        assert told in said and said.count("[emerg]") == 1, said


def test_the_error_log_of_the_command_line(prefix: Path) -> None:
    portico_says("-t", "-p", f"{prefix}/", "-c", "bad.conf", "-e", "mine.log")
    assert '[emerg] ' in (prefix / "mine.log").read_text()
    assert 'unknown directive "proxy_pas"' in (prefix / "mine.log").read_text()
    assert not (prefix / "logs" / "error.log").exists()


def test_every_mistake_at_once(prefix: Path) -> None:
    (prefix / "worse.conf").write_text(f"proxy_pas x;\nusr nobody;\n{CONF}")
    said = portico_says("-t", "-p", f"{prefix}/", "-c", "worse.conf").stderr
    assert said.index("proxy_pas") < said.index("usr")
    assert 'did you mean "proxy_pass"?' in said and 'did you mean "user"?' in said


def test_dump_is_byte_for_byte(prefix: Path) -> None:
    text = b'events {}\nhttp { log_format odd "\xff\xe4"; server { %b } }\n' % LISTEN.encode()
    (prefix / "bytes.conf").write_bytes(text)
    command = [*PORTICO, "-p", f"{prefix}/", "-c", "bytes.conf", "-T"]
    done = subprocess.run(command, capture_output=True, timeout=20)
    assert done.stdout == f"# configuration file {prefix}/bytes.conf:\n".encode() + text + b"\n"


def test_a_reader_that_leaves_is_no_error(prefix: Path) -> None:
    (prefix / "long.conf").write_text(CONF + "# long\n" * 100_000)
    command = f"{' '.join(PORTICO)} -p {prefix}/ -c long.conf -Tq | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == (f"# configuration file {prefix}/long.conf:\n", "")


def test_a_mistake_is_told_once_though_the_log_is_stderr_too(prefix: Path) -> None:
    (prefix / "wrong.conf").write_text("events {}\nnothing;\n")
    for conf, message in (("wrong.conf", 'unknown directive "nothing"'), ("missing.conf", "open() ")):
        done = subprocess.run(
            [*PORTICO, "-p", f"{prefix}/", "-c", conf, "-e", "stderr", "-t"], capture_output=True, text=True, timeout=20
        )
        assert done.stderr.count(message) == 1, done.stderr
        assert done.stderr.count("[emerg]") == 1, done.stderr
