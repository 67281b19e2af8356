"""Raw gRPC over ModelStreamInfer: a connection has one stream for all requests, and answers name theirs by its id."""

from __future__ import annotations

from collections.abc import Iterator

from loadtest.samples.record import Outcome
from loadtest.sender.clients.links import Link, Stream
from loadtest.sender.clients.raw_grpc import RawGrpc, words_of_status

STREAM = 1  # the first that a connection opens, and its only one
_LENGTH_BYTES = 5
_REQUEST_ID = b"\x1a"  # field 3 of ModelInferRequest
_ERROR, _RESPONSE, _RESPONSE_ID = 1, 2, 3
UNKNOWN = 2  # the status of an error that the stream reports without one


class RawGrpcStream(RawGrpc):
    """A `Client`, like `RawGrpc`. A single request cannot be ended: past its deadline its answer is ignored."""

    method = "ModelStreamInfer"
    _last_id = 0

    def _metadata(self) -> dict[str, str]:
        return self._work.orders.headers  # a deadline would be the stream's

    def _opened(self, link: Link) -> None:
        link.begin(self._headers)

    def _put(self, link: Link, index: int) -> int:
        self._last_id += 1
        name = b"%d" % self._last_id
        body = self._requests[self._work.pipeline[index]][self._work.payload[index]][_LENGTH_BYTES:]
        body = body + _REQUEST_ID + bytes([len(name)]) + name
        link.message(STREAM, b"\0" + len(body).to_bytes(4, "big") + body)
        return self._last_id

    def _reset(self, link: Link, stream: Stream) -> None:
        """Nothing can be done."""

    def _data(self, link: Link, number: int, payload: bytes, now_ns: int) -> None:  # noqa: ARG002
        inbox = link.inbox
        inbox += payload
        while len(inbox) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(inbox[1:_LENGTH_BYTES], "big")
            if len(inbox) < end:
                break
            self._answered(link, bytes(inbox[_LENGTH_BYTES:end]), now_ns)
            del inbox[:end]

    def _answered(self, link: Link, message: bytes, now_ns: int) -> None:
        error, response = "", b""
        for number, value in fields_of(message):
            if number == _ERROR:
                error = value.decode(errors="replace")
            elif number == _RESPONSE:
                response = value
        name = next((value for number, value in fields_of(response) if number == _RESPONSE_ID), b"")
        stream = link.streams.get(int(name)) if name.isdigit() else None
        if stream is None:  # given up meanwhile
            return
        if error:
            self._end(stream, now_ns, Outcome.REFUSED, error, UNKNOWN)
            return
        if self._work.kept is not None:
            self._work.kept[stream.index] = response
        self._end(stream, now_ns, Outcome.OK)

    def _ended(self, link: Link, number: int, said: dict[bytes, bytes], now_ns: int) -> None:  # noqa: ARG002
        status = int(said.get(b"grpc-status", b"2"))
        raise ConnectionError(f"the server ended the stream: {words_of_status(status, said)}")

    def _cut(self, link: Link, number: int, words: str, now_ns: int) -> None:  # noqa: ARG002
        raise ConnectionError(words)


def fields_of(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field of a protobuf message that has a length. IndexError when it is cut short."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == 2:
            length, place = _varint(message, place)
            yield tag >> 3, message[place : place + length]
            place += length
        elif kind == 0:
            _, place = _varint(message, place)
        else:
            place += 8 if kind == 1 else 4


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
