"""What lint says that the server adds is what the server shows of a loaded model, with completion and without."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from corpus_cases import IDENTITY
from google.protobuf import text_format
from live_verdicts import live_server

from generator.lint.files import DiskFolder
from generator.lint.model import Model, Repository
from generator.lint.server import EMBEDDED

pytestmark = pytest.mark.server
X, Y = (
    f'{where} [ {{ name: "{name}" data_type: TYPE_FP32 dims: [ 4 ] }} ]\n'
    for where, name in (("input", "x"), ("output", "y"))
)
IO = X + Y
AT_ONCE = 4  # models that are loaded
DECOUPLED = "model_transaction_policy { decoupled: true }\n"


def step(name: str, first: str = "x", last: str = "y") -> str:
    maps = f'input_map {{ key: "x" value: "{first}" }} output_map {{ key: "y" value: "{last}" }}'
    return f'step {{ model_name: "{name}" model_version: -1 {maps} }}'


def ensemble(*steps: str, more: str = "") -> str:
    return f'platform: "ensemble"\n{more}{IO}ensemble_scheduling {{ {" ".join(steps)} }}\n'


# In the order in which they are loaded; ensembles come after their members.
CONFIGS = {
    "nothing": "",
    "io_alone": IO,
    "backend_alone": 'backend: "python"\n',
    "another_platform": f'backend: "python"\nplatform: "onnxruntime_onnx"\n{IO}',
    "batched": f"max_batch_size: 8\n{IO}dynamic_batching {{ }}\n",
    "not_batched": f"{IO}dynamic_batching {{ }}\n",
    "preferred": f"max_batch_size: 8\n{IO}dynamic_batching {{ preferred_batch_size: [ 4 ] }}\n",
    "sequences": f"max_batch_size: 8\n{IO}sequence_batching {{ }}\n",
    "oldest": f"max_batch_size: 8\n{IO}sequence_batching {{ oldest {{ max_candidate_sequences: 4 }} }}\n",
    "idle": f"{IO}sequence_batching {{ max_sequence_idle_microseconds: 5 }}\n",
    "all_versions": f"{IO}version_policy {{ all {{ }} }}\n",
    "pinned": f"{IO}optimization {{ input_pinned_memory {{ enable: false }} }}\n",
    "groups": f'{IO}instance_group [ {{ count: 2 }}, {{ kind: KIND_CPU name: "z" }}, {{ kind: KIND_MODEL }} ]\n',
    "negative_count": f"{IO}instance_group [ {{ count: -3 }} ]\n",
    "filled": f'{IO}parameters {{ key: "a" value {{ string_value: "b" }} }}\nmetric_tags {{ key: "a" value: "b" }}\n',
    "member": IO,
    "decoupled": DECOUPLED + IO,
    "flow": ensemble(step("member")),
    "flow_decoupled": ensemble(step("decoupled")),
    "flow_above": ensemble(step("flow_decoupled")),
    "flow_mixed": ensemble(step("decoupled", "x", "z"), step("member", "z", "y")),
    "flow_overwritten": ensemble(step("member"), more=DECOUPLED),
}


def written(root: Path) -> Path:
    for name, text in CONFIGS.items():
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(text)
        if "ensemble" not in text:
            (root / name / "1" / "model.py").write_text(IDENTITY)
    return root


@pytest.mark.parametrize("auto_complete", [False, True], ids=["written", "completed"])
def test_the_server_shows_the_same(auto_complete: bool) -> None:
    wrong = []
    with live_server(auto_complete=auto_complete) as server:
        root = written(server._root / "plain")
        repository = Repository(replace(EMBEDDED, auto_complete=auto_complete))
        for name in CONFIGS:
            repository.add(Model(DiskFolder(root / name), repository))
        flows = [name for name, text in CONFIGS.items() if "ensemble" in text]
        with ThreadPoolExecutor(AT_ONCE) as pool:  # mostly the server waits until a process of Python's has ended
            deque(pool.map(server._control.load, [name for name in CONFIGS if name not in flows]), maxlen=0)
        for name in flows:
            server._control.load(name)
        for name, model in repository.models.items():
            shown = server._control.config(name)
            assert not model.is_open
            if model.completed != shown:
                expected, found = (text_format.MessageToString(each) for each in (model.completed, shown))
                wrong.append(f"{name}\n--- lint\n{expected}--- server\n{found}")
    assert not wrong, "\n".join(wrong)
