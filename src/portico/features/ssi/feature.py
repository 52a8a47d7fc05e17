"""Attaches `ssi` to the locations where it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.features.ssi.body import SsiBody
from portico.features.ssi.page import begin_page, get_date_gmt, get_date_local
from portico.features.ssi.parser import Parser
from portico.features.ssi.settings import DIRECTIVES, SSI, SsiSettings, keep_most_in_memory
from portico.features.ssi.shared import shared_of
from portico.http.feature import Feature, LocationBuild
from portico.http.filtered import ORDER_SSI, weaken_etag
from portico.http.handler import HeaderFilter
from portico.http.response import NO_RANGES
from portico.variables.variable import Variable, Variables

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response


@final
class SsiFilter(HeaderFilter):
    """`ssi` of one location."""

    def __init__(self, settings: SsiSettings, registry: Variables[Request]) -> None:
        self.settings = settings
        self.registry = registry

    def concerns_subrequests(self) -> bool:
        return True

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        return not self.settings.types.has(head.first.get(b"content-type", b""))

    def apply(self, request: Request, response: Response) -> None:
        settings = self.settings
        if response.content_length == 0 or not settings.types.include(response):
            return
        page = begin_page(request, shared_of(request, self.registry))
        response.body = SsiBody(response.body, page, Parser(settings.longest_value), settings.silent)
        response.content_length = -1
        response.ranges = NO_RANGES
        response.replace(b"accept-ranges", b"", b"")
        response.finished = None
        if settings.keeps_dates:
            weaken_etag(response)
        else:
            response.last_modified = -1.0
            response.last_modified_text = b""
            response.etag = b""


class SsiFeature(Feature):
    """Adds the filter where `ssi` is on."""

    def location(self, build: LocationBuild) -> None:
        keep_most_in_memory(build.location, build.scope)
        if build.scope.get(SSI):
            build.add_header_filter(SsiFilter(SsiSettings(build.scope), build.http.variables), ORDER_SSI)


FEATURE: Final = SsiFeature(
    "http_ssi",
    DIRECTIVES,
    (
        Variable("date_local", get_date_local, doc="The time now in the local zone, in the format of the command `config timefmt`."),
        Variable("date_gmt", get_date_gmt, doc="The time now in GMT, in the format of the command `config timefmt`."),
    ),
)
