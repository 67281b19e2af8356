"""The memory and the processors of a pod."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deploy_plans import ROOT, change, make_project, plans_of
from PIL import Image

from deploy.operations import sizes
from deploy.operations.sizes import GIB, MIB
from generator.memory import memory_of
from generator.plan import Plan
from generator.project import Project
from generator.spec.serving import InstanceGroup


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


def sized(project: Project, *names: str) -> tuple[list[Plan], sizes.PodMemory, int]:
    plans = plans_of(project, *names)
    memory = sizes.together(plans, project)
    return plans, sizes.pod_memory(plans, project, memory, 0), sizes.shared_memory_bytes(memory)


def test_shared_memory_is_that_of_all_pipelines(project: Project) -> None:
    plans = plans_of(project, "digits", "photos")
    together = sizes.together(plans, project)
    assert together.shm_bytes == sum(memory_of(plan, project, {}).shm_bytes for plan in plans) > 0


def test_a_container_has_64_mib_of_it_anyway(project: Project) -> None:
    _, _, shm_bytes = sized(project, "digits")
    assert shm_bytes == 64 * MIB


def test_large_batches_take_more(project: Project) -> None:
    # 10 MB an image are not assumed, 64 KiB are: so many make 64 MiB twice.
    change(project, "photos", ("max_batch_size: 32, preferred: [8, 16, 32]", "max_batch_size: 1024"))
    plans, _, shm_bytes = sized(project, "photos")
    memory = memory_of(plans[0], project, {})
    assert shm_bytes == memory.shm_bytes > 2 * 1024 * (64 << 10)


def test_the_pods_memory_is_a_sum_of_named_parts(project: Project) -> None:
    _, pod, _ = sized(project, "digits")
    parts = {part.what: part.size for part in pod.parts}
    assert parts == {
        "the server": 512 * MIB,
        "Python processes (2)": 2 * 64 * MIB,
        "the largest image, decoded in each of them that does": 50_000_000 * 10,
        "engine files": (ROOT / "models" / "digits.onnx").stat().st_size,
        "the pinned pool": 256 * MIB,
    }
    assert pod.known_bytes == sum(parts.values())
    assert pod.unknown == ()
    assert pod.known_bytes <= pod.request_bytes < pod.known_bytes + 256 * MIB
    assert pod.request_bytes % (256 * MIB) == 0


def test_processes_and_processors_are_those_of_all_gpus(project: Project) -> None:
    """As shared memory and page-locked memory are: two instances on each of four GPUs are eight processes."""
    [digits] = plans_of(project, "digits")
    before = replace(digits.models[0], instances=(InstanceGroup(kind="gpu", count=2, gpus=[0, 1, 2, 3]),))
    plans = [replace(digits, models=(before, *digits.models[1:]))]
    memory = sizes.together(plans, project)
    parts = {part.what: part.size for part in sizes.pod_memory(plans, project, memory, 0).parts}
    # The eight, and one after the engine; each of the eight decodes.
    assert parts["Python processes (9)"] == 9 * 64 * MIB
    assert parts["the largest image, decoded in each of them that does"] == 8 * 50_000_000 * 10
    assert memory.models[0].instances == 8
    assert sizes.cpus_of(plans) == 1 + 8 + 1


# Prints the most bytes that a batch of three files took, with the step that makes them small.
DECODING = """
import sys
from pathlib import Path
import numpy as np
from tritonkit_runtime.batch import Batch
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.decode import Decode
from tritonkit_runtime.steps.resize import Resize
decode, resize = Decode(to=sys.argv[3], limits=Limits()), Resize(size=[8, 8], method="area")
small, large = (np.array([Path(name).read_bytes()] * 3, object).reshape(3, 1) for name in sys.argv[1:3])
def run(files):
    batch = Batch({}, (1,) * 3)
    resize(batch, decode(batch, files))
    assert not batch.failed
def seen(field):
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1]) * 1024
run(small)  # what is loaded once is loaded
Path("/proc/self/clear_refs").write_text("5")
before = seen("VmRSS")
run(large)
print(seen("VmHWM") - before)
"""


@pytest.mark.parametrize(("to", "figure"), [("rgb", 14), ("gray", 10)])
def test_an_image_takes_what_is_counted_while_it_is_decoded(tmp_path: Path, to: str, figure: int) -> None:
    """Of the files that are allowed a progressive JPEG of four colours takes the most."""
    y, x = np.mgrid[0:3000, 0:4000]
    image = Image.fromarray(np.stack([x, y, x + y], 2).astype(np.uint8))
    image.convert("CMYK").save(tmp_path / "large.jpg", quality=80, progressive=True)
    image.crop((0, 0, 32, 32)).save(tmp_path / "small.jpg")
    command = [sys.executable, "-c", DECODING, str(tmp_path / "small.jpg"), str(tmp_path / "large.jpg"), to]
    took_bytes = int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert sizes.DECODING_BYTES[to] == figure
    gaps_bytes = 16 * MIB  # where blocks smaller than 32 MiB came and went: the runtime keeps those
    assert 0.98 * figure * 12_000_000 <= took_bytes <= figure * 12_000_000 + gaps_bytes


def test_what_an_engine_takes_on_the_host_is_said_to_be_unknown(project: Project) -> None:
    plans = plans_of(project, "digits", target="embedded")
    memory = sizes.together(plans, project)
    pod = sizes.pod_memory(plans, project, memory, 0)
    assert pod.unknown == ("activations and workspace of digits_engine, which are measured",)
    # Each of two instances loads the file; and without a GPU there is no pinned pool.
    parts = {part.what: part.size for part in pod.parts}
    assert parts["engine files"] == 2 * (ROOT / "models" / "digits.onnx").stat().st_size
    assert "the pinned pool" not in parts


def test_processors_are_those_of_instances_on_the_cpu(project: Project) -> None:
    assert sizes.cpus_of(plans_of(project, "digits")) == 1 + 2  # before and after the engine, which is on the GPU
    assert sizes.cpus_of(plans_of(project, "digits", target="embedded")) == 1 + 2 + 2 + 1
    assert sizes.cpus_of(plans_of(project, "canvas")) == 1 + 3


def test_gpus_are_as_many_as_groups_name(project: Project) -> None:
    [digits] = plans_of(project, "digits")
    assert sizes.gpus_of([digits]) == 1
    assert sizes.gpus_of(plans_of(project, "digits", target="embedded")) == 0
    engine = replace(digits.models[1], instances=(InstanceGroup(kind="gpu", gpus=[0, 3]),))
    assert sizes.gpus_of([replace(digits, models=(digits.models[0], engine))]) == 4
    engine = replace(digits.models[1], config={"instance_group": [{"kind": "KIND_GPU", "gpus": [1]}]}, instances=())
    assert sizes.gpus_of([replace(digits, models=(digits.models[0], engine))]) == 2
    engine = replace(digits.models[1], instances=(InstanceGroup(kind="cpu"),))
    assert sizes.gpus_of([replace(digits, models=(digits.models[0], engine))]) == 0
    engine = replace(digits.models[1], instances=(InstanceGroup(kind="auto"),))
    assert sizes.gpus_of([replace(digits, models=(digits.models[0], engine))]) == 1


def test_a_body_may_hold_the_largest_item(project: Project) -> None:
    assert sizes.body_bytes(plans_of(project, "digits")) == 64 * MIB  # 20 MB is less than what there is anyway
    change(project, "digits", ("layout: ensemble", "limits: {max_bytes: 100000000}\nlayout: ensemble"))
    [digits] = plans_of(project, "digits")
    assert sizes.request_bytes(digits) == 100_000_000 + (64 << 10)
    assert sizes.body_bytes([digits]) == 96 * MIB


def test_a_body_may_hold_a_full_batch(project: Project) -> None:
    change(project, "digits", ("max_batch_size: 32, preferred: [8, 16, 32]", "max_batch_size: 2048"))
    [digits] = plans_of(project, "digits")
    assert sizes.request_bytes(digits) >= 2048 * (64 << 10)
    assert sizes.body_bytes([digits]) == 129 * MIB  # that and the headers, in whole MiB


def test_flags_say_the_largest_region_and_pools_of_every_gpu(project: Project) -> None:
    [digits] = plans_of(project, "digits")
    memory = sizes.together([digits], project)
    flags = dict(sizes.flags_of([digits], memory, 0))
    largest = max(model.region_bytes for model in memory.models)
    assert list(flags) == [f"--backend-config=python,shm-default-byte-size={largest}"]
    large = replace(memory, cuda_pools={0: GIB, 1: GIB, 2: 64 * MIB}, pinned_pool_bytes=GIB)
    engine = replace(digits.models[1], instances=(InstanceGroup(kind="gpu", gpus=[0, 1]),))
    both = replace(digits, models=(digits.models[0], engine))
    flags = dict(sizes.flags_of([both], large, 7 * MIB))
    assert f"--cuda-memory-pool-byte-size=0:{GIB}" in flags
    assert f"--cuda-memory-pool-byte-size=1:{GIB}" in flags
    assert sum("cuda-memory-pool" in flag for flag in flags) == 2, "what the server has anyway needs no flag"
    assert f"--pinned-memory-pool-byte-size={GIB}" in flags
    assert f"--cache-config=local,size={7 * MIB}" in flags


def test_the_flags_of_engines_are_among_them(project: Project) -> None:
    change(
        project, "digits",
        ("build: {calibration: {data: data/digits-calibration.npz}}",
         "build: {version_compatible: true, calibration: {data: data/digits-calibration.npz}}"),
    )  # fmt: skip
    plans = plans_of(project, "digits")
    flags = dict(sizes.flags_of(plans, sizes.together(plans, project), 0))
    assert "--backend-config=tensorrt,version-compatible=true" in flags
