"""Absolute URLs: their parts, and what is refused because it could be read in two ways."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.codec.url import Url


@pytest.mark.parametrize(
    ("text", "secure", "host", "port", "authority", "target"),
    [
        ("https://id.example.com", True, "id.example.com", 443, "id.example.com", "/"),
        ("http://id.example.com/a/b?c=d", False, "id.example.com", 80, "id.example.com", "/a/b?c=d"),
        ("HTTPS://id.example.com:8443?c=d", True, "id.example.com", 8443, "id.example.com:8443", "/?c=d"),
        ("https://id.example.com:/a", True, "id.example.com", 443, "id.example.com:", "/a"),
        ("https://[2001:db8::1]/a", True, "2001:db8::1", 443, "[2001:db8::1]", "/a"),
        ("https://[::1]:8443/a@b:c", True, "::1", 8443, "[::1]:8443", "/a@b:c"),
    ],
)
def test_the_parts_of_a_url(text: str, secure: bool, host: str, port: int, authority: str, target: str) -> None:
    url = Url(text)
    assert (url.text, url.secure, url.host, url.port, url.authority, url.target) == (text, secure, host, port, authority, target)
    assert url.origin == f"{'https' if secure else 'http'}://{authority}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with"),
        ("ftp://a/", "must begin with"),
        ("https:/a/", "must begin with"),
        ("//a/", "must begin with"),
        ("https://", "no host"),
        ("https://:443/", "no host"),
        ("https:///a", "no host"),
        ("https://a b/", "a character that does not belong"),
        ("https://a/\r\nHost: b", "a character that does not belong"),
        ("https://a/\x7f", "a character that does not belong"),
        ("https://é/", "a character that does not belong"),
        ("https://a\\@b/", "a character that does not belong"),
        ("https://a/#b", "a character that does not belong"),
        ("https://user:secret@a/", '"@" in its host'),
        ("https://localhost@evil.example/", '"@" in its host'),
        ("https://[::1/", "malformed"),
        ("https://[::1]8443/", "malformed"),
        ("https://[evil.example]/", "malformed"),
        ("https://[127.0.0.1]/", "malformed"),
        ("https://a:0/", "port"),
        ("https://a:65536/", "port"),
        ("https://a:-1/", "port"),
        ("https://a:b/", "port"),
        ("https://a:1:2/", "port"),
        ("https://a:99999999999999999999/", "port"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Url(text)


@given(st.text() | st.text().map(lambda text: "https://" + text) | st.text().map(lambda text: "http://" + text))
@example("https://[")
@example("https://a:٣/")
def test_any_text(text: str) -> None:
    try:
        url = Url(text)
    except ValueError:
        return
    assert url.target.startswith("/") and 0 < url.port < 65536 and url.host
    assert text.isascii() and text.isprintable() and " " not in text


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("/x?y", "https://a.example:8443/x?y"),
        ("x", "https://a.example:8443/dir/x"),
        ("../x", "https://a.example:8443/x"),
        ("?y", "https://a.example:8443/dir/page?y"),
        ("//b.example/x", "https://b.example/x"),
        ("http://b.example/x#part", "http://b.example/x"),
        ("#part", "https://a.example:8443/dir/page?q"),
    ],
)
def test_references(reference: str, text: str) -> None:
    assert Url("https://a.example:8443/dir/page?q").resolved(reference).text == text


@pytest.mark.parametrize("reference", ["javascript:alert(1)", "https://u@b/", "//[", "/\r\nX: y", "mailto:a@b"])
def test_references_that_are_refused(reference: str) -> None:
    with pytest.raises(ValueError):
        Url("https://a.example/").resolved(reference)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://A.example:443/x", True),
        ("https://a.example/y", True),
        ("http://a.example:443/", False),
        ("https://a.example:444/", False),
        ("https://b.example/", False),
    ],
)
def test_origins(other: str, same: bool) -> None:
    assert Url("https://a.example/").has_origin_of(Url(other)) is same
