"""The core feature has every directive that the core declares: one that is left out would be unknown to a configuration."""

from __future__ import annotations

from portico.config.directive import Directive
from portico.http import access, error_pages, listen, settings
from portico.http.core import FEATURE


def declared_in(*modules: object) -> set[str]:
    return {value.name for module in modules for value in vars(module).values() if isinstance(value, Directive)}


def test_it_has_every_directive_of_the_core_once() -> None:
    names = [directive.name for directive in FEATURE.directives]
    assert len(names) == len(set(names))
    assert declared_in(settings, listen, error_pages, access) == set(names)


def test_it_has_each_variable_once() -> None:
    names = [variable.name for variable in FEATURE.variables]
    assert len(names) == len(set(names))
    assert {"args", "host", "remote_addr", "request_time", "status", "uri"} <= set(names)
    assert {"arg_", "cookie_", "http_", "sent_http_"} <= {family.prefix for family in FEATURE.families}
