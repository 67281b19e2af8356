"""What a reader of a sweep has to know besides its figures: restarts, turns that count for nothing or for little."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from loadtest.run.judging import in_three
from loadtest.sweep.bench import Seen
from loadtest.sweep.evidence import Disturbed
from loadtest.sweep.setting import Setting

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def warnings_of(
    by_setting: Mapping[Setting, Sequence[Seen]], disturbed: Sequence[Disturbed], *, find_max: bool
) -> list[str]:
    """All warnings, each once. `disturbed` are the turns that the comparison of settings leaves out."""
    said = [warning for turns in by_setting.values() for seen in turns for warning in seen.run.validity.warnings]
    found = [*_starts(by_setting), *_invalid(by_setting, find_max=find_max)]
    return found + [_of_a_disturbed(turn) for turn in disturbed] + once_each(said)


def _starts(by_setting: Mapping[Setting, Sequence[Seen]]) -> list[str]:
    found = []
    starts = {setting: frozenset(seen.asked.start for seen in turns) for setting, turns in by_setting.items()}
    if len(set().union(*starts.values())) > 1:
        apart = len(set(starts.values())) > 1
        found.append(
            f"the server was started {len(set().union(*starts.values()))} times: "
            + ("settings that differ in `server_epoch` ran on different starts of it, and a start's own luck is "
               "part of what tells them apart" if apart else "every setting ran on each of its starts")
        )  # fmt: skip
    spread = [setting for setting, own in starts.items() if len(own) > 1]
    if spread:
        many = "a point has" if len(spread) == 1 else f"{len(spread)} points have"
        found.append(f"{many} turns of several starts: " + "; ".join(setting.words() for setting in spread))
    return found


def _invalid(by_setting: Mapping[Setting, Sequence[Seen]], *, find_max: bool) -> list[str]:
    found = []
    for setting, turns in by_setting.items():
        bad = [seen for seen in turns if not seen.valid]
        if bad:
            why = next((reason for seen in bad for reason in seen.run.validity.reasons), "nothing of it counts")
            at = f" at {bad[0].asked.rate_rps:.4g} requests/s" if find_max else ""
            found.append(f"{len(bad)} of {len(turns)} turns of {setting.words()}{at} count for nothing: {why}")
    return found


def _of_a_disturbed(turn: Disturbed) -> str:
    p99, times = in_three(turn.p99_ms), in_three(turn.times)
    return (
        f"a turn of {turn.setting.words()} had a p99 of {p99} ms, {times} times what its other turns and its round "
        f"tell (round {turn.round}): it is left out where settings are compared"
    )


def once_each(said: Sequence[str]) -> list[str]:
    """Sentences that differ in their numbers alone are said once, with the largest first number and how many."""
    alike: dict[str, list[str]] = {}
    for sentence in said:
        alike.setdefault(_NUMBER.sub("#", sentence), []).append(sentence)
    found = []
    for same in alike.values():
        worst = max(same, key=_first_number)
        found.append(worst if len(same) == 1 else f"{worst} (the worst of {len(same)} turns)")
    return found


def _first_number(sentence: str) -> float:
    found = _NUMBER.search(sentence)
    return float(found[0].replace(",", "")) if found else 0.0
