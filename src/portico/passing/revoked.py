"""Client certificates that were revoked: `ssl_ocsp` and its family.

The responders of a client's chain are asked once its handshake is done, before its first request is read (nginx:
ngx_ssl_ocsp_validate). A certificate of which nobody can tell is not accepted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, SERVER, Directive, Scope
from portico.config.reader import Statement
from portico.net.openssl import VERIFY_OK
from portico.net.openssl_ocsp import FOREVER, GOOD, OCSP, REVOKED, VERIFY, Chain, OCSPFailed, Verdict, ocsp
from portico.net.tls import VERIFY_OFF, VERIFY_OPTIONAL_NO_CA, ClientCheck, ServerTLS, TLSTransport
from portico.passing.ocsp import Inquiry, responder_url
from portico.zones.opening import open_zone
from portico.zones.states import COLUMNS, States, fingerprint
from portico.zones.zone import ZoneConflict

if TYPE_CHECKING:
    from portico.codec.url import Url
    from portico.http.feature import HttpBuild

_SERVERS: Final = HTTP | SERVER
_LEAST_CACHE: Final = 8 * 4096  # nginx: 8 pages
_SHARED: Final = "shared:"
_UNDATED: Final = 3600  # seconds that a response without nextUpdate is cached for

_OFF: Final = 0
_ALL: Final = 1
_LEAF: Final = 2

_NO_STATUS: Final = "certificate status request failed"


@final
class CacheZone:
    """An `ssl_ocsp_cache` as written."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size


def _cache(statement: Statement) -> CacheZone | None:
    text = statement.args[0].text
    if text == "off":
        return None
    name, _, size_text = text[len(_SHARED) :].partition(":")
    size = values.size_of(size_text)
    if not text.startswith(_SHARED) or not name or size is None:
        raise statement.fail(f'invalid OCSP cache "{text}"', statement.args[0], "it may be: off, shared:name:size")
    if size < _LEAST_CACHE:
        raise statement.fail(f'OCSP cache "{text}" is too small', statement.args[0], "it takes 32k at least")
    return CacheZone(name, size)


OCSP_MODE: Final = Directive[int](
    "ssl_ocsp", _SERVERS, values.choice({"off": _OFF, "on": _ALL, "leaf": _LEAF}), args="1", default=_OFF, default_text="off",
    syntax="on | off | leaf",
    doc="Ask by OCSP whether the certificates of a client's chain are revoked (`leaf`: only its own), when they have been verified. "
    "A request with one that is, or of which the responder does not tell, is answered 400 (495 for `error_page`). "
    "Needs `ssl_verify_client on` or `optional`.",
    example="ssl_verify_client on;\nssl_client_certificate /etc/ssl/clients-ca.pem;\nssl_ocsp on;",
)  # fmt: skip
OCSP_CACHE: Final = Directive[CacheZone | None](
    "ssl_ocsp_cache", _SERVERS, _cache, args="1", default=None, default_text="off",
    syntax="off | shared:NAME:SIZE",
    doc="Store what responders say of client certificates until it expires, for all workers. A megabyte holds about "
    "16000 certificates.",
    example="ssl_ocsp_cache shared:ocsp:1m;",
)  # fmt: skip
OCSP_RESPONDER: Final = Directive[str](
    "ssl_ocsp_responder", _SERVERS, values.text, args="1", default="",
    syntax="URL",
    doc="The OCSP responder to ask, `http://` only, in place of those that the certificates of clients name.",
    example="ssl_ocsp_responder http://ocsp.example.com/;",
)  # fmt: skip
OCSP_DIRECTIVES: Final[tuple[Directive[object], ...]] = (OCSP_MODE, OCSP_CACHE, OCSP_RESPONDER)


def clients_key(scope: Scope) -> str:
    """Return the same key for servers that ask alike; "" for those that do not."""
    if scope.get(OCSP_MODE) == _OFF:
        return ""
    zone = scope.get(OCSP_CACHE)
    return repr((scope.get(OCSP_MODE), "" if zone is None else zone.name, scope.get(OCSP_RESPONDER)))


@final
class VerdictCache:
    """What responders said, in memory that all workers share."""

    def __init__(self, states: States) -> None:
        self._states = states

    def find(self, identity: bytes, now: float) -> Verdict | None:
        """Return what is stored of a certificate and still valid."""
        first, second = fingerprint(identity)
        states = self._states
        states.enter()
        try:
            if not states.find(first, second) or states.last < now:
                return None
            return Verdict(states.excess, float(states.last))
        finally:
            states.leave()

    def insert(self, identity: bytes, verdict: Verdict, now: float) -> None:
        """Store a verdict until it expires."""
        valid = int(now + _UNDATED if verdict.valid >= FOREVER else verdict.valid)
        first, second = fingerprint(identity)
        states = self._states
        states.enter()
        try:
            row = states.find(first, second)
            if row:
                states.put(row, valid, verdict.status)
            else:
                states.add(first, second, valid, verdict.status)
        finally:
            states.leave()


@final
class OCSPCheck(ClientCheck):
    """Asks for the clients of one server."""

    def __init__(self, functions: OCSP, mode: int, responder: Url | None, cache: VerdictCache | None) -> None:
        self._ocsp = functions
        self._mode = mode
        self._responder = responder  # None: the one that each certificate names
        self._cache = cache

    async def check(self, transport: TLSTransport) -> str:
        if transport.verify_result() != VERIFY_OK or transport.peer_certificate() is None:
            return ""
        transport.revoked = _NO_STATUS  # until we know better
        chain = self._ocsp.client_chain(transport.tls)
        if chain is None:
            return "the chain of the client's certificate cannot be built"
        certificates = chain.certificates[:-1]
        try:
            for certificate in certificates[:1] if self._mode == _LEAF else certificates:
                verdict = await self._verdict(transport, chain, certificate)
                if verdict.status != GOOD:
                    transport.revoked = "certificate revoked" if verdict.status == REVOKED else "certificate status unknown"
                    return ""
        except OCSPFailed as failed:
            return str(failed)
        transport.revoked = ""
        return ""

    async def _verdict(self, transport: TLSTransport, chain: Chain, certificate: int) -> Verdict:
        """Return what is known of one certificate of the chain. Raises OCSPFailed."""
        url = self._responder or self._named(certificate)
        inquiry = Inquiry(self._ocsp, certificate, chain, self._ocsp.context_of(transport.tls), VERIFY, url)
        identity = self._ocsp.identity(certificate, inquiry.issuer())
        if self._cache is not None:
            known = self._cache.find(identity, time.time())
            if known is not None:
                return known
        _, verdict = await inquiry.ask(transport.reactor)
        if self._cache is not None:
            self._cache.insert(identity, verdict, time.time())
        return verdict

    def _named(self, certificate: int) -> Url:
        text = self._ocsp.responder(certificate)
        if not text:
            raise OCSPFailed("no OCSP responder URL in certificate")
        try:
            return responder_url(text)
        except ValueError as error:
            raise OCSPFailed(f'{error} in OCSP responder "{text[:200]!r}" in certificate') from None


def check_clients(build: HttpBuild, scope: Scope, server: ServerTLS) -> None:
    """Have the clients of `server` asked for as `scope` says. Raises ConfigError."""
    mode = scope.get(OCSP_MODE)
    if mode == _OFF or server.verify == VERIFY_OFF:
        return
    where = scope.settings(OCSP_MODE)[-1].where
    if server.verify == VERIFY_OPTIONAL_NO_CA:
        raise ConfigError('"ssl_ocsp" is incompatible with "ssl_verify_client optional_no_ca"', where, span=len(OCSP_MODE.name))
    functions = ocsp()
    if functions is None:
        raise ConfigError('"ssl_ocsp" cannot be used here: libssl cannot be reached from this Python', where)
    server.client_check = OCSPCheck(functions, mode, _responder(scope), _open(build, scope))


def _responder(scope: Scope) -> Url | None:
    text = scope.get(OCSP_RESPONDER)
    if not text:
        return None
    try:
        return responder_url(text)
    except ValueError as error:
        message = f'{error} in OCSP responder "{text}" in "ssl_ocsp_responder"'
        raise ConfigError(message, scope.settings(OCSP_RESPONDER)[-1].where, "it must begin with http://") from None


def _open(build: HttpBuild, scope: Scope) -> VerdictCache | None:
    declared = scope.get(OCSP_CACHE)
    if declared is None:
        return None
    where = scope.settings(OCSP_CACHE)[-1].where
    try:
        zone = build.zones.add(declared.name, declared.size, "ssl_ocsp_cache")
    except ZoneConflict as error:
        raise ConfigError(str(error), where) from None
    return VerdictCache(States(open_zone(zone, COLUMNS, where)))
