"""`map`: a variable whose value depends on another's (variables/map.py). (nginx: ngx_http_map_module.c.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.config import values
from portico.config.directive import HTTP, Directive, Scope
from portico.http.feature import Feature
from portico.variables.map import Map, declare_maps, parse_map
from portico.variables.variable import Variables

if TYPE_CHECKING:
    from portico.http.request import Request

MAP: Final = Directive[Map | None](
    "map", HTTP, parse_map, args="2", many=True, default=None, raw_block=True,
    syntax="TEXT $VARIABLE { ... }",
    doc="Defines a variable: its value is that of the line whose first word fits TEXT, regardless of case; `~` and `~*` begin a "
    "regex, whose groups the value may use. `default` is for everything else; `hostnames` allows masks (`*.example.com`, `www.*`, "
    "`.example.com`) in the lines after it; `volatile` finds the value anew at each use; `include` reads lines from a file. A "
    "backslash keeps a word from being special.",
    example="map $http_user_agent $mobile { default 0; ~*android 1; }",
)
MAP_HASH_MAX_SIZE: Final = Directive[int](
    "map_hash_max_size", HTTP, values.number, args="1", default=2048, default_text="2048",
    doc="Sizes nginx's tables. Portico's tables grow by themselves: checked, then of no effect.", example="map_hash_max_size 4096;",
)
MAP_HASH_BUCKET_SIZE: Final = Directive[int](
    "map_hash_bucket_size", HTTP, values.number, args="1", default=64, default_text="64",
    doc="See `map_hash_max_size`.", example="map_hash_bucket_size 128;",
)


class MapFeature(Feature):
    """Makes the variables known; nothing is attached to locations."""

    def declare(self, scope: Scope, variables: Variables[Request]) -> None:
        declare_maps(scope.own_all(MAP), variables, scope.load)


FEATURE: Final = MapFeature("http_map", (MAP, MAP_HASH_MAX_SIZE, MAP_HASH_BUCKET_SIZE))
