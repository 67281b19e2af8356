"""Good requests that go on while others misbehave: none may be lost, none answered wrongly."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hostile_files import digit
from story_tools import PROTOCOLS, Protocol, Rendered, Running, encoded, texts

from deploy.embedded import stubs
from generator.engine import Alone
from tritonkit import Pipeline

AT_ONCE = 8
PACE_S = 0.02  # between two rounds, so that the streams leave the machine to what is tested


def right_labels(rendered: Rendered, images: Sequence[bytes]) -> list[list[str]]:
    """The pipeline's answers without a server."""
    with Alone(rendered.plans["digits"], rendered.files) as alone:
        answer = alone.run({"image": encoded(images)})
    assert not answer.failed
    found: list[list[str]] = texts(answer.outputs["label"])
    return found


class Stream:
    """Requests over one protocol in a thread of its own, a few at a time, until it is told to stop."""

    def __init__(self, address: str, protocol: Protocol, images: Sequence[bytes], right: list[list[str]]) -> None:
        self._pipeline = Pipeline("digits", address, protocol=protocol)
        self._images, self._right = images, right
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.rounds = 0
        self.wrong: list[str] = []
        self._thread.start()

    def _run(self) -> None:
        try:
            while True:
                self._round()
                self.rounds += 1
                if self._stopping.wait(PACE_S):
                    return
        except Exception as error:  # noqa: BLE001 - what kept the stream from going on is what it found
            self.wrong.append(repr(error))

    def _round(self) -> None:
        answers = self._pipeline.infer(self._images)
        if [answer.index for answer in answers] != list(range(len(self._images))):
            self.wrong.append(f"{len(answers)} answers")
        for answer, right in zip(answers, self._right, strict=True):
            if not answer.ok or answer.label.tolist() != right:
                self.wrong.append(str(answer.error or answer.label.tolist()))

    def stop(self) -> None:
        """Ends it after the round that is under way."""
        self._stopping.set()
        self._thread.join()
        self._pipeline.close()


@dataclass
class Meanwhile:
    """`spoiled`: how the error begins that good requests may get because of another one in their batch."""

    spoiled: str | None = None

    def unexpected(self, wrong: Sequence[str]) -> list[str]:
        """What else went wrong."""
        return [text for text in wrong if self.spoiled is None or not text.startswith(self.spoiled)]


@contextmanager
def good_requests(running: Running) -> Iterator[Meanwhile]:
    """Runs streams over both protocols meanwhile; then they, the server and its Python processes must be well."""
    meanwhile = Meanwhile()
    images = [digit(index) for index in range(AT_ONCE)]
    right = right_labels(running.rendered, images)
    processes = {stub.pid for stub in stubs.running(running.server.pid)}
    streams = {name: Stream(running.address(name), name, images, right) for name in PROTOCOLS}
    try:
        yield meanwhile
    finally:
        for stream in streams.values():
            stream.stop()
    for name, stream in streams.items():
        assert stream.rounds, f"no good request was answered over {name}: {stream.wrong}"
        unexpected = meanwhile.unexpected(stream.wrong)
        assert not unexpected, (name, stream.rounds, unexpected[:5])
    assert running.server.poll() is None, "the server has ended"
    assert {stub.pid for stub in stubs.running(running.server.pid)} == processes
    for name in PROTOCOLS:
        with Pipeline("digits", running.address(name), protocol=name) as pipeline:
            assert [answer.label.tolist() for answer in pipeline.infer(images)] == right
