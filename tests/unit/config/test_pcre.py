"""The translation of PCRE's patterns into those of `re`: what it says of a pattern, and what it refuses rather than guess.

That a translated pattern matches what PCRE matches, test_regex.py asks the library; here are the places where `re` would have been
silent about a difference, without asking anybody.
"""

from __future__ import annotations

import re

import pytest

from portico.config.pcre import Pcre


def captures(pattern: str, subject: bytes, caseless: bool = False) -> list[bytes | None] | None:
    """What the translation finds: the whole match and the groups."""
    found = re.search(Pcre(pattern.encode(), caseless).text, subject, re.IGNORECASE if caseless else re.NOFLAG)
    return None if found is None else [found.group(), *found.groups()]


@pytest.mark.parametrize(
    ("pattern", "subject", "whole"),
    [
        # written alike in both languages, with different meanings
        (r"a\Z", b"a\n", b"a"),  # `re`: only at the very end
        (r"a\z", b"a\n", None),
        (r"(?m)^", b"a\n", b""),
        (r"(?m)\n^", b"a\n", None),  # no line begins behind the newline that ends the subject
        (r"\v", b"\x85", b"\x85"),  # `re`: the vertical tab alone
        (r"\v", b"\x0b", b"\x0b"),
        (r"a{,3}", b"aa{,3}", b"a{,3}"),  # text before PCRE2 10.43
        (r"a(?i)b|c", b"C", b"C"),  # an option holds for the branches behind it
        (r"(a(?i)b)c", b"aBC", None),  # and ends with its group
        (r"[[:alpha:]]+", b"1ab:", b"ab"),
        (r"[a&&b]+", b"a&b", b"a&b"),  # `re` reserves these for set operations
        (r"[a||b~~c]+", b"|~", b"|~"),
        (r"\e\a", b"\x1b\x07", b"\x1b\x07"),
        (r"\h", b"\xa0", b"\xa0"),
        (r"\Q.*\E.", b".*x", b".*x"),
        (r"\Q.*", b"a.*", b".*"),
        (r"[\Q^]\E]+", b"]^", b"]^"),
        (r"(?x) a \  b # comment", b"a b", b"a b"),
        (r"(?x)[ #]+", b" #", b" #"),  # white space counts in a class
        (r"(?U)a+", b"aaa", b"a"),
        (r"(?U)a+?", b"aaa", b"aaa"),
        (r"(?s).", b"\n", b"\n"),
        (r"\N", b"\n", None),
        (r"(?s)\N", b"\n", None),
        (r"(?:ab?)++b", b"abab", None),  # possessive: nothing is given back
        (r"(?<=a|bc)d", b"bcd", b"d"),  # branches of several lengths
        (r"(?<!a|bc)d", b"bcd", None),
        (r"(?n)(a)(?<k>b)", b"ab", b"ab"),
        (r"\x{61}\o{142}\143\cA", b"abc\x01", b"abc\x01"),
        (r"\R", b"\r\n", b"\r\n"),
        (r"\R\n", b"\r\n", None),  # it is atomic
    ],
)  # fmt: skip
def test_what_re_would_read_in_another_way(pattern: str, subject: bytes, whole: bytes | None) -> None:
    found = captures(pattern, subject)
    assert (None if found is None else found[0]) == whole


@pytest.mark.parametrize(
    ("pattern", "subject", "matches"),
    [
        ("É".encode().decode("latin-1"), "é".encode(), False),  # case is ASCII's
        ("k", "\u212a".encode(), False),  # the Kelvin sign is a K to Unicode
        ("[^k]", b"K", False),
        ("[^a-c]", b"B", False),
        ("[[:upper:]]", b"a", True),
        ("[[:^lower:]]", b"A", False),
        ("(?-i)a", b"A", False),
        ("(?-i:a)b", b"aB", True),
        ("(?-i:a)b", b"AB", False),
        (r"(a)\1", b"aA", True),
    ],
)
def test_caseless(pattern: str, subject: bytes, matches: bool) -> None:
    assert (captures(pattern, subject, caseless=True) is not None) == matches


@pytest.mark.parametrize(
    ("pattern", "groups", "names"),
    [
        ("abc", 0, {}),
        ("(a)(?:b)(c)", 2, {}),
        (r"\(a\)[(]b", 0, {}),
        (r"\Q(a)\E(b)", 1, {}),
        ("(?n)(a)(?<k>b)", 1, {"k": 1}),
        ("(?<one>a)|(?'two'b)|(?P<three>c)", 3, {"one": 1, "two": 2, "three": 3}),
        ("((a)(?<in>b))", 3, {"in": 3}),
        (f"(?<{'n' * 32}>a)", 1, {"n" * 32: 1}),
    ],
)
def test_groups_and_their_names(pattern: str, groups: int, names: dict[str, int]) -> None:
    translated = Pcre(pattern.encode(), False)
    assert (translated.groups, translated.names) == (groups, names)
    assert re.compile(translated.text).groups == groups


@pytest.mark.parametrize(
    ("pattern", "anchored"),
    [
        ("^/a", True),
        (r"\A/a", True),
        (r"\G/a", True),
        ("^a|^b", True),
        ("^a|b", False),
        ("a^", False),
        ("(?m)^a", False),  # every line begins one
        ("(^a)", False),  # it is not looked into: searching costs time, and finds the same
        ("", False),
        (r"\^a", False),
    ],
)
def test_patterns_that_match_at_the_start_only(pattern: str, anchored: bool) -> None:
    """Such a pattern is tried at one place; a mistake here would lose matches."""
    assert Pcre(pattern.encode(), False).anchored == anchored


@pytest.mark.parametrize(
    ("pattern", "message", "offset"),
    [
        # what PCRE can say and `re` cannot
        ("(*UTF)a", "(*VERB) is not supported", 0),
        (r"a\K", r"\K is not supported", 2),
        (r"\X", r"\X is not supported", 1),
        (r"a\p{Lu}", "Unicode properties are not supported", 2),
        (r"[\P{Lu}]", "Unicode properties are not supported", 2),
        ("a(?R)", "recursion and subroutine calls are not supported", 1),
        ("(a)(?1)", "recursion and subroutine calls are not supported", 3),
        ("(?&n)", "recursion and subroutine calls are not supported", 0),
        (r"(a)\g<1>", "recursion and subroutine calls are not supported", 4),
        ("(?|a|b)", "branch reset groups are not supported", 0),
        ("(?C1)", "callouts are not supported", 0),
        ("(?^i)a", "(?^) is not supported", 0),
        ("(?xx)a", "(?xx) is not supported", 2),
        ("(?(?=a)b|c)", "conditions other than a group's number or name are not supported", 2),
        (r"(a\1)", "reference to a subpattern that is open, or above 99, is not supported", 3),
        ("[[.a.]]", "POSIX collating elements are not supported", 1),
        (r"\N{U+41}", r"\N{name} is not supported", 2),
        # what is wrong in PCRE too
        (f"(?<{'n' * 33}>a)", "subpattern name is too long (maximum 32 code units)", 36),
        ("(?<n", "syntax error in subpattern name (missing terminator?)", 4),
        ("(?<1n>a)", "subpattern name expected", 3),
        ("(?#a", "missing ) after (?# comment", 4),
        ("(?i", "missing closing parenthesis", 3),
        ("(a(?s-i", "missing closing parenthesis", 7),
        ("(?-", "missing closing parenthesis", 3),
        ("(?", "missing closing parenthesis", 2),
        ("(?j)", "unrecognized character after (? or (?-", 0),
        ("(?iq)", "unrecognized character after (? or (?-", 2),
        (r"\k", r"\k is not followed by a name", 1),
        (r"\k{n}", "reference to non-existent subpattern", 5),
        (r"\g{-1}", "reference to non-existent subpattern", 6),
        ("(?(1)a)", "reference to non-existent subpattern", 2),
        ("(a)?(?(1)b|c|d)", "conditional subpattern contains more than two branches", 15),
        (r"\c", r"\c must be followed by a printable ASCII character", 2),
        ("\\c\t", r"\c must be followed by a printable ASCII character", 2),
        (r"\400", r"character code point value in \x{} or \o{} is too large", 4),
        (r"\o{8}", r"character code point value in \x{} or \o{} is too large", 5),
        (r"\o1", r"digits missing after \x or in \x{} or \o{} or \N{U+}", 2),
        (r"\x{", r"digits missing after \x or in \x{} or \o{} or \N{U+}", 2),
        (r"[\B]", "escape sequence is invalid in character class", 2),
        ("[a\\", r"\ at end of pattern", 3),
        ("[a-", "missing terminating ] for character class", 3),
        (r"[\Qa]", "missing terminating ] for character class", 5),
        ("é*+*".encode().decode("latin-1"), "quantifier does not follow a repeatable item", None),
    ],
)  # fmt: skip
def test_refusals(pattern: str, message: str, offset: int | None) -> None:
    """(message, offset in bytes): the caret of the diagnostic stands there."""
    with pytest.raises(ValueError) as caught:
        Pcre(pattern.encode(), False)
    assert caught.value.args[0] == message
    if offset is not None:
        assert caught.value.args[1] == offset


def test_every_byte_is_itself() -> None:
    """Whatever stands in a configuration file may stand in a pattern, as text or in a class."""
    for code in range(256):
        byte = bytes([code])
        text = Pcre(b"\\Q" + byte + b"\\E", False).text
        assert re.fullmatch(text, byte), code
        in_class = Pcre(b"[\\" + byte + b"]" if not byte.isalnum() else b"[" + byte + b"]", False).text
        assert [other for other in range(256) if re.fullmatch(in_class, bytes([other]))] == [code]


@pytest.mark.parametrize(
    ("members", "count"),
    [
        (r"[\s\S]", 256), (r"[^\s\S]", 0), (r"[^a]", 255), (r"[\x00-\x7f]", 128), (r"[^\x00-\x7f]", 128), (r"[\x00-\x80]", 129),
        ("[a-]", 2),
    ],
)  # fmt: skip
def test_a_class_is_a_set_of_bytes(members: str, count: int) -> None:
    compiled = re.compile(Pcre(members.encode(), False).text)
    assert sum(compiled.fullmatch(bytes([code])) is not None for code in range(256)) == count
