"""One real server for the tests of this folder, in explicit mode: models are loaded one by one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from deploy.embedded.flags import ServerNeeds
from deploy.embedded.server import EmbeddedServer

LOAD_S = 30
MODEL = """import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        out = lambda r: pb_utils.Tensor("y", pb_utils.get_input_tensor_by_name(r, "x").as_numpy())
        return [pb_utils.InferenceResponse([out(r)]) for r in requests]
"""


class Server:
    """The running server: `load` writes a model and loads it, `log` is what stands on stderr so far."""

    def __init__(self, repository: Path, client: InferenceServerClient, log_file: Path) -> None:
        self.repository, self.client, self.log_file = repository, client, log_file

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def load(self, name: str, text: str, files: dict[str, bytes] | None = None) -> str:
        """Empty when the model is ready; else why the server refuses it, with what it logs about that."""
        before = len(self.log())
        folder = self.repository / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(text, encoding="utf-8")
        for path, content in ({"1/model.py": MODEL.encode()} | (files or {})).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        try:
            self.client.load_model(name, client_timeout=LOAD_S)
        except InferenceServerException as error:
            return f"{error.message()}\n{self.log()[before:]}"
        return ""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("server")
    (home / "models").mkdir()
    needs = ServerNeeds(control_mode="explicit", restricted_apis=())
    running = EmbeddedServer(home / "models", needs, log_path=home / "log")
    try:
        with patch.dict(os.environ, CUDA_VISIBLE_DEVICES=""):  # the same answers on a machine with GPUs
            running.start()
        with InferenceServerClient(running.grpc_address) as client:
            yield Server(home / "models", client, home / "log")
    finally:
        running.stop(grace_s=0)  # a model that could not be created counts as live, and would be waited for
