"""Texts with variables, and the expressions of `if`, in pages with commands."""

from __future__ import annotations

import pytest
from tests.unit.features.conftest import MakeSite

from portico.features.ssi.shared import Shared, SsiMistake
from portico.features.ssi.texts import Texts
from portico.variables.variable import Variables


@pytest.fixture
def texts(make_site: MakeSite) -> Texts:
    shared = Shared(Variables())
    shared.variables.update({b"a": b"alpha", b"empty": b"", b"dollar": b"$a"})
    return Texts(make_site("").request("/"), shared)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"", b""),
        (b"plain", b"plain"),
        (b"$a", b"alpha"),
        (b"${a}b", b"alphab"),
        (b"$A", b"alpha"),  # in any case
        (b"x$a y", b"xalpha y"),
        (b"$empty", b""),
        (b"$none", b""),
        (b"$dollar", b"$a"),  # a value is not looked into again
        (rb"\$a", b"$a"),
        (rb"\\", b"\\"),
        (rb"\'\"", b"'\""),
        (rb"\n", rb"\n"),
    ],
)
def test_values_of_variables(texts: Texts, text: bytes, value: bytes) -> None:
    assert texts.evaluate(text) == value


@pytest.mark.parametrize("text", [b"$", b"${}", b"${a", b"$-", b"${a-b}"])
def test_names_that_are_none(texts: Texts, text: bytes) -> None:
    with pytest.raises(SsiMistake):
        texts.evaluate(text)


@pytest.mark.parametrize(
    ("expression", "true"),
    [
        (b"$a", True),
        (b"$empty", False),
        (b"$none", False),
        (b"$a = alpha", True),
        (b"$a=alpha", True),
        (b"$a = beta", False),
        (b"$a != beta", True),
        (b"$a != alpha", False),
        (b"$a = /^al/", True),
        (b"$a = /^be/", False),
        (b"$a != /^be/", True),
        (rb"$a = \/x", False),
        (b"$a =", False),
    ],
)
def test_expressions(texts: Texts, expression: bytes, true: bool) -> None:
    assert texts.is_true(expression) is true


@pytest.mark.parametrize("expression", [b"$a alpha", b"$a == x y ~", b"$a = /open", b"$a = /(/"])
def test_expressions_that_are_none(texts: Texts, expression: bytes) -> None:
    try:
        texts.is_true(expression)
    except SsiMistake:
        return
    assert expression == b"$a == x y ~"  # "= x y ~" is a text to compare with


def test_captures_of_an_expression_are_variables(texts: Texts) -> None:
    assert texts.is_true(b"$a = /^(?P<first>.)(.)/")
    assert (texts.evaluate(b"$1$2"), texts.evaluate(b"$first")) == (b"al", b"a")
