"""The differential run: `tritonkit lint` and the live embedded server about thousands of made-up repositories.

python tests/oracle/run.py --seed 1 --seed 2 --mutants 1000 --json build/oracle.json
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from oracle_judge import Judged, Opinion, judge, lint  # noqa: E402
from oracle_live import Live  # noqa: E402
from oracle_page import PAGE, RESULT, page  # noqa: E402
from oracle_regression import can_be_kept, case, keep, plain  # noqa: E402
from oracle_run import run  # noqa: E402
from oracle_shrink import shrink  # noqa: E402

_SHRUNK_OF_A_KIND = 2


class Keeper:
    """Shows disagreements and keeps the first of each kind, shrunk, as regression cases."""

    def __init__(self, folder: Path | None, *, all_kinds: bool) -> None:
        self._folder, self._all = folder, all_kinds
        self._seen: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()

    def __call__(self, live: Live, judged: Judged) -> None:
        """One mutant."""
        for opinion in judged.disagreements:
            kind = (opinion.disagreement, opinion.cause, *sorted(opinion.codes))
            with self._lock:
                self._seen[kind] = self._seen.get(kind, 0) + 1
                is_new = self._seen[kind] <= _SHRUNK_OF_A_KIND
            text = f"{judged.mutant.key} {opinion.folder}: {opinion.disagreement} ({', '.join(sorted(opinion.codes)) or 'no code'})"
            print(f"{text}\n    server: {opinion.reason.strip()[:300] or 'accepts'}", file=sys.stderr)
            if self._folder is not None and (is_new or self._all):
                self._keep(live, judged, opinion)

    def _keep(self, live: Live, judged: Judged, opinion: Opinion) -> None:
        mutant, small = shrink(live, judged, opinion)
        verdicts = {each.folder: each.reason for each in judge(live, mutant).opinions}
        text = case(mutant, lint(live, mutant.repository).problems, verdicts, live.kind)
        with self._lock:
            print(
                f"---- {small.disagreement}: {plain(small.reason.strip())} | lint: {sorted(small.codes)}\n{text}----",
                file=sys.stderr,
            )
            if self._folder is not None and can_be_kept(mutant):
                keep(text, mutant, self._folder)


def main() -> int:
    """0: no disagreement; 1: there are some."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--seed", action="append", help="a seed; may be given several times (default: fresh ones)")
    parser.add_argument("--fresh", type=int, default=1, help="without --seed: so many fresh ones")
    parser.add_argument("--mutants", type=int, default=1000, help="how many of each seed")
    parser.add_argument("--servers", type=int, default=2, help="how many servers at a time")
    parser.add_argument("--json", type=Path, help="write the counts there")
    parser.add_argument(
        "--keep", type=Path, help="write a regression case for each new disagreement into this folder"
    )
    parser.add_argument("--keep-all", action="store_true", help="and not only the first two of a kind")
    parser.add_argument(
        "--commit", action="store_true", help=f"write {RESULT.name} and {PAGE.name}, which are committed"
    )
    arguments = parser.parse_args()
    seeds = arguments.seed or [secrets.token_hex(4) for _ in range(arguments.fresh)]
    keeper = Keeper(arguments.keep, all_kinds=arguments.keep_all)
    totals = run(seeds, arguments.mutants, servers=arguments.servers, on_judged=keeper)
    found = totals.as_json()
    text = json.dumps(found, indent=2) + "\n"
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text, encoding="utf-8")
    if arguments.commit:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(text, encoding="utf-8")
        PAGE.write_text(page(found), encoding="utf-8")
    print(page(found))
    return 1 if totals.mutants_that_disagree else 0


if __name__ == "__main__":
    sys.exit(main())
