"""`set_escape_uri` and its kin: what they make of texts, in order with `set`, `if` and `rewrite`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features.rewrite import functions, set_misc

ALL = (*FEATURES, set_misc.FEATURE)
Make = Callable[[str], Site]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a site of a server's text."""
    sites: list[Site] = []

    def site(text: str) -> Site:
        made = Site(text, tmp_path, ALL)
        sites.append(made)
        return made

    yield site
    for made in sites:
        made.close()


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ("set $a $arg_q; set_if_empty $a 56;", "56"),
        ("set $a 1; set_if_empty $a 56;", "1"),
        ("set_if_empty $a $arg_v;", "var"),
        ("set_if_empty $args q=1; set $a $arg_q;", ""),
        ("set $a 'a b'; set_escape_uri $a; set_escape_uri $a;", "a%2520b"),
        ("set_escape_uri $a 'a/b?c=d&e+f';", "a%2Fb%3Fc%3Dd%26e%2Bf"),
        ("set_unescape_uri $a 'hello+w%6Frld%21';", "hello world!"),
        ("set_unescape_uri $a $arg_e;", "x\r\ny"),
        ("set_quote_json_str $a 'a\"b';", '"a\\"b"'),
        ("set_quote_json_str $a $arg_none;", "null"),
        ("set_encode_base64 $a abcde;", "YWJjZGU="),
        ("set_decode_base64 $a YWJjZGU=;", "abcde"),
        ("set_decode_base64 $a YWJjZGU;", "abcde"),
        ("set_encode_base64url $a '~~~?';", "fn5-Pw"),
        ("set_decode_base64url $a fn5-Pw==;", "~~~?"),
        ("set_encode_hex $a abcde;", "6162636465"),
        ("set_decode_hex $a 61626364C3A4;", "abcdä"),
        ("set_md5 $a hello;", "5d41402abc4b2a76b9719d911017c592"),
        ("set_sha1 $a hello;", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"),
        (
            "set_hmac_sha1 $a thisisverysecretstuff 'some string we want to sign'; set_encode_base64 $a;",
            "R/pvxzHC4NLtj7S+kXFg/NePTmk=",
        ),
        (
            "set_hmac_sha256 $a thisisverysecretstuff 'some string we want to sign'; set_encode_base64 $a;",
            "4pU3GRQrKKIoeLb9CqYsavHE2l6Hx+KMmRmesU+Cfrs=",
        ),
        ("set_random $a 7 7;", "7"),
        ("set $a 4; set_rotate $a 1 5;", "5"),
        ("set $a 5; set_rotate $a 1 5;", "1"),
        ("set $a 50; set_rotate $a 5 1;", "1"),
        ("set_formatted_gmt_time $a '%%';", "%"),
        ("set_formatted_gmt_time $a '$arg_none';", ""),
        ("set $a 1; if ($arg_v = var) { set_encode_hex $a b; set_encode_hex $a; }", "3632"),
        ("set $a 1; if ($arg_v = other) { set_encode_hex $a; }", "1"),
        ("set_md5 $b x; set $a $b; set_md5 $b y;", "9dd4e461268c8034f5c8564e155c67a6"),
    ],
)
@pytest.mark.parametrize("place", ["server", "location"])
def test_what_they_make(make: Make, lines: str, shown: str, place: str) -> None:
    inside = f"{lines} {'' if place == 'location' else 'set $b 1;'} return 200 $a;"
    site = make(f"location / {{ {inside} }}" if place == "location" else inside)
    assert site.ask("/?v=var&e=x%0d%0Ay").body.decode() == shown


def test_they_run_in_the_order_written_with_rewrite(make: Make) -> None:
    site = make("location /x { set_encode_hex $a $uri; rewrite ^ /y; set_encode_hex $b $uri; return 200 $a-$b; }")
    assert site.ask("/x").body == b"2f78-2f79"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("set_decode_base64 $a '!!';", "set_decode_base64: invalid value"),
        ("set_decode_base64 $a abcde;", "set_decode_base64: invalid value"),
        ("set_decode_base64 $a 'a-_b';", "set_decode_base64: invalid value"),
        ("set_decode_base64url $a 'a+/b';", "set_decode_base64url: invalid value"),
        ("set_decode_hex $a abc;", "set_decode_hex: invalid value"),
        ("set_decode_hex $a xy;", "set_decode_hex: invalid value"),
        ("set_random $a 1 x;", 'set_random: bad "to" argument: "x"'),
        ("set_random $a -1 2;", 'set_random: bad "from" argument: "-1"'),
        ("set_random $a 1 9999999999999999999999;", 'set_random: bad "to" argument'),
        ("set_rotate $a 1 $arg_none;", 'set_rotate: bad "to" argument: ""'),
        ("set_secure_random_alphanum $a 0;", 'set_secure_random_alphanum: bad "length" argument: 0 (it may be 1 to 64)'),
        ("set_secure_random_lcalpha $a 65;", 'set_secure_random_lcalpha: bad "length" argument: 65 (it may be 1 to 64)'),
        ("set_formatted_gmt_time $a %1000000000d;", "set_formatted_gmt_time: the format makes no time"),
        ("set_unescape_uri $b $arg_z; set_formatted_local_time $a $b;", "set_formatted_local_time: the format makes no time"),
    ],
)
def test_what_makes_no_sense_ends_the_request(make: Make, line: str, reason: str) -> None:
    site = make(f"set $a ''; {line} return 200 x;")
    assert site.ask("/?z=%00").status == 500
    assert reason in site.log() and "Traceback" not in site.log()


def test_chance(make: Make) -> None:
    site = make("set_random $a 5 3; set_secure_random_alphanum $b 64; set_secure_random_lcalpha $c 1; return 200 '$a $b $c';")
    answers = {site.ask("/").body.decode() for _ in range(60)}
    assert {answer[0] for answer in answers} == {"3", "4", "5"}
    assert all(re.fullmatch(r"[345] [a-zA-Z0-9]{64} [a-z]", answer) for answer in answers)
    assert len({answer.split()[1] for answer in answers}) == len(answers)


def test_a_rotation_goes_on_by_itself(make: Make) -> None:
    site = make("uninitialized_variable_warn off; set_rotate $a 0 2; return 200 $a;")
    assert b"".join(site.ask("/").body for _ in range(7)) == b"0120120"


def test_the_date(make: Make) -> None:
    before = time.strftime("%Y-%m-%d")
    answer = make("set_local_today $a; set_formatted_gmt_time $b '%a %Y'; return 200 '$a|$b';").ask("/").body.decode()
    assert answer.split("|")[0] in (before, time.strftime("%Y-%m-%d"))
    assert answer.split("|")[1] == time.strftime("%a %Y", time.gmtime())


def test_every_byte_survives_escaping_and_coming_back() -> None:
    every = bytes(range(256))
    for there, back in (
        (functions.escape_uri, functions.unescape_uri), (functions.encode_hex, functions.decode_hex),
        (functions.encode_base64, functions.decode_base64), (functions.encode_base64url, functions.decode_base64url),
    ):  # fmt: skip
        assert back([there([every])]) == every
    assert re.fullmatch(rb"(?:%[0-9A-F]{2}|[!-~])*", functions.escape_uri([every])) is not None
    kept = bytes(byte for byte in every if functions.escape_uri([bytes((byte,))]) == bytes((byte,)))
    assert kept == b"!$'()*,-.0123456789@ABCDEFGHIJKLMNOPQRSTUVWXYZ_`abcdefghijklmnopqrstuvwxyz|~"


def test_uninitialised_variables_are_no_mistake_for_set_if_empty(make: Make) -> None:
    site = make("set_if_empty $a 1; return 200 $a;")
    assert site.ask("/").body == b"1" and site.log() == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("set_md5 a;", 'invalid variable name "a"'),
        ("set_md5 $remote_addr x;", 'the duplicate "remote_addr" variable'),
        ("set_md5 $a $nowhere;", 'unknown "nowhere" variable'),
        ("set_if_empty $a;", 'invalid number of arguments in "set_if_empty" directive'),
        ("set_random $a 1;", 'invalid number of arguments in "set_random" directive'),
    ],
)
def test_mistakes(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Site(line, tmp_path, ALL)
    assert caught.value.message == message
