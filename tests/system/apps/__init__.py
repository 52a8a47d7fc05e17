"""The applications that system tests put behind the proxy, each for the server that people run it with."""
