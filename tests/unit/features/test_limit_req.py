"""What is wrong with a limit is said when the configuration is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.program import Source, load_program
from portico.supervisor.plan import LoadFailed

REQ = "limit_req_zone $arg_k zone=z:1m rate=1r/s;"
CONN = "limit_conn_zone $arg_k zone=c:1m;"


def mistakes(folder: Path, text: str) -> list[str]:
    """What loading says against `text` inside `http {}`."""
    conf = folder / "portico.conf"
    conf.write_text(f"error_log {folder}/error.log; events {{}} http {{ access_log off; {text} }}")
    try:
        load_program(Source(f"{folder}/", str(conf), "", ""), None)
    except LoadFailed as failed:
        return [error.message for error in failed.diagnostics.errors]
    return []


def in_location(text: str) -> str:
    return f"server {{ listen 127.0.0.1:8080; location / {{ {text} }} }}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limit_req_zone $uri zone=z rate=1r/s;", 'invalid zone size "zone=z"'),
        ("limit_req_zone $uri zone=z:1x rate=1r/s;", 'invalid zone size "zone=z:1x"'),
        ("limit_req_zone $uri zone=z:31k rate=1r/s;", 'zone "zone=z:31k" is too small'),
        ("limit_req_zone $uri zone=:1m rate=1r/s;", '"limit_req_zone" must have "zone" parameter'),
        ("limit_req_zone $uri rate=1r/s rate=1r/s;", '"limit_req_zone" must have "zone" parameter'),
        ("limit_req_zone $uri zone=z:1m rate=0r/s;", 'invalid rate "rate=0r/s"'),
        ("limit_req_zone $uri zone=z:1m rate=-1r/s;", 'invalid rate "rate=-1r/s"'),
        ("limit_req_zone $uri zone=z:1m rate=1r/h;", 'invalid rate "rate=1r/h"'),
        ("limit_req_zone $uri zone=z:1m burst=1;", 'invalid parameter "burst=1"'),
        ("limit_req_zone $none zone=z:1m rate=1r/s;", 'unknown "none" variable'),
        (REQ + REQ, 'limit_req_zone "z" is already bound to key "$arg_k"'),
        (
            REQ + "limit_req_zone $arg_k zone=z:2m rate=1r/s;",
            'the size 2097152 of shared memory zone "z" conflicts with already declared size 1048576',
        ),
        (REQ + "limit_conn_zone $arg_k zone=z:1m;", 'the shared memory zone "z" is already declared for a different use'),
        (REQ + in_location("limit_req burst=1;"), '"limit_req" must have "zone" parameter'),
        (REQ + in_location("limit_req zone=z burst=0;"), 'invalid burst value "burst=0"'),
        (REQ + in_location("limit_req zone=z delay=x;"), 'invalid delay value "delay=x"'),
        (REQ + in_location("limit_req zone=z now;"), 'invalid parameter "now"'),
        (REQ + in_location("limit_req zone=other;"), 'zero size shared memory zone "other"'),
        (REQ + CONN + in_location("limit_req zone=c;"), 'the shared memory zone "c" is already declared for a different use'),
        (REQ + in_location("limit_req zone=z; limit_req zone=z burst=2;"), '"limit_req" directive is duplicate'),
        (REQ + in_location("limit_req_status 399;"), '"limit_req_status" directive value must be equal to or greater than 400'),
        (REQ + in_location("limit_req_status 600;"), '"limit_req_status" directive value must be equal to or less than 599'),
        (REQ + in_location("limit_req_log_level crit;"), 'invalid value "crit"'),
        ("limit_conn_zone $uri zone=c;", 'invalid zone size "zone=c"'),
        ("limit_conn_zone $uri rate=1;", 'invalid parameter "rate=1"'),
        ("limit_conn_zone $uri zone=:1m;", '"limit_conn_zone" must have "zone" parameter'),
        (CONN + CONN, 'limit_conn_zone "c" is already bound to key "$arg_k"'),
        (CONN + in_location("limit_conn c 0;"), 'invalid number of connections "0"'),
        (CONN + in_location("limit_conn c 65536;"), "connection limit must be less 65536"),
        (CONN + in_location("limit_conn other 1;"), 'zero size shared memory zone "other"'),
        (CONN + in_location("limit_conn c 1; limit_conn c 2;"), '"limit_conn" directive is duplicate'),
        (CONN + in_location("limit_conn_status 200;"), '"limit_conn_status" directive value must be equal to or greater than 400'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes(tmp_path, text) == [expected]


def test_no_mistakes(tmp_path: Path) -> None:
    text = REQ + CONN + in_location("limit_req zone=z burst=5 delay=2; limit_conn c 65535; limit_req_status 599;")
    assert mistakes(tmp_path, text) == []
