"""`/app.js.gz` in place of `/app.js`: files that somebody has compressed beforehand. (nginx: ngx_http_gzip_static_module.c.)

    app.js      app.js.gz      app.js.br      app.js.zst

Whatever lies there under such a name is taken for the compressed form of the other file; whether that is there, and which is newer,
does not matter. The response is the compressed file, with its length, time and ETag, and the type of the other one. There are no
ranges of it, as in nginx: a client might put them together with parts of the plain form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.accept_encoding import GZIP, AcceptEncoding
from portico.errorlog import CRIT, ERR
from portico.features.static.handler import StaticHandler, Unserved
from portico.http.compression import AcceptedCodings, CompressionRules, say_vary
from portico.http.content.open_file_cache import FORBIDDEN
from portico.http.errors import HTTPError
from portico.http.handler import Handler
from portico.http.response import NO_RANGES, Response

if TYPE_CHECKING:
    from portico.http.request import Request

_REMEMBERED: Final = 1024


@final
class Form:
    """A content encoding whose files are looked for. `always`: for whoever asks, also for who does not take it."""

    def __init__(self, coding: bytes, suffix: bytes, always: bool) -> None:
        self.coding = coding
        self.suffix = suffix
        self.always = always


@final
class PrecompressedHandler(Handler):
    """Responds to GET and HEAD with a compressed file where there is one for this client, and leaves all else to `plain`."""

    def __init__(self, plain: StaticHandler, forms: list[Form], rules: CompressionRules, accepted: AcceptedCodings) -> None:
        self.is_async = False
        self.plain = plain
        self.forms = forms  # in the server's order
        self.for_all = tuple(form for form in forms if form.always)
        self.rules = rules
        self.accepted = accepted
        self._orders: dict[AcceptEncoding, tuple[Form, ...]] = {}

    def handle(self, request: Request) -> Response | None:
        method = request.method
        if (method != b"GET" and method != b"HEAD") or request.uri.endswith(b"/"):
            return self.plain.handle(request)
        path = self.plain.files.path(request)
        forms = self._order_for(request)
        missing: list[Form] = []
        for form in forms:
            if form.coding == GZIP and not form.always and not self.rules.allow(request, None):
                continue
            found = self.plain.serve(request, path + form.suffix)
            if isinstance(found, Response):
                varies = self.rules.vary and (not form.always or self._varies(request, path, missing))
                return _encoded(found, form, varies)
            if found.number:
                missing.append(form)
            self._log_unusable(request, path + form.suffix, found)
        if not self.rules.vary or not self._varies(request, path, missing):
            return self.plain.respond(request, path)
        try:
            response = self.plain.respond(request, path)
        except HTTPError as error:
            error.fields = (*error.fields, (b"Vary", b"Accept-Encoding"))
            raise
        say_vary(response)
        return response

    def describe(self) -> str:
        return f"{self.plain.describe()}, or the same with {' '.join(form.suffix.decode() for form in self.forms)}"

    def _order_for(self, request: Request) -> tuple[Form, ...]:
        """Return the forms to look for, the best first: those that the client takes, then those for all."""
        if request.parent is not None:
            return self.for_all  # nginx: a part of another response is not encoded for the client
        wanted = self.accepted.of(request)
        order = self._orders.get(wanted)
        if order is None:
            order = self._ordered(wanted)
            if len(self._orders) >= _REMEMBERED:
                self._orders.clear()
            self._orders[wanted] = order
        return order

    def _ordered(self, wanted: AcceptEncoding) -> tuple[Form, ...]:
        left = list(self.forms)
        order: list[Form] = []
        place = wanted.choose(tuple([form.coding for form in left]))
        while place >= 0:
            order.append(left.pop(place))
            place = wanted.choose(tuple([form.coding for form in left]))
        order.extend(form for form in left if form.always)
        return tuple(order)

    def _log_unusable(self, request: Request, path: bytes, found: Unserved) -> None:
        """Log why a compressed file cannot be sent. Raises HTTPError when what is there is neither file nor directory."""
        if found.number == 0:
            if not found.is_directory:
                raise HTTPError(404, found.reason(path), CRIT)
        elif not found.is_missing():
            request.log_error(ERR if found.number in FORBIDDEN else CRIT, found.reason(path))

    def _varies(self, request: Request, path: bytes, missing: list[Form]) -> bool:
        """Return whether there is a form that other clients get; the files of those in `missing` are not there."""
        for form in self.forms:
            if not form.always and form not in missing and self.plain.files.test(request, path + form.suffix).error == 0:
                return True
        return False


def _encoded(response: Response, form: Form, varies: bool) -> Response:
    response.fields.append((b"Content-Encoding", form.coding))
    response.ranges = NO_RANGES
    if varies:
        say_vary(response)
    return response
