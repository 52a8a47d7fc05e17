"""PCRE's spelling of a pattern, put into the spelling of Python's `re`.

The two languages are cousins: most of what stands in an nginx.conf means the same in both, some is written
differently (`(?<name>…)`, `[[:alpha:]]`, `\\h`, `\\Q…\\E`), and some is written alike and means something
else (`\\Z`, `\\v`, `{,3}`, `(?i)` in the middle). So nothing is passed through on trust: the pattern is
parsed, and each item is written anew. What `re` cannot say is an error here, never a silent difference.

* Patterns and subjects are bytes, as in nginx (which does not turn on UTF mode); case is ASCII's.
* Character classes become sets of bytes, so POSIX names, `\\h` and friends, and case folding are set
arithmetic. * Option letters: `m`, `s`, `x`, `U`, `n` are worked off here; `i` becomes scoped groups of `re`,
one per branch,
  since in PCRE `a(?i)b|c` holds for `c` too, but ends with the group it stands in.
* Python's possessive repeat of a group was wrong before 3.11.5 (gh-106052): it is written as an atomic group.
* Refused: recursion and subroutine calls, `\\K`, `\\X`, `\\p{…}`, `(*VERB)`, branch reset, callouts,
conditions
  other than "did group N match", references to a group that is not closed yet.

Messages are PCRE2's where it has one.
"""

import re
from typing import Final, final

CASELESS: Final = 1
MULTILINE: Final = 2
DOTALL: Final = 4
EXTENDED: Final = 8
UNGREEDY: Final = 16
NO_CAPTURE: Final = 32
_FLAGS: Final = {
    "i": CASELESS, "m": MULTILINE, "s": DOTALL, "x": EXTENDED, "U": UNGREEDY, "n": NO_CAPTURE
}  # fmt: skip

_ANY: Final = "(?s:.)"
_NEVER: Final = "(?!)"
_LINE_START: Final = r"(?:\A|(?<=\n)(?!\Z))"  # in PCRE, not after a newline that ends the subject

# Repeats of these are refused, as by PCRE2.
_ASSERTIONS: Final = {"b": r"\b", "B": r"(?!\b)", "A": r"\A", "G": r"\A", "z": r"\Z", "Z": "$"}
_CONTROLS: Final = {"a": 7, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9}

_ALL: Final = frozenset(range(256))
_DIGIT: Final = frozenset(b"0123456789")
_UPPER: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz")
_WORD: Final = _UPPER | _LOWER | _DIGIT | frozenset(b"_")
_SPACE: Final = frozenset(b" \t\n\v\f\r")
_HSPACE: Final = frozenset(b" \t\xa0")
_VSPACE: Final = frozenset(b"\n\v\f\r\x85")
_GRAPH: Final = frozenset(range(33, 127))
_TYPES: Final = {
    "d": _DIGIT, "D": _ALL - _DIGIT, "w": _WORD, "W": _ALL - _WORD, "s": _SPACE, "S": _ALL - _SPACE,
    "h": _HSPACE, "H": _ALL - _HSPACE, "v": _VSPACE, "V": _ALL - _VSPACE,
}  # fmt: skip
_POSIX: Final = {
    "alpha": _UPPER | _LOWER, "lower": _LOWER, "upper": _UPPER, "alnum": _UPPER | _LOWER | _DIGIT,
    "ascii": frozenset(range(128)), "blank": frozenset(b" \t"), "cntrl": frozenset(range(32)) | {127},
    "digit": _DIGIT, "graph": _GRAPH, "print": _GRAPH | {32}, "punct": _GRAPH - _WORD | frozenset(b"_"),
    "space": _SPACE, "word": _WORD, "xdigit": frozenset(b"0123456789abcdefABCDEF"),
}  # fmt: skip

_REPEAT: Final = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTIONS: Final = re.compile(r"([a-zA-Z]*)(?:-([a-zA-Z]*))?([:)])")
_UNFINISHED: Final = re.compile(r"[imsxUn]*-?[imsxUn]*")  # options up to the end of the pattern
_POSIX_CLASS: Final = re.compile(r"\[([:.=])(\^?)([^\]\[\\]*?)\1\]")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{0,2}")
_OCTAL: Final = re.compile(r"[0-7]{1,3}")
_NUMBER: Final = re.compile(r"[0-9]+")
_BRACED: Final = re.compile(r"\{ *([0-9A-Fa-f]+) *\}")
_REFERENCE: Final = re.compile(r"\{(-?\w+)\}|<(\w+)>|'(\w+)'|(-?[0-9]+)")
_CONDITION: Final = re.compile(r"\(([0-9]+|[A-Za-z_]\w*)\)|\(<(\w+)>\)|\('(\w+)'\)")


@final
class Pcre:
    """One pattern in translation; afterwards `text`, `names` and `groups` say what came of it."""

    def __init__(self, pattern: bytes, caseless: bool) -> None:
        """Translate `pattern`. Raises `ValueError(message, offset in bytes)`."""
        self._source: str = pattern.decode("latin-1")
        self._at: int = 0
        self._quoting: bool = False  # between \Q and \E
        self._flags: int = CASELESS if caseless else 0
        self._open: list[int] = []  # groups that are not closed yet
        self.groups: int = 0
        self.names: dict[str, int] = {}
        branches = self._alternatives()
        if self._at < len(self._source):
            raise self._error("unmatched closing parenthesis")
        self.text: bytes = "|".join(branches).encode("latin-1")
        self.anchored: bool = all(branch.startswith(r"\A") for branch in branches)
        """The pattern can match at the start of the subject only."""

    def _error(self, message: str, at: int = -1) -> ValueError:
        return ValueError(message, self._at if at < 0 else at)

    def _peek(self, text: str) -> bool:
        return self._source.startswith(text, self._at)

    def _take(self, text: str) -> bool:
        if not self._source.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _alternatives(self) -> list[str]:
        """Return the translated branches up to the end of the group, which is left to the caller."""
        outer = self._flags
        branches: list[str] = []
        while True:
            branches.append(self._branch(outer & CASELESS))
            if not self._take("|"):
                break
        self._flags = outer
        return branches

    def _branch(self, caseless: int) -> str:
        """Return one translated branch. `caseless` held before the group; a change is wrapped, up to the branch's end."""
        pieces: list[str] = []
        open_wrappers = 0
        while True:
            now = self._flags & CASELESS
            if now != caseless:
                pieces.append("(?i:" if now else "(?-i:")
                open_wrappers += 1
                caseless = now
            self._skip()
            if self._at >= len(self._source):
                break
            if not self._quoting and self._source[self._at] in "|)":
                break
            if self._quoting or not self._options():
                pieces.append(self._repeated())
        return "".join(pieces) + ")" * open_wrappers

    def _skip(self) -> None:
        """Pass what stands for nothing: comments, `\\Q`, `\\E`, and white space under `(?x)`."""
        while True:
            if self._take(r"\E"):
                self._quoting = False
            elif self._quoting:
                return
            elif self._take(r"\Q"):
                self._quoting = True
            elif self._peek("(?#"):
                self._to(")", "missing ) after (?# comment")
            elif not self._flags & EXTENDED or not self._skip_extended():
                return

    def _skip_extended(self) -> bool:
        c = self._source[self._at : self._at + 1]
        if c == "#":
            end = self._source.find("\n", self._at)
            self._at = len(self._source) if end < 0 else end + 1
        elif c and c in " \t\n\v\f\r":
            self._at += 1
        else:
            return False
        return True

    def _to(self, end: str, message: str) -> str:
        """Pass everything up to and with `end`; return what stood before it."""
        start = self._at
        found = self._source.find(end, start)
        if found < 0:
            raise self._error(message, len(self._source))
        self._at = found + len(end)
        return self._source[start:found]

    def _options(self) -> bool:
        """Read `(?i)`, which holds for the rest of the group; return whether one stood here."""
        if not self._peek("(?"):
            return False
        found = _OPTIONS.match(self._source, self._at + 2)
        if found is None or found.group(3) == ":" or not _known(found.group(1)):
            return False
        self._flags = self._changed(found)
        self._at = found.end()
        return True

    def _changed(self, found: re.Match[str]) -> int:
        flags = self._flags
        if "xx" in found.group(1):
            raise self._error("(?xx) is not supported", found.start())
        for letters, on in ((found.group(1), True), (found.group(2) or "", False)):
            for letter in letters:
                bit = _FLAGS.get(letter, 0)
                if not bit:
                    raise self._error("unrecognized character after (? or (?-", found.start())
                flags = flags | bit if on else flags & ~bit
        return flags

    def _repeated(self) -> str:
        """Return an item with its quantifier."""
        item, repeatable, single = self._item()
        self._skip()
        if self._quoting:
            return item
        at = self._at
        repeat = self._quantifier()
        if not repeat:
            return item
        if not repeatable:
            raise self._error("quantifier does not follow a repeatable item", at)
        if self._take("+"):
            return f"{item}{repeat}+" if single else f"(?>{item}{repeat})"
        lazy = self._take("?")
        if bool(self._flags & UNGREEDY) != lazy:
            repeat += "?"
        return item + repeat

    def _quantifier(self) -> str:
        for sign in "*+?":
            if self._take(sign):
                return sign
        found = _REPEAT.match(self._source, self._at)
        if found is None:
            return ""
        least, most = int(found.group(1)), int(found.group(3) or 0)
        if max(least, most) > 65535:
            raise self._error("number too big in {} quantifier", found.end() - 1)
        if found.group(3) and most < least:
            raise self._error("numbers out of order in {} quantifier", found.end() - 1)
        self._at = found.end()
        return found.group()

    def _item(self) -> tuple[str, bool, bool]:
        """Return one item: its text in `re`, whether it may be repeated, whether it is one character wide."""
        c = self._source[self._at]
        if self._quoting:
            self._at += 1
            return _literal(ord(c)), True, True
        if c in "*+?" or (c == "{" and _REPEAT.match(self._source, self._at)):
            raise self._error("quantifier does not follow a repeatable item")
        if c == "(":
            return self._group()
        self._at += 1
        if c == "\\":
            return self._escape()
        if c == "[":
            return _set_text(self._class()), True, True
        if c == ".":
            return (_ANY if self._flags & DOTALL else "."), True, True
        if c == "^":
            return (_LINE_START if self._flags & MULTILINE else r"\A"), False, False
        if c == "$":
            return ("(?m:$)" if self._flags & MULTILINE else "$"), False, False
        return _literal(ord(c)), True, True

    # Groups

    def _group(self) -> tuple[str, bool, bool]:
        start = self._at
        self._at += 1
        if self._peek("*"):
            raise self._error("(*VERB) is not supported", start)
        if not self._take("?"):
            return self._capture("") if not self._flags & NO_CAPTURE else self._plain("(?:")
        for opening in (":", "=", "!", ">"):
            if self._take(opening):
                return self._plain("(?" + opening)
        for opening in ("<=", "<!"):
            if self._take(opening):
                return self._lookbehind("(?" + opening)
        for opening, closing in (("P<", ">"), ("<", ">"), ("'", "'")):
            if self._take(opening):
                return self._capture(self._group_name(closing))
        if self._take("P="):
            return self._backreference(self._to(")", "missing closing parenthesis")), True, False
        if self._peek("("):
            return self._conditional()
        return self._scoped(start)

    def _scoped(self, start: int) -> tuple[str, bool, bool]:
        """Read `(?i:…)`. Raises ValueError for something that is not supported."""
        found = _OPTIONS.match(self._source, self._at)
        if found is None and _UNFINISHED.fullmatch(self._source, self._at):
            raise self._error("missing closing parenthesis", len(self._source))
        if found is None or found.group(3) != ":" or not _known(found.group(1)):
            raise self._error(_REFUSED.get(self._source[self._at : self._at + 1], _STRANGE), start)
        outer = self._flags
        self._flags = self._changed(found)
        self._at = found.end()
        opening = "(?i:" if self._flags & CASELESS else "(?-i:"
        item = self._plain("(?:" if self._flags & CASELESS == outer & CASELESS else opening)
        self._flags = outer
        return item

    def _body(self) -> list[str]:
        branches = self._alternatives()
        if not self._take(")"):
            raise self._error("missing closing parenthesis")
        return branches

    def _plain(self, opening: str) -> tuple[str, bool, bool]:
        return opening + "|".join(self._body()) + ")", True, False

    def _lookbehind(self, opening: str) -> tuple[str, bool, bool]:
        """Return a lookbehind for each branch: a fixed length is required of each branch in PCRE, but of all together in `re`."""
        each = [f"{opening}{branch})" for branch in self._body()]
        return "(?:" + ("|" if opening.endswith("=") else "").join(each) + ")", True, False

    def _group_name(self, closing: str) -> str:
        found = _NAME.match(self._source, self._at)
        if found is None:
            raise self._error("subpattern name expected")
        if found.end() - found.start() > 32:
            raise self._error("subpattern name is too long (maximum 32 code units)", found.end())
        self._at = found.end()
        if not self._take(closing):
            raise self._error("syntax error in subpattern name (missing terminator?)")
        if found.group() in self.names:
            raise self._error("two named subpatterns have the same name (PCRE2_DUPNAMES not set)")
        return found.group()

    def _capture(self, name: str) -> tuple[str, bool, bool]:
        self.groups += 1
        number = self.groups
        if name:
            self.names[name] = number
        self._open.append(number)
        item = self._plain("(")
        self._open.pop()
        return item

    def _conditional(self) -> tuple[str, bool, bool]:
        found = _CONDITION.match(self._source, self._at)
        if found is None:
            raise self._error("conditions other than a group's number or name are not supported")
        number = self._number(found.group(1) or found.group(2) or found.group(3))
        self._at = found.end()
        branches = self._body()
        if len(branches) > 2:
            raise self._error("conditional subpattern contains more than two branches")
        return f"(?({number}){'|'.join(branches)})", True, False

    def _backreference(self, group: str) -> str:
        return f"(?:\\{self._number(group)})"

    def _number(self, group: str) -> int:
        """Return the number of a group that is given by number, by number relative to here, or by name. Raises ValueError."""
        number = self.names.get(group, 0)
        if group.lstrip("-").isdecimal():
            number = int(group) if int(group) > 0 else self.groups + 1 + int(group)
        if not 0 < number <= self.groups:
            raise self._error("reference to non-existent subpattern")
        if number in self._open or number > 99:
            raise self._error("reference to a subpattern that is open, or above 99, is not supported")
        return number

    # Escapes

    def _escape(self) -> tuple[str, bool, bool]:
        if self._at >= len(self._source):
            raise self._error("\\ at end of pattern")
        c = self._source[self._at]
        if c in _ASSERTIONS:
            self._at += 1
            return _ASSERTIONS[c], False, False
        if c in _TYPES:
            self._at += 1
            return (f"\\{c}" if c in "dDwWsS" else _set_text(_TYPES[c])), True, True
        if c in "NRC":
            return self._wide_escape(c)
        if c in "gk":
            return self._named_reference(c)
        if c in "123456789":
            reference = self._numbered_reference(c)
            if reference:
                return reference, True, False
        return _literal(self._character()), True, True

    def _wide_escape(self, c: str) -> tuple[str, bool, bool]:
        self._at += 1
        if c == "N" and self._peek("{"):
            raise self._error("\\N{name} is not supported")
        if c == "R":
            return r"(?:\r\n|(?!\r\n)[\n-\r\x85])", True, False
        return ("." if c == "N" else _ANY), True, True

    def _named_reference(self, c: str) -> tuple[str, bool, bool]:
        found = _REFERENCE.match(self._source, self._at + 1)
        text = "" if found is None else found.group()
        if found is None or (text[0] in "<'" if c == "g" else text[0] not in "{<'"):
            raise self._error(_CALL if c == "g" else "\\k is not followed by a name")
        self._at = found.end()
        group = found.group(1) or found.group(2) or found.group(3) or found.group(4)
        return self._backreference(group), True, False

    def _numbered_reference(self, c: str) -> str:
        """Read `\\1`; return "" for what is an octal escape after all."""
        found = _NUMBER.match(self._source, self._at)
        digits = "" if found is None else found.group()
        if int(digits) >= 10 and c not in "89" and int(digits) > self.groups:
            return ""
        reference = self._backreference(digits)
        self._at += len(digits)
        return reference

    def _character(self) -> int:
        """Return the character that an escape stands for, inside a class or outside. Raises ValueError."""
        c = self._source[self._at]
        if c in "01234567":
            found = _OCTAL.match(self._source, self._at)
            digits = c if found is None else found.group()
            self._at += len(digits)
            return self._byte(int(digits, 8))
        self._at += 1
        if c in _CONTROLS:
            return _CONTROLS[c]
        if c == "x" or c == "o":
            return self._numeric(c)
        if c == "c":
            return self._control()
        if c.isascii() and c.isalnum():
            raise self._error(_UNSUPPORTED.get(c, "unrecognized character follows \\"), self._at - 1)
        return ord(c)

    def _numeric(self, c: str) -> int:
        found = _BRACED.match(self._source, self._at)
        if found is not None:
            self._at = found.end()
            try:
                return self._byte(int(found.group(1), 16 if c == "x" else 8))
            except ValueError:
                raise self._error("character code point value in \\x{} or \\o{} is too large") from None
        digits = _HEX.match(self._source, self._at)
        if c == "o" or digits is None or self._peek("{"):
            raise self._error("digits missing after \\x or in \\x{} or \\o{} or \\N{U+}")
        self._at = digits.end()
        return int(digits.group() or "0", 16)

    def _control(self) -> int:
        c = self._source[self._at : self._at + 1]
        if not c or not 32 <= ord(c) <= 126:
            raise self._error("\\c must be followed by a printable ASCII character")
        self._at += 1
        return ord(c.upper()) ^ 64

    def _byte(self, value: int) -> int:
        if value > 255:
            raise self._error("character code point value in \\x{} or \\o{} is too large")
        return value

    # Classes

    def _class(self) -> frozenset[int]:
        """Return what stands between brackets; the first one has been read."""
        negated = self._take("^")
        chosen: set[int] = set()
        first = True
        while True:
            self._skip_quotes()
            if self._at >= len(self._source):
                raise self._error("missing terminating ] for character class")
            if not first and not self._quoting and self._take("]"):
                break
            first = False
            chosen |= self._range()
        if self._flags & CASELESS:
            chosen |= {c ^ 32 for c in chosen & (_UPPER | _LOWER)}
        return _ALL - chosen if negated else frozenset(chosen)

    def _skip_quotes(self) -> None:
        while True:
            if self._take(r"\E"):
                self._quoting = False
            elif not self._quoting and self._take(r"\Q"):
                self._quoting = True
            else:
                return

    def _range(self) -> frozenset[int]:
        """Return one member of a class: a character, a range, or a set with a name."""
        low = self._member()
        self._skip_quotes()
        if self._quoting or not self._peek("-") or self._at + 1 >= len(self._source):
            return low
        hyphen = self._at
        self._at += 1
        self._skip_quotes()
        if not self._quoting and self._peek("]"):
            self._at = hyphen
            return low
        start = self._at
        high = self._member() if len(low) == 1 else frozenset()
        if len(high) != 1:
            raise self._error("invalid range in character class", hyphen)
        if min(high) < min(low):
            raise self._error("range out of order in character class", start)
        return frozenset(range(min(low), min(high) + 1))

    def _member(self) -> frozenset[int]:
        if self._at >= len(self._source):
            raise self._error("missing terminating ] for character class")
        c = self._source[self._at]
        if not self._quoting and c == "[":
            named = self._posix()
            if named is not None:
                return named
        self._at += 1
        if self._quoting or c != "\\":
            return frozenset((ord(c),))
        if self._at >= len(self._source):
            raise self._error("\\ at end of pattern")
        c = self._source[self._at]
        if c in _TYPES:
            self._at += 1
            return _TYPES[c]
        if c in "BRXN":
            raise self._error("escape sequence is invalid in character class")
        if c in "b89":
            self._at += 1
            return frozenset((8 if c == "b" else ord(c),))
        return frozenset((self._character(),))

    def _posix(self) -> frozenset[int] | None:
        found = _POSIX_CLASS.match(self._source, self._at)
        if found is None:
            return None
        if found.group(1) != ":":
            raise self._error("POSIX collating elements are not supported")
        members = _POSIX.get(found.group(3))
        if members is None:
            raise self._error("unknown POSIX class name")
        if self._flags & CASELESS and found.group(3) in ("upper", "lower"):
            members = _POSIX["alpha"]
        self._at = found.end()
        return _ALL - members if found.group(2) else members


_STRANGE: Final = "unrecognized character after (? or (?-"
_CALL: Final = "recursion and subroutine calls are not supported"
_REFUSED: Final = {
    "|": "branch reset groups are not supported", "R": _CALL, "&": _CALL, "P": _CALL, "+": _CALL, "-": _CALL,
    "C": "callouts are not supported", "^": "(?^) is not supported",
} | dict.fromkeys("0123456789", _CALL)  # fmt: skip
_UNSUPPORTED: Final = {
    "K": "\\K is not supported", "X": "\\X is not supported",
    "p": "Unicode properties are not supported", "P": "Unicode properties are not supported",
}  # fmt: skip


def _known(letters: str) -> bool:
    """Return whether these are option letters, and not something else behind `(?`."""
    return not letters or letters[0] in _FLAGS


def _literal(c: int) -> str:
    return chr(c) if c in _WORD else f"\\x{c:02x}"


def _set_text(members: frozenset[int]) -> str:
    """Return a set of bytes as a class of `re`, in its shorter form."""
    if len(members) == 256:
        return _ANY
    if not members:
        return _NEVER
    if len(members) == 1:
        return _literal(min(members))
    return f"[{_ranges(members)}]" if len(members) <= 128 else f"[^{_ranges(_ALL - members)}]"


def _ranges(members: frozenset[int]) -> str:
    pieces: list[str] = []
    for low in sorted(members):
        if low - 1 in members:
            continue
        high = low
        while high + 1 in members:
            high += 1
        pieces.append(_literal(low) if high == low else f"{_literal(low)}-{_literal(high)}")
    return "".join(pieces)
