"""A FIFO in the place of any file that a configuration names: an error, or nothing, but no wait for somebody at its other end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.processes import portico_says
from tests.unit.example_site import PORT, fill

PAIR = "ssl_certificate site.pem; ssl_certificate_key site.key;"
VERIFIED = f"{PAIR} ssl_verify_client on; ssl_client_certificate"
# In the place of @ stands the FIFO; what is no `http` block is of a server with TLS.
READ = {
    "include": "http { include @; }",
    "auth_basic_user_file": "http { auth_basic_user_file @; }",
    "auth_jwt_key_file": "http { auth_jwt_key_file @; }",
    "ssl_certificate": "ssl_certificate @; ssl_certificate_key site.key;",
    "ssl_certificate_key": "ssl_certificate site.pem; ssl_certificate_key @;",
    "ssl_password_file": f"{PAIR} ssl_password_file @;",
    "ssl_dhparam": f"{PAIR} ssl_dhparam @;",
    "ssl_client_certificate": f"{VERIFIED} @;",
    "ssl_crl": f"{VERIFIED} site.pem; ssl_crl @;",
    "ssl_session_ticket_key": f"{PAIR} ssl_session_ticket_key @;",
    "error_log": "error_log @; http { }",
    "access_log": f"http {{ access_log @; server {{ listen 127.0.0.1:{PORT}; }} }}",
}


@pytest.mark.parametrize("name", READ)
def test_a_fifo_is_not_waited_for(name: str, tmp_path: Path) -> None:
    fifo = fill(tmp_path) / "fifo"
    os.mkfifo(fifo)
    text = READ[name].replace("@", str(fifo))
    if "http {" not in text:
        text = f"http {{ server {{ listen 127.0.0.1:{PORT} ssl; {text} }} }}"
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"events {{ }}\n{text}")
    said = portico_says("-p", f"{tmp_path}/", "-c", str(conf), "-t")
    assert said.returncode == 1, said
    assert str(fifo) in said.stderr and "Traceback" not in said.stderr
