"""The servers and certificates of the parity tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.harness import Group, Servers
from tests.processes import NGINX


@pytest.fixture(scope="session")
def certificates() -> Iterator[Path]:
    """A folder with one authority, certificates by it, and one client that it does not know."""
    folder = Path(tempfile.mkdtemp(prefix="parity-certs-"))
    _authority(folder, "ca")
    _authority(folder, "other-ca")
    for name, common, authority in (
        ("a", "a.example", "ca"),
        ("b", "b.example", "ca"),
        ("wild", "*.wild.example", "ca"),
        ("backend", "backend.example", "ca"),
        ("client", "some client", "ca"),
        ("stranger", "a stranger", "other-ca"),
    ):
        _certificate(folder, name, common, authority)
    yield folder
    shutil.rmtree(folder)


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def _authority(folder: Path, name: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
    _openssl(
        folder, "req", "-x509", *key, "-out", f"{name}.pem", "-days", "30", "-subj", f"/O=Parity/CN={name}"
    )


def _certificate(folder: Path, name: str, common: str, authority: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
    alternative = f"subjectAltName=DNS:{common.replace(' ', '-')}"
    signer = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key")
    subject = ("-subj", f"/C=DE/O=Parity/CN={common}", "-addext", alternative)
    _openssl(folder, "req", "-x509", *key, *signer, "-out", f"{name}.pem", "-days", "30", *subject)


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest, certificates: Path) -> Iterator[Servers]:
    """nginx and the candidate for the group that the test names, started together."""
    if not os.access(NGINX, os.X_OK):
        pytest.skip(f"{NGINX} is missing: apt-get install nginx-light")
    group: Group = request.param
    folder = Path(tempfile.mkdtemp(prefix="parity-", dir="/tmp"))  # short: a Unix socket's path has 107 bytes
    pair = Servers(group, folder, certificates, request.config.getoption("--candidate"))
    try:
        try:
            pair.ready()
        except AssertionError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(folder, ignore_errors=True)
