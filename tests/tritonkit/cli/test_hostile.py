"""Whatever is typed, a user's mistake never ends in a traceback, never hangs, and changes nothing that was there."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest
from cli_session import Session
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from generator.project import Project
from tritonkit.cli.group import COMMANDS
from tritonkit.client.retry import Course

LONG = "x" * 5000
ODD = [
    "", " ", ".", "..", "/", "//", "~", "-", "--", "---", "-1", "0", "nan", "é", "日本", "\x1b[31m", "a\nb", "\udcff", "\u202e",
    "specs", "specs/small.yaml", "specs/small.yaml/", "specs/small.yaml/inside", "models", "models/net.onnx", "data/ten.labels",
    "none", "none.yaml", "none.pbtxt", "loop", "dangling", "fifo", "fifo.yaml", "fifo.pbtxt", "empty", "empty.yaml",
    "/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/proc/self/mem", "/proc/self/environ", "/root/../etc",
    LONG, "a/" * 2500, "%s", "{}", "$HOME", "`id`", "name: x", "*", "[", "\\",
]  # fmt: skip
# Commands that end at once without a server; {} is where the odd value goes.
FORMS = [
    "{}", "init {}", "init x --onnx {} --force", "lint {}", "lint {} specs/small.yaml", "render {}", "render {} --check",
    "render --target {}", "render --target embedded --out {} --check", "render --target embedded --out {} --diff",
    "render --show-plan {}", "infer {} specs/small.yaml --address 127.0.0.1:1", "infer small {} --address 127.0.0.1:1",
    "infer small {} --address {}", "infer small x --deadline {}", "infer small x --protocol {}", "status --address {}",
    "status --target {} --address 127.0.0.1:1", "snippet {} --address 127.0.0.1:1", "snippet small --address {}",
    "snippet small --file {} --address 127.0.0.1:1", "demo {}", "completion {}", "schema {}", "doctor {}",
    "serve --target {}z", "serve --http-port {}x", "serve --repository {}", "serve --ready-timeout {}", "lint --format {}",
]  # fmt: skip


@pytest.fixture
def odd_project(project: Project) -> Project:
    root = project.root
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    (root / "empty").mkdir()
    (root / "empty.yaml").write_text("")
    for name in ("fifo", "fifo.yaml", "fifo.pbtxt"):
        os.mkfifo(root / name)
    return project


@pytest.fixture
def sent_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens, a hundred times; how long a client waits until it asks again is held beside the client."""
    pause_s = Course.pause_s
    monkeypatch.setattr(Course, "pause_s", lambda self, reply: None if pause_s(self, reply) is None else 1e-3)


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("sent_again_at_once")
@pytest.mark.parametrize("form", FORMS)
def test_odd_values(odd_project: Project, session: Session, form: str) -> None:
    before = contents(odd_project.root)
    for value in ODD:
        arguments = [word.replace("{}", value) for word in form.split(" ")]
        ended = session.quietly(*arguments)
        assert "Traceback" not in ended.err, arguments
        assert ended.status in {0, 1}, arguments
        assert "\x1b" not in ended.err, arguments
        assert ended.status == 0 or "error" in ended.err or ended.out, arguments
        after = contents(odd_project.root)
        assert {name: data for name, data in after.items() if name in before} == before, arguments


WORDS = st.sampled_from(
    [*COMMANDS, "-h", "--check", "--json", "--target", "embedded", "production", "--out", "--diff"]
)
OPTIONS = st.text(string.ascii_lowercase + "-=", min_size=1, max_size=8).map(lambda text: f"--{text}")
HARMLESS = st.lists(WORDS | OPTIONS | st.text(max_size=8), max_size=5).filter(
    # Not what starts a server or draws on the machine for long.
    lambda words: not {"serve", "demo", "doctor"} & set(words) and "\x00" not in "".join(words)
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HARMLESS)
@example(["render", "--target", "embedded", "--out", "--check"])
@example(["lint", "--format=json", "--", "-x"])
def test_any_words(session: Session, words: list[str]) -> None:
    ended = session.quietly(*words)
    assert "Traceback" not in ended.err
    assert ended.status in {0, 1}
