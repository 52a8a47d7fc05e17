"""`ssi`: commands in pages, such as `<!--#include virtual="/head.html" -->`. (nginx: ngx_http_ssi_filter_module.c.)

parser.py finds the commands in the bytes of a page, page.py does what they say, texts.py makes the values of their parameters,
inclusion.py gets the pages that a page includes, body.py puts everything together in its order.
"""
