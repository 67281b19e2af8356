"""Hostile configurations: four times as much to read takes about four times as long, not sixteen times."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from growth import grows_linearly

from generator.lint.check import check
from generator.lint.files import MemoryFolder
from generator.lint.mend import mends_of
from generator.lint.server import EMBEDDED, Server

Files = dict[str, bytes | None]
PYTHON = b"class TritonPythonModel:\n    def execute(self, requests): ...\n"
BATCHING = 'backend: "python" max_batch_size: 8 dynamic_batching { }\n'
IGNORE = "# tritonkit: ignore[TK621] because it is\n"
PASSES = 'backend: "python" input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 4 }'
ZEROS = "data_type: TYPE_FP16 dims: 4 zero_data: true"
SMALL, LARGE = 500, 2000


def model(text: str) -> Files:
    return {"m/config.pbtxt": text.encode(), "m/1/model.py": PYTHON}


def inputs(count: int, text: str = "data_type: TYPE_FP32 dims: 4", behind: str = "\n") -> str:
    return "".join(f'input {{ name: "x{i}" {text} }}{behind}' for i in range(count))


def ensemble(steps: str, name: str = "e", read: str = "a0", given: str = "z") -> Files:
    text = f'platform: "ensemble" input {{ name: "{read}" data_type: TYPE_FP32 dims: 4 }} '
    text += f'output {{ name: "{given}" data_type: TYPE_FP32 dims: 4 }} ensemble_scheduling {{ {steps} }}'
    return {f"{name}/1/": b"", f"{name}/config.pbtxt": text.encode()}


def step(read: str, given: str, of: str = "p", own: str = "x", out: str = "y") -> str:
    maps = f'input_map {{ key: "{own}" value: "{read}" }} output_map {{ key: "{out}" value: "{given}" }}'
    return f'step {{ model_name: "{of}" model_version: -1 {maps} }}\n'


def with_member(files: Files, text: str = PASSES) -> Files:
    return {**files, "p/config.pbtxt": text.encode(), "p/1/model.py": PYTHON}


def dims(count: int) -> Files:
    return model(BATCHING + inputs(count, "data_type: TYPE_FP32 dims: [ -1 ]"))


def batch_inputs(count: int) -> Files:
    each = 'batch_input {{ source_input: "z{0}" target_name: "n" data_type: TYPE_FP32 }}\n'
    return model(BATCHING + inputs(count) + "".join(each.format(i) for i in range(count)))


def batch_output(count: int) -> Files:
    names = "".join(f'target_name: "y{i}" ' for i in range(count))
    outputs = "".join(f'output {{ name: "y{i}" data_type: TYPE_FP32 dims: 4 }}\n' for i in range(count))
    return model(BATCHING + inputs(1) + outputs + f'batch_output {{ source_input: "x0" {names} }}')


def sample(count: int) -> Files:
    values = "".join(f'inputs {{ key: "x{i}" value {{ {ZEROS} }} }}\n' for i in range(count))
    return model(BATCHING + inputs(count) + f'model_warmup {{ name: "a" batch_size: 1 {values} }}')


def samples(count: int) -> Files:
    each = 'model_warmup {{ name: "a{0}" batch_size: 1 inputs {{ key: "x{0}" value {{ {1} }} }} }}\n'
    return model(BATCHING + inputs(count) + "".join(each.format(i, ZEROS) for i in range(count)))


def states(count: int) -> Files:
    return model('backend: "python" sequence_batching { ' + 'state { input_name: "r" }\n' * count + "}")


def priorities(count: int) -> Files:
    each = "priority_queue_policy {{ key: {0} value {{ allow_timeout_override: true }} }}\n"
    levels = "priority_levels: 1 default_priority_level: 1 " + "".join(each.format(i) for i in range(count))
    return model(f'backend: "python" max_batch_size: 8 dynamic_batching {{ {levels} }}')


def groups(count: int) -> Files:
    return model(BATCHING + "instance_group { kind: KIND_CPU count: 0 }\n" * count)


def versions(count: int) -> Files:
    wanted = ", ".join(str(i) for i in range(1, count))
    folders: Files = {f"m/{i}/model.py": PYTHON for i in range(1, count, 2)}
    return {**model(f"{BATCHING} version_policy {{ specific {{ versions: [ {wanted} ] }} }}"), **folders}


def comments(count: int) -> Files:
    return model(BATCHING + inputs(count, "dims: 4", f" {IGNORE}"))


def comments_of_one(count: int) -> Files:
    return model(BATCHING + IGNORE * count + inputs(count, "dims: 4"))


def unread(count: int) -> Files:
    return with_member(ensemble("".join(step("a0", f"a{i + 1}") for i in range(2 * count))))


def written_by_all(count: int) -> Files:
    return with_member(ensemble("".join(step("a0", "b") + step("b", "z") for _ in range(count))))


def wide_member(count: int) -> Files:
    tensors = "".join(f'output {{ name: "y{i}" data_type: TYPE_FP32 dims: 4 }}\n' for i in range(count))
    steps = "".join(step(f"a{i}", f"a{i + 1}", own=f"x{i}", out=f"y{i}") for i in range(count))
    return with_member(ensemble(steps), f'backend: "python" {inputs(count, "dims: 4 optional: true")} {tensors}')


def unknown_names(count: int) -> Files:
    maps = "".join(
        f'input_map {{ key: "u{i}" value: "a0" }} output_map {{ key: "v{i}" value: "b{i}" }}' for i in range(count)
    )
    outputs = "".join(f'output {{ name: "y{i}" data_type: TYPE_FP32 dims: 4 }}\n' for i in range(count))
    one_step = f'step {{ model_name: "p" model_version: -1 {maps} }}'
    return with_member(ensemble(one_step), f'backend: "python" {inputs(count)} {outputs}')


def nested(count: int) -> Files:
    files: Files = {}
    for i in range(count):
        files |= ensemble(step("a", "b", f"e{i + 1}", "a", "b"), f"e{i}", "a", "b")
    return {**files, f"e{count}/config.pbtxt": PASSES.encode(), f"e{count}/1/model.py": PYTHON}


def circle(count: int) -> Files:
    files: Files = {}
    for i in range(count):
        files |= ensemble(step("a", "b", f"e{(i + 1) % count}", "a", "b"), f"e{i}", "a", "b")
    return files


def python_calls(count: int) -> Files:
    each = '        config.add_input({{"name": "x{0}", "data_type": "TYPE_FP32", "dims": [4]}})\n'
    head = b"    @staticmethod\n    def auto_complete_config(config):\n"
    body = "".join(each.format(i) for i in range(count)).encode() + b"        return config\n"
    code = PYTHON.replace(b"\n", b"\n" + head + body, 1)
    return {"m/config.pbtxt": b'backend: "python"', "m/1/model.py": code}


@pytest.mark.parametrize(
    "shape",
    [
        dims, batch_inputs, batch_output, sample, samples, states, priorities, groups, versions, comments,
        comments_of_one, unread, written_by_all, wide_member, unknown_names, python_calls,
    ],
)  # fmt: skip
def test_one_model_takes_as_long_as_it_is_large(shape: Callable[[int], Files]) -> None:
    server = Server(gpus=0, auto_complete=True) if shape is python_calls else EMBEDDED
    small, large = (MemoryFolder(shape(count), "") for count in (SMALL, LARGE))
    assert grows_linearly(lambda: check([small], server), lambda: check([large], server))


@pytest.mark.parametrize("shape", [nested, circle])
def test_many_ensembles_take_as_long_as_they_are_many(shape: Callable[[int], Files]) -> None:
    small, large = (MemoryFolder(shape(count), "") for count in (SMALL // 4, LARGE // 4))
    assert grows_linearly(lambda: check([small], EMBEDDED), lambda: check([large], EMBEDDED))


def test_to_judge_some_of_many_takes_as_long_as_they_are_many() -> None:
    files = ({f"p{i}/config.pbtxt": PASSES.encode() for i in range(count)} for count in (SMALL, LARGE))
    small, large = (MemoryFolder({**each, **ensemble(step("a0", "z", "p0"))}, "") for each in files)
    assert grows_linearly(lambda: check([small], EMBEDDED, {"e"}), lambda: check([large], EMBEDDED, {"e"}))


def test_to_mend_takes_as_long_as_there_are_edits() -> None:
    flags = "data_type: TYPE_INT32 dims: 4 is_shape_tensor: true"
    small, large = (check([MemoryFolder(model(BATCHING + inputs(n, flags)), "")], EMBEDDED) for n in (SMALL, LARGE))
    assert len(mends_of([large], large.problems).files[0].mended) == LARGE
    assert grows_linearly(lambda: mends_of([small], small.problems), lambda: mends_of([large], large.problems))
