"""Values that the directives of `gzip`, `brotli` and `zstd` accept and refuse; their defaults are those of the nginx modules."""

from __future__ import annotations

import sys

import pytest

from portico.config.diagnostics import ConfigError
from portico.config.directive import Directive
from portico.config.load import Load
from portico.config.reader import read_text
from portico.features.compression import directives as d
from portico.features.compression.forms import Forms


def parsed(directive: Directive[object], text: str) -> object:
    """Return what the directive makes of `text`. Raises ConfigError."""
    statement = read_text(f"{directive.name} {text};", "x.conf", Load("/srv", "/srv/x.conf"))[0]
    return directive.parse(statement)


@pytest.mark.parametrize(
    ("directive", "low", "high"), [(d.GZIP_COMP_LEVEL, 1, 9), (d.BROTLI_COMP_LEVEL, 0, 11), (d.ZSTD_COMP_LEVEL, 1, 22)]
)
def test_levels_have_bounds(directive: Directive[int], low: int, high: int) -> None:
    assert [parsed(directive, str(level)) for level in (low, high)] == [low, high]
    with pytest.raises(ConfigError, match=f'"{directive.name}" directive value must be equal to or less than {high}'):
        parsed(directive, str(high + 1))
    if low:
        with pytest.raises(ConfigError, match=f'"{directive.name}" directive value must be equal to or greater than {low}'):
            parsed(directive, str(low - 1))


@pytest.mark.parametrize(("text", "bits"), [("1k", 10), ("512k", 19), ("1m", 20), ("16m", 24)])
def test_a_brotli_window_is_the_binary_logarithm_of_its_size(text: str, bits: int) -> None:
    assert parsed(d.BROTLI_WINDOW, text) == bits
    assert int(text[:-1]) << {"k": 10, "m": 20}[text[-1]] == 1 << bits


@pytest.mark.parametrize("text", ["3k", "32m", "512"])
def test_a_brotli_window_is_a_power_of_two_between_1k_and_16m(text: str) -> None:
    with pytest.raises(ConfigError, match=f'invalid value "{text}"'):
        parsed(d.BROTLI_WINDOW, text)


@pytest.mark.parametrize(("text", "size"), [("on", 32 << 20), ("ON", 32 << 20), ("64m", 64 << 20), ("100k", 102400)])
def test_the_cache_of_compressed_files_has_a_size(text: str, size: int) -> None:
    forms = parsed(d.COMPRESSION_CACHE, text)
    assert isinstance(forms, Forms) and forms.size == size


def test_no_cache_of_compressed_files() -> None:
    assert parsed(d.COMPRESSION_CACHE, "off") is None and d.COMPRESSION_CACHE.default is None


@pytest.mark.parametrize("text", ["0", "0m", "yes", "1x"])
def test_a_cache_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match='"compression_cache" directive invalid value'):
        parsed(d.COMPRESSION_CACHE, text)


def test_a_missing_library_is_named_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)  # type: ignore[arg-type]
    assert parsed(d.BROTLI, "off") is False
    with pytest.raises(ConfigError, match='"brotli" needs the Python package brotli') as refused:
        parsed(d.BROTLI, "on")
    assert refused.value.hint == "pip install brotli"


def test_defaults_are_those_of_the_nginx_modules() -> None:
    assert (d.GZIP.default, d.GZIP_COMP_LEVEL.default, d.GZIP_MIN_LENGTH.default) == (False, 1, 20)
    assert (d.BROTLI.default, d.BROTLI_COMP_LEVEL.default, d.BROTLI_MIN_LENGTH.default) == (False, 6, 20)
    assert (d.ZSTD.default, d.ZSTD_COMP_LEVEL.default, d.ZSTD_MIN_LENGTH.default) == (False, 1, 20)
    assert 1 << d.BROTLI_WINDOW.default == 512 << 10
