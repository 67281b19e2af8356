"""The full form that a spec stands for on one target, written as a spec again: what `--show-plan` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generator.load.scalars import NumberRefusedError, resolve
from generator.plan import EngineProgram, FilesProgram, FlowProgram, Fold, ModelPlan, Plan
from generator.project import EMBEDDED
from generator.resolve.expand import Expanded, as_spec
from generator.resolve.folded import in_words
from generator.spec import Spec, Target
from generator.spec.models import Model
from generator.spec.serving import Batching, Buffers, InstanceGroup

LINE = 96  # characters that a mapping may take in one line


def full_spec(spec: Spec, expanded: Expanded, plan: Plan) -> Spec:
    """A spec of the full form whose Plan on that target equals `plan`."""
    flow = plan.models[0].program
    fused = isinstance(flow, FlowProgram)
    by_key = {
        m.key: m for m in ([stage.model for stage in flow.stages] if isinstance(flow, FlowProgram) else plan.models)
    }
    folded = bool(_folds(plan))
    # A model that is wholly in an engine's graph has no plan of its own.
    models = {
        key: _full_model(model, by_key[key], folded) if key in by_key else model
        for key, model in expanded.models.items()
    }
    where = plan.target
    target = Target() if where.name == EMBEDDED else Target(server=where.server, gpu=where.gpu)
    changes: dict[str, Any] = {
        "model": None, "preprocess": [], "postprocess": [], "instances": None,
        "models": models, "flow": None if expanded.flow is None else list(expanded.flow),
        "batching": Batching(max_batch_size=plan.max_batch_size), "targets": {where.name: target},
    }  # fmt: skip
    if fused:
        # The models' own would have no effect: the pipeline is one model.
        models = {
            k: m.model_copy(update={"batching": None, "instances": None, "name": None}) for k, m in models.items()
        }
        changes |= {"layout": "fused", "models": models, "batching": _batching_of(plan.models[0]),
                    "instances": list(plan.models[0].instances)}  # fmt: skip
    else:
        changes["layout"] = "folded" if folded else "ensemble"
    return spec.model_copy(update=changes)


def _folds(plan: Plan) -> dict[str, Fold]:
    """What is in the engines' graphs, by the model's key."""
    programs = {part.key: part.program for model in plan.models for part in model.parts()}
    return {key: p.fold for key, p in programs.items() if isinstance(p, EngineProgram) and p.fold is not None}


def _full_model(model: Model, plan: ModelPlan, folded: bool) -> Model:
    if isinstance(plan.program, FilesProgram) and plan.program.whole:
        return model  # its `config` says all
    update: dict[str, Any] = {"batching": _batching_of(plan), "instances": list(plan.instances) or None}
    if isinstance(plan.program, EngineProgram):
        update.update(engine=plan.program.engine, precision=plan.program.precision)
        if (buffers := plan.program.buffers) is not None:
            update["buffers"] = Buffers(
                buckets=list(buffers.buckets), slots=buffers.slots, copies=buffers.copies,
                preprocess=buffers.preprocess, lengths=list(buffers.open_lengths), inputs=buffers.inputs,
                outputs=buffers.outputs, decode=buffers.decode, fold=plan.program.fold is not None,
                process=buffers.process,
            )  # fmt: skip
    # A spec says what tensors are before anything is folded, and so what was written is all there is to say.
    if isinstance(plan.program, EngineProgram) and not folded:
        update["inputs"] = {t.name: model.inputs.get(t.name, as_spec(t)) for t in plan.inputs}
    # The tensors of copied files are all declared, here or at the top.
    if not isinstance(plan.program, FilesProgram) and not folded:
        update["outputs"] = {t.name: model.outputs.get(t.name, as_spec(t)) for t in plan.outputs}
    return model.model_copy(update=update)


def _batching_of(plan: ModelPlan) -> Batching:
    return plan.batching or Batching(max_batch_size=plan.max_batch_size, dynamic=False)


def as_yaml(spec: Spec, plan: Plan) -> str:
    """The full form as YAML that loads again, with a line on what it is."""
    import yaml

    class Compact(yaml.SafeDumper):
        """What fits a line stands in one; the rest as blocks."""

        def represent_mapping(self, tag: str, mapping: Any, _style: bool | None = None) -> yaml.MappingNode:
            return super().represent_mapping(tag, mapping, len(repr(mapping)) <= LINE)

        def represent_sequence(self, tag: str, sequence: Any, _style: bool | None = None) -> yaml.SequenceNode:
            return super().represent_sequence(tag, sequence, len(repr(sequence)) <= LINE)

        def represent_text(self, text: str) -> yaml.ScalarNode:
            return self.represent_scalar("tag:yaml.org,2002:str", text, None if _reads_as_text(text) else "'")

    Compact.add_representer(str, Compact.represent_text)

    head = f"# {plan.spec_file} on target `{plan.target.name}` (Triton {plan.target.server}), written out in full.\n"
    for key, fold in _folds(plan).items():
        head += f"# In the graph of `{key}`: {in_words(fold)}.\n"
    return head + yaml.dump(_plain(spec), Dumper=Compact, sort_keys=False, width=2 * LINE, allow_unicode=True)


def _reads_as_text(text: str) -> bool:
    """Whether a spec may hold it unquoted: `1e5` is text to PyYAML, and a number to a spec."""
    try:
        return resolve(text) == text
    except NumberRefusedError:
        return False


def _plain(spec: Spec) -> dict[str, Any]:
    data = spec.model_dump(exclude_defaults=True)
    if _all_in_config(spec):
        data.pop("batching", None)
    else:
        data["batching"] = _plain_batching(spec.batching, data.get("batching", {}))
    if spec.instances is not None:
        data["instances"] = _plain_instances(spec.instances)
    for key, model in (spec.models or {}).items():
        shown = data["models"][key]
        if model.steps is not None:
            shown["steps"] = [{step.name: step.parameters.model_dump(exclude_defaults=True)} for step in model.steps]
        if model.batching is not None:
            shown["batching"] = _plain_batching(model.batching, shown.get("batching", {}))
        if model.instances is not None:
            shown["instances"] = _plain_instances(model.instances)
        if model.onnx is not None:
            shown.update(engine=model.engine, precision=model.precision)
    return data


def _all_in_config(spec: Spec) -> bool:
    """Whether `config` says all of every model, and batching of the pipeline would be of none."""
    models = list((spec.models or {}).values()) if spec.flow is None and not (spec.inputs or spec.outputs) else []
    return bool(models) and not any(m.inputs or m.outputs or m.files is None for m in models)


def _plain_instances(instances: Sequence[InstanceGroup]) -> list[dict[str, Any]]:
    return [{"kind": g.kind, "count": g.count, **({"gpus": g.gpus} if g.gpus else {})} for g in instances]


def _plain_batching(batching: Batching, given: dict[str, Any]) -> dict[str, Any]:
    """With the numbers that people look for, also where they are the default."""
    shown: dict[str, Any] = {"max_batch_size": batching.max_batch_size}
    if batching.dynamic and batching.max_batch_size:
        shown.update(preferred=list(batching.preferred), max_queue_delay_us=batching.max_queue_delay_us)
    shown |= given
    if batching.priorities is not None and batching.priorities.queues:
        # A bare number is no key of a spec.
        queues = {str(level): queue for level, queue in given["priorities"]["queues"].items()}
        shown["priorities"] = {**given["priorities"], "queues": queues}
    return shown
