"""`userid`: what the cookie is made of."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.errorlog import ErrorLog, LogFiles
from portico.features.userid import Sequence, cookie_time, decode
from portico.net.reactor import Reactor
from portico.worker.runtime import Runtime


def runtime() -> Runtime:
    return Runtime(Reactor(), ErrorLog([], LogFiles()), 8, 0)


def test_counts_do_not_repeat() -> None:
    sequence = Sequence()
    sequence.start(runtime())
    assert [sequence.next_v1() for _ in range(3)] == [1, 0x101, 0x201]
    assert [sequence.next_v2() for _ in range(3)] == [0x03030302, 0x03030402, 0x03030502]
    sequence.second_version = 0xFFFFFF02
    assert [sequence.next_v2() for _ in range(2)] == [0xFFFFFF02, 0x03030302], "never 0: that says there is no cookie"


def test_workers_differ() -> None:
    sequence = Sequence()
    sequence.start(runtime())
    assert 0 < sequence.start_value < 1 << 32


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (0, b"Thu, 01-Jan-70 00:00:00 GMT"),
        (2145916555, b"Thu, 31-Dec-37 23:55:55 GMT"),
        (2147483648, b"Tue, 19-Jan-2038 03:14:08 GMT"),
    ],
)
def test_dates(second: int, expected: bytes) -> None:
    assert cookie_time(second) == expected


def test_the_numbers_of_a_cookie() -> None:
    """What nginx 1.22 gave at 127.0.0.1, and how its log showed it."""
    number = base64.b64decode("fwAAAWsFhPw0L1NTAwMDAgA=" + "=")[:16]
    assert "".join(f"{part:08X}" for part in struct.unpack("<4I", number)) == "0100007FFC84056B53532F3402030303"


def test_a_cookie_is_decoded_as_far_as_it_is_base64() -> None:
    assert decode(b"AQIDBAUGBwgJCgsMDQ4PEA==") == bytes(range(1, 17))
    assert decode(b"AQIDBAUGBwgJCgsMDQ4PEZ=") == bytes(range(1, 16)) + b"\x11", "of the last character two bits count"
    assert decode(b"AQID=AUGBwgJCgsMDQ4PEA") == b"\1\2\3" + bytes(13)


@given(st.binary(min_size=22, max_size=40))
def test_any_bytes_give_sixteen_or_are_refused(cookie: bytes) -> None:
    try:
        assert len(decode(cookie)) == 16
    except ValueError as refused:
        assert str(refused) == "not base64"


@given(st.binary(min_size=16, max_size=16))
def test_what_was_encoded_is_decoded(number: bytes) -> None:
    assert decode(base64.b64encode(number)) == number
