"""`userid`: a cookie that tells one client from another. (nginx: ngx_http_userid_filter_module.c.)

The cookie is 16 bytes in base64: the server's address or `userid_service`, the time, the start of the worker with its number, and a
count; what nginx set is recognised, and the other way round. It identifies, it does not authenticate: anybody can make one.
"""

from __future__ import annotations

import binascii
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive
from portico.config.reader import Statement
from portico.errorlog import ERR, NOTICE
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import HeaderFilter
from portico.http.variables.request import cookie_in
from portico.variables.variable import PER_REQUEST, Variable
from portico.worker.hook import WorkerHook

if TYPE_CHECKING:
    from portico.codec.http1_response import ResponseHead
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.worker.runtime import Runtime

OFF: Final = 0
LOG: Final = 1
V1: Final = 2
ON: Final = 3
_ORDER: Final = 52  # after add_header, as in nginx
_ALL: Final = HTTP | SERVER | LOCATION
_MAX_EXPIRES: Final = 2145916555  # 31 Dec 2037 23:55:55 GMT
_FIRST: Final = 0x03030302
_ENCODED: Final = 22  # characters of base64 that carry the 16 bytes
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_MARKS: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=")
_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")

RESET: Final = "uid_reset"  # in Request.values: the variable, as `set` sets it
_GOT: Final = "userid got"  # no variable can have these names
_GIVEN: Final = "userid given"


def _expires(statement: Statement) -> int:
    text = statement.args[0].text
    if text == "max":
        return _MAX_EXPIRES
    if text == "off":
        return 0
    seconds = values.seconds_of(text)
    if seconds is None:
        raise values.invalid(statement)
    return seconds


_SAMESITE: Final = 4
_FLAGS: Final[dict[str, int]] = {
    "off": 64, "secure": 1, "httponly": 2, "samesite=strict": _SAMESITE | 8, "samesite=lax": _SAMESITE | 16,
    "samesite=none": _SAMESITE | 32,
}  # fmt: skip
_join_flags: Final = values.bits(_FLAGS)


def _flags(statement: Statement) -> bytes:
    """Return the attributes, in nginx's order whatever theirs is."""
    found = _join_flags(statement)
    return b"".join([f"; {word}".encode() for word, bits in _FLAGS.items() if word != "off" and found & bits == bits])


def _mark(statement: Statement) -> bytes:
    text = statement.args[0].text
    if text == "off":
        return b""
    if text not in _MARKS:
        raise values.invalid(statement, 'value must be "off" or a single letter, digit or "="')
    return text.encode()


def _text_or_none(statement: Statement) -> bytes:
    text = statement.args[0].text
    return b"" if text == "none" else text.encode("utf-8", "surrogateescape")


def _text(statement: Statement) -> bytes:
    return statement.args[0].text.encode("utf-8", "surrogateescape")


USERID: Final = Directive[int](
    "userid", _ALL, values.choice({"off": OFF, "log": LOG, "v1": V1, "on": ON}), args="1", default=OFF, default_text="off",
    syntax="on | v1 | log | off",
    doc="Gives clients a cookie by which they can be told apart, and reads it. `on` sets cookies of version 2, `v1` of version 1, "
    "`log` sets none. Variables: `$uid_got`, the cookie that the client sent, and `$uid_set`, the one that it is given.",
    example="userid on;",
)
USERID_NAME: Final = Directive[bytes](
    "userid_name", _ALL, _text, args="1", default=b"uid", default_text="uid", syntax="NAME",
    doc="The name of the cookie.",
    example="userid_name visitor;",
)
USERID_DOMAIN: Final = Directive[bytes](
    "userid_domain", _ALL, _text_or_none, args="1", default=b"", default_text="none", syntax="NAME | none",
    doc="The domain that the cookie is for.",
    example="userid_domain example.com;",
)
USERID_PATH: Final = Directive[bytes](
    "userid_path", _ALL, _text, args="1", default=b"/", default_text="/", syntax="PATH",
    doc="The path that the cookie is for.",
    example="userid_path /shop/;",
)
USERID_EXPIRES: Final = Directive[int](
    "userid_expires", _ALL, _expires, args="1", default=0, default_text="off", syntax="TIME | max | off",
    doc="How long the browser keeps the cookie: so long, until the end of 2037, or until it is closed.",
    example="userid_expires 365d;",
)
USERID_FLAGS: Final = Directive[bytes](
    "userid_flags", _ALL, _flags, args="1-3", joins=True, default=b"", default_text="off",
    syntax="off | [secure] [httponly] [samesite=strict | samesite=lax | samesite=none]",
    doc="Attributes of the cookie that keep browsers from sending it without TLS, from showing it to scripts, or from sending it "
    "along with requests of other sites.",
    example="userid_flags secure httponly samesite=lax;",
)
USERID_P3P: Final = Directive[bytes](
    "userid_p3p", _ALL, _text_or_none, args="1", default=b"", default_text="none", syntax="TEXT | none",
    doc="A `P3P` field to send along with the cookie.",
    example="userid_p3p 'policyref=\"/w3c/p3p.xml\"';",
)
USERID_MARK: Final = Directive[bytes](
    "userid_mark", _ALL, _mark, args="1", default=b"", default_text="off", syntax="LETTER | DIGIT | = | off",
    doc="A character that is put where base64 pads the cookie. A client whose cookie lacks it is sent the same one again, with "
    "it: so the other attributes of a cookie can be changed, and the client stays the same.",
    example="userid_mark A;",
)
USERID_SERVICE: Final = Directive[int](
    "userid_service", _ALL, values.number, args="1", default=-1, default_text="the server's address", syntax="NUMBER",
    doc="The first number of the cookies, when several servers give them.",
    example="userid_service 3;",
)


@final
class Sequence(WorkerHook):
    """What makes the cookies of one worker unlike those of all others."""

    def __init__(self) -> None:
        self.start_value = 0
        self.first_version = 1
        self.second_version = _FIRST

    def start(self, runtime: Runtime) -> None:
        microseconds = int(time.time() * 1e6) % 1_000_000
        self.start_value = (microseconds // 20 << 16 | os.getpid()) & 0xFFFFFFFF

    def next_v1(self) -> int:
        """Return the next count of version 1."""
        value = self.first_version
        self.first_version = (value + 0x100) & 0xFFFFFFFF
        return value

    def next_v2(self) -> int:
        """Return the next count of version 2."""
        value = self.second_version
        self.second_version = (value + 0x100) & 0xFFFFFFFF
        if self.second_version < _FIRST:
            self.second_version = _FIRST
        return value


@final
class Userid(HeaderFilter):
    """The cookie of one location."""

    def __init__(self, build: LocationBuild, state: int, sequence: Sequence) -> None:
        scope = build.scope
        self.state = state
        self.sequence = sequence
        self.reset: Variable[Request] | None = build.http.variables.find(RESET)  # as `set` or a `map` gives it
        self.name = scope.get(USERID_NAME)
        self.lower_name = self.name.lower()
        self.service = scope.get(USERID_SERVICE)
        self.expires = scope.get(USERID_EXPIRES)
        self.mark = scope.get(USERID_MARK)
        self.p3p = scope.get(USERID_P3P)
        domain = scope.get(USERID_DOMAIN)
        self.tail: bytes = (b"; domain=" + domain if domain else b"") + b"; path=" + scope.get(USERID_PATH)
        self.tail += scope.get(USERID_FLAGS)

    def changes_full(self) -> bool:
        return self.state > LOG

    def preserves(self, request: Request, head: ResponseHead) -> bool:
        return True

    def appends(self) -> bool:
        return True

    def apply(self, request: Request, response: Response) -> None:
        if self.state <= LOG:
            return
        given = self.given(request)
        if not given:
            return
        if given == self.got(request):
            sent = self._cookie(request)[:_ENCODED] + self.mark + b"="
        else:
            sent = binascii.b2a_base64(given, newline=False)
            if self.mark:
                sent = sent[:_ENCODED] + self.mark + b"="
        response.add(b"Set-Cookie", self.name + b"=" + sent + self._until(request) + self.tail)
        if self.p3p:
            response.add(b"P3P", self.p3p)

    def got(self, request: Request) -> bytes:
        """Return the 16 bytes that the client sent; b"" when it sent none."""
        noted = _noted(request)
        found = noted.get(_GOT)
        if found is None:
            noted[_GOT] = found = self.decode(request, self._cookie(request))
        return found

    def given(self, request: Request) -> bytes:
        """Return the 16 bytes that the client is given; b"" when it keeps what it has (ngx_http_userid_create_uid)."""
        noted = _noted(request)
        found = noted.get(_GIVEN)
        if found is None:
            noted[_GIVEN] = found = self._choose(request, self.got(request))
        return found

    def _choose(self, request: Request, got: bytes) -> bytes:
        if not got:
            return self._new(request)
        reset = None if self.reset is None else self.reset.get(request)
        if reset and reset != b"0":
            if reset == b"log":
                shown = self.shown(got).decode("utf-8", "backslashreplace")
                request.log_error(NOTICE, f'userid cookie "{shown}" was reset')
            return self._new(request)
        if not self.mark or self._cookie(request)[_ENCODED : _ENCODED + 2] == self.mark + b"=":
            return b""
        return got

    def shown(self, number: bytes) -> bytes:
        """Return it as the log shows it: four numbers in the byte order of the machine, as nginx has it."""
        return b"%b=%08X%08X%08X%08X" % (self.name, *struct.unpack("=4I", number))

    def decode(self, request: Request, cookie: bytes) -> bytes:
        """Return the 16 bytes of a cookie; b"" when there is none, or none that is valid. The last four must not be 0."""
        if not cookie:
            return b""
        if len(cookie) < _ENCODED:
            self._complain(request, "too short")
            return b""
        try:
            number = decode(cookie)
        except ValueError:
            self._complain(request, "invalid")
            return b""
        return number if number[12:] != b"\0\0\0\0" else b""

    def _complain(self, request: Request, what: str) -> None:
        line = (request.fields.get(b"cookie") or b"").decode("utf-8", "backslashreplace")
        request.log_error(ERR, f'client sent {what} userid cookie "{line}"')

    def _cookie(self, request: Request) -> bytes:
        for line in request.fields.get_all(b"cookie"):
            value = cookie_in(line, self.lower_name)
            if value is not None:
                return value
        return b""

    def _new(self, request: Request) -> bytes:
        """16 bytes that no other client has."""
        now = int(request.reactor.wall()) & 0xFFFFFFFF
        sequence = self.sequence
        if self.state == V1:
            return struct.pack("=4I", max(self.service, 0) & 0xFFFFFFFF, now, sequence.start_value, sequence.next_v1())
        first = struct.pack(">I", self.service & 0xFFFFFFFF) if self.service >= 0 else _server_bytes(request)
        return first + struct.pack(">3I", now, sequence.start_value, sequence.next_v2())

    def _until(self, request: Request) -> bytes:
        if self.expires == 0:
            return b""
        if self.expires == _MAX_EXPIRES:
            return b"; expires=Thu, 31-Dec-37 23:55:55 GMT"
        return b"; expires=" + cookie_time(int(request.reactor.wall()) + self.expires)


def _server_bytes(request: Request) -> bytes:
    """Return the last four bytes of the address that the client connected to."""
    address = request.client.server_addr()[0].partition("%")[0]
    if address.startswith("unix:"):
        return b"\0\0\0\0"
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)[-4:]


def decode(cookie: bytes) -> bytes:
    """Return the 16 bytes that the first 22 characters carry, zeros behind a "=" (ngx_decode_base64). Raises ValueError."""
    text = cookie[:_ENCODED].partition(b"=")[0]
    if len(text) % 4 == 1 or text.translate(None, _BASE64):
        raise ValueError("not base64")
    return binascii.a2b_base64(text + b"=" * (-len(text) % 4)).ljust(16, b"\0")


def cookie_time(second: int) -> bytes:
    """Return a date as Netscape's cookies have it; a year beyond 2037 in full (ngx_http_cookie_time)."""
    t = time.gmtime(second)
    year = b"%d" % t.tm_year if t.tm_year > 2037 else b"%02d" % (t.tm_year % 100)
    return b"%b, %02d-%b-%b %02d:%02d:%02d GMT" % (
        _DAYS[t.tm_wday], t.tm_mday, _MONTHS[t.tm_mon - 1], year, t.tm_hour, t.tm_min, t.tm_sec,
    )  # fmt: skip


def _noted(request: Request) -> dict[str, bytes | None]:
    noted = request.values
    if noted is None:
        request.values = noted = {}
    return noted


def _userid_of(request: Request) -> Userid | None:
    for header_filter in request.location.header_filters:
        if isinstance(header_filter, Userid):
            return header_filter
    return None


def _uid_got(request: Request) -> bytes | None:
    userid = _userid_of(request)
    got = b"" if userid is None else userid.got(request)
    return None if userid is None or not got else userid.shown(got)


def _uid_set(request: Request) -> bytes | None:
    userid = _userid_of(request)
    given = b"" if userid is None or userid.state <= LOG else userid.given(request)
    return None if userid is None or not given else userid.shown(given)


def _uid_reset(request: Request) -> bytes | None:
    return _noted(request).get(RESET) or b""


def _variables() -> tuple[Variable[Request], ...]:
    reset = Variable(
        RESET, _uid_reset, PER_REQUEST, "To be `set`: neither empty nor `0`, the client gets another cookie; `log` logs it too."
    )
    reset.settable = True
    return (
        Variable("uid_got", _uid_got, PER_REQUEST, "The cookie of `userid` that the client sent, as NAME=HEX."),
        Variable("uid_set", _uid_set, PER_REQUEST, "The cookie of `userid` that the client is given, as NAME=HEX."),
        reset,
    )


def _new_sequence(build: HttpBuild) -> Sequence:
    sequence = Sequence()
    build.workers.append(sequence)
    return sequence


_SEQUENCE: Final = BuildSlot[Sequence](_new_sequence)


class UseridFeature(Feature):
    """nginx's http_userid module."""

    def location(self, build: LocationBuild) -> None:
        state = build.scope.get(USERID)
        if state != OFF:
            build.add_header_filter(Userid(build, state, _SEQUENCE.of(build.http)), _ORDER)


FEATURE: Final = UseridFeature(
    "http_userid",
    (USERID, USERID_NAME, USERID_DOMAIN, USERID_PATH, USERID_EXPIRES, USERID_FLAGS, USERID_P3P, USERID_MARK, USERID_SERVICE),
    _variables(),
)
