"""Whatever stands in a repository, lint tells of it and never raises."""

from __future__ import annotations

import json
import random
import time

import pytest
from google.protobuf.descriptor import FieldDescriptor
from pbtxt_texts import Maker, mutated

from generator.config.messages import ModelConfig
from generator.lint.check import Checked, check
from generator.lint.files import MemoryFolder
from generator.lint.mend import mends_of
from generator.lint.server import EMBEDDED, Server

ANY = Server()
TENSORS = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]\noutput [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
PLAIN = "class TritonPythonModel:\n    def execute(self, requests): ...\n"
LARGE = f"[ {', '.join(['9223372036854775807'] * 300)} ]"
ENSEMBLE = """platform: "ensemble"
ensemble_scheduling {
  step { model_name: "m" model_version: -1 input_map { key: "x" value: "a" } output_map { key: "y" value: "b" } }
  step { model_name: "m" model_version: -1 input_map { key: "x" value: "b" } output_map { key: "y" value: "c" } }
}
input { name: "a" data_type: TYPE_FP32 dims: 4 }
output { name: "c" data_type: TYPE_FP32 dims: 4 }
"""


def judged(config: str, python: str = PLAIN, server: Server = EMBEDDED, **files: bytes) -> Checked:
    """What is said of a model `m` and of files beside it (`m__labels`: a file `m/labels`)."""
    beside = {name.replace("__", "/"): data for name, data in files.items()}
    tree = {"m/config.pbtxt": config.encode(), "m/1/model.py": python.encode("utf-8", "surrogatepass"), **beside}
    return check([MemoryFolder(tree, "")], server)


def told(checked: Checked, code: str) -> list[str]:
    return [problem.message for problem in checked.problems if problem.code == code]


def completing(call: str) -> str:
    body = f"    @staticmethod\n    def auto_complete_config(config):\n        config.{call}\n        return config\n"
    return f"class TritonPythonModel:\n{body}    def execute(self, requests): ...\n"


# Values of their own kind ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [11, 20, 5000])
def test_a_profile_of_many_digits_is_none(digits: int) -> None:
    number = "9" * digits
    group = f'instance_group {{ kind: KIND_GPU profile: [ "{number}", "1{number}", "-{number}", "00" ] }}\n'
    checked = judged(f'backend: "tensorrt"\n{group}{TENSORS}', server=ANY)
    assert len(told(checked, "TK653")) == 3
    assert told(checked, "TK706") == []


def test_a_profile_may_begin_with_any_number_of_zeros() -> None:
    group = f'instance_group {{ kind: KIND_GPU profile: [ "{"0" * 5000}7", "7" ] }}\n'
    checked = judged(f'backend: "tensorrt"\n{group}{TENSORS}', server=ANY)
    assert told(checked, "TK653") == []
    assert told(checked, "TK706") == ["`7` is profile 7, which stands there already"]


def test_more_elements_than_can_be_counted() -> None:
    output = f'output {{ name: "y" data_type: TYPE_FP32 dims: {LARGE} label_filename: "labels" }}\n'
    checked = judged(f'backend: "python"\n{output}', m__labels=b"one\n")
    assert told(checked, "TK671") == [f"it has 1 labels, and the output {2**63 - 1} elements"]
    value = f'value {{ data_type: TYPE_FP32 dims: {LARGE} input_data_file: "f" }}'
    sample = f'model_warmup {{ name: "w" batch_size: 1 inputs {{ key: "x" {value} }} }}\n'
    checked = judged(f'backend: "python"\n{sample}{TENSORS}', m__warmup__f=b"one\n")
    assert told(checked, "TK678") == [f"it has 4 bytes, and one sample needs {4 * (2**63 - 1)}"]


@pytest.mark.parametrize("gpus", [0, 1])
def test_more_bytes_between_steps_than_can_be_counted(gpus: int) -> None:
    pool = 'parameters { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } }\n'
    group = f"instance_group {{ kind: KIND_{'GPU' if gpus else 'CPU'} count: 1 }}\n"
    tensors = f'input {{ name: "x" data_type: TYPE_FP32 dims: 4 }}\noutput {{ name: "y" data_type: TYPE_FP32 dims: {LARGE} }}\n'
    config = f'backend: "python"\nmax_batch_size: 1\n{pool}{group}{tensors}'
    checked = judged(config, server=Server(gpus=gpus), e__config_pbtxt=b"")
    assert "m" not in checked.refused
    tree = {"m/config.pbtxt": config.encode(), "m/1/model.py": PLAIN.encode(), "e/config.pbtxt": ENSEMBLE.encode()}
    checked = check([MemoryFolder({**tree, "e/1/": b""}, "")], Server(gpus=gpus))
    # Four batches of what goes between, and of two inputs two, in 512 bytes each.
    code, size = ("TK766", 16 * (2**63 - 1) + 2 * 2 * 512) if gpus else ("TK769", 4 * (2**63 - 1))
    assert [f"{size:,} bytes" in message for message in told(checked, code)] == [True]


@pytest.mark.parametrize(
    "call",
    [
        f"set_max_batch_size(-0x{'f' * 5000})",
        f'set_model_transaction_policy({{"decoupled": True, 0x{"f" * 5000}: 1}})',
        f'add_input({{"name": "z", "data_type": "TYPE_FP32", "dims": [4], 0x{"f" * 5000}: 1}})',
        'add_input({"name": "z", "data_type": "TYPE_FP32", "dims": [4], "\\ud800": 1})',
    ],
)
def test_what_no_message_can_hold_is_forbidden_all_the_same(call: str) -> None:
    checked = judged(f'backend: "python"\n{TENSORS}', completing(call), Server(gpus=0))
    [message] = told(checked, "TK717")
    assert message.encode("utf-8")
    assert len(message) < 200


@pytest.mark.parametrize(
    "call",
    [
        f"set_max_batch_size(0x{'f' * 5000})",
        'add_input({"name": "z", "data_type": ["a"], "dims": [4]})',
        'add_input({"name": "\\ud800", "data_type": "TYPE_FP32", "dims": [4]})',
        f'add_input({{"name": "z", "data_type": "TYPE_FP32", "dims": [0x{"f" * 5000}]}})',
        'add_input({"name": ["z"], "data_type": {"a": 1}, "dims": 4, "optional": [1]})',
    ],
)
def test_what_no_configuration_can_hold_completes_nothing(call: str) -> None:
    checked = judged(f'backend: "python"\n{TENSORS}', completing(call), Server(gpus=0))
    assert [tensor.name for tensor in checked.models["m"].completed.input] == ["x"]
    assert checked.models["m"].completed.max_batch_size == 0


def test_two_versions_with_large_numbers_are_compared() -> None:
    python = completing(f"set_max_batch_size(0x{'f' * 5000})")
    checked = judged(f'backend: "python"\n{TENSORS}', python, Server(gpus=0), **{"m__2__model.py": python.encode()})
    assert checked.refused == set()


@pytest.mark.parametrize("indent", ["", "    "])
def test_a_long_chain_of_elif_takes_no_time(indent: str) -> None:
    chain = "if a == 0:\n    b = 0\n" + "".join(f"elif a == {i}:\n    b = {i}\n" for i in range(1, 60))
    chain = "".join(f"{indent}{line}\n" for line in chain.splitlines())
    execute = "    def execute(self, requests):\n        return [self.model.run(each) for each in requests]\n"
    python = (
        f"class TritonPythonModel:\n{chain}{execute}" if indent else f"{chain}class TritonPythonModel:\n{execute}"
    )
    began = time.monotonic()
    checked = judged(f'backend: "python"\n{TENSORS}', python, Server(gpus=0))
    assert checked.refused == set()
    assert time.monotonic() - began < 60, "it is done at once, and doubled with each branch"


# Everything at random ------------------------------------------------------------------------------------------------

TEXTS = ["a", "b", "x", "y", "0", "9" * 5000, "yes", "TRITON_BATCH_STRATEGY_PATH", "FORCE_CPU_ONLY_INPUT_TENSORS", "EXECUTION_ENV_PATH",
         "../x", "../../../x", "1/model.py", "model.py", "ensemble", "..", ".", "/", "", "é"]  # fmt: skip
NUMBERS = ["9", "99", "-1", "2147483647"]
SERVERS = [EMBEDDED, ANY, Server(gpus=2, cores=2), Server(release="24.10", gpus=0), Server(auto_complete=False, release="26.07"),
           Server(config_name="small"), Server(gpus=0)]  # fmt: skip
HEADS = ["", 'backend: "python" ', 'platform: "tensorrt_plan" ', 'backend: "onnxruntime" ', 'platform: "ensemble" ',
         'backend: "python" max_batch_size: 4 ', 'platform: "ensemble" max_batch_size: 4 ']  # fmt: skip
LITERALS = [
    "4", "-1", "0x" + "f" * 4200, '"x"', '"\\ud800"', "None", "True", "[4]", "[[4]]", "{}", "(1, 2)", "1e999", "...", "b'x'",
    '{"name": "x", "data_type": "TYPE_FP32", "dims": [4]}', '{"name": "x", "data_type": ["a"], "dims": [0]}',
    '{"name": "\\ud800", "data_type": "TYPE_FP32", "dims": [9223372036854775808]}', '{"decoupled": True}', '{1: 2}',
]  # fmt: skip
CALLS = ["set_max_batch_size", "set_dynamic_batching", "set_model_transaction_policy", "add_input", "add_output"]


class Hostile(Maker):
    """Makes configurations of values that hardly anybody writes."""

    def _scalar(self, field: FieldDescriptor) -> str:
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM and self._rarely(0.3):
            return str(self._one(NUMBERS))
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and self._rarely(0.7):
            return json.dumps(self._one(TEXTS), ensure_ascii=False)
        return super()._scalar(field)

    def _field(self, field: FieldDescriptor, most: int) -> str:
        if field.name in ("dims", "shape") and self._rarely(0.1):
            return f"{field.name}: {LARGE}"
        return super()._field(field, most)


def repository(source: random.Random) -> dict[str, bytes]:
    """Four models that name each other and their files, and a directory of none."""
    fields = [field.name for field in ModelConfig.DESCRIPTOR.fields]
    files = {"notes/": b"", "x": b"one\n"}
    for name in ("a", "b", "x", "y"):
        only = source.sample(fields, 5)
        without = set(fields) - set(only) if source.random() < 0.6 else set()
        head = source.choice(HEADS)
        if head:
            without |= {"backend", "platform", "name", "max_batch_size"}
        odd, wrong = source.choice([0, 0.05, 0.3]), source.choice([0, 0, 0, 0.2])
        text = head + Hostile(source, odd=odd, wrong=wrong, without=frozenset(without)).text()
        files[f"{name}/config.pbtxt"] = (mutated(text, source) if source.random() < 0.1 else text).encode(
            "utf-8", "surrogatepass"
        )
        call = f"{source.choice(CALLS)}({source.choice(LITERALS)})"
        files[f"{name}/1/model.py"] = (completing(call) if source.random() < 0.5 else PLAIN).encode()
        if source.random() < 0.3:
            files[f"{name}/1/model.plan"] = source.choice([b"", b"ftrt" + bytes(30)])
            files[f"{name}/1/model.onnx"] = source.choice(
                [b"", b"\x08\x08", b"version https://git-lfs.github.com/spec/v1\n"]
            )
        if source.random() < 0.3:
            files[f"{name}/warmup/x"] = bytes(source.randrange(40))
            files[f"{name}/initial_state/x"] = bytes(7)
        if source.random() < 0.2:
            files[f"{name}/configs/small.pbtxt"] = files[f"{name}/config.pbtxt"]
    return files


@pytest.mark.parametrize("seed", range(0, 800, 50))
def test_lint_never_raises(seed: int) -> None:
    for each in range(seed, seed + 50):
        source = random.Random(each)
        files = repository(source)
        checked = check([MemoryFolder(files, "")], source.choice(SERVERS))
        assert checked.problems, each
        said = [(problem.code, str(problem.place), problem.message) for problem in checked.problems]
        assert all(code.startswith("TK") and place and message for code, place, message in said), each
        for mend in mends_of([checked], checked.problems).files:
            assert mend.after != mend.before.decode("utf-8"), each
