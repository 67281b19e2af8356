"""The README is true: its commands run, its spec is the one in specs/, its links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.alone  # its commands use the ports, specs/ and build/ that they name
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def shell(text: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture
def serve() -> Iterator[None]:
    """The README's `tritonkit serve`, on the ports that it names, until the test is over."""
    process = subprocess.Popen(
        [ROOT / ".venv/bin/tritonkit", "serve"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    messages: list[str] = []
    reader = threading.Thread(target=lambda: messages.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        addresses = [process.stdout.readline().split() for _ in range(3)]
        assert addresses == [
            ["http", "127.0.0.1:8000"], ["grpc", "127.0.0.1:8001"], ["metrics", "127.0.0.1:8002"]
        ], messages  # fmt: skip
        yield
        process.send_signal(2)
        assert process.wait(30) == 0, messages
    finally:
        process.kill()
        process.wait()
        reader.join(5)
        process.stdout.close()
        process.stderr.close()


def test_every_block_is_of_a_known_kind() -> None:
    assert {kind for kind, _ in BLOCKS} <= {"sh", "python", "yaml", "text"}


def test_the_spec_in_the_readme_is_the_one_in_specs() -> None:
    assert blocks("yaml") == [(ROOT / "specs" / "digits.yaml").read_text(encoding="utf-8")]


def test_links_lead_somewhere() -> None:
    for file in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", file.read_text(encoding="utf-8")):
            assert (file.parent / link).exists(), f"{file.relative_to(ROOT)}: {link}"


def test_the_folders_that_it_names_exist() -> None:
    table = README.split("## Where things are")[1]
    for row in re.findall(r"^\| (`.*?`) \|", table, flags=re.MULTILINE):
        for folder in re.findall(r"`([^`]+)`", row):
            assert (ROOT / folder).is_dir(), folder


@pytest.mark.server
def test_make_demo_does_what_it_says() -> None:
    assert "make demo\n" in blocks("sh")
    done = shell("make demo")
    assert done.returncode == 0, done.stderr
    seen = json.loads((ROOT / "build" / "demo.json").read_text())
    assert seen["holds"] is True
    shown = next(text for text in blocks("text") if text.startswith("digits on the embedded server"))
    for line in shown.splitlines()[1:]:
        # The accuracies are the same everywhere, the times are not.
        cells = line.split()
        assert re.search(rf"^{cells[0]}\s+{cells[1]}\s+{cells[2]}\b", done.stdout, flags=re.MULTILINE), done.stdout


@pytest.mark.server
@pytest.mark.usefixtures("serve")
def test_the_commands_beside_a_server() -> None:
    [with_server] = [text for text in blocks("sh") if "tritonkit infer" in text]
    done = shell(with_server)
    assert done.returncode == 0, done.stderr
    assert re.search(r"seven.png: label 7 ", done.stdout)
    assert re.search(r"three.png: label 3 ", done.stdout)
    assert done.stdout.count("as rendered") >= 4
    assert "curl" in done.stdout
    [client] = blocks("python")
    answered = subprocess.run([sys.executable, "-c", client], cwd=ROOT, capture_output=True, text=True, check=True)
    good, bad = answered.stdout.splitlines()
    assert good.endswith("seven.png 7")
    assert "broken.png" in bad
    assert "cannot be decoded" in bad


def test_your_own_model() -> None:
    [own] = [text for text in blocks("sh") if "tritonkit init" in text]
    try:
        done = shell(own)
        assert done.returncode == 0, done.stderr
        assert "nothing found" in done.stderr
    finally:
        (ROOT / "specs" / "mine.yaml").unlink(missing_ok=True)


def test_a_repository_that_is_there() -> None:
    [own] = [text for text in blocks("sh") if "tritonkit explain" in text]
    done = shell(own)
    assert done.returncode == 0, done.stderr
    assert "nothing found" in done.stderr
    assert done.stdout.startswith("TK751: ")


def test_an_engine_is_built_and_judged() -> None:
    [own] = [text for text in blocks("sh") if "tritonkit build" in text]
    done = shell(own)
    assert done.returncode == 0, done.stderr
    assert re.search(r"digits_engine +onnxruntime fp32 +top1 0\.9972 +0\.9972 .* passed$", done.stdout, re.MULTILINE)
    assert "nothing is installed" in done.stderr


@pytest.mark.server
def test_a_load_test_comes_to_a_verdict() -> None:
    """Which one depends on the machine."""
    [own] = [text for text in blocks("sh") if "tritonkit load run" in text]
    done = shell(own)
    assert done.returncode in (0, 1), done.stderr
    assert re.match(r"(PASS|FAIL|UNDECIDED|INVALID)  digits\n", done.stdout), done.stdout + done.stderr
    [page] = re.findall(r"^report +(\S+)$", done.stdout, flags=re.MULTILINE)
    assert (ROOT / page).is_file()


def test_the_values_of_a_release_are_printed() -> None:
    [own] = [text for text in blocks("sh") if "tritonkit deploy" in text]
    done = shell(own)
    assert done.returncode == 0, done.stderr
    values = yaml.safe_load(done.stdout)
    assert values["pipelines"][0]["name"] == "digits"
    assert "# the longest request, " in done.stdout


def test_every_other_command_is_run_above() -> None:
    run = {"make demo", "infer", "init", "serve", "make test", "explain", "build", "load run", "deploy values"}
    for text in blocks("sh"):
        assert any(word in text for word in run), text
    # `make test` is what runs this; that it is a target is all there is to see from here.
    assert shell("make -n test").returncode == 0
