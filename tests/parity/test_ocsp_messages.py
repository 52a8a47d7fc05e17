"""What `ssl_stapling` and `ssl_ocsp` say at load: `nginx -t` beside Portico."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.test_messages import _write, of_nginx, of_portico
from tests.processes import NGINX
from tests.system.ocsp_responder import Authority

pytestmark = pytest.mark.skipif(not os.access(NGINX, os.X_OK), reason=f"{NGINX} is missing: apt-get install nginx-light")

STAPLES = "ssl_stapling on;"
VERIFY = "ssl_verify_client on; ssl_client_certificate @A@/root.pem;"
ROWS = [
    ("site", STAPLES),
    ("site-alone", STAPLES),
    ("site-alone", f"{STAPLES} ssl_trusted_certificate @A@/root.pem;"),
    ("bare", STAPLES),
    ("bare", f"{STAPLES} ssl_stapling_responder http://127.0.0.1:1/x;"),
    ("bare", f"{STAPLES} ssl_stapling_responder https://127.0.0.1/;"),
    ("bare", f"{STAPLES} ssl_stapling_responder http://;"),
    ("bare-alone", f"{STAPLES} ssl_stapling_file @A@/response.der;"),
    ("odd", STAPLES),
    ("bare", "ssl_stapling off;"),
    ("bare", "ssl_stapling maybe;"),
    ("bare", "ssl_stapling_verify maybe;"),
    ("bare", "ssl_stapling on; ssl_stapling on;"),
    ("bare", "ssl_stapling_file a; ssl_stapling_file b;"),
    ("bare", "ssl_stapling_file @A@/nothing.der;"),
    ("site", f"{VERIFY} ssl_ocsp on;"),
    ("site", f"{VERIFY} ssl_ocsp leaf; ssl_ocsp_responder http://127.0.0.1:1; ssl_ocsp_cache shared:o:1m;"),
    ("site", f"{VERIFY} ssl_ocsp some;"),
    ("site", f"{VERIFY} ssl_ocsp on; ssl_ocsp_responder https://127.0.0.1/;"),
    ("site", "ssl_verify_client optional_no_ca; ssl_ocsp on;"),
    ("site", "ssl_ocsp_cache off;"),
    ("site", "ssl_ocsp_cache shared:o;"),
    ("site", "ssl_ocsp_cache shared::1m;"),
    ("site", "ssl_ocsp_cache o;"),
    ("site", "ssl_ocsp_cache shared:o:1k;"),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    made = Authority(tmp_path_factory.mktemp("ocsp"))
    made.issue("site")
    made.issue("bare", url="")
    made.issue("odd", url="ldap://127.0.0.1/")
    (made.folder / "response.der").write_bytes(made.response("bare"))
    yield made
    made.close()


@pytest.mark.parametrize(("name", "lines"), ROWS)
def test_messages(tmp_path: Path, authority: Authority, name: str, lines: str) -> None:
    key = name.removesuffix("-alone")
    text = f"server {{ listen 127.0.0.1:8443 ssl; ssl_certificate @A@/{name}.pem; ssl_certificate_key @A@/{key}.key;\n{lines} }}"
    conf = _write(tmp_path, text.replace("@A@", str(authority.folder)))
    ours, theirs = of_portico(conf), of_nginx(conf)
    if theirs and " in /" not in theirs[-1]:  # nginx names no place for what it finds when all is read
        ours = [message.partition(" in /")[0] for message in ours]
    assert ours == theirs
