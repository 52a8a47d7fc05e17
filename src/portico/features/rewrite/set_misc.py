"""`set_escape_uri`, `set_md5` and so on: variables made of others, in order with `set` and `if`. (set-misc-nginx-module.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from portico.config.directive import IF_LOCATION, IF_SERVER, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.errorlog import ERR
from portico.features.rewrite import functions
from portico.features.rewrite.functions import Function, Rotation
from portico.features.rewrite.script import GO_ON, Outcome, Step
from portico.http.errors import HTTPError
from portico.http.feature import Feature
from portico.http.variables.assigned import assign
from portico.variables.template import Template, template, template_of, variable_name

if TYPE_CHECKING:
    from portico.http.request import Request

Parser = Callable[[Statement], "SetCall"]

_BLOCKS: Final = SERVER | LOCATION | IF_SERVER | IF_LOCATION


@final
class SetCall:
    """One such directive as written. `function` None: `set_if_empty`."""

    def __init__(self, name: str, function: Function | None, values: list[Template], statement: Statement) -> None:
        self.name = name
        self.function = function
        self.values = values
        self.statement = statement


@final
class CallStep(Step):
    """Finds the values of the arguments now, and sets the variable to what the function makes of them."""

    def __init__(self, call: SetCall, function: Function) -> None:
        self.directive = call.statement.name
        self.name = call.name
        self.function = function
        self.values = call.values

    def run(self, request: Request, log: bool) -> Outcome | None:
        try:
            made = self.function([value.render(request) for value in self.values])
        except ValueError as error:
            raise HTTPError(500, f"{self.directive}: {error}", ERR) from None
        assign(request, self.name, made)
        return GO_ON


@final
class IfEmptyStep(Step):
    """`set_if_empty`."""

    def __init__(self, name: str, value: Template) -> None:
        self.name = name
        self.value = value

    def run(self, request: Request, log: bool) -> Outcome | None:
        if not self._has_value(request):
            assign(request, self.name, self.value.render(request))
        return GO_ON

    def _has_value(self, request: Request) -> bool:
        """Return whether the variable has been given a value other than an empty one; that it has none yet is no mistake."""
        if self.name == "args":
            return request.args != b""
        values = request.values
        if values is not None and values.get(self.name):
            return True
        return request.named is not None and bool(request.named.get(self.name))


def step_of(call: SetCall) -> Step:
    """Return what the script runs for a directive."""
    if call.function is None:
        return IfEmptyStep(call.name, call.values[0])
    return CallStep(call, call.function)


def _of_one(function: Function) -> Parser:
    """Return a parser for `$variable [value]`: without a value it is the variable's own."""

    def parse(statement: Statement) -> SetCall:
        name = variable_name(statement, 0)
        text = statement.args[len(statement.args) - 1].text
        return SetCall(name, function, [template_of(text, statement)], statement)

    return parse


def _of_all(function: Function) -> Parser:
    """Return a parser for `$variable value …`."""

    def parse(statement: Statement) -> SetCall:
        values = [template(statement, index) for index in range(1, len(statement.args))]
        return SetCall(variable_name(statement, 0), function, values, statement)

    return parse


def _rotate(statement: Statement) -> SetCall:
    values = [template(statement, index) for index in range(3)]
    return SetCall(variable_name(statement, 0), Rotation().next, values, statement)


def _if_empty(statement: Statement) -> SetCall:
    return SetCall(variable_name(statement, 0), None, [template(statement, 1)], statement)


def _directive(name: str, parse: Parser, args: str, syntax: str, doc: str, example: str) -> Directive[SetCall | None]:
    return Directive[SetCall | None](
        name, _BLOCKS, parse, args=args, many=True, default=None, beyond=True, syntax=syntax, doc=doc, example=example
    )


def _one(name: str, function: Function, doc: str) -> Directive[SetCall | None]:
    """Declare a function of one text."""
    doc += " With one argument, of the variable's own value."
    return _directive(name, _of_one(function), "1-2", "$VARIABLE [TEXT]", doc, f"set $a $arg_a; {name} $a;")


_FAILS: Final = " Anything else ends the request with 500."
DIRECTIVES: Final[tuple[Directive[SetCall | None], ...]] = (
    _directive(
        "set_if_empty", _if_empty, "2", "$VARIABLE TEXT", "Gives a variable a value if it has none or an empty one.",
        "set $a $arg_a; set_if_empty $a 56;",
    ),
    _one("set_escape_uri", functions.escape_uri, "Escapes a text for a component of a URI."),
    _one("set_unescape_uri", functions.unescape_uri, "Decodes the escapes of a component of a URI, and makes spaces of its pluses."),
    _one("set_quote_json_str", functions.quote_json, "Makes a text a string of JSON, with quotation marks; an empty one is null."),
    _one("set_encode_base64", functions.encode_base64, "Encodes a text in Base64."),
    _one("set_decode_base64", functions.decode_base64, f"Decodes Base64.{_FAILS}"),
    _one("set_encode_base64url", functions.encode_base64url, "Encodes a text in Base64 for URIs (RFC 4648), without padding."),
    _one("set_decode_base64url", functions.decode_base64url, f"Decodes Base64 for URIs.{_FAILS}"),
    _one("set_encode_hex", functions.encode_hex, "Writes a text in hexadecimal digits."),
    _one("set_decode_hex", functions.decode_hex, f"Decodes hexadecimal digits.{_FAILS}"),
    _one("set_md5", functions.md5, "Makes the MD5 digest of a text, in hexadecimal digits."),
    _one("set_sha1", functions.sha1, "Makes the SHA-1 digest of a text, in hexadecimal digits."),
    _directive(
        "set_hmac_sha1", _of_all(functions.hmac_sha1), "3", "$VARIABLE KEY TEXT",
        "Makes the HMAC-SHA-1 of a text: 20 bytes, which `set_encode_base64` or `set_encode_hex` can show.",
        "set_hmac_sha1 $signature secret $uri; set_encode_base64 $signature;",
    ),
    _directive(
        "set_hmac_sha256", _of_all(functions.hmac_sha256), "3", "$VARIABLE KEY TEXT", "Makes the HMAC-SHA-256 of a text: 32 bytes.",
        "set_hmac_sha256 $signature secret $uri; set_encode_hex $signature;",
    ),
    _directive(
        "set_random", _of_all(functions.random_number), "3", "$VARIABLE FROM TO",
        "Chooses a number from FROM to TO, both included. What is no number ends the request with 500.", "set_random $number 3 15;",
    ),
    _directive(
        "set_secure_random_alphanum", _of_all(functions.random_alphanum), "2", "$VARIABLE LENGTH",
        "Makes a text of 1 to 64 letters and digits that nobody can guess.", "set_secure_random_alphanum $token 32;",
    ),
    _directive(
        "set_secure_random_lcalpha", _of_all(functions.random_letters), "2", "$VARIABLE LENGTH",
        "Makes a text of 1 to 64 lower-case letters that nobody can guess.", "set_secure_random_lcalpha $token 32;",
    ),
    _directive(
        "set_rotate", _rotate, "3", "$VARIABLE FROM TO",
        "Counts a variable up by one, from FROM to TO and again. One that has no number goes on from the last of this line in the "
        "same worker.",
        "set $turn $cookie_turn; set_rotate $turn 1 5;",
    ),
    _directive(
        "set_local_today", _of_all(functions.local_today), "1", "$VARIABLE", "The date in local time: 2026-03-01.",
        "set_local_today $today;",
    ),
    _directive(
        "set_formatted_gmt_time", _of_all(functions.gmt_time), "2", "$VARIABLE FORMAT",
        "The time in UTC by a format of strftime(3), at most 256 bytes.", 'set_formatted_gmt_time $now "%Y-%m-%d %H:%M";',
    ),
    _directive(
        "set_formatted_local_time", _of_all(functions.local_time), "2", "$VARIABLE FORMAT",
        "The local time by a format of strftime(3), at most 256 bytes.", 'set_formatted_local_time $now "%Y-%m-%d %H:%M";',
    ),
)  # fmt: skip

FEATURE: Final = Feature("http_set_misc", DIRECTIVES)  # the script of the rewrite module runs them
