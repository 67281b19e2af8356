"""What holds of every schedule, whatever was asked for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.problems import ProblemsError
from loadtest.traffic.arrivals import draw
from loadtest.traffic.schedule import Schedule

SHAPES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "poisson": st.just({}),
    "constant": st.just({}),
    "burst": st.fixed_dictionaries({}, optional={"times": st.floats(1, 50)}),
    "ramp": st.fixed_dictionaries({}, optional={"from_rps": st.floats(0, 2000)}),
    "diurnal": st.fixed_dictionaries({}, optional={"depth": st.floats(0, 1), "days": st.floats(0.01, 20)}),
}
KINDS = st.sampled_from(sorted(SHAPES)).flatmap(lambda kind: st.tuples(st.just(kind), SHAPES[kind]))
MIXES = st.dictionaries(
    st.text(min_size=1), st.tuples(st.floats(0.01, 1000), st.integers(1, 300)), min_size=1, max_size=5
)


@settings(max_examples=400)
@given(KINDS, st.floats(30, 3000), st.floats(1, 5), st.integers(0, 2**70), MIXES)
def test_what_holds_of_every_schedule(
    asked: tuple[str, dict[str, Any]], rate: float, seconds: float, seed: int, mix: dict[str, tuple[float, int]]
) -> None:
    kind, shape = asked
    weights = {name: weight for name, (weight, _) in mix.items()}
    counts = {name: count for name, (_, count) in mix.items()}
    try:
        found = draw(kind, rate, seconds, seed, mix=weights, payloads=counts, **shape)
    except ProblemsError as error:
        # The beginning of a day may be so quiet that nothing comes.
        assert [problem.code for problem in error.problems] == ["TK858"]  # noqa: PT017
        assert kind == "diurnal"
        return
    assert (found.due_ns.dtype, found.pipeline.dtype, found.payload.dtype) == (np.int64, np.uint8, np.uint32)
    assert len(found.due_ns) == len(found.pipeline) == len(found.payload) == len(found) > 0
    assert (np.diff(found.due_ns) >= 0).all()
    assert found.due_ns[0] >= 0
    assert found.due_ns[-1] <= seconds * 1e9
    expected = found.drawn["mean_rps"] * seconds
    assert abs(len(found) - expected) <= 6 * expected**0.5 + 6
    limits = np.array(list(counts.values()))
    assert (found.pipeline < len(limits)).all()
    assert (found.payload < limits[found.pipeline]).all()
    assert sum(found.drawn["mix"].values()) == pytest.approx(1)
    json.dumps(found.drawn, allow_nan=False)
    for index, count in enumerate(limits):
        # No payload is sent twice more than another.
        sent = np.bincount(found.payload[found.pipeline == index], minlength=count)
        assert sent.max() - sent.min() <= 1


@settings(max_examples=100)
@given(st.integers(1, 9), st.floats(1, 300))
def test_parts_make_the_whole(parts: int, rate: float) -> None:
    whole = draw("poisson", rate, 3, 5, mix={"a": 1, "b": 2}, payloads={"a": 3, "b": 4})
    every = [whole.part(number, parts) for number in range(parts)]
    assert sum(map(len, every)) == len(whole)
    for number, part in enumerate(every):
        assert part.due_ns.tolist() == whole.due_ns[number::parts].tolist()
        assert part.drawn["part"] == [number, parts]


def test_no_arrivals_take_no_time() -> None:
    nothing = Schedule(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint32))
    assert nothing.duration_s == 0
    assert draw("constant", 10, 1, 1, mix={"a": 1}, payloads={"a": 1}).duration_s == 0.9
