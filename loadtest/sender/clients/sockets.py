"""Non-blocking sockets on one epoll, and waiting to the microsecond."""

from __future__ import annotations

import os
import select
import socket

RECEIVE_BYTES = 1 << 17
READ = select.EPOLLIN
READ_WRITE = select.EPOLLIN | select.EPOLLOUT


class Target:
    """`host:port`, looked up once. Raises OSError when there is no such host."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        self._family, self._address = found[0][0], found[0][4]

    def connected(self, timeout_s: float) -> socket.socket:
        """A connection. Raises OSError."""
        made = self._socket()
        try:
            made.settimeout(timeout_s)
            made.connect(self._address)
            made.setblocking(False)
        except BaseException:
            made.close()
            raise
        return made

    def connecting(self) -> socket.socket:
        """A connection that can be written to once it stands. Raises OSError when it is refused at once."""
        made = self._socket()
        try:
            made.setblocking(False)
            made.connect(self._address)
        except BlockingIOError:
            pass  # under way
        except BaseException:
            made.close()
            raise
        return made

    def _socket(self) -> socket.socket:
        made = socket.socket(self._family, socket.SOCK_STREAM)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def words_of(error: OSError) -> str:
    """The system's words, without what differs from time to time."""
    return os.strerror(error.errno) if error.errno else str(error)


class Poll:
    """An epoll that waits as long as it is told: Python's own rounds up to a millisecond, `select` does not."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._just_this = [self._epoll.fileno()]
        self.add, self.modify, self.remove = self._epoll.register, self._epoll.modify, self._epoll.unregister

    def events(self, timeout_s: float) -> list[tuple[int, int]]:
        """File descriptors and what happened to them; empty when nothing did within the time."""
        if timeout_s > 0 and not select.select(self._just_this, (), (), timeout_s)[0]:
            return []
        return self._epoll.poll(0)

    def close(self) -> None:
        """Closes it; sockets stay open."""
        self._epoll.close()
