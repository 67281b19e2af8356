"""tokenize: texts to the numbers that a language model takes."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tritonkit_runtime.batch import Array, Batch, Tensors
from tritonkit_runtime.parameters import Limits
from tritonkit_runtime.steps.base import Kind, one_of, shape_of

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

DTYPES: dict[str, np.dtype[Any]] = {"int32": np.dtype(np.int32), "int64": np.dtype(np.int64)}
_PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>")


class Tokenize:
    """STRING [N, 1] (UTF-8) to `ids_output`, `mask_output` and perhaps `types_output`, [N, bucket] each.

    A text is cut to `max_tokens`, its special tokens among them. Each request is padded on the right to the smallest
    bucket that holds its longest text, so that the server puts it into a batch with its like, and a long text makes
    no other one long. The mask is 1 for a text's own tokens. An item that is over `limits` or not UTF-8 fails alone.
    An empty text is one: what is left are the special tokens.
    """

    takes: ClassVar[tuple[Kind, ...]] = ("bytes",)
    gives: ClassVar[Kind] = "tensors"

    def __init__(
        self, *, tokenizer: str, max_tokens: int, buckets: Sequence[int], limits: Limits, folder: Path,
        dtype: str = "int32", ids_output: str = "input_ids", mask_output: str = "attention_mask",
        types_output: str | None = None,
    ) -> None:  # fmt: skip
        """`tokenizer`: the name of a tokenizer.json in `folder`; ValueError when anything does not suit."""
        lengths = [max_tokens, *buckets]
        if any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in lengths):
            raise ValueError(f"max_tokens is {max_tokens!r}, buckets is {buckets!r}: whole numbers of at least 1")
        if not buckets or list(buckets) != sorted(set(buckets)) or buckets[-1] < max_tokens:
            raise ValueError(f"buckets is {list(buckets)}: they rise and end at {max_tokens} (max_tokens) or above")
        given = (ids_output, mask_output, types_output)
        self.outputs = tuple(name for name in given if name is not None)
        if len(set(self.outputs)) < len(self.outputs):
            raise ValueError(f"the outputs {', '.join(self.outputs)} must have different names")
        self.dtype = DTYPES[one_of("dtype", dtype, DTYPES)]
        self.buckets = tuple(buckets)
        self.limits = limits
        self.tokenizer, self.pad = _load(folder / tokenizer, max_tokens)

    def __call__(self, batch: Batch, value: Array) -> Tensors:
        """The tensors of the whole batch, as wide as its widest request; ValueError unless one string per item."""
        if value.dtype != object or value.size != len(value):
            raise ValueError(f"takes one string per item, found {value.dtype} {shape_of(value)}")
        texts = [self._text(batch, index, data) for index, data in enumerate(value.reshape(-1))]
        encodings = self.tokenizer.encode_batch(texts)
        lengths = iter([len(encoding.ids) for encoding in encodings])
        widths = tuple(self._bucket(list(itertools.islice(lengths, count))) for count in batch.counts)
        batch.lengths.update(dict.fromkeys(self.outputs, widths))
        return dict(zip(self.outputs, self._padded(encodings, max(widths)), strict=False))

    def _bucket(self, lengths: Sequence[int]) -> int:
        return self.buckets[bisect.bisect_left(self.buckets, max(lengths, default=0))]

    def _text(self, batch: Batch, index: int, data: bytes) -> str:
        """The item as text, empty for one that has failed."""
        if index in batch.failed:
            return ""
        if len(data) > self.limits.max_bytes:
            batch.fail(index, f"{len(data)} bytes, more than the limit of {self.limits.max_bytes}")
            return ""
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            batch.fail(index, f"it is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}")
            return ""

    def _padded(self, encodings: Sequence[Encoding], bucket: int) -> tuple[Array, Array, Array]:
        ids = np.full((len(encodings), bucket), self.pad, self.dtype)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            count = len(encoding.ids)
            ids[row, :count] = encoding.ids
            mask[row, :count] = 1
            if len(self.outputs) > 2:
                types[row, :count] = encoding.type_ids
        return ids, mask, types


def _load(path: Path, max_tokens: int) -> tuple[Tokenizer, int]:
    """The tokenizer, cutting and not padding, and the number that it pads with; ValueError."""
    # One process has one thread here: instances of the model share the cores, and so does the engine beside them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ValueError(
            "it needs the package tokenizers, which the server's Python lacks: run `pip install tokenizers` there"
        ) from error
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # The library raises Exception itself, whatever is wrong with a file.
        raise ValueError(f"{path} is not a tokenizer.json: {error}") from error
    configured: dict[str, Any] = tokenizer.padding or {}
    known = (tokenizer.token_to_id(token) for token in _PAD_TOKENS)
    pad = configured.get("pad_id", next((number for number in known if number is not None), 0))
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    if max_tokens < special:
        raise ValueError(f"max_tokens is {max_tokens}; the tokenizer adds {special} special tokens to every text")
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer, int(pad)
