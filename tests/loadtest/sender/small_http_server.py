"""`python small_http_server.py PORT`: an HTTP server that does what the body of a request says. Prints its port."""

from __future__ import annotations

import asyncio
import re
import sys

LARGE = 3_000_000
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


def answer(body: bytes, status: str = "200 OK", header: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-LENGTH:  {len(body)}\r\n{header}\r\n".encode() + body


class Server(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.received = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += data
        while True:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            found = _LENGTH.search(head)
            size = int(found[1]) if found else 0
            if not end or len(rest) < size:
                return
            self.received = rest[size:]
            self.answer(bytes(rest[:size]))

    def answer(self, body: bytes) -> None:
        loop, write = asyncio.get_running_loop(), self.transport.write
        if b"refuse" in body:
            words = body.partition(b"refuse")[2].decode()
            write(answer(b'{"error": "will not:%s"}' % words.encode(), "400 Bad Request"))
        elif b"hang up" in body:
            self.transport.close()
        elif b"no length" in body:
            write(b"HTTP/1.1 200 OK\r\n\r\nsomething")
        elif b"last" in body:
            write(answer(b"goodbye", header="Connection: close\r\n"))
            self.transport.close()
        elif b"pieces" in body:
            whole = answer(b"piece by piece")
            for number, place in enumerate(range(0, len(whole), 20)):
                loop.call_later(0.001 * number, write, whole[place : place + 20])
        elif b"large" in body:
            write(answer(bytes(LARGE)))
        elif b"slow" in body:
            loop.call_later(0.05, write, answer(b'{"outputs": []}'))
        elif b"silent" not in body:
            write(answer(b"%d bytes" % len(body)))


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
