"""Recorded arrivals: replayed as they are, and refused by file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.problems import Problem, ProblemsError
from loadtest.traffic.arrivals import draw
from loadtest.traffic.schedule import Schedule
from loadtest.traffic.trace import read_trace

MIX, PAYLOADS = {"a": 3.0, "b": 1.0}, {"a": 5, "b": 2}


def replay(
    file: Path, text: str | bytes, *, rate: float | None = None, seconds: float | None = None, **more: Any
) -> Schedule:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return draw("trace", rate, seconds, 1, **{"mix": MIX, "payloads": PAYLOADS, "trace": file} | more)


def problems(file: Path, text: str | bytes, **asked: Any) -> list[Problem]:
    with pytest.raises(ProblemsError) as error:
        replay(file, text, **asked)
    return list(error.value.problems)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


# Replayed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "0.1\n0.29\n0.29\n1.1\n",
        "0.1\n0.29\n\n0.29\n  1.1",
        "\ufefftime\r\n0.1\r\n0.29\r\n0.29\r\n1.1\r\n",
        'time_s\n"0.1"\n0.29\n2.9e-1\n1.1\n',
        "Time_ms\n100\n290\n290\n1100\n",
        "time_us\n100000\n290000\n290000\n1100000\n",
        "time_ns\n100000000\n290000000\n290000000\n1100000000\n",
    ],
    ids=["plain", "empty lines", "header and BOM", "quotes", "ms", "us", "ns"],
)
def test_times_are_those_of_the_file(file: Path, text: str) -> None:
    found = replay(file, text)
    assert found.due_ns.tolist() == [100_000_000, 290_000_000, 290_000_000, 1_100_000_000]
    assert found.drawn["trace"] == "trace.csv"
    assert found.drawn["trace_requests"] == 4
    assert found.drawn["mean_rps"] == pytest.approx(4 / 1.1)


def test_columns_say_what_is_sent(file: Path) -> None:
    found = replay(file, "pipeline,time_ms,payload\nb,0,1\na,5,4\na,7,0\n")
    assert found.due_ns.tolist() == [0, 5_000_000, 7_000_000]
    assert found.pipeline.tolist() == [1, 0, 0]
    assert found.payload.tolist() == [1, 4, 0]


def test_what_the_file_does_not_say_is_drawn(file: Path) -> None:
    lines = "".join(f"{index / 1000}\n" for index in range(4000))
    found = replay(file, lines)
    drawn = draw("constant", 1000, 4, 1, mix=MIX, payloads=PAYLOADS)
    assert (found.pipeline == drawn.pipeline).all()
    assert (found.payload == drawn.payload).all()
    assert found.due_ns.tolist() == drawn.due_ns.tolist()
    named = replay(file, "time,pipeline\n" + "".join(f"{index / 1000},b\n" for index in range(4000)))
    assert set(named.pipeline.tolist()) == {1}
    assert np.bincount(named.payload).tolist() == [2000, 2000]


def test_a_payload_needs_no_pipeline_where_there_is_one(file: Path) -> None:
    found = replay(file, "time,payload\n0,3\n1,2\n", mix={"a": 1})
    assert found.payload.tolist() == [3, 2]


def test_a_rate_stretches_it_and_a_duration_cuts_it(file: Path) -> None:
    text = "".join(f"{index / 10},a\n" for index in range(1, 101))
    stretched = replay(file, "time,pipeline\n" + text, rate=2)
    assert stretched.due_ns[-1] == 50e9
    assert stretched.drawn["mean_rps"] == pytest.approx(2)
    assert stretched.drawn["trace_seconds"] == 10
    cut = replay(file, "time,pipeline\n" + text, seconds=3)
    assert len(cut) == len(cut.pipeline) == len(cut.payload) == 29
    assert cut.drawn["mean_rps"] == pytest.approx(29 / 3)
    both = replay(file, "time,pipeline\n" + text, rate=2, seconds=25)
    assert len(both) == 49


def test_it_says_which_file_it_was(file: Path) -> None:
    one, same, other = (replay(file, text).drawn["trace_sha256"] for text in ("1\n2\n", "1\n2\n", "1\n3\n"))
    assert one == same != other


def test_a_drawn_schedule_can_be_written_as_a_trace(file: Path) -> None:
    drawn = draw("poisson", 500, 5, 3, mix=MIX, payloads=PAYLOADS)
    rows = zip(drawn.due_ns.tolist(), drawn.pipeline.tolist(), drawn.payload.tolist(), strict=True)
    found = replay(
        file, "time_ns,pipeline,payload\n" + "".join(f"{due},{'ab'[of]},{which}\n" for due, of, which in rows)
    )
    for name in ("due_ns", "pipeline", "payload"):
        assert getattr(found, name).tolist() == getattr(drawn, name).tolist()


# Refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("0.1\n0.5\n0.4\n", 3, "the time 0.4 is before 0.5, the one above it; times ascend"),
        ("0.1\nNaN\n0.4\n", 2, "the time `NaN` is not finite"),
        ("0.1\n0.2\ninf\n", 3, "the time `inf` is not finite"),
        ("-0.1\n0.2\n", 1, "the time `-0.1` is negative"),
        ("0.1\n\n\nsoon\n0.4\n", 4, "the time `soon` is not a number"),
        ("0.1\n0.2,3\n", 2, "the time `0.2,3` is not a number"),
        ("time_ms\n1\n\n0x10\n", 4, "the time `0x10` is not a number"),
        ("time,pipeline\n0.1,a\n0.2\n", 3, "1 columns; the header has 2"),
        ("time,pipeline\n0.1,a\n,b\n", 3, "the time `` is not a number"),
        ("time,pipeline\n0.1,a\n0.2,c\n", 3, "the pipeline `c` is not in the mix; it has `a`, `b`"),
        ("time,pipeline,payload\n0.1,a,4\n0.2,b,2\n", 3, "the payload `2` is none; there are those from 0 to 1"),
        ("time,pipeline,payload\n0.1,a,-1\n", 2, "the payload `-1` is none; there are those from 0 to 4"),
        ("time,pipeline,payload\n0.1,a,1.0\n", 2, "the payload `1.0` is none; there are those from 0 to 4"),
    ],
)
def test_a_wrong_line(file: Path, text: str, line: int, said: str) -> None:
    [found] = problems(file, text)
    assert (found.code, found.place.file, found.place.line, found.message) == ("TK857", str(file), line, said)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("0.1\n  soon\n", ["2:3"]),
        ("time,pipeline,payload\n0.1,a,4\n0.2, c,9\n0.1,b,\n", ["3:6", "3:8", "4:1", "4:7"]),
        ("time,pipeline\n0.1,a\n0.2\n", ["3:1"]),
    ],
)
def test_a_wrong_cell_is_where_it_begins(file: Path, text: str, places: list[str]) -> None:
    """Lines and columns count from 1."""
    found = problems(file, text)
    assert [str(one.place) for one in found] == [f"{file}:{place}" for place in places]


def test_all_wrong_lines_are_told_up_to_ten(file: Path) -> None:
    found = problems(file, "time,pipeline\n-1,c\n0.5,a\n0.4,a\n")
    assert [(one.place.line, one.code) for one in found] == [(2, "TK857"), (2, "TK857"), (4, "TK857")]
    many = problems(file, "0\n" + "x\n" * 100)
    assert len(many) == 11
    assert [one.place.line for one in many[:10]] == list(range(2, 12))
    assert many[10].message == "as many as 90 more lines are wrong"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the trace is empty"),
        ("\n \n", "the trace is empty"),
        ("time_ms\n", "the trace is empty"),
        ("1,2\n3,4\n", "the trace has 2 columns and no header"),
        ("0,a\n1,a\n", "the trace has 2 columns and no header"),
        ("when\n1\n", "the trace begins with `when`, neither a time nor a column"),
        ("time,pipline\n1,a\n", "the trace begins with `pipline`, neither a time nor a column"),
        ("pipeline\na\n", "the trace has the columns pipeline"),
        ("time,time_ms\n1,1000\n", "the trace has the columns time, time_ms"),
        ("time,payload,payload\n1,1,1\n", "the trace has the columns time, payload, payload"),
        ("time,payload\n1,1\n", "the trace has a column `payload` and none `pipeline`, and the run has several pipelines"),
        (b"\xff\xfe1\n", "the trace is not a text in UTF-8"),
    ],
)  # fmt: skip
def test_a_wrong_file(file: Path, text: str | bytes, said: str) -> None:
    [found] = problems(file, text)
    assert (found.code, found.place.file, found.message) == ("TK856", str(file), said)
    assert found.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ProblemsError, match=f"TK856 .*the trace cannot be read: {said}"):
            draw("trace", None, None, 1, mix=MIX, payloads=PAYLOADS, trace=path)


def test_more_lines_than_a_run_can_hold(file: Path) -> None:
    file.write_text("1\n2\n3\n", encoding="utf-8")
    with pytest.raises(ProblemsError, match=r"TK852 .*the trace has 3 times; a run can hold 2"):
        read_trace(file, PAYLOADS, 2)
    file.write_bytes(b"1\n" * 500)
    with pytest.raises(ProblemsError, match=r"TK852 .*more times than a run can hold, 2"):
        read_trace(file, PAYLOADS, 2)


def test_times_of_a_clock_are_no_times_of_a_run(file: Path) -> None:
    text = "1700000000.5\n1700000001.5\n"
    [found] = problems(file, text)
    assert found.code == "TK856"
    assert found.hint == "times count from the start of the run: take the first one from all"
    [found] = problems(file, text, seconds=30)
    assert (found.code, found.message) == ("TK858", "its first time is 1.7e+09 s, and the run has ended then")


def test_what_does_not_go_with_a_trace(file: Path) -> None:
    [found] = problems(file, "0\n0\n", rate=5)
    assert (found.code, found.message) == ("TK856", "all its times are 0, which cannot be stretched to a rate")
    [found] = problems(file, "1\n2\n", times=5)
    assert (found.code, found.message) == ("TK853", "a trace has no setting `times`")
    assert problems(file, "1\n2\n", rate=0)[0].code == "TK850"
    assert problems(file, "1\n2\n", seconds=-1)[0].code == "TK851"


@settings(max_examples=300)
@given(st.text(alphabet='0123456789.,-+eE\n \t\r"naifptimelod_su', max_size=60))
def test_any_text_is_replayed_or_refused(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = replay(Path(folder) / "t.csv", text)
        except ProblemsError as error:
            assert {problem.code for problem in error.problems} <= {"TK856", "TK857", "TK858"}  # noqa: PT017
            return
    assert len(found) > 0
    assert found.due_ns[0] >= 0
    assert (np.diff(found.due_ns) >= 0).all()
