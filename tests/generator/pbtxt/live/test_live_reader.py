"""The live server's verdict on many texts, and what it reads in them, against the reader's."""

from __future__ import annotations

import random
import re

import pytest
from pbtxt_texts import Maker, mutated
from spellings import NOT_UTF8, SPELLINGS, TEXTS
from tritonclient.utils import InferenceServerException

from generator.pbtxt import codes
from generator.pbtxt.reader import read
from generator.problems import errors

pytestmark = pytest.mark.server

UNPARSED = "failed to read text proto"
# Fields that this server does not know, and one that ends it when it is there and empty.
WITHOUT = frozenset({"model_metrics", "max_inflight_requests", "model_repository_agents"})
ENSEMBLE = """platform: "ensemble"
input { name: "a" data_type: TYPE_FP32 dims: 4 }
output { name: "b" data_type: TYPE_FP32 dims: 4 }
ensemble_scheduling { step { model_name: "step" model_version: -1
  input_map { key: "x" value: "a" } output_map { key: "y" value: "b" } } }
"""
STEP = """backend: "python"
input { name: "x" data_type: TYPE_FP32 dims: 4 }
output { name: "y" data_type: TYPE_FP32 dims: 4 }
instance_group { kind: KIND_CPU }
"""
WHERE = re.compile(r"Error parsing text-format inference\.ModelConfig: (\d+):\d+: ")


def parsed(server, text: str) -> tuple[bool, list[int]]:
    """Whether the server can read a text, and the lines of what it says about it. There is no model to be started."""
    folder = server.repository / "text"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_bytes(text.encode())
    with server.log_file.open("rb") as log:
        log.seek(0, 2)
        with pytest.raises(InferenceServerException):
            server.client.load_model("text", client_timeout=30)
        said = log.read().decode("utf-8", "replace")
    assert server.client.is_server_live()
    return UNPARSED not in said, [int(line) for line in WHERE.findall(said)]


def accepted(text: str) -> bool:
    return not errors(read(text, "").problems)


def test_texts_at_random(server) -> None:
    counts = {True: 0, False: 0}
    for seed in range(400):
        source = random.Random(seed)
        text = Maker(source, odd=0.05, wrong=0.05, without=WITHOUT).text()
        if seed % 3 == 0:
            text = mutated(text, source)
        found = read(text, "")
        # A text of other bytes than UTF-8 is refused on purpose; as a map's key it could end the server.
        if any(problem.code == codes.NOT_UTF8 for problem in found.problems):
            continue
        verdict, lines = parsed(server, text)
        assert verdict == (not errors(found.problems)), text
        if not verdict and "\r" not in text:
            first = min(problem.place.line for problem in errors(found.problems))
            assert first <= lines[0], text  # the server tells where it stops, which may be behind the mistake
        counts[verdict] += 1
    assert min(counts.values()) > 100, counts


def test_spellings(server) -> None:
    for text, (verdict, _) in SPELLINGS.items():
        assert parsed(server, text)[0] == verdict == accepted(text), text


def test_what_texts_and_numbers_say(server) -> None:
    assert server.load("step", STEP) == ""
    texts = [f"metric_tags {{ key: '{index}' value: {text} }}" for index, text in enumerate(TEXTS)]
    numbers = ["0x7fffffffffffffff", "- 0x8", "0777", "-01", "9" * 18]
    whole = f"{ENSEMBLE} {' '.join(texts)} version_policy {{ specific {{ versions: [1, {', '.join(numbers)}] }} }}"
    whole += " model_transaction_policy { decoupled: 00 } response_cache { enable: f } max_batch_size: 00"
    assert server.load("ensemble", whole) == ""
    served = server.client.get_model_config("ensemble").config
    ours = read(whole, "").message
    assert ours is not None
    assert dict(served.metric_tags) == dict(ours.metric_tags)
    assert set(TEXTS.values()) == set(served.metric_tags.values())
    assert list(served.version_policy.specific.versions) == list(ours.version_policy.specific.versions)
    assert served.input == ours.input


def test_what_other_numbers_say(server) -> None:
    pairs = [("1.", ".5"), ("1E+3", "1.5f"), ("0f", "99999999999999999999"), ("3.4028235677973366e38", "1e-50")]
    kinds = ["START", "END", "READY"]
    controls = ", ".join(
        f'{{ name: "c{kind}" control [ {{ kind: CONTROL_SEQUENCE_{kind} fp32_false_true: [{low}, {high}] }} ] }}'
        for kind, (low, high) in zip(kinds, pairs, strict=False)
    )
    text = f"{STEP} max_batch_size: 2 sequence_batching {{ control_input [ {controls} ] direct {{ minimum_slot_utilization: .25f }} }}"
    assert server.load("sequence", text) == ""
    served = server.client.get_model_config("sequence").config
    ours = read(text, "").message
    assert ours is not None
    for seen, made in zip(served.sequence_batching.control_input, ours.sequence_batching.control_input, strict=True):
        assert seen.control == made.control
    assert served.sequence_batching.direct == ours.sequence_batching.direct


def test_texts_of_other_bytes_are_cut_off(server) -> None:
    """Why the reader refuses what the server's parser takes."""
    assert server.load("step", STEP) == ""
    for text, rest in NOT_UTF8.items():
        assert server.load("lost", f"{ENSEMBLE} metric_tags {{ key: 'a' value: {text} }}") == "", text
        assert dict(server.client.get_model_config("lost").config.metric_tags) == {"a": rest}, text
