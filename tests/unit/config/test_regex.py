"""Patterns mean what they mean to PCRE, whichever engine runs them, and none runs for ever.

Where libpcre2 is on the machine (nginx brings it), the answers are compared with the library itself.
"""

import ctypes
import ctypes.util
import random
import time

import pytest

from portico.config.regex import RegexFailed, compile_regex

# PCRE2_NO_AUTO_POSSESS, NO_DOTSTAR_ANCHOR, NO_START_OPTIMIZE: where its optimisations change an answer, the
# fault is theirs (10.42 does not find `(?=a)A?a` in "baB" when caseless).
UNOPTIMISED = 0x1C000


class Pcre2:
    """libpcre2-8 called as nginx calls it: bytes, no options but caseless (and `UNOPTIMISED`)."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        for name in ("compile_8", "match_data_create_from_pattern_8", "get_ovector_pointer_8"):
            getattr(library, "pcre2_" + name).restype = ctypes.c_void_p

    def match(self, pattern: bytes, subject: bytes, caseless: bool) -> list[bytes | None] | str | None:
        """Captures, None, or the text of the compile error."""
        error, offset = ctypes.c_int(), ctypes.c_size_t()
        code = self.library.pcre2_compile_8(
            pattern, ctypes.c_size_t(len(pattern)), (8 if caseless else 0) | UNOPTIMISED,
            ctypes.byref(error), ctypes.byref(offset), None,
        )  # fmt: skip
        if not code:
            text = ctypes.create_string_buffer(256)
            self.library.pcre2_get_error_message_8(error, text, ctypes.c_size_t(256))
            return text.value.decode()
        data = self.library.pcre2_match_data_create_from_pattern_8(ctypes.c_void_p(code), None)
        try:
            return self._captures(code, data, subject)
        finally:
            self.library.pcre2_match_data_free_8(ctypes.c_void_p(data))
            self.library.pcre2_code_free_8(ctypes.c_void_p(code))

    def _captures(self, code: int, data: int, subject: bytes) -> list[bytes | None] | None:
        found = self.library.pcre2_match_8(
            ctypes.c_void_p(code), subject, ctypes.c_size_t(len(subject)), ctypes.c_size_t(0), 0,
            ctypes.c_void_p(data), None,
        )  # fmt: skip
        if found < 0:
            return None
        count = self.library.pcre2_get_ovector_count_8(ctypes.c_void_p(data))
        pointer = self.library.pcre2_get_ovector_pointer_8(ctypes.c_void_p(data))
        ends = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_size_t))
        unset = ctypes.c_size_t(-1).value
        pairs = [(ends[2 * i], ends[2 * i + 1]) for i in range(count)]
        return [None if start == unset else subject[start:end] for start, end in pairs]


@pytest.fixture(scope="module")
def pcre2() -> Pcre2:
    name = ctypes.util.find_library("pcre2-8") or "libpcre2-8.so.0"
    try:
        return Pcre2(ctypes.CDLL(name))
    except OSError:
        pytest.skip("libpcre2-8 is not on this machine")


# Patterns as they stand in nginx.conf files, and each construct that the translation knows.
PATTERNS = r"""
\.php$
^/(images|css)/(.*)\.(gif|jpe?g|png)$
^/download/(?<file>.*)/media/(?<name>[^/]+)\.(\w+)$
^(?'user'[^.]+)\.(?P<domain>.+)$
^/(\d{4})/(\d{2})/?$
(?i)\.JPG$
a(?i)b|c
(a(?i)b|c)d
(?i:ab)c
(?-i)ab
(a(?-i)b|(?i)c)D
(?s)a.b
a.b
(?m)^b$
^b$
b\Z
b\z
\Ab
\Gb
(?x) a b \ c # comment
(?x)a +
a(?#comment)+
a{,3}
a{2}
a{2,}
a{2,3}?
a{x
{a}
x{1
a*+b
(?:ab?)*+b
(ab?c)++
(?>a+)b
(?>(a|ab))c
a++
(?U)a+?b
(?U)(a+)(b*)
(?n)(a)(?<k>b)
[[:alpha:]]+
[[:^digit:][:space:]]+
[^[:upper:]]+
[[:punct:]]
[]a]+
[^]a]+
[a\]b]+
[a-]
[-a]
[+--]
[\w-]
[\]\-^]+
[\h]
[\H]
[\d.]+
[\Qa-c\E]
[a\E-c]
[a&&b]
[[a]
[a||b&&c~~]
[\x41-\x43\103]
[\b]
[^\s\S]
[\s\S]
\h+
\H+
\v
\V+
\R
a\Rb
(\R)(.)?
\N+
\e\a\f\n\r\t
\x41\x{42}\103\0
\o{101}
\cA
\Qa.b*\E+
\Qa.b
a\Eb+
a\Q\E+
(a)\1
(a)(b)?\2
(?<q>['"]).*?\k<q>
(?<q>a)(?P=q)
(?<q>a)\g{q}\k{q}\k'q'
(a)\g1\g{-1}
(a)(?:\1|b)
(a)\10
(a)\11
(a)?(?(1)b|c)
(?<z>a)?(?(<z>)b|c)
(?<z>a)?(?(z)b)
(?<=a|bc)d
(?<!\.min)\.js$
(?<!a|bc)d
(?=.*b)a
(?!ab)a
(?!.*\.(php|js)$)^/
\bfoo\b
\Bo
^$
()
a|
|a
(?:a|b)*c
(?:(a)|b)*
(a*)*
(?=a)*b
\/api\/v\d
/foo\-bar\_\@
^/~[a-z]+
é
[é]
\.
^
$
(?i)[a-c]+[^x]
(?i)(k)\1
(?i)[[:upper:]]+
(?i)[[:lower:]]
(?i)[[:^lower:]]
[\x00-\x1f]
\w+\W\d*\D\s?\S
^(?:(?!\.\.).)*$
""".strip("\n").split("\n")

SUBJECTS = [
    b"", b"a", b"ab", b"abc", b"aB", b"AB", b"C", b"c", b"bcd", b"ad", b"cd", b"aBd", b"CD", b"cD",
    b"aab", b"aaab", b"aaa", b"a\nb", b"b\n", b"a\nb\n", b"b", b"\nb\n\n", b"a b c", b"ab c", b"a{,3}",
    b"{a}", b"a{x", b"x{1", b"aba", b"aca", b"acac", b"/index.php", b"/images/x.jpeg",
    b"/download/a/b/media/c.mp3", b"joe.example.com", b"/2024/05/", b"x.JPG", b"x.jpg", b"]a", b"[a]",
    b"a-", b"-", b"+,-", b"^-]", b"a||b~~c--", b"&", b"A\x08C", b" \t\xa0", b"x\v\x85\f\r\n", b"\r\n",
    b"a\r\nb", b"\r\r", b"\x1b\x07\f\n\r\t", b"ABC\0", b"A", b"\x01", b"a.b*", b"a.b**", b"aa", b"aaaa",
    b"'it' \"", b"a\x08", b"a\t", b"app.min.js", b"app.js", b"xd", b"foo bar", b"foo", b"/foo-bar_@",
    b"/api/v1", b"/~joe", "é".encode(), b"\xc3", b"Kk", b"/a/../b", b"x1 y", b"9_z?", b"bb", b"ac",
    b"aabb", b"abab", b"a\x01", b"abcabc", b"aaa\x08",
]  # fmt: skip


@pytest.mark.parametrize("caseless", [False, True])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_answers_as_pcre(pcre2: Pcre2, pattern: str, caseless: bool) -> None:
    regex = compile_regex(pattern, caseless)
    for subject in SUBJECTS:
        assert regex.match(subject) == pcre2.match(pattern.encode(), subject, caseless), subject


@pytest.mark.parametrize(
    ("pattern", "message", "position"),
    [
        ("(", "missing closing parenthesis", 1),
        ("a)", "unmatched closing parenthesis", 1),
        ("[a", "missing terminating ] for character class", 2),
        ("[]", "missing terminating ] for character class", 2),
        ("*a", "quantifier does not follow a repeatable item", 0),
        ("a**", "quantifier does not follow a repeatable item", 2),
        ("a{2}{3}", "quantifier does not follow a repeatable item", 4),
        ("^*", "quantifier does not follow a repeatable item", 1),
        (r"\b+", "quantifier does not follow a repeatable item", 2),
        ("(?i)*", "quantifier does not follow a repeatable item", 4),
        ("a{3,2}", "numbers out of order in {} quantifier", 5),
        ("a{65536}", "number too big in {} quantifier", 7),
        (r"\y", "unrecognized character follows \\", 1),
        ("a\\", "\\ at end of pattern", 2),
        (r"\1", "reference to non-existent subpattern", 1),
        ("[b-a]", "range out of order in character class", 3),
        (r"[\w-.]+", "invalid range in character class", 3),
        ("[[:digit:]-z]", "invalid range in character class", 10),
        ("[[:foo:]]", "unknown POSIX class name", 1),
        ("(?<a>x)(?<a>y)", "two named subpatterns have the same name", 12),
        ("(?<>x)", "subpattern name expected", 3),
        (r"\x{100}", "character code point value in", 7),
    ],
)
def test_mistakes_are_told_as_pcre_does(pcre2: Pcre2, pattern: str, message: str, position: int) -> None:
    with pytest.raises(ValueError) as caught:
        compile_regex(pattern)
    text, where = caught.value.args
    assert text.startswith(message)
    assert where == position
    library = pcre2.match(pattern.encode(), b"", False)
    assert isinstance(library, str)
    assert library.startswith(message)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?&n)(?<n>a", r"(?P>n)", "(*NOSUCH)a", "(?<a", "(?i", r"\N{U+41}", "(?(9)a)", r"\u0041", r"(a)\1\u0041", r"(a)\1[\U]",
        r"(a)\1\l", r"(a)\1\x{zz}", r"(a)\1\x{}", r"(a)\1\x{41", r"(a)\1\x{100}", r"(a)\1\N{,2}", r"(a)\1\N{name}",
    ],
)  # fmt: skip
def test_what_pcre_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError) as caught:
        compile_regex(pattern)
    assert 0 <= caught.value.args[1] <= len(pattern)


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (r"a\Kb", b"ab"), (r"^\X$", b"a"), (r"\p{Lu}", b"aB"), (r"^(\((?:[^()]|(?1))*\))$", b"(a(b)c)"), (r"^(?1)(a|b)$", b"ab"),
        (r"^(?&n)(?<n>a)$", b"aa"), (r"^(?|(a)|(b))$", b"b"), ("(*UTF)^.$", "é".encode()), ("(?^i)A", b"a"),
        (r"(?<=a|bc)d", b"bcd"), ("^(?(?=a)ab|c)$", b"ab"), ("(?(DEFINE)(?<d>[0-9]))^(?&d)$", b"7"), (r"a{,2}b", b"a{,2}b"),
        (r"^(\w+)-\1$", b"ab-ab"), (r"^(a|\x{41})*$", b"AaA"), (r"^(?:[\x{41}-\x43]b?)*$", b"AbB"), (r"^(\x)\1\x4$", b"\0\0\4"),
        ("(*UTF)^(?:\\x{20ac}|a)*$", "€a€".encode()), (r"^(a)\1\Q\x{41}\u\E$", b"aa\\x{41}\\u"), (r"^(a)\1{ 2 }$", b"aa{ 2 }"),
        (r"^(a)\1{,2}\N{2}$", b"aa{,2}xy"),
    ],
)  # fmt: skip
def test_what_only_pcre_can_say(pcre2: Pcre2, pattern: str, subject: bytes) -> None:
    found = compile_regex(pattern).match(subject)
    library = pcre2.match(pattern.encode(), subject, False)
    assert found is not None and not isinstance(library, str) and library is not None
    assert found[0] == library[0]


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (r"^(a+)+$", b"a" * 40 + b"!"), (r"^(?:a|a)*$", b"a" * 60 + b"!"), (r"(x+x+)+y", b"x" * 60 + b"z"),
        (r"^(.*)(.*)(.*)(.*)z$", b"y" * 3000),
    ],
)  # fmt: skip
def test_a_pattern_that_backtracks_for_ever_is_given_up(pattern: str, subject: bytes) -> None:
    regex = compile_regex(pattern)
    started = time.monotonic()
    try:
        assert regex.match(subject) is None
    except RegexFailed as failed:
        assert "match limit exceeded" in str(failed) and pattern in str(failed)
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    ("pattern", "limited"),
    [
        (r"\.php$", False), (r"\.(?:jpg|jpeg|gif|png)$", False), (r"^/api/v[0-9]+/x$", False), (r"^/(en|de)/(.*)$", False),
        (r"^(?<user>[a-z]+)\.example\.com$", False), (r"^/(?:index)?$", False),
        (r"^/(.*)/(.*)$", True), (r"[^/]+\.php$", True), (r"^(a|b)*$", True), (r"(a)\1", True), (r"^(a?){30}$", True),
        ("^" + "a?" * 20 + "$", True),
    ],
)  # fmt: skip
def test_who_runs_what(pattern: str, limited: bool) -> None:
    assert compile_regex(pattern).is_limited == limited


def test_position_counts_characters() -> None:
    with pytest.raises(ValueError) as caught:
        compile_regex("é**")
    assert caught.value.args == ("quantifier does not follow a repeatable item", 2)


def test_named_groups() -> None:
    regex = compile_regex(r"^(?<user>\w+)@(?:(?<host>\w+)|(x))?$")
    assert regex.names == ["user", "host"]
    assert regex.groups == 3
    found = regex.match(b"joe@")
    assert found == [b"joe@", b"joe", None, None]
    assert regex.named_values(found) == {"user": b"joe", "host": b""}
    assert compile_regex("(a)").named_values([b"a", b"a"]) is None


ATOMS = [
    "a", "b", "A", ".", "[ab]", "[^a]", r"\w", r"\W", "(a)", "(b|a)", "(?:ab|a)", "(?i)", "(?-i)", "(?i:a)",
    "^", "$", r"\b", r"\h", r"\R", "(?=a)", "(?!b)", "(?<=a|ba)", "(?<!b)", "(?>a|ab)", r"\x61", "\n", r"\n",
    "(?s)", "(?m)", "[[:alpha:]]", r"\Qa\E", "-", "|", r"\x{61}", r"[\x{41}-\x{62}]", r"(?<n>a|b)", r"\1", r"\k<n>", "{ 1 }",
]  # fmt: skip
QUANTIFIERS = ["", "", "", "", "*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{,2}"]


def random_pattern(rng: random.Random, depth: int = 0) -> str:
    pieces = []
    for _ in range(rng.randint(1, 4)):
        if depth < 2 and rng.random() < 0.25:
            pieces.append(rng.choice(["(", "(?:", "(?>", "(?i:"]) + random_pattern(rng, depth + 1) + ")")
        else:
            pieces.append(rng.choice(ATOMS))
        if not pieces[-1].startswith(("(?=", "(?!", "(?<")):  # PCRE's own answers vary with its optimisations
            pieces.append(rng.choice(QUANTIFIERS))
    return "".join(pieces)


def test_random_patterns_answer_as_pcre(pcre2: Pcre2) -> None:
    """Whatever compiles here matches and captures what it does in PCRE."""
    rng = random.Random(20240601)
    compiled = 0
    for _ in range(3000):
        pattern, caseless = random_pattern(rng), rng.random() < 0.3
        try:
            regex = compile_regex(pattern, caseless)
        except ValueError:
            continue
        compiled += 1
        for _ in range(6):
            subject = bytes(rng.choice(b"aaabbAB \n-") for _ in range(rng.randint(0, 7)))
            ours, theirs = regex.match(subject), pcre2.match(pattern.encode(), subject, caseless)
            assert not isinstance(theirs, str), (pattern, theirs)
            assert ours == theirs, (pattern, subject, caseless)
    assert compiled > 1000
