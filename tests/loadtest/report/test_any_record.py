"""Whatever a record holds, its page is whole: no exception, no `nan`, nothing outside of a chart."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_runs import make_run, make_sweep

from loadtest.report.files import as_json
from loadtest.report.markdown import markdown_of
from loadtest.report.opening import OpenedRun, OpenedSweep, open_all
from loadtest.report.page import page_of, report_of
from loadtest.results.run import IntervalRecord, Split
from loadtest.samples.record import SAMPLE

FLOATS = st.one_of(st.just(0.0), st.floats(1e-6, 1e9))
NAMES = st.text(max_size=40)
INTERVALS = st.tuples(FLOATS, FLOATS, FLOATS).map(sorted).map(
    lambda three: IntervalRecord(low=three[0], value=three[1], high=three[2], confidence=0.99)
)  # fmt: skip
SPLITS = st.builds(
    Split, model=NAMES, requests=st.integers(0, 10**9), executions=st.integers(0, 10**9), mean_batch=FLOATS,
    queue_us=FLOATS, input_us=FLOATS, compute_us=FLOATS, output_us=FLOATS,
    batch_sizes=st.dictionaries(st.integers(1, 4096), st.integers(0, 10**9), max_size=20),
)  # fmt: skip
SETTINGS = st.dictionaries(
    st.sampled_from(["max_queue_delay_us", "instances", "preferred"]),
    st.one_of(
        st.integers(0, 10**7),
        st.floats(0, 1e6),
        st.none(),
        st.booleans(),
        NAMES,
        st.lists(st.integers(1, 64), max_size=3),
    ),
    max_size=3,
)
EASY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[OpenedRun, OpenedSweep]:
    root: Path = tmp_path_factory.mktemp("any")
    make_run(root / "run", requests=2000)
    make_sweep(root / "sweep", over={"max_queue_delay_us": [0, 500]}, turns=1)
    run, sweep = open_all([root / "run", root / "sweep"])
    assert isinstance(run, OpenedRun)
    assert isinstance(sweep, OpenedSweep)
    return run, sweep


def whole(item: OpenedRun | OpenedSweep) -> None:
    report = report_of([item])
    html = page_of(report)
    assert html.count("<article") == html.count("</article>") == 1
    assert markdown_of(report)
    assert as_json(report)["items"]
    for figure in report.figures():
        for width in (figure.width, 350):
            drawn = ET.fromstring(figure.svg(width))
            height = float(drawn.attrib["viewBox"].split()[3])
            for element in drawn.iter():
                for key in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
                    value = float(element.attrib.get(key, 0))
                    assert -20 <= value <= max(width, height) + 20, (figure.name, element.attrib)
                assert not re.search(r"nan|inf", element.attrib.get("d", ""))


@EASY
@given(data=st.data())
def test_any_run(data: st.DataObject, opened: tuple[OpenedRun, OpenedSweep]) -> None:
    run = opened[0].run
    assert run.percentiles is not None
    assert run.objective is not None
    draw = data.draw
    percentiles = run.percentiles.model_copy(
        update={key: draw(INTERVALS) for key in ("p50_ms", "p95_ms", "p99_ms", "p999_ms")}
    )
    count = draw(st.integers(0, 300))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    samples = np.zeros(count, SAMPLE)
    samples["due_us"] = np.sort(rng.integers(0, draw(st.sampled_from([1, 10**4, 10**8, 10**11])), count))
    samples["latency_us"] = rng.integers(0, draw(st.sampled_from([1, 1000, 2**32 - 1])), count)
    samples["lag_us"] = rng.integers(0, draw(st.sampled_from([1, 1000, 2**32 - 1])), count)
    samples["outcome"] = rng.integers(0, 6, count)
    changes: dict[str, Any] = {
        "percentiles": draw(st.sampled_from([percentiles, None])),
        "splits": draw(st.lists(SPLITS, max_size=9)),
        "objective": draw(st.sampled_from([None, run.objective, run.objective.model_copy(update={"p99_ms": draw(FLOATS)})])),
        "errors": draw(st.dictionaries(NAMES, st.integers(0, 10**9), max_size=60)),
        "wall_s": draw(FLOATS), "achieved_rps": draw(FLOATS), "requests": count, "counted": count,
        "warm_up": run.warm_up.model_copy(update={"requests": draw(st.integers(0, 400)), "seconds": draw(FLOATS)}),
        "validity": run.validity.model_copy(update={"valid": draw(st.booleans()), "lag_bound_us": draw(FLOATS), "lag_p99_us": draw(FLOATS)}),
    }  # fmt: skip
    whole(replace(opened[0], run=run.model_copy(update=changes), samples=samples))


@EASY
@given(data=st.data())
def test_any_sweep(data: st.DataObject, opened: tuple[OpenedRun, OpenedSweep]) -> None:
    sweep, draw = opened[1].sweep, data.draw
    points = []
    for _ in range(draw(st.integers(0, 9))):
        verdict = draw(st.sampled_from(["pass", "fail", "undecided", "invalid"]))
        maybe = st.one_of(st.none(), INTERVALS)
        update: dict[str, Any] = {
            key: draw(maybe) for key in ("p50_ms", "p95_ms", "p99_ms", "throughput_rps", "max_rate")
        }
        update |= {"settings": draw(SETTINGS), "mean_batch": draw(st.one_of(st.none(), FLOATS))}
        update["splits"] = [
            split.model_copy(update={"model": sweep.member}) for split in draw(st.lists(SPLITS, max_size=2))
        ]
        update["judgement"] = sweep.points[0].judgement.model_copy(update={"verdict": verdict})
        points.append(sweep.points[0].model_copy(update=update))
    chosen = draw(st.sampled_from([None, *(point.settings for point in points)]))
    changes = {
        "points": points,
        "find_max": draw(st.booleans()),
        "choice": sweep.choice.model_copy(update={"settings": chosen}),
    }
    whole(replace(opened[1], sweep=sweep.model_copy(update=changes)))
