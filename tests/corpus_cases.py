"""Reads the cases of tests/corpus (see its README.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generator.lint.files import MemoryFolder
from generator.lint.server import EMBEDDED, Server

CORPUS = Path(__file__).parent / "corpus"
_FILE = re.compile(r"^-- (?P<path>\S+)(?: = (?P<made>.+?))? --\n", re.MULTILINE)
IDENTITY = """import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        import json

        self.outputs = [output["name"] for output in json.loads(args["model_config"])["output"]]

    def execute(self, requests):
        answers = []
        for request in requests:
            inputs = [tensor.as_numpy() for tensor in request.inputs()]
            tensors = [pb_utils.Tensor(name, inputs[min(i, len(inputs) - 1)]) for i, name in enumerate(self.outputs)]
            answers.append(pb_utils.InferenceResponse(tensors))
        return answers
"""


@dataclass
class Case:
    """A repository (or several, by letter) and what is expected of it."""

    path: Path
    problems: list[tuple[str, str]] = field(default_factory=list)  # code, place
    accepts: list[str] = field(default_factory=list)
    refuses: list[str] = field(default_factory=list)
    says: list[str] = field(default_factory=list)
    cannot_judge: str = ""
    server: Server = EMBEDDED
    repositories: dict[str, dict[str, bytes | None]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`TK502/another-name`."""
        return f"{self.path.parent.name}/{self.path.stem}"

    def is_live(self, gpus: int = 0) -> bool:
        """Whether the embedded server can be asked about it, on a machine with so many GPUs."""
        same = (self.server.release, self.server.backends, self.server.config_name) == (
            EMBEDDED.release, EMBEDDED.backends, EMBEDDED.config_name,
        )  # fmt: skip
        return same and self.server.gpus == gpus and not self.cannot_judge

    def folders(self) -> list[MemoryFolder]:
        """The repositories in memory; places begin with the model, or `A/` and the model where there are several."""
        return [MemoryFolder(files, letter) for letter, files in sorted(self.repositories.items())]

    def write(self, root: Path) -> list[Path]:
        """The repositories on disk, below `root`."""
        roots = []
        for letter, files in sorted(self.repositories.items()):
            folder = root / letter if letter else root
            folder.mkdir(parents=True, exist_ok=True)
            roots.append(folder)
            for name, data in files.items():
                path = folder / name
                if name.endswith("/"):
                    path.mkdir(parents=True, exist_ok=True)
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if data is None:
                        path.symlink_to("nowhere")
                    else:
                        path.write_bytes(data)
        return roots


def cases() -> list[Case]:
    """All of them, in order."""
    return [parse(path) for path in sorted(CORPUS.glob("*/*.txtar"))]


def parse(path: Path) -> Case:
    """One case. Raises ValueError for a line that is none of the format."""
    text = path.read_text(encoding="utf-8")
    case = Case(path)
    starts = list(_FILE.finditer(text))
    for line in text[: starts[0].start() if starts else len(text)].splitlines():
        if line.strip() and not line.startswith("#"):
            _expectation(case, line)
    for match, following in zip(starts, [*starts[1:], None], strict=True):
        content = text[match.end() : following.start() if following else len(text)]
        shown = _named(match["path"])
        letter, colon, name = shown.partition(":")
        files = case.repositories.setdefault(letter if colon else "", {})
        files[name if colon else shown] = _content(match["made"], content)
    return case


def _named(path: str) -> str:
    """A path as it stands in a case: `\\xe9` is the byte of that number."""
    return re.sub(
        r"\\x([89a-f][0-9a-f])", lambda byte: bytes.fromhex(byte[1]).decode("utf-8", "surrogateescape"), path
    )


def _expectation(case: Case, line: str) -> None:
    key, _, value = line.partition(": ")
    words = value.split()
    if key == "problem" and len(words) == 2:
        case.problems.append((words[0], _named(words[1])))
    elif key == "server" and words[:2] == ["cannot", "judge"]:
        case.cannot_judge = value
    elif key == "server" and words[:1] == ["accepts"]:
        case.accepts += words[1:]
    elif key == "server" and words[:1] == ["refuses"]:
        case.refuses += words[1:]
    elif key == "says":
        case.says.append(value)
    elif key == "for":
        case.server = _server(dict(word.split("=") for word in words))
    else:
        raise ValueError(f"{case.path}: {line!r} is no expectation")


def _server(given: dict[str, str]) -> Server:
    facts: dict[str, Any] = {
        "release": EMBEDDED.release, "backends": EMBEDDED.backends, "gpus": EMBEDDED.gpus,
        "auto_complete": EMBEDDED.auto_complete,
    }  # fmt: skip
    for name, value in given.items():
        if name in ("gpus", "cores", "cuda_pool_bytes"):
            facts[name] = None if value == "unknown" else int(value)
        elif name == "backends":
            facts[name] = None if value == "all" else frozenset(value.split(","))
        elif name == "auto_complete":
            facts[name] = value == "yes"
        elif name in ("release", "config_name", "gpu"):
            facts[name] = None if value == "unknown" else value
        else:
            raise ValueError(f"a server has no {name!r}")
    return Server(**facts)


def _content(made: str | None, text: str) -> bytes | None:
    if made is None:
        return text.encode()
    kind, _, rest = made.partition(" ")
    if kind == "zeros":
        return bytes(int(rest))
    if kind == "hex":
        return bytes.fromhex(rest)
    if kind == "nowhere":
        return None
    if kind == "identity":
        return IDENTITY.encode()
    if kind == "onnx":
        return _onnx(rest)
    raise ValueError(f"{made!r} is no content")


def _onnx(text: str) -> bytes:
    """An ONNX model of the signature `x:FP32[-1,4] -> y:FP32[-1,2] opset 17` (opset: 17 if not given)."""
    from onnx import TensorProto, helper

    types = {"FP16": "FLOAT16", "FP32": "FLOAT", "FP64": "DOUBLE", "BF16": "BFLOAT16"}
    signature, _, opset = text.partition(" opset ")
    inputs, outputs = (
        [
            helper.make_tensor_value_info(
                name,
                getattr(TensorProto, types.get(kind, kind)),
                [f"d{i}" if d == "-1" else int(d) for i, d in enumerate(dims.split(",")) if d],
            )
            for name, kind, dims in re.findall(r"(\w+):(\w+)\[([^\]]*)\]", side)
        ]
        for side in signature.split("->")
    )
    nodes = [helper.make_node("Identity", [inputs[0].name], [output.name]) for output in outputs]
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", int(opset or 17))], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
