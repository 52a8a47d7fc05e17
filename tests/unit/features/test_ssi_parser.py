"""Commands in the bytes of a page: the same ones wherever the page is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.features.ssi.parser import COMMAND, MISTAKE, NOTHING, TEXT, Parser

Found = list[tuple[object, ...]]


def parsed(pieces: list[bytes], longest_value: int = 255) -> Found:
    """What is found in a page, with neighbouring texts joined; the last entry is what was held back at its end."""
    parser = Parser(longest_value)
    found: Found = []
    text = b""
    for piece in pieces:
        parser.feed(piece)
        while (kind := parser.next()) != NOTHING:
            if kind == TEXT:
                text += parser.text
                continue
            if text:
                found.append(("text", text))
                text = b""
            if kind == COMMAND:
                found.append((parser.command, *[(p.name, p.value) for p in parser.parameters]))
            else:
                assert kind == MISTAKE
                found.append(("mistake", parser.message))
    rest = text + parser.finish()
    return [*found, ("text", rest)] if rest else found


PAGES = [
    b'a<!--#echo var="x" -->b',
    b"<!--# \r\n\techo\tvar = 'a\"b' default=\"it's\"-->",
    b'<!--#set var="a" value="\\"\\\\\\n" -->',
    b"<<!<!-<!--<!--#endif -->",
    b"<!--#endif--><!--#else--->x-->y",
    b'<!--#echo var=x - -- --- -> -->after<!--#echo va-r="1" -->',
    b'<!--#echo var="1"x -->' b'<!--#echo var "1" -->' b"<!--#" + b"c" * 40 + b" -->" b"<!--#echo " + b"n" * 40 + b'="1" -->',
    b'<!--#echo var="' + b"v" * 300 + b'" -->rest',
    b"text at the end <!-",
    b"text at the end <!--",
    b'cut in a command <!--#echo var="x',
]


@pytest.mark.parametrize("page", PAGES)
def test_every_place_to_cut_a_page(page: bytes) -> None:
    whole = parsed([page])
    assert whole
    for cut in range(len(page) + 1):
        assert parsed([page[:cut], page[cut:]]) == whole
    assert parsed([page[i : i + 1] for i in range(len(page))]) == whole


@given(st.lists(st.text("<!-#>\"'\\ =aé\n", max_size=12).map(str.encode), max_size=12))
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    assert parsed(pieces) == parsed([b"".join(pieces)])


@given(st.text("<!->a", max_size=30).map(str.encode))
def test_a_page_without_commands_is_left_alone(page: bytes) -> None:
    found = parsed([page])
    assert found == ([("text", page)] if page else [])


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (b'<!--#a b="c" d=\'e"f\' -->', [(b"a", (b"b", b"c"), (b"d", b'e"f'))]),
        (b"<!--#a b='\\'' -->", [(b"a", (b"b", b"\\'"))]),  # escapes are of concern to whoever uses the value
        (b"<!--#-->-->x", [("mistake", 'unexpected ">" symbol in "-" SSI command'), ("text", b"x")]),
        (b"<!--#a b -->x", [("mistake", 'unexpected "-" symbol after "b" parameter in "a" SSI command'), ("text", b"x")]),
        (b"<!--#a b=c-->x", [("mistake", 'unexpected "c" symbol before value of "b" parameter in "a" SSI command'), ("text", b"x")]),
        (b"<!--#a b='c'd-->", [("mistake", 'unexpected "d" symbol after "c" value of "b" parameter in "a" SSI command')]),
        (b"<!--#a -x-->", [("mistake", 'unexpected "x" symbol in "a" SSI command')]),
    ],
)
def test_what_is_found(page: bytes, expected: Found) -> None:
    assert parsed([page]) == expected


def test_the_length_of_a_value_is_bounded() -> None:
    assert parsed([b"<!--#a b='123' -->"], 3) == [(b"a", (b"b", b"123"))]
    assert parsed([b"<!--#a b='1234' -->"], 3) == [("mistake", 'too long "1234..." value of "b" parameter in "a" SSI command')]


def test_no_more_is_kept_of_a_command_than_tells_that_it_has_too_many_parameters() -> None:
    parser = Parser(255)
    parser.feed(b"<!--#a " + b"b='c' " * 10_000 + b"-->")
    assert parser.next() == COMMAND
    assert len(parser.parameters) == 17


def test_a_long_mistake_is_skipped_without_being_kept() -> None:
    parser = Parser(255)
    for piece in (b"<!--#a b=c", *[b"x" * 65536] * 20):
        parser.feed(piece)
        assert parser.next() == NOTHING
    parser.feed(b"-->y")
    assert [parser.next(), parser.next()] == [MISTAKE, TEXT]
    assert parser.text == b"y"
