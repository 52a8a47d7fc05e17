"""`python -m portico`, and the `portico` command."""

import signal
import sys


def main() -> int:
    """Run the command line; return the exit code."""
    # Ctrl-C ends us as it ends other programs, without a traceback, also while modules are imported.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from portico import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
