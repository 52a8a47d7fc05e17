"""A request on its way to one peer after the other, as conversations with upstreams in memory."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.net.memory_transport import MemoryTransport
from tests.unit.passing.memory_upstream import MemoryOutcome, MemoryUpstreams

import portico.passing.exchange
from portico.codec.http1_response import ResponseHead
from portico.http.errors import HTTPError
from portico.net.reactor import UpstreamFailed
from portico.passing.exchange import Exchange
from portico.passing.failure import ERROR, HTTP_404, HTTP_503, INVALID_HEADER, NON_IDEMPOTENT, TIMEOUT
from portico.passing.hints import HintRules

COMPILED = str(portico.passing.exchange.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: app\r\n\r\n"
RESET = UpstreamFailed(errno.ECONNRESET, "Connection reset by peer")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[MemoryUpstreams]:
    made = MemoryUpstreams(tmp_path)
    yield made
    assert all(peer.connections == 0 for peer in made.group.balancer.peers)  # whoever was counted was uncounted
    made.close()


def status_of(outcome: MemoryOutcome) -> int:
    """The status of the response, or of the failure."""
    assert outcome.done
    if outcome.error is not None:
        assert isinstance(outcome.error, HTTPError)
        return outcome.error.status
    assert isinstance(outcome.value, ResponseHead)
    return outcome.value.status


def finish(exchange: Exchange) -> None:
    attempts = exchange.request.attempts()
    assert attempts
    exchange.end(attempts[-1], True, False)


# -- one attempt that goes well -------------------------------------------------------------------------------------------


def test_a_request_and_its_response(house: MemoryUpstreams) -> None:
    connection = house.connection()
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    assert connection.sent == GET and not outcome.done
    connection.receive(OK + b"hello")
    assert status_of(outcome) == 200 and exchange.stream.whole_body() == b"hello"
    finish(exchange)
    assert not connection.closed and connection.idle
    assert house.attempts(exchange.request) == [(200, len(OK) + 5)]


def test_a_response_in_pieces(house: MemoryUpstreams) -> None:
    connection = house.connection()
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    for at in range(len(OK)):
        assert not outcome.done
        connection.receive(OK[at : at + 1])
    assert status_of(outcome) == 200
    exchange.abandon()
    assert connection.closed


def test_a_body_in_memory_leaves_with_the_header_section(house: MemoryUpstreams) -> None:
    connection = house.connection()
    exchange = house.exchange(house.asked("PUT", b"data"))
    house.run(exchange)
    assert connection.sent == b"PUT /a HTTP/1.1\r\nHost: app\r\nContent-Length: 4\r\n\r\ndata"
    exchange.abandon()


def test_a_request_that_leaves_in_parts(house: MemoryUpstreams) -> None:
    connection = house.connection(space=10)
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    assert connection.sent == GET[:10]
    connection.make_space(5)
    connection.make_space(100)
    assert connection.sent == GET
    connection.receive(OK)
    assert status_of(outcome) == 200
    exchange.abandon()


def test_interim_responses(house: MemoryUpstreams) -> None:
    class Rules(HintRules):
        def hints(self, head: ResponseHead) -> list[tuple[bytes, bytes]]:
            return [(b"Link", head.get(b"link") or b"")]

    connection = house.connection()
    asked = house.asked()
    asked.request.stream = house.client_stream
    exchange = house.exchange(asked)
    exchange.hints = Rules()
    outcome = house.run(exchange)
    connection.receive(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert house.client_stream.interim == [(103, [(b"Link", b"</a>")])] and not outcome.done
    connection.receive(OK)
    assert status_of(outcome) == 200
    exchange.abandon()


# -- failures -----------------------------------------------------------------------------------------------------------

# (what the first peer sends, what the client gets when that is not retried, condition, words in the error log)
FAILURES: list[tuple[bytes | UpstreamFailed, int, int, str]] = [
    (RESET, 502, ERROR, "recv() failed (104: Connection reset by peer) while reading response header from upstream"),
    (b"nonsense", 502, INVALID_HEADER, "upstream sent no valid HTTP/1.0 header while reading response header from upstream"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 4096, 502, INVALID_HEADER, "upstream sent too big header while reading"),
    (b"HTTP/1.1 103 Early\r\nX: %b\r\n\r\n" % (b"x" * 4000) * 2, 502, INVALID_HEADER, "upstream sent too big early hints"),
]


@pytest.mark.parametrize(("sent", "status", "condition", "words"), FAILURES)
def test_failures(house: MemoryUpstreams, sent: bytes | UpstreamFailed, status: int, condition: int, words: str) -> None:
    house.settings.next_upstream = 0
    connection = house.connection()
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    connection.receive(b"HTTP/1.1 ", sent) if sent is RESET else connection.receive(sent)
    assert status_of(outcome) == status and exchange.failure == condition
    assert words in house.log() and connection.closed


@pytest.mark.parametrize(("sent", "status", "condition", "words"), FAILURES)
def test_failures_are_retried(house: MemoryUpstreams, sent: bytes | UpstreamFailed, status: int, condition: int, words: str) -> None:
    house.settings.next_upstream = condition
    first, second = house.connection(0), house.connection(1)
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    first.receive(b"HTTP/1.1 ", sent) if sent is RESET else first.receive(sent)
    assert second.sent == GET and not outcome.done
    second.receive(OK)
    assert status_of(outcome) == 200
    assert [attempt_status for attempt_status, _ in house.attempts(exchange.request)] == [status, 200]
    assert house.group.balancer.peers[0].fails == 1
    exchange.abandon()


def test_a_response_that_does_not_come_in_time(house: MemoryUpstreams) -> None:
    house.settings.next_upstream = 0
    connection = house.connection()
    outcome = house.run(house.exchange(house.asked()))
    house.pass_time(59.0)
    assert not outcome.done
    house.pass_time(2.0)
    assert status_of(outcome) == 504 and connection.closed
    assert "timed out (110: Connection timed out) while reading response header from upstream" in house.log()


def test_a_request_that_nobody_takes_in_time(house: MemoryUpstreams) -> None:
    house.settings.next_upstream = TIMEOUT
    first, second = house.connection(0, space=3), house.connection(1)
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    house.pass_time(61.0)
    assert "timed out (110: Connection timed out) while sending request to upstream" in house.log()
    assert first.closed and second.sent == GET
    second.receive(OK)
    assert status_of(outcome) == 200
    exchange.abandon()


def test_what_is_not_idempotent_is_not_retried(house: MemoryUpstreams) -> None:
    first, second = house.connection(0), house.connection(1)
    outcome = house.run(house.exchange(house.asked("POST", b"x")))
    first.receive(b"")
    assert status_of(outcome) == 502 and second.sent == b""


def test_nobody_is_left(house: MemoryUpstreams) -> None:
    """Both addresses have no server behind them."""
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    assert status_of(outcome) == 502 and exchange.failure == ERROR
    assert len(exchange.request.attempts()) == 2
    assert house.log().count("connect() failed (2: No such file or directory) while connecting to upstream") == 2
    again = house.run(house.exchange(house.asked()))
    assert status_of(again) == 502
    assert isinstance(again.error, HTTPError) and again.error.reason == "no live upstreams while connecting to upstream"


# -- idle connections that were closed meanwhile ---------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", RESET])
def test_a_stale_connection_is_no_attempt_of_its_own(house: MemoryUpstreams, sent: bytes | UpstreamFailed) -> None:
    """The same attempt goes on with a fresh connection to the same peer, which has no server here."""
    house.settings.next_upstream = 0
    connection = house.connection(0)
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    connection.receive(sent)
    assert status_of(outcome) == 502 and house.attempts(exchange.request) == [(502, 0)]
    assert "connect() failed" in house.log() and "prematurely" not in house.log()


def test_a_stale_connection_does_not_carry_what_cannot_be_sent_twice(house: MemoryUpstreams) -> None:
    """It is looked at before, though no event has told; and when that has missed it, the request has failed."""
    stale = house.connection(0)
    stale.incoming.append(b"")
    alive = house.connection(0)
    stale_last = house.group.pool.acquire(house.group.balancer.peers[0], None, b"")
    assert stale_last is not None and stale_last.transport is alive
    house.group.pool.release(stale_last)
    outcome = house.run(house.exchange(house.asked("POST", b"x")))
    assert alive.sent.endswith(b"x") and stale.sent == b""
    alive.receive(b"")
    assert status_of(outcome) == 502


def test_non_idempotent_lets_it_be_sent_again(house: MemoryUpstreams) -> None:
    house.settings.next_upstream = NON_IDEMPOTENT
    connection = house.connection(0)
    exchange = house.exchange(house.asked("POST", b"x"))
    outcome = house.run(exchange)
    connection.receive(b"")
    assert status_of(outcome) == 502 and "connect() failed" in house.log()


# -- statuses -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "condition", "fails"), [(503, HTTP_503, 1), (404, HTTP_404, 0)])
def test_statuses_that_are_retried(house: MemoryUpstreams, status: int, condition: int, fails: int) -> None:
    house.settings.next_upstream = condition
    first, second = house.connection(0), house.connection(1)
    exchange = house.exchange(house.asked())
    outcome = house.run(exchange)
    first.receive(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
    second.receive(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)  # there is no third
    assert status_of(outcome) == status
    assert [seen for seen, _ in house.attempts(exchange.request)] == [status, status]
    assert house.group.balancer.peers[0].fails == fails
    exchange.abandon()


# -- responses that begin early -------------------------------------------------------------------------------------------


def early(house: MemoryUpstreams, exchange: Exchange, connection: MemoryTransport) -> None:
    """Let the upstream respond before it has taken everything; its connection carries no other request."""
    outcome = house.run(exchange)
    connection.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert not outcome.done
    connection.receive(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert status_of(outcome) == 413 and exchange.stream.whole_body() == b""
    finish(exchange)
    assert connection.closed


def test_before_a_body_in_memory_was_taken(house: MemoryUpstreams) -> None:
    connection = house.connection(space=60)
    early(house, house.exchange(house.asked("PUT", b"x" * 1000)), connection)
    assert connection.sent.endswith(b"xx") and len(connection.sent) == 60


def test_before_the_client_has_sent_its_body(house: MemoryUpstreams) -> None:
    connection = house.connection()
    early(house, house.exchange(house.streamed(b"first")), connection)
    assert connection.sent.endswith(b"chunked\r\n\r\n5\r\nfirst\r\n")


def test_an_upstream_that_closes_behind_its_response(house: MemoryUpstreams) -> None:
    """Sending fails, and still there is a response to read."""
    connection = house.connection()
    connection.refusal = UpstreamFailed(errno.EPIPE, "Broken pipe")
    connection.incoming.extend([OK + b"hello", b""])
    connection.ready = True
    exchange = house.exchange(house.asked())
    assert status_of(house.run(exchange)) == 200 and exchange.stream.whole_body() == b"hello"
    finish(exchange)
    assert connection.closed


# -- bodies that come from the client --------------------------------------------------------------------------------------


def test_a_body_is_passed_on_as_it_comes(house: MemoryUpstreams) -> None:
    connection = house.connection()
    exchange = house.exchange(house.streamed(b"one"))
    outcome = house.run(exchange)
    assert connection.sent.endswith(b"\r\n\r\n3\r\none\r\n")
    house.client_stream.bring(b"two", ended=True)
    outcome.turn()
    assert connection.sent.endswith(b"3\r\ntwo\r\n0\r\n\r\n")
    connection.receive(OK)
    assert status_of(outcome) == 200
    attempts = exchange.request.attempts()
    assert attempts and attempts[-1].bytes_sent == len(connection.sent)
    exchange.abandon()


def test_a_body_of_known_length_goes_as_it_is(house: MemoryUpstreams) -> None:
    connection = house.connection()
    exchange = house.exchange(house.streamed(b"one", chunked=False, length=6))
    house.run(exchange)
    house.client_stream.bring(b"two", ended=True)
    assert connection.sent.endswith(b"Content-Length: 6\r\n\r\nonetwo")
    exchange.abandon()


def test_what_was_passed_on_is_not_sent_twice(house: MemoryUpstreams) -> None:
    house.settings.next_upstream = ERROR | NON_IDEMPOTENT
    first, second = house.connection(0), house.connection(1)
    exchange = house.exchange(house.streamed(b"one"))
    outcome = house.run(exchange)
    first.receive(b"")
    outcome.turn()
    assert status_of(outcome) == 502 and second.sent == b""


def test_a_body_in_a_file(house: MemoryUpstreams, tmp_path: Path) -> None:
    asked = house.asked("PUT", b"")
    body = asked.body
    assert body is not None
    content = b"0123456789abcdef" * 10_000
    tmp_path.joinpath("body").write_bytes(content)
    with tmp_path.joinpath("body").open("rb") as file:
        body.data, body.file, body.length = None, file.fileno(), len(content)
        connection = house.connection()
        exchange = house.exchange(asked)
        outcome = house.run(exchange)
        for _ in range(10):
            outcome.turn()
        assert connection.sent.endswith(b"Content-Length: 160000\r\n\r\n" + content)
        exchange.abandon()
        body.file = -1
