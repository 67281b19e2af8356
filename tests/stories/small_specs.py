"""Small pipelines, one for each corner of the spec, and the classes that they run."""

from __future__ import annotations

DTYPES = {
    "bool": "bool", "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "fp16": "float16", "fp32": "float32", "fp64": "float64",
}  # fmt: skip

CLASSES = '''"""Classes of a user."""

import numpy as np


class Shout:
    def __init__(self, parameters):
        self.most = parameters["most"]

    def run(self, tensors, fail):
        words = [value.decode() for value in tensors["text"][:, 0]]
        for index, word in enumerate(words):
            if word == "raise":
                raise RuntimeError("this word is not to be shouted")
            if not word:
                fail(index, "the text is empty")
            elif len(word) > self.most:
                fail(index, f"{len(word)} characters, more than {self.most}")
        loud = np.array([[word.upper().encode()] for word in words], object)
        return {"loud": loud, "length": np.array([[len(word)] for word in words], np.int64)}


class Centre:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        return {"centred": tensors["x"] - tensors["x"].mean()}


class Types:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        return {f"{name}_back": value for name, value in tensors.items()}


class Double:
    def __init__(self, parameters):
        pass

    def run(self, tensors, fail):
        return {"y": tensors["x"] * 2}


class Calls:
    def __init__(self, parameters):
        self.calls = 0

    def run(self, tensors, fail):
        self.calls += 1
        return {"calls": np.full((len(tensors["x"]), 1), self.calls, np.int64)}


class Memory:
    """Tells which batches it has seen so far, at most eight."""

    def __init__(self, parameters):
        self.seen = []

    def run(self, tensors, fail):
        values = tensors["x"]
        self.seen.append((len(values), values.sum()))
        known = (self.seen + [(0, 0)] * 8)[:8]
        batches = np.array([[size for size, _ in known]] * len(values), np.int64)
        sums = np.array([[total for _, total in known]] * len(values), np.float32)
        return {"batches": batches, "sums": sums}
'''

_PAIR = "{type: fp32, dims: [2]}"
_TEXT = "inputs: {text: {type: string}}"
_LOUD = "outputs: {loud: {type: string}, length: {type: int64, dims: [1]}}"
_TYPES_IN = (
    ", ".join(f"{name}: {{type: {name}, dims: [2]}}" for name in DTYPES) + ", text: {type: string, dims: [2, 2]}"
)
_TYPES_OUT = (
    ", ".join(f"{name}_back: {{type: {name}, dims: [2]}}" for name in DTYPES)
    + ", text_back: {type: string, dims: [2, 2]}"
)


def _double(name: str, more: str = "") -> str:
    """One model that doubles a pair of numbers; `more` are further lines of the model."""
    return f"""
name: {name}
inputs: {{x: {_PAIR}}}
outputs: {{y: {_PAIR}}}
models:
  only:
    python: steps/small.py:Double
    inputs: {{x: {_PAIR}}}
    outputs: {{y: {_PAIR}}}
{more}"""


SPECS = {
    "shout.yaml": f"""
name: shout
{_TEXT}
{_LOUD}
models:
  shout:
    python: steps/small.py:Shout
    arguments: {{most: 20}}
    {_TEXT}
    {_LOUD}
""",
    "shout_twice.yaml": f"""
name: shout_twice
{_TEXT}
outputs: {{again: {{type: string}}}}
models:
  shout:
    python: steps/small.py:Shout
    arguments: {{most: 20}}
    {_TEXT}
    {_LOUD}
  again:
    python: steps/small.py:Shout
    arguments: {{most: 20}}
    {_TEXT}
    {_LOUD}
flow:
  - {{model: shout, inputs: {{text: text}}, outputs: {{loud: loud}}}}
  - {{model: again, inputs: {{text: loud}}, outputs: {{loud: again}}}}
""",
    "whole.yaml": """
name: whole
inputs: {x: {type: fp32, dims: [-1]}}
outputs: {centred: {type: fp32, dims: [-1]}, scaled: {type: fp32, dims: [-1]}}
models:
  centre:
    python: steps/small.py:Centre
    inputs: {x: {type: fp32, dims: [-1]}}
    outputs: {centred: {type: fp32, dims: [-1]}}
  scale:
    steps: [{normalize: {mean: 0, std: 2}}]
    inputs: {centred: {type: fp32, dims: [-1]}}
    outputs: {scaled: {type: fp32, dims: [-1]}}
flow: [{model: centre}, {model: scale}]
batching: {max_batch_size: 0}
""",
    "types.yaml": f"""
name: types
inputs: {{{_TYPES_IN}}}
outputs: {{{_TYPES_OUT}}}
models:
  types:
    python: steps/small.py:Types
    inputs: {{{_TYPES_IN}}}
    outputs: {{{_TYPES_OUT}}}
""",
    "cached.yaml": f"""
name: cached
inputs: {{x: {_PAIR}}}
outputs: {{calls: {{type: int64, dims: [1]}}}}
models:
  counting:
    python: steps/small.py:Calls
    inputs: {{x: {_PAIR}}}
    outputs: {{calls: {{type: int64, dims: [1]}}}}
    response_cache: true
""",
    "cached_flow.yaml": f"""
name: cached_flow
inputs: {{x: {_PAIR}}}
outputs: {{calls: {{type: int64, dims: [1]}}}}
models:
  counting:
    python: steps/small.py:Calls
    inputs: {{x: {_PAIR}}}
    outputs: {{calls: {{type: int64, dims: [1]}}}}
flow: [{{model: counting}}]
response_cache: true
""",
    "versions.yaml": f"""
name: versions
inputs: {{x: {_PAIR}}}
outputs: {{last: {_PAIR}}}
models:
  newest: {{python: "steps/small.py:Double", inputs: {{x: {_PAIR}}}, outputs: {{y: {_PAIR}}}, versions: {{latest: 2}}}}
  one: {{python: "steps/small.py:Double", inputs: {{x: {_PAIR}}}, outputs: {{y: {_PAIR}}}, versions: {{specific: [1]}}}}
  all: {{python: "steps/small.py:Double", inputs: {{x: {_PAIR}}}, outputs: {{y: {_PAIR}}}, versions: {{all: true}}}}
flow:
  - {{model: newest, inputs: {{x: x}}, outputs: {{y: first}}}}
  - {{model: one, inputs: {{x: first}}, outputs: {{y: second}}}}
  - {{model: all, inputs: {{x: second}}, outputs: {{y: last}}}}
""",
    "warm.yaml": """
name: warm
inputs: {x: {type: fp32, dims: [4]}}
outputs: {batches: {type: int64, dims: [8]}, sums: {type: fp32, dims: [8]}}
models:
  warm:
    python: steps/small.py:Memory
    inputs: {x: {type: fp32, dims: [4]}}
    outputs: {batches: {type: int64, dims: [8]}, sums: {type: fp32, dims: [8]}}
    warmup:
      - {name: zeros, count: 3, inputs: {x: {zero: true}}}
      - {name: anything, batch_size: 2, count: 2, inputs: {x: {random: true}}}
      - {name: ones, batch_size: 2, inputs: {x: {file: ones.raw}}}
""",
    "ranked.yaml": _double(
        "ranked",
        """
    batching:
      max_batch_size: 4
      max_queue_delay_us: 1000
      queue: {max_size: 100, timeout_us: 20000000, on_timeout: delay, allow_override: true}
      priorities: {levels: 3, default: 2, queues: {"1": {max_size: 50}, "3": {timeout_us: 10000000}}}
""",
    ),
    "tuned.yaml": _double(
        "tuned",
        """
    batching: {max_batch_size: 8, preferred: [2, 8], max_queue_delay_us: 700, preserve_ordering: true}
    instances: [{kind: cpu, count: 2}]
    parameters: {FORCE_CPU_ONLY_INPUT_TENSORS: "yes"}
    config: {optimization: {eager_batching: true}, metric_tags: {team: vision}}
""",
    ),
    "single.yaml": _double("single", "    batching: {max_batch_size: 8, dynamic: false}\n"),
}
