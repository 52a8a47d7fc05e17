"""What `proxy_redirect` and `proxy_cookie_…` accept, and what they make of it (nginx: ngx_http_proxy_module.c)."""

from __future__ import annotations

import pytest

from portico.config.diagnostics import ConfigError
from portico.config.load import Load
from portico.config.reader import Statement, read_text
from portico.features.proxy.rewriting import PROXY_COOKIE_DOMAIN, PROXY_COOKIE_FLAGS, PROXY_COOKIE_PATH, PROXY_REDIRECT


def written(text: str) -> Statement:
    return read_text(f"{text};", "x.conf", Load("/srv", "/srv/x.conf"))[0]


@pytest.mark.parametrize("word", ["off", "default"])
def test_a_redirect_may_be_a_word(word: str) -> None:
    rule = PROXY_REDIRECT.parse(written(f"proxy_redirect {word}"))
    assert (rule.word, rule.pattern, rule.regex, rule.replacement) == (word, None, None, None)


def test_a_redirect_replaces_a_prefix_or_what_a_regex_matches() -> None:
    rule = PROXY_REDIRECT.parse(written("proxy_redirect http://a/ /b/"))
    assert rule.pattern is not None and rule.pattern.constant == b"http://a/" and rule.regex is None
    assert rule.replacement is not None and rule.replacement.constant == b"/b/"
    rule = PROXY_REDIRECT.parse(written(r"proxy_redirect ~^http://a/(\d+) /b/$1"))
    assert rule.pattern is None and rule.regex is not None
    assert rule.regex.match(b"http://a/12") is not None and rule.regex.match(b"HTTP://a/12") is None


def test_case_counts_but_for_a_star_and_for_domains() -> None:
    rule = PROXY_REDIRECT.parse(written("proxy_redirect ~*^http://a/ /b/"))
    assert rule.regex is not None and rule.regex.match(b"HTTP://A/") is not None
    rule = PROXY_COOKIE_DOMAIN.parse(written("proxy_cookie_domain ~^a b"))
    assert rule.regex is not None and rule.regex.match(b"A") is not None


def test_a_domain_is_compared_without_its_leading_dot() -> None:
    rule = PROXY_COOKIE_DOMAIN.parse(written("proxy_cookie_domain .example.com $host"))
    assert rule.pattern is not None and rule.pattern.constant == b"example.com"
    path = PROXY_COOKIE_PATH.parse(written("proxy_cookie_path .x /"))
    assert path.pattern is not None and path.pattern.constant == b".x"


@pytest.mark.parametrize("text", ["proxy_redirect on", "proxy_cookie_path default", "proxy_cookie_domain a"])
def test_one_word_that_is_none(text: str) -> None:
    statement = written(text)
    directive = {d.name: d for d in (PROXY_REDIRECT, PROXY_COOKIE_PATH, PROXY_COOKIE_DOMAIN)}[statement.name]
    with pytest.raises(ConfigError) as refused:
        directive.parse(statement)
    assert refused.value.message == f'invalid parameter "{statement.args[0].text}"'


@pytest.mark.parametrize("words", ["secure httponly", "nosecure nohttponly nosamesite", "SameSite=Lax", ""])
def test_flags_of_cookies(words: str) -> None:
    rule = PROXY_COOKIE_FLAGS.parse(written(f"proxy_cookie_flags one {words}"))
    assert [flag.text for flag in rule.flags] == words.split() and not rule.off
    assert rule.name is not None and rule.name.constant == b"one" and rule.regex is None


def test_flags_of_cookies_by_a_regex_without_case() -> None:
    rule = PROXY_COOKIE_FLAGS.parse(written("proxy_cookie_flags ~^ses secure"))
    assert rule.name is None and rule.regex is not None and rule.regex.match(b"SESSION") is not None


def test_no_flags() -> None:
    assert PROXY_COOKIE_FLAGS.parse(written("proxy_cookie_flags off")).off
    assert not PROXY_COOKIE_FLAGS.parse(written("proxy_cookie_flags off secure")).off  # a cookie called "off"
    assert PROXY_COOKIE_FLAGS.parse(written("proxy_cookie_flags one $safe")).flags[0].text == "$safe"
    with pytest.raises(ConfigError, match='invalid parameter "safe"'):
        PROXY_COOKIE_FLAGS.parse(written("proxy_cookie_flags one safe"))
