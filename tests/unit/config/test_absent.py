"""What is said of a directive that nginx has and Portico does not."""

import pytest

from portico.config import absent

_DECLARED = ["gzip", "gzip_types", "proxy_pass", "http2", "fastcgi_temp_path"]


@pytest.mark.parametrize(
    ("name", "todo"),
    [
        ("fastcgi_pass", "proxy_pass"),
        ("grpc_set_header", "proxy_pass"),
        ("stream", "other ports"),
        ("least_time", "least_conn"),
        ("ancient_browser_value", "map of $http_user_agent"),
        ("post_action", "remove the line if you can do without"),
    ],
)
def test_it_is_said_what_to_do(name: str, todo: str) -> None:
    hint = absent.advice(name, _DECLARED)
    assert hint.startswith("nginx has it and Portico does not yet: ") and todo in hint
    assert "docs/" not in hint  # who installed a package has none


@pytest.mark.parametrize(
    ("name", "module", "todo"),
    [
        ("content_by_lua_block", "OpenResty", "let the application do it"),
        ("lua_shared_dict", "OpenResty", "let the application do it"),
        ("rtmp", "nginx-rtmp-module", "other ports"),
        ("set_base32_alphabet", "set-misc-nginx-module", "keep OpenResty"),
        ("passenger_ruby", "Phusion Passenger", "proxy_pass"),
        ("otel_exporter", "traces", "remove the line"),
    ],
)
def test_modules_that_are_not_nginx_own(name: str, module: str, todo: str) -> None:
    hint = absent.advice(name, _DECLARED)
    assert hint.startswith("it belongs to a module that is not nginx's own (") and module in hint and todo in hint


def test_a_module_that_came_is_not_said_to_be_missing() -> None:
    assert absent.advice("more_clear_headers", ["more_clear_headers"]) == ""
    assert absent.advice("geoip2_proxy", ["geoip2"]) == ""


@pytest.mark.parametrize("name", ["gzip_typo", "proxy_pas", "streams", "", "ssix"])
def test_what_is_no_directive_of_an_absent_module_is_left_to_other_hints(name: str) -> None:
    assert absent.advice(name, _DECLARED) == ""


def test_every_family_with_an_advice_is_known() -> None:
    named = [name for _, names in absent._INSTEAD for name in names]
    assert sorted(set(named)) == sorted(named)
    assert set(named) <= set(absent._FAMILIES)
