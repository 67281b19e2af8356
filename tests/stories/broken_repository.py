"""A model repository as somebody wrote it by hand, with a dozen mistakes in it."""

from __future__ import annotations

from pathlib import Path

CODE = """import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", {what}.astype(x.dtype))]))
        return answers
"""

# Beside each line what is wrong with it.
FILES = {
    "scale/config.pbtxt": """\
name: "scale"
backend: "python"
max_batchsize: 8  # it is max_batch_size
input [ { name: "x" data_type: TYPE_FLOAT32 dims: [ 4 ] } ]  # it is TYPE_FP32
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
dynamic_batching { preferred_batch_size: [ 4, 16 ] }  # more than 8
instance_group [ { kind: KIND_GPU count: 2 } ]  # there is no GPU
""",
    "scale/1/model.py": CODE.format(what="(x * 2)"),
    "shift/config.pbtxt": """\
name: "shfit"  # the directory is called otherwise
backend: "python
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
""",
    "shift/model.py": CODE.format(what="(x + 1)"),  # there is no version directory
    "rank/config.pbtxt": """\
backend: "python"
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 0 ] label_filename: "labels.txt" } ]  # no axis is 0, there is no file
model_warmup [
  {
    name: "first"
    batch_size: 1
    inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "first.bin" } }
  }
]
""",
    "rank/1/model.py": CODE.format(what="(x.argsort(axis=1))"),
    "rank/warmup/first.bin": "\0" * 12,  # it is 16 bytes
    "both/config.pbtxt": """\
platform: "ensemble"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]  # the models take 4
output [ { name: "y" data_type: TYPE_INT32 dims: [ 4 ] } ]  # and give FP32
ensemble_scheduling {
  step [
    {
      model_name: "scale"
      model_version: -1
      input_map { key: "X" value: "x" }  # its input is called x
      output_map { key: "y" value: "scaled" }
    },
    {
      model_name: "shfit"  # there is no such model
      model_version: -1
      input_map { key: "x" value: "scaled" }
      output_map { key: "y" value: "y" }
    }
  ]
}
""",  # it has no version directory
}
MISTAKES = 15


def write(root: Path) -> None:
    """Writes the repository."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
