"""The GPU benchmark of the served path, on a CPU: its requests, its arithmetic, and turns on a real server."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gpu_served
import gpu_served_graphs as graphs
import numpy as np
import pytest
from engines_gpu_plans import Results, interval
from gpu_served_choices import Choice, of_choice
from gpu_served_clients import Clients
from gpu_served_even import Asked, even, thread_of
from gpu_served_models import Model, fitting, make_repository, spec_of
from gpu_served_reference import Labelled, fitting_batches
from gpu_served_requests import answer, request
from gpu_served_turns import EVEN, Serving, best, judged

from deploy.embedded.server import EmbeddedServer
from loadtest.raw_http import ClosedLoop, Reply, connected, triton_answer, triton_request

LOT = np.random.default_rng(1)
OPTIONS = {
    "device": "cpu", "instances": "1", "waiting": "1x8", "shared": "2x2", "largest": 4, "rows": ",".join(gpu_served.ROWS),
}  # fmt: skip


@pytest.mark.parametrize(
    "tensors",
    [
        {"images": ("UINT8", LOT.integers(0, 256, (2, 4, 4, 3), np.uint8))},
        {
            "input_ids": ("INT32", np.arange(6, dtype=np.int32).reshape(2, 3)),
            "x": ("FP32", np.ones((2, 1), np.float32)),
        },
        {"image": ("BYTES", np.array([[b"\xff\xd8abc"], [b""]], np.object_))},
    ],
)
def test_a_request_is_byte_by_byte_what_the_client_library_makes(tensors: Any) -> None:
    assert request("127.0.0.1:8000", "served_1", tensors) == triton_request("127.0.0.1:8000", "served_1", tensors)


def test_the_steps_in_the_graph_are_those_outside() -> None:
    """One more reason to believe the comparison: the folded graph against numpy and the graph without steps."""
    from generator.engine.runner import OnnxRunner

    graph, pixels = graphs.small(), graphs.images(4, 3)
    chw = ((pixels - np.array(graphs.MEAN, np.float32)) / np.array(graphs.STD, np.float32)).transpose(0, 3, 1, 2)
    logits = OnnxRunner(graph.SerializeToString()).run({"images": np.ascontiguousarray(chw, np.float32)})["logits"]
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    found = OnnxRunner(graphs.folded(graph)).run({"images": pixels})
    assert graphs.apart_of_top(found, scores) < 1e-5
    swapped = {"label_index": found["label_index"][:, ::-1], "score": found["score"]}
    assert graphs.apart_of_top(swapped, scores) > 0.01
    assert graphs.apart_of_top({name: array[:, ::-1] for name, array in found.items()}, scores) == float("inf")


def turn(rate: float, p99_us: float) -> dict[str, Any]:
    return {"items_per_s": rate, "p99_us": p99_us, "server": {"queue_us": 1.0}, "cores": {"models": 1.0}}


def test_the_bound_is_the_smaller_one_of_each_round() -> None:
    rounds = [
        {
            "served": turn(90, 9e3),
            "engine": 100.0,
            "answering alone, 8": turn(150, 1),
            "answering alone, 16": turn(80, 1),
        },
        {
            "served": turn(60, 9e3),
            "engine": 200.0,
            "answering alone, 8": turn(80, 1),
            "answering alone, 16": turn(50, 1),
        },
        {
            "served": turn(96, 9e3),
            "engine": 100.0,
            "answering alone, 8": turn(150, 1),
            "answering alone, 16": turn(80, 1),
        },
    ]
    found = judged(rounds, 0.95)
    assert found["share_of_the_smaller_bound"]["median"] == 0.9
    assert found["share_of_the_smaller_bound"]["low"] == 0.75
    assert (found["smaller_bound"], found["met"]) == ("engine", False)
    assert judged(rounds, 0.9)["met"]
    late = [{**one, "served": {**one["served"], "p99_us": 15_001.0}} for one in rounds]
    assert not judged(late, 0.9)["met"]


def test_the_best_turn_is_the_fastest_in_time() -> None:
    turns = [turn(100, 14e3), turn(200, 16e3), turn(150, 15e3)]
    assert best(turns)["items_per_s"] == 150
    assert best(turns[1:2])["items_per_s"] == 200
    with pytest.raises(ValueError, match="nothing was measured"):
        best([])


def test_instance_counts_that_shared_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_served_models.shared_memory_bytes", lambda: 1 << 30)
    assert fitting([1, 2, 3], 2, 4, 150_528, 16) == [1, 2, 3]
    assert fitting([1, 2, 3, 4], 2, 4, 150_528, 128) == [2]


def test_buckets_between_the_powers_of_two() -> None:
    assert gpu_served.finer(128) == (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    assert gpu_served.finer(20) == (1, 2, 4, 8, 12, 16, 20)
    assert gpu_served.finer(1) == (1,)


def test_what_is_served_on_a_gpu_renders_from_specs(tmp_path: Path) -> None:
    """With plans that are made up: rendering asks no GPU."""
    (tmp_path / "made").mkdir()
    graph, texts, plan = tmp_path / "made/g.onnx", tmp_path / "made/t.onnx", tmp_path / "made/plan"
    graph.write_bytes(graphs.folded(graphs.small()))
    texts.write_bytes(graphs.small_embeddings().SerializeToString())
    plan.write_bytes(b"ftrt")
    whole = Model("finer_8", graph, plan, gpu_served.PIXELS, gpu_served.BEST, 8, 128, buckets=gpu_served.finer(128))
    files = replace(whole, name="jpeg", inputs={"image": ("bytes", ())}, before=gpu_served.DECODE, buckets=(),
                    largest=32)  # fmt: skip
    decoded = replace(files, name="jpeg_gpu_2", buffers={"preprocess": "gpu", "decode": "gpu"})
    words = Model("texts_3", texts, plan, gpu_served.TOKENS, gpu_served.EMBEDDING, 3, 64)
    made = make_repository(
        [whole, files, decoded, words, replace(whole, name="idle", kind="idle"),
         replace(whole, name="late", kind="late", waits_us=549.66)],
        tmp_path / "x", on_gpu=True,
    )  # fmt: skip
    for name, sizes in {
        "finer_8": list(whole.buckets),
        "jpeg": [1, 2, 4, 8, 16, 32],
        "jpeg_gpu_2": [1, 2, 4, 8, 16, 32],
        "texts_3": [1, 2, 4, 8, 16, 32, 64],
    }.items():
        told = json.loads((made.path / name / "1" / "tritonkit.json").read_text())
        assert sizes in [stage["program"].get("buffers", {}).get("buckets") for stage in told["program"]["stages"]]
        assert (made.path / name / "1" / "engine.plan").read_bytes() == b"ftrt"
    idle, late = ((made.path / name / "1" / "model.py").read_text() for name in ("idle", "late"))
    assert late.startswith(idle)
    assert "\nWAITS_NS = 549660\n" in late
    told = json.loads((made.path / "jpeg_gpu_2" / "1" / "tritonkit.json").read_text())
    buffers = told["program"]["stages"][1]["program"]["buffers"]
    assert (buffers["preprocess"], buffers["decode"]) == ("gpu", "gpu")


def test_a_row_leaves_time_for_those_after_it(tmp_path: Path) -> None:
    run = object.__new__(gpu_served.Run)
    run.results, run.asked = Results(tmp_path / "out.json", 400), frozenset({"one_image", "eight_images", "jpeg"})
    later = gpu_served.LEAST_S["eight_images"] + gpu_served.LEAST_S["jpeg"]
    assert run.left_s("one_image")() == pytest.approx(400 - later, abs=1)
    assert run.left_s("jpeg")() == pytest.approx(400, abs=1)


def test_a_spec_says_where_it_runs() -> None:
    model = Model("m", Path("x.onnx"), None, gpu_served.PIXELS, gpu_served.BEST, 3, 8, buckets=(1, 8))
    on_gpu = spec_of(model, on_gpu=True)
    assert "instances: [{kind: gpu, count: 3}]" in on_gpu
    assert "buffers: {buckets: [1, 8]}" in on_gpu
    assert "buffers" not in spec_of(model, on_gpu=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gpu_served.Run]:
    folder = tmp_path_factory.mktemp("gpu-served")
    results = Results(folder / "results.json", 120)
    with Clients(2, folder) as clients:
        made = gpu_served.Run(argparse.Namespace(**OPTIONS), results, clients, folder)
        assert results.step("reference", made.reference) is not None
        yield made


@pytest.fixture(scope="module")
def serving(run: gpu_served.Run) -> Iterator[Serving]:
    models = [run.model("served", 1), run.model("idle", 1, kind="idle")]
    models.append(replace(run.model("jpeg", 1), inputs={"image": ("bytes", ())}, before=gpu_served.DECODE))
    models.append(of_choice(run.model("shared", 2), Choice(2, "shared", "", 0, 2), run.most))
    models.append(run.model("late", 1, kind="late", waits_us=20_000.0))
    with run.serving("here", models) as ready:
        yield ready


@pytest.mark.server
@pytest.mark.parametrize("transport", ["body", EVEN, "shared memory"])
@pytest.mark.parametrize(("items", "rate"), [(1, 0.0), (3, 0.0), (1, 40.0)])
def test_a_turn_of_every_kind(run: gpu_served.Run, serving: Serving, transport: str, items: int, rate: float) -> None:
    if transport == EVEN and not serving.made:
        serving.made = [serving.stack.enter_context(connected(serving.server.http_address)) for _ in range(4)]
    load = serving.load("served", transport, run.images, items)
    found = serving.turn(load, 4, 0.8, rate)
    assert found["requests"] > 4
    assert found["p50_us"] <= found["p99_us"]
    assert found["server"]["mean_batch"] >= items
    assert found["items_per_s"] > 0
    idle = serving.turn(serving.load("idle", transport, run.images, items, checked=False), 4, 0.5)
    assert idle["server"]["mean_batch"] >= items


@pytest.mark.server
def test_connections_that_are_even_over_the_http_threads(run: gpu_served.Run, tmp_path: Path) -> None:
    made = make_repository([run.model("alone", 1, kind="idle")], tmp_path, on_gpu=False)
    needs = replace(made.needs, http_threads=2)
    with EmbeddedServer(made.path, needs) as server:
        asked = Asked(server.http_address, "alone", server.pid, 2)
        some = even(asked, 8, limit_s=60)
        threads = [next(filter(None, (thread_of(asked, one) for _ in range(20)))) for one in some]
        for one in some:
            one.close()
    assert sorted(Counter(threads).values()) == [4, 4]
    assert all(len({*threads[at : at + 2]}) == 2 for at in range(0, 8, 2))  # any number of the first is even


@pytest.mark.server
def test_there_are_as_many_even_connections_as_are_asked_for(run: gpu_served.Run, serving: Serving) -> None:
    few, serving.made = serving.made, []
    try:
        with pytest.raises(ValueError, match="there are 0 even connections for 4 in flight"):
            serving.turn(serving.load("served", EVEN, run.images, 1), 4, 0.5)
    finally:
        serving.made = few


@pytest.mark.server
def test_a_turn_of_instances_that_share_an_engine(run: gpu_served.Run, serving: Serving) -> None:
    assert [(one.served, one.shared) for one in run.choices("")] == [("served_1", 0), ("shared_2_2", 2)]
    found = serving.turn(serving.load("shared", "shared memory", run.images, 1), 6, 0.8)
    assert found["requests"] > 4
    assert 1 <= found["server"]["mean_batch"] <= 2
    assert 1 <= len(found["busiest_threads"]) <= 6


@pytest.mark.server
def test_one_in_flight_beside_a_model_as_late_as_an_engine(run: gpu_served.Run, serving: Serving) -> None:
    engine: Any = argparse.Namespace(latency_us=lambda batches: [20_000.0] * batches)
    pace = replace(run.pace, turn_s=2.4)  # beside other tests an answer may take a tenth of a second
    bench = gpu_served.rows.Bench(serving, run.images, engine, pace, lambda: 60.0)
    late = run.model("late", 1, kind="late", waits_us=20_000.0)
    found = gpu_served.rows.latency(bench, "served", "idle", late)
    assert list(found) == ["body", "shared memory"]
    for row in found.values():
        assert {"over_us", "served_us", "answering_alone_us", "engine_us", "met", "served_split"} < row.keys()
        p50 = [[one[case]["p50_us"] for one in row["rounds"]] for case in ("served", "answering late")]
        over = interval([a - b for a, b in zip(*p50, strict=True)])["median"]
        assert row["over_late_us"]["median"] == pytest.approx(over, rel=0.01, abs=10), "told with five digits"
        assert row["answering_late_us"]["low"] == min(p50[1]) >= row["waits_us"] == 20_000
        assert row["late_split"]["compute_us"] >= 20_000, "it answers no sooner"


@pytest.mark.server
def test_a_wrong_answer_fails_the_turn(run: gpu_served.Run, serving: Serving) -> None:
    load = serving.load("served", "body", run.images, 1)
    right = run.images.checker
    assert isinstance(right, Labelled)
    own = {name: np.roll(array, 1, axis=0) for name, array in right._own.items()}
    serving.checkers["served"] = (Labelled(own, None), run.images.count)
    with pytest.raises(ValueError, match="of the largest score away"):
        serving.turn(load, 2, 0.5)
    serving.checkers["served"] = (right, run.images.count)
    assert serving.turn(load, 2, 0.5)["requests"] > 0


@pytest.mark.server
def test_an_answer_is_read_as_the_client_library_reads_it(run: gpu_served.Run, serving: Serving) -> None:
    address = serving.server.http_address
    payload = request(address, "served", run.images.tensors_of([0, 1, 2]))
    with ClosedLoop(address, 1) as loop:
        [reply] = loop.run([payload], [0], 10)
    assert isinstance(reply, Reply)
    mine, theirs = answer(reply.head, reply.body), triton_answer(reply)
    assert mine.keys() == theirs.keys() == {"label_index", "score"}
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name])
        assert array.dtype == theirs[name].dtype


class Engine:
    """What is asked of a TensorRT engine: texts of 16 to 256 tokens, in batches of up to 32."""

    num_optimization_profiles = 1

    def get_tensor_shape(self, name: str) -> tuple[int, int]:
        return -1, -1

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, int]]:
        return [(1, 16), (8, 128), (32, 256)]


def test_the_sizes_of_batch_are_those_that_the_plan_takes() -> None:
    names = ("input_ids", "attention_mask")
    assert fitting_batches(Engine(), dict.fromkeys(names, (128,)), [1, 8, 32, 64, 128]) == [1, 8, 32]
    assert fitting_batches(Engine(), dict.fromkeys(names, (512,)), [1, 8]) == []


def test_what_writes_its_own_results_is_in_them_only_when_it_fails(tmp_path: Path) -> None:
    results = Results(tmp_path / "out.json", 60)

    def rows() -> None:
        results.step("one", lambda: 1)

    def others() -> None:
        raise ValueError("no such plan")

    gpu_served.several(results, "rows", rows)
    gpu_served.several(results, "others", others)
    assert results.data == {"one": 1, "others": {"failed": "ValueError: no such plan"}}


def test_of_files_the_fastest_setting_is_taken_though_none_is_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        """One process that decodes, in this one."""

        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def map(self, _: object, seconds: list[float], __: int) -> list[float]:
            return [100.0 for _ in seconds]

    class Served:
        """More in flight is faster, and waits longer."""

        def load(self, model: str, *_: object) -> str:
            return model

        def turn(self, load: str, level: int, _: float) -> dict[str, Any]:
            server = {"mean_batch": 1.0, "queue_us": 1.0, "input_us": 1.0, "compute_us": 1.0, "output_us": 1.0}
            return {
                "model": load, "in_flight": level, "items_per_s": float(level * len(load)), "p50_us": 1e4, "p99_us": 1e3 * level, "server": server,
                "cores": {"front end": 0.0, "clients": 0.0, "models": 1.0},
            }  # fmt: skip

    class Alone:
        def rate(self, _: float) -> float:
            return 1e6

    monkeypatch.setattr(gpu_served.rows, "get_context", lambda _: argparse.Namespace(Pool=Pool))
    pace = gpu_served.rows.Pace(rounds=2, files=(64, 512))
    bench: Any = argparse.Namespace(
        serving=Served(), data=argparse.Namespace(checker=None), alone=Alone(), pace=pace, left_s=lambda: 9.0
    )
    choices = [Choice(8, "few", ""), Choice(28, "many", "")]
    found = gpu_served.rows.jpeg(bench, choices, [b""])
    assert (found["instances"], found["shared"], found["in_flight"]) == (28, 0, 512)
    assert found["served"]["median"] == 4 * 512
    assert "on_gpu" not in found
    found = gpu_served.rows.jpeg(bench, [*choices, Choice(16, "together", "", 0, 8)], [b""])
    assert (found["instances"], found["shared"], found["served"]["median"]) == (16, 8, 8 * 512)

    monkeypatch.setattr(gpu_served.on_gpu, "get_context", lambda _: argparse.Namespace(Pool=Pool))
    way = gpu_served.on_gpu.Way({2: "on_gpu_2", 4: "on_gpu_four"}, bench.data)
    found = gpu_served.rows.jpeg(bench, choices, [b""], way)
    assert found["served"]["median"] == 4 * 512
    own = found["on_gpu"]
    assert (own["instances"], own["in_flight"]) == (4, 512)
    assert own["served"]["median"] == 11 * 512
    # Four processes decode 100 each: more than one, and less than the engine.
    assert (own["decoding_1_process"]["median"], own["decoding_as_many_as_instances"]["median"]) == (100, 400)
    assert own["share_of_the_slower"]["median"] == pytest.approx(11 * 512 / 400, rel=1e-4)
    assert own["times_decoded_on_the_cpu"]["median"] == pytest.approx(11 / 4, rel=1e-4)
