"""`portico to …`: what the words mean, and the nginx.conf that they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico import oneliner
from portico.oneliner import UsageError, configuration, parse_target, parse_words


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("3000", "http://localhost:3000"),
        (":3000", "http://localhost:3000"),
        ("localhost:3000", "http://localhost:3000"),
        ("app", "http://app:80"),
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("[::1]", "http://[::1]:80"),
        ("http://app", "http://app:80"),
        ("http://app/", "http://app:80"),
        ("HTTPS://app", "https://app:443"),
        ("https://app:8443/", "https://app:8443"),
        ("https://3000", "https://localhost:3000"),
        ("unix:/run/app.sock", "http://unix:/run/app.sock"),
        ("http://unix:/run/app.sock", "http://unix:/run/app.sock"),
        ("unix:/run/my app.sock", "http://unix:/run/my app.sock"),
        ("a:65535", "http://a:65535"),
    ],
)
def test_targets(word: str, target: str) -> None:
    assert str(parse_target(word)) == target


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("", "is not a target"),
        ("0", "is not a target"),
        ("65536", "is not a target"),
        ("a:0", "is not a target"),
        ("a:65536", "is not a target"),
        ("a:123456", "is not a target"),
        ("a:", "is not a target"),
        ("a:b", "is not a target"),
        ("a b", "is not a target"),
        ("a;b", "is not a target"),
        ("a{b", "is not a target"),
        ("a$b", "is not a target"),
        ("a\nb", "is not a target"),
        ("user@a", "is not a target"),
        ("[::1", "is not a target"),
        ("::1", "is not a target"),
        ("[::1]x", "is not a target"),
        ("٣٠٠٠", "is not a target"),
        ("é", "is not a target"),
        ("a/", "a target has no path"),
        ("a/b", "a target has no path"),
        ("http://a/b", "a target has no path"),
        ("http://a?b", "a target has no path"),
        ("ftp://a", 'cannot speak "ftp"'),
        ("://a", 'cannot speak ""'),
        ("unix:app.sock", "is not a socket"),
        ("unix:", "is not a socket"),
        ("https://unix:/run/app.sock", "is not a socket"),
        ("unix:/run/a:b", "is not a socket"),
        ("unix:/run/$a", "is not a socket"),
        ("unix:/run/a\n", "is not a socket"),
    ],
)
def test_what_is_no_target(word: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_target(word)


@pytest.mark.parametrize(
    ("word", "listen", "url"),
    [
        (None, "127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("80", "127.0.0.1:80", "http://127.0.0.1:80"),
        (":80", "*:80", "http://127.0.0.1:80"),
        ("*:80", "*:80", "http://127.0.0.1:80"),
        ("0.0.0.0:80", "0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:80", "[::]:80", "http://[::1]:80"),
        ("[::1]:80", "[::1]:80", "http://[::1]:80"),
        ("10.0.0.1:80", "10.0.0.1:80", "http://10.0.0.1:80"),
        ("0", UsageError, ""),
        ("65536", UsageError, ""),
        ("localhost", UsageError, ""),
        ("*", UsageError, ""),
        ("*:x", UsageError, ""),
        ("unix:/run/s", UsageError, ""),
        ("80; listen 81", UsageError, ""),
    ],
)
def test_where_to_listen(word: str | None, listen: str | type[UsageError], url: str) -> None:
    words = ["3000"] + ([] if word is None else ["--listen", word])
    if not isinstance(listen, str):
        with pytest.raises(UsageError, match="cannot listen on"):
            parse_words(words)
        return
    wish = parse_words(words)
    assert (wish.listen, wish.url()) == (listen, url)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "where to"),
        (["--listen", "80"], "where to"),
        (["3000", "https://a"], "must be all http or all https"),
        (["3000", "--host", "a b"], "is not the name of a host"),
        (["3000", "--host=-a"], "is not the name of a host"),
        (["3000", "--host", "a."], "is not the name of a host"),
        (["3000", "--host", "a;b"], "is not the name of a host"),
        (["3000", "--host", "$a"], "is not the name of a host"),
        (["3000", "--root", "/nonexistent"], "is not a directory"),
        (["3000", "--root", "/dev/null"], "is not a directory"),
        (["3000", "--roo", "/"], "unrecognized arguments"),  # no abbreviations: one would mean another option one day
        (["3000", "--listen"], "expected one argument"),
        (["3000", "--frobnicate"], "unrecognized arguments"),
    ],
)
def test_words_that_make_no_proxy(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_words(words)


@pytest.mark.parametrize("name", ["a$b", "a\nb", "a\x7fb"])
def test_a_directory_that_no_configuration_can_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"holds a character that nginx\.conf cannot write"):
        parse_words(["--root", str(tmp_path / name)])


def lines(*words: str) -> list[str]:
    return [line.strip() for line in configuration(parse_words(list(words)), "/state").splitlines()]


@pytest.mark.parametrize(
    ("words", "there", "absent"),
    [
        (("3000",), ["server localhost:3000 fail_timeout=1s;", "proxy_pass http://app;", "proxy_set_header Host $http_host;"], "ssl"),
        (("3000", "3001"), ["server localhost:3000;", "server localhost:3001;"], "fail_timeout"),
        (("3000", "--host", "a.example"), ["server_name a.example;", "proxy_set_header Host a.example;"], "$http_host"),
        (
            ("https://a:8443",),
            ["proxy_pass https://app;", "proxy_set_header Host a;", "proxy_ssl_name a;", "proxy_ssl_server_name on;"],
            "$http_host",
        ),
        (("https://a", "--host", "b"), ["proxy_set_header Host b;", "proxy_ssl_name b;"], "server_name a"),
        (
            ("3000", "--tls"),
            ["listen 127.0.0.1:8080 ssl;", "ssl_certificate /state/certificate.pem;", "error_page 497 https://$http_host$request_uri;"],
            "proxy_ssl",
        ),
        (("--root", "/"), ["root /;", "index index.html;"], "proxy_pass"),
        (("3000", "--root", "/"), ["try_files $uri ${uri}index.html @app;", "error_page 405 = @app;", "location @app {"], "index "),
        (("unix:/run/my app.sock",), ['server "unix:/run/my app.sock" fail_timeout=1s;'], "localhost"),
    ],
)
def test_the_configuration(words: tuple[str, ...], there: list[str], absent: str) -> None:
    found = lines(*words)
    assert [line for line in there if line not in found] == []
    assert not any(line.startswith(absent) or (absent.startswith("$") and absent in line) for line in found)


def test_paths_are_quoted(tmp_path: Path) -> None:
    (tmp_path / 'a "b" \\c {;}').mkdir()
    found = lines("--root", str(tmp_path / 'a "b" \\c {;}'))
    assert f'root "{tmp_path}/a \\"b\\" \\\\c {{;}}";' in found


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["localhost", "127.0.0.1", "::1"], []),
        (["localhost", "127.0.0.1", "::1"], ["--listen", "*:8443"]),
        (["localhost", "127.0.0.1", "::1"], ["--listen", "[::]:8443"]),
        (["10.0.0.1", "localhost", "127.0.0.1", "::1"], ["--listen", "10.0.0.1:8443"]),
        (["a.example", "localhost", "127.0.0.1", "::1"], ["--host", "a.example"]),
    ],
)
def test_whom_the_certificate_names(tmp_path: Path, names: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = pytest.importorskip("portico.net.certificates")
    asked: list[list[str]] = []

    def self_signed(named: list[str], days: int) -> tuple[bytes, bytes]:
        asked.append(list(named))
        return b"certificate", b"key"

    monkeypatch.setattr(certificates, "self_signed", self_signed)
    oneliner._make_certificate(parse_words(["3000", "--tls", *words]), str(tmp_path))
    assert asked == [names]
    assert (tmp_path / "certificate.key").read_bytes() == b"key"
    assert (tmp_path / "certificate.key").stat().st_mode & 0o077 == 0


def test_who_serves_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    announce = oneliner._once("hello\n")
    announce()
    announce()
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize("word", ["-h", "--help", "-?"])
def test_help(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert oneliner.run_to(["3000", word]) == 0
    assert capsys.readouterr().out.startswith("Usage: portico to TARGET")


def test_a_mistake_is_told_with_the_way_to_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert oneliner.run_to(["ftp://a"]) == 1
    assert capsys.readouterr().err == (
        'portico to: cannot speak "ftp" to "ftp://a": a target is http or https\nportico to: `portico to --help` tells more\n'
    )
