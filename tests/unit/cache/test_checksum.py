"""Both sums are what everybody's are, whoever reckons them: files outlive the machine that they were written on."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from portico.cache.checksum import crc32, md5


@pytest.mark.parametrize("data", [b"", b"a", b"123456789", bytes(range(256)) * 300])
def test_sums(data: bytes) -> None:
    assert crc32(data) == zlib.crc32(data)
    assert crc32(data[7:], crc32(data[:7])) == zlib.crc32(data)
    assert md5(data).digest() == hashlib.md5(data, usedforsecurity=False).digest()
