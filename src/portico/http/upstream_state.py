"""What a request has had to do with upstreams and with what is stored of them: for `$upstream_…`, `$proxy_…` and the error log."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from portico.cache.caching import Caching
    from portico.codec.http1_response import ResponseHead


@final
class Attempt:
    """One try at one upstream peer: what $upstream_addr, $upstream_status and their kin report. Times in seconds."""

    def __init__(self, peer: bytes, started: float) -> None:
        self.peer = peer
        self.started = started
        self.status = 0  # 0: no response
        self.connect_time = -1.0
        self.header_time = -1.0
        self.response_time = -1.0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.length = 0  # body bytes received
        self.after_redirect = False  # an internal redirect came between it and the one before: " : " in the variables


@final
class UpstreamState:
    """The upstreams of one request. It has one from when a handler that asks upstreams, or responds in their place, took it up."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.target: object = None  # what proxy_pass came to, for $proxy_host and $proxy_port
        self.scheme: bytes = b""  # of the URL asked for last, for the error log
        self.uri: bytes = b""
        self.redirected = False  # an internal redirect happened since the last attempt
        self.fields: ResponseHead | None = None  # of the last upstream that responded
        self.caching: Caching | None = None  # of the location that has a cache

    def begin_attempt(self, peer: bytes, now: float) -> Attempt:
        """Note the start of a try at an upstream peer."""
        attempt = Attempt(peer, now)
        attempt.after_redirect = self.redirected and len(self.attempts) > 0
        self.redirected = False
        self.attempts.append(attempt)
        return attempt
