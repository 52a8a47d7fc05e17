"""Families of directives that several `*_pass` share, each family declared once with the prefix as its parameter.

A protocol makes the families that it has (nginx's documentation of ngx_http_…_module):

| family                         | proxy | fastcgi | uwsgi | scgi | grpc | memcached | what differs                            |
|--------------------------------|-------|---------|-------|------|------|-----------|-----------------------------------------|
| `ExchangeDirectives`           | x     | x       | x     | x    | x    | x         |                                         |
| `RetryDirectives`              | x     | x       | x     | x    | x    | x         | the conditions (passing/failure.py)     |
| `InterceptDirectives`          | x     | x       | x     | x    | x    |           |                                         |
| `RangeDirectives`              | x     | x       | x     | x    |      | x         |                                         |
| `BufferingDirectives`          | x     | x       | x     | x    |      |           |                                         |
| `RequestDirectives`            | x     | x       | x     | x    |      |           |                                         |
| `ResponseFieldDirectives`      | x     | x       | x     | x    | x    |           | which fields are hidden anyway          |
| `CacheDirectives`              | x     | x       | x     | x    |      |           | conditions, default key, `convert_head` |
| `StoreDirectives`              | x     | x       | x     | x    |      |           |                                         |
| `TLSDirectives`                | x     |         | x     |      | x    |           | the default name                        |
| `SetHeaderDirectives`          | x     |         |       |      | x    |           | what is sent without any                |
| `ParamDirectives`              |       | x       | x     | x    |      |           |                                         |

What makes a location's settings of a family and a scope stands beside the family.
"""

from __future__ import annotations

from typing import Final, TypeVar, final

from portico.config.directive import HTTP, LOCATION, SERVER, Directive

ANYWHERE: Final = HTTP | SERVER | LOCATION
"""The contexts of nearly every directive of a family."""

T = TypeVar("T")


@final
class Prefix:
    """What the directives of one protocol begin with, and what their texts call its upstream servers."""

    def __init__(self, name: str, server: str) -> None:
        self.name = name  # "fastcgi"
        self.server = server  # "the FastCGI server"


class Family:
    """Directives with one prefix, declared by the subclass."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self._declared: list[Directive[object]] = []

    def declare(self, directive: Directive[T]) -> Directive[T]:
        """Add a directive to the family and return it."""
        self._declared.append(directive)
        return directive

    def all(self) -> tuple[Directive[object], ...]:
        """Return every directive of the family, in the order of declaration."""
        return tuple(self._declared)
