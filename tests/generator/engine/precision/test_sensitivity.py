"""The ranking of layers, against each layer quantised for real; and the search along it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lowering_graphs import (
    CALIBRATED,
    FLOOR,
    Array,
    accuracy,
    attention,
    digits,
    digits_data,
    digits_ranges,
    graph,
    noise,
    normal,
    run,
    samples,
    texts,
)

from generator.engine.calibrate import collect
from generator.engine.errors import StageError
from generator.engine.precision import Harm, Kept, draw_ranking, quantizable, quantize, quantized, search, sensitivity
from generator.engine.runner import Samples


def calibrated(model: onnx.ModelProto, **inputs: Array) -> Any:
    return collect(model, samples(**inputs), "minmax")


# The ranking --------------------------------------------------------------------------------------------------------


def test_digits_harm_as_much_as_each_layer_for_real() -> None:
    pixels = digits_data()[0][:100]
    [right] = run(digits(), pixels=pixels)
    ranking = sensitivity(digits(), digits_ranges(), samples(pixels=pixels))
    assert {h.layer for h in ranking} == {"conv_0", "conv_2", "gemm_6", "logits"}
    assert [h.harm for h in ranking] == sorted(h.harm for h in ranking)
    for harm in ranking:
        [alone] = run(quantize(digits(), digits_ranges(), None, [harm.layer]), pixels=pixels)
        assert harm.harm == pytest.approx(noise(alone, right), rel=0.02)
        assert harm.snr_db == pytest.approx(-10 * math.log10(harm.harm))


@pytest.mark.parametrize("engine", ["tensorrt", "onnxruntime"])
def test_a_transformer_harms_as_much_as_each_layer_for_real(engine: Any) -> None:
    ranges, given = calibrated(attention(), **texts(32, 8)), texts(16, 8, seed=4)
    [right] = run(attention(), **given)
    for harm in sensitivity(attention(), ranges, samples(**given), for_engine=engine):
        [alone] = run(quantize(attention(), ranges, None, [harm.layer], engine), optimise=False, **given)
        assert harm.harm == pytest.approx(noise(alone, right), rel=0.05)


def test_batches_of_unlike_shapes_count_as_one() -> None:
    ranges = calibrated(attention(), **texts(32, 8))
    short, long = texts(8, 3, seed=1), texts(8, 7, seed=2)
    both = sensitivity(attention(), ranges, Samples((short, long), ""))
    [right_short], [right_long] = run(attention(), **short), run(attention(), **long)
    right = np.concatenate([right_short, right_long])
    for harm in both:
        made = quantize(attention(), ranges, None, [harm.layer])
        answers = np.concatenate([run(made, optimise=False, **given)[0] for given in (short, long)])
        assert harm.harm == pytest.approx(noise(answers, right), rel=0.05)


def test_two_runs_agree_and_the_progress_reaches_the_end() -> None:
    given = samples(pixels=digits_data()[0][:32])
    seen: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        seen.append((done, total))

    assert sensitivity(digits(), digits_ranges(), given, told) == sensitivity(digits(), digits_ranges(), given)
    assert seen == [(i, 5) for i in range(1, 6)]


def test_what_is_kept_is_not_ranked() -> None:
    given = samples(pixels=digits_data()[0][:32])
    ranking = sensitivity(digits(), digits_ranges(), given, keep=Kept(first=1, nodes=["logits"]))
    assert {h.layer for h in ranking} == {"conv_2", "gemm_6"}


def test_an_interruption_goes_through() -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sensitivity(digits(), digits_ranges(), samples(pixels=digits_data()[0][:8]), interrupt)


def test_a_layer_with_a_narrow_range_comes_last() -> None:
    ranges = {**digits_ranges(), "relu_1": (0.0, 0.05)}
    ranking = sensitivity(digits(), ranges, samples(pixels=digits_data()[0][:32]))
    assert ranking[-1].layer == "conv_2"
    assert ranking[-1].harm > 100 * ranking[-2].harm


def test_without_float_outputs_it_is_the_share_that_differs() -> None:
    model = graph(
        "(float[N, 4] x) => (int64[N] best) { a = MatMul(x, w) best = ArgMax <axis = 1, keepdims = 0> (a) }",
        w=normal(4, 9),
    )
    [harm] = sensitivity(model, {"x": (-0.02, 0.02)}, samples(x=normal(50, 4)))
    made = quantize(model, {"x": (-0.02, 0.02)})
    [right], [answer] = run(model, x=normal(50, 4)), run(made, x=normal(50, 4))
    assert harm.harm == pytest.approx(float((right != answer).mean()))
    assert harm.harm > 0.1


def test_layers_that_share_a_weight_are_ranked_each() -> None:
    model = graph(
        "(float[N, 4] x) => (float[N, 4] y) { a = MatMul(x, w) b = Relu(a) y = MatMul(b, w) }", w=normal(4, 4)
    )
    x = normal(32, 4, seed=9)
    ranges = calibrated(model, x=x)
    assert {h.layer for h in sensitivity(model, ranges, samples(x=x))} == {"a", "y"}


def test_a_row_is_plain() -> None:
    assert Harm("a", "Conv", 9, 0.5).row() == {"layer": "a", "op": "Conv", "weight_elements": 9, "harm": 0.5}
    assert json.loads(json.dumps(Harm("a", "Conv", 9, math.inf).row()))["harm"] is None
    assert Harm("a", "Conv", 9, 0.0).snr_db == math.inf


# The search ---------------------------------------------------------------------------------------------------------

RANKING = [Harm(name, "MatMul", 1, rank / 1000) for rank, name in enumerate(["out", "q", "wide", "k", "narrow", "v"])]


def count_of(model: onnx.ModelProto) -> int:
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    return sum(
        made.get(n.input[1]) == "DequantizeLinear" for n in model.graph.node if n.name in {h.layer for h in RANKING}
    )


@pytest.mark.parametrize("most", range(1, 7))
def test_the_largest_good_set_is_found(most: int) -> None:
    ranges = calibrated(attention(), **texts(32, 8))
    said: list[str] = []
    found = search(attention(), ranges, RANKING, lambda model: count_of(model) <= most, said.append)
    assert sorted(found.quantised.layers) == sorted(h.layer for h in RANKING[:most])
    assert count_of(found.quantised.model) == most
    assert all(trial.good == (trial.layers <= most) for trial in found.trials)
    assert found.evaluations == len(said) == len(found.trials) <= 2 + math.log2(6)
    assert {trial.layers for trial in found.trials} >= ({most, most + 1} if most < 6 else {6})
    assert len({trial.layers for trial in found.trials}) == found.evaluations, "nothing is judged twice"


def test_the_set_returned_was_judged_good_however_the_verdicts_fall() -> None:
    ranges = calibrated(attention(), **texts(32, 8))
    found = search(attention(), ranges, RANKING, lambda model: count_of(model) in {1, 2, 5})
    assert next(t.good for t in found.trials if t.layers == len(found.quantised.layers))


def test_none_is_good() -> None:
    ranges = calibrated(attention(), **texts(32, 8))
    for ranking in (RANKING, RANKING[:1], []):
        with pytest.raises(StageError) as raised:
            search(attention(), ranges, ranking, lambda _model: False)
        assert [f.code for f in raised.value.findings] == ["TK936"]


def test_digits_with_one_bad_range_are_mended_by_leaving_its_layer() -> None:
    pixels, _ = digits_data()
    ranges = {**digits_ranges(), "relu_1": (0.0, 0.02)}

    def good(model: onnx.ModelProto) -> bool:
        return accuracy(run(model, pixels=pixels)[0], CALIBRATED) >= FLOOR

    assert not good(quantize(digits(), ranges))
    ranking = sensitivity(digits(), ranges, samples(pixels=pixels[:64]))
    found = search(digits(), ranges, ranking, good)
    assert found.quantised.layers == ("conv_0", "gemm_6", "logits")
    assert good(found.quantised.model)


def test_a_reduced_range_and_what_is_kept_reach_the_graph() -> None:
    ranking = [Harm(layer.name, layer.op, layer.weight_elements, 0.0) for layer in quantizable(digits())]
    found = search(
        digits(),
        digits_ranges(),
        ranking,
        lambda _m: True,
        keep=Kept(first=1),
        for_engine="onnxruntime",
        reduce_range=True,
    )
    wanted = quantized(digits(), digits_ranges(), Kept(first=1), None, "onnxruntime", reduce_range=True)
    assert found.quantised.model.SerializeToString() == wanted.model.SerializeToString()


# The chart ----------------------------------------------------------------------------------------------------------


def test_the_chart_names_every_layer_and_is_the_same_twice(tmp_path: Path) -> None:
    ranking = [*RANKING, Harm("broken", "Gemm", 5, math.inf)]
    for name in ("one.svg", "two.svg"):
        draw_ranking(ranking, tmp_path / name, {"q", "k"})
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "two.svg").read_text()
    assert all(f"<!-- {harm.layer} ({harm.op}) -->" in text for harm in ranking)
    assert "left in FP32" in text


def test_of_many_layers_the_most_harmful_are_drawn(tmp_path: Path) -> None:
    draw_ranking([Harm(f"layer{i}", "Conv", 1, (i + 1) / 1e4) for i in range(100)], tmp_path / "r.svg")
    text = (tmp_path / "r.svg").read_text()
    assert "<!-- layer99 (Conv) -->" in text
    assert "<!-- layer59 (Conv) -->" not in text
    assert "the 40 most harmful of 100" in text
