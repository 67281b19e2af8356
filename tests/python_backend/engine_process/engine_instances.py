"""A model whose batches take as long as their data says, and instances of it: in this process, or in one each."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.buffered.loading import Loaded
from tritonkit_runtime.engine_process import worker
from tritonkit_runtime.engine_process.work import Work
from tritonkit_runtime.parameters import TensorSpec

RUNTIME = Path(worker.__file__).parents[2]
PATIENCE_S = 60.0
X, SPINS = TensorSpec("x", "FP32", (4,)), TensorSpec("spins", "INT64", (1,))
DOUBLED, SUMS = TensorSpec("doubled", "FP32", (4,)), TensorSpec("sums", "FP32", (1,))
SIDE = 64  # of the matrices that a spin multiplies
LONG = 200_000  # spins that take seconds


def save_spins(path: Path, *, factor: float = 2.0, batched: bool = True) -> None:
    """x FP32 [n, 4], spins INT64 [n, 1] -> doubled = factor x, sums [n, 1]; its time follows the largest of `spins`."""
    first: list[str | int] = ["n"] if batched else []
    make = helper.make_tensor_value_info
    matrix, one = np.full((SIDE, SIDE), 1e-3, np.float32), TensorProto.FLOAT
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["going"]),
            helper.make_node("MatMul", ["before", "matrix"], ["after"]),
        ],
        "body",
        [
            make("round", TensorProto.INT64, []), make("go", TensorProto.BOOL, []),
            make("before", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [make("going", TensorProto.BOOL, []), make("after", TensorProto.FLOAT, [SIDE, SIDE])],
    )  # fmt: skip
    nodes = [
        helper.make_node("ReduceMax", ["spins"], ["rounds"], keepdims=0),
        helper.make_node("Loop", ["rounds", "true", "matrix"], ["spun"], body=body),
        helper.make_node("ReduceSum", ["spun"], ["nearly_none"], keepdims=0),
        helper.make_node("Mul", ["nearly_none", "zero"], ["none"]),
        helper.make_node("Mul", ["x", "factor"], ["made"]),
        helper.make_node("Add", ["made", "none"], ["doubled"]),
        helper.make_node("ReduceSum", ["x", "last"], ["sums"], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes, "spins", [make("x", one, [*first, 4]), make("spins", TensorProto.INT64, [*first, 1])],
        [make("doubled", one, [*first, 4]), make("sums", one, [*first, 1])],
        [
            helper.make_tensor("matrix", one, [SIDE, SIDE], matrix.ravel()),
            helper.make_tensor("zero", one, [], [0.0]), helper.make_tensor("factor", one, [], [factor]),
            helper.make_tensor("true", TensorProto.BOOL, [], [True]),
            helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def work_of(path: Path, **fields: Any) -> Work:
    """What an engine process of the file runs; keyword arguments replace its fields."""
    whole = Work(
        "spins", "onnxruntime", path, (X, SPINS), (DOUBLED, SUMS), (1, 2, 4, 8, 16), None, True, 1, 2,
    )  # fmt: skip
    return replace(whole, **fields)


def batch(items: int, seed: int, spins: int = 0) -> Tensors:
    """A batch that no other seed has."""
    x = np.random.default_rng(seed).normal(size=(items, 4)).astype(np.float32)
    return {"x": x, "spins": np.full((items, 1), spins, np.int64)}


def right(asked: Tensors, answer: Tensors, factor: float = 2.0) -> bool:
    """Whether an answer is the model's: to the bit where each number is one multiplication."""
    return bool(
        np.array_equal(answer["doubled"], np.float32(factor) * asked["x"])
        and np.allclose(answer["sums"], asked["x"].sum(-1, keepdims=True), atol=1e-5)
    )


def engine_processes(under: Path) -> list[int]:
    """Engine processes that run, of model files under this folder."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                arguments = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"tritonkit_runtime.engine_process" in arguments and any(
                os.fsencode(under) in word for word in arguments
            ):
                found.append(int(folder.name))
    return sorted(found)


def wait_until(true: Any, patience_s: float = PATIENCE_S) -> bool:
    """Whether it becomes true in time."""
    until = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def descriptors(process: int | str = "self") -> int:
    """How many a process has open."""
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def ended(under: Path, patience_s: float = PATIENCE_S) -> bool:
    """Whether no engine process is left in time."""
    return wait_until(lambda: not engine_processes(under), patience_s)


class Instance:
    """A process that loads a work as an instance of a model does, and runs what it is told."""

    def __init__(self, work: Work, most: int = 8) -> None:
        command = [sys.executable, str(Path(__file__).with_name("instance_process.py")), work.text(), str(most)]
        paths = os.pathsep.join([str(RUNTIME), str(Path(__file__).parent)])
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip

    def say(self, **words: Any) -> None:
        """Something to do."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def heard(self) -> Any:
        """Its next answer; EOFError where it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    def asked(self, **words: Any) -> Any:
        """Something to do, and what came of it."""
        self.say(**words)
        return self.heard()

    def kill(self) -> None:
        """At once, as when memory runs out."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Lets it leave in order, where it still runs."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.process.wait(PATIENCE_S)


class Spin:
    """The model's file, and what is started of it."""

    def __init__(self, path: Path) -> None:
        self.path, self.instances = path, list[Instance]()

    def work(self, **fields: Any) -> Work:
        return work_of(self.path, **fields)

    def load(self, most: int = 8, **fields: Any) -> Loaded:
        """An instance in this process."""
        return worker.load(self.work(**fields), most)

    def instance(self, most: int = 8, **fields: Any) -> Instance:
        """One in a process of its own, which begins to load."""
        self.instances.append(Instance(self.work(**fields), most))
        return self.instances[-1]

    @property
    def processes(self) -> list[int]:
        """Its engine processes."""
        return engine_processes(self.path.parent)
