"""What a command does not wait for: modules that others need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from generator.project import Project

# Clients, engines, images, and the packages around generated messages: of serving and measuring, not of checking.
OTHERS = {
    "aiohttp", "asyncio", "cv2", "gevent", "geventhttpclient", "grpc", "matplotlib", "numpy", "onnx", "onnxruntime",
    "tritonclient.grpc", "tritonclient.http", "tritonkit.client", "tritonkit_runtime",
}  # fmt: skip


@pytest.mark.parametrize("arguments", [["lint"], ["render", "--check"], ["render", "--show-plan"]], ids=" ".join)
def test_specs_are_checked_without_what_serves_them(project: Project, arguments: list[str]) -> None:
    code = (
        "import sys, tritonkit.cli\n"
        f"tritonkit.cli.main({arguments!r})\n"
        f"print(sorted({OTHERS!r} & set(sys.modules)), 'generator.config.messages' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, capture_output=True, text=True, timeout=60, check=True
    )
    rendered = arguments != ["render", "--show-plan"]
    assert done.stderr.splitlines()[-1] == f"[] {rendered}"
