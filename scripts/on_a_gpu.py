"""Everything that needs a GPU, on a machine that has one: the tests, then the benchmarks of the GPU data path.

    python3.11 scripts/on_a_gpu.py --plan resnet50.fp16.plan --graph resnet50.fp32.onnx --out FOLDER

Needs TensorRT, numpy and pytest. Each part runs in a process of its own, writes FOLDER/gpu_<part>.json, and ends by
itself; a part that fails stops no other. Every file says which code it is of (benchmarks/gpu_code.py). What is to be
kept goes to benchmarks/, and `make render` brings the table of benchmarks/gpu.md up to date.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from gpu_code import ROOT, code

PARTS = ("tests", "engine", "preprocess", "pool", "served")
_MARGIN_S = 30  # what a part may take beyond its budget before it is ended


def run(name: str, command: list[str], out: Path, limit_s: float, environment: dict[str, str]) -> int:
    """One part, its output in FOLDER/gpu_<part>.log; its status, or 124 when it had to be ended."""
    start = time.monotonic()
    paths = [str(ROOT), str(ROOT / "python_backend"), environment.get("PYTHONPATH", "")]
    everything = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with (out / f"gpu_{name}.log").open("wb") as log:
        try:
            status = subprocess.run(
                command, cwd=ROOT, env=everything, stdout=log, stderr=subprocess.STDOUT, timeout=limit_s, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = 124
    print(f"{name}: status {status} after {time.monotonic() - start:.0f} s", flush=True)
    return status


def tests(plan: Path, out: Path) -> None:
    """`pytest -m gpu`, and what each test said."""
    xml = out / "gpu_tests.xml"
    command = [
        sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib", "-q",
        "-m", "gpu", f"--junitxml={xml}", "tests/python_backend/gpu",
    ]  # fmt: skip
    status = run("tests", command, out, 240, {"TRITONKIT_PLAN": str(plan)})
    found: dict[str, str] = {}
    if xml.exists():
        for case in ET.parse(xml).iter("testcase"):  # noqa: S314  (written by the line above)
            bad = [part for part in case if part.tag in {"failure", "error", "skipped"}]
            name = f"{case.get('classname')}::{case.get('name')}"
            found[name] = f"{bad[0].tag}: {(bad[0].get('message') or '')[:500]}" if bad else "passed"
        xml.unlink()
    file = out / "gpu_tests.json"
    file.write_text(json.dumps({"format": 1, "status": status, "tests": found}, indent=1) + "\n", encoding="utf-8")


def sign(file: Path, command: str) -> None:
    """Says in a result file which code it is of and how to repeat it."""
    if file.exists():
        data: dict[str, Any] = json.loads(file.read_bytes())
        file.write_text(json.dumps({**data, "command": command, "code": code()}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--torch", default="", help="an interpreter with PyTorch, for a comparison")
    parser.add_argument("--served-s", type=float, default=240)
    parser.add_argument("served", nargs="*", help="further options of benchmarks/gpu_served.py, after --")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    asked = options.only.split(",")
    said = f"python3.11 scripts/on_a_gpu.py --plan {options.plan.name} --graph {options.graph.name}"
    if "tests" in asked:
        tests(options.plan, options.out)
        sign(options.out / "gpu_tests.json", f"{said} --only tests")
    commands = {
        "engine": (80, [str(options.plan), "--budget", "80"]),
        "preprocess": (60, ["--budget", "60", *(["--torch", options.torch] if options.torch else [])]),
        "pool": (50, ["--budget", "50"]),
        "served": (
            options.served_s,
            ["--plan", str(options.plan), "--graph", str(options.graph), "--budget", str(options.served_s),
             *options.served],
        ),
    }  # fmt: skip
    for name, (budget_s, arguments) in commands.items():
        if name in asked:
            file = options.out / f"gpu_{name}.json"
            script = [sys.executable, f"benchmarks/gpu_{name}.py", *arguments, "--out", str(file)]
            run(name, script, options.out, budget_s + _MARGIN_S, {})
            sign(file, f"{said} --only {name}")


if __name__ == "__main__":
    main()
