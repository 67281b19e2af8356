"""How the memory plan is compared with what processes allocate, and that it agrees with what was seen on a GPU."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "gpu"))
from copy_trace_cases import MOST, PICTURES, SHARED, Served
from memory_trace import PLACED, Blocks, blocks_of, make, make_handing, stubs_in, too_small, wrong_of

from generator.memory import pools_of
from generator.memory.estimates import TENSORRT_BYTES
from generator.memory.gpu import CONTEXT_BYTES
from tritonkit_runtime.parameters import TensorSpec

IN, OUT = MOST * 3 * 224 * 224 * 4, MOST * 1000 * 4
Told = dict[str, Any]
# What test_memory_on_a_gpu.py wrote on an H200.
SEEN: Told = json.loads((Path(__file__).parent / "gpu" / "memory_seen.json").read_bytes())
LEAST_BYTES = 16 << 10  # of a block that the plan has


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("memory")
    (folder / "a.plan").write_bytes(b"a plan")
    given, made = TensorSpec("images", "FP32", (3, 224, 224)), TensorSpec("logits", "FP32", (1000,))
    return make(folder / "project", folder / "a.plan", given, made)


def plain(sizes: Counter[int]) -> dict[str, int]:
    return {str(size): count for size, count in sizes.items()}


def as_planned(served: Served) -> Told:
    """What would be seen if every process took what the plan says, and TensorRT the plan's file and its activations."""
    told: Told = {
        "tensorrt": "8.6.1", "plan_bytes": 52_300_000, "activation_bytes": 9_000_000, "models": {},
        "engine_processes": {},
    }  # fmt: skip
    for name, plan in served.plans.items():
        blocks = blocks_of(plan, plan.models[0], told)
        device = Counter(blocks.device)
        device[blocks.weights_bytes + blocks.activation_bytes + blocks.contexts * TENSORRT_BYTES] += 1
        region = served.needs.shm_default_bytes
        held = {"device": plain(device), "pinned": plain(blocks.pinned)}
        if name == SHARED:
            held["registered"] = plain(blocks.registered)
            told["engine_processes"][name], held = [{"held": held}], {}
        one = {"held": held, "shm_bytes": region}
        told["models"][name] = [copy.deepcopy(one) for _ in range(2 if name in {"two", SHARED} else 1)]
    told["server"] = {"device": {str(64 << 20): 1}, "pinned": {str(256 << 20): 1}}
    return {**told, "beside_each_bytes": 500 << 20}


def test_the_blocks_of_each_pipeline_are_those_that_were_worked_out_by_hand(served: Served) -> None:
    told = {"tensorrt": "10.4", "plan_bytes": 100, "activation_bytes": 7}
    found = {name: blocks_of(plan, plan.models[0], told) for name, plan in served.plans.items()}
    assert found["ring"] == Blocks(Counter({IN: 3, OUT: 3}), Counter({IN: 3, OUT: 3}), 100, 21, 3)
    assert found[PLACED] == Blocks(Counter({IN: 2, OUT: 2}), Counter({IN: 2}), 100, 14, 2)
    assert found[PICTURES].pinned == found[PICTURES].device - Counter({IN: 2})
    # Full batches of both instances together, and memory with each for two of its own: 19,395,584 bytes in 4,736 pages.
    rows = Counter({4736 * 4096: 2})
    assert found[SHARED] == Blocks(
        Counter({2 * IN: 2, 2 * OUT: 2}), Counter({2 * IN: 2, 2 * OUT: 2}), 100, 14, 2, rows
    )  # fmt: skip
    old = blocks_of(served.plans["ring"], served.plans["ring"].models[0], {**told, "tensorrt": "8.6.1"})
    assert old.weights_bytes == 300


def test_what_is_as_planned_is_right(served: Served) -> None:
    told = as_planned(served)
    assert list(wrong_of(told, served)) == []
    assert list(too_small(told)) == []


def engine(told: Told) -> Told:
    """What the engine process holds."""
    found: Told = told["engine_processes"][SHARED][0]["held"]
    return found


def test_what_is_not_as_planned_is_told(served: Served) -> None:
    for change, words in (
        (lambda told: told["models"]["two"].pop(), "two: 1 processes, the plan has 2"),
        (lambda told: told["models"]["ring"][0]["held"]["device"].update({str(IN): 2}), "were allocated (device)"),
        (lambda told: told["models"]["ring"][0]["held"]["pinned"].pop(str(OUT)), "were allocated (pinned)"),
        (lambda told: told["models"]["ring"][0]["held"]["device"].update({str(1 << 30): 1}), "beside the buffers"),
        (lambda told: told["models"]["two"][1]["held"]["pinned"].update({str(9 << 20): 1}), "are pinned beside"),
        (lambda told: told["models"][PLACED][0].update(shm_bytes=1 << 30), "bytes of /dev/shm"),
        (lambda told: told["models"][SHARED].pop(), "shared: 1 processes, the plan has 2"),
        (lambda told: told["models"][SHARED][0]["held"].update({"pinned": {"9": 1}}), "shared: an instance holds"),
        (lambda told: told["engine_processes"].clear(), "shared: 0 engine processes, the plan has 1"),
        (lambda told: engine(told)["registered"].clear(), "shared: blocks {} are registered, the plan has {"),
        (lambda told: engine(told)["device"].update({str(2 * IN): 3}), "shared: of blocks {"),
        (lambda told: told["server"]["device"].clear(), "the server: no pool of 67,108,864 bytes (device)"),
    ):  # fmt: skip
        told = as_planned(served)
        change(told)
        assert any(words in text for text in wrong_of(told, served)), words


def test_an_estimate_is_no_less_than_what_was_seen() -> None:
    assert list(too_small({"beside_each_bytes": CONTEXT_BYTES})) == []
    assert f"{CONTEXT_BYTES + 1:,} bytes" in next(too_small({"beside_each_bytes": CONTEXT_BYTES + 1}))


def test_a_pipeline_that_hands_on_has_room_for_its_queue(tmp_path: Path) -> None:
    """Of 602,112 bytes: four at work, eight and four that wait, two copies for the second model; and two of 512."""
    _, plan = make_handing(tmp_path / "project")
    assert pools_of([plan], {}).cuda == {0: (4 + 8 + 4 + 2) * 602112 + 2 * 512}


def test_every_pipeline_was_seen(served: Served) -> None:
    assert set(SEEN["models"]) == set(served.plans)


def test_the_plan_agrees_with_what_was_seen_on_a_gpu(served: Served) -> None:
    assert (SEEN["wrong"], list(wrong_of(SEEN, served)), list(too_small(SEEN))) == ([], [], [])
    others = SEEN["taken_bytes"] - SEEN["allocated_bytes"]
    assert SEEN["beside_each_bytes"] == others // SEEN["processes"]


def test_the_plan_of_a_whole_gpu_is_close_to_what_was_taken(served: Served) -> None:
    """11,902,080,380 bytes are planned."""
    pool, planned = served.needs.cuda_memory_pool_bytes, SEEN["processes"] * CONTEXT_BYTES
    assert not isinstance(pool, int)
    planned += pool[0]
    for name, instances in SEEN["models"].items():
        blocks = blocks_of(served.plans[name], served.plans[name].models[0], SEEN)
        buffers = sum(size * count for size, count in blocks.device.items())
        having = SEEN["engine_processes"].get(name, instances)
        planned += len(having) * (buffers + blocks.weights_bytes + blocks.activation_bytes)
    assert SEEN["taken_bytes"] <= planned == 11_902_080_380


def test_a_block_more_or_less_in_what_was_seen_is_not_the_plans(served: Served) -> None:
    """Of those that the plan has: tables of a kernel and what TensorRT has beside its activations are smaller."""
    changed = changed_blocks(SEEN, served)
    for model, instances in SEEN["models"].items():
        for number in range(len(instances)):
            told = copy.deepcopy(SEEN)
            told["models"][model][number]["shm_bytes"] -= 1
            assert list(wrong_of(told, served)), model
    assert changed > len(SEEN["models"])


def test_a_block_more_or_less_than_planned_is_told(served: Served) -> None:
    assert changed_blocks(as_planned(served), served) > len(served.plans)


def changed_blocks(told: Told, served: Served) -> int:
    """How many blocks were made one more and one less, each of which is told."""
    changed = 0
    for kind in ("models", "engine_processes"):
        for model, processes in told.get(kind, {}).items():
            for number, process in enumerate(processes):
                for place, blocks in process["held"].items():
                    for size in [size for size in blocks if int(size) >= LEAST_BYTES]:
                        for more in (-1, 1):
                            other = copy.deepcopy(told)
                            other[kind][model][number]["held"][place][size] += more
                            assert list(wrong_of(other, served)), (model, place, size, more)
                            changed += 1
    return changed


def test_instances_are_found_by_their_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", f"{tmp_path}/net/1/model.py", "region"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert list(stubs_in(tmp_path)) == [(process.pid, "net")]
        assert list(stubs_in(tmp_path / "other")) == []


def test_with_the_derived_pool_no_answer_was_wrong(tmp_path: Path) -> None:
    _, plan = make_handing(tmp_path / "project")
    handing = SEEN["handing"]
    assert pools_of([plan], {}).cuda == {0: handing["pool_bytes"]}
    assert set(handing["answers"]) == {"right", "refused"}
