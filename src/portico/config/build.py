"""Statements -> scopes: every directive is checked against its declaration and parsed.

The checks come in nginx's order (name, context, braces, number of arguments, duplicate, value) and in its
words. Each statement that fails is reported and left out; building goes on.
"""

from collections.abc import Iterable, Sequence
from typing import Final, final

from portico.config.diagnostics import ConfigError
from portico.config.directive import MAIN, Directive, Scope, context_names
from portico.config.load import Load
from portico.config.reader import Statement

_OF_NGINX: Final = (
    "add_trailer", "aio", "allow", "ancient_browser", "auth_basic", "auth_request", "autoindex", "charset",
    "client_body_in_file_only", "client_body_in_single_buffer", "connection_pool_size", "dav", "debug_connection",
    "debug_points", "deny", "directio", "disable_symlinks", "empty_gif", "fastcgi", "flv", "geo", "geoip", "grpc", "gunzip",
    "gzip_static", "gzip", "health_check", "http2", "http2_body_preread_size", "http2_chunk_size", "http2_idle_timeout",
    "http2_max", "http2_push", "http2_recv", "http3", "image_filter", "js", "keyval", "limit_conn", "limit_req", "mail",
    "map", "memcached", "modern_browser", "mp4", "msie_padding", "msie_refresh", "open_file_cache_events", "output_buffers",
    "override_charset", "pcre_jit", "perl", "post_action", "postpone_output", "proxy_bind", "proxy_cache", "proxy_limit_rate",
    "proxy_send_lowat", "proxy_ssl_conf_command", "proxy_store", "quic", "random_index", "read_ahead", "real_ip",
    "request_pool_size", "resolver", "scgi", "secure_link", "send_lowat", "set_real_ip", "slice", "split_clients", "ssi",
    "ssl_conf_command", "ssl_early_data", "ssl_engine", "ssl_ocsp", "ssl_stapling", "status_zone", "sticky", "stream",
    "stub_status", "subrequest_output_buffer_size", "thread_pool", "userid", "userid_flags", "uwsgi", "valid_referers",
    "worker_aio_requests", "xslt",
)  # fmt: skip
"""nginx's directives, or how the names of a family of them begin. Each counts until the first of a family is declared."""

_HABITS: Final = {
    "ssl": 'nginx has dropped it; instead: "listen 443 ssl"',
    "else": 'there is no "else": write a second "if", or a map',
    "//": 'a comment begins with "#"',
    "(": 'a space is missing before "("',
    "}": 'a regular expression with "{" or "}" needs quotes',
}
"""What people write that is no directive, or a part of it, and what to say then."""


def build(
    statements: list[Statement], directives: Sequence[Directive[object]], load: Load, context: int = MAIN
) -> Scope:
    """The tree of blocks; mistakes go to `load.diagnostics`."""
    root = Scope(context, load)
    _Builder(directives, load).fill(root, statements)
    return root


@final
class _Builder:
    def __init__(self, directives: Sequence[Directive[object]], load: Load) -> None:
        self.load = load
        self.by_name: dict[str, list[Directive[object]]] = {}
        for directive in directives:
            self.by_name.setdefault(directive.name, []).append(directive)

    def fill(self, scope: Scope, statements: list[Statement]) -> None:
        """Check and parse the statements of one block."""
        for statement in statements:
            try:
                self._add(scope, statement)
            except ConfigError as error:
                if error.where is None:
                    error = statement.fail(error.message, hint=error.hint)
                self.load.diagnostics.error(error)

    def _add(self, scope: Scope, statement: Statement) -> None:
        directive = self._declared(scope.context, statement)
        _check_shape(directive, statement)
        if directive.block:
            self._open(scope, directive, statement)
            return
        _check_duplicate(scope, directive, statement)
        if statement.complete:  # else its end is missing, which was reported
            scope.add(directive, directive.parse(statement), statement.where)

    def _open(self, scope: Scope, directive: Directive[object], statement: Statement) -> None:
        """A mistake in the arguments of a block does not hide those inside it."""
        child = Scope(directive.block, self.load, scope, statement, directive)
        try:
            _check_duplicate(scope, directive, statement)
            child.value = directive.parse(statement)
            scope.add(directive, child.value, statement.where)
            scope.children.append(child)
        finally:
            self.fill(child, statement.block or [])

    def _declared(self, context: int, statement: Statement) -> Directive[object]:
        known = self.by_name.get(statement.name)
        if known is None:
            hint = self._meant(context, statement)
            raise statement.fail(f'unknown directive "{statement.name}"', hint=hint)
        for directive in known:
            if directive.contexts & context:
                return directive
        contexts = 0
        for directive in known:
            contexts |= directive.contexts
        hint = f"it may stand in: {', '.join(context_names(contexts))}"
        raise statement.fail(f'"{statement.name}" directive is not allowed here', hint=hint)

    def _meant(self, context: int, statement: Statement) -> str:
        """The nearest known name; at equal distance one that may stand here, then the first by alphabet."""
        name = statement.name
        for written_so, hint in _HABITS.items():
            if name == written_so or (written_so in "(}" and written_so in name):
                return hint
        if self._is_missing(name):
            return "nginx has it and Portico does not yet; docs/guide/moving-from-nginx.md says what to do until then"
        best = ""
        lower = name.lower()
        best_rank = (1 + max(1, min(3, len(name) // 3)), False)
        for known in sorted(self.by_name):
            if abs(len(known) - len(name)) > 3:
                continue
            misplaced = not any(d.contexts & context for d in self.by_name[known])
            rank = (distance(lower, known), misplaced)
            if rank < best_rank:
                best, best_rank = known, rank
        return f'did you mean "{best}"?' if best else ""

    def _is_missing(self, name: str) -> bool:
        """Whether it is nginx's, from a module that is not there: then no known name was meant."""
        families = [family for family in _OF_NGINX if _is_of(name, family)]
        return any(not any(_is_of(known, family) for known in self.by_name) for family in families)


def _is_of(name: str, family: str) -> bool:
    return name == family or name.startswith(family + "_")


def _check_shape(directive: Directive[object], statement: Statement) -> None:
    name = statement.name
    if not directive.has_block() and statement.block is not None:
        raise statement.fail(f'directive "{name}" is not terminated by ";"', hint=_unended(statement))
    if directive.has_block() and statement.block is None:
        raise statement.fail(f'directive "{name}" has no opening "{{"')
    if not directive.takes(len(statement.args)):
        forms = directive.syntax.split("\n") if directive.syntax else []
        hint = _unended(statement) or "".join(
            f"{', or: ' if number else 'syntax: '}{written(directive, form)}" for number, form in enumerate(forms)
        )
        raise statement.fail(f'invalid number of arguments in "{name}" directive', hint=hint)


def written(directive: Directive[object], form: str) -> str:
    """A line of a directive's syntax as it stands in a configuration: it may leave out the name and what ends a statement."""
    text = form.strip()
    if not (text == directive.name or text.startswith((directive.name + " ", directive.name + ";"))):
        text = f"{directive.name} {text}".rstrip()
    return text if text.endswith((";", "}")) else text + ";"


def _unended(statement: Statement) -> str:
    """A statement that goes over several lines by mistake has most often lost its ";"."""
    last = statement.where.line
    for argument in statement.args:
        if argument.where.line != last:
            return f'is a ";" missing at the end of line {last}?'
        last = argument.where.line
    return ""


def _check_duplicate(scope: Scope, directive: Directive[object], statement: Statement) -> None:
    if directive.many:
        return
    given = scope.own_settings(directive)
    if given:
        raise statement.fail(
            f'"{statement.name}" directive is duplicate', hint=f"it was given in {given[0].where} already"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """The known word that `name` was probably meant to be; "" when none is near."""
    best = ""
    best_distance = 1 + max(1, min(3, len(name) // 3))
    for word in sorted(known):
        if abs(len(word) - len(name)) < best_distance:
            steps = distance(name, word)
            if steps < best_distance:
                best, best_distance = word, steps
    return best


def distance(one: str, other: str) -> int:
    """How many letters to insert, drop, change or swap with their neighbour to make one word the other."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one):
        row = [i + 1]
        for j, b in enumerate(other):
            cost = min(last[j + 1] + 1, row[j] + 1, last[j] + (a != b))
            if i and j and a == other[j - 1] and one[i - 1] == b:
                cost = min(cost, before[j - 1] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
