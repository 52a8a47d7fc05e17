"""Files from disk: what a location serves where nothing else responds. (nginx: ngx_http_static_module.c, …_gzip_static_module.c.)

    feature.py         the directives, and which handler a location gets
    handler.py         a file as it is
    remembered.py      small files that were served lately
    precompressed.py   the file beside it that somebody has compressed: `gzip_static`, `brotli_static`, `zstd_static`
"""
