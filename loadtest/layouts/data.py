"""What the layouts are asked: items of the spec's own data, or made ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.gate_set import encode, read_gate_set
from generator.plan import Plan, Tensor
from generator.problems import UserError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_ITEMS, MADE_ITEMS = 256, 16
HEIGHT, WIDTH, GRAIN = 375, 500, 25  # of a made image, in pixels; so many make one square of a colour
FREE_AXIS = 16  # what an axis of any length gets in a made tensor


@dataclass(frozen=True)
class Data:
    """`items` are input → value, as a client sends it; `source` says in words what they are."""

    source: str
    items: tuple[Mapping[str, Any], ...]


def data_of(plan: Plan, root: Path, seed: int) -> Data:
    """Up to MOST_ITEMS of the gate set that the spec names, evenly; without one, seeded random items.

    Raises UserError when the gate set cannot be read.
    """
    if plan.accuracy_data is None:
        items = made_items(plan.inputs, seed)
        what = f"images of {WIDTH} x {HEIGHT}" if any(t.encoded for t in plan.inputs) else "items"
        return Data(f"{len(items)} random {what}, seed {seed} (the spec names no data)", items)
    gate = read_gate_set(root / plan.accuracy_data, plan.inputs, labelled=False)
    if not gate.items:
        raise UserError(f"the gate set {plan.accuracy_data} has no items")
    count = min(MOST_ITEMS, len(gate.items))
    items = tuple(gate.items[index * len(gate.items) // count] for index in range(count))
    return Data(f"{count} items of {plan.accuracy_data}", items)


def made_items(inputs: Sequence[Tensor], seed: int) -> tuple[Mapping[str, Any], ...]:
    """MADE_ITEMS items: images of random squares as JPEG, text of random words, whole numbers, floats of N(0, 1)."""
    import numpy as np

    random = np.random.default_rng(seed)
    return tuple({tensor.name: _made(tensor, random) for tensor in inputs} for _ in range(MADE_ITEMS))


def _made(tensor: Tensor, random: np.random.Generator) -> Any:
    import numpy as np

    if tensor.encoded:
        squares = random.integers(0, 256, (HEIGHT // GRAIN, WIDTH // GRAIN, 3), np.uint8)
        return encode(squares.repeat(GRAIN, 0).repeat(GRAIN, 1), "jpeg")
    if tensor.dtype == "STRING":
        words = ("a", "the", "river", "green", "runs", "seven", "under", "light")
        return " ".join(random.choice(words, int(random.integers(3, 40)))).encode()
    shape = tuple(FREE_AXIS if length < 0 else length for length in tensor.dims)
    if tensor.dtype.startswith(("FP", "BF")):
        return random.standard_normal(shape).astype(
            {"FP64": np.float64, "FP16": np.float16}.get(tensor.dtype, np.float32)
        )
    if tensor.dtype == "BOOL":
        return random.random(shape) < 0.5
    # Wider whole numbers are indices of something, as a rule, and small ones are valid.
    most = 256 if tensor.dtype == "UINT8" else 2
    return random.integers(0, most, shape).astype(tensor.dtype.lower())


def requests_of(items: int, batch: int) -> list[tuple[int, ...]]:
    """Which items each request has: every item in equally many of them, and `batch` a request."""
    return [tuple((first + place) % items for place in range(batch)) for first in range(items)]


def tensors_of(plan: Plan, items: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, Array]]:
    """A request's tensors: name → Triton's data type and the array, with the batch axis where there is one."""
    import numpy as np

    found: dict[str, tuple[str, Array]] = {}
    for tensor in plan.inputs:
        values = [item[tensor.name] for item in items]
        text = tensor.dtype == "STRING"
        column: Array = np.array([[value] for value in values], np.object_) if text else np.stack(values)
        found[tensor.name] = ("BYTES" if text else tensor.dtype, column if plan.max_batch_size > 0 else column[0])
    return found
