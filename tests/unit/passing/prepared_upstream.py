"""A site whose upstream has responded before it is asked: `proxy_pass` and all that attaches to it, without a wait.

Each prepared response waits in an idle connection of the group `app`; the one prepared last is used first. When none is left,
connecting fails at once: there is no socket where the group's only server would be. Reading a body takes part in the reactor's turns,
which drop other idle connections that have received something: prepare a response right before it is asked for.
"""

from __future__ import annotations

import select
import socket
from pathlib import Path

from tests.unit.features.local_site import FEATURES, Answer, Site

from portico.balancing.pool import PeerConnection
from portico.features import upstream
from portico.features.proxy import feature as proxy
from portico.http import phases
from portico.http.handler import Handler
from portico.net.transport import Transport
from portico.passing.groups import groups_of

_MORE = (proxy.FEATURE, upstream.FEATURE)


class ProxySite(Site):
    """One server on a directory, in front of `http://app`. `@/` in the text is the directory."""

    def __init__(self, text: str, directory: Path, http: str = "") -> None:
        http = f"upstream app {{ server unix:{directory}/none; }} proxy_temp_path {directory}/temp; {http}"
        super().__init__(
            text.replace("@/", f"{directory}/"), directory, (*FEATURES, *_MORE), http.replace("@/", f"{directory}/")
        )
        self.group = groups_of(self.plan.build)["app"]
        self.far: list[socket.socket] = []  # the upstream's ends of the connections, in the order in which they are prepared

    def prepare(self, *parts: str) -> int:
        """Let the upstream have sent the first part; the others come one by one while the body is read.

        Return the number of the connection.
        """
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        transport = Transport(self.reactor, near, True)
        transport.register()
        connection = PeerConnection(transport, self.group.balancer.peers[0], None, b"")
        self.group.pool.release(connection)
        pieces = [part.replace("\n", "\r\n").encode() for part in parts]
        far.send(pieces[0])
        transport.ready = True
        self.reactor.spawn(self._send_rest(far, pieces[1:]))
        self.far.append(far)
        return len(self.far) - 1

    async def _send_rest(self, far: socket.socket, pieces: list[bytes]) -> None:
        for piece in pieces:
            await self.reactor.turn()
            far.send(piece)

    def end(self, number: int = -1) -> None:
        """Let the upstream close its connection behind what it has sent."""
        self.far[number].shutdown(socket.SHUT_WR)

    def received(self, number: int = -1) -> str:
        """Return what the upstream has received on a connection so far."""
        found = b""
        while True:
            try:
                data = self.far[number].recv(65536)
            except BlockingIOError:
                return found.decode().replace("\r\n", "\n")
            if not data:
                return found.decode().replace("\r\n", "\n")
            found += data

    def is_closed(self, number: int = -1) -> bool:
        """Return whether Portico has closed its connection."""
        poll = select.poll()
        poll.register(self.far[number], 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def drop_idle(self) -> None:
        """Close the connections that wait in the pool: the next request finds no upstream."""
        for connection in list(self.group.pool._idle):
            connection.close()

    def send_again(self, number: int, response: str) -> None:
        """Let the upstream have responded once more on an idle connection."""
        self.far[number].send(response.replace("\n", "\r\n").encode())
        for connection in self.group.pool._idle:
            connection.transport.ready = True

    def get(self, response: str, target: str = "/", fields: str = "", method: str = "GET") -> Answer:
        """Return the client's response when the upstream's is `response`: header section, an empty line, body."""
        self.prepare(response)
        return self.ask(target, fields, method)

    def handler(self, target: str = "/") -> Handler:
        """Return what responds in the location of a URI."""
        request = self.request(target)
        phases.enter_location(request)
        return request.location.handlers[-1]

    def close(self) -> None:
        """Give everything back."""
        self.group.stop()
        for sock in self.far:
            sock.close()
        super().close()
