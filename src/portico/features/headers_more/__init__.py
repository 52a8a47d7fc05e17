"""`more_set_headers` and its kin: set, replace and remove header fields of responses and requests. (headers-more-nginx-module.)

    commands.py   one directive as written, and how a list of fields is changed by it
    output.py     responses, before `add_header` adds to them
    input.py      requests, at the end of the rewrite phase; what frames a message is never changed
    feature.py    the directives
"""
