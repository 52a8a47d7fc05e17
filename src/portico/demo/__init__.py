"""Two small applications to stand behind a proxy: what the quickstart balances.

`server` speaks HTTP/1.1, `websocket` echoes messages, `page` writes the responses. Standard library
only; small on purpose, and meant for 127.0.0.1 alone.
"""
