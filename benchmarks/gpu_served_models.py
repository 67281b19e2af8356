"""What gpu_served.py serves: specs rendered by the project with their plans in place, and models that only answer."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.needs import MAX_SHM_BYTES, needs_of
from generator.plan import Plan
from generator.project import Project
from generator.workspace import open_workspace, render_trees
from generator.write import write

ANSWERS_ALONE = '''"""Answers every request with zeros of the declared outputs, and does nothing else."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Called by the server."""

    def initialize(self, args):
        """One array an output."""
        config = json.loads(args["model_config"])
        self.outputs = []
        for output in config["output"]:
            dtype = pb_utils.triton_string_to_numpy(output["data_type"])
            shape = [config["max_batch_size"], *map(int, output["dims"])]
            self.outputs.append((output["name"], np.zeros(shape, dtype)))

    def execute(self, requests):
        """One response a request."""
        responses = []
        for request in requests:
            items = len(request.inputs()[0].as_numpy())
            tensors = [pb_utils.Tensor(name, array[:items]) for name, array in self.outputs]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
'''
# So long the threads of server and client sleep between two requests, as they do with an engine.
ANSWERS_LATE = (
    ANSWERS_ALONE
    + '''

import time

WAITS_NS = {waits_ns}


class TritonPythonModel(TritonPythonModel):
    """The same, but for as long as an engine takes it is awake and does nothing."""

    def execute(self, requests):
        """As it is, and later."""
        until = time.perf_counter_ns() + WAITS_NS
        while time.perf_counter_ns() < until:
            pass
        return super().execute(requests)
'''
)
# A thread looks where the model's thread is, a thousand times a second, and writes down what it saw.
PROFILED = '''"""The rendered model, and where its thread is a thousand times a second."""

import collections
import json
import os
import sys
import threading
import time

from tritonkit_runtime import adapter

FILE = f"{file}.{{os.getpid()}}"


class TritonPythonModel(adapter.TritonPythonModel):
    """Called by the server."""

    def initialize(self, args):
        """As it is, then the thread."""
        super().initialize(args)
        self._inside = 0
        self._places = collections.Counter()
        sys.setswitchinterval(0.0001)  # else the thread that looks sees only the places where others let it in
        threading.Thread(target=self._look, daemon=True).start()

    def execute(self, requests):
        """As it is."""
        self._inside = threading.get_ident()
        try:
            return super().execute(requests)
        finally:
            self._inside = 0

    def _look(self):
        number = 0
        while True:
            time.sleep(0.001)
            number += 1
            inside = self._inside
            frame = sys._current_frames().get(inside) if inside else None
            if frame is None:
                self._places["outside execute"] += 1
            else:
                file = frame.f_code.co_filename.rsplit("/", 1)[-1]
                self._places[f"{{file}}:{{frame.f_lineno}} {{frame.f_code.co_name}}"] += 1
            if number % 250 == 0:
                with open(FILE + ".new", "w") as file:
                    json.dump(self._places, file)
                os.replace(FILE + ".new", FILE)
'''


@dataclass(frozen=True)
class Model:
    """One pipeline to be served. `inputs` and `outputs`: name -> (type in a spec's words, dims).

    `onnx` is the file that its spec names, `plan` what is put in the engine's place on a GPU. `before` are lines of
    the spec for the steps before the engine. `kind`: `served`, `idle` (it answers alone), `late` (so does it, but is
    awake for `waits_us` first) or `profiled`. `preferred`: sizes of batch that are waited for, for `delay_us` at
    most. `buffers`: further words of the engine's buffers, on a GPU.
    """

    name: str
    onnx: Path
    plan: Path | None
    inputs: Mapping[str, tuple[str, Sequence[int]]]
    outputs: Mapping[str, tuple[str, Sequence[int]]]
    instances: int
    largest: int
    delay_us: int = 300
    before: str = ""
    kind: str = "served"
    waits_us: float = 0.0
    buckets: Sequence[int] = field(default=())
    preferred: Sequence[int] = field(default=())
    buffers: Mapping[str, str] = field(default_factory=dict)


def spec_of(model: Model, on_gpu: bool) -> str:
    """The YAML spec of a pipeline, as a user would write it."""
    sides = []
    for tensors in (model.inputs, model.outputs):
        told = [
            f"{name}: {{type: {kind}{', dims: ' + json.dumps(list(dims)) if dims else ''}}}"
            for name, (kind, dims) in tensors.items()
        ]
        sides.append(f"{{{', '.join(told)}}}")
    said = {**({"buckets": list(model.buckets)} if model.buckets else {}), **model.buffers} if on_gpu else {}
    words = ", ".join(f"{word}: {json.dumps(value)}" for word, value in said.items())
    buffers = f", buffers: {{{words}}}" if said else ""
    kind = "gpu" if on_gpu else "cpu"
    target = (
        'production: {server: "26.07", engine: tensorrt, precision: fp16, gpu: h200}' if on_gpu else "embedded: {}"
    )
    return (
        f"name: {model.name}\ninputs: {sides[0]}\noutputs: {sides[1]}\n"
        f"model: {{onnx: models/{model.onnx.name}, engine: onnxruntime, precision: fp32{buffers}}}\n"
        f"{model.before}layout: fused\n"
        f"batching: {{max_batch_size: {model.largest}, preferred: {json.dumps(list(model.preferred))}, "
        f"max_queue_delay_us: {model.delay_us}, queue: null}}\n"
        f"instances: [{{kind: {kind}, count: {model.instances}}}]\ntargets:\n  {target}\n"
    )


@dataclass(frozen=True)
class Repository:
    """A rendered repository on disk, and what its server needs."""

    path: Path
    needs: ServerNeeds


def make_repository(models: Sequence[Model], folder: Path, on_gpu: bool) -> Repository:
    """Renders every model in a project of its own, puts the plans in place, and makes the others answer alone."""
    project, repository = folder / "project", folder / "repository"
    (project / "specs").mkdir(parents=True)
    (project / "models").mkdir()
    for model in models:
        (project / "specs" / f"{model.name}.yaml").write_text(spec_of(model, on_gpu), encoding="utf-8")
        if not (there := project / "models" / model.onnx.name).exists():
            there.symlink_to(model.onnx.resolve())
    work = open_workspace(Project(project), target="production" if on_gpu else "embedded")
    work.stop_on_errors()
    [tree] = render_trees(work)
    write(tree.files, repository, owner_of=tree.owners.__getitem__, prune=True, whole=True)
    for model in models:
        _finish(model, repository / model.name, folder, on_gpu)
    [plans] = work.plans.values()
    return Repository(repository, needs_of(list[Plan](plans)))


def _finish(model: Model, rendered: Path, folder: Path, on_gpu: bool) -> None:
    version = rendered / "1"
    if model.kind in ("idle", "late"):
        late = ANSWERS_LATE.format(waits_ns=round(1000 * model.waits_us))
        shutil.rmtree(version)
        version.mkdir()
        (version / "model.py").write_text(late if model.kind == "late" else ANSWERS_ALONE)
        return
    if model.kind == "profiled":
        (version / "model.py").write_text(PROFILED.format(file=profile_file(folder, model)))
    if on_gpu:
        assert model.plan is not None  # noqa: S101 — on a GPU every served model has one
        os.link(model.plan, version / "engine.plan")
        return
    # On a CPU nothing is rendered for buffers; the same program runs in plain memory when it is told to.
    path = version / "tritonkit.json"
    told = json.loads(path.read_bytes())
    for stage in told["program"]["stages"]:
        if stage["program"]["kind"] == "engine":
            sizes = list(model.buckets) or [1 << power for power in range(model.largest.bit_length())]
            stage["program"]["buffers"] = {"buckets": sizes, "slots": 2, "copies": "auto", **model.buffers}
    path.write_text(json.dumps(told))


def profile_file(folder: Path, model: Model) -> Path:
    """Where instances of a profiled model write what they saw, with their process ids behind it."""
    return folder / f"{model.name}.profile.json"


def fitting(counts: Sequence[int], kinds: int, others: int, item_bytes: int, largest: int) -> list[int]:
    """Those of the instance counts for which /dev/shm has room: `kinds` models of each, and `others` instances."""
    each = min(MAX_SHM_BYTES, 1 << (2 * largest * item_bytes - 1).bit_length())
    left = list(counts)
    while len(left) > 1 and (kinds * sum(left) + others + 1) * each > 0.8 * shared_memory_bytes():
        left.pop(0 if left[0] < 2 else -1)
    return left


def shared_memory_bytes() -> int:
    """What is free of /dev/shm."""
    status = os.statvfs("/dev/shm")  # noqa: S108
    return status.f_frsize * status.f_bavail


def say(text: str) -> None:
    """Progress, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def as_json(value: Any) -> Any:
    """A value with its floats rounded to what was measured."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    return value
