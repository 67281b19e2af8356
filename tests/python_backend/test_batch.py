from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonkit_runtime import batch as batches
from tritonkit_runtime.batch import Batch, Joined

COUNTS = st.lists(st.integers(0, 5), min_size=1, max_size=6)


def requests(counts: list[int]) -> list[dict[str, np.ndarray]]:
    """Requests whose values tell where they come from."""
    return [
        {
            "x": np.arange(count * 2, dtype=np.float32).reshape(count, 2) + 100 * index,
            "text": np.array([[f"{index}/{item}".encode()] for item in range(count)], object).reshape(count, 1),
        }
        for index, count in enumerate(counts)
    ]


@given(COUNTS)
def test_splitting_gives_back_what_was_concatenated(counts: list[int]) -> None:
    given_requests = requests(counts)
    batch = batches.concatenate(given_requests)
    assert batch.size == sum(counts)
    assert all(len(array) == batch.size for array in batch.tensors.values())
    parts = batch.split(batch.tensors)
    assert len(parts) == len(counts)
    for part, original in zip(parts, given_requests, strict=True):
        for name in ("x", "text"):
            np.testing.assert_array_equal(part[name], original[name])
            assert np.shares_memory(part[name], batch.tensors[name]) or not part[name].size


@given(COUNTS, st.data())
def test_bad_items_fail_their_own_requests_by_their_own_index(counts: list[int], data: st.DataObject) -> None:
    batch = batches.concatenate(requests(counts))
    every = [(request, item) for request, count in enumerate(counts) for item in range(count)]
    bad = data.draw(st.sets(st.sampled_from(every)) if every else st.just(set()))
    for index, place in enumerate(every):
        if place in bad:
            batch.fail(index, f"from {place}")
    errors = batch.errors()
    assert set(errors) == {request for request, _ in bad}
    for request, message in errors.items():
        mine = sorted(item for owner, item in bad if owner == request)
        which = [f"item {item}: " if counts[request] > 1 else "" for item in mine]
        expected = "; ".join(f"{which[i]}from {(request, item)}" for i, item in enumerate(mine[:3]))
        more = f"; also bad: items {', '.join(map(str, mine[3:]))}" if len(mine) > 3 else ""
        assert message == expected + more


def test_one_request_is_not_copied() -> None:
    (only,) = requests([3])
    batch = batches.concatenate([only])
    assert batch.tensors["x"] is only["x"]
    assert batch.split({"y": only["x"]})[0]["y"] is only["x"]


def test_several_requests_are_copied_once_and_only_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given_requests = requests([2, 1, 3])
    calls = []
    concatenate = np.concatenate
    monkeypatch.setattr(np, "concatenate", lambda arrays: calls.append(len(arrays)) or concatenate(arrays))
    tensors = batches.concatenate(given_requests).tensors
    assert isinstance(tensors, Joined)
    assert ("x" in tensors, "y" in tensors, len(tensors), list(tensors)) == (True, False, 2, ["x", "text"])
    other = tensors.renamed({"pixels": "x"})
    assert [part is request["x"] for part, request in zip(other.parts("pixels"), given_requests, strict=True)] == [
        True
    ] * 3
    assert not calls
    assert other["pixels"] is tensors["x"]
    assert other["pixels"].shape == (6, 2)
    assert calls == [3]
    assert ("x" in other, dict(other).keys()) == (False, {"pixels"})
    with pytest.raises(KeyError):
        other["text"]


def test_a_request_of_a_model_without_batch_axis_is_one_item() -> None:
    batch = batches.single({"x": np.zeros((7, 2)), "n": np.zeros(3)})
    assert (batch.size, batch.batched) == (1, False)
    assert batch.split({"y": np.ones(5)})[0]["y"].shape == (5,)
    batch.fail(0, "bad")
    assert batch.errors() == {0: "bad"}


def test_the_first_message_of_an_item_counts() -> None:
    batch = Batch({}, (2,))
    batch.fail(1, "first")
    batch.fail(np.int64(1), "second")
    assert batch.failed == {1: "first"}


@pytest.mark.parametrize("index", [-1, 2])
def test_an_item_outside_the_batch_cannot_fail(index: int) -> None:
    with pytest.raises(IndexError, match=f"item {index} was marked as bad, but the batch has items 0 to 1"):
        Batch({}, (2,)).fail(index, "bad")


def test_tensors_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in their number of items: a has 2, b has 3"):
        batches.concatenate([{"a": np.zeros(2), "b": np.zeros(3)}])


def test_a_bad_item_always_has_a_reason() -> None:
    whole = batches.concatenate([{"x": np.zeros((1, 1))}])
    whole.fail(0, "")
    assert whole.errors() == {0: "the item is bad; no reason was given"}


def test_a_padded_output_is_cut_to_what_each_request_needs() -> None:
    batch = Batch({}, (1, 2, 1), lengths={"tokens": (2, 4, 3)})
    tokens, other = np.arange(16).reshape(4, 4), np.arange(4)
    parts = batch.split({"tokens": tokens, "other": other})
    assert [part["tokens"].tolist() for part in parts] == [[[0, 1]], [[4, 5, 6, 7], [8, 9, 10, 11]], [[12, 13, 14]]]
    assert [part["other"].tolist() for part in parts] == [[0], [1, 2], [3]]
    assert all(part["tokens"].flags.c_contiguous for part in parts)
