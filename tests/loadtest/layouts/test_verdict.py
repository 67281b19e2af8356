"""Which layout wins, by made-up timings."""

from __future__ import annotations

import random

import pytest

from loadtest.layouts.stages import Breakdown, Stage, Totals, breakdown, totals_of
from loadtest.layouts.turn import Mode, Turn
from loadtest.layouts.verdict import breakdown_of, capacity_verdict, latency_verdict

LATENCY, CAPACITY = Mode("latency", 1, 1), Mode("capacity", 8, 16)
ORDER = ["fused", "ensemble", "folded"]


def stages(models: int, compute_us: float, queue_us: float = 20.0) -> Breakdown:
    each = {f"m{index}": Stage(queue_us, 10.0, compute_us / models, 10.0, 1.0) for index in range(models)}
    return Breakdown(each, 0.0 if models == 1 else -5.0, 150.0)


def turn(layout: str, number: int, us: float, parts: Breakdown, mode: Mode = LATENCY, cpu_us: float = 100.0) -> Turn:
    return Turn(layout, mode.name, number, 100, 100 * mode.items, us, us, 1e6 / us, cpu_us, 30.0, parts)


def rounds(times_us: dict[str, float], parts: dict[str, Breakdown], noise: float, mode: Mode = LATENCY,
           cpu_us: dict[str, float] | None = None) -> list[Turn]:  # fmt: skip
    """Nine rounds; the machine gets slower and faster, for all alike, and each turn has noise of its own."""
    found, drawn = [], random.Random(7)
    for number in range(1, 10):
        slow = drawn.uniform(1, 3)
        found += [
            turn(
                name,
                number,
                us * slow * drawn.uniform(1, 1 + noise),
                parts[name],
                mode,
                (cpu_us or {}).get(name, 100.0),
            )
            for name, us in times_us.items()
        ]
    drawn.shuffle(found)
    return found


def test_the_fastest_is_told_from_the_others_through_a_machine_of_changing_speed() -> None:
    parts = {"ensemble": stages(3, 900), "fused": stages(1, 400)}
    found = latency_verdict(rounds({"ensemble": 2000, "fused": 1000}, parts, 0.02), LATENCY, ORDER)
    assert found.fastest == ("fused",)
    assert found.ratios["ensemble"].median == pytest.approx(2, rel=0.03)
    assert 1.9 < found.ratios["ensemble"].low <= found.ratios["ensemble"].high < 2.1
    assert found.text.startswith("Latency at 1 in flight: fused is the fastest; ensemble takes ")
    assert found.text.endswith(
        ": ensemble has 3 models, fused 1; ensemble loses most in the compute of its models, 900 µs a request against 400."
    )


def test_where_the_slowest_loses_most_is_named() -> None:
    parts = {"ensemble": stages(3, 400, queue_us=600), "fused": stages(1, 400)}
    found = latency_verdict(rounds({"ensemble": 3000, "fused": 1000}, parts, 0.02), LATENCY, ORDER)
    assert "ensemble loses most waiting in queues, 1,800 µs a request against 20." in found.text


def test_what_is_lost_between_models_is_named() -> None:
    between = Breakdown(stages(3, 400).models, 310.0, 150.0)
    parts = {"ensemble": between, "fused": stages(1, 400)}
    found = latency_verdict(rounds({"ensemble": 3000, "fused": 1000}, parts, 0.02), LATENCY, ORDER)
    assert "ensemble loses most passing tensors on, 370 µs a request against 20." in found.text


def test_what_overlaps_is_not_counted_twice() -> None:
    """The outputs of three models take 900 µs, in 850 of which the next model works already."""
    overlapping = Breakdown({f"m{n}": Stage(20.0, 10.0, 200.0, 300.0, 1.0) for n in range(3)}, -850.0, 150.0)
    parts = {"ensemble": overlapping, "fused": stages(1, 400)}
    found = latency_verdict(rounds({"ensemble": 3000, "fused": 1000}, parts, 0.02), LATENCY, ORDER)
    assert "ensemble loses most in the compute of its models, 600 µs a request against 400." in found.text


def test_layouts_that_cannot_be_told_apart() -> None:
    parts = dict.fromkeys(ORDER, stages(1, 400))
    found = latency_verdict(rounds(dict.fromkeys(ORDER, 1000.0), parts, 0.5), LATENCY, ORDER)
    assert set(found.fastest) == set(ORDER)
    assert found.text == (
        f"Latency at 1 in flight: {found.fastest[0]}, {found.fastest[1]} and {found.fastest[2]} cannot be told apart."
    )


def test_two_that_cannot_be_told_apart_from_a_third_that_can() -> None:
    parts = dict.fromkeys(ORDER, stages(1, 400))
    times = {"ensemble": 5000.0, "fused": 1000.0, "folded": 1001.0}
    found = latency_verdict(rounds(times, parts, 0.3), LATENCY, ORDER)
    assert set(found.fastest) == {"fused", "folded"}
    assert "fused and folded cannot be told apart; ensemble takes " in found.text


def test_capacity_is_explained_by_the_cpu() -> None:
    parts = dict.fromkeys(ORDER, stages(1, 400))
    times = {"ensemble": 400.0, "fused": 200.0}
    found = capacity_verdict(rounds(times, parts, 0.02, CAPACITY, {"ensemble": 1350, "fused": 640}), CAPACITY, ORDER)
    assert found.text.startswith("Capacity at 16 in flight, 8 items a request: fused is the fastest; ensemble takes ")
    assert found.text.endswith(": an item costs the server 1,350 µs of CPU in ensemble, 640 in fused.")


def test_capacity_that_the_cpu_does_not_explain() -> None:
    parts = dict.fromkeys(ORDER, stages(1, 400))
    found = capacity_verdict(rounds({"ensemble": 400.0, "fused": 200.0}, parts, 0.02, CAPACITY), CAPACITY, ORDER)
    assert "no more CPU in ensemble than in fused: it waits for something else." in found.text


# The server's statistics -----------------------------------------------------------------------------------

SAID = {
    "name": "m", "inference_count": "16", "execution_count": "4",
    "inference_stats": {
        "success": {"count": "8", "ns": "8000000"}, "queue": {"count": "8", "ns": "800000"},
        "compute_input": {"count": "8", "ns": "80000"}, "compute_infer": {"count": "8", "ns": "4000000"},
        "compute_output": {"count": "8", "ns": "160000"},
    },
}  # fmt: skip


def test_a_request_is_taken_apart() -> None:
    whole = Totals(requests=8, items=16, executions=0, whole_ns=16_000_000)
    spent = {"m": totals_of(SAID), "n": totals_of(SAID), "pipeline": whole}
    found = breakdown(spent, ["m", "n"], "pipeline", 2300.0, chain=True)
    assert found.models["m"] == Stage(100.0, 10.0, 500.0, 20.0, 4.0)
    assert found.between_us == pytest.approx(2000 - 2 * 630)
    assert found.outside_us == pytest.approx(300)
    assert breakdown(spent, ["m", "n"], "pipeline", 2300.0, chain=False).between_us is None
    assert breakdown(spent, ["m"], "m", 1300.0, chain=True).between_us == 0
    with pytest.raises(ValueError, match="counted no request"):
        breakdown({**spent, "pipeline": Totals()}, ["m"], "pipeline", 1.0, chain=True)


def test_totals_of_two_readings() -> None:
    assert totals_of({"name": "ensemble"}) == Totals()
    assert totals_of(SAID) + totals_of(SAID) - totals_of(SAID) == totals_of(SAID)


def test_parts_are_medians_of_the_turns() -> None:
    turns = [turn("fused", number, 1000, stages(1, us)) for number, us in enumerate((100, 900, 400))]
    assert breakdown_of(turns).models["m0"].compute_us == 400
