from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tritonkit_runtime.batch import Batch, Tensors
from tritonkit_runtime.parameters import Limits, ParameterError, StepSpec
from tritonkit_runtime.steps import Chain
from tritonkit_runtime.steps.tokenize import Tokenize

DATA = Path(__file__).parents[3] / "data"
NAME = "embeddings-tokenizer.json"
LIMITS = Limits(max_bytes=20_000)
BUCKETS = (16, 32, 64, 128, 256)
ODD = [
    "", " ", "\n\t ", "\x00", "a\x00b", "🙂", "👩‍👩‍👧‍👦 family", "مرحبا بالعالم", "שלום", "駅はどこですか", "e\u0301 é", "\ufeffmark",
    "\U0010ffff", "x" * 5000, "word " * 3000, "[CLS] [SEP] [PAD] [MASK] [UNK]", "\u202ereversed", "ﬁ ligature", "a" * 101,
]  # fmt: skip


def step(**changes: Any) -> Tokenize:
    arguments: dict[str, Any] = {
        "tokenizer": NAME, "max_tokens": 256, "buckets": BUCKETS, "limits": LIMITS, "folder": DATA,
    }  # fmt: skip
    return Tokenize(**{**arguments, **changes})


def run(texts: list[str] | list[bytes], tokenize: Tokenize) -> tuple[Tensors, Batch]:
    batch = Batch({}, (len(texts),))
    items = [text.encode() if isinstance(text, str) else text for text in texts]
    return tokenize(batch, np.array(items, dtype=object).reshape(-1, 1)), batch


TOKENIZE = step()


def alone(text: str, max_tokens: int = 256) -> list[int]:
    """The library itself, one text at a time."""
    tokenizer = Tokenizer.from_file(str(DATA / NAME))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    ids: list[int] = tokenizer.encode(text).ids
    return ids


def check_against_the_library(texts: list[str]) -> None:
    found, batch = run(texts, TOKENIZE)
    assert not batch.failed
    assert {array.dtype for array in found.values()} == {np.dtype(np.int32)}
    expected = [alone(text) for text in texts]
    bucket = min(length for length in BUCKETS if length >= max(map(len, expected)))
    assert found["input_ids"].shape == found["attention_mask"].shape == (len(texts), bucket)
    for ids, mask, wanted in zip(found["input_ids"], found["attention_mask"], expected, strict=True):
        assert ids.tolist() == wanted + [0] * (bucket - len(wanted))
        assert mask.tolist() == [1] * len(wanted) + [0] * (bucket - len(wanted))


@settings(max_examples=60)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=32))
def test_a_batch_has_the_numbers_that_the_library_gives_each_text_alone(texts: list[str]) -> None:
    check_against_the_library(texts)


def test_odd_texts_have_the_numbers_that_the_library_gives_each_alone() -> None:
    check_against_the_library(ODD)
    for text in ODD:
        check_against_the_library([text])


def test_a_full_batch_of_unlike_lengths() -> None:
    check_against_the_library(["word " * (n * n // 4) for n in range(32)])


@pytest.mark.parametrize(
    ("words", "bucket"), [(0, 16), (14, 16), (15, 32), (30, 32), (31, 64), (254, 256), (255, 256), (2000, 256)]
)
def test_the_bucket_is_the_least_that_holds_the_longest_text(words: int, bucket: int) -> None:
    found, _ = run(["short", "word " * words], TOKENIZE)
    assert found["input_ids"].shape == (2, bucket)
    assert found["attention_mask"].sum(axis=1).tolist() == [3, min(words + 2, 256)]


def test_each_request_has_the_bucket_of_its_own_longest_text() -> None:
    texts = ["short", "word " * 200, "word " * 20, "a", "", "word " * 40]
    batch = Batch({}, (1, 1, 3, 1))
    found = TOKENIZE(batch, np.array([[text.encode()] for text in texts], dtype=object))
    assert found["input_ids"].shape == (6, 256)
    parts = batch.split(found)
    assert [part["input_ids"].shape for part in parts] == [(1, 16), (1, 256), (3, 32), (1, 64)]
    start = 0
    for part, count in zip(parts, batch.counts, strict=True):
        by_itself, _ = run(texts[start : start + count], TOKENIZE)
        for name in ("input_ids", "attention_mask"):
            np.testing.assert_array_equal(part[name], by_itself[name])
            assert part[name].flags.c_contiguous
        start += count


def test_a_cut_text_keeps_its_last_special_token() -> None:
    found, _ = run(["word " * 100], step(max_tokens=8, buckets=[8]))
    assert found["input_ids"].shape == (1, 8)
    assert (found["input_ids"][0, 0], found["input_ids"][0, -1]) == (101, 102)


def test_bad_items_fail_alone() -> None:
    good = ["one", "three words here"]
    items = [good[0].encode(), b"abc\xff", good[1].encode(), b"x" * 20_001, b"\xed\xa0\x80", b"\xf0\x9f\x98"]
    found, batch = run(items, TOKENIZE)
    assert batch.failed == {
        1: "it is not UTF-8 text: byte 3 is 0xff",
        3: "20001 bytes, more than the limit of 20000",
        4: "it is not UTF-8 text: byte 0 is 0xed",
        5: "it is not UTF-8 text: byte 0 is 0xf0",
    }
    for row, text in ((0, good[0]), (2, good[1])):
        assert found["input_ids"][row, : len(alone(text))].tolist() == alone(text)
    assert run([b"x" * 20_000], TOKENIZE)[1].failed == {}


def test_what_has_failed_before_is_not_read() -> None:
    batch = Batch({}, (2,))
    batch.fail(0, "earlier")
    TOKENIZE(batch, np.array([[b"\xff"], [b"ok"]], dtype=object))
    assert batch.failed == {0: "earlier"}


def test_types_names_and_int64() -> None:
    found, _ = run(["a b"], step(dtype="int64", ids_output="ids", mask_output="mask", types_output="types"))
    assert list(found) == ["ids", "mask", "types"]
    assert {array.dtype for array in found.values()} == {np.dtype(np.int64)}
    assert not found["types"].any()


def test_the_padding_is_the_tokenizers_own(tmp_path: Path) -> None:
    document = json.loads((DATA / NAME).read_text())
    document["padding"]["pad_id"] = 7
    (tmp_path / "configured.json").write_text(json.dumps(document))
    document["padding"] = None
    (tmp_path / "by_name.json").write_text(json.dumps(document))
    for name, pad in (("configured.json", 7), ("by_name.json", 0)):
        found, _ = run(["a"], step(folder=tmp_path, tokenizer=name))
        assert found["input_ids"][0, 3:].tolist() == [pad] * 13


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_tokens": 0}, "max_tokens is 0, buckets is"),
        ({"max_tokens": True}, "max_tokens is True"),
        ({"buckets": []}, "they rise and end at 256"),
        ({"buckets": [16, 128]}, r"buckets is \[16, 128\]: they rise and end at 256 \(max_tokens\) or above"),
        ({"buckets": [64, 16, 256]}, "they rise"),
        ({"buckets": [16, 2.5]}, "whole numbers of at least 1"),
        ({"mask_output": "input_ids"}, "the outputs input_ids, input_ids must have different names"),
        ({"dtype": "fp32"}, "dtype is 'fp32'; valid are int32, int64"),
        ({"max_tokens": 1, "buckets": [1]}, "the tokenizer adds 2 special tokens to every text"),
        ({"tokenizer": "none.json"}, "none.json cannot be read: No such file or directory"),
        ({"tokenizer": "digits.labels"}, "digits.labels is not a tokenizer.json"),
    ],
)
def test_it_checks_its_parameters(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        step(**changes)


def test_in_a_chain_it_is_first_and_last() -> None:
    arguments = {"tokenizer": NAME, "max_tokens": 8, "buckets": [8]}
    chain = Chain([StepSpec("tokenize", arguments)], "bytes", LIMITS, DATA)
    assert chain.outputs == ("input_ids", "attention_mask")
    with pytest.raises(ParameterError, match=r"step 1 \(tokenize\) takes encoded bytes .* given an array"):
        Chain([StepSpec("tokenize", arguments)], "array", LIMITS, DATA)
    with pytest.raises(ParameterError, match=r"step 2 \(softmax\) takes an array, but it is given several tensors"):
        Chain([StepSpec("tokenize", arguments), StepSpec("softmax", {})], "bytes", LIMITS, DATA)
    for ours in ("limits", "folder"):
        with pytest.raises(ParameterError, match=f"has no parameter '{ours}'"):
            Chain([StepSpec("tokenize", {**arguments, ours: None})], "bytes", LIMITS, DATA)


def test_strings_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"takes one string per item, found object \[1, 2\]"):
        TOKENIZE(Batch({}, (1,)), np.array([[b"a", b"b"]], dtype=object))


def test_without_the_package_the_sentence_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    arguments = {"tokenizer": NAME, "max_tokens": 8, "buckets": [8]}
    with pytest.raises(ParameterError) as raised:
        Chain([StepSpec("tokenize", arguments)], "bytes", LIMITS, DATA)
    assert str(raised.value) == (
        "step 1 (tokenize): it needs the package tokenizers, which the server's Python lacks: "
        "run `pip install tokenizers` there"
    )


@pytest.mark.parametrize(("before", "after"), [(None, "false"), ("true", "true")])
def test_one_thread_unless_somebody_has_chosen(before: str | None, after: str) -> None:
    program = (
        "import os, pathlib\n"
        "from tritonkit_runtime.parameters import Limits\n"
        "from tritonkit_runtime.steps.tokenize import Tokenize\n"
        f"Tokenize(tokenizer={NAME!r}, max_tokens=8, buckets=[8], limits=Limits(), folder=pathlib.Path({str(DATA)!r}))\n"
        "print(os.environ['TOKENIZERS_PARALLELISM'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    if before is not None:
        environment["TOKENIZERS_PARALLELISM"] = before
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{after}\n"
