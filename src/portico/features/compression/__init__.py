"""Responses compressed on their way: `gzip`, `brotli`, `zstd`. (ngx_http_gzip_filter_module.c, google/ngx_brotli, zstd-nginx-module.)

    directives.py  what can be configured
    codings.py     the libraries: a `Coding` for each content encoding and level, a Coder for each response
    filter.py      which responses are compressed, and what their header sections say then
    body.py        the body in slices, so that no response holds the worker
    forms.py       compression_cache: compressed files in memory
    feature.py     where it all attaches
"""
