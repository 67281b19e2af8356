"""Loads cases of the corpus on the live server, and prints its verdicts beside lint's and what is expected.

python tests/corpus_live.py [CODE ...] [--path DIRECTORY] [--log]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from corpus_cases import Case, cases, parse
from live_verdicts import live_server

from generator.lint.check import check


def main() -> None:
    """Prints a block for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codes", nargs="*")
    parser.add_argument("--path", type=Path, help="a directory of .txtar files instead of the corpus")
    parser.add_argument("--log", action="store_true", help="print what the server logs, too")
    parser.add_argument(
        "--gpus", type=int, default=0, help="judge the cases of a server with so many GPUs, on such a machine"
    )
    given = parser.parse_args()
    found = [parse(path) for path in sorted(given.path.glob("*.txtar"))] if given.path else cases()
    found = [case for case in found if not given.codes or case.path.parent.name in given.codes]
    for auto_complete in (False, True):
        chosen = [case for case in found if case.is_live(given.gpus) and case.server.auto_complete is auto_complete]
        if chosen:
            with live_server(auto_complete=auto_complete, gpus=given.gpus) as server:
                for case in chosen:
                    show(case, server.verdicts(case), given.log)
    for case in found:
        if not case.is_live(given.gpus) and not given.gpus:
            show(case, {}, False)


def show(case: Case, verdicts: dict, with_log: bool) -> None:
    """One case: lint, and the server."""
    checked = check(case.folders(), case.server)
    problems = [(problem.code, str(problem.place)) for problem in checked.problems]
    same = "as expected" if sorted(problems) == sorted(case.problems) else f"EXPECTED {case.problems}"
    print(f"{case.name}\n  lint {problems or 'nothing'}: {same}")
    if not verdicts:
        print(f"  not run live: {case.cannot_judge or 'another server'}")
    for name, verdict in verdicts.items():
        expected, lint = name in case.accepts, name not in checked.refused
        word = "accepts" if verdict.accepted else "refuses"
        marks = [
            "" if verdict.accepted == expected else " UNEXPECTED",
            "" if lint == verdict.accepted else " LINT DIFFERS",
        ]
        print(f"  server {word} {name}{''.join(marks)} {verdict.reason}")
        if with_log:
            print("    " + verdict.logged.strip().replace("\n", "\n    "))


main()
