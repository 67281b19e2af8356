"""What `process: shared` needs of memory: an engine and its ring once a GPU, and what each instance shares with it."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from generator.engine.install.request import key_of_request, request_of
from generator.engine.install.write import install, manifest_of
from generator.memory import CUDA_POOL_BYTES, Memory, memory_of_all
from generator.memory.check import problems_of_memory
from generator.memory.gpu import CONTEXT_BYTES
from generator.memory.rings import rings_of
from generator.project import Project
from generator.workspace import open_workspace
from generator_projects import SHORT, make_project
from still_engine import StillEngine

sys.path.insert(0, str(Path(__file__).parents[1] / "python_backend" / "buffered"))
from fake_device import FakeDevice

from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.engine_process.memory import aligned
from tritonkit_runtime.engine_process.worker import SLOTS

SHARED = SHORT.replace("name: small\n", "name: small\nlayout: fused\n").replace(
    "net.onnx}", "net.onnx, buffers: {process: shared, buckets: [32, 128]}}"
)
OWN = SHARED.replace("process: shared, buckets: [32, 128]", "buckets: [1, 8, 32]")
ORT = SHARED.replace("engine: tensorrt, precision: fp16, ", "")
PIXELS, LOGITS = 64 * 4, 10 * 4  # bytes of one item: FP32 [1, 8, 8] in, FP32 [10] out
# Two slots of 32 items: 8,192 bytes in, and 1,280 out, both whole 64 bytes; 18,944 are 5 pages.
ROWS = 5 * 4096


def memory(root: Path, spec: str, target: str = "production") -> Memory:
    work = open_workspace(make_project(root / "project", {"spec": spec}), target=target)
    work.stop_on_errors()
    return memory_of_all(work.plans[target], work.project, {})


def by_what(found: Memory, gpu: int = 0) -> dict[str, tuple[int, int]]:
    """Part -> how often, and bytes each, of one GPU."""
    return {part.what: (part.count, part.each_bytes) for part in found.gpu_parts if part.gpu == gpu}


def onnx_bytes(root: Path) -> int:
    return (root / "project" / "models" / "net.onnx").stat().st_size


@pytest.mark.parametrize("count", [1, 8])
def test_on_a_gpu_one_process_has_a_context_and_a_ring_whatever_the_instances(tmp_path: Path, count: int) -> None:
    found = memory(tmp_path, SHARED.replace("count: 2", f"count: {count}"))
    assert by_what(found) == {
        "CUDA context": (1, CONTEXT_BYTES),
        "CUDA pool": (1, CUDA_POOL_BYTES),
        "CUDA context of the engine process": (1, CONTEXT_BYTES),
        "buffers, slots of a ring": (2, 128 * (PIXELS + LOGITS)),
    }
    [model] = found.models
    assert (model.instances, model.pinned_bytes, model.engine_processes) == (count, ROWS, 1)
    assert found.staging_bytes == count * ROWS + 2 * 128 * (PIXELS + LOGITS)
    assert found.shm_bytes == count * model.region_bytes, "what they share with it is not in /dev/shm"


@pytest.mark.parametrize("decode", ["cpu", "gpu"])
def test_of_images_an_instance_shares_parcels_and_the_process_has_the_rest(tmp_path: Path, decode: str) -> None:
    spec = SHARED.replace("process: shared", f"process: shared, preprocess: gpu, decode: {decode}")
    found = memory(tmp_path, spec)
    # Tables of 32 rows of 32 bytes, or of 128 of 32 or 40; an image has 524,288 gray pixels.
    image, row = 524_288, 40 if decode == "gpu" else 32
    [model] = found.models
    rows = 2 * (32 * 32 + 32 * image + 32 * LOGITS)
    assert model.pinned_bytes == -(-rows // 4096) * 4096
    assert model.process_pinned_bytes == 2 * (128 * row + 128 * LOGITS), "its own memory holds no pixels"
    parts = by_what(found)
    assert parts["pixels for the kernel"] == (2, 128 * row + 128 * image)
    assert parts["buffers, slots of a ring"] == (2, 128 * (PIXELS + LOGITS))
    assert ("decoded images, at most" in parts) == (decode == "gpu")


def test_each_gpu_has_a_process_of_its_own(tmp_path: Path) -> None:
    groups = "[{kind: gpu, count: 3, gpus: [0, 1]}, {kind: gpu, count: 1, gpus: [1]}]"
    found = memory(tmp_path, SHARED.replace("[{kind: gpu, count: 2}]", groups))
    for gpu in (0, 1):
        assert by_what(found, gpu)["CUDA context of the engine process"] == (1, CONTEXT_BYTES)
        assert by_what(found, gpu)["buffers, slots of a ring"] == (2, 128 * (PIXELS + LOGITS))
    [model] = found.models
    assert (model.instances, model.engine_processes) == (7, 2)
    assert found.staging_bytes == 7 * ROWS + 2 * 2 * 128 * (PIXELS + LOGITS)


def test_slots_are_the_rings(tmp_path: Path) -> None:
    found = memory(tmp_path, SHARED.replace("process: shared", "process: shared, slots: 5"))
    assert by_what(found)["buffers, slots of a ring"] == (5, 128 * (PIXELS + LOGITS))
    assert found.models[0].pinned_bytes == ROWS, "an instance has its two, whatever the ring has"


def test_on_the_cpu_a_session_is_there_once(tmp_path: Path) -> None:
    spec = ORT.replace("[{kind: gpu, count: 2}]", "[{kind: cpu, count: 4}]")
    found = memory(tmp_path, spec, "embedded")
    assert found.gpu_parts == ()
    [model] = found.models
    assert (model.instances, model.engine_processes) == (4, 1)
    assert found.file_bytes == onnx_bytes(tmp_path)
    assert found.staging_bytes == 4 * ROWS + 2 * 128 * (PIXELS + LOGITS)
    assert (model.on_cpu, model.pinned_bytes, model.plain_bytes) == (4, 0, ROWS), "it is ordinary memory"
    own = memory(tmp_path / "own", spec.replace("process: shared, buckets: [32, 128]", ""), "embedded")
    assert own.file_bytes == 4 * onnx_bytes(tmp_path)


def test_onnx_runtime_has_a_session_a_slot_on_the_gpu_and_the_file_once_in_the_process(tmp_path: Path) -> None:
    found = memory(tmp_path, ORT.replace("count: 2", "count: 8"))
    size = onnx_bytes(tmp_path)
    assert by_what(found)["weights of engine"] == (2, size)
    assert found.file_bytes == size


def test_of_a_mixed_group_the_gpu_has_a_process_and_the_cpu_another(tmp_path: Path) -> None:
    found = memory(tmp_path, ORT.replace("[{kind: gpu, count: 2}]", "[{kind: gpu, count: 3}, {kind: cpu, count: 2}]"))
    [model] = found.models
    assert (model.instances, model.engine_processes) == (5, 2)
    assert found.file_bytes == 2 * onnx_bytes(tmp_path)
    assert by_what(found)["buffers, slots of a ring"] == (2, 128 * (PIXELS + LOGITS))
    assert found.staging_bytes == 5 * ROWS + 2 * 2 * 128 * (PIXELS + LOGITS)


@pytest.mark.parametrize("process", ["own", "shared"])
def test_what_inductor_compiled_has_a_ring_as_a_model_of_its_own_too(tmp_path: Path, process: str) -> None:
    spec = SHORT.replace("engine: tensorrt, precision: fp16", "engine: inductor").replace(
        "net.onnx}", f"net.onnx, buffers: {{process: {process}, buckets: [8, 32]}}}}"
    )
    found = memory(tmp_path, spec)
    context = {"own": "CUDA contexts", "shared": "CUDA context of the engine process"}[process]
    times = {"own": 2, "shared": 1}[process]
    assert by_what(found)[context] == (times, CONTEXT_BYTES)
    assert by_what(found)["buffers, slots of a ring"] == (times * 2, 32 * (PIXELS + LOGITS))
    rows = 2 * ROWS if process == "shared" else 0
    assert found.staging_bytes == rows + times * 2 * 32 * (PIXELS + LOGITS)


@pytest.mark.parametrize(("version", "copies"), [("10.4.0", 1), ("8.6.1", 2)])
def test_weights_and_activations_are_there_once(tmp_path: Path, version: str, copies: int) -> None:
    """Before TensorRT 10 each slot of the ring has the weights for itself."""
    work = open_workspace(
        make_project(tmp_path / "project", {"spec": SHARED.replace("count: 2", "count: 6")}), target="production"
    )
    [plan] = work.plans["production"]
    [(_, part, program)] = plan.engines()
    request = request_of(plan, part, 1, work.project)
    place, data = ("production", part.name, 1), b"ftrt" * 1000
    manifest = manifest_of(
        place, key_of_request(request, program.asked), request, engine="tensorrt", precision="fp16",
        file=("model.plan", data), facts={"compiled": {"tensorrt": version}}, measured={"activation_bytes": 5_000_000},
    )  # fmt: skip
    install(work.project, place, manifest, data)
    plans = open_workspace(Project(work.project.root), target="production").plans["production"]
    found = by_what(memory_of_all(plans, work.project, {}))
    assert found["weights of engine"] == (copies, 4_000)
    assert found["activations of engine"] == (2, 5_000_000)


def test_it_needs_no_other_flags_than_instances_with_engines_of_their_own(tmp_path: Path) -> None:
    shared, own = memory(tmp_path / "shared", SHARED), memory(tmp_path / "own", OWN)
    assert shared.flags() == own.flags()
    assert (shared.cuda_pool_bytes, shared.pinned_pool_bytes) == (own.cuda_pool_bytes, own.pinned_pool_bytes)
    assert by_what(own)["CUDA contexts"] == (2, CONTEXT_BYTES)
    assert own.models[0].engine_processes == 0


def test_too_many_for_a_gpu_fit_with_one_engine(tmp_path: Path) -> None:
    """64 contexts of 583 MiB are more than 30 GiB; one more than the server's own are not."""
    for spec, code in ((OWN, ["TK242"]), (SHARED, [])):
        text = spec.replace("count: 2", "count: 64").replace("gpu: h200}", "gpu: h200, memory: {gpu_mib: 30720}}")
        work = open_workspace(make_project(tmp_path / f"{len(code)}", {"spec": text}), target="production")
        assert [p.code for p in problems_of_memory(work.plans["production"], work.project)] == code


def test_the_runtime_takes_what_was_derived(tmp_path: Path) -> None:
    """The ring of the engine process, and an instance's shared memory."""
    work = open_workspace(make_project(tmp_path / "project", {"spec": SHARED}), target="production")
    [plan] = work.plans["production"]
    [ring] = rings_of(plan, plan.models[0])
    [(_, part, program)] = plan.engines()
    assert program.buffers is not None
    device = FakeDevice()
    inputs, outputs = ([Fixed(t.name, t.dtype, t.dims) for t in side] for side in (part.inputs, part.outputs))
    Ring(
        device,
        StillEngine(inputs, outputs),
        program.buffers.buckets,
        slots=program.buffers.slots,
        copies="beside",
        direct=True,
    )
    held = {pinned: sum(b.size for b in device.live.values() if b.pinned is pinned) for pinned in (True, False)}
    assert held == {True: ring.pinned_bytes, False: ring.device_bytes}
    shared = SLOTS * sum(aligned(tensor.bytes_of(plan.max_batch_size)) for tensor in (*inputs, *outputs))
    assert ring.rows_bytes == -(-shared // mmap.PAGESIZE) * mmap.PAGESIZE == ROWS
