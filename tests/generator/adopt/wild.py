"""Configurations as people write them, each a repository; and what an import makes of each model."""

from __future__ import annotations

from repositories import Files

IDENTITY = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"

RESNET = """
# ResNet-50, exported by the vision team.
name: "resnet50"
platform: "tensorrt_plan"
max_batch_size: 32
input [ { name: "input" data_type: TYPE_FP16 format: FORMAT_NCHW dims: [ 3, 224, 224 ] } ]
output [ { name: "prob" data_type: TYPE_FP16 dims: [ 1000 ] label_filename: "labels.txt" } ]
instance_group [ { kind: KIND_GPU count: 2 gpus: [ 0, 1 ] } ]
dynamic_batching { preferred_batch_size: [ 8, 32 ] max_queue_delay_microseconds: 100 }
version_policy: { specific { versions: [ 1, 3 ] } }
optimization { cuda { graphs: true graph_spec { batch_size: 8 } graph_spec { batch_size: 32 } } }
model_warmup [ { name: "zeros" batch_size: 8 count: 1 inputs { key: "input" value { data_type: TYPE_FP16 dims: [ 3, 224, 224 ] zero_data: true } } } ]
response_cache { enable: true }
parameters { key: "owner" value { string_value: "vision" } }
"""
# No name, no batches, no type of instances, and everything else that a spec has no words for.
BERT = """
backend: "onnxruntime"
max_batch_size: 16
input [
  { name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] allow_ragged_batch: true },
  { name: "mask" data_type: TYPE_INT64 dims: [ -1 ] optional: true is_shape_tensor: true }
]
output { name: "logits" data_type: TYPE_FP32 dims: [ 1, 1, 2 ] reshape { shape: [ 2 ] } }
batch_input [ { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "sums" data_type: TYPE_FP32 source_input: "input_ids" } ]
instance_group { count: 4 rate_limiter { resources { name: "R1" count: 4 } priority: 2 } }
dynamic_batching { default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5000 max_queue_size: 64 }
  priority_levels: 2 default_priority_level: 2 priority_queue_policy { key: 1 value { max_queue_size: 8 } } }
optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" parameters { key: "precision_mode" value: "FP16" } } } input_pinned_memory { enable: false } }
model_transaction_policy { decoupled: false }
"""
SEQUENCE = """
name: "asr" backend: "python" max_batch_size: 64
input { name: "chunk" data_type: TYPE_FP32 dims: 160 }
output { name: "text" data_type: TYPE_STRING dims: 1 }
sequence_batching {
  max_sequence_idle_microseconds: 5000000
  oldest { max_candidate_sequences: 8 preferred_batch_size: 4 }
  control_input { name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } }
  control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
  state { input_name: "in" output_name: "out" data_type: TYPE_FP32 dims: -1 initial_state { data_type: TYPE_FP32 dims: 4 zero_data: true name: "zeros" } }
}
instance_group { kind: KIND_CPU count: 1 }
"""
EMPTY_BLOCKS = """
name: "blocks" backend: "python" max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 }
dynamic_batching {} version_policy { all {} } optimization {} response_cache {} model_transaction_policy {}
instance_group { kind: KIND_MODEL }
parameters { key: "empty" } model_metrics { }
"""
COMPLETED = 'platform: "onnxruntime_onnx"\nmax_batch_size: 8\ninstance_group { kind: KIND_GPU }\n'
TWICE = """
name: "twice" backend: "python"
input { name: "x" data_type: TYPE_FP32 dims: 4 } input { name: "x" data_type: TYPE_FP32 dims: 4 }
output { name: "y" data_type: TYPE_FP32 dims: 4 }
"""
REFUSED = """
name: "another" backend: "python" max_batch_size: -3
input { name: "" data_type: 99 dims: [ 0, -7 ] reshape { } } output { name: "a b" }
instance_group { kind: 12 count: -1 gpus: -4 } version_policy { specific { versions: [ -1, 0 ] } }
model_warmup { name: "" batch_size: 0 inputs { key: "" value { zero_data: false } } }
sequence_batching { direct { minimum_slot_utilization: 0.1 } control_input { control { fp32_false_true: [ -0.0, inf, nan ] } } }
"""
TEXTS = r"""
name: "texts" backend: "python" max_batch_size: 1
input { name: "1e5" data_type: TYPE_FP32 dims: 1 } output { name: "null" data_type: TYPE_FP32 dims: 1 }
default_model_filename: "0x1F"
parameters { key: "yes" value { string_value: "017" } } parameters { key: "<<" value { string_value: "a: b # c\n\t\"é\" \u2028 \u0085 \000 😀" } }
parameters { key: "" value { string_value: "" } } metric_tags { key: "true" value: "~" } cc_model_filenames { key: "7.5" value: "x.so" }
"""
LINE = (
    'name: "{}" backend: "python" max_batch_size: {}\n'
    'input {{ name: "x" data_type: TYPE_FP32 dims: 4 }} output {{ name: "y" data_type: TYPE_FP32 dims: 4 }}\n'
)
STEP = 'step {{ model_name: "{}" model_version: {} input_map {{ key: "x" value: "{}" }} output_map {{ key: "y" value: "{}" }} }}\n'


def ensemble(name: str, *steps: str, size: int = 8, rest: str = "") -> bytes:
    return (
        f'name: "{name}" platform: "ensemble" max_batch_size: {size}\n'
        'input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 }\n'
        f"ensemble_scheduling {{ {' '.join(steps)} }} {rest}"
    ).encode()


def model(name: str, size: int = 8, rest: str = "") -> Files:
    return {f"{name}/config.pbtxt": (LINE.format(name, size) + rest).encode(), f"{name}/1/model.py": IDENTITY}


ONE_FLOW: Files = {
    "chain/config.pbtxt": ensemble(
        "chain", STEP.format("chain_first", -1, "x", "between"), STEP.format("second", 2, "between", "y"),
        rest='response_cache { enable: true } parameters { key: "a" value { string_value: "b" } }',
    ),
    "chain/1/": b"",
    **model("chain_first"),
    **model("second", 64, "dynamic_batching { }"),
    "second/2/model.py": IDENTITY,
}  # fmt: skip
SHARED: Files = {
    "one/config.pbtxt": ensemble("one", STEP.format("part", -1, "x", "y")), "one/1/": b"",
    "two/config.pbtxt": ensemble("two", STEP.format("part", -1, "x", "y")), "two/1/": b"",
    **model("part"),
}  # fmt: skip
NESTED: Files = {
    "outer/config.pbtxt": ensemble("outer", STEP.format("inner", -1, "x", "y")), "outer/1/": b"",
    "inner/config.pbtxt": ensemble("inner", STEP.format("part", -1, "x", "y")), "inner/1/": b"",
    **model("part"),
}  # fmt: skip

# Repository, and which form each pipeline comes back in.
WILD: dict[str, tuple[Files, dict[str, str]]] = {
    "resnet50": (
        {"resnet50/config.pbtxt": RESNET.encode(), "resnet50/1/model.plan": b"1", "resnet50/3/model.plan": b"3",
         "resnet50/labels.txt": b"cat\n"}, {"resnet50": "model"},
    ),
    "bert": ({"bert/config.pbtxt": BERT.encode(), "bert/1/model.onnx": b"0"}, {"bert": "model"}),
    "asr": ({"asr/config.pbtxt": SEQUENCE.encode(), "asr/1/model.py": IDENTITY}, {"asr": "model"}),
    "blocks": ({"blocks/config.pbtxt": EMPTY_BLOCKS.encode(), "blocks/1/model.py": IDENTITY}, {"blocks": "model"}),
    "completed": ({"completed/config.pbtxt": COMPLETED.encode(), "completed/1/model.onnx": b"0"}, {"completed": "config"}),
    "nothing": ({"nothing/config.pbtxt": b"", "nothing/1/model.plan": b"0"}, {"nothing": "config"}),
    "no-versions": ({"bare/config.pbtxt": LINE.format("bare", 1).encode()}, {"bare": "model"}),
    "twice": ({"twice/config.pbtxt": TWICE.encode(), "twice/1/model.py": IDENTITY}, {"twice": "config"}),
    "refused": ({"refused/config.pbtxt": REFUSED.encode(), "refused/1/": b""}, {"refused": "config"}),
    "texts": ({"texts/config.pbtxt": TEXTS.encode(), "texts/1/model.py": IDENTITY}, {"texts": "model"}),
    "one-flow": (ONE_FLOW, {"chain": "flow"}),
    "several-models": ({**model("a"), **model("b", 0)}, {"a": "model", "b": "model"}),
    "shared": (SHARED, {"one": "models"}),
    "nested": (NESTED, {"outer": "models"}),
    "version-0": (
        {"e/config.pbtxt": ensemble("e", STEP.format("part", 0, "x", "y")), "e/1/": b"", **model("part")},
        {"e": "models"},
    ),
    "namespace": (
        {"e/config.pbtxt": ensemble("e", STEP.format("part", -1, "x", "y").replace("step {", 'step { model_namespace: "n"')),
         "e/1/": b"", **model("part")}, {"e": "models"},
    ),
    "missing-step": ({"e/config.pbtxt": ensemble("e", STEP.format("gone", -1, "x", "y")), "e/1/": b""}, {"e": "model"}),
    "not-first": (
        {"e/config.pbtxt": ensemble("e", STEP.format("b", -1, "t", "y"), STEP.format("a", -1, "x", "t")), "e/1/": b"",
         **model("a"), **model("b")}, {"e": "models"},
    ),
    "smaller-batches": (
        {"e/config.pbtxt": ensemble("e", STEP.format("a", -1, "x", "y")), "e/1/": b"", **model("a", 4)},
        {"e": "models"},
    ),
    "other-version": (
        {"e/config.pbtxt": ensemble("e", STEP.format("a", -1, "x", "y")), "e/2/": b"", **model("a")},
        {"e": "models"},
    ),
    "no-steps": ({"e/config.pbtxt": ensemble("e"), "e/1/": b""}, {"e": "model"}),
    "keys-of-members": (  # that are those of the ensemble itself, and of each other
        {"e/config.pbtxt": ensemble("e", STEP.format("ensemble", 0, "x", "t"), STEP.format("e_ensemble", -1, "t", "u"),
                                    STEP.format("model", -1, "u", "v"), STEP.format("a.b", -1, "v", "w"), STEP.format("a_b", -1, "w", "y")),
         "e/1/": b"", **model("ensemble"), **model("e_ensemble"), **model("model"), **model("a.b"), **model("a_b")},
        {"e": "models"},
    ),
    "keys-of-long-names": (
        {"e/config.pbtxt": ensemble("e", STEP.format(f"{'n' * 100}.a", -1, "x", "t"), STEP.format(f"{'n' * 100}.b", -1, "t", "y")),
         "e/1/": b"", **model(f"{'n' * 100}.a"), **model(f"{'n' * 100}.b")}, {"e": "flow"},
    ),
    "same-model-twice": (
        {"e/config.pbtxt": ensemble("e", STEP.format("a", -1, "x", "t"), STEP.format("a", 1, "t", "y")), "e/1/": b"",
         **model("a")}, {"e": "flow"},
    ),
    "reshaped-ensemble": (
        {
            "e/config.pbtxt": ensemble("e", STEP.format("a", -1, "x", "y")).replace(b"dims: 4 }", b"dims: 4 reshape { shape: [ 2, 2 ] } }"),
            "e/1/": b"",
            **model("a"),
        },
        {"e": "flow"},
    ),
    "nameless-ensemble": (
        {
            "e/config.pbtxt": ensemble("", STEP.format("a", -1, "x", "y")),
            "e/1/": b"",
            **model("a"),
        },
        {"e": "flow"},
    ),
    "misnamed-ensemble": (
        {
            "e/config.pbtxt": ensemble("f", STEP.format("a", -1, "x", "y")),
            "e/1/": b"",
            **model("a"),
        },
        {"e": "models"},
    ),
    "inflight": (
        {"e/config.pbtxt": ensemble("e", STEP.format("a", -1, "x", "y") + "max_inflight_requests: 4"), "e/1/": b"",
         **model("a")}, {"e": "flow"},
    ),
}  # fmt: skip
