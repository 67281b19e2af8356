"""What lies on each GPU: numbers that were worked out by hand, and what a ring really allocates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from generator.engine.install.request import key_of_request, request_of
from generator.engine.install.write import install, manifest_of
from generator.lint.specs import lint_specs
from generator.memory import CUDA_POOL_BYTES, GpuPart, Memory, memory_of_all
from generator.memory.estimates import Estimate
from generator.memory.gpu import CONTEXT_BYTES
from generator.memory.rings import rings_of
from generator.problems import Severity
from generator.project import Project
from generator.workspace import Workspace, open_workspace
from generator_projects import SHORT, make_project, write_onnx
from still_engine import StillEngine

sys.path.insert(0, str(Path(__file__).parents[1] / "python_backend" / "buffered"))
from fake_device import FakeDevice

from tritonkit_runtime.buffered.ring import Ring
from tritonkit_runtime.buffered.shapes import Fixed
from tritonkit_runtime.device.host import Host

FUSED = SHORT.replace("gpu: h200}", "gpu: h200, layout: fused}")
ROW = 64 * 4 + 10 * 4  # bytes of one item: pixels FP32 [1, 8, 8] in, logits FP32 [10] out
TEXTS = """\
name: words
inputs: {text: {type: string}}
outputs: {embedding: {type: int32, dims: [4]}}
model: {onnx: models/words.onnx}
preprocess: [tokenize: {tokenizer: data/words.json, max_tokens: 64, buckets: [16, 64]}]
batching: {max_batch_size: 8}
layout: fused
targets: {production: {server: "26.07", gpu: h200}}
"""


def opened(root: Path, *specs: str) -> Workspace:
    project = make_project(root / "project", {f"spec{number}": text for number, text in enumerate(specs)})
    shape = ("batch", "tokens")
    ids = {"input_ids": shape, "attention_mask": shape}
    write_onnx(project.root / "models" / "words.onnx", ids, {"embedding": ["batch", 4]}, dtype=6)
    (project.root / "data" / "words.json").write_text('{"model": {}}')
    return open_workspace(project, target="production")


def memory(root: Path, *specs: str) -> Memory:
    work = opened(root, *specs)
    work.stop_on_errors()
    return memory_of_all(work.plans["production"], work.project, {})


def built(root: Path, spec: str, version: str, *, activations: int | None) -> Memory:
    """The memory after an engine of 4,000 bytes was installed, which TensorRT `version` made."""
    work = opened(root, spec)
    [plan] = work.plans["production"]
    [(_, part, program)] = plan.engines()
    request = request_of(plan, part, 1, work.project)
    measured = {} if activations is None else {"activation_bytes": activations}
    place, data = ("production", part.name, 1), b"ftrt" * 1000
    manifest = manifest_of(
        place, key_of_request(request, program.asked), request, engine="tensorrt", precision="fp16",
        file=("model.plan", data), facts={"compiled": {"tensorrt": version}}, measured=measured,
    )  # fmt: skip
    install(work.project, place, manifest, data)
    plans = open_workspace(Project(work.project.root), target="production").plans["production"]
    return memory_of_all(plans, work.project, {})


def by_what(found: Memory, gpu: int = 0) -> dict[str, tuple[int, int]]:
    """Part -> how often, and bytes each, of one GPU."""
    return {part.what: (part.count, part.each_bytes) for part in found.gpu_parts if part.gpu == gpu}


def test_a_ring_has_its_slots_in_every_instance_and_each_process_a_context(tmp_path: Path) -> None:
    found = memory(tmp_path, FUSED)
    assert by_what(found) == {
        "CUDA context": (1, CONTEXT_BYTES),
        "CUDA pool": (1, CUDA_POOL_BYTES),
        "CUDA contexts": (2, CONTEXT_BYTES),
        "buffers, slots of a ring": (2 * 2, 32 * ROW),
    }
    [gpu] = found.gpus()
    assert gpu.known_bytes == 3 * CONTEXT_BYTES + CUDA_POOL_BYTES + 4 * 32 * ROW
    assert found.staging_bytes == 4 * 32 * ROW
    assert found.unknown[0].startswith(
        "weights and activations of `small_engine` on the GPU: the engine is not built"
    )


@pytest.mark.parametrize(("version", "copies"), [("10.4.0", 2), ("8.6.1", 4), ("11.0.0", 2)])
def test_weights_are_the_plans_file_and_activations_were_measured(tmp_path: Path, version: str, copies: int) -> None:
    """Before TensorRT 10 every slot has the weights for itself."""
    found = by_what(built(tmp_path, FUSED, version, activations=5_000_000))
    assert found["weights of engine"] == (copies, 4_000)
    assert found["activations of engine"] == (4, 5_000_000)


def test_an_engine_whose_file_is_gone_is_told_by_what_reads_it(tmp_path: Path) -> None:
    spec = FUSED.replace("layout: fused}", "layout: fused, memory: {gpu_mib: 1}}")
    built(tmp_path, spec, "10.4.0", activations=5)
    [file] = (tmp_path / "project").rglob("model.plan")
    file.unlink()
    found = lint_specs(open_workspace(Project(tmp_path / "project"), target="production"))
    assert [problem.code for problem in found if problem.severity is Severity.ERROR] == ["TK982"]


def test_activations_that_nobody_measured_are_unknown(tmp_path: Path) -> None:
    found = built(tmp_path, FUSED, "10.4.0", activations=None)
    assert "activations of engine" not in by_what(found)
    assert found.unknown == (
        "activations and workspace of `small_engine` on the GPU: measured when an engine is built, not derived",
    )


def test_tritons_own_backend_has_a_plan_once_and_a_context_of_it_an_instance(tmp_path: Path) -> None:
    found = built(tmp_path, SHORT, "10.4.0", activations=5_000_000)
    assert by_what(found) == {
        "CUDA context": (1, CONTEXT_BYTES),
        "CUDA pool": (1, CUDA_POOL_BYTES),
        "weights of engine": (1, 4_000),
        "activations of engine": (2, 5_000_000),
    }
    assert found.staging_bytes == 0


def test_onnx_runtime_has_the_weights_in_every_slot(tmp_path: Path) -> None:
    found = memory(tmp_path, FUSED.replace("engine: tensorrt, precision: fp16, ", ""))
    size = (tmp_path / "project" / "models" / "net.onnx").stat().st_size
    assert by_what(found)["weights of engine"] == (4, size)
    assert found.file_bytes == 2 * size, "and once in each process, to look into it"


def test_groups_say_which_gpus_and_how_many_processes_there_are(tmp_path: Path) -> None:
    groups = "[{kind: gpu, count: 1, gpus: [0]}, {kind: gpu, count: 2, gpus: [0, 1]}]"
    found = memory(tmp_path, FUSED.replace("[{kind: gpu, count: 2}]", groups))
    assert by_what(found, 0)["buffers, slots of a ring"] == (3 * 2, 32 * ROW)
    assert by_what(found, 1)["buffers, slots of a ring"] == (2 * 2, 32 * ROW)
    [model] = found.models
    assert model.instances == 5
    assert found.shm_bytes == 5 * model.region_bytes
    assert [gpu.number for gpu in found.gpus()] == [0, 1]


def test_a_group_without_numbers_is_on_every_gpu_up_to_the_highest_that_another_names(tmp_path: Path) -> None:
    """A server that can start GPU 2 sees 0 and 1 too, and Triton starts such a group on all that it sees."""
    groups = "[{kind: gpu, count: 1}, {kind: gpu, count: 1, gpus: [2]}]"
    found = memory(tmp_path, FUSED.replace("[{kind: gpu, count: 2}]", groups))
    counts = [by_what(found, gpu)["CUDA contexts"][0] for gpu in range(3)]
    assert counts == [1, 1, 2]


def test_a_number_that_no_server_has_is_not_counted_up_to(tmp_path: Path) -> None:
    groups = "[{kind: gpu, count: 1}, {kind: gpu, count: 1, gpus: [2000000000]}]"
    assert [gpu.number for gpu in memory(tmp_path, FUSED.replace("[{kind: gpu, count: 2}]", groups)).gpus()] == [0]


@pytest.mark.parametrize("group", [
    '{kind: KIND_GPU, gpus: ["0"]}', '{kind: KIND_GPU, count: "4"}', "{kind: 1}", "{kind: KIND_GPU, gpus: 1}",
    "{kind: KIND_GPU, count: true}", "{kind: KIND_GPU, gpus: [-1]}", "7",
])  # fmt: skip
def test_what_triton_does_not_know_as_a_group_is_not_counted(tmp_path: Path, group: str) -> None:
    said = f"net.onnx, config: {{instance_group: [{group}, {{kind: KIND_GPU, count: 3}}]}}}}"
    spec = ALONE.replace("net.onnx, buffers: {outputs: device}}", said)
    found = memory(tmp_path, spec)
    assert [model.instances for model in found.models] == [3]
    assert [gpu.number for gpu in found.gpus()] == [0]


def test_the_cuda_pool_of_each_gpu_is_of_what_runs_there_and_the_pinned_pool_of_all(tmp_path: Path) -> None:
    """4 batches of 32 x 10 FP32 an instance on a GPU; on the host 2 of all tensors, and 4 of pixels once."""
    one, copies, pixels = 4 * 32 * 10 * 4, 2 * 32 * ROW, 4 * 32 * 64 * 4
    for number, (groups, pools) in enumerate((
        ("[{kind: gpu, count: 1, gpus: [0]}, {kind: gpu, count: 1, gpus: [1]}]", {0: one, 1: one}),
        ("[{kind: gpu, count: 2, gpus: [0, 1]}, {kind: gpu, count: 1, gpus: [1]}]", {0: 2 * one, 1: 3 * one}),
        ("[{kind: gpu, count: 1, gpus: [1]}, {kind: cpu, count: 2}]", {1: one}),
    )):  # fmt: skip
        spec = SHORT.replace("[{kind: gpu, count: 2}]", groups).replace("engine: tensorrt, precision: fp16, ", "")
        found = memory(tmp_path / str(number), spec)
        assert found.cuda_pools == pools
        assert found.cuda_pool_bytes == max(pools.values())
        instances = sum(pools.values()) // one
        on_host = 2 * one if "cpu" in groups else 0  # what those that run there give goes through the pinned pool
        assert found.pinned_pool_bytes == instances * copies + pixels + on_host
    other = SHORT.replace("name: small", "name: other").replace("count: 2}", "count: 2, gpus: [1]}")
    both = memory(tmp_path / "both", SHORT.replace("count: 2}", "count: 2, gpus: [0]}"), other)
    assert both.cuda_pools == {0: 2 * one, 1: 2 * one}
    assert both.pinned_pool_bytes == 4 * copies + 2 * pixels


def test_what_is_the_ensembles_own_output_is_in_the_cuda_pool_as_well(tmp_path: Path) -> None:
    """Without steps after it: Triton allocates it like what goes to another step, and copies it out afterwards."""
    spec = SHORT[: SHORT.index("postprocess:")] + SHORT[SHORT.index("batching:") :]
    spec = spec.replace(
        "{label: {type: string, dims: [3]}, score: {type: fp32, dims: [3]}}", "{logits: {type: fp32, dims: [10]}}"
    )
    assert memory(tmp_path, spec).cuda_pools == {0: 4 * 2 * 32 * 10 * 4}


def test_pipelines_on_one_gpu_share_the_servers_own(tmp_path: Path) -> None:
    together = memory(tmp_path / "both", FUSED, TEXTS)
    apart = [memory(tmp_path / str(number), spec) for number, spec in enumerate((FUSED, TEXTS))]
    assert [part for part in together.gpu_parts if not part.model] == [
        GpuPart(0, "", "CUDA context", 1, CONTEXT_BYTES, "seen"),
        GpuPart(0, "", "CUDA pool", 1, CUDA_POOL_BYTES, "derived"),
    ]
    known = [found.gpus()[0].known_bytes for found in (together, *apart)]
    assert known[0] == known[1] + known[2] - CONTEXT_BYTES - CUDA_POOL_BYTES
    assert together.shm_bytes == sum(found.shm_bytes for found in apart)


@pytest.mark.parametrize("feeds", ["cpu", "auto"])
def test_an_instance_on_the_cpu_has_no_pinned_memory_and_no_pixels_for_a_kernel(tmp_path: Path, feeds: str) -> None:
    """It has all tensors once, in ordinary memory; one on a GPU has pixels instead of the input that they become."""
    spec = FUSED.replace("net.onnx}", f"net.onnx, buffers: {{preprocess: {feeds}}}}}")
    spec = spec.replace("engine: tensorrt, precision: fp16, ", "")

    def instances(*groups: str) -> Memory:
        said = "[" + ", ".join(f"{{{group}}}" for group in groups) + "]"
        return memory(tmp_path / str(len(groups)), spec.replace("[{kind: gpu, count: 2}]", said))

    alone, mixed = instances("kind: gpu, count: 2"), instances("kind: gpu, count: 2", "kind: cpu, count: 3")
    [model] = mixed.models
    assert (model.instances, model.on_cpu, model.plain_bytes) == (5, 3, 2 * 32 * ROW)
    assert model.pinned_bytes == alone.models[0].pinned_bytes
    assert mixed.staging_bytes == alone.staging_bytes + 3 * 2 * 32 * ROW
    assert (model.pinned_bytes == model.plain_bytes) is (feeds == "cpu")


def test_images_that_the_gpu_decodes_are_counted_by_their_bound(tmp_path: Path) -> None:
    """32 images of 2,097,152 gray pixels in each of two slots of two instances; the decoder's own is an estimate."""
    spec = FUSED.replace("net.onnx}", "net.onnx, buffers: {preprocess: gpu, decode: gpu}}")
    found = memory(tmp_path / "gpu", spec)
    assert by_what(found)["decoded images, at most"] == (2 * 2, 32 << 21)
    assert any(text.startswith("what nvImageCodec and nvJPEG allocate for themselves") for text in found.estimates)
    for most, pixels in ((1_000_000, 1_000_000 // 256 * 256 + 256), (1 << 21, 1 << 21), (1 << 22, 1 << 21)):
        few = memory(tmp_path / str(most), spec + f"limits: {{max_pixels: {most}}}\n")
        assert by_what(few)["decoded images, at most"] == (2 * 2, 32 * pixels)
    other = memory(tmp_path / "cpu", spec.replace("decode: gpu", "decode: cpu"))
    assert "decoded images, at most" not in by_what(other)
    assert not any("nvImageCodec" in text for text in other.estimates)


def test_what_is_estimated_is_said_with_what_was_seen(tmp_path: Path) -> None:
    found = memory(tmp_path, FUSED)
    assert found.estimates == (
        "a CUDA context, in each process: no more than 583 MiB on an H200, which is counted",
        "what TensorRT allocates in each execution context of ResNet-50: no more than 2,048 bytes on an H200, "
        "not counted",
    )
    assert memory(tmp_path / "other", FUSED.replace("engine: tensorrt, precision: fp16, ", "")).estimates == (
        found.estimates[0],
        "code that ONNX Runtime or PyTorch load into it, in each process: not measured",
    )
    assert str(Estimate("it", 5 << 20, 7 << 20)) == "it: 5 to 7 MiB on an H200, not counted"


def test_of_several_lengths_the_greatest_counts(tmp_path: Path) -> None:
    """input_ids and attention_mask INT32 [64] each, embedding INT32 [4]; two slots in one instance."""
    found = memory(tmp_path, TEXTS)
    assert by_what(found)["buffers, slots of a ring"] == (2, 8 * 4 * (64 + 64 + 4))
    assert found.staging_bytes == 2 * 8 * 4 * (64 + 64 + 4)


def test_pools_hold_what_an_ensemble_keeps_between_its_steps(tmp_path: Path) -> None:
    """Four batches: of the engine's outputs on the GPU (two instances), of pixels made on the host (one) pinned; and
    two of the engine's own inputs and outputs, for copies.
    """
    found = memory(tmp_path, SHORT)
    assert found.cuda_pool_bytes == 4 * 2 * 32 * 10 * 4
    assert found.pinned_pool_bytes == 4 * 32 * 64 * 4 + 2 * 2 * 32 * ROW
    fused = memory(tmp_path / "fused", FUSED)
    assert (fused.cuda_pool_bytes, fused.pinned_pool_bytes) == (0, 0), "nothing goes between models, nor through them"


class Plain(Host):
    """Where an engine on the CPU is: counts what is taken."""

    taken_bytes = 0

    def allocate(self, size_bytes: int) -> int:
        self.taken_bytes += size_bytes
        return super().allocate(size_bytes)


ALONE = """\
name: alone
inputs: {pixels: {type: fp32, dims: [1, 8, 8]}}
outputs: {logits: {type: fp32, dims: [10]}}
model: {onnx: models/net.onnx, buffers: {outputs: device}}
layout: fused
targets: {production: {server: "26.07", gpu: h200}}
"""


@pytest.mark.parametrize("spec", [FUSED, TEXTS, ALONE], ids=["images", "texts", "answers on the GPU"])
def test_a_ring_allocates_what_was_derived(tmp_path: Path, spec: str) -> None:
    [plan] = opened(tmp_path, spec).plans["production"]
    [ring] = rings_of(plan, plan.models[0])
    [(_, part, program)] = plan.engines()
    assert program.buffers is not None
    device = FakeDevice()
    engine = StillEngine(*([Fixed(t.name, t.dtype, t.dims) for t in side] for side in (part.inputs, part.outputs)))
    buffers = program.buffers
    kept = [tensor.name for tensor in part.outputs] if buffers.outputs == "device" else []
    Ring(device, engine, buffers.buckets, slots=buffers.slots, lengths=buffers.open_lengths, kept=kept)
    held = {pinned: sum(b.size for b in device.live.values() if b.pinned is pinned) for pinned in (True, False)}
    assert held == {True: ring.pinned_bytes, False: ring.device_bytes}
    plain = Plain()
    Ring(plain, engine, buffers.buckets, slots=buffers.slots, lengths=buffers.open_lengths, kept=kept)
    assert plain.taken_bytes == ring.plain_bytes
