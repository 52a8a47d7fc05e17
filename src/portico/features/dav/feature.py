"""Attaches `dav_methods` to the locations where there are any."""

from __future__ import annotations

from typing import Final

from portico.features.dav.handler import DavHandler
from portico.features.dav.settings import DIRECTIVES, DavSettings
from portico.http.content.files import Files
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import CONTENT
from portico.passing.store import stores_of


class DavFeature(Feature):
    """Adds the handler, which leaves all other methods to those behind it."""

    def location(self, build: LocationBuild) -> None:
        settings = DavSettings(build.scope)
        if not settings.methods or build.has_content:
            return
        stores = stores_of(build.http)
        stores.temp_paths.add(build.location.core.client_body_temp_path)
        build.add_handler(CONTENT, DavHandler(settings, Files(build.scope), stores))


FEATURE: Final = DavFeature("http_dav", DIRECTIVES, configure="--with-http_dav_module")
