"""The cache's settings that every `*_pass` shares: one family of directives for each prefix (`proxy_cache…`)."""

from __future__ import annotations

from typing import Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.passing.failure import CONDITIONS, OFF
from portico.variables.template import Template, template, templates

_ALL: Final = HTTP | SERVER | LOCATION
UPDATING: Final = 1 << 20  # of use_stale
_STALE: Final[dict[str, int]] = {
    **{word: bit for word, bit in CONDITIONS.items() if word != "non_idempotent"},
    "updating": UPDATING,
}
_METHODS: Final[dict[str, int]] = {"GET": 1, "HEAD": 2, "POST": 4}
BY_METHOD: Final[dict[bytes, int]] = {b"GET": 1, b"HEAD": 2, b"POST": 4}
_USUAL: Final = (200, 301, 302)
ANY: Final = 0


@final
class ValidTime:
    """One `proxy_cache_valid`: seconds for some statuses; `ANY` (0) stands for every other one."""

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
class CacheDirectives:
    """The family under one prefix."""

    def __init__(self, prefix: str) -> None:
        p = prefix
        self.zone = Directive[Template | None](
            f"{p}_cache", _ALL, _zone, args="1", default=None, default_text="off", syntax="ZONE | off",
            doc=f"Keeps answers in the cache whose `keys_zone` is ZONE (a text with variables; see `{p}_cache_path`). How long an "
            f"answer is good says itself (`X-Accel-Expires`, then `Cache-Control`, then `Expires`), else `{p}_cache_valid`. "
            "Answers with `Set-Cookie`, `Vary: *`, or `Cache-Control: no-cache`, `no-store`, `private` are not kept. The upstream is "
            "not told of the client's `If-…` and `Range`: conditions and ranges are answered from the whole.",
            example=f"{p}_cache_path /tmp/portico_cache keys_zone=pages:1m; server {{ {p}_cache pages; }}",
        )
        self.key = Directive[Template | None](
            f"{p}_cache_key", _ALL, template, args="1", default=None, default_text="the URL asked of the upstream", syntax="TEXT",
            doc="What tells answers apart.", example=f'{p}_cache_key "$host$request_uri";',
        )
        self.valid = Directive[ValidTime | None](
            f"{p}_cache_valid", _ALL, ValidTime, args="1+", default=None, many=True, syntax="[CODE ...] TIME",
            doc="How long answers are good that do not say so themselves, by status; `any` stands for all others. Without a code, "
            "200, 301 and 302 are meant.",
            example=f"{p}_cache_valid 200 302 10m;",
        )
        self.methods = Directive[int](
            f"{p}_cache_methods", _ALL, values.bits(_METHODS), args="1+", default=3, default_text="GET HEAD",
            syntax="GET | HEAD | POST ...",
            doc="The methods whose answers are kept; GET and HEAD always are.", example=f"{p}_cache_methods GET HEAD POST;",
        )
        self.min_uses = Directive[int](
            f"{p}_cache_min_uses", _ALL, values.number, args="1", default=1, default_text="1", syntax="NUMBER",
            doc="After how many requests for it an answer is kept.", example=f"{p}_cache_min_uses 2;",
        )
        self.bypass = Directive[list[Template]](
            f"{p}_cache_bypass", _ALL, templates, args="1+", default=list[Template](), syntax="TEXT ...",
            doc="The upstream is asked, not the cache, when any of the texts is neither empty nor `0`; its answer may be kept.",
            example=f"{p}_cache_bypass $http_pragma $cookie_nocache;",
        )
        self.no_cache = Directive[list[Template]](
            f"{p}_no_cache", _ALL, templates, args="1+", default=list[Template](), syntax="TEXT ...",
            doc="An answer is not kept when any of the texts is neither empty nor `0`.",
            example=f"{p}_no_cache $http_authorization;",
        )
        self.use_stale = Directive[int](
            f"{p}_cache_use_stale", _ALL, values.bits(_STALE), args="1+", default=0, default_text="off",
            syntax="error | timeout | invalid_header | updating | http_500 | http_502 | http_503 | http_504 | http_403 | http_404 "
            "| http_429 | off ...",
            doc="When an answer is served that is good no longer: the upstream failed in one of these ways, or (`updating`) somebody "
            "fetches it anew at the moment.",
            example=f"{p}_cache_use_stale error timeout updating http_500;",
        )
        self.background_update = Directive[bool](
            f"{p}_cache_background_update", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off",
            doc="Fetch anew in the background while the stale answer goes out; that it may has to be allowed by "
            f"`{p}_cache_use_stale updating` or the answer's `stale-while-revalidate`.",
            example=f"{p}_cache_background_update on; {p}_cache_use_stale updating;",
        )
        self.revalidate = Directive[bool](
            f"{p}_cache_revalidate", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off",
            doc="Ask for what is good no longer with `If-Modified-Since` and `If-None-Match`; a 304 makes it good again.",
            example=f"{p}_cache_revalidate on;",
        )
        self.lock = Directive[bool](
            f"{p}_cache_lock", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off",
            doc="Of several requests for what is not kept yet only one at a time, of all workers, goes to the upstream; the others "
            "wait for its answer.",
            example=f"{p}_cache_lock on;",
        )
        self.lock_timeout = Directive[float](
            f"{p}_cache_lock_timeout", _ALL, values.msec, args="1", default=5.0, default_text="5s", syntax="TIME",
            doc="How long a request waits for the one that fetches; then it is passed on itself, and its answer not kept.",
            example=f"{p}_cache_lock_timeout 10s;",
        )
        self.lock_age = Directive[float](
            f"{p}_cache_lock_age", _ALL, values.msec, args="1", default=5.0, default_text="5s", syntax="TIME",
            doc="After how long another request may fetch although the first one is not done.",
            example=f"{p}_cache_lock_age 10s;",
        )
        self.convert_head = Directive[bool](
            f"{p}_cache_convert_head", _ALL, values.flag, args="1", default=True, default_text="on", syntax="on | off",
            doc="Ask the upstream with GET for a HEAD, so that the answer can be kept for both. With `off` the key should hold "
            "`$request_method`.",
            example=f"{p}_cache_convert_head off;",
        )
        self.max_range_offset = Directive[int](
            f"{p}_cache_max_range_offset", _ALL, values.offset, args="1", default=-1, default_text="no limit", syntax="NUMBER",
            doc="A range that begins at this byte or behind it, or that counts from the end, is asked of the upstream, and its "
            "answer not kept; with 0 no range is.",
            example=f"{p}_cache_max_range_offset 10m;",
        )
        self.rfc = Directive[bool](
            f"{p}_cache_rfc", _ALL, values.flag, args="1", default=False, default_text="off", syntax="on | off", beyond=True,
            doc="RFC 9111 to the letter, wherever nginx's habit is another one (the guide to caching lists where). Also "
            "`CDN-Cache-Control` (RFC 9213), and in answers `Age` and `Cache-Status` (RFC 9211).",
            example=f"{p}_cache_rfc on;",
        )
        self.memory = Directive[int](
            f"{p}_cache_memory", _ALL, values.size, args="1", default=0, default_text="0", syntax="SIZE", beyond=True,
            doc="How many bytes of memory each worker has for the answers used last, ready to be sent; a single one may take up a "
            "quarter, and be 1 MB long. Answers of up to 8 KB have 16 MB in any case.",
            example=f"{p}_cache_memory 64m;",
        )

    def all(self) -> tuple[Directive[object], ...]:
        """Every directive of the family."""
        return (
            self.zone, self.key, self.valid, self.methods, self.min_uses, self.bypass, self.no_cache, self.use_stale,
            self.background_update, self.revalidate, self.lock, self.lock_timeout, self.lock_age, self.convert_head,
            self.max_range_offset, self.rfc, self.memory,
        )  # fmt: skip


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
        self.convert_head: bool = scope.get(d.convert_head)
        self.max_range_offset: int = scope.get(d.max_range_offset)
        self.memory: int = scope.get(d.memory)

    def valid_for(self, status: int) -> int:
        """Seconds for which an answer of this status is good, when it does not say so itself; 0: not at all."""
        found = self.valid.get(status)
        return self.valid.get(ANY, 0) if found is None else found

