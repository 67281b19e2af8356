"""Valid repositories by chance: one Python model with many features, or an ensemble of two to six steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import oracle_features
from oracle_repository import MODEL_PY, Model, Repository, message

_DTYPES = ("FP32", "FP32", "FP32", "INT32", "INT64", "UINT8", "FP16", "BOOL", "STRING", "BF16")
_SIZES = (1, 2, 3, 4, 6, -1)


@dataclass
class Tensor:
    """A tensor between steps: dims as the ensemble writes them, batch dimension not among them if it batches."""

    name: str
    dtype: str
    dims: list[int]
    used: int = 0

    def fields(self, name: str, dims: list[int] | None = None) -> dict[str, Any]:
        """As an input or an output of that name."""
        return {"name": name, "data_type": f"TYPE_{self.dtype}", "dims": list(self.dims if dims is None else dims)}


@dataclass
class Leaf:
    """A Python model in the making. Features change `config` (ModelConfig as plain values) and `files`."""

    random: Random
    config: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        """Its max_batch_size."""
        return int(self.config.get("max_batch_size", 0))


def generate(random: Random, prefix: str, *, alone: float = 0.5) -> Repository:
    """A repository; with the chance `alone` it is one Python model."""
    if random.random() < alone:
        inputs = [_tensor(random, f"x{i}") for i in range(random.choice((1, 1, 2, 3)))]
        outputs = [_tensor(random, f"y{i}") for i in range(random.choice((1, 1, 2)))]
        leaf = _leaf(random, f"{prefix}leaf", random.choice((0, 1, 4, 8)), inputs, outputs)
        for _ in range(random.choice((1, 2, 2, 3, 3, 4))):
            random.choice(oracle_features.ALL)(leaf)
        return Repository({"leaf": _model(leaf)}, "leaf")
    return _ensemble(random, prefix)


def _tensor(random: Random, name: str) -> Tensor:
    return Tensor(name, random.choice(_DTYPES), [random.choice(_SIZES) for _ in range(random.choice((1, 1, 2, 3)))])


def _leaf(random: Random, name: str, batch: int, inputs: list[Tensor], outputs: list[Tensor]) -> Leaf:
    config = {
        "name": name,
        "backend": "python",
        "max_batch_size": batch,
        "input": [tensor.fields(f"in{i}") for i, tensor in enumerate(inputs)],
        "output": [tensor.fields(f"out{i}") for i, tensor in enumerate(outputs)],
    }
    return Leaf(random, config, {"1/model.py": MODEL_PY})


def _model(leaf: Leaf) -> Model:
    return Model(leaf.config["name"], message(**leaf.config), leaf.files)


def _ensemble(random: Random, prefix: str) -> Repository:
    """Steps over tensors that came before; what nobody uses in the end becomes an output."""
    batch = random.choice((0, 2, 4))
    tensors = [_tensor(random, f"t{i}") for i in range(random.choice((1, 1, 2)))]
    inputs = list(tensors)
    models: dict[str, Model] = {}
    made: list[tuple[str, list[Tensor], list[Tensor]]] = []
    steps: list[dict[str, Any]] = []
    count = random.choice((2, 2, 2, 3, 3, 4, 5, 6))
    for number in range(count):
        is_last = number == count - 1
        again = None if is_last else _again(random, made, tensors)
        if again is None:
            sources = _sources(random, tensors, inputs if is_last else [])
            results = [_tensor(random, "") for _ in range(random.choice((1, 1, 1, 2)))]
            key = f"m{len(made)}"
            models[key] = _member(random, f"{prefix}{key}", batch, sources, results)
            made.append((key, sources, results))
        else:
            key, sources, results = again
        fresh = [Tensor(f"t{len(tensors) + i}", each.dtype, each.dims) for i, each in enumerate(results)]
        for tensor in sources:
            tensor.used += 1
        tensors += fresh
        steps.append(
            {
                "model_name": f"{prefix}{key}",
                "model_version": random.choice((-1, -1, -1, 1)),
                "input_map": {f"in{i}": tensor.name for i, tensor in enumerate(sources)},
                "output_map": {f"out{i}": tensor.name for i, tensor in enumerate(fresh)},
            }
        )
    outputs = [tensor for tensor in tensors if not tensor.used]
    config = message(
        name=f"{prefix}ens",
        platform="ensemble",
        max_batch_size=batch,
        input=[tensor.fields(tensor.name) for tensor in inputs],
        output=[tensor.fields(tensor.name) for tensor in outputs],
        ensemble_scheduling={"step": steps},
    )
    top = Model(f"{prefix}ens", config, {}, {"1"}, is_ensemble=True)
    _decouple_one(models, [step["model_name"] for step in steps])
    for feature in random.sample(_ENSEMBLE_FEATURES, random.choice((0, 0, 1, 1, 2))):
        feature(random, top)
    return Repository({"ens": top, **models}, "ens")


def _decouple_one(models: dict[str, Model], used: list[str]) -> None:
    """One step at most may be decoupled: two of them must not meet again."""
    left = 1
    for model in models.values():
        if model.config.model_transaction_policy.decoupled:
            left -= used.count(model.folder)
            if left < 0:
                model.config.ClearField("model_transaction_policy")


def _again(
    random: Random, made: list[tuple[str, list[Tensor], list[Tensor]]], tensors: list[Tensor]
) -> tuple[str, list[Tensor], list[Tensor]] | None:
    """A model that was made before, with other tensors that fit; None: make a new one."""
    if not made or random.random() < 0.45:
        return None
    key, sources, results = random.choice(made)
    found = []
    for source in sources:
        fits = [t for t in tensors if (t.dtype, t.dims) == (source.dtype, source.dims)]
        unused = [t for t in fits if not t.used]
        found.append(random.choice(unused or fits))
    return key, found, results


def _sources(random: Random, tensors: list[Tensor], needed: list[Tensor]) -> list[Tensor]:
    """One to three tensors, those first that nobody uses yet, and of `needed` all of these."""
    unused = [tensor for tensor in tensors if not tensor.used]
    left = sum(tensor in unused for tensor in needed)
    first = unused[: max(left, random.choice((1, 2, 2)))] or [random.choice(tensors)]
    rest = [tensor for tensor in tensors if tensor not in first]
    return first + random.sample(rest, min(len(rest), random.choice((0, 0, 0, 1))))


def _member(random: Random, name: str, batch: int, sources: list[Tensor], results: list[Tensor]) -> Model:
    """A step's model: as large as the ensemble's batch, larger, or without batching and with the batch in its dims."""
    own = random.choice((batch, batch, batch + 3, 0)) if batch else 0
    leaf = _leaf(random, name, own, sources, results)
    for tensor in [*leaf.config["input"], *leaf.config["output"]]:
        tensor["dims"] = [-1 if random.random() < 0.15 else size for size in tensor["dims"]]
        if batch and not own:
            tensor["dims"].insert(0, -1)
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        random.choice(oracle_features.ALL)(leaf)
    return _model(leaf)


def _twice_versioned(random: Random, model: Model) -> None:
    model.empty |= {random.choice(("2", "3", "7"))}


def _tagged(random: Random, model: Model) -> None:
    model.config.metric_tags["owner"] = "team"
    model.config.parameters["depth"].string_value = "3"


def _labelled(random: Random, model: Model) -> None:
    model.files["labels.txt"] = b"cat\ndog\n"
    model.config.output[0].label_filename = "labels.txt"


def _latest(random: Random, model: Model) -> None:
    model.config.version_policy.latest.num_versions = random.choice((1, 2))


def _reshaped(random: Random, model: Model) -> None:
    tensor = random.choice([*model.config.input, *model.config.output])
    if -1 not in tensor.dims:
        tensor.reshape.shape.extend([1, *tensor.dims])
        tensor.reshape.shape.pop(0)


_ENSEMBLE_FEATURES: list[Callable[[Random, Model], None]] = [
    _twice_versioned, _tagged, _labelled, _latest, _reshaped,
]  # fmt: skip
