"""Everything that needs a GPU, on a machine that has one: the tests, then the benchmarks of the GPU data path.

    python3.11 benchmarks/gpu_plans.py PLANS
    python3.11 scripts/on_a_gpu.py --plans PLANS --out FOLDER

Needs TensorRT, numpy, onnx and pytest. Each part runs in a process of its own, writes FOLDER/gpu_<part>.json, and
ends by itself; a part that fails stops no other. Every file says which code it is of (benchmarks/gpu_code.py). What
is to be kept goes to benchmarks/, and `make render` brings the table of benchmarks/gpu.md up to date. The part
served_mps is some of served once more, with NVIDIA's Multi-Process Service, where the machine has it. The part
libraries, which has to be asked for, is the tests of the engines that are packages, in an environment that has
onnxruntime-gpu and torch; it needs no TensorRT, and no plans.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from gpu_code import ROOT, code

PARTS = ("tests", "engine", "preprocess", "pool", "parts", "served", "served_mps")
LIBRARIES = ("test_inductor_on_a_gpu", "test_onnxruntime_on_a_gpu")
_MARGIN_S = 60  # what a part may take beyond its budget before it is ended: it ends itself 45 s after it
_FILE_LIMIT_S = 300  # of the tests of one file
_TESTS = ROOT / "tests/python_backend/gpu"  # no conftest above it is read: it may need more than such a machine has
_LAST = "test_copies_on_a_gpu"  # it puts a tracer into the driver: the others are done by then
_MPS_ROWS = ("--rows", "one_image,eight_images", "--instances", "4,8")
_MPS = "nvidia-cuda-mps-control"
_MPS_PLACES = "/usr/local/nvidia/bin"  # where a container finds the driver's programs, if not on PATH


def run(name: str, command: list[str], out: Path, limit_s: float, environment: dict[str, str]) -> int:
    """One part, its output in FOLDER/gpu_<part>.log; its status, or 124 when it had to be ended."""
    start = time.monotonic()
    everything = {**os.environ, **environment}
    # The project first, and behind it what the caller has found packages in.
    paths = [str(ROOT), str(ROOT / "python_backend"), everything.get("PYTHONPATH", "")]
    everything["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with (out / f"gpu_{name}.log").open("wb") as log:
        try:
            status = subprocess.run(
                command, cwd=ROOT, env=everything, stdout=log, stderr=subprocess.STDOUT, timeout=limit_s, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = 124
    print(f"{name}: status {status} after {time.monotonic() - start:.0f} s", flush=True)
    return status


def tests(plan: Path, out: Path, command: str, *, libraries: bool) -> None:
    """`pytest -m gpu`, file by file, so that one that hangs costs its own alone; and what each test said."""
    status, found = 0, dict[str, str]()
    result = out / ("gpu_tests_libraries.json" if libraries else "gpu_tests.json")
    files = [file for file in _TESTS.glob("test_*.py") if (file.stem in LIBRARIES) is libraries]
    for file in sorted(files, key=lambda file: (file.stem == _LAST, file.stem)):
        xml = out / f"{file.stem}.xml"
        asked = [
            sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib", "-v",
            "--confcutdir", str(_TESTS), "-m", "gpu", f"--junitxml={xml}", str(file.relative_to(ROOT)),
        ]  # fmt: skip
        ended = run(file.stem, asked, out, _FILE_LIMIT_S, {"TRITONKIT_PLAN": str(plan)})
        status = status or ended
        if xml.exists():
            found |= said(xml)
            xml.unlink()
        else:
            found[file.stem] = f"failure: ended with status {ended}, and no test of it is known"
        data = {"format": 1, "status": status, "tests": found}
        result.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        sign(result, command)


def said(xml: Path) -> dict[str, str]:
    """Test -> `passed`, or how not."""
    found = {}
    for case in ET.parse(xml).iter("testcase"):  # noqa: S314  (pytest has just written it)
        bad = [part for part in case if part.tag in {"failure", "error", "skipped"}]
        name = f"{case.get('classname')}::{case.get('name')}"
        found[name] = f"{bad[0].tag}: {(bad[0].get('message') or '')[:500]}" if bad else "passed"
    return found


def sign(file: Path, command: str) -> None:
    """Says in a result file which code it is of and how to repeat it."""
    if file.exists():
        data: dict[str, Any] = json.loads(file.read_bytes())
        file.write_text(json.dumps({**data, "command": command, "code": code()}, indent=1) + "\n", encoding="utf-8")


@contextmanager
def mps() -> Iterator[dict[str, str] | None]:
    """The Multi-Process Service while it lasts: what its clients' environment needs; None where there is none."""
    control = shutil.which(_MPS, path=os.pathsep.join([os.environ.get("PATH", os.defpath), _MPS_PLACES]))
    if control is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tritonkit-mps-") as folder:
        own = {"CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe", "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log"}
        for path in own.values():
            Path(path).mkdir()
        everything = {**os.environ, **own}
        started = subprocess.run([control, "-d"], env=everything, check=False, timeout=20)
        try:
            yield own if started.returncode == 0 else None
        finally:
            with suppress(subprocess.TimeoutExpired):
                subprocess.run([control], input=b"quit\n", env=everything, check=False, timeout=40)
            for log in sorted(Path(own["CUDA_MPS_LOG_DIRECTORY"]).glob("*.log")):
                sys.stderr.write(
                    f"{log.name}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-20:]) + "\n"
                )


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", type=Path, required=True, help="the folder that benchmarks/gpu_plans.py filled")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--torch", default="", help="an interpreter with PyTorch, for a comparison")
    parser.add_argument("--served-s", type=float, default=540)
    parser.add_argument("--mps-s", type=float, default=150)
    parser.add_argument("served", nargs="*", help="further options of benchmarks/gpu_served.py, after --")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    asked, plans = options.only.split(","), options.plans.resolve()
    repeat = "python3.11 scripts/on_a_gpu.py --plans PLANS --out FOLDER"

    def part(name: str, budget_s: float, arguments: list[str], environment: dict[str, str]) -> None:
        file = options.out / f"gpu_{name}.json"
        script = f"benchmarks/gpu_{name.removesuffix('_mps')}.py"
        command = [sys.executable, script, *arguments, "--budget", f"{budget_s:g}", "--out", str(file)]
        run(name, command, options.out, budget_s + _MARGIN_S, environment)
        sign(file, f"{repeat} --only {name}")

    if "tests" in asked:
        tests(plans / "plain.plan", options.out, f"{repeat} --only tests", libraries=False)
    if "libraries" in asked:
        tests(plans / "plain.plan", options.out, f"{repeat} --only libraries", libraries=True)
    images = [
        "--graph", str(plans / "resnet50.fp32.onnx"), "--plan", str(plans / "plain.plan"),
        "--folded", str(plans / "folded.plan"),
    ]  # fmt: skip
    served = [
        *images, "--texts", str(plans / "embeddings.fp32.onnx"), "--texts-plan", str(plans / "texts.plan"),
        *options.served,
    ]  # fmt: skip
    commands = {
        "engine": (80.0, [str(plans / "plain.plan")]),
        "preprocess": (60.0, ["--torch", options.torch] if options.torch else []),
        "pool": (50.0, []),
        "parts": (60.0, images),
        "served": (options.served_s, served),
    }
    for name, (budget_s, arguments) in commands.items():
        if name in asked:
            part(name, budget_s, arguments, {})
    if "served_mps" in asked:
        with mps() as environment:
            if environment is None:
                print(f"served_mps: there is no {_MPS} here, or it does not start", flush=True)
            else:
                part("served_mps", options.mps_s, [*served, *_MPS_ROWS], environment)


if __name__ == "__main__":
    main()
