"""The family of directives about caching, and the settings that one location makes of it."""

from __future__ import annotations

from typing import Final, final

from portico.cache.store import CachePath
from portico.config import values
from portico.config.directive import HTTP, Directive, Scope
from portico.config.reader import Statement
from portico.passing.cached.path import cache_path
from portico.passing.failure import CONDITIONS, OFF
from portico.passing.families import ANYWHERE, Family, Prefix
from portico.variables.template import Template, template, templates

UPDATING: Final = 1 << 20  # of use_stale
_METHODS: Final[dict[str, int]] = {"GET": 1, "HEAD": 2, "POST": 4}
BY_METHOD: Final[dict[bytes, int]] = {b"GET": 1, b"HEAD": 2, b"POST": 4}
_USUAL: Final = (200, 301, 302)
ANY: Final = 0


@final
class ValidTime:
    """One `*_cache_valid`: seconds for some statuses; `ANY` (0) stands for every other one."""

    def __init__(self, statement: Statement) -> None:
        seconds = values.seconds_of(statement.args[-1].text)
        if seconds is None:
            raise statement.fail(f'invalid time value "{statement.args[-1].text}"', statement.args[-1])
        self.seconds = seconds
        self.statuses: list[int] = []
        for argument in statement.args[:-1]:
            status = ANY if argument.text == "any" else values.number_of(argument.text)
            if status is None or (status != ANY and not 100 <= status <= 599):
                raise statement.fail(f'invalid status "{argument.text}"', argument)
            self.statuses.append(status)
        if not self.statuses:
            self.statuses.extend(_USUAL)


def _zone(statement: Statement) -> Template | None:
    return None if statement.args[0].text == "off" else template(statement)


@final
class CacheDirectives(Family):
    """The family under one prefix.

    `key`: how the reference writes the default of `*_cache_key`, "" where there is none.  `conditions`: those of the protocol's
    `*_next_upstream`.  `converts_head`: whether there is a `*_cache_convert_head`.
    """

    def __init__(self, prefix: Prefix, key: str, conditions: dict[str, int] = CONDITIONS, converts_head: bool = False) -> None:
        super().__init__(prefix)
        p, server = prefix.name, prefix.server
        self.has_key = key != ""
        stale = {word: bit for word, bit in conditions.items() if word not in ("non_idempotent", "off")}
        stale["updating"] = UPDATING
        stale["off"] = OFF
        self.path = self.declare(Directive[CachePath | None](
            f"{p}_cache_path", HTTP, cache_path, args="2+", default=None, many=True,
            syntax="PATH [levels=N:N] keys_zone=NAME:SIZE [inactive=TIME] [max_size=SIZE] [min_free=SIZE] [use_temp_path=on|off] "
            "[loader_files=N] [loader_sleep=TIME] [loader_threshold=TIME] [manager_files=N] [manager_sleep=TIME] "
            "[manager_threshold=TIME]",
            doc="A cache in the directory PATH: one file for each response, in subdirectories named after the end of its name, as "
            "`levels` says. `keys_zone` names it and the memory, shared by all workers, of its index; a megabyte holds 8,000 "
            "entries. A response that no request used within `inactive` (10m) is removed. With `max_size` or `min_free`, the least "
            f"recently used are evicted. Files are written in `{p}_temp_path`, or with `use_temp_path=off` in PATH itself, and get "
            "their place when they are whole. Meanwhile they have no name; on a file system that cannot do that, what a killed "
            "worker leaves the next worker that starts removes (with `use_temp_path=off` and no `levels`, and where "
            f"`{p}_temp_path` is on another file system: the next start). At the start the index is made anew from the files, "
            "`loader_files` (100) at a time with a pause of `loader_sleep` (50ms); `manager_files` and `manager_sleep` say the same "
            "of removal. A turn never takes more than 4 ms of a worker, however much the thresholds allow.",
            example=f"{p}_cache_path /tmp/portico_cache levels=1:2 keys_zone=pages:10m max_size=1g inactive=60m use_temp_path=off;",
        ))
        self.zone = self.declare(Directive[Template | None](
            f"{p}_cache", ANYWHERE, _zone, args="1", default=None, default_text="off", syntax="ZONE | off",
            doc=f"Stores responses in the cache whose `keys_zone` is ZONE (a text with variables; see `{p}_cache_path`), and serves "
            "them from there. How long a response is fresh it says itself (`X-Accel-Expires`, then `Cache-Control`, then `Expires`), "
            f"else `{p}_cache_valid`. Responses with `Set-Cookie`, `Vary: *`, or `Cache-Control: no-cache`, `no-store`, `private` "
            f"are not cached. The client's `If-…` and `Range` are not passed on to {server}: Portico applies them to the whole "
            "response.",
            example=f"{p}_cache_path /tmp/portico_cache keys_zone=pages:1m; server {{ {p}_cache pages; }}",
        ))
        self.key = self.declare(Directive[Template | None](
            f"{p}_cache_key", ANYWHERE, template, args="1", default=None, default_text=key, syntax="TEXT",
            doc="The cache key: a cached response serves all requests that have the same one.",
            example=f'{p}_cache_key "$host$request_uri";',
        ))
        self.valid = self.declare(Directive[ValidTime | None](
            f"{p}_cache_valid", ANYWHERE, ValidTime, args="1+", default=None, many=True, syntax="[CODE ...] TIME",
            doc="How long responses are fresh that do not say so themselves, by status; `any` stands for all others. Without a code, "
            "200, 301 and 302 are meant.",
            example=f"{p}_cache_valid 200 302 10m;",
        ))
        self.methods = self.declare(Directive[int](
            f"{p}_cache_methods", ANYWHERE, values.bits(_METHODS), args="1+", joins=True, default=3, default_text="GET HEAD",
            syntax="GET | HEAD | POST ...",
            doc="The methods whose responses are cached; GET and HEAD always are.", example=f"{p}_cache_methods GET HEAD POST;",
        ))
        self.min_uses = self.declare(Directive[int](
            f"{p}_cache_min_uses", ANYWHERE, values.number, args="1", default=1, default_text="1", syntax="NUMBER",
            doc="After how many requests for it a response is cached.", example=f"{p}_cache_min_uses 2;",
        ))
        self.bypass = self.declare(Directive[list[Template]](
            f"{p}_cache_bypass", ANYWHERE, templates, args="1+", joins=True, default=list[Template](), syntax="TEXT ...",
            doc=f"The request goes to {server}, not to the cache, when any of the texts is neither empty nor `0`; the response may "
            "be cached.",
            example=f"{p}_cache_bypass $http_pragma $cookie_nocache;",
        ))
        self.no_cache = self.declare(Directive[list[Template]](
            f"{p}_no_cache", ANYWHERE, templates, args="1+", joins=True, default=list[Template](), syntax="TEXT ...",
            doc="A response is not cached when any of the texts is neither empty nor `0`.",
            example=f"{p}_no_cache $http_authorization;",
        ))
        self.use_stale = self.declare(Directive[int](
            f"{p}_cache_use_stale", ANYWHERE, values.bits(stale), args="1+", joins=True, default=0, default_text="off",
            syntax=" | ".join(stale) + " ...",
            doc="When a stale response is served: the attempts failed in one of these ways, or (`updating`) another request is "
            "fetching a fresh one at the moment.",
            example=f"{p}_cache_use_stale error timeout updating http_500;",
        ))
        self.background_update = self.declare(Directive[bool](
            f"{p}_cache_background_update", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc=f"A fresh response is fetched in the background while the stale one is served, where `{p}_cache_use_stale updating` "
            "or the response's `stale-while-revalidate` allows that.",
            example=f"{p}_cache_background_update on; {p}_cache_use_stale updating;",
        ))
        self.revalidate = self.declare(Directive[bool](
            f"{p}_cache_revalidate", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc="Stale responses are revalidated with `If-Modified-Since` and `If-None-Match`; a 304 makes them fresh again.",
            example=f"{p}_cache_revalidate on;",
        ))
        self.lock = self.declare(Directive[bool](
            f"{p}_cache_lock", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc=f"Of several requests for a response that is not cached yet only one at a time, of all workers, goes to {server}; "
            "the others wait for its response.",
            example=f"{p}_cache_lock on;",
        ))
        self.lock_timeout = self.declare(Directive[float](
            f"{p}_cache_lock_timeout", ANYWHERE, values.msec, args="1", default=5.0, default_text="5s", syntax="TIME",
            doc=f"How long a request waits for the one that fetches; then it goes to {server} itself, and its response is not "
            "cached.",
            example=f"{p}_cache_lock_timeout 10s;",
        ))
        self.lock_age = self.declare(Directive[float](
            f"{p}_cache_lock_age", ANYWHERE, values.msec, args="1", default=5.0, default_text="5s", syntax="TIME",
            doc="After how long another request may fetch although the first one is not done.",
            example=f"{p}_cache_lock_age 10s;",
        ))
        self.max_range_offset = self.declare(Directive[int](
            f"{p}_cache_max_range_offset", ANYWHERE, values.offset, args="1", default=-1, default_text="no limit", syntax="NUMBER",
            doc="A request for a range that begins at this byte or behind it, or that counts from the end, goes to "
            f"{server} with its `Range`, and the response is not cached; with 0 every range does.",
            example=f"{p}_cache_max_range_offset 10m;",
        ))
        self.purge = self.declare(Directive[list[Template]](
            f"{p}_cache_purge", ANYWHERE, templates, args="1+", joins=True, default=list[Template](), syntax="TEXT ...",
            doc="When any of the texts is neither empty nor `0`, the request removes the responses that are cached under its key, "
            "and gets 204; 404 when there were none. A key that ends with `*` stands for all keys that begin so. With the field "
            "`Cache-Tag` (or `Surrogate-Key`) the request removes the responses that came with one of these tags. Say with `allow` "
            "and `deny`, or in the text, who may.",
            example=f"map $request_method $purge {{ default 0; PURGE 1; }} server {{ {p}_cache_purge $purge; }}",
        ))
        self.rfc = self.declare(Directive[bool](
            f"{p}_cache_rfc", ANYWHERE, values.flag, args="1", default=False, default_text="off", beyond=True,
            doc="RFC 9111 to the letter, wherever nginx does otherwise (the guide to caching lists where). Also "
            "`CDN-Cache-Control` (RFC 9213), and in responses `Age` and `Cache-Status` (RFC 9211).",
            example=f"{p}_cache_rfc on;",
        ))
        self.memory = self.declare(Directive[int](
            f"{p}_cache_memory", ANYWHERE, values.size, args="1", default=0, default_text="0", beyond=True,
            doc="How many bytes of memory each worker has for the responses used last, ready to be sent; a single one may take up a "
            "quarter, and be 1 MB long. Responses of up to 8 KB have 16 MB in any case.",
            example=f"{p}_cache_memory 64m;",
        ))
        self.convert_head: Directive[bool] | None = None
        if converts_head:
            self.convert_head = self.declare(Directive[bool](
                f"{p}_cache_convert_head", ANYWHERE, values.flag, args="1", default=True, default_text="on",
                doc=f"A HEAD goes to {server} as a GET, so that the response can be cached for both. With `off` the cache key "
                "should hold `$request_method`.",
                example=f"{p}_cache_convert_head off;",
            ))


@final
class CacheSettings:
    """The settings as they hold in one location. Times in seconds, sizes in bytes."""

    def __init__(self, d: CacheDirectives, scope: Scope) -> None:
        self.zone: Template | None = scope.get(d.zone)
        self.key: Template | None = scope.get(d.key)
        self.valid: dict[int, int] = {}
        for valid in scope.all(d.valid):
            if valid is not None:
                for status in valid.statuses:
                    self.valid.setdefault(status, valid.seconds)
        self.rfc: bool = scope.get(d.rfc)
        self.methods: int = 3 if self.rfc else scope.get(d.methods) | 3  # RFC 9111 section 4: an unsafe one is always passed on
        self.min_uses: int = scope.get(d.min_uses)
        self.bypass: list[Template] = scope.get(d.bypass)
        self.no_cache: list[Template] = scope.get(d.no_cache)
        stale: int = scope.get(d.use_stale)
        self.use_stale: int = 0 if stale & OFF else stale
        self.background_update: bool = scope.get(d.background_update)
        self.revalidate: bool = scope.get(d.revalidate)
        self.lock: bool = scope.get(d.lock)
        self.lock_timeout: float = scope.get(d.lock_timeout)
        self.lock_age: float = scope.get(d.lock_age)
        self.convert_head: bool = d.convert_head is not None and scope.get(d.convert_head)
        self.max_range_offset: int = scope.get(d.max_range_offset)
        self.purge: list[Template] = scope.get(d.purge)
        self.memory: int = scope.get(d.memory)
        if self.zone is not None and self.key is None and not d.has_key:
            scope.load.diagnostics.warn(f'no "{d.key.name}" for "{d.zone.name}"', self.zone.where)

    def valid_for(self, status: int) -> int:
        """Return for how many seconds a response of this status is fresh that does not say so itself; 0: not at all."""
        found = self.valid.get(status)
        return self.valid.get(ANY, 0) if found is None else found
