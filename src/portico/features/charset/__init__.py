"""`charset`, `source_charset`, `charset_map`: what bodies are written in. (nginx: ngx_http_charset_filter_module.c.)

    feature.py   the directives, and what they do to one response
    tables.py    the charsets of a configuration, and the maps between them
    recode.py    bodies from one charset to another
"""
