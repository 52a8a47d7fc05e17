"""The rewrite phase of one block as nginx runs it: `if`, `set`, `rewrite`, `return` and `break` in the order written.

    step by step ──► a `return` or a redirect ends with an answer
                 ──► `break`, and `rewrite` with a flag, end the script
                 ──► an `if` that holds makes its block the request's location, and its steps run in line

What the script leaves behind is in the request: `location`, and `target`, which says whether another location is to be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config.regex import Regex
from portico.errorlog import ERR, NOTICE
from portico.features.rewrite.conditions import Condition
from portico.features.rewrite.matching import match
from portico.features.rewrite.replacement import Replacement, unescape_redirect
from portico.features.rewrite.returns import Return, answer
from portico.http.error_pages import own_page
from portico.http.errors import HTTPError
from portico.http.handler import Handler
from portico.http.variables.assigned import assign
from portico.variables.template import Template

if TYPE_CHECKING:
    from portico.http.plan import Location
    from portico.http.request import Request
    from portico.http.response import Response


@final
class Outcome:
    """What a step comes to."""

    def __init__(self, response: Response | None) -> None:
        self.response = response  # of the step that ends the script with one


GO_ON: Final = None
END: Final = Outcome(None)


class Step:
    """One directive of the script."""

    def run(self, request: Request, log: bool) -> Outcome | None:
        """Return GO_ON, or how the script ends. `log`: rewrite_log."""
        raise NotImplementedError


@final
class BreakStep(Step):
    """`break`."""

    def __init__(self) -> None:
        pass

    def run(self, request: Request, log: bool) -> Outcome | None:
        return END


@final
class ReturnStep(Step):
    """`return`."""

    def __init__(self, given: Return) -> None:
        self.given = given

    def run(self, request: Request, log: bool) -> Outcome | None:
        return Outcome(answer(request, self.given))


@final
class SetStep(Step):
    """`set`: the value is found now, and kept with the request."""

    def __init__(self, name: str, value: Template) -> None:
        self.name = name
        self.value = value

    def run(self, request: Request, log: bool) -> Outcome | None:
        assign(request, self.name, self.value.render(request))
        return GO_ON


@final
class IfStep(Step):
    """`if`: `inner` is its block as a location; None on server level, where a block has no settings of its own."""

    def __init__(self, condition: Condition, inner: Location | None, steps: list[Step]) -> None:
        self.condition = condition
        self.inner = inner
        self.steps = steps

    def run(self, request: Request, log: bool) -> Outcome | None:
        if not self.condition.holds(request, log):
            return GO_ON
        if self.inner is not None:
            request.location = self.inner
        for step in self.steps:
            outcome = step.run(request, log)
            if outcome is not None:
                return outcome
        return GO_ON


@final
class RewriteStep(Step):
    """`rewrite`. `status` of a redirect, else 0; `keeps_args`: the request's arguments are added to those written."""

    def __init__(self, regex: Regex, replacement: Replacement, status: int, keeps_args: bool, ends: bool, stays: bool) -> None:
        self.regex = regex
        self.replacement = replacement
        self.status = status
        self.keeps_args = keeps_args
        self.ends = ends
        self.stays = stays  # `break`: this location goes on with the new URI

    def run(self, request: Request, log: bool) -> Outcome | None:
        if not match(request, self.regex, request.uri, log):
            return GO_ON
        if self.status:
            return Outcome(self._redirect(request, log))
        self._rewrite(request, log)
        return END if self.ends else GO_ON

    def _redirect(self, request: Request, log: bool) -> Response:
        url = unescape_redirect(self.replacement.target(request))
        if self.keeps_args and request.args:
            url += (b"&" if self.replacement.has_args else b"?") + request.args
        if log:
            request.log_error(NOTICE, f'rewritten redirect: "{_shown(url)}"')
        response = own_page(request, self.status)
        response.location = url
        return response

    def _rewrite(self, request: Request, log: bool) -> None:
        uri = self.replacement.target(request)
        args = request.args if self.keeps_args else b""
        if self.replacement.has_args:
            own = self.replacement.args(request)
            args = own + b"&" + args if args else own
        if log:
            request.log_error(NOTICE, f'rewritten data: "{_shown(uri)}", args: "{_shown(args)}"')
        if not uri:
            raise HTTPError(500, "the rewritten URI has a zero length", ERR)
        request.target = request.target.rewritten(uri, args, self.stays)
        request.internal = True


@final
class Script(Handler):
    """The steps of one server or location."""

    def __init__(self, steps: list[Step], log: bool) -> None:
        self.is_async = False
        self.steps = steps
        self.log = log

    def handle(self, request: Request) -> Response | None:
        for step in self.steps:
            outcome = step.run(request, self.log)
            if outcome is not None:
                return outcome.response
        return None

    def describe(self) -> str:
        return f"rewrite script of {len(self.steps)} steps"


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
