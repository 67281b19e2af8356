"""Made-up model repositories for benchmarks/lint.py: seeded, no two models alike, ensembles among them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

ENSEMBLES = 0.1  # of all models
BROKEN = 0.05  # of all models, each by one mistake
TYPES = ("FP32", "FP16", "INT64", "UINT8")
CODE = '''"""Model {index}: adds {number} to what it gets."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils

NUMBER = {number}


class TritonPythonModel:
    """Called by the server."""

    def initialize(self, args):
        """Reads the configuration: the first output's name and type."""
        self.config = json.loads(args["model_config"])
        output = self.config["output"][0]
        self.name = output["name"]
        self.dtype = pb_utils.triton_string_to_numpy(output["data_type"])

    def execute(self, requests):
        """One response a request."""
        responses = []
        for request in requests:
            tensor = pb_utils.get_input_tensor_by_name(request, self.config["input"][0]["name"])
            if tensor is None:
                error = pb_utils.TritonError("the input is missing")
                responses.append(pb_utils.InferenceResponse(error=error))
                continue
            values = tensor.as_numpy() + np.asarray(NUMBER, self.dtype)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor(self.name, values.astype(self.dtype))]))
        return responses
'''
MISTAKES: tuple[Callable[[str], str], ...] = (
    lambda text: text.replace("max_batch_size: ", "max_batch_size: -", 1),
    lambda text: text.replace("data_type: TYPE_", "data_type: TIPE_", 1),
    lambda text: text.replace("dims: [ ", "dims: [ 0, ", 1),
    lambda text: text.replace("output [", "outputs [", 1),
)


def make_repository(root: Path, count: int, seed: int) -> None:
    """A repository of `count` models, every tenth an ensemble of two to five of those before it."""
    chains: list[list[str]] = []
    for index in range(count):
        draw = random.Random(f"{seed} {index}")  # noqa: S311
        name = f"model_{index:05}"
        (root / name / "1").mkdir(parents=True)
        if index % 10 == 9:
            text = _ensemble(draw, chains[-1])
        else:
            if index % 10 == 0:
                chains.append([])
            chains[-1].append(name)
            text = _python(draw, index, TYPES[index // 10 % len(TYPES)])
            (root / name / "1" / "model.py").write_text(CODE.format(index=index, number=draw.randrange(10**6)))
        if draw.random() < BROKEN:
            text = draw.choice(MISTAKES)(text)
        (root / name / "config.pbtxt").write_text(text)


def _python(draw: random.Random, index: int, data_type: str) -> str:
    """A Python model; all of one ten have the same types and shapes, so that they can follow each other."""
    lines = [
        f"# Number {index}: {draw.randrange(10**9)}",
        'backend: "python"',
        "max_batch_size: 16",
        "input [",
        f'  {{ name: "x" data_type: TYPE_{data_type} dims: [ {index // 10 + 1}, 8 ] }}',
        "]",
        "output [",
        f'  {{ name: "y" data_type: TYPE_{data_type} dims: [ {index // 10 + 1}, 8 ] }}',
        "]",
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
        "dynamic_batching {",
        f"  max_queue_delay_microseconds: {draw.randint(1, 5000)}",
        "}",
    ]
    if draw.random() < 0.25:
        lines += ["model_warmup [ {", '  name: "first" batch_size: 1', "  inputs {", '    key: "x"',
                  f"    value {{ data_type: TYPE_{data_type} dims: [ {index // 10 + 1}, 8 ] zero_data: true }}",
                  "  }", "} ]"]  # fmt: skip
    for number in range(draw.randrange(3)):
        value = draw.randrange(10**6)
        lines += [f'parameters {{ key: "p{number}" value {{ string_value: "{value}" }} }}']
    return "\n".join(lines) + "\n"


def _ensemble(draw: random.Random, names: list[str]) -> str:
    """A chain of models that fit."""
    chain = draw.sample(names, draw.randint(2, 5))
    own = int(names[0].removeprefix("model_")) // 10
    tensor = f"data_type: TYPE_{TYPES[own % len(TYPES)]} dims: [ {own + 1}, 8 ]"
    lines = [
        'platform: "ensemble"',
        "max_batch_size: 16",
        f'input [ {{ name: "t0" {tensor} }} ]',
        f'output [ {{ name: "t{len(chain)}" {tensor} }} ]',
        "ensemble_scheduling {",
    ]
    for index, name in enumerate(chain):
        lines += ["  step {", f'    model_name: "{name}"', "    model_version: -1",
                  f'    input_map {{ key: "x" value: "t{index}" }}',
                  f'    output_map {{ key: "y" value: "t{index + 1}" }}', "  }"]  # fmt: skip
    return "\n".join([*lines, "}"]) + "\n"
