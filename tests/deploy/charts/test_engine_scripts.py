"""What an engine Job runs, run here: a stand-in takes trtexec's place, and a folder the claim's."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import triton_chart as chart

VALUES = chart.read(chart.CHART / "ci" / "engines-derived-values.yaml")

# Writes its last word into the file of --saveEngine, in two steps, and what was beside it meanwhile into `seen`.
TRTEXEC = """
for word in "$@"; do
  case $word in --saveEngine=*) file=${word#--saveEngine=} ;; esac
  last=$word
done
printf 'half of ' > "$file"
{ ls -A "$SEEN_OF"; cat "$SEEN_OF/model.plan" 2>/dev/null; } > "$SEEN" || true
[ "$last" != fails ] || exit 3
printf '%s' "$last" >> "$file"
"""


class Claim:
    """A folder of the claim, and the Jobs that work in it."""

    def __init__(self, folder: Path) -> None:
        self.work, self.trtexec, self.seen = folder / "work", folder / "trtexec", folder / "seen"
        self.work.mkdir()
        self.trtexec.write_text(TRTEXEC)

    def job(self, what: str, **more: Any) -> list[list[str]]:
        """The commands of the two containers for a Job that builds `what`."""
        [entry] = VALUES["engineBuild"]["jobs"]
        command = more.pop("command", ["sh", str(self.trtexec), "--saveEngine=/work/model.plan", what])
        jobs = {"engineBuild": {"jobs": [entry | {"command": command} | more.pop("entry", {})]}}
        [job] = chart.of_kind("Job", chart.merged(VALUES, jobs, more))
        spec = job["spec"]["template"]["spec"]
        [build], [mark] = spec["initContainers"], spec["containers"]
        return [
            [word.replace("/work", str(self.work)) if word.startswith(("/work", "--saveEngine=")) else word
             for word in container["command"]]
            for container in (build, mark)
        ]  # fmt: skip

    def run(self, commands: list[list[str]]) -> int:
        """Both, as the kubelet does: the second after the first has succeeded. Its exit code."""
        for command in commands:
            environment = {"PATH": "/usr/bin:/bin", "SEEN": str(self.seen), "SEEN_OF": str(self.work)}
            self.done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            if self.done.returncode:
                break
        return self.done.returncode

    def built(self, what: str, **more: Any) -> bool:
        """Runs the whole Job; whether it has compiled anything."""
        self.seen.unlink(missing_ok=True)
        assert self.run(self.job(what, **more)) == 0, self.done.stderr
        return self.seen.exists()

    def waits_for(self, what: str, **more: Any) -> Path:
        """The mark that the pods of this release wait for."""
        _, key, hashed = self.job(what, **more)[1][4:7]
        return self.work / f".built-{key}-{hashed}"

    @property
    def plan(self) -> str:
        return (self.work / "model.plan").read_text()

    def marks(self) -> list[Path]:
        return sorted(self.work.glob(".built-*"))


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    return Claim(tmp_path)


def test_a_plan_that_comes_back_is_built_again_and_the_pods_wait_for_it(claim: Claim) -> None:
    for what in ("A", "B", "A"):
        assert not claim.waits_for(what).exists()
        assert claim.built(what)
        assert claim.plan == f"half of {what}"
        assert claim.marks() == [claim.waits_for(what)]


def test_what_is_built_is_not_built_again(claim: Claim) -> None:
    assert claim.built("A")
    assert not claim.built("A")
    assert not claim.built("A", commonLabels={"team": "vision"})
    assert claim.plan == "half of A"
    (claim.work / "model.plan").unlink()
    assert claim.built("A")


def test_a_pod_that_starts_meanwhile_finds_the_plan_before_it_whole(claim: Claim) -> None:
    assert claim.built("A")
    assert claim.built("B")
    beside = claim.seen.read_text()
    assert beside.endswith("half of A")
    assert claim.waits_for("A").name in beside


def test_a_build_that_fails_leaves_what_was_there(claim: Claim) -> None:
    assert claim.built("A")
    assert claim.run(claim.job("fails")) == 3
    assert (claim.plan, claim.marks()) == ("half of A", [claim.waits_for("A")])
    assert not claim.built("A")
    # What it left half written goes with the next build.
    assert claim.built("B")
    assert sorted(path.name for path in claim.work.iterdir()) == [claim.waits_for("B").name, "model.plan"]


def test_a_plan_that_has_lost_its_file_has_no_mark_while_it_is_built(claim: Claim) -> None:
    assert claim.built("A")
    (claim.work / "model.plan").unlink()
    assert claim.built("A")
    assert claim.waits_for("A").name not in claim.seen.read_text()


def test_marks_of_older_charts_go_and_those_of_other_plans_stay(claim: Claim) -> None:
    (claim.work / ".built-0123abcd").touch()
    other = claim.work / ".built-second.plan-0123abcd"
    other.touch()
    assert claim.built("A")
    assert claim.marks() == sorted([claim.waits_for("A"), other])


def test_a_command_that_ends_well_without_a_plan_is_no_success(claim: Claim) -> None:
    command = ["true", "--saveEngine=/work/model.plan"]
    assert claim.run(claim.job("A", command=command)) == 1
    assert "has ended well and has not written" in claim.done.stderr
    assert claim.marks() == []


def test_of_a_command_that_names_no_plan_the_marks_alone_count(claim: Claim) -> None:
    """It writes where it likes: the mark before it is gone before it begins."""
    for what in ("A", "B", "A"):
        command = ["sh", "-c", f'ls -A "$SEEN_OF" > "$SEEN"; printf {what} > "$SEEN_OF/model.plan"']
        assert claim.built(what, command=command)
        assert ".built-" not in claim.seen.read_text()
        assert claim.plan == what
        assert claim.marks() == [claim.waits_for(what, command=command)]
        assert not claim.built(what, command=command)
