"""Makes the pages of the example sweeps again, docs/examples/<name>/{report.html,summary.md}, of what they measured.

python docs/examples.py            write them, and the table in docs/explanation/how-to-read-a-p99.md
python docs/examples.py --check    exit 1 if they are not what today's code makes of docs/examples/<name>/sweep.json

`make sweep` measures the same on another machine; its sweep.json is what an example is made of.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loadtest.report.markdown import markdown_of
from loadtest.report.opening import open_all
from loadtest.report.page import page_of, report_of
from loadtest.results.sweep import Sweep, read_sweep

DOCS = Path(__file__).parent
EXAMPLES = DOCS / "examples"
PAGE = DOCS / "explanation" / "how-to-read-a-p99.md"
DELAY = "max_queue_delay_us"


def pages() -> dict[Path, str]:
    """Every file that is made of the examples."""
    found: dict[Path, str] = {}
    text = PAGE.read_text(encoding="utf-8")
    for folder in sorted(path.parent for path in EXAMPLES.glob("*/sweep.json")):
        report = report_of(open_all([folder]))
        found[folder / "report.html"] = page_of(report)
        found[folder / "summary.md"] = markdown_of(report)
        text = put(text, folder.name, by_round(read_sweep(folder)))
    return {**found, PAGE: text}


def by_round(sweep: Sweep) -> str:
    """The p99 in ms of every turn, a row for each setting and a column for each round."""
    rounds = sorted({turn.round for point in sweep.points for turn in point.replicates if not turn.confirms})
    lines = [
        f"| delay, µs | {' | '.join(f'round {number}' for number in rounds)} | all turns together |",
        f"|{'---:|' * (len(rounds) + 2)}",
    ]
    for point in sorted(sweep.points, key=lambda point: point.settings[DELAY]):
        turns = {turn.round: turn.p99_ms for turn in point.replicates if not turn.confirms}
        cells = [
            "" if number not in turns else "invalid" if (p99 := turns[number]) is None else f"{p99:.1f}"
            for number in rounds
        ]
        p99 = point.p99_ms
        together = f"{p99.value:.1f} ({p99.low:.1f} to {p99.high:.1f}, {p99.confidence:.0%} sure)" if p99 else "–"
        lines.append(f"| {point.settings[DELAY]:,} | {' | '.join(cells)} | {together} |")
    return "\n".join(lines)


def put(text: str, name: str, table: str) -> str:
    """The page with the table between the marks of that name. Raises ValueError when they are not there."""
    begin, end = f"<!-- {name}: written by docs/examples.py -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{PAGE.name} has no place for {name}: it goes between {begin.strip()} and {end}")
    return f"{before}{begin}{table}\n{end}{after}"


def main() -> int:
    """Writes or checks."""
    made = pages()
    stale = [file for file, text in made.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for file in stale:
            sys.stderr.write(f"docs/{file.relative_to(DOCS)} is not what the code makes of it: run `make render`\n")
        return 1 if stale else 0
    for file in stale:
        file.write_text(made[file], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
