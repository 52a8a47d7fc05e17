"""Directives with which nginx's memory, disks and sockets are tuned, and which have nothing to tune in Portico.

Real configurations are full of them. Each is checked as nginx checks it, so that a mistake is told, and has no effect, as its page
says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import EVENTS, HTTP, LOCATION, MAIN, SERVER, Directive
from portico.config.files import read_file
from portico.config.reader import Statement
from portico.http.feature import Feature, LocationBuild
from portico.net.networks import network
from portico.net.resolver import ResolveError, resolve_blocking

_ALL: Final = HTTP | SERVER | LOCATION
_LEAST_POOL: Final = 112  # bytes (nginx: NGX_MIN_POOL_SIZE on 64 bits), in steps of NGX_POOL_ALIGNMENT
_POOL_STEP: Final = 16
_STATE_BUFFER: Final = 16  # bytes (nginx: NGX_HTTP_V2_STATE_BUFFER_SIZE)


def _tunes(
    name: str,
    contexts: int,
    parse: Callable[[Statement], object],
    default: str,
    doc: str,
    example: str,
    args: str = "1",
    syntax: str = "",
    many: bool = False,
) -> Directive[object]:
    return Directive[object](
        name, contexts, parse, args=args, default=None, default_text=default, many=many, syntax=syntax,
        doc=f"{doc} Checked, then of no effect.",
        example=f"events {{\n    {example}\n}}" if contexts == EVENTS else example,
    )  # fmt: skip


def _tunes_http2(
    name: str, parse: Callable[[Statement], object], default: str, value: str, syntax: str = "SIZE"
) -> Directive[object]:
    contexts = HTTP if name == "http2_recv_buffer_size" else HTTP | SERVER
    doc = "Memory of nginx's HTTP/2."
    return _tunes(name, contexts, parse, default, doc, f"{name} {value};", syntax=syntax)


def _tunes_http3(
    name: str, parse: Callable[[Statement], object], default: str, value: str, syntax: str, contexts: int = HTTP | SERVER
) -> Directive[object]:
    doc = "Tunes HTTP/3, which this version does not speak; nginx does not either without `listen … quic`."
    return _tunes(name, contexts, parse, default, doc, f"{name} {value};", syntax=syntax)


def _temp_path(protocol: str) -> Directive[object]:
    """Return the directive for the temporary files of a protocol that Portico does not speak to upstreams."""
    name = f"{protocol}_temp_path"
    doc = f"Where nginx puts the responses of `{protocol}_pass`, which this version does not have."
    example = f"{name} /tmp/{protocol} 1 2;"
    return _tunes(name, _ALL, values.temp_path, f"{protocol}_temp", doc, example, "1-4", "DIRECTORY [LEVEL ...]")


def _engine(statement: Statement) -> str:
    statement.warn('"ssl_engine" is not supported, ignored', hint="remove the line: TLS works without")
    return statement.args[0].text


def _host_key(statement: Statement) -> str:
    """Return the path of a file that can be read and is not empty."""
    path = values.conf_path(statement)
    try:
        empty = not read_file(path)
    except OSError as error:
        raise statement.fail(f'open() "{path}" failed ({error.errno}: {error.strerror})', statement.args[0]) from None
    if empty:
        raise statement.fail(f'"{path}" zero key size', statement.args[0])
    return path


def _obsolete(name: str, instead: str = "") -> Directive[object]:
    """Return a directive that nginx takes for the sake of old configurations, with a warning."""

    def parse(statement: Statement) -> None:
        todo = f'use the "{instead}" directive instead' if instead else "ignored"
        statement.warn(f'the "{name}" directive is obsolete, {todo}')

    contexts = _ALL if name.startswith("http2_push") else HTTP | SERVER
    doc = f"Obsolete in nginx, too{f': use `{instead}`' if instead else ''}."
    return _tunes(name, contexts, parse, "", doc, f"{name} 10;", syntax="NUMBER", many=True)


def _pool_size(statement: Statement) -> int:
    size = values.size(statement)
    if size < _LEAST_POOL:
        raise statement.fail(f"the pool size must be no less than {_LEAST_POOL}", statement.args[0])
    if size % _POOL_STEP:
        raise statement.fail(f"the pool size must be a multiple of {_POOL_STEP}", statement.args[0])
    return size


def _recv_buffer(statement: Statement) -> int:
    size = values.size(statement)
    if size <= _STATE_BUFFER:
        raise values.invalid(statement, "value is too small")
    return size


def _index_size(statement: Statement) -> int:
    number = values.number(statement)
    if number == 0 or number & (number - 1):
        raise values.invalid(statement, "must be a power of two")
    return number


def _power_of_two(largest: int, told: str) -> Callable[[Statement], int]:
    """Return a parser of 512 bytes, 1k, 2k and so on, up to the largest."""

    def parse(statement: Statement) -> int:
        size = values.size(statement)
        if size < 512 or size > largest or size & (size - 1):
            raise values.invalid(statement, f"must be {told}")
        return size

    return parse


def _aio(statement: Statement) -> str:
    """Return the name of a pool of threads, or "" where none is named."""
    text = statement.args[0].text
    if text in ("on", "off", "threads"):
        return ""
    if not text.startswith("threads="):
        raise values.invalid(statement)
    return "" if "$" in text else text.removeprefix("threads=")


def _thread_pool(statement: Statement) -> str:
    """Return the pool's name."""
    threads = 0
    for argument in statement.args[1:]:
        name, _, text = argument.text.partition("=")
        if name in ("threads", "max_queue"):
            number = values.number_of(text)
            if number is None or (number == 0 and name == "threads"):
                raise statement.fail(f'invalid {name} value "{argument.text}"', argument)
            threads = number if name == "threads" else threads
    if threads == 0:
        raise statement.fail('"thread_pool" must have "threads" parameter')
    name = statement.args[0].text
    if f"thread_pool {name}" in statement.load.said:
        raise statement.fail(f'duplicate thread pool "{name}"', statement.args[0])
    statement.load.said.add(f"thread_pool {name}")
    return name


def _size_or_off(statement: Statement) -> int:
    return 0 if statement.args[0].text == "off" else values.offset(statement)


def _unsupported(statement: Statement) -> None:
    values.size(statement)
    statement.warn(f'"{statement.name}" is not supported, ignored')


def _client(statement: Statement) -> None:
    text = statement.args[0].text
    if text == "unix:" or network(text) is not None:
        return
    try:
        resolve_blocking(text, 0)
    except ResolveError:
        raise statement.fail(f'host not found in debug_connection "{text}"', statement.args[0]) from None


THREAD_POOL: Final = _tunes(
    "thread_pool", MAIN, _thread_pool, "default threads=32 max_queue=65536", "Names a pool of threads for nginx's `aio threads`.",
    "thread_pool disk threads=16;", "2-3", "NAME threads=NUMBER [max_queue=NUMBER]", many=True,
)
AIO: Final = _tunes(
    "aio", _ALL, _aio, "off", "How nginx reads files; Portico sends them with sendfile.",
    "aio threads;", syntax="on | off | threads[=POOL]",
)

DIRECTIVES: Final[tuple[Directive[object], ...]] = (
    THREAD_POOL,
    AIO,
    _tunes("pcre_jit", MAIN, values.flag, "off", "Whether nginx compiles regular expressions to machine code.", "pcre_jit on;"),
    _tunes(
        "debug_points", MAIN, values.choice({"stop": 1, "abort": 2}), "", "What nginx does when it finds itself in a wrong state.",
        "debug_points abort;", syntax="stop | abort",
    ),
    _tunes(
        "ssl_engine", MAIN, _engine, "", "The OpenSSL engine by which nginx uses hardware for TLS; OpenSSL 3 has deprecated engines.",
        "ssl_engine rdrand;", syntax="DEVICE",
    ),
    _tunes(
        "ssl_object_cache_inheritable", MAIN, values.flag, "on", "Whether nginx takes certificates over into a new configuration.",
        "ssl_object_cache_inheritable off;",
    ),
    _tunes(
        "worker_aio_requests", EVENTS, values.number, "32",
        "How many reads of files nginx may have under way.", "worker_aio_requests 64;",
    ),
    _tunes(
        "epoll_events", EVENTS, values.number, "512",
        "How many events nginx takes from the kernel at a time.", "epoll_events 1024;",
    ),
    _tunes(
        "debug_connection", EVENTS, _client, "", "Whose connections nginx writes debug messages about.",
        "debug_connection 192.0.2.0/24;", syntax="ADDRESS | CIDR | unix:", many=True,
    ),
    _tunes(
        "connection_pool_size", HTTP | SERVER, _pool_size, "512",
        "Memory that nginx sets aside for a connection.", "connection_pool_size 512;", syntax="SIZE",
    ),
    _tunes(
        "request_pool_size", HTTP | SERVER, _pool_size, "4k",
        "Memory that nginx sets aside for a request.", "request_pool_size 8k;", syntax="SIZE",
    ),
    _tunes(
        "output_buffers", _ALL, values.buffers, "2 32k",
        "Buffers for what nginx reads from files.", "output_buffers 1 64k;", "2",
    ),
    _tunes(
        "postpone_output", _ALL, values.size, "1460", "How much nginx collects before it sends. Portico sends what it has.",
        "postpone_output 0;",
    ),
    _tunes("aio_write", _ALL, values.flag, "off", "Whether nginx writes temporary files in threads.", "aio_write on;"),
    _tunes(
        "directio", _ALL, _size_or_off, "off", "From which size on nginx reads files past the page cache.",
        "directio 4m;", syntax="SIZE | off",
    ),
    _tunes(
        "directio_alignment", _ALL, values.offset, "512",
        "The step in which nginx reads past the page cache.", "directio_alignment 4k;",
    ),
    _tunes("read_ahead", _ALL, values.size, "0", "How far the kernel reads ahead in files for nginx.", "read_ahead 64k;"),
    _tunes(
        "send_lowat", _ALL, _unsupported, "0",
        "How much room makes a socket writable; nginx ignores it on Linux, too.", "send_lowat 4k;", syntax="SIZE",
    ),
    _tunes(
        "proxy_send_lowat", _ALL, _unsupported, "0",
        "The same for upstreams, ignored on Linux by nginx, too.", "proxy_send_lowat 4k;", syntax="SIZE",
    ),
    _tunes(
        "open_file_cache_events", _ALL, values.flag, "off", "Whether nginx is told by the kernel of changed files (BSD only).",
        "open_file_cache_events on;",
    ),
    _tunes(
        "msie_padding", _ALL, values.flag, "on",
        "Whether nginx pads error pages for old Internet Explorers.", "msie_padding off;",
    ),
    _tunes(
        "msie_refresh", _ALL, values.flag, "off",
        "Whether old Internet Explorers get a Refresh in place of a redirect.", "msie_refresh on;",
    ),
    _tunes(
        "gzip_window", _ALL, _power_of_two(32 << 10, "512, 1k, 2k, 4k, 8k, 16k, or 32k"), "",
        "Memory of nginx's compressor.", "gzip_window 16k;", syntax="SIZE",
    ),
    _tunes(
        "gzip_hash", _ALL, _power_of_two(128 << 10, "512, 1k, 2k, 4k, 8k, 16k, 32k, 64k, or 128k"), "",
        "Memory of nginx's compressor.", "gzip_hash 64k;", syntax="SIZE",
    ),
    _tunes("postpone_gzipping", _ALL, values.size, "0", "How much nginx collects before it compresses.", "postpone_gzipping 1k;"),
    _tunes("gzip_no_buffer", _ALL, values.flag, "off", "Whether nginx compresses without a buffer.", "gzip_no_buffer on;"),
    _tunes_http2("http2_recv_buffer_size", _recv_buffer, "256k", "128k"),
    _tunes_http2("http2_pool_size", _pool_size, "4k", "8k"),
    _tunes_http2("http2_streams_index_size", _index_size, "32", "64", "NUMBER"),
    _obsolete("http2_max_concurrent_pushes"),
    _obsolete("http2_max_requests", "keepalive_requests"),
    _obsolete("http2_max_field_size", "large_client_header_buffers"),
    _obsolete("http2_max_header_size", "large_client_header_buffers"),
    _obsolete("http2_recv_timeout", "client_header_timeout"),
    _obsolete("http2_idle_timeout", "keepalive_timeout"),
    _obsolete("http2_push"),
    _obsolete("http2_push_preload"),
    _tunes_http3("http3", values.flag, "on", "on", "on | off"),
    _tunes_http3("http3_hq", values.flag, "off", "on", "on | off"),
    _tunes_http3("http3_max_concurrent_streams", values.number, "128", "64", "NUMBER"),
    _tunes_http3("http3_stream_buffer_size", values.size, "64k", "128k", "SIZE"),
    _tunes_http3("quic_active_connection_id_limit", values.number, "2", "4", "NUMBER"),
    _tunes_http3("quic_bpf", values.flag, "off", "on", "on | off", MAIN),
    _tunes_http3("quic_gso", values.flag, "off", "on", "on | off"),
    _tunes_http3("quic_host_key", _host_key, "", "/etc/ssl/site.key", "FILE"),
    _tunes_http3("quic_retry", values.flag, "off", "on", "on | off"),
    _temp_path("fastcgi"),
    _temp_path("scgi"),
    _temp_path("uwsgi"),
)  # fmt: skip


class TuningFeature(Feature):
    """Portico's own name for what tunes nginx alone."""

    def location(self, build: LocationBuild) -> None:
        setting = build.scope.setting(AIO)
        if setting is None or setting.value in ("", "default"):
            return
        name = setting.value
        if name not in build.scope.all(THREAD_POOL):
            hint = 'declare it in the main block: "thread_pool NAME threads=N;"'
            raise ConfigError(f'unknown thread pool "{name}"', setting.where, hint)


FEATURE: Final = TuningFeature("tuning", DIRECTIVES)
