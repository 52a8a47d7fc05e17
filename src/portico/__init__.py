"""Portico: a reverse proxy that reads nginx.conf, in typed Python compiled ahead of time."""

from typing import Final

__version__: Final = "0.1.0"
