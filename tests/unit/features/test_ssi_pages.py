"""What pages with commands become, where the parity tests cannot look: the error log, limits, and what is never read as a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.features.ssi import feature as ssi
from portico.features.ssi import shared as ssi_shared
from portico.features.ssi.page import date_text

Ask = Callable[[str], bytes]
COMPILED = str(ssi_shared.__file__).endswith(".so")
WITH_SSI = (*FEATURES[:5], ssi.FEATURE, *FEATURES[5:])
ERROR = b"[an error occurred while processing the directive]"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "html").mkdir()
    made = Site("types { text/html html; } ssi on; location /x { return 200 '<$uri>'; }", tmp_path, WITH_SSI)
    yield made
    made.close()


@pytest.fixture
def page(site: Site, tmp_path: Path) -> Callable[..., bytes]:
    def ask(text: str, query: str = "", fields: str = "") -> bytes:
        (tmp_path / "html" / "a.html").write_text(text)
        return site.ask(f"/a.html{query}", fields).body

    return ask


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        ("<!--#nothing -->", 'invalid SSI command: "nothing"'),
        ("<!--#endif -->", 'invalid context of SSI command: "endif"'),
        ('<!--#echo va="x" -->', 'invalid parameter name: "va" in "echo" SSI command'),
        ('<!--#echo var="x" var="y" -->', 'duplicate "var" parameter in "echo" SSI command'),
        ("<!--#echo -->", 'mandatory "var" parameter is absent in "echo" SSI command'),
        ('<!--#set var="x" value="${x" -->', 'the closing bracket in "x" variable is missing'),
        ('<!--#set var="x" value="$" -->', 'invalid variable name in "$"'),
        ('<!--#if expr="a ~ b" -->', 'invalid expression in "a ~ b"'),
        ('<!--#if expr="a = /(/" -->', 'regex "(" cannot be used'),
        ('<!--#include virtual="/../x" -->', 'unsafe URI "/../x" was detected'),
        ('<!--#include virtual="/x" stub="s" -->', '"stub"="s" for "include" not found'),
        ('<!--#include virtual="/x" wait="w" -->', 'invalid value "w" in the "wait" parameter'),
        ('<!--#include file="/x" wait="yes" -->', '"wait" cannot be used with file="/x"'),
        ('<!--#include virtual="/x" file="/y" -->', 'inclusion may be either virtual="/x" or file="/y"'),
        ("<!--#include -->", 'no parameter in "include" SSI command'),
        ('<!--#include virtual="/x" set="a" stub="b" -->', '"set" and "stub" cannot be used together'),
        ('<!--#config timefmt="" --><!--#echo var="date_gmt" -->', "the date is empty, or too long, with timefmt"),
    ],
)
def test_a_mistake_is_told_to_the_log(site: Site, page: Ask, text: str, logged: str) -> None:
    assert ERROR in page(text)
    assert logged in site.log()


def test_a_value_is_never_read_as_a_command_or_a_variable(page: Callable[..., bytes]) -> None:
    """Whatever a client sends in its request, the page's own commands stay the only ones."""
    sent = "X: <!--#include virtual='/x'-->$uri"
    assert page('<!--#echo var="http_x" encoding="none" -->', "", sent) == b"<!--#include virtual='/x'-->$uri"
    assert page('<!--#set var="v" value="$http_x" --><!--#echo var="v" -->', "", sent) == b"&lt;!--#include virtual='/x'--&gt;$uri"
    assert page('<!--#echo var="no" default="<!--#echo var=\'uri\' -->" encoding="none" -->') == b"<!--#echo var='uri' -->"


def test_a_value_cannot_lead_out_of_the_site(page: Callable[..., bytes], site: Site) -> None:
    for value in ("../../etc/passwd", "..%2f..%2fetc/passwd", "%2e%2e/x", "x/../../y", "%00"):
        assert page('<!--#include virtual="/x/$arg_a" -->', f"?a={value}") == ERROR
    assert "unsafe URI" in site.log()


def test_a_name_that_a_client_chooses_is_not_remembered(site: Site, page: Callable[..., bytes]) -> None:
    registry = next(f for f in site.plan.servers[0].fallback.header_filters if isinstance(f, ssi.SsiFilter)).registry
    before = registry.names()
    for number in range(100):
        assert page(f'<!--#echo var="arg_x{number}" --><!--#echo var="{number}" -->', f"?x{number}=1") == b"1(none)"
    assert registry.names() == before


def test_a_regex_that_would_not_end_is_given_up(site: Site, page: Callable[..., bytes]) -> None:
    made = page('<!--#if expr="$arg_a = /^(a+)+\\$/" -->x<!--#endif -->', f"?a={'a' * 60}b")
    assert made.startswith(ERROR)
    assert "pcre2_match() failed" in site.log()


def test_blocks_have_a_bound(site: Site, page: Ask) -> None:
    block = '<!--#block name="a" -->' + "x" * 100_000 + "<!--#endblock -->"
    assert page(block * 10) == b""
    assert ERROR in page(block * 11)
    assert "the blocks of one request are longer than 1048576 bytes" in site.log()


def test_a_value_that_is_doubled_again_and_again_has_a_bound(site: Site, page: Ask) -> None:
    double = '<!--#set var="a" value="$a$a" -->'
    assert page('<!--#set var="a" value="0123456789abcdef" -->' + double * 20) == b""
    assert page('<!--#set var="a" value="0123456789abcdef" -->' + double * 24).count(ERROR) == 4
    assert "the values in one text are longer than 16777216 bytes" in site.log()


def test_the_values_of_all_variables_have_a_bound(site: Site, page: Ask) -> None:
    made = '<!--#set var="a" value="0123456789abcdef" -->' + '<!--#set var="a" value="$a$a" -->' * 19
    assert page(made + '<!--#set var="b" value="$a" -->' * 9) == b""
    assert ERROR in page(made + '<!--#set var="b" value="$a" --><!--#set var="c" value="$a" -->')
    assert "the variables of one request are longer than 16777216 bytes" in site.log()


@pytest.mark.skipif(COMPILED, reason="a compiled constant cannot be changed")
def test_a_page_that_includes_itself_twice_comes_to_an_end(site: Site, page: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssi_shared, "_MOST_INCLUDED", 200)
    made = page('.<!--#include virtual="/a.html" --><!--#include virtual="/a.html" -->')
    assert made.count(b".") == 201
    assert "more than 200 subrequests for one request" in site.log()


def test_an_open_end_is_sent_as_it_is(page: Ask) -> None:
    """nginx loses what might have been the beginning of a command."""
    assert page("a<!--") == b"a<!--"


def test_quotes_survive_a_block(page: Ask) -> None:
    """nginx writes every value of a command in a block between double quotes, whatever is in it."""
    text = "<!--#block name='s' --><!--#set var='v' value='a\"b' --><!--#echo var='v' encoding='none' --><!--#endblock -->"
    assert page(text + '<!--#include virtual="/none" stub="s" -->') == b'a"b'


@pytest.mark.parametrize(
    ("time_format", "expected"),
    [
        (b"%Y-%m-%d %H:%M:%S %Z %z", b"2001-09-09 01:46:40 GMT +0000"),
        (b"%s", b"1000000000"),
        (b"\xe9%Y\xff", b"\xe92001\xff"),
        (b"%Y\x00%Y", b"2001"),
        (b"", None),
        (b"x" * 2047, b"x" * 2047),
        (b"x" * 2048, None),
    ],
)
def test_dates(time_format: bytes, expected: bytes | None) -> None:
    assert date_text(1_000_000_000.5, time_format, False) == expected


def test_what_has_no_commands_keeps_its_header_section(tmp_path: Path) -> None:
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "a.txt").write_text("<!--#echo var='uri' -->")
    site = Site("types { text/plain txt; } ssi on;", tmp_path, WITH_SSI)
    answer = site.ask("/a.txt")
    assert (answer.body, answer.get("content-length")) == (b"<!--#echo var='uri' -->", "23")
    assert answer.get("etag") is not None and answer.get("accept-ranges") == "bytes"
    site.close()
