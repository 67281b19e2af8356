"""The counts as a page of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oracle_totals import HITS, NOT_JUDGED

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "results" / "oracle.json"
PAGE = ROOT / "docs" / "reference" / "oracle.md"

COMMAND = "python tests/oracle/run.py"
HEAD = f"<!-- Written by `{COMMAND} --commit`: measured, not made up. -->\n\n"
_RULES = {
    1: "strict text format", 2: "names and directories", 3: "a version remains", 4: "one version's failure is the model's",
    5: "--model-config-name", 6: "platform and backend", 7: "max_batch_size", 8: "name, type, dims", 9: "reshape",
    10: "formats, shape tensors, profiles", 11: "optional inputs", 12: "preferred sizes", 13: "priority levels",
    14: "preserve_ordering", 15: "response cache", 16: "sequence controls", 17: "states and initial_state",
    18: "instance groups", 19: "batch_input, batch_output", 20: "metric_control", 21: "labels, runtime, strategy library",
    22: "warm-up", 23: "rate limiter", 24: "what an ensemble has", 25: "tensors flow through", 26: "steps exist",
    27: "batch of a step", 28: "mapped names", 29: "types and shapes", 30: "decoupled branches",
    31: "checked against the latest version", 32: "TensorRT", 33: "Python backend",
}  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """Markdown."""
    agreed = found["mutants_that_disagree"]
    text = HEAD + "# Lint and the live server, side by side\n\n"
    text += (
        f"`{COMMAND} {' '.join(f'--seed {seed}' for seed in found['seeds'])} --mutants "
        f"{found['mutants'] // max(1, len(found['seeds']))}` made {found['mutants']} repositories, "
        f"broke or varied each in one to three places, and asked `tritonkit lint` and an embedded tritonserver 2.51.0 "
        f"about each: {found['seconds']:.0f} s. The server was asked about {found['asked']}, and accepted "
        f"{found['accepted_share']:.0%} of them whole. They disagree about **{agreed}**.\n\n"
    )
    text += "A model that both refuse counts as agreed only if lint names the cause that the server names.\n\n"
    text += "## By rule\n\n"
    text += (
        "*Refused*: models that the server refused because of the rule; *accepted*: repositories in which what the rule "
        "is about was changed, and the server took them.\n\n"
        "| rule | | refused | by lint too | same cause | accepted | by lint too |\n|---|---|---|---|---|---|---|\n"
    )
    for number, row in found["rules"].items():
        text += (
            f"| {number} | {_RULES[int(number)]} | {row['refused']} | {row['refused_by_both']} | {row['same_cause']} | "
            f"{row['accepted']} | {row['accepted_by_both']} |\n"
        )
    text += "\nWhat the embedded server cannot judge both ways, and lint has from reading the source:\n\n"
    text += "".join(f"- rule {rule}: {why}\n" for rule, why in NOT_JUDGED.items()) + "\n"
    rare = found["hit_too_seldom"]
    text += f"Of the others, hit fewer than {HITS} times: {', '.join(rare) or 'none'}.\n\n"
    for title, counts in (
        ("Verdicts about models", found["verdicts"]), ("Disagreements", found["disagreements"]),
        ("Why the server refused", found["causes"]), ("Not asked of the live server", found["kept_away"]),
    ):  # fmt: skip
        text += f"## {title}\n\n"
        text += "".join(f"- {name}: {count}\n" for name, count in counts.items()) if counts else "None.\n"
        text += "\n"
    if found["ended_the_server"]:
        text += "## What ended the server\n\n" + "".join(f"- {one}\n" for one in found["ended_the_server"]) + "\n"
    return text.rstrip("\n") + "\n"
