"""`dav_methods`: PUT, DELETE, MKCOL, COPY and MOVE for files (nginx: ngx_http_dav_module.c; RFC 4918).

feature.py has the directives, handler.py the methods, fields.py what the request's header fields ask for, trees.py the work on files
and directories.
"""
