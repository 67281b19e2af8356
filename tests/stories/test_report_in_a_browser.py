"""Reports in a real browser: they are whole, legible, and right on every screen, in print, and without scripts."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run, make_sweep
from report_browser import CONTRAST, CROWDED, INSTALL, Browser, chromium
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from story_tools import eventually

from loadtest.report.files import as_json
from loadtest.report.opening import open_all
from loadtest.report.page import page_of, report_of

PAGES = {
    "steady": ["steady"], "mixed": ["mixed"], "late": ["late"], "delay": ["delay"], "two": ["two"],
    "words": ["words"], "highest": ["highest"], "all": ["steady", "slow", "late", "delay"],
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reports")
    make_run(root / "steady", failures=6, errors={"503 <script>alert(1)</script>": 6}, warnings=["A warning."])
    make_run(root / "slow", service_us=1500.0)
    make_run(root / "mixed", mix={"digits": 0.7, "photos": 0.3}, lag_bound_us=500_000.0)
    make_run(root / "late", lag_us=1800.0)
    make_sweep(root / "delay", turns=2, invalid=(8,))
    make_sweep(root / "two", over={"max_queue_delay_us": [0, 250, 500, 1000, 4000], "instances": [1, 2, 4]}, turns=1)
    make_sweep(
        root / "highest", over={"max_queue_delay_us": [0, 250, 1000], "instances": [1, 2, 4]}, turns=1, find_max=True
    )
    make_sweep(root / "words", over={"preferred": [[4], [8], [4, 8]]}, turns=1, chosen=False, complete=False)
    for page, names in PAGES.items():
        (root / f"{page}.html").write_text(page_of(report_of(open_all([root / name for name in names]))))
    return root


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def data_of(places: Path, page: str) -> dict[str, Any]:
    return as_json(report_of(open_all([places / name for name in PAGES[page]])))


@pytest.mark.parametrize("page", PAGES)
def test_it_opens_without_a_complaint_and_asks_for_nothing(browser: Browser, places: Path, page: str) -> None:
    browser.requests(), browser.complaints()
    browser.show(places / f"{page}.html")
    assert browser.complaints() == []
    assert browser.requests() == [(places / f"{page}.html").as_uri()]
    shown = browser.run(
        "return [...document.querySelectorAll('figure')].map((figure) => {"
        " const svg = [...figure.querySelectorAll('svg')].filter((s) => s.checkVisibility());"
        " const size = svg[0].getBoundingClientRect();"
        " return [svg.length, size.width, size.height, svg[0].querySelectorAll('path, rect, circle').length,"
        " svg[0].getAttribute('role'), svg[0].getAttribute('aria-label').length]})"
    )
    assert shown
    for visible, width, height, marks, role, words in shown:
        assert visible == 1
        assert width > 300
        assert height > 100
        assert marks >= 4
        assert role == "img"
        assert words > 40


@pytest.mark.parametrize("page", PAGES)
def test_the_numbers_are_those_of_the_json(browser: Browser, places: Path, page: str) -> None:
    data = data_of(places, page)
    browser.show(places / f"{page}.html")
    shown = browser.run(
        "const found = {}; for (const table of document.querySelectorAll('table[data-table]'))"
        " found[table.dataset.table] = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => {"
        " const value = cell.querySelector('data'); return value ? Number(value.value) : cell.textContent}));"
        " return found"
    )
    compared = 0
    for place, item in enumerate(data["items"]):
        for stem, rows in item["tables"].items():
            cells = shown[f"{item['kind']}-{place + 1}-{stem}"]
            assert len(cells) == len(rows)
            for row, of_row in zip(rows, cells, strict=True):
                for value, cell in zip(row.values(), of_row, strict=True):
                    if isinstance(cell, int | float) and not isinstance(value, str):
                        assert cell == value
                        compared += 1
                    elif value is None:
                        assert cell == "–"
    assert compared > 20
    keys = browser.run(
        "return Object.fromEntries([...document.querySelectorAll('data[data-key]')].map((d) => [d.dataset.key, d.value]))"
    )
    record = data["items"][-1]["record"]
    assert float(keys["requests"]) == record["requests"]
    if data["items"][-1]["verdict"] == "invalid":
        assert not {"p50", "p95", "p99"} & set(keys)
    elif record.get("percentiles"):
        assert float(keys["p99"]) == record["percentiles"]["p99_ms"]["value"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_text_can_be_read(browser: Browser, places: Path, page: str, colours: str) -> None:
    browser.show(places / f"{page}.html", colours=colours)
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    channels = [int(channel) for channel in re.findall(r"\d+", paper)[:3]]
    assert (max(channels) < 60) if colours == "dark" else (min(channels) > 200)
    seen = browser.run(CONTRAST)
    assert len(seen) > 60
    assert [text for contrast, text in seen if contrast < 4.5] == []


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [390, 700, 1100])
def test_no_text_lies_on_another_on_any_screen(browser: Browser, places: Path, page: str, width: int) -> None:
    browser.show(places / f"{page}.html", width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    found = browser.run(CROWDED)
    assert found["wrong"] == []
    assert found["smallest"] >= 9.5
    assert found["charts"] >= len(browser.driver.find_elements(By.TAG_NAME, "figure"))


@pytest.mark.parametrize("page", ["delay", "two", "all"])
@pytest.mark.parametrize("width", [390, 1100])
def test_the_word_of_a_verdict_stays_on_one_line(browser: Browser, places: Path, page: str, width: int) -> None:
    browser.show(places / f"{page}.html", width=width)
    lines = browser.run(
        "return [...document.querySelectorAll('td')].filter("
        " (cell) => /^(pass|fail|undecided|invalid)$/.test(cell.textContent) && cell.checkVisibility()).map((cell) => {"
        " const range = document.createRange(); range.selectNodeContents(cell); return range.getClientRects().length})"
    )
    assert len(lines) > 3
    assert set(lines) == {1}


@pytest.mark.parametrize("page", PAGES)
def test_it_prints(browser: Browser, places: Path, page: str) -> None:
    browser.show(places / f"{page}.html", width=718, colours="dark", media="print")
    assert browser.run("return document.documentElement.scrollWidth") <= 718
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("return document.querySelector('.theme').checkVisibility()") is False
    assert [text for contrast, text in browser.run(CONTRAST) if contrast < 4.5] == []
    assert browser.run(CROWDED)["wrong"] == []
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 8 * len(PAGES[page])


def test_a_keyboard_reaches_everything(browser: Browser, places: Path) -> None:
    browser.show(places / "steady.html")
    reached = []
    for _ in range(400):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        now = browser.run(
            "const e = document.activeElement; if (e === document.body) return null;"
            " const style = getComputedStyle(e);"
            " return [e.tagName, e.className, e.textContent.trim().slice(0, 30), style.outlineStyle, style.outlineWidth]"
        )
        if now is None:
            break
        reached.append(now)
    assert [entry[1] for entry in reached[:2]] == ["skip", "theme"]
    assert all(entry[3] == "solid" and float(entry[4].removesuffix("px")) >= 2 for entry in reached)
    summaries = browser.run("return document.querySelectorAll('summary').length")
    assert sum(entry[0] == "SUMMARY" for entry in reached) == summaries > 5
    visible = browser.run(
        "return [...document.querySelectorAll('th button')].filter((b) => b.checkVisibility()).length"
    )
    assert sum(entry[0] == "BUTTON" for entry in reached) == visible + 1


def test_colours_are_changed_by_keyboard_and_kept(browser: Browser, places: Path) -> None:
    browser.show(places / "delay.html")
    toggle = browser.driver.find_element(By.CSS_SELECTOR, ".theme")
    assert toggle.text == "Dark colours"
    toggle.send_keys(Keys.ENTER)
    assert toggle.text == "Light colours"
    assert browser.run("return getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert [text for contrast, text in browser.run(CONTRAST) if contrast < 4.5] == []
    browser.driver.refresh()
    assert browser.driver.find_element(By.CSS_SELECTOR, ".theme").text == "Light colours"
    browser.run("localStorage.clear()")
    assert browser.complaints() == []


def test_tables_are_sorted_by_value(browser: Browser, places: Path) -> None:
    browser.show(places / "delay.html")
    script = (
        "const table = document.querySelector('table[data-table=\"sweep-1-points\"]');"
        "const place = [...table.tHead.rows[0].cells].findIndex((c) => c.textContent.startsWith('p99'));"
        "table.tHead.rows[0].cells[place].querySelector('button').click();"
        "return [table.tHead.rows[0].cells[place].getAttribute('aria-sort'),"
        " [...table.tBodies[0].rows].map((row) => {const d = row.cells[place].querySelector('data'); return d && Number(d.value)})]"
    )
    order, up = browser.run(script)
    assert order == "ascending"
    assert up[-1] is None
    assert up[:-1] == sorted(up[:-1])
    order, down = browser.run(script)
    assert order == "descending"
    assert down[-1] is None
    assert down[:-1] == up[:-1][::-1]


def test_a_chart_tells_the_values_under_the_pointer(browser: Browser, places: Path) -> None:
    browser.show(places / "steady.html")
    hit = browser.driver.find_element(By.CSS_SELECTOR, "svg.wide .hit:nth-of-type(5)")
    browser.run("arguments[0].scrollIntoView({block: 'center'})", hit)
    tip = browser.driver.find_element(By.ID, "tip")
    offsets = itertools.cycle([0, 1])

    def told() -> bool:
        """A page that is still scrolling hides it: the pointer moves until it rests."""
        ActionChains(browser.driver).move_to_element_with_offset(hit, next(offsets), 0).perform()
        return bool(tip.is_displayed())

    assert eventually(told, 10)
    assert tip.text == str(hit.get_attribute("data-tip")).replace("\xa0", " ")
    assert re.search(r"requests · p50 [\d.]+.ms · p99", tip.text)


def test_everything_is_there_without_scripts(browser: Browser, places: Path) -> None:
    browser.show(places / "steady.html", scripts=False)
    try:
        body = browser.driver.find_element(By.TAG_NAME, "body").text
        assert "Passes the objective" in body
        assert "tritonkit load run" in body
        assert not browser.driver.find_element(By.CSS_SELECTOR, ".theme").is_displayed()
        for figure in browser.driver.find_elements(By.TAG_NAME, "figure"):
            assert figure.find_element(By.CSS_SELECTOR, "svg.wide").size["height"] > 100
        summary = browser.driver.find_element(By.CSS_SELECTOR, "figure summary")
        summary.click()
        assert browser.driver.find_element(By.CSS_SELECTOR, "figure table").is_displayed()
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)


def test_a_missing_browser_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(pytest.fail.Exception, match=re.escape(INSTALL)), chromium(tmp_path):
        raise AssertionError("there is no browser to open")
