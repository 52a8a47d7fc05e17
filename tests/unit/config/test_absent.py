"""What is said of a directive that nginx has and Portico does not."""

import pytest

from portico.config import absent

_DECLARED = ["gzip", "gzip_types", "proxy_pass", "http2"]


@pytest.mark.parametrize(
    ("name", "todo"),
    [
        ("fastcgi_pass", "proxy_pass"),
        ("grpc_set_header", "proxy_pass"),
        ("stream", "other ports"),
        ("http3_hq", "clients get HTTP/1.1"),
        ("ancient_browser_value", "map of $http_user_agent"),
        ("post_action", "remove the line if you can do without"),
    ],
)
def test_it_is_said_what_to_do(name: str, todo: str) -> None:
    hint = absent.advice(name, _DECLARED)
    assert hint.startswith("nginx has it and Portico does not yet: ") and todo in hint
    assert "docs/" not in hint  # who installed a package has none


@pytest.mark.parametrize("name", ["gzip_typo", "proxy_pas", "streams", "", "ssix"])
def test_what_is_no_directive_of_an_absent_module_is_left_to_other_hints(name: str) -> None:
    assert absent.advice(name, _DECLARED) == ""


def test_every_family_with_an_advice_is_known() -> None:
    named = [name for _, names in absent._INSTEAD for name in names]
    assert sorted(set(named)) == sorted(named)
    assert set(named) <= set(absent._FAMILIES)
