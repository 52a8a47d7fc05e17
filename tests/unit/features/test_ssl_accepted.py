"""Directives of TLS that are taken without effect say so, once; `ssl on` is `listen … ssl`."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.net.certificates import self_signed
from portico.program import Program, Source, load_program


def loaded(folder: Path, text: str) -> Program:
    main = f"pid {folder}/pid; error_log {folder}/error.log; events {{}}"
    (folder / "nginx.conf").write_text(f"{main} http {{ access_log off; {text} }}")
    return load_program(Source(f"{folder}/", "nginx.conf", "", ""), None)


def warnings(folder: Path, text: str) -> list[str]:
    return [warning.message for warning in loaded(folder, text).diagnostics.warnings]


def test_stapling(tmp_path: Path) -> None:
    text = "ssl_stapling on; ssl_stapling_verify on; ssl_stapling_responder http://a/; ssl_stapling_file /a;"
    assert warnings(tmp_path, text + "server { ssl_stapling on; }") == [
        '"ssl_stapling" is accepted, but this version sends no OCSP responses: clients that want to know ask the authority themselves'
    ]


def test_early_data(tmp_path: Path) -> None:
    (warning,) = warnings(tmp_path, "ssl_early_data on; server { ssl_early_data on; }")
    assert warning.startswith('"ssl_early_data" is accepted, but this version takes no early data')


@pytest.mark.parametrize("text", ["ssl_stapling off;", "ssl_early_data off;", "ssl_stapling_verify on;"])
def test_what_is_off_says_nothing(tmp_path: Path, text: str) -> None:
    assert warnings(tmp_path, text + " server { listen 127.0.0.1:8080; }") == []


def test_ssl_on(tmp_path: Path) -> None:
    certificate, key = self_signed(["localhost"], 1)
    (tmp_path / "a.pem").write_bytes(certificate)
    (tmp_path / "a.key").write_bytes(key)
    program = loaded(tmp_path, "ssl on; ssl_certificate a.pem; ssl_certificate_key a.key; server { listen 127.0.0.1:8443; }")
    assert not program.diagnostics.errors
    assert [warning.message for warning in program.diagnostics.warnings] == [
        'the "ssl" directive is deprecated, use the "listen ... ssl" directive instead'
    ]
