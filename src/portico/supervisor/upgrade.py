"""Upgrade in place: USR2 starts the program anew with the listening sockets, named in the environment.

As nginx's ``NGINX=3;4;``, the variable ``PORTICO=3;4;`` holds their descriptors. Both run side by side
then: the old one stops serving on WINCH and goes on QUIT, or takes over again on HUP when the new one is
told to quit.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from portico.errorlog import ALERT, EMERG, NOTICE, failed_call
from portico.supervisor import signals
from portico.supervisor.report import Report
from portico.supervisor.sockets import Sockets, inherit
from portico.supervisor.worker import EXIT_CRASHED, leave

VARIABLE: Final = "PORTICO"


def inherited_sockets(report: Report) -> Sockets | None:
    """Return what an old program handed over; None: it is an ordinary start."""
    value = os.environ.pop(VARIABLE, None)
    if value is None:
        return None
    report.write(NOTICE, f'using inherited sockets from "{value}"')
    descriptors: list[int] = []
    for number in value.split(";"):
        if not number:
            continue
        if not (number.isascii() and number.isdecimal()):
            report.write(
                EMERG,
                f'invalid socket number "{number}" in {VARIABLE} environment variable, '
                "ignoring the rest of the variable",
            )
            break
        descriptors.append(int(number))
    return inherit(descriptors)


def start_new_binary(sockets: Sockets, report: Report) -> int:
    """Run this program's file again, as it is now on disk. Returns its pid; raises OSError when fork()
    fails.
    """
    command = [sys.executable, *sys.orig_argv[1:]]
    opened = sockets.all()
    environment = {**os.environ, VARIABLE: "".join(f"{one.fileno()};" for one in opened)}
    pid = os.fork()
    if pid == 0:
        _become(command, environment, [one.fileno() for one in opened], report)
    report.write(NOTICE, f"start new binary process {pid}")
    return pid


def _become(command: list[str], environment: dict[str, str], inherited: Sequence[int], report: Report) -> None:
    try:
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)
        signals.unblock()
        os.execve(command[0], command, environment)
    except OSError as error:
        call = f'execve() of "{" ".join(command)}"'
        report.write(ALERT, failed_call(call, error) + " while executing new binary process")
    finally:
        leave(EXIT_CRASHED)
