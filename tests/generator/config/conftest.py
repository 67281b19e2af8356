"""Plans made by hand, and samples of every ModelConfig field made from the protobuf's descriptor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from tritonclient.grpc.model_config_pb2 import ModelConfig

from generator.config.descriptors import is_map, map_fields
from generator.plan import (
    EngineProgram,
    EnsemblePlan,
    EnsembleStep,
    FilesProgram,
    ModelPlan,
    Places,
    Plan,
    PythonProgram,
    StepsProgram,
    TargetPlan,
    Tensor,
)
from generator.problems import Place
from generator.spec.pipeline import Limits
from generator.spec.serving import Batching, InstanceGroup, Priorities, Queue

EMBEDDED = TargetPlan("embedded", "24.10", None, frozenset({"python"}))
PRODUCTION = TargetPlan("production", "26.07", "h200", frozenset({"python", "onnxruntime", "tensorrt"}))

IMAGE, PIXELS = Tensor("image", "STRING", (1,)), Tensor("pixels", "FP32", (1, 8, 8))
LOGITS = Tensor("logits", "FP32", (10,))
LABEL, SCORE = Tensor("label", "STRING", (3,)), Tensor("score", "FP32", (3,))


class FakeTree:
    """Positions of the values that a plan's `config` and friendly names have: the n-th path is on line n."""

    def __init__(self, *paths: tuple[str | int, ...]) -> None:
        self.lines: dict[tuple[str | int, ...], int] = {(): 1}
        for line, path in enumerate(paths, start=2):
            self.lines[path] = line

    def place(self, *path: str | int) -> Place:
        while path not in self.lines:
            path = path[:-1]
        return Place("specs/digits.yaml", self.lines[path], 3)


def model(**changes: Any) -> ModelPlan:
    """A Python model `probe` that sets as little as a model can; no batching, no instances."""
    program = PythonProgram("Probe", "steps/probe.py", None, {})
    plan = ModelPlan(
        name="probe", key="probe", backend="python", program=program,
        inputs=(Tensor("x", "FP32", (4,)),), outputs=(Tensor("y", "FP32", (4,)),),
        max_batch_size=8, batching=None, instances=(), source=("models", "probe"),
    )  # fmt: skip
    return replace(plan, **changes)


def files_model(**changes: Any) -> ModelPlan:
    """A copied model, whose backend only `config` can name."""
    return (
        model(backend="", program=FilesProgram("models/probe")) if not changes else replace(files_model(), **changes)
    )


def ensemble(**changes: Any) -> EnsemblePlan:
    """An ensemble of one step, over `probe`."""
    step = EnsembleStep("probe", {"x": "a"}, {"y": "b"})
    plan = EnsemblePlan(
        "whole", (Tensor("a", "FP32", (4,)),), (Tensor("b", "FP32", (4,)),), 8, (step,), source=()
    )  # fmt: skip
    return replace(plan, **changes)


def pipeline(
    *models: ModelPlan, ensemble: EnsemblePlan | None = None, target: TargetPlan = PRODUCTION, tree: Any = None
) -> Plan:
    """A plan of these models."""
    return Plan(
        name="digits", target=target, spec_file="specs/digits.yaml", objective=None, limits=Limits(),
        models=models, ensemble=ensemble, accuracy_data=None, accuracy_floor=None,
        places=Places("specs/digits.yaml", tree),
    )  # fmt: skip


def digits(target: TargetPlan) -> Plan:
    """The example pipeline: three models and their ensemble, on either target."""
    gpu = target.gpu is not None
    batching = Batching(
        max_batch_size=32, preferred=[8, 16, 32], max_queue_delay_us=500, queue=Queue(max_size=256, timeout_us=15000)
    )
    ends = batching.model_copy(update={"preferred": [], "max_queue_delay_us": 0})
    cpu = (InstanceGroup(kind="cpu"),)
    before = ModelPlan(
        name="digits_preprocess", key="preprocess", backend="python",
        program=StepsProgram((("decode", {"to": "gray"}),)), inputs=(IMAGE,), outputs=(PIXELS,),
        max_batch_size=32, batching=ends, instances=cpu, source=("preprocess",),
        comments=("Steps: decode -> resize -> normalize -> channels_first.",),
    )  # fmt: skip
    engine = ModelPlan(
        name="digits_engine", key="engine", backend="tensorrt" if gpu else "python",
        program=EngineProgram("tensorrt" if gpu else "onnxruntime", "fp16", "models/digits.onnx", "0" * 64),
        inputs=(PIXELS,), outputs=(LOGITS,), max_batch_size=32, batching=batching,
        instances=(InstanceGroup(kind="gpu"),) if gpu else (InstanceGroup(kind="cpu", count=2),), source=("model",),
    )  # fmt: skip
    after = ModelPlan(
        name="digits_postprocess", key="postprocess", backend="python",
        program=StepsProgram((("softmax", {}),)), inputs=(LOGITS,), outputs=(LABEL, SCORE),
        max_batch_size=32, batching=ends, instances=cpu, source=("postprocess",),
    )  # fmt: skip
    steps = (
        EnsembleStep("digits_preprocess", {"image": "image"}, {"pixels": "pixels"}),
        EnsembleStep("digits_engine", {"pixels": "pixels"}, {"logits": "logits"}),
        EnsembleStep("digits_postprocess", {"logits": "logits"}, {"label": "label", "score": "score"}),
    )
    whole = EnsemblePlan("digits", (IMAGE,), (LABEL, SCORE), 32, steps)
    return pipeline(before, engine, after, ensemble=whole, target=target)


@dataclass(frozen=True)
class Leaf:
    """One scalar (or list of scalars) that a ModelConfig can hold, and the fields that lead to it."""

    fields: tuple[FieldDescriptor, ...]

    @property
    def path(self) -> str:
        """`dynamic_batching.preferred_batch_size`; a map's value is named like the map."""
        return ".".join(f.name for f in self.fields)

    def words(self, value: Any = None) -> dict[str, Any]:
        """A `config:` that sets this leaf and nothing that it does not need."""
        return self._inside(0, sample(self.fields[-1]) if value is None else value)

    def _inside(self, index: int, value: Any) -> dict[str, Any]:
        field, last = self.fields[index], index == len(self.fields) - 1
        if is_map(field):
            key, inner = map_fields(field)
            name = "k" if key.cpp_type == key.CPPTYPE_STRING else "1"
            return {field.name: {name: sample(inner) if last else self._inside(index + 1, value)}}
        if last:
            return {field.name: value}
        content = self._inside(index + 1, value)
        if not field.is_repeated:
            return {field.name: content}
        if field.full_name in {"inference.ModelConfig.input", "inference.ModelConfig.output"}:
            content = {"name": "x" if field.name == "input" else "y"} | content
        return {field.name: [content]}

    def values(self, message: Any) -> list[Any]:
        """What `message` has there: a value for every entry on the way."""
        found = [message]
        for field in self.fields:
            found = [value for holder in found for value in _inner(holder, field)]
        return found


def _inner(holder: Any, field: FieldDescriptor) -> list[Any]:
    value = getattr(holder, field.name)
    if is_map(field):
        return [value[key] for key in sorted(value)]  # a map has no order of its own
    if field.is_repeated:
        return list(value) if field.message_type is not None else [list(value)] * bool(value)
    only_default = field.enum_type is not None and len(field.enum_type.values) == 1
    return [value] if only_default or field.name in [f.name for f, _ in holder.ListFields()] else []


def sample(field: FieldDescriptor) -> Any:
    """A value that differs from the field's default (where it has another), as YAML has it."""
    one: Any
    if field.message_type is not None:
        one = {}  # only asked for messages without fields
    elif field.enum_type is not None:
        one = field.enum_type.values[-1].name
    elif field.cpp_type == field.CPPTYPE_BOOL:
        one = True
    elif field.cpp_type == field.CPPTYPE_STRING:
        one = "text"
    elif field.cpp_type in {field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE}:
        one = 0.25
    else:
        one = 2
    return [one] if field.is_repeated else one


def leaves() -> list[Leaf]:
    """Every leaf of ModelConfig."""

    def below(descriptor: Any, way: tuple[FieldDescriptor, ...]) -> list[Leaf]:
        found: list[Leaf] = []
        for field in descriptor.fields:
            here = (*way, field)
            if is_map(field):
                value = map_fields(field)[1]
                found += [Leaf(here)] if value.message_type is None else below(value.message_type, here)
            elif field.message_type is not None:
                # Messages without fields (`version_policy.all`) say all by being there.
                found += below(field.message_type, here) if field.message_type.fields else [Leaf(here)]
            else:
                found.append(Leaf(here))
        return found

    return below(ModelConfig.DESCRIPTOR, ())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "leaf" in metafunc.fixturenames:
        metafunc.parametrize("leaf", leaves(), ids=lambda leaf: leaf.path)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The builders of this file."""
    return SimpleNamespace(
        model=model, files_model=files_model, ensemble=ensemble, pipeline=pipeline, digits=digits, tree=FakeTree,
        leaves=leaves, sample=sample, Tensor=Tensor, Batching=Batching, InstanceGroup=InstanceGroup, Queue=Queue,
        Priorities=Priorities, EMBEDDED=EMBEDDED, PRODUCTION=PRODUCTION,
    )  # fmt: skip
