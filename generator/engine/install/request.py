"""What one engine is asked to be: everything that decides its bytes and whether it passes, and the hash of that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from generator.engine.cache import key_of
from generator.engine.calibrate.collect import FORMAT as CALIBRATION_FORMAT
from generator.plan import EngineProgram, FlowProgram, ModelPlan, Plan, PythonProgram, StepsProgram
from generator.project import Project
from generator.spec.build import Build
from generator.spec.models import Accuracy

FORMAT = 1
PLAN_FILE, ONNX_FILE = "model.plan", "model.onnx"
FILE_OF = {"onnxruntime": ONNX_FILE, "tensorrt": PLAN_FILE, "inductor": "model.inductor"}


def request_of(plan: Plan, model: ModelPlan, version: int, project: Project) -> dict[str, Any]:
    """The request for the engine of `model` (one whose program is an EngineProgram), as JSON can hold it."""
    program = model.program
    assert isinstance(program, EngineProgram)  # noqa: S101  (for the type checker: callers have looked)
    batching = model.batching
    preferred = batching.preferred if batching is not None else []
    usual, largest = max(preferred, default=model.max_batch_size), model.largest_run
    file, accuracy = program.file_of(version), accuracy_of(plan, model)
    return {
        "format": FORMAT, "file": FILE_OF[program.engine], "engine": program.engine, "precision": program.precision,
        "onnx": file.onnx, "onnx_sha256": file.sha256,
        "gpu": plan.target.gpu, "server": plan.target.server,
        "batch": {
            # Where instances share the engine and their batches run together, the largest is the usual one.
            "min": 1, "opt": usual if largest == model.max_batch_size else largest, "max": largest,
            "preferred": list(preferred),
        },
        **({"auto": program.asked_precision} if program.asked == "auto" else {}),
        **({"calibration_format": CALIBRATION_FORMAT} if _is_calibrated(program) else {}),
        **_said("build", program.build if program.build != Build() else None),
        **_said("accuracy", accuracy),
        **_data(program, accuracy, project),
        "pipeline_sha256": key_of({"models": list(_others(plan, model, project)), "flow": _flow(plan)}),
    }  # fmt: skip


def accuracy_of(plan: Plan, model: ModelPlan) -> Accuracy | None:
    """What an engine's answers are held to: its own, else that of the pipeline's model that has one."""
    own = model.program.accuracy if isinstance(model.program, EngineProgram) else None
    return own or next((program.accuracy for *_, program in plan.engines() if program.accuracy is not None), None)


def _is_calibrated(program: EngineProgram) -> bool:
    """Whether ranges that `collect` finds decide what the engine answers; ModelOpt and TensorRT find their own."""
    build = program.build
    by_tensorrt = program.asked == "tensorrt" and build.int8_by == "tensorrt"
    return program.asked_precision in {"int8", "fp8"} and build.quantizer == "tritonkit" and not by_tensorrt


def key_of_request(request: Mapping[str, Any], asked: str) -> str:
    """The hash that an engine keeps of its request. Of `auto` the engine and its precision are the answer."""
    free = {"engine", "precision", "file"} if asked == "auto" else set()
    return key_of({"asked": asked, **{name: value for name, value in request.items() if name not in free}})


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two requests, in words: `precision: fp16, now int8`."""
    before, after = _flat(then), _flat(now)
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    return [_difference(name, before.get(name), after.get(name)) for name in names]


def _flat(request: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """`{"build": {"mixed": True}}` → `{"build.mixed": True}`."""
    found: dict[str, Any] = {}
    for name, value in request.items():
        found.update(_flat(value, f"{path}{name}.") if isinstance(value, Mapping) else {f"{path}{name}": value})
    return found


def _difference(name: str, then: Any, now: Any) -> str:
    if name.endswith("sha256"):
        what = {
            "onnx_sha256": "the ONNX file",
            "accuracy_sha256": "the gate set",
            "calibration_sha256": "the calibration set",
            "factory_sha256": "the torch factory's file",
            "pipeline_sha256": "the steps around the engine",
        }
        return f"{what.get(name, name)} changed"
    if name == "calibration_format":
        return "how ranges are found has changed"
    return f"{name}: {_short(then)}, now {_short(now)}"


def _short(value: Any) -> str:
    return "not given" if value is None else str(value)


def _said(name: str, value: Any) -> dict[str, Any]:
    """What the spec says under `name`, without what it leaves out."""
    return {} if value is None else {name: value.model_dump(mode="json", exclude_defaults=True)}


def _data(program: EngineProgram, accuracy: Accuracy | None, project: Project) -> dict[str, str]:
    """The hashes of the gate set, the calibration set, the torch factory's file and the plugins."""
    files = {
        "accuracy_sha256": accuracy and accuracy.data,
        "calibration_sha256": program.build.calibration and program.build.calibration.data,
        "factory_sha256": program.build.factory and program.build.factory.rpartition(":")[0],
        **{f"plugin_{index}_sha256": path for index, path in enumerate(program.build.plugins)},
    }
    return {name: sha256_of(project, file) for name, file in files.items() if file}


def sha256_of(project: Project, file: str) -> str:
    """The hash of a file of the project; of one that cannot be read it is empty."""
    try:
        return project.once(("sha256", file), lambda: hashlib.sha256(project.read(file)).hexdigest())
    except OSError:
        return ""


def _flow(plan: Plan) -> list[Any]:
    """Which model runs on which tensors; the same in every layout."""
    program = plan.models[0].program
    if isinstance(program, FlowProgram):
        return [[stage.model.name, dict(stage.inputs), dict(stage.outputs)] for stage in program.stages]
    steps = () if plan.ensemble is None else plan.ensemble.steps
    return [[step.model, dict(step.inputs), dict(step.outputs)] for step in steps]


def _others(plan: Plan, engine: ModelPlan, project: Project) -> Iterator[Any]:
    """What runs around the engine: it decides what the gate set becomes before it gets there."""
    for model in plan.models:
        for part in model.parts():
            program = part.program
            if isinstance(program, StepsProgram):
                steps = [[name, dict(parameters)] for name, parameters in program.steps]
                yield [part.key, steps, *([] if program.file is None else [sha256_of(project, program.file)])]
            elif isinstance(program, PythonProgram):
                code = program.module if program.file is None else sha256_of(project, program.file)
                yield [part.key, program.class_name, code, dict(program.arguments)]
            elif isinstance(program, EngineProgram) and part.name != engine.name:
                yield [part.key, program.file_of(part.newest()).sha256]  # in FP32, whatever is served of it
