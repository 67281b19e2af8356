"""A repository that is being made up: its models' configs as messages, later as text, and the files beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

# It answers every request with nothing at all, which is enough for a warm-up.
MODEL_PY = b"""import json

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.decoupled = pb_utils.using_decoupled_model_transaction_policy(json.loads(args["model_config"]))

    def execute(self, requests):
        if not self.decoupled:
            return [pb_utils.InferenceResponse([]) for _ in requests]
        for request in requests:
            request.get_response_sender().send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None
"""


@dataclass
class Model:
    """One model's directory: `folder` is its name, `files` are by path in it, `empty` are directories without files.

    `text` is the config.pbtxt once it is no longer changed as a message; None: there is no config.pbtxt.
    `twin` says that a second repository has the same model, `is_ensemble` what it was made as.
    """

    folder: str
    config: Any
    files: dict[str, bytes] = field(default_factory=dict)
    empty: set[str] = field(default_factory=set)
    text: str | None = ""
    twin: bool = False
    is_ensemble: bool = False

    def write(self) -> None:
        """Print the message; from here on only the text counts."""
        self.text = text_format.MessageToString(self.config, as_utf8=True)


@dataclass
class Repository:
    """The models by the name that they were made with. `top` is the one above all others."""

    models: dict[str, Model]
    top: str

    def files(self, second: bool = False) -> dict[str, bytes]:
        """All files by path, as a repository in memory takes them; of the second repository if asked for."""
        found: dict[str, bytes] = {}
        for model in self.models.values():
            if second and not model.twin:
                continue
            if model.text is not None:
                found[f"{model.folder}/config.pbtxt"] = model.text.encode("utf-8", errors="surrogateescape")
            found |= {f"{model.folder}/{name}": data for name, data in model.files.items()}
            found |= {f"{model.folder}/{name}/": b"" for name in model.empty}
        return found

    @property
    def has_second(self) -> bool:
        """Whether a second repository is needed."""
        return any(model.twin for model in self.models.values())


def put(files: dict[str, bytes], root: Path) -> None:
    """Write files (paths that end in `/` are directories) below `root`."""
    for name, data in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def message(**fields: Any) -> Any:
    """A ModelConfig from plain values."""
    from google.protobuf import json_format

    return json_format.ParseDict(fields, ModelConfig())


def value_of(enum: str) -> int:
    """The number of a data type such as `TYPE_FP32`."""
    descriptor = ModelConfig.DESCRIPTOR.file.enum_types_by_name["DataType"]
    return int(descriptor.values_by_name[enum].number)
