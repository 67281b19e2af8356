"""What a trial sends to the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from deploy.embedded.trial import SUFFIX, try_model


class Server:
    """Takes every load."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, set[str]]] = []

    def load(self, name: str, *, config: str, files: Mapping[str, bytes]) -> None:
        self.sent.append((name, set(files)))

    def unload(self, name: str) -> None:
        assert name == self.sent[-1][0]


def test_files_and_names() -> None:
    server: Any = Server()
    config = text_format.Parse('name: "m" backend: "onnxruntime"', ModelConfig())
    paths = ["config.pbtxt", "labels.txt", "1/a", "2/a", "10/a", "007/a", "٢/a"]
    for _ in range(2):
        assert try_model(server, config, dict.fromkeys(paths, b""), [2])
    (one, files), (two, _) = server.sent
    assert files == {"labels.txt", "2/a", "007/a", "٢/a"}, "what is no version here is none in the repository either"
    assert one != two
    assert one.startswith(f"m{SUFFIX}")
