"""Normal URIs against a transliteration of nginx's state machine, and the escapes against its tables."""

import random

import pytest

from portico.http.routing.uri import (
    ESCAPE_ARGS,
    ESCAPE_HTML,
    ESCAPE_MEMCACHED,
    ESCAPE_URI,
    ESCAPE_URI_COMPONENT,
    arg,
    escape_uri,
    normalise,
    unescape,
)


@pytest.mark.parametrize(
    ("target", "uri", "args"),
    [
        (b"/", b"/", b""),
        (b"/a/b.html?x=1&y=%20", b"/a/b.html", b"x=1&y=%20"),
        (b"/a?", b"/a", b""),
        (b"/a?x?y", b"/a", b"x?y"),
        (b"/a?x#y", b"/a", b"x"),
        (b"/a#b?c", b"/a", b""),
        (b"/a/./b/../c", b"/a/c", b""),
        (b"/a/.", b"/a/", b""),
        (b"/a/..", b"/", b""),
        (b"/a/..?x", b"/", b"x"),
        (b"/a/...", b"/a/...", b""),
        (b"/.a/..b/c.", b"/.a/..b/c.", b""),
        (b"//a///b//", b"/a/b/", b""),
        (b"/%61%2Fb%2fc", b"/a/b/c", b""),
        (b"/a/%2e%2e/b", b"/b", b""),
        (b"/a%2F..%2fb", b"/b", b""),
        (b"/a/%2e./b", b"/b", b""),
        (b"/a%3Fb%23c%25d%2541", b"/a?b#c%d%41", b""),
        (b"/a+b", b"/a+b", b""),
        (b"/\xc3\xa9/%C3%A9", b"/\xc3\xa9/\xc3\xa9", b""),
        (b"/..%3F", b"/..?", b""),
        (b"/.%25/", b"/.%/", b""),
        (b"?x=1", b"/", b"x=1"),
        (b"", b"/", b""),
    ],
)
def test_normal_form(target: bytes, uri: bytes, args: bytes) -> None:
    found = normalise(target, True)
    assert (found.uri, found.args) == (uri, args)


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        (b"//a//b", b"//a//b"),
        (b"/a//..", b"/a/"),
        (b"//..", b"/"),
        (b"/a/..//b", b"//b"),
        (b"/a/.//b", b"/a//b"),
        (b"/a%2f%2f", b"/a//"),
    ],
)
def test_slashes_may_stay(target: bytes, uri: bytes) -> None:
    assert normalise(target, False).uri == uri


@pytest.mark.parametrize(
    "target",
    [b"/..", b"/../a", b"/a/../..", b"/%2e%2E/", b"/%", b"/%4", b"/%4g", b"/%zz", b"/a%00", b"a", b"*"],
)
def test_refused(target: bytes) -> None:
    with pytest.raises(ValueError, match=r"^URI "):
        normalise(target, True)


@pytest.mark.parametrize(
    ("target", "quoted"),
    [
        (b"/a?b%20c//", False),
        (b"/a.b", False),
        (b"/%61", True),
        (b"/a//b", False),
        (b"/a/./b", False),
        (b"/.hidden", False),
        (b"/a#b", False),
        (b"/a?b#c", False),
        (b"?a", False),
    ],
)
def test_tells_whether_the_path_had_escapes(target: bytes, quoted: bool) -> None:
    assert normalise(target, True).quoted == quoted


def reference(target: bytes, merge_slashes: bool) -> tuple[bytes, bytes] | None:
    """ngx_http_parse_complex_uri (1.22), state by state; None for NGX_HTTP_PARSE_INVALID_REQUEST."""
    out = bytearray()
    if target[:1] != b"/":
        out += b"/"
    state, quoted_state, decoded = "usual", "usual", 0
    at, fresh = 0, True
    c = 0

    def up() -> bool:
        position = len(out) - 4
        while position >= 0 and out[position] != 0x2F:
            position -= 1
        if position < 0:
            return False
        del out[position + 1 :]
        return True

    while True:
        if fresh:
            if at == len(target):
                break
            c = target[at]
            at += 1
        fresh = True
        ch = chr(c)
        if state == "quoted":
            if ch not in "0123456789abcdefABCDEF":
                return None
            decoded, state = int(ch, 16), "second"
        elif state == "second":
            if ch not in "0123456789abcdefABCDEF":
                return None
            c = decoded * 16 + int(ch, 16)
            if c == 0:
                return None
            if chr(c) in "%#?":
                state = "usual"
                out.append(c)
            else:
                state, fresh = quoted_state, False
        elif ch == "%":
            quoted_state, state = state, "quoted"
        elif ch in "?#":
            break
        elif state == "usual":
            out.append(c)
            state = "slash" if ch == "/" else "usual"
        elif state == "slash":
            if ch == "/":
                if not merge_slashes:
                    out.append(c)
            else:
                out.append(c)
                state = "dot" if ch == "." else "usual"
        elif state == "dot":
            if ch == "/":
                state = "slash"
                del out[-1]
            else:
                out.append(c)
                state = "dot dot" if ch == "." else "usual"
        elif ch == "/":
            if not up():
                return None
            state = "slash"
        else:
            out.append(c)
            state = "usual"
    if state in ("quoted", "second"):
        return None
    if state == "dot":
        del out[-1]
    elif state == "dot dot" and not up():
        return None
    args = target[at:].partition(b"#")[0] if target[at - 1 : at] == b"?" else b""
    return bytes(out), args


PIECES = b"/ / . .. a bc // %2f %2E %25 %3f %23 %61 ? # % %0".split()


def test_random_targets_against_the_state_machine() -> None:
    rng = random.Random(7)
    refused = 0
    for _ in range(20_000):
        target = b"/" + b"".join(rng.choices(PIECES, k=rng.randint(0, 8)))
        merge = rng.random() < 0.5
        expected = reference(target, merge)
        try:
            found = normalise(target, merge)
        except ValueError:
            assert expected is None, target
            refused += 1
            continue
        assert (found.uri, found.args) == expected, target
    assert 1000 < refused < 19_000


@pytest.mark.parametrize(
    ("kind", "escaped"),
    [
        (ESCAPE_URI, b' "#%?<>\\^`{|}\x7f\xff\x00'),
        (ESCAPE_ARGS, b' "#%&+;<>?\\^`{|}\x7f\xff\x00'),
        (ESCAPE_URI_COMPONENT, b" !\"#$%&'()*+,/:;<=>?@[\\]^`{|}\x7f\xff\x00"),
        (ESCAPE_HTML, b" \"#%'<>\\^`{|}\x7f\xff\x00"),
        (ESCAPE_MEMCACHED, b" %\x00"),
    ],
)
def test_escape(kind: int, escaped: bytes) -> None:
    for c in [*range(32, 128), 0, 255]:
        one = bytes((c,))
        assert escape_uri(one, kind) == (b"%%%02X" % c if one in escaped else one)
    assert escape_uri(b"/plain-path_1.html", ESCAPE_URI) == b"/plain-path_1.html"
    assert escape_uri(b"/a b/\xc3\xa9", ESCAPE_URI) == b"/a%20b/%C3%A9"


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (b"a", b"a"),
        (b"%41%7a%7A", b"Azz"),
        (b"%", b""),
        (b"%4", b""),
        (b"%zz", b"zz"),
        (b"%4zA", b"A"),
        (b"%%41", b"%41"),
        (b"%4%41", b"41"),
        (b"%\n%0A", b"\n\n"),
        (b"%00+", b"\0+"),
    ],
)
def test_unescape_is_forgiving(escaped: bytes, plain: bytes) -> None:
    assert unescape(escaped) == plain


def test_unescape_undoes_escape() -> None:
    everything = bytes(range(256))
    assert unescape(escape_uri(everything, ESCAPE_URI_COMPONENT)) == everything


@pytest.mark.parametrize(
    ("args", "name", "value"),
    [
        (b"a=1&b=2", b"b", b"2"),
        (b"a=1&a=2", b"a", b"1"),
        (b"A=1", b"a", b"1"),
        (b"xa=1&a=2", b"a", b"2"),
        (b"a&a=", b"a", b""),
        (b"a", b"a", None),
        (b"", b"a", None),
        (b"ab=1", b"a", None),
        (b"b=a=1&a=%20=", b"a", b"%20="),
        (b"=1", b"", None),
    ],
)
def test_arg(args: bytes, name: bytes, value: bytes | None) -> None:
    assert arg(args, name) == value
