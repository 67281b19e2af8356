"""A load test from its first request to run.json, against a server whose service times are known."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from steady_server import steady

sys.path.insert(0, str(Path(__file__).parent))

from load_tools import Digits, codes_of, quiet

from generator.problems import ProblemsError
from loadtest.results.run import read_run
from loadtest.run import measure as measuring
from loadtest.run import room, sending, session
from loadtest.run.asked import Promise
from loadtest.run.measure import Segment, measure, schedule_of, seed_of, segments_of
from loadtest.samples.file import read_samples
from loadtest.samples.record import Outcome
from loadtest.statistics.percentile import percentile_interval


def answered(text: str) -> int:
    """How many, by the words of the progress."""
    return int(text.partition("answered ")[2].partition(",")[0] or 0)


def test_a_run_has_everything(tmp_path: Path) -> None:
    with steady(least_ms=20, spread_ms=40) as server:
        digits = Digits(server)
        asked = digits.asked()
        before = server.infers
        run = measure(asked, digits.serving, digits.payloads, tmp_path, quiet)
        assert server.infers - before == run.requests + len(digits.payloads["digits"])
    assert read_run(tmp_path) == run
    meta, samples = read_samples(tmp_path / "samples.bin")
    [segment] = segments_of(asked, extend=False)
    schedule = schedule_of(asked, digits.payloads, segment)
    assert len(samples) == run.requests == len(schedule)
    assert samples["due_us"].tolist() == (schedule.due_ns // 1000).tolist()
    assert samples["payload"].tolist() == schedule.payload.tolist()
    assert (meta["pipelines"], meta["cut"]) == (["digits"], False)
    assert run.outcomes == {"ok": run.requests}
    assert run.counted == run.requests - run.warm_up.requests
    assert run.percentiles is not None
    told = percentile_interval(samples["latency_us"][run.warm_up.requests :], 0.99)
    assert run.percentiles.p99_ms.value == told.value / 1000
    assert 20 <= run.percentiles.p50_ms.value <= run.percentiles.max_ms
    assert samples["latency_us"].min() >= 20_000
    assert (run.traffic.drawn["seed"], run.traffic.drawn["kind"]) == (1, "poisson")
    assert run.traffic.rate_rps == 100
    assert [split.model for split in run.splits] == ["digits"]
    assert run.splits[0].requests == run.requests
    assert run.splits[0].batch_sizes == {1: run.requests}
    assert run.outside_us is not None
    assert run.made.effective["digits"] == {"name": "digits", "max_batch_size": 1}
    assert run.made.server["name"] == "steady"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "samples.bin"]


def test_two_senders_send_the_same_as_one(tmp_path: Path) -> None:
    with steady() as server:
        digits = Digits(server)
        for senders in (1, 2):
            measure(digits.asked(senders=senders), digits.serving, digits.payloads, tmp_path / str(senders), quiet)
    one, two = (read_samples(tmp_path / name / "samples.bin")[1] for name in ("1", "2"))
    assert one[["due_us", "payload", "pipeline"]].tolist() == two[["due_us", "payload", "pipeline"]].tolist()
    assert read_run(tmp_path / "2").validity.senders == 2


def test_a_late_sender_makes_it_invalid_and_no_percentile_is_told(tmp_path: Path) -> None:
    with steady() as server:
        digits = Digits(server)
        run = measure(digits.asked(lag_bound_ms=1e-6), digits.serving, digits.payloads, tmp_path, quiet)
    assert (run.judgement.verdict, run.percentiles, run.by_pipeline) == ("invalid", None, {})
    assert (run.judgement.over, run.judgement.worth, run.outside_us) == (None, None, None)
    assert not run.validity.valid
    assert "left late" in run.judgement.why
    assert 'p99_ms": {' not in (tmp_path / "run.json").read_text()


def test_what_comes_after_the_deadline_counts_as_the_deadline(tmp_path: Path) -> None:
    with steady(least_ms=60, spread_ms=10) as server:
        digits = Digits(server)
        asked = digits.asked(promises={"digits": Promise(20.0)}, deadline_ms=40.0, duration_s=1.0)
        run = measure(asked, digits.serving, digits.payloads, tmp_path, quiet)
    assert run.outcomes == {"timeout": run.requests}
    assert run.percentiles is not None
    assert run.percentiles.p50_ms.value >= 40
    assert run.judgement.verdict == "fail"
    assert run.judgement.error_rate is not None
    assert run.judgement.error_rate.value == 1


def test_a_payload_that_is_refused_is_told_before_any_load(tmp_path: Path) -> None:
    with steady(refuse="unexpected shape for input 'image'") as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match=r"unexpected shape for input 'image'") as raised:
            measure(digits.asked(), digits.serving, digits.payloads, tmp_path, quiet)
        assert codes_of(raised) == ["TK873"]
        assert server.infers == len(digits.payloads["digits"])
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_ready(tmp_path: Path) -> None:
    with steady(not_ready=True) as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match="it is not ready") as raised:
            measure(digits.asked(), digits.serving, digits.payloads, tmp_path, quiet)
        assert (codes_of(raised), server.infers) == (["TK872"], 0)


def test_no_server(tmp_path: Path) -> None:
    with steady() as server:
        digits = Digits(server)
    with pytest.raises(ProblemsError, match="no server answers") as raised:
        measure(digits.asked(), digits.serving, digits.payloads, tmp_path, quiet)
    assert codes_of(raised) == ["TK872"]


def test_it_goes_on_in_segments_whose_time_has_no_gap(tmp_path: Path) -> None:
    with steady(least_ms=2, spread_ms=2) as server:
        digits = Digits(server)
        asked = digits.asked(rate_rps=200.0, duration_s=0.5, budget_s=2.0)
        run = measure(asked, digits.serving, digits.payloads, tmp_path, quiet, extend=True)
    assert run.judgement.verdict == "undecided", "459 requests are needed at least, and the budget has 400"
    assert run.judgement.confidence > 0.99, "each look is surer than the whole"
    assert run.traffic.options["segments"] == 3
    _, samples = read_samples(tmp_path / "samples.bin")
    due = samples["due_us"].astype(np.int64)
    assert np.all(np.diff(due) >= 0)
    assert np.diff(due).max() < 0.2e6
    assert abs(len(samples) / (due[-1] / 1e6) / 200 - 1) < 0.3
    schedules = [schedule_of(asked, digits.payloads, segment) for segment in segments_of(asked, extend=True)]
    assert len({schedule.drawn["seed"] for schedule in schedules}) == 3
    sent = [
        int(np.count_nonzero(s.due_ns >= seg.lead_s * 1e9))
        for s, seg in zip(schedules, segments_of(asked, extend=True), strict=True)
    ]
    assert len(samples) == sum(sent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "samples.bin"]


def test_it_ends_when_it_is_decided(tmp_path: Path) -> None:
    with steady() as server:
        digits = Digits(server)
        asked = digits.asked(duration_s=1.0, budget_s=600.0, promises={"digits": Promise(1.0)})
        run = measure(asked, digits.serving, digits.payloads, tmp_path, quiet, extend=True)
    assert (run.judgement.verdict, run.traffic.options["segments"]) == ("fail", 1)
    assert run.requests < 500


def test_the_budget_ends_it(tmp_path: Path) -> None:
    with steady() as server:
        digits = Digits(server)
        asked = digits.asked(duration_s=0.5, budget_s=1.0)
        run = measure(asked, digits.serving, digits.payloads, tmp_path, quiet, extend=True)
    assert run.judgement.verdict == "undecided"
    assert "are needed at least" in run.judgement.why
    assert run.traffic.options["segments"] == 2


def test_segments_are_planned_before_and_each_is_surer_than_asked(tmp_path: Path) -> None:
    with steady() as server:
        asked = Digits(server).asked(rate_rps=50.0, duration_s=10.0, budget_s=80.0)
    segments = list(segments_of(asked, extend=True))
    assert [segment.seconds for segment in segments] == [10.0, 10.0 + 1, 20.0 + 1, 40.0 + 1]
    assert [segment.lead_s for segment in segments] == [0.0, 1.0, 1.0, 1.0]
    assert all(segment.confidence > 0.99 for segment in segments)
    assert sum(1 - segment.confidence for segment in segments) <= 0.01 + 1e-9
    assert list(segments_of(asked, extend=False)) == [Segment(0, 10.0, 0.0, 0.99)]


@pytest.mark.parametrize(("changed", "said"), [
    ({"kind": "ramp"}, "cannot go on"), ({"kind": "burst"}, "cannot go on"), ({"rate_rps": None}, "cannot go on"),
    ({"budget_s": 1.0}, "ends before the first"),
])  # fmt: skip
def test_what_cannot_go_on(changed: dict[str, Any], said: str) -> None:
    with steady() as server:
        asked = Digits(server).asked(**{"budget_s": 10.0, **changed})
    with pytest.raises(ProblemsError, match=said) as raised:
        list(segments_of(asked, extend=True))
    assert codes_of(raised) == ["TK878"]


def test_a_server_that_dies_leaves_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "GONE_FOR_S", 0.5)
    monkeypatch.setattr(sending, "ALIVE_EVERY_S", 0.1)
    with steady(fail_after=100) as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match="the server went away during the run") as raised:
            measure(digits.asked(duration_s=20.0), digits.serving, digits.payloads, tmp_path, quiet)
    assert codes_of(raised) == ["TK875"]
    run = read_run(tmp_path)
    assert run.stopped == "the server went away"
    assert run.outcomes["ok"] > 20
    assert 0 < run.outcomes["broken"] < run.requests < 2000
    assert run.judgement.verdict == "fail"
    assert len(read_samples(tmp_path / "samples.bin")[1]) == run.requests
    assert run.errors


def test_a_server_that_is_restarted_in_the_middle(tmp_path: Path) -> None:
    """The outage is in the figures, and where time went is not told: the server has lost count."""
    with steady() as first, ExitStack() as stack:
        digits = Digits(first)

        def restart(text: str) -> None:
            if answered(text) > 50 and first.process.poll() is None:
                first.process.kill()
                first.process.wait()
                stack.enter_context(steady(port=int(first.address.rpartition(":")[2])))

        run = measure(digits.asked(duration_s=5.0), digits.serving, digits.payloads, tmp_path, restart)
    assert run.stopped is None
    assert run.outcomes["broken"] > 5
    assert run.outcomes["ok"] > 100
    assert run.judgement.verdict != "pass", "one outage in five seconds does not tell how many there will be"
    assert run.judgement.error_rate is not None
    assert run.judgement.error_rate.value > 0.01
    assert run.splits == []
    assert any("it was restarted" in warning for warning in run.validity.warnings)


def test_an_interrupt_keeps_the_samples_so_far(tmp_path: Path) -> None:
    def interrupt(text: str) -> None:
        if answered(text) > 20:
            raise KeyboardInterrupt

    with steady() as server:
        digits = Digits(server)
        with pytest.raises(KeyboardInterrupt):
            measure(digits.asked(duration_s=60.0), digits.serving, digits.payloads, tmp_path, interrupt)
    run = read_run(tmp_path)
    assert run.stopped == "interrupted"
    assert 20 < run.outcomes["ok"] < 1000
    assert not [process for process in psutil.Process().children(recursive=True) if _sends(process)]


def _sends(process: psutil.Process) -> bool:
    try:
        return "loadtest.sender" in process.cmdline()
    except psutil.Error:
        return False


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Full)
    with steady() as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match=r"the disk has 0\.001 MB left") as raised:
            measure(digits.asked(), digits.serving, digits.payloads, tmp_path, quiet)
        assert server.infers == len(digits.payloads["digits"])
    assert codes_of(raised) == ["TK876"]


def test_folders_that_are_not_its_own_stay(tmp_path: Path) -> None:
    (tmp_path / "segment-mine").mkdir()
    (tmp_path / "segment-mine" / "notes.txt").write_text("x")
    with steady() as server:
        digits = Digits(server)
        measure(digits.asked(duration_s=0.5), digits.serving, digits.payloads, tmp_path, quiet)
    assert (tmp_path / "segment-mine" / "notes.txt").read_text() == "x"
    assert not (tmp_path / "segment-0").exists()


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "there"
    file.write_text("")
    with steady() as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match="cannot be written") as raised:
            measure(digits.asked(), digits.serving, digits.payloads, file, quiet)
    assert codes_of(raised) == ["TK876"]


def test_errors_and_cancelled_ones_are_counted_apart(tmp_path: Path) -> None:
    with steady() as server:
        digits = Digits(server)
        run = measure(digits.asked(cancel=0.5), digits.serving, digits.payloads, tmp_path, quiet)
    _, samples = read_samples(tmp_path / "samples.bin")
    cancelled = int(np.count_nonzero(samples["outcome"] == Outcome.CANCELLED))
    assert 20 < cancelled == run.outcomes["cancelled"]
    assert run.judgement.error_rate is not None
    assert run.judgement.error_rate.value == 0


def test_a_sender_that_ends_early_is_an_error_and_what_there_is_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, judged = measuring.send, session.judged
    monkeypatch.setattr(session, "judged", lambda *a, **k: judged(*a, **k).model_copy(update={"verdict": "pass"}))

    def ends_early(*arguments: Any) -> Any:
        sent = real(*arguments)
        return sending.Sent(sent.paths, sent.reports, "samples cannot be kept: No space left on device")

    monkeypatch.setattr(measuring, "send", ends_early)
    with steady() as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match="No space left on device") as raised:
            measure(digits.asked(duration_s=0.5), digits.serving, digits.payloads, tmp_path, quiet)
    assert codes_of(raised) == ["TK876"]
    run = read_run(tmp_path)
    assert run.stopped == "samples cannot be kept: No space left on device"
    assert run.judgement.verdict == "undecided"
    assert "the run was stopped early" in run.judgement.why


def test_a_sender_that_somebody_ends(tmp_path: Path) -> None:
    def end(text: str) -> None:
        if answered(text) > 20:
            for process in psutil.Process().children(recursive=True):
                if _sends(process):
                    process.terminate()

    with steady() as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match="a sender ended early: stopped by SIGTERM") as raised:
            measure(digits.asked(duration_s=60.0), digits.serving, digits.payloads, tmp_path, end)
    assert codes_of(raised) == ["TK875"]
    assert read_run(tmp_path).stopped == "stopped by SIGTERM"
    assert read_run(tmp_path).requests > 20


@pytest.mark.parametrize("deadline_ms", [1.0, 199.0, 200.0])
def test_a_deadline_within_the_bound_is_refused(tmp_path: Path, deadline_ms: float) -> None:
    with steady() as server:
        digits = Digits(server)
        before = server.infers
        with pytest.raises(ProblemsError, match="is within the bound of 200 ms") as raised:
            measure(digits.asked(deadline_ms=deadline_ms), digits.serving, digits.payloads, tmp_path, quiet)
        assert server.infers == before
    assert codes_of(raised) == ["TK878"]


def test_no_segment_is_that_of_another_seed() -> None:
    seeds = [seed_of(seed, segment) for seed in range(200) for segment in range(8)]
    assert len(set(seeds)) == len(seeds)
    assert [seed_of(seed, 0) for seed in range(5)] == list(range(5))
    assert seed_of(3, 2) == seed_of(3, 2)


def test_a_sender_that_dies_ends_the_run_and_what_the_others_have_is_kept(tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(text: str) -> None:
        senders = [process for process in psutil.Process().children(recursive=True) if _sends(process)]
        if answered(text) > 40 and len(senders) == 2 and not killed:
            senders[0].kill()
            killed.append(senders[0].pid)

    with steady() as server:
        digits = Digits(server)
        with pytest.raises(ProblemsError, match=r"a sender ended early: .* status -9 and without a report") as raised:
            measure(digits.asked(duration_s=60.0, senders=2), digits.serving, digits.payloads, tmp_path, kill)
    assert codes_of(raised) == ["TK875"]
    run = read_run(tmp_path)
    assert run.stopped == "the sending process ended with status -9 and without a report"
    assert run.requests > 20
    assert run.judgement.verdict != "pass"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "samples.bin"]
