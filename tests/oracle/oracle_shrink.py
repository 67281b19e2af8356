"""A disagreement made small: fewer mutations, fewer models, fewer lines, as long as the same one stays."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from oracle_judge import Judged, Opinion, judge
from oracle_live import Live
from oracle_mutant import Mutant, again
from oracle_repository import Repository

_MOST_TRIALS = 80
_LINE = re.compile(r"^\s*(?P<name>\w+)[ :]")
Same = Callable[[Mutant], bool]


def shrink(live: Live, judged: Judged, opinion: Opinion) -> tuple[Mutant, Opinion]:
    """The smallest mutant found that disagrees in the same way about the same model, and what is said of it then."""
    best, wanted = judged.mutant, (opinion.folder, opinion.disagreement, opinion.cause)
    left = [_MOST_TRIALS]
    last = [opinion]

    def same(mutant: Mutant) -> bool:
        if left[0] <= 0:
            return False
        left[0] -= 1
        judged = judge(live, mutant)
        if judged.ended:
            left[0] = 0
        for each in judged.opinions:
            if (each.folder, each.disagreement, each.cause) == wanted:
                last[0] = each
                return True
        return False

    for one in list(best.chosen):
        fewer = again(best, [other for other in best.chosen if other != one])
        if same(fewer):
            best = fewer
    best = _fewer_models(best, opinion.folder, same)
    best = _fewer_lines(best, same)
    return best, last[0]


def _with(mutant: Mutant, repository: Repository) -> Mutant:
    return replace(mutant, repository=repository)


def _fewer_models(mutant: Mutant, folder: str, same: Same) -> Mutant:
    """Without models that are not needed for it, files beside the config included."""
    for key in list(mutant.repository.models):
        if mutant.repository.models[key].folder == folder:
            continue
        less = copy.deepcopy(mutant.repository)
        del less.models[key]
        if less.top == key:
            less.top = next(iter(less.models))
        if same(_with(mutant, less)):
            mutant = _with(mutant, less)
    for key, model in mutant.repository.models.items():
        for name in list(model.files):
            less = copy.deepcopy(mutant.repository)
            del less.models[key].files[name]
            if same(_with(mutant, less)):
                mutant = _with(mutant, less)
    return mutant


def _fewer_lines(mutant: Mutant, same: Same) -> Mutant:
    """Without parts of the configs: whole blocks first, single lines later."""
    for key in mutant.repository.models:
        at = 0
        while True:
            text = mutant.repository.models[key].text
            blocks = list(_blocks(text)) if text else []
            if at >= len(blocks):
                break
            less = copy.deepcopy(mutant.repository)
            less.models[key].text = blocks[at]
            if same(_with(mutant, less)):
                mutant = _with(mutant, less)
            else:
                at += 1
    return mutant


def _blocks(text: str) -> Iterator[str]:
    """`text` without one of its blocks or lines, the largest blocks first."""
    lines = text.splitlines(keepends=True)
    spans = []
    for start, line in enumerate(lines):
        if not _LINE.match(line):
            continue
        depth = 0
        for end in range(start, len(lines)):
            depth += lines[end].count("{") - lines[end].count("}")
            if depth <= 0:
                spans.append((start, end + 1))
                break
    for start, end in sorted(spans, key=lambda span: span[0] - span[1]):
        if end - start < len(lines):
            yield "".join(lines[:start] + lines[end:])
