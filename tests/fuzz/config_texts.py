"""Configurations to test: the examples of all directives and of `examples/`, put together and damaged in their words and bytes."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

from tests.fuzz.damage import BYTES, damaged
from tests.unit.example_site import DIRECTIVES, FRAMES, fill, framed

from portico.config.directive import Directive

EXAMPLES = Path(__file__).parents[2] / "examples"
ODD_WORDS = [
    b'""', b"''", b'"', b"'", b"$", b"${", b"${}", b"$$", b"$1", b"$nope", b"${host", b"$host", b"a..b", b".", b"..", b"/", b"//",
    b"\\", b"\\", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"\x1b[31m", b"a" * 5000, b"1" * 400, b"-1",
    b"0", b"99999999999999999999", b"1e9", b"0x10", b"1k", b"1.5m", b"1h30m", b"ms", b"*", b"*.", b".*", b"*.*", b"~", b"~*",
    b"~(", b"~(a+)+$", b"~\\", b"~[\xff]", b"^~", b"=", b"@", b"(", b")", b"[::]", b"[::1]:80", b"[", b":80", b":",
    b"127.0.0.1:99999", b"127.0.0.1:0", b"unix:", b"unix:/", b"unix:a\xffb", b"http://", b"http://[", b"http://a..b",
    b"http://\xff", b"https://$host", b"http://a:b@c", b"localhost:port", b"999.1.1.1", b"1.2.3.4/99", b"::/129", b"\xd1\x82",
    b"zone=", b"zone=a:", b"zone=a:1", b"zone=a:1m", b"zone=\xff:1m", b"keys_zone=x:1m", b"rate=1r/s", b"=404", b"off", b"on",
    b"default", b"if=$x", b"{", b"}", b"{}", b";", b"#", b"include", b"%", b"%00", b"a b", b"xn--\xff", b"x.example.", b"-", b"_",
    b"+", b"|/bin/true", b"data:\xff", b"TLSv1.9", b"!aNULL:!", b"prime256v1:", b"gzip", b"max=", b"levels=9:9",
    b"levels=1:2:3:4", b"syslog:server=", b"syslog:server=[::1", b"stderr", b"memory:", b"/dev/null", b"/dev/stdin",
    b"/proc/self/mem",
]  # fmt: skip
FILES = [
    b"directory", b"fifo", b"missing", b"missing/*", b"*.pem", b"noise", b"empty", b"itself.conf", b"link", b"unreadable", b"nul\xff",
    b"loop",
]  # fmt: skip
_WORDS = re.compile(rb"""'[^']*'|"[^"]*"|[^\s;{}'"]+|[;{}]|\s+""")


def make_site(folder: Path) -> None:
    """Write the files that examples name, and odd ones."""
    fill(folder)
    (folder / "empty").write_text("")
    (folder / "noise").write_bytes(random.Random(1).randbytes(3000))
    (folder / "unreadable").write_text("user root;")
    (folder / "unreadable").chmod(0)
    (folder / "itself.conf").write_text("include itself.conf;")
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "directory").mkdir()


def sources(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Whole configurations that load, and single examples with what may stand around them."""
    whole = [path.read_bytes() for path in sorted(EXAMPLES.glob("*/nginx.conf"))]
    single = [framed(directive, folder).encode() for directive in DIRECTIVES]
    return whole, single


def make_text(rng: random.Random, whole: list[bytes], single: list[bytes]) -> bytes:
    """Draws a configuration: mostly with a few words changed, sometimes bytes, sometimes neither."""
    kind = rng.random()
    if kind < 0.5:
        text = rng.choice(single)
    elif kind < 0.85:
        text = _together(rng)
    else:
        text = rng.choice(whole)
    if rng.random() < 0.85:
        text = _other_words(text, rng)
    if rng.random() < 0.2:
        text = damaged(text, rng, [*BYTES, b"{", b"}", b";", b'"', b"'", b"$", b"\\", b"#"], 2)
    return text


def _together(rng: random.Random) -> bytes:
    """Examples of several directives in one block."""
    _, frame = rng.choice(FRAMES[:4])
    chosen: list[Directive[object]] = rng.sample(DIRECTIVES, rng.randint(1, 6))
    text = frame.replace("%s", " ".join(directive.example for directive in chosen))
    return (b"" if b"events" in text.encode() else b"events { }\n") + text.encode()


def _other_words(text: bytes, rng: random.Random) -> bytes:
    """A few words replaced, removed, doubled or inserted; or a statement that reads an odd file."""
    words = _WORDS.findall(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(words))
        odd = rng.choice(ODD_WORDS if rng.random() < 0.75 else FILES)
        kind = rng.randrange(7)
        if kind < 3 and not words[at].isspace():
            words[at] = odd
        elif kind == 3:
            words[at] = words[at][: len(words[at]) // 2] + odd + words[at][len(words[at]) // 2 :]
        elif kind == 4:
            words.insert(at, b" %b " % odd)
        elif kind == 5:
            words[at] = rng.choice((b"", words[at] * 2, b"%b %b" % (words[at], words[at]), rng.choice(DIRECTIVES).name.encode()))
        else:
            words.insert(at, b" include %b;\n" % rng.choice(FILES) if rng.random() < 0.5 else b";")
    return b"".join(words)
