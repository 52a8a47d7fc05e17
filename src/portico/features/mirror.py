"""`mirror`: the same request, sent to another location too, whose response nobody looks at. (nginx: ngx_http_mirror_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.errorlog import CRIT
from portico.http.background import BackgroundTask
from portico.http.errors import FileFailed
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import PRECONTENT, Handler
from portico.http.subrequest import answer_unseen, subrequest_of

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response

_ALL: Final = HTTP | SERVER | LOCATION


@final
class Mirror:
    """One `mirror`; the URI of `off` is empty."""

    def __init__(self, statement: Statement) -> None:
        text = statement.args[0].text
        self.uri: bytes = b"" if text == "off" else text.encode("utf-8", "surrogateescape")
        self.statement = statement


MIRROR: Final = Directive[Mirror | None](
    "mirror", _ALL, Mirror, args="1", many=True, default=None, default_text="off",
    syntax="URI | off",
    doc="Asks URI, as a background subrequest with the method, the fields and the body of the request, for every request; its "
    "answer is thrown away. Several mirrors may stand side by side. The next request of the same connection does not wait for them, "
    "unless more than four are on their way.",
    example="mirror /mirror;",
)
MIRROR_REQUEST_BODY: Final = Directive[bool](
    "mirror_request_body", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Whether mirrors get the body: it is read whole, then, before anything is passed on. With `off` they are asked without one.",
    example="mirror_request_body off;",
)


@final
class MirrorHandler(Handler):
    """The mirrors of one location."""

    def __init__(self, uris: list[bytes], with_body: bool) -> None:
        self.is_async = True
        self.uris = uris
        self.with_body = with_body

    async def handle_async(self, request: Request) -> Response | None:
        if request.parent is not None:
            return None
        body = request.body
        if body is not None and body.is_withheld:
            body = None
        if self.with_body and body is not None and not body.was_read():
            await body.read_all()
        for uri in self.uris:
            mirrored = subrequest_of(request, uri, request.args)
            mirrored.method = request.method
            mirrored.stream = None  # a client that leaves ends its own request, not this one
            if self.with_body and body is not None:
                try:
                    mirrored.body = body.copy_for(mirrored)  # it may outlive the client's
                except FileFailed as failed:
                    request.log_error(CRIT, str(failed))
                    continue
            task = BackgroundTask(request.reactor)
            if request.stream is not None:
                request.stream.add_background(task)
            task.start(_mirror(mirrored))
        return None

    def describe(self) -> str:
        return "mirror " + ", ".join(uri.decode("utf-8", "backslashreplace") for uri in self.uris)


async def _mirror(request: Request) -> None:
    try:
        await answer_unseen(request)
    finally:
        if request.body is not None:
            request.body.close()


class MirrorFeature(Feature):
    """Adds the handler where there are mirrors."""

    def location(self, build: LocationBuild) -> None:
        mirrors = [mirror for mirror in build.scope.all(MIRROR) if mirror is not None]
        if len(mirrors) > 1 and not all(mirror.uri for mirror in mirrors):
            raise mirrors[1].statement.fail('"mirror" directive is duplicate: "off" stands alone')
        uris = [mirror.uri for mirror in mirrors if mirror.uri]
        if uris:
            build.add_handler(PRECONTENT, MirrorHandler(uris, build.scope.get(MIRROR_REQUEST_BODY)))


FEATURE: Final = MirrorFeature("http_mirror", (MIRROR, MIRROR_REQUEST_BODY))
