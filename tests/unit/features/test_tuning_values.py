"""Directives that tune nginx alone are checked all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site

from portico.config.diagnostics import ConfigError
from portico.features import http2, resolver, tuning

ALL = (*FEATURES, tuning.FEATURE, resolver.FEATURE, http2.FEATURE)


@pytest.mark.parametrize(
    "text",
    [
        "output_buffers 2 32k;", "postpone_output 0;", "directio 4m;", "directio off;", "aio threads;", "aio off;", "read_ahead 1k;",
        "http2_pool_size 8k;", "http2_chunk_size 1;", "http2_body_preread_size 2147483647;", "resolver 127.0.0.1 valid=1s;",
        "resolver [::1]:5353 ipv6=off;", "resolver_timeout 5s;",
    ],
)  # fmt: skip
def test_what_is_right(tmp_path: Path, text: str) -> None:
    Site(text, tmp_path, ALL).close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http2_chunk_size 0;", "the http2 chunk size cannot be zero"),
        ("http2_body_preread_size 2147483648;", "the maximum body preread buffer size is 2147483647"),
        ("http2_pool_size 100;", "the pool size must be no less than 112"),
        ("http2_pool_size 113;", "the pool size must be a multiple of 16"),
        ("resolver valid=1s;", "no name servers defined"),
        ("resolver 127.0.0.1 ipv4=off ipv6=off;", '"ipv4" and "ipv6" cannot both be "off"'),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Site(text, tmp_path, ALL)
