"""The reader of copies on a GPU, on files as the library that writes them down makes them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "gpu"))
from copy_trace_reader import Block, Calls, Copy, Seen, TraceError, Tracing, Wait, name_of

STUB = (
    "process 7 /b/triton_python_backend_stub /r/resnet/1/model.py triton_python_backend_shm_region_1 1 2\nready 28\n"
)
IN = "copy 1 2 3 1 602112 100 200 7 5\n"
OUT = "copy 2 3 2 1 4000 900 950 7 6\n"


@contextmanager
def answering(folder: Path, answers: dict[int, list[str]]) -> Iterator[None]:
    """Processes that write the next of their lines each time they are asked, and nothing when there are no more."""
    end = threading.Event()
    for process in answers:
        (folder / f"{process}.trace").touch()

    def run() -> None:
        last = 0
        while not end.wait(0.001):
            ask = folder / "ask"
            number = int(ask.read_text() or 0) if ask.exists() else 0
            if number == last:
                continue
            last = number
            for process, lines in answers.items():
                with (folder / f"{process}.trace").open("a") as file:
                    file.write((lines.pop(0) if lines else "") + f"asked {number}\n")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_what_came_between_two_questions_is_told_by_process(tmp_path: Path) -> None:
    server = "process 5 /opt/tritonserver/bin/tritonserver --model-repository=/r\nready 28\n"
    answers = {7: [STUB + IN, OUT, "", IN + "calls 1 0 0 0\n"], 5: [server]}
    with answering(tmp_path, answers):
        tracing = Tracing(tmp_path, lambda number: True)
        first = tracing.taken()
        assert list(first) == ["stub of resnet"]
        assert first["stub of resnet"].copies == [
            Copy("HtoD", "pinned", "GPU", 602112, True, 100, 200, 7, True),
            Copy("DtoH", "GPU", "pinned", 4000, True, 900, 950, 7, True),
        ]
        second = tracing.taken()
    assert [copy.kind for copy in second["stub of resnet"].copies] == ["HtoD"]
    assert second["stub of resnet"].calls == Calls(queries=1)
    assert sorted(process.name for process in tracing.processes.values()) == ["server", "stub of resnet"]


def test_who_died_is_not_waited_for_and_what_it_wrote_counts(tmp_path: Path) -> None:
    (tmp_path / "9.trace").write_text(STUB + IN + "copy 1 2 3 1 40")
    found = Tracing(tmp_path, lambda number: False).taken()
    assert [copy.size for copy in found["stub of resnet"].copies] == [602112]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("process 3 /bin/tritonserver\nerror cuptiSubscribe: NOT\n", "server: cuptiSubscribe: NOT"),
        ("told 3\n", "has a line that begins with 'told'"),
    ],
)
def test_what_went_wrong_is_raised(tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "3.trace").write_text(lines)
    with pytest.raises(TraceError, match=message):
        Tracing(tmp_path, lambda number: False).taken()


def test_a_wait_of_a_stream_or_an_answer_that_is_not_yet_is_none_of_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "7.trace").write_text(
        STUB + "wait 2 0 1 2 7\nwait 1 600 1 2 7\nwait 1 0 1 2 7\nwait 3 0 1 2 7\nwait 4 0 1 2 0\ncalls 1 0 1 1\n"
    )
    seen = Tracing(tmp_path, lambda number: False).taken()["stub of resnet"]
    assert seen.host_waits() == {"event": 1, "stream": 1, "context": 1}


def copy(to: str, start: int, end: int, stream: int = 7, kind: str = "DtoH", *, asynchronous: bool = True) -> Copy:
    return Copy(kind, "GPU", to, 4096, asynchronous, start, end, stream, False)


@pytest.mark.parametrize(
    ("seen", "waits"),
    [
        (Seen([copy("pageable", 10, 20, asynchronous=False)]), {"copy": 1}),
        (Seen([copy("pinned", 10, 20)]), {}),
        (Seen([copy("pageable", 10, 20)], [Wait("stream", 15, 25, 7)]), {"stream": 1}),
        (Seen([copy("pageable", 10, 20)], [Wait("stream", 15, 25, 8)]), {"stream": 1, "copy": 1}),
        (Seen([copy("pageable", 10, 20), copy("GPU", 30, 40, kind="DtoD")], [Wait("stream", 25, 45, 7)]),
         {"stream": 1, "copy": 1}),
        (Seen([], [Wait("event", 1, 2, 0)], Calls(queries=1)), {"event": 1}),
        (Seen([], [], Calls(queries=2, events=1)), {"event": 3}),
    ],
)  # fmt: skip
def test_how_often_the_host_waits(seen: Seen, waits: dict[str, int]) -> None:
    assert seen.host_waits() == waits


def test_processes_have_names() -> None:
    assert name_of(["/x/tritonserver", "--http-port=1"]) == "server"
    assert name_of(["/b/triton_python_backend_stub", "/r/resnet/1/model.py", "region"]) == "stub of resnet"
    assert name_of(["/usr/bin/python3", "-c", "pass"]) == "python3"
    work = '{"model": "resnet", "engine": "tensorrt", "path": "/r/resnet/1/model.plan"}'
    # As copy_trace.c writes it: all words with a space between them.
    command = f"/usr/bin/python3.11 -m tritonkit_runtime.engine_process 5 {work}".split(" ")
    assert name_of(command) == "engine process of resnet"
    assert name_of(command[:4]) == "python3.11"
    assert name_of([""]) == "unknown"


def test_what_a_process_holds_and_the_most_that_it_held(tmp_path: Path) -> None:
    first = "alloc device 4096 100\nalloc device 4096 100\nalloc pinned 8192 7\nalloc device 12288 100\nfree 4096\nfree 0\n"
    then = "alloc device 4096 30\nfree 4096\nalloc device 4096 20\n"
    with answering(tmp_path, {7: [STUB + first, then]}):
        tracing = Tracing(tmp_path, lambda number: True)
        assert tracing.taken() == {}
        [process] = tracing.processes.values()
        assert process.held.sizes("device") == {100: 1}
        assert process.held.bytes_of("pinned") == 7
        assert process.held.most == {"device": 200, "pinned": 7}
        process.held.begin()
        tracing.taken()
        assert process.held.taken == [Block("device", 30), Block("device", 20)]
        assert process.held.most == {"device": 130, "pinned": 7}
        assert process.held.sizes("device") == {100: 1, 20: 1}
