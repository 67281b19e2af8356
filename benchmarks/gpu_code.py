"""Which state of python_backend/ the figures of a GPU belong to, so that none goes stale unseen.

    python benchmarks/gpu_code.py            writes the table of benchmarks/gpu.md
    python benchmarks/gpu_code.py --check    exit 1 if that table is not what the files say

CI has no GPU. Each result file carries the hashes of the code that made it; the table says of each file whether that
is the code of this checkout, and else what has changed since.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PAGE = HERE / "gpu.md"
BEGIN, END = "<!-- code: written by benchmarks/gpu_code.py -->\n", "<!-- code: end -->\n"
PACKAGE = "python_backend/tritonkit_runtime"
_SHOWN = 4


def code(root: Path = ROOT) -> dict[str, str]:
    """File of the runtime (a path from the root) -> the first 16 digits of its SHA-256."""
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in sorted((root / PACKAGE).rglob("*.py"))
    }


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Files that are not what they were: other, new or gone."""
    return sorted(path for path in {*then, *now} if then.get(path) != now.get(path))


def sentence(then: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """What is said of a result file."""
    if then is None:
        return "does not say which code it is of"
    files = changed(then, now)
    if not files:
        return "this code"
    names = [path.removeprefix(f"{PACKAGE}/") for path in files]
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"earlier code; changed since: {', '.join(f'`{name}`' for name in names[:_SHOWN])}{rest}"


def table(folder: Path, now: Mapping[str, str]) -> str:
    """A row for each gpu_*.json of the folder."""
    rows = [
        f"| [{file.name}]({file.name}) | {sentence(json.loads(file.read_bytes()).get('code'), now)} |\n"
        for file in sorted(folder.glob("gpu_*.json"))
    ]
    return "".join(["| result | measured with |\n|---|---|\n", *rows])


def written(page: str, found: str) -> str:
    """The page with the table between its marks. ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no place for the table: {BEGIN.strip()} … {END.strip()}")
    return f"{before}{BEGIN}{found}{END}{after}"


def main() -> int:
    """Writes or checks."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = written(page, table(HERE, code()))
    if "--check" in sys.argv[1:]:
        if page != wanted:
            sys.stderr.write("benchmarks/gpu.md does not say which code its figures are of; run `make render`\n")
        return int(page != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
