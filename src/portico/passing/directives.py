"""The families of directives about header fields: those that are sent to an upstream, and those of its responses."""

from __future__ import annotations

from typing import Final, final

from portico.cache.policy.ignored import IGNORABLE
from portico.config import values
from portico.config.directive import Directive, Scope
from portico.config.reader import Statement
from portico.passing.families import ANYWHERE, Family, Prefix
from portico.variables.template import Template, template

_ACCEL: Final = ("X-Accel-Expires", "X-Accel-Redirect", "X-Accel-Limit-Rate", "X-Accel-Buffering", "X-Accel-Charset")


@final
class SetHeader:
    """One `*_set_header`: a name as it is sent, and its value; an empty value leaves the field out."""

    def __init__(self, name: str, value: Template) -> None:
        self.name: bytes = values.octets(name)
        self.lower: bytes = self.name.lower()
        self.value = value


@final
class Param:
    """One `*_param`: a name as it is sent, and its value."""

    def __init__(self, name: str, value: Template, if_not_empty: bool) -> None:
        self.name: bytes = values.octets(name)
        self.value = value
        self.if_not_empty = if_not_empty  # an empty value leaves the parameter out


@final
class SetHeaderDirectives(Family):
    """Fields of the request in HTTP. `without`: what is sent where the directive is not used, for the reference."""

    def __init__(self, prefix: Prefix, without: str) -> None:
        super().__init__(prefix)
        p, server = prefix.name, prefix.server
        self.set_header = self.declare(Directive[SetHeader | None](
            f"{p}_set_header", ANYWHERE, _set_header, args="2", default=None, many=True, default_text=without,
            syntax="FIELD VALUE",
            doc=f"Sets or replaces a field of the request that {server} gets; an empty value removes it. A level with any "
            f"`{p}_set_header` of its own inherits none.",
            example=f"{p}_set_header Host $host;",
        ))

    def headers(self, scope: Scope) -> list[SetHeader]:
        """Return those in force, in order."""
        return [header for header in scope.all(self.set_header) if header is not None]


@final
class ParamDirectives(Family):
    """Parameters of the request in FastCGI, uwsgi, SCGI."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__(prefix)
        p, server = prefix.name, prefix.server
        self.param = self.declare(Directive[Param | None](
            f"{p}_param", ANYWHERE, _param, args="2-3", default=None, many=True,
            syntax="NAME VALUE [if_not_empty]",
            doc=f"A parameter that {server} gets; with `if_not_empty` only when its value is not empty. A level with any "
            f"`{p}_param` of its own inherits none.",
            example=f"{p}_param REQUEST_METHOD $request_method;",
        ))

    def params(self, scope: Scope) -> list[Param]:
        """Return those in force, in order."""
        return [param for param in scope.all(self.param) if param is not None]


def _set_header(statement: Statement) -> SetHeader:
    name = statement.args[0].text
    if not name or any(character in name for character in " \t\r\n:\0"):
        hint = f'the colon is left out: "{statement.name} Host $host;"' if name.endswith(":") else ""
        raise statement.fail(f'invalid name of a header field "{name}"', statement.args[0], hint)
    if any(character in statement.args[1].text for character in "\r\n\0"):
        raise statement.fail("a line break in the value of a header field", statement.args[1])
    return SetHeader(name, template(statement, 1))


def _param(statement: Statement) -> Param:
    if len(statement.args) == 3 and statement.args[2].text != "if_not_empty":
        raise statement.fail(f'invalid parameter "{statement.args[2].text}"', statement.args[2], "if_not_empty, or nothing")
    return Param(statement.args[0].text, template(statement, 1), len(statement.args) == 3)


@final
class ResponseFieldDirectives(Family):
    """Which fields of responses are passed on, and which Portico acts upon.

    `hidden`: the fields that the protocol hides anyway, beside X-Accel-…
    """

    def __init__(self, prefix: Prefix, hidden: tuple[str, ...]) -> None:
        super().__init__(prefix)
        p, server = prefix.name, prefix.server
        self.hidden = (*hidden, *_ACCEL)
        names = ", ".join(hidden)
        self.hide_header = self.declare(Directive[bytes](
            f"{p}_hide_header", ANYWHERE, _lower_name, args="1", default=b"", many=True, syntax="FIELD",
            doc=f"A field in responses of {server} that the client does not get. {names}{' and ' if names else ''}X-Accel-… are "
            "hidden anyway.",
            example=f"{p}_hide_header X-Powered-By;",
        ))
        self.pass_header = self.declare(Directive[bytes](
            f"{p}_pass_header", ANYWHERE, _lower_name, args="1", default=b"", many=True, syntax="FIELD",
            doc="Passes a field on that would be hidden.", example=f"{p}_pass_header {self.hidden[0]};",
        ))
        self.ignore_headers = self.declare(Directive[int](
            f"{p}_ignore_headers", ANYWHERE, values.bits(IGNORABLE), args="1+", joins=True, default=0, default_text="none",
            syntax="FIELD ...",
            doc=f"Fields of the response that Portico does not act upon: {', '.join(IGNORABLE)}.",
            example=f"{p}_ignore_headers X-Accel-Redirect;",
        ))


@final
class ResponseFieldSettings:
    """What one location does with fields of responses. Names in lower case."""

    def __init__(self, d: ResponseFieldDirectives, scope: Scope) -> None:
        self.hidden: list[bytes] = [*(values.octets(name.lower()) for name in d.hidden), *scope.all(d.hide_header)]
        self.passed: list[bytes] = scope.all(d.pass_header)
        self.ignored: int = scope.get(d.ignore_headers)  # the bits IGNORE_…


def _lower_name(statement: Statement) -> bytes:
    return values.octets(statement.args[0].text.lower())
