"""`python -m portico.demo NAME PORT`: one demo application on 127.0.0.1, until its standard input ends.

The end of standard input is how it learns that whoever started it is gone, however that happened.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from portico.demo.server import Application


async def _serve(name: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_reader(sys.stdin.fileno(), ended.set)
    application = Application(name)
    await application.listen("127.0.0.1", port)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    await application.close()


def main(words: list[str]) -> int:
    """Run the demo application; return the exit code."""
    if len(words) != 2 or not words[1].isdigit():
        sys.stderr.write("usage: python -m portico.demo NAME PORT\n")
        return 2
    try:
        asyncio.run(_serve(words[0], int(words[1])))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        sys.stderr.write(f"portico.demo: {words[0]} cannot listen on 127.0.0.1:{words[1]}: {reason}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
