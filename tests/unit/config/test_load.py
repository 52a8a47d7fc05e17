"""Paths are completed as nginx completes them."""

import os

from portico.config.load import Load


def test_prefix_and_conf_path() -> None:
    load = Load("/srv/portico", "conf/portico.conf")
    assert (load.prefix, load.conf_path, load.conf_prefix) == (
        "/srv/portico/",
        "/srv/portico/conf/portico.conf",
        "/srv/portico/conf/",
    )
    assert Load("/srv/", "/etc/x.conf").conf_prefix == "/etc/"
    assert Load("here", "x.conf").prefix == os.getcwd() + "/here/"


def test_full_path() -> None:
    load = Load("/srv", "/etc/x.conf")
    assert load.full_path("a/b") == "/srv/a/b"
    assert load.full_path("a/b", conf=True) == "/etc/a/b"
    assert load.full_path("/a") == load.full_path("/a", conf=True) == "/a"
