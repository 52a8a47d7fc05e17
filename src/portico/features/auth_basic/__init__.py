"""`auth_basic`: a name and a password (RFC 7617). (nginx: ngx_http_auth_basic_module.c, ngx_crypt.c.)

    feature.py     the directives, and the check of one location
    users.py       the user file
    passwords.py   the schemes of stored passwords
    verifier.py    slow schemes: on a thread, each right password once in a while
"""
