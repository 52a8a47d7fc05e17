"""Answers compressed on their way: `gzip`, `brotli`, `zstd`. (ngx_http_gzip_filter_module.c, google/ngx_brotli, zstd-nginx-module.)

    directives.py  what can be configured
    codings.py     the libraries: a Coding for each coding and level, a Coder for each answer
    filter.py      which answers are compressed, and what their heads say then
    body.py        the body in slices, so that no answer holds the worker
    forms.py       compression_cache: compressed forms of files that are at hand
    feature.py     where it all attaches
"""
