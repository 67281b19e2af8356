"""An engine over texts: tensors with an open axis in and out, computed by the fake device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from fake_device import FakeDevice
from fake_engine import FakeEngine, FakeSession, array

from tritonkit_runtime.buffered.shapes import Fixed, Size

IDS, MASK = Fixed("ids", "INT32", (-1,)), Fixed("mask", "INT32", (-1,))
TOKENS, MEAN, WIDTH = Fixed("tokens", "FP32", (2, -1)), Fixed("mean", "FP32", (1,)), Fixed("width", "INT64", (1,))


class Words(FakeEngine):
    """ids and mask [items, length] -> each id doubled and its square, the mean of the ids of the mask, the length."""

    def __init__(self, device: FakeDevice, *, recordable: bool = True, batched: bool = True) -> None:
        super().__init__(device, recordable=recordable, batched=batched)
        self.inputs, self.outputs = (IDS, MASK), (TOKENS, MEAN, WIDTH)
        self.sizes: list[Size] = []

    def session(self, stream: int) -> WordsSession:
        self.sessions += 1
        return WordsSession(self)


class WordsSession(FakeSession):
    def __init__(self, engine: Words) -> None:
        super().__init__(engine)
        self._words = engine

    def warm(self, size: Size, addresses: Mapping[str, int], stream: int) -> None:
        self._words.sizes.append(size)
        super().warm(size, addresses, stream)

    def _compute(self, size: Size) -> None:
        of, batched = self._addresses, self._words.batched
        ids, mask, tokens, mean, width = (
            array(of[t.name], t, size, batched) for t in (IDS, MASK, TOKENS, MEAN, WIDTH)
        )  # fmt: skip
        assert not ids[mask == 0].any(), "the padding of every row, and every row of padding, is zeros"
        tokens[...] = np.stack([2 * ids, ids * ids], axis=-2)
        mean[...] = (ids.sum(-1, keepdims=True)) / np.maximum(1, mask.sum(-1, keepdims=True))
        width[...] = size.length
