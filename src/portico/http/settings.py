"""nginx's http core: the directives that belong to no single feature, and `CoreSettings`, what they come to in one location.

Source of names, contexts, defaults: https://nginx.org/en/docs/http/ngx_http_core_module.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico import __version__
from portico.config import values
from portico.config.directive import HTTP, IF_LOCATION, LOCATION, MAIN, SERVER, Directive, Scope
from portico.config.reader import Statement, Where
from portico.variables.template import Template, size_template, template

if TYPE_CHECKING:
    from portico.errorlog import ErrorLog

_ALL: Final = HTTP | SERVER | LOCATION
BODY_FILES_KEPT: Final = 2  # `client_body_in_file_only on`
_BROWSERS: Final[dict[str, int]] = {"none": 1, "msie6": 2, "safari": 4}
_SERVER: Final = HTTP | SERVER

OFF: Final = 0
ON: Final = 1
ALWAYS: Final = 2


def _keepalive_timeout(statement: Statement) -> tuple[float, int]:
    """(seconds, seconds announced in a Keep-Alive field or 0)."""
    announced = 0
    if len(statement.args) > 1:
        found = values.time_of(statement.args[1].text)
        if found is None:
            raise statement.fail('"keepalive_timeout" directive invalid value', statement.args[1], values.TIME)
        announced = int(found)
    found = values.time_of(statement.args[0].text)
    if found is None:
        raise statement.fail('"keepalive_timeout" directive invalid value', statement.args[0], values.TIME)
    return found, announced


def _types(statement: Statement) -> dict[bytes, bytes]:
    """extension (lower case) → media type."""
    table: dict[bytes, bytes] = {}
    for index, line in enumerate(statement.block or []):
        if line.block is not None:
            raise line.fail('unexpected "{" in "types" block')
        for argument in line.args:
            extension = argument.text.lower()
            before = table.get(values.octets(extension))
            if before is not None and index >= statement.repeated:
                told = f'content type: "{line.name}", previous content type: "{before.decode(errors="surrogateescape")}"'
                line.warn(f'duplicate extension "{extension}", {told}', argument)
            table[values.octets(extension)] = values.octets(line.name)
    return table


HTTP_BLOCK: Final = Directive[None](
    "http", MAIN, values.nothing, args="0", default=None, block=HTTP,
    doc="Holds everything about HTTP: servers, upstreams and what they have in common.",
    example="http { server { listen 8080; } }",
)
SERVER_BLOCK: Final = Directive[None](
    "server", HTTP, values.nothing, args="0", default=None, many=True, block=SERVER,
    doc="A virtual server: one set of names on one set of addresses.",
    example="server { listen 8080; server_name example.com; }",
)
CLIENT_HEADER_BUFFER_SIZE: Final = Directive[int](
    "client_header_buffer_size", _SERVER, values.size, args="1", default=1024, default_text="1k",
    doc="The buffer that most request heads fit into. Portico reads heads in pieces of 8 KB whatever this says; with "
    "`large_client_header_buffers` it bounds what one head may occupy.",
    example="client_header_buffer_size 2k;",
)
LARGE_CLIENT_HEADER_BUFFERS: Final = Directive[tuple[int, int]](
    "large_client_header_buffers", _SERVER, values.buffers, args="2", default=(4, 8192), default_text="4 8k",
    doc="How many buffers of which size a request head may take. A request line longer than one buffer is answered 414, a "
    "header line longer than one buffer or more lines than fit into all of them 400 (494 in the log).",
    example="large_client_header_buffers 4 16k;",
)
MAX_HEADERS: Final = Directive[int](
    "max_headers", _SERVER, values.number, args="1", default=1000, default_text="1000",
    doc="How many fields the header section of a request may have; more are answered 400 (494 in the log). Up to the `Host` field "
    "it is the default server's number that counts.",
    example="max_headers 100;",
)
CLIENT_HEADER_TIMEOUT: Final = Directive[float](
    "client_header_timeout", _SERVER, values.msec, args="1", default=60.0, default_text="60s",
    doc="A client that has not sent its whole request head after this time is answered 408.",
    example="client_header_timeout 10s;",
)
CLIENT_BODY_TIMEOUT: Final = Directive[float](
    "client_body_timeout", _ALL, values.msec, args="1", default=60.0, default_text="60s",
    doc="The longest pause between two reads of a request body; after it the request ends with 408.",
    example="client_body_timeout 10s;",
)
CLIENT_MAX_BODY_SIZE: Final = Directive[int](
    "client_max_body_size", _ALL, values.offset, args="1", default=1048576, default_text="1m",
    doc="The largest request body; a larger one is answered 413. 0 switches the check off.",
    example="client_max_body_size 20m;",
)
CLIENT_BODY_BUFFER_SIZE: Final = Directive[int](
    "client_body_buffer_size", _ALL, values.size, args="1", default=16384, default_text="16k",
    doc="How much of a request body is held in memory; the rest goes to a file under `client_body_temp_path`.",
    example="client_body_buffer_size 128k;",
)
CLIENT_BODY_IN_FILE_ONLY: Final = Directive[int](
    "client_body_in_file_only", _ALL, values.choice({"off": 0, "clean": 1, "on": BODY_FILES_KEPT}), args="1", default=0,
    default_text="off",
    syntax="on | clean | off",
    doc="Has every request body that is read whole written to a file, whatever its size, so that the application can be told its "
    "name (`$request_body_file`). With `on` the file stays when the request is over, with `clean` it goes. What did not come whole "
    "is removed.",
    example="client_body_in_file_only clean;",
)
CLIENT_BODY_IN_SINGLE_BUFFER: Final = Directive[bool](
    "client_body_in_single_buffer", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether nginx holds a request body in one piece. Portico always does what it stands for: `$request_body` is whole wherever "
    "the body is in memory. Checked, then of no effect.",
    example="client_body_in_single_buffer on;",
)
CLIENT_BODY_TEMP_PATH: Final = Directive[list[str]](
    "client_body_temp_path", _ALL, values.temp_path, args="1-4", default=["client_body_temp"],
    default_text="client_body_temp",
    doc="The directory for request bodies that do not fit into memory; up to three numbers give the levels of "
    "subdirectories. Files are unlinked as soon as they are open, unless the configuration wants their names; levels are accepted "
    "and not used.",
    example="client_body_temp_path /tmp/portico_bodies;",
)
KEEPALIVE_TIMEOUT: Final = Directive[tuple[float, int]](
    "keepalive_timeout", _ALL, _keepalive_timeout, args="1-2", default=(75.0, 0), default_text="75s",
    syntax="TIMEOUT [HEADER_TIMEOUT]",
    doc="How long an idle client connection stays open; 0 closes it after each answer. The second value is told to the client "
    "in a `Keep-Alive` field.",
    example="keepalive_timeout 65s 60s;",
)
KEEPALIVE_MIN_TIMEOUT: Final = Directive[float](
    "keepalive_min_timeout", _ALL, values.msec, args="1", default=0.0, default_text="0",
    doc="For this long after a response its connection is not closed to make room for others, and not at a graceful shutdown: a "
    "client that is about to send its next request does not lose it.",
    example="keepalive_min_timeout 1s;",
)
KEEPALIVE_REQUESTS: Final = Directive[int](
    "keepalive_requests", _ALL, values.number, args="1", default=1000, default_text="1000",
    doc="After this many requests a client connection is closed.",
    example="keepalive_requests 10000;",
)
KEEPALIVE_TIME: Final = Directive[float](
    "keepalive_time", _ALL, values.msec, args="1", default=3600.0, default_text="1h",
    doc="A connection older than this is closed after its next answer.",
    example="keepalive_time 10m;",
)
KEEPALIVE_DISABLE: Final = Directive[int](
    "keepalive_disable", _ALL, values.bits(_BROWSERS), args="1-2", joins=True, default=_BROWSERS["msie6"], default_text="msie6",
    syntax="none | BROWSER ...",
    doc="Browsers that get no keepalive connection: `none`, `msie6` (after a POST), `safari`.",
    example="keepalive_disable none;",
)
SEND_TIMEOUT: Final = Directive[float](
    "send_timeout", _ALL, values.msec, args="1", default=60.0, default_text="60s",
    doc="The longest pause between two successful writes of an answer; after it the connection is closed.",
    example="send_timeout 30s;",
)
LINGERING_CLOSE: Final = Directive[int](
    "lingering_close", _ALL, values.choice({"off": OFF, "on": ON, "always": ALWAYS}), args="1", default=ON,
    default_text="on",
    syntax="off | on | always",
    doc="Whether to read on for a while before closing a connection whose client may still be sending, so that the answer is "
    "not lost to a reset.",
    example="lingering_close always;",
)
LINGERING_TIME: Final = Directive[float](
    "lingering_time", _ALL, values.msec, args="1", default=30.0, default_text="30s",
    doc="How long a lingering close reads at the most.", example="lingering_time 10s;",
)
LINGERING_TIMEOUT: Final = Directive[float](
    "lingering_timeout", _ALL, values.msec, args="1", default=5.0, default_text="5s",
    doc="How long a lingering close waits for more.", example="lingering_timeout 2s;",
)
RESET_TIMEDOUT_CONNECTION: Final = Directive[bool](
    "reset_timedout_connection", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Close timed out connections, and those closed with `return 444`, by RST, which frees their memory at once.",
    example="reset_timedout_connection on;",
)
SERVER_TOKENS: Final = Directive[Template](
    "server_tokens", _ALL, template, args="1", default=Template("on", Where("", 0, 0)), default_text="on",
    syntax="on | off | build | TEXT",
    doc="What the `Server` field and error pages say: `on` name and version, `off` the name alone, `build` as `on`; any other "
    "text, with variables, is used as it is (an empty one leaves the field out).",
    example="server_tokens off;",
)
TCP_NODELAY: Final = Directive[bool](
    "tcp_nodelay", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Send small packets at once (TCP_NODELAY).", example="tcp_nodelay on;",
)
TCP_NOPUSH: Final = Directive[bool](
    "tcp_nopush", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Send the head and the start of a file in one packet. Portico always does; checked, then of no effect.",
    example="tcp_nopush on;",
)
SENDFILE: Final = Directive[bool](
    "sendfile", _ALL | IF_LOCATION, values.flag, args="1", default=False, default_text="off",
    doc="Send files with sendfile(2), without copying them through the process.", example="sendfile on;",
)
SENDFILE_MAX_CHUNK: Final = Directive[int](
    "sendfile_max_chunk", _ALL, values.size, args="1", default=2097152, default_text="2m",
    doc="The most that one sendfile(2) call sends, so that a fast client cannot hold the worker.",
    example="sendfile_max_chunk 512k;",
)
IGNORE_INVALID_HEADERS: Final = Directive[bool](
    "ignore_invalid_headers", _SERVER, values.flag, args="1", default=True, default_text="on",
    doc="Drop header fields whose names hold characters other than letters, digits, hyphens (and underscores, see "
    "`underscores_in_headers`); off passes them on.",
    example="ignore_invalid_headers off;",
)
UNDERSCORES_IN_HEADERS: Final = Directive[bool](
    "underscores_in_headers", _SERVER, values.flag, args="1", default=False, default_text="off",
    doc="Accept underscores in the names of header fields; off treats such fields as invalid.",
    example="underscores_in_headers on;",
)
MERGE_SLASHES: Final = Directive[bool](
    "merge_slashes", _SERVER, values.flag, args="1", default=True, default_text="on",
    doc="Take `//` in the path for `/` before locations are chosen.", example="merge_slashes off;",
)
ABSOLUTE_REDIRECT: Final = Directive[bool](
    "absolute_redirect", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Redirects made by the server name scheme, host and port; off sends the path alone.",
    example="absolute_redirect off;",
)
SERVER_NAME_IN_REDIRECT: Final = Directive[bool](
    "server_name_in_redirect", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Absolute redirects use the first `server_name` instead of the host that the client asked for.",
    example="server_name_in_redirect on;",
)
PORT_IN_REDIRECT: Final = Directive[bool](
    "port_in_redirect", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Absolute redirects name the port when it is not the scheme's own.", example="port_in_redirect off;",
)
DEFAULT_TYPE: Final = Directive[str](
    "default_type", _ALL, values.text, args="1", default="text/plain", default_text="text/plain",
    syntax="MEDIA_TYPE",
    doc="The media type of an answer whose file extension is not in `types`.",
    example="default_type application/octet-stream;",
)
TYPES: Final = Directive[dict[bytes, bytes]](
    "types", _ALL, _types, args="0", joins=True, default={b"html": b"text/html", b"gif": b"image/gif", b"jpg": b"image/jpeg"},
    default_text="text/html html; image/gif gif; image/jpeg jpg", raw_block=True,
    syntax="{ MEDIA_TYPE EXTENSION ...; ... }",
    doc="Which file extensions have which media type.", example="types { text/html html htm; text/css css; }",
)
LOG_NOT_FOUND: Final = Directive[bool](
    "log_not_found", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Whether files that do not exist are worth a line in the error log.", example="log_not_found off;",
)
LOG_SUBREQUEST: Final = Directive[bool](
    "log_subrequest", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether subrequests (`auth_request`, `mirror`, `add_before_body`, `add_after_body`) are written to the access log too.",
    example="log_subrequest on;",
)
RECURSIVE_ERROR_PAGES: Final = Directive[bool](
    "recursive_error_pages", _ALL, values.flag, args="1", default=False, default_text="off",
    doc="Whether an error while an `error_page` is being made leads to another one.", example="recursive_error_pages on;",
)
LIMIT_RATE: Final = Directive[Template | None](
    "limit_rate", _ALL | IF_LOCATION, size_template, args="1", default=None, default_text="0",
    syntax="RATE",
    doc="Bytes a second that one answer is sent with; 0 is no limit. May hold variables.", example="limit_rate 100k;",
)
LIMIT_RATE_AFTER: Final = Directive[Template | None](
    "limit_rate_after", _ALL | IF_LOCATION, size_template, args="1", default=None, default_text="0",
    syntax="SIZE",
    doc="How much of an answer is sent before `limit_rate` counts.", example="limit_rate_after 1m;",
)
ETAG: Final = Directive[bool](
    "etag", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Give files an `ETag` made of time and size.", example="etag off;",
)
IF_MODIFIED_SINCE: Final = Directive[int](
    "if_modified_since", _ALL, values.choice({"off": 0, "exact": 1, "before": 2}), args="1", default=1,
    default_text="exact",
    syntax="off | exact | before",
    doc="How `If-Modified-Since` is compared: `exact` time, a time not `before` the file's, or not at all (`off`).",
    example="if_modified_since before;",
)
MAX_RANGES: Final = Directive[int](
    "max_ranges", _ALL, values.number, args="1", default=-1, default_text="unlimited",
    doc="How many ranges one request may ask for; more are answered with the whole, 0 switches ranges off.",
    example="max_ranges 5;",
)
CHUNKED_TRANSFER_ENCODING: Final = Directive[bool](
    "chunked_transfer_encoding", _ALL, values.flag, args="1", default=True, default_text="on",
    doc="Answers of unknown length are sent chunked; off sends them until the connection closes.",
    example="chunked_transfer_encoding off;",
)

VARIABLES_HASH_MAX_SIZE: Final = Directive[int](
    "variables_hash_max_size", HTTP, values.number, args="1", default=1024, default_text="1024",
    doc="Sizes nginx's table of variables. Portico's tables grow by themselves: checked, then of no effect.",
    example="variables_hash_max_size 2048;",
)
VARIABLES_HASH_BUCKET_SIZE: Final = Directive[int](
    "variables_hash_bucket_size", HTTP, values.number, args="1", default=64, default_text="64",
    doc="See `variables_hash_max_size`.", example="variables_hash_bucket_size 128;",
)
SERVER_NAMES_HASH_MAX_SIZE: Final = Directive[int](
    "server_names_hash_max_size", HTTP, values.number, args="1", default=512, default_text="512",
    doc="Sizes nginx's table of server names. Portico's tables grow by themselves: checked, then of no effect.",
    example="server_names_hash_max_size 1024;",
)
SERVER_NAMES_HASH_BUCKET_SIZE: Final = Directive[int](
    "server_names_hash_bucket_size", HTTP, values.number, args="1", default=64, default_text="64",
    doc="See `server_names_hash_max_size`.", example="server_names_hash_bucket_size 128;",
)
TYPES_HASH_MAX_SIZE: Final = Directive[int](
    "types_hash_max_size", _ALL, values.number, args="1", default=1024, default_text="1024",
    doc="Sizes nginx's table of media types. Portico's tables grow by themselves: checked, then of no effect.",
    example="types_hash_max_size 2048;",
)
TYPES_HASH_BUCKET_SIZE: Final = Directive[int](
    "types_hash_bucket_size", _ALL, values.number, args="1", default=64, default_text="64",
    doc="See `types_hash_max_size`.", example="types_hash_bucket_size 128;",
)


def _server(tokens: Template) -> bytes | None:
    if tokens.text == "off":
        return b"portico"
    if tokens.text in ("on", "build"):
        return b"portico/" + __version__.encode()
    return tokens.constant


@final
class Http2Settings:
    """What a server wants of HTTP/2. That of the default server of a listening socket holds for its connections."""

    def __init__(self, enabled: bool, most_streams: int, preread: int) -> None:
        self.enabled = enabled  # `http2 on`; a socket may have it for all its servers (`listen … http2`)
        self.most_streams = most_streams  # at a time
        self.preread = preread  # bytes of a body that a client may send before anybody reads it


@final
class CoreSettings:
    """The core directives as they hold in one location (or on server level). Times in seconds, sizes in bytes."""

    def __init__(self, scope: Scope, error_log: ErrorLog) -> None:
        self.error_log = error_log
        number, size = scope.get(LARGE_CLIENT_HEADER_BUFFERS)
        self.large_buffers: int = number
        self.large_buffer_size: int = size
        self.max_headers: int = scope.get(MAX_HEADERS)
        self.client_header_timeout: float = scope.get(CLIENT_HEADER_TIMEOUT)
        self.client_body_timeout: float = scope.get(CLIENT_BODY_TIMEOUT)
        self.client_max_body_size: int = scope.get(CLIENT_MAX_BODY_SIZE)
        self.client_body_buffer_size: int = scope.get(CLIENT_BODY_BUFFER_SIZE)
        self.client_body_in_file_only: int = scope.get(CLIENT_BODY_IN_FILE_ONLY)
        self.client_body_files_named: bool = self.client_body_in_file_only != 0 or scope.load.names("request_body_file")
        self.client_body_temp_path: str = scope.load.full_path(scope.get(CLIENT_BODY_TEMP_PATH)[0])
        timeout, announced = scope.get(KEEPALIVE_TIMEOUT)
        self.keepalive_timeout: float = timeout
        self.keepalive_announced: int = announced  # seconds, 0: none
        self.keepalive_min_timeout: float = scope.get(KEEPALIVE_MIN_TIMEOUT)
        self.keepalive_requests: int = scope.get(KEEPALIVE_REQUESTS)
        self.keepalive_time: float = scope.get(KEEPALIVE_TIME)
        disabled = scope.get(KEEPALIVE_DISABLE)
        self.keepalive_disable_msie6: bool = disabled & _BROWSERS["msie6"] != 0
        self.keepalive_disable_safari: bool = disabled & _BROWSERS["safari"] != 0
        self.send_timeout: float = scope.get(SEND_TIMEOUT)
        self.lingering_close: int = scope.get(LINGERING_CLOSE)
        self.lingering_time: float = scope.get(LINGERING_TIME)
        self.lingering_timeout: float = scope.get(LINGERING_TIMEOUT)
        self.reset_timedout: bool = scope.get(RESET_TIMEDOUT_CONNECTION)
        self.server_tokens: Template = scope.get(SERVER_TOKENS)
        self.server_name_sent: bytes | None = _server(self.server_tokens)  # in the field Server, b"": none; None: it holds variables
        self.tcp_nodelay: bool = scope.get(TCP_NODELAY)
        self.sendfile: bool = scope.get(SENDFILE)
        self.sendfile_max_chunk: int = scope.get(SENDFILE_MAX_CHUNK) or 0x7FFFF000
        self.merge_slashes: bool = scope.get(MERGE_SLASHES)
        self.absolute_redirect: bool = scope.get(ABSOLUTE_REDIRECT)
        self.server_name_in_redirect: bool = scope.get(SERVER_NAME_IN_REDIRECT)
        self.port_in_redirect: bool = scope.get(PORT_IN_REDIRECT)
        self.default_type: bytes = values.octets(scope.get(DEFAULT_TYPE))
        self.types: dict[bytes, bytes] = scope.get(TYPES)
        self.log_not_found: bool = scope.get(LOG_NOT_FOUND)
        self.log_subrequest: bool = scope.get(LOG_SUBREQUEST)
        self.recursive_error_pages: bool = scope.get(RECURSIVE_ERROR_PAGES)
        self.limit_rate: Template | None = scope.get(LIMIT_RATE)
        self.limit_rate_after: Template | None = scope.get(LIMIT_RATE_AFTER)
        self.etag: bool = scope.get(ETAG)
        self.if_modified_since: int = scope.get(IF_MODIFIED_SINCE)
        self.max_ranges: int = scope.get(MAX_RANGES)
        self.chunked: bool = scope.get(CHUNKED_TRANSFER_ENCODING)
        self.ignore_invalid_headers: bool = scope.get(IGNORE_INVALID_HEADERS)
        self.underscores_in_headers: bool = scope.get(UNDERSCORES_IN_HEADERS)

    def content_type_of(self, uri: bytes) -> bytes:
        """Return the media type for the extension of `uri`."""
        dot = uri.rfind(b".")
        if dot < 0:
            return self.default_type
        extension = uri[dot + 1 :]
        found = self.types.get(extension)
        if found is None:
            found = self.types.get(extension.lower())
        # A dot in front of the last slash makes no extension; what stands behind one has a slash in it, and is in no table.
        return self.default_type if found is None or extension.find(b"/") >= 0 else found
