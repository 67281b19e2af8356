"""Claim: `tritonkit -h` answers at once, and a lint waits for little but what it checks with.

    python benchmarks/startup.py [--rounds 15]

Each command is a process of its own, in a new order every round, beside a Python that does nothing; then what a lint
imports, by package. Writes startup.json and startup.svg.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from _common import HERE, chart, machine, median, put_table, rounds, save, write_result

SEED, IMPORT_RUNS, SHOWN = 1, 5, 10
TRITONKIT = str(Path(sys.executable).with_name("tritonkit"))
CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "tritonkit -h": [TRITONKIT, "-h"],
    "tritonkit --version": [TRITONKIT, "--version"],
    "tritonkit lint SPEC": [TRITONKIT, "lint", "specs/digits.yaml"],
    "tritonkit lint": [TRITONKIT, "lint"],
    "tritonkit render --check": [TRITONKIT, "render", "--check"],
}
IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def make_project(root: Path) -> None:
    """The specs of this repository, rendered, with nothing else beside them."""
    clone = HERE.parent
    shutil.copytree(clone / "specs", root / "specs")
    for folder in ("models", "data", "steps"):
        (root / folder).symlink_to(clone / folder)
    run([TRITONKIT, "render"], root)


def run(command: list[str], root: Path) -> str:
    """What a command writes on standard error. Raises SystemExit when it fails."""
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stderr


def measure(command: list[str], root: Path) -> dict[str, float]:
    """Milliseconds from start to end, and of the processor (with what the command starts)."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run(command, root)
    wall_ms, after = (time.perf_counter() - start) * 1000, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_ms": wall_ms, "cpu_ms": cpu_s * 1000}


def imports(root: Path) -> dict[str, float]:
    """Milliseconds that a lint of one spec takes to import, by package (each module without what it imports)."""
    code = "import sys; sys.argv[0] = 'tritonkit'; from tritonkit.cli import main; main()"
    told = run([sys.executable, "-X", "importtime", "-c", code, "lint", "specs/digits.yaml"], root)
    by_package: dict[str, float] = defaultdict(float)
    for self_us, name in IMPORTED.findall(told):
        by_package[name.partition(".")[0]] += int(self_us) / 1000
    return by_package


def shares(found: list[dict[str, float]]) -> dict[str, float]:
    """Medians over runs, the largest packages first; Python's own modules together."""
    names = {name for run_of in found for name in run_of}
    by_package: dict[str, float] = defaultdict(float)
    for name in names:
        owner = "Python's own" if name in sys.stdlib_module_names or name.startswith("_") else name
        by_package[owner] += statistics.median(run_of.get(name, 0.0) for run_of in found)
    return dict(sorted(by_package.items(), key=lambda item: -item[1]))


def draw(summary: dict[str, Any], packages: dict[str, float], file: Path) -> None:
    """Left the commands with their intervals, right what a lint imports."""
    figure, (left, right) = chart(2, (10, 3.8))
    names = list(summary)[::-1]
    middle = [summary[name]["wall_ms"]["median"] for name in names]
    bars = [
        [summary[name]["wall_ms"]["median"] - summary[name]["wall_ms"]["low"] for name in names],
        [summary[name]["wall_ms"]["high"] - summary[name]["wall_ms"]["median"] for name in names],
    ]
    left.barh(names, middle, xerr=bars, color="C0", capsize=3, height=0.6)
    for row, (value, more) in enumerate(zip(middle, bars[1], strict=True)):
        left.text(value + more + max(middle) * 0.02, row, f"{value:.0f}", va="center")
    longest = max(value + more for value, more in zip(middle, bars[1], strict=True))
    left.set(xlabel="time from start to end, ms", title="Commands", xlim=(0, longest * 1.15))
    shown = list(packages.items())[:SHOWN]
    rest = sum(packages.values()) - sum(ms for _, ms in shown)
    shown.append(("all others", rest))
    right.barh([name for name, _ in shown][::-1], [ms for _, ms in shown][::-1], color="C1", height=0.6)
    right.set(xlabel="time in its modules, ms", title="What `tritonkit lint SPEC` imports")
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
    save(figure, file)


def row(name: str, told: dict[str, dict[str, float]]) -> list[str]:
    """A command's line in the page."""
    wall, cpu = told["wall_ms"], told["cpu_ms"]
    return [f"`{name}`", f"{wall['median']:.0f}", f"{wall['low']:.0f} to {wall['high']:.0f}", f"{cpu['median']:.0f}"]


def main() -> None:
    """Measures in interleaved rounds and writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    count = parser.parse_args().rounds
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_project(root)
        for command in CASES.values():
            run(command, root)  # once, so that the bytecode is there
        for number, name in rounds(list(CASES), count, SEED):
            runs[name].append(measure(CASES[name], root))
            if len(runs[name]) == number and all(len(found) == number for found in runs.values()):
                sys.stderr.write(f"round {number}/{count}\n")
        packages = shares([imports(root) for _ in range(IMPORT_RUNS)])
    summary = {
        name: {unit: median(run_of[unit] for run_of in found) for unit in ("wall_ms", "cpu_ms")}
        for name, found in runs.items()
    }
    write_result("startup", {
        "command": f"python benchmarks/startup.py --rounds {count}", "seed": SEED,
        **machine("click", "pydantic", "PyYAML", "jinja2", "protobuf", "onnx", "tritonclient"),
        "specs": sorted(file.name for file in (HERE.parent / "specs").glob("*.yaml")),
        "summary": summary, "imports_of_lint_ms": packages, "runs": runs,
    }, indent=2)  # fmt: skip
    draw(summary, packages, HERE / "startup.svg")
    head = ["command", "from start to end, ms", "95 % interval", "processor time, ms"]
    put_table("startup", head, [row(name, told) for name, told in summary.items()])
    print(json.dumps({name: round(told["wall_ms"]["median"], 1) for name, told in summary.items()}, indent=2))


if __name__ == "__main__":
    main()
