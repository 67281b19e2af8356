"""The page holds what the records say, and nothing else: no other file, no markup of others, no doubtful number."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from made_runs import make_run, make_sweep

from generator.problems import ProblemsError
from loadtest.report.files import as_json, write_csv, write_svg
from loadtest.report.markdown import markdown_of
from loadtest.report.opening import open_all
from loadtest.report.page import MOST, Report, page_of, report_of, write_page
from loadtest.results.run import Run
from loadtest.results.sweep import Sweep

EVIL = (
    "</title></style></script><script>alert('x')</script><img src=x onerror=alert(1)>\x1b[31m\u202e `|](http://evil)"
)
VOID = {"meta", "br", "wbr", "circle", "line", "rect", "path", "img", "link"}


class Page(HTMLParser):
    """Tags as they are nested, headings, ids, the texts of data elements, and whatever names another place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.handlers: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.scripts += tag == "script"
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self.links += [str(value) for key, value in attrs if key in {"href", "src", "srcset", "action", "data"}]
        self.handlers += [key for key, _ in attrs if key.startswith("on")]
        if tag == "svg":
            self.images.append(given)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def report(*folders: Path) -> Report:
    return report_of(open_all(folders))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    make_run(root / "steady", failures=5, errors={"503 busy": 3, "no answer in time": 2})
    make_run(root / "slow", service_us=1500.0)
    make_run(root / "mixed", mix={"digits": 0.7, "photos": 0.3})
    make_run(root / "late", lag_us=1800.0)
    make_sweep(root / "delay", turns=2, invalid=(8,))
    make_sweep(root / "two", over={"max_queue_delay_us": [0, 500, 4000], "instances": [1, 2, 4]}, turns=1)
    make_sweep(root / "words", over={"preferred": [[4], [8]]}, turns=1, chosen=False, complete=False)
    return root


ALL = ("steady", "slow", "mixed", "late", "delay", "two", "words")


@pytest.mark.parametrize("name", ALL)
def test_a_page_stands_alone(places: Path, name: str) -> None:
    html = page_of(report(places / name))
    page = Page(html)
    assert len(html.encode()) < 2_000_000
    assert all(link.startswith("#") for link in page.links)
    assert "url(" not in html
    assert "@import" not in html
    assert page.scripts == 1
    assert page.handlers == []
    assert len(page.ids) == len(set(page.ids))
    assert page.headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(page.headings))
    assert page.headings.count(1) == 1
    for image in page.images:
        assert image.get("aria-hidden") == "true" or (image["role"] == "img" and len(str(image["aria-label"])) > 30)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_every_chart_has_its_words_and_its_data(places: Path) -> None:
    for name in ALL:
        made = report(places / name)
        html = page_of(made)
        assert html.count("<figure") == len(made.figures()) > 0
        for figure in made.figures():
            assert figure.table.rows
            assert figure.says.endswith(".")
            assert f'data-table="{figure.table.name}"' in html
            ET.fromstring(figure.svg(figure.width))


def test_the_same_records_give_the_same_page(places: Path) -> None:
    folders = [places / name for name in ALL]
    assert page_of(report(*folders)) == page_of(report(*folders))


def test_texts_of_others_stay_texts(tmp_path: Path) -> None:
    drawn = {"kind": EVIL, "seed": 1}
    made = make_run(
        tmp_path / "run", requests=3000, errors={EVIL: 7}, stopped=EVIL, warnings=[EVIL], mix={EVIL: 0.5, "b": 0.5}
    )
    made = made.model_copy(update={
        "pipeline": EVIL, "made": made.made.model_copy(update={
            "command": EVIL, "spec": EVIL, "server": {EVIL: EVIL}, "machine": {EVIL: {EVIL: [EVIL]}}, "effective": {EVIL: {EVIL: EVIL}}}),
        "traffic": made.traffic.model_copy(update={"drawn": drawn}),
        "judgement": made.judgement.model_copy(update={"why": EVIL}),
        "splits": [split.model_copy(update={"model": EVIL}) for split in made.splits],
    })  # fmt: skip
    (tmp_path / "run" / "run.json").write_text(made.model_dump_json())
    sweep = make_sweep(
        tmp_path / "sweep",
        over={EVIL: [EVIL, "b"]},
        turns=1,
        changes={"pipeline": EVIL, "member": "digits_engine", "warnings": [EVIL]},
    )
    choice = sweep.choice.model_copy(update={"why": EVIL, "written": EVIL})
    (tmp_path / "sweep" / "sweep.json").write_text(sweep.model_copy(update={"choice": choice}).model_dump_json())
    both = report(tmp_path / "run", tmp_path / "sweep")
    html = page_of(both)
    page = Page(html)
    assert page.scripts == 1
    assert page.handlers == []
    assert "img" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert "\x1b" not in html
    assert "\u202e" not in html
    markdown = markdown_of(both)
    outside = re.sub(r"^(`{3,})\n.*?\n\1$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    assert EVIL.partition("\x1b")[0] not in outside
    assert not re.search(r"(?<!\\)[<>]", outside.replace("\n> ", "\n"))
    assert not re.search(r"(?<!\\)\]\(", outside)
    for file in write_svg(both, tmp_path / "svg"):
        tags = {element.tag.rpartition("}")[2] for element in ET.parse(file).iter()}
        assert tags <= {"svg", "title", "desc", "style", "g", "rect", "line", "path", "text", "circle"}


def test_an_invalid_run_tells_no_latency(places: Path, tmp_path: Path) -> None:
    """The same samples told once as valid: none of what is shown there may be shown here."""
    record = Run.model_validate_json((places / "late" / "run.json").read_text())
    assert record.percentiles is None
    made = report(places / "late")
    html, markdown = page_of(made), markdown_of(made)
    shown = html.partition("<main")[2].partition("<script>")[0]
    assert re.findall(r"\bp(?:50|95)\b|p99\.9|latency by|latency over", shown, re.IGNORECASE) == []
    assert re.findall(r"\bp\d\d\b", markdown) == []
    assert [figure.title for figure in made.figures()] == ["Send lag"]
    for reason in record.validity.reasons:
        assert reason.replace("'", "&#39;") in html
        assert reason.partition(";")[0] in markdown
    text = json.dumps(as_json(made))
    assert not re.search(
        r'"(?:p50_ms|p95_ms|p99_ms|latency_ms|max_ms)": [\d{]',
        text.replace(json.dumps(record.objective and record.objective.model_dump()), ""),
    )
    assert "by-percentile" not in " ".join(file.name for file in write_csv(made, tmp_path / "csv"))


def test_an_invalid_run_beside_others_has_empty_cells(places: Path) -> None:
    made = report(places / "steady", places / "late")
    assert made.overview is not None
    rows = {row["name"]: row for row in made.overview.as_json()}
    assert {rows["late"][key] for key in ("p50_ms", "p95_ms", "p99_ms", "p99_low_ms", "p99_high_ms")} == {None}
    assert rows["steady"]["p99_ms"] > 0
    assert made.together == ()


def test_numbers_are_those_of_the_records(places: Path) -> None:
    html = page_of(report(places / "steady"))
    run = Run.model_validate_json((places / "steady" / "run.json").read_text())
    assert run.percentiles is not None
    for name, interval in (
        ("p50", run.percentiles.p50_ms),
        ("p95", run.percentiles.p95_ms),
        ("p99", run.percentiles.p99_ms),
    ):
        assert f'<data value="{interval.value}" data-key="{name}">' in html
    html = page_of(report(places / "delay"))
    sweep = Sweep.model_validate_json((places / "delay" / "sweep.json").read_text())
    for point in sweep.points:
        if point.p99_ms:
            assert f'<data value="{point.p99_ms.value}">' in html


def test_a_sweep_says_what_to_take(places: Path) -> None:
    html = re.sub(r"<wbr>", "", page_of(report(places / "delay")))
    assert "Take max_queue_delay_us 1000</h2>" in html
    assert "max_queue_delay_us: 1000" in html
    assert "At max_queue_delay_us 10000: 99 % of the sends" in html
    assert "None is chosen" in page_of(report(places / "words"))
    assert "interrupted" in page_of(report(places / "words"))


def test_several_settings_are_small_multiples(places: Path) -> None:
    [figure] = [figure for figure in report(places / "two").figures() if figure.full]
    drawn = str(figure.svg(912))
    assert [f">instances {number}<" in drawn for number in (1, 2, 4)] == [True] * 3


def test_a_cut_file_is_shown_with_a_warning(tmp_path: Path) -> None:
    make_run(tmp_path / "run", requests=3000)
    file = tmp_path / "run" / "samples.bin"
    file.write_bytes(file.read_bytes()[: -24 * 100])
    assert "2,900 of 3,000 are in the file" in page_of(report(tmp_path / "run"))


def test_a_run_without_objective_percentiles_or_samples(tmp_path: Path) -> None:
    make_run(tmp_path / "free", requests=3000, bound_ms=None)
    html = page_of(report(tmp_path / "free"))
    assert "Measured, without an objective" in html
    run = make_run(tmp_path / "none", requests=3000, stopped="interrupted before the first request")
    from loadtest.samples.file import SampleWriter

    empty = run.model_copy(update={"requests": 0, "counted": 0, "percentiles": None, "outcomes": {}, "splits": []})
    (tmp_path / "none" / "run.json").write_text(empty.model_dump_json())
    with SampleWriter(tmp_path / "none" / "samples.bin", {}):
        pass
    html = page_of(report(tmp_path / "none"))
    assert "interrupted before the first request" in html
    assert "<figure" not in html.partition("batches")[0]


def test_samples_in_disorder_are_refused(tmp_path: Path) -> None:
    import numpy as np

    from loadtest.samples.file import SampleWriter, read_samples

    make_run(tmp_path / "run", requests=2000)
    samples = np.array(read_samples(tmp_path / "run" / "samples.bin")[1])
    with SampleWriter(tmp_path / "run" / "samples.bin", {}) as writer:
        writer.append(samples[::-1])
    with pytest.raises(ProblemsError) as error:
        report(tmp_path / "run")
    assert [problem.code for problem in error.value.problems] == ["TK893"]


def test_as_many_as_fit_and_not_one_more(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run", requests=100_000, failures=200, mix={"digits": 0.5, "photos": 0.3, "canvas": 0.2}
    )
    effective = {
        f"model_{number}": {"parameters": {f"key {key}": "value" * 9 for key in range(200)}} for number in range(9)
    }
    long = run.model_copy(update={"made": run.made.model_copy(update={"effective": effective})})
    (tmp_path / "run" / "run.json").write_text(long.model_dump_json())
    for number in (1, 2, 3, 6, MOST):
        write_page([tmp_path / "run"] * number, tmp_path / "page.html")
        assert (tmp_path / "page.html").stat().st_size < 2_000_000, number
    with pytest.raises(ProblemsError) as error:
        report(*[tmp_path / "run"] * (MOST + 1))
    assert error.value.problems[0].code == "TK897"


def test_files_hold_what_the_page_shows(places: Path, tmp_path: Path) -> None:
    made = report(places / "steady", places / "delay")
    data = json.loads(json.dumps(as_json(made), allow_nan=False))
    assert [item["name"] for item in data["items"]] == ["steady", "delay"]
    over_time = data["items"][0]["tables"]["over-time"]
    [file] = [file for file in write_csv(made, tmp_path / "csv") if file.name == "steady-over-time.csv"]
    lines = file.read_text().splitlines()
    assert lines[0] == ",".join(over_time[0])
    assert lines[1:] == [",".join("" if value is None else str(value) for value in row.values()) for row in over_time]
    names = {file.stem for file in write_svg(made, tmp_path / "svg")}
    assert {"steady-over-time", "steady-by-percentile", "steady-send-lag", "delay-latency", "delay-batches"} <= names
    assert len(list((tmp_path / "svg").iterdir())) == len(made.figures())


def test_a_spreadsheet_computes_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "run", requests=2000, failures=2, errors={"=cmd|' /C calc'!A0": 2})
    write_csv(report(tmp_path / "run"), tmp_path / "csv")
    assert "'=cmd|" in (tmp_path / "csv" / "run-errors.csv").read_text()


def test_markdown_says_the_verdict_first(places: Path) -> None:
    text = markdown_of(report(places / "steady"))
    assert text.startswith("## ✅ pass: Passes the objective\n")
    assert "| p99 | 5." in text
    assert "tritonkit load run specs/digits.yaml" in text
    assert markdown_of(report(places / "late")).startswith("## 🚫 invalid: Cannot be believed\n")


def test_what_counts_and_how_sure_it_is_are_said(tmp_path: Path) -> None:
    """The verdict's confidence is of one end of an interval, the table's of both; what was cancelled counts nowhere."""
    run = make_run(tmp_path / "run", requests=4000, cancelled=100, failures=39)
    made = report(tmp_path / "run")
    html, markdown = page_of(made), markdown_of(made)
    rests = "verdict rests on one end of the p99's interval, which is 99 % sure by itself; both ends together are 98 % sure"
    assert rests in words_plain(html).replace("&#39;", "'")
    assert rests in markdown
    assert "confidence, two-sided" in html
    assert "| confidence, two-sided |" in markdown
    without = f"{run.counted:,} count, not {run.warm_up.requests:,} of the warm-up, 100 cancelled on purpose"
    assert without in html
    [failed] = [key for key in made.views[0].keys if key.name == "failed"]
    assert (failed.value, words_plain(failed.note)) == (39, "1.00 %"), "of the 3,900 that were not cancelled"
    assert "What was cancelled on purpose is left out." in html


def words_plain(text: str) -> str:
    """With spaces as they are typed."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_what_was_never_sent_has_not_failed(tmp_path: Path) -> None:
    make_run(tmp_path / "run", requests=4000, changes={"outcomes": {"ok": 3000, "unsent": 1000}})
    [failed] = [key for key in report(tmp_path / "run").views[0].keys if key.name == "failed"]
    assert failed.value == 0


def test_a_page_that_does_not_fit_on_the_disk_is_not_there_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    make_run(tmp_path / "run", requests=2000)
    (tmp_path / "run" / "report.html").write_text("the one before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_page([tmp_path / "run"], tmp_path / "run" / "report.html")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "run" / "report.html").read_text() == "the one before"
