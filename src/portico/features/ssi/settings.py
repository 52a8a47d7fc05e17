"""The directives of `ssi`, and what they say for one location."""

from __future__ import annotations

from typing import Final, final

from portico.config import values
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, SERVER, Directive, Scope
from portico.http.content.media_types import MediaTypes, media_types
from portico.http.plan import Location, LocationSlot

_ALL: Final = HTTP | SERVER | LOCATION
_IN_MEMORY: Final = 4096

SSI: Final = Directive[bool](
    "ssi", _ALL | IF_LOCATION, values.flag, args="1", default=False, default_text="off",
    doc="Carries out the commands in responses, such as `<!--# include virtual=\"/head.html\" -->`: `include`, `echo`, `set`, `if`, "
    "`elif`, `else`, `endif`, `block`, `endblock` and `config`. What is included is asked for at once, and sent in its order. The "
    "response loses its length, its Last-Modified and its ETag.",
    example="ssi on;",
)
SSI_TYPES: Final = Directive[MediaTypes](
    "ssi_types", _ALL, media_types, args="1+", joins=True,
    default=MediaTypes(frozenset((b"text/html",))), default_text="text/html",
    syntax="TYPE ...",
    doc="Media types that `ssi` works on besides text/html; `*` is every type.", example="ssi_types text/plain;",
)
SSI_SILENT_ERRORS: Final = Directive[bool](
    "ssi_silent_errors", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether a command with a mistake leaves nothing in the page, in place of `[an error occurred while processing the "
    "directive]`. The error log says what was wrong in any case.",
    example="ssi_silent_errors on;",
)
SSI_VALUE_LENGTH: Final = Directive[int](
    "ssi_value_length", _ALL, values.size, args="1", default=255, default_text="255",
    syntax="LENGTH",
    doc="How many bytes the value of a parameter may have; a longer one is a mistake.", example="ssi_value_length 1k;",
)
SSI_LAST_MODIFIED: Final = Directive[bool](
    "ssi_last_modified", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Keeps Last-Modified, and the ETag as a weak one, though the body is not what they were made for.",
    example="ssi_last_modified on;",
)
SSI_MIN_FILE_CHUNK: Final = Directive[int](
    "ssi_min_file_chunk", _ALL, values.size, args="1", default=1024, default_text="1k",
    syntax="SIZE",
    doc="From which size on nginx sends parts of pages with sendfile. It is checked, and has no effect here.",
    example="ssi_min_file_chunk 4k;",
)
SSI_IGNORE_RECYCLED_BUFFERS: Final = Directive[bool](
    "ssi_ignore_recycled_buffers", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether nginx holds back what came in buffers that it uses again. It is checked, and has no effect here.",
    example="ssi_ignore_recycled_buffers on;",
)
SUBREQUEST_OUTPUT_BUFFER_SIZE: Final = Directive[int](
    "subrequest_output_buffer_size", _ALL, values.size, args="1", default=_IN_MEMORY, default_text="4k",
    syntax="SIZE",
    doc="How long a response to a subrequest may be that becomes the value of a variable (`include` with `set`). A longer one ends "
    "the response to the client. That of the location counts which the subrequest is for.",
    example="subrequest_output_buffer_size 16k;",
)

DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    SSI, SSI_TYPES, SSI_SILENT_ERRORS, SSI_VALUE_LENGTH, SSI_LAST_MODIFIED, SSI_MIN_FILE_CHUNK, SSI_IGNORE_RECYCLED_BUFFERS,
    SUBREQUEST_OUTPUT_BUFFER_SIZE,
)  # fmt: skip


@final
class SsiSettings:
    """What pages of one location need to know."""

    def __init__(self, scope: Scope) -> None:
        self.types = scope.get(SSI_TYPES)
        self.silent = scope.get(SSI_SILENT_ERRORS)
        self.longest_value = scope.get(SSI_VALUE_LENGTH)
        self.keeps_dates = scope.get(SSI_LAST_MODIFIED)


_MOST_IN_MEMORY: Final = LocationSlot[int]()


def keep_most_in_memory(location: Location, scope: Scope) -> None:
    """Leave the limit with the location where it is not the usual one."""
    most = scope.get(SUBREQUEST_OUTPUT_BUFFER_SIZE)
    if most != _IN_MEMORY:
        _MOST_IN_MEMORY.put(location, most)


def most_in_memory(location: Location) -> int:
    """Return how many bytes of a response of this location may become a value."""
    most = _MOST_IN_MEMORY.of(location)
    return _IN_MEMORY if most is None else most
