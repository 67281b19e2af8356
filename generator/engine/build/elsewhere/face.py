"""What goes into an engine and what comes out of it: whether a file has the face that a spec asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.engine.compile.base import Profile
from generator.engine.inspect.report import dtype_word
from generator.engine.inspect.shapes import inputs_of, shaped

if TYPE_CHECKING:
    import onnx

    from generator.engine.compile.tensorrt import TensorRTRunner

ANY = 1 << 62
_WORDS = {"FLOAT": "FP32", "HALF": "FP16"}
Shapes = Mapping[str, Sequence[int]]
Range = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Face:
    """The types of inputs and outputs by name (FP32, INT64); profile by profile the shapes that each input takes."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    profiles: Sequence[Mapping[str, Range]]

    def takes(self, shapes: Shapes) -> bool:
        """Whether one profile takes all of these inputs at once."""
        return any(
            all(_is_within(shape, profile[name]) for name, shape in shapes.items()) for profile in self.profiles
        )


def _is_within(shape: Sequence[int], range_: Range) -> bool:
    low, high = range_
    return len(shape) == len(low) and all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True))


def face_of_graph(model: onnx.ModelProto) -> Face:
    """Of an ONNX graph: an axis without a fixed length takes every length."""
    inputs = {value.name: shaped(value) for value in inputs_of(model.graph)}
    ranges: dict[str, Range] = {}
    for name, tensor in inputs.items():
        ends = [(dim, dim) if isinstance(dim, int) else (0, ANY) for dim in tensor.dims or ()]
        ranges[name] = ([low for low, _ in ends], [high for _, high in ends])
    return Face(
        {name: dtype_word(tensor.element_type) for name, tensor in inputs.items()},
        {value.name: dtype_word(shaped(value).element_type) for value in model.graph.output},
        [ranges],
    )


def face_of_plan(runner: TensorRTRunner) -> Face:
    """Of a TensorRT plan that was loaded."""
    types = {tensor.name: _WORDS.get(tensor.dtype, tensor.dtype) for tensor in runner.tensors}
    inputs = [tensor.name for tensor in runner.tensors if tensor.is_input]
    ranges = {name: runner.ranges(name) for name in inputs}
    return Face(
        {name: types[name] for name in inputs},
        {name: word for name, word in types.items() if name not in inputs},
        [{name: ranges[name][number] for name in inputs} for number in range(runner.profiles)],
    )


def unlike(wanted: Face, found: Face, profiles: Sequence[Profile], largest: int) -> list[str]:
    """What keeps an engine of the face `found` out of the place of the spec's graph, in sentences without a subject.

    `profiles` are the shapes that the spec asks for, `largest` the largest batch that is run.
    """
    said = [
        *_tensors("input", wanted.inputs, found.inputs), *_tensors("output", wanted.outputs, found.outputs),
    ]  # fmt: skip
    if said:
        return said
    refused = next((shapes for shapes in _asked(profiles, largest) if not found.takes(shapes)), None)
    if refused is None:
        return []
    shown = ", ".join(f"`{name}` {list(shape)}" for name, shape in refused.items())
    return [f"does not take {shown}, which the spec's batching and shapes ask for"]


def _tensors(what: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*wanted, *found}):
        if name not in found:
            yield f"has no {what} `{name}`, which the spec's graph has"
        elif name not in wanted:
            yield f"has the {what} `{name}`, which the spec's graph has not"
        elif wanted[name] != found[name]:
            yield f"has {found[name]} as {what} `{name}`, which is {wanted[name]} in the spec's graph"


def _asked(profiles: Sequence[Profile], largest: int) -> Iterator[Shapes]:
    """The least and the greatest shapes that are asked for, and every batch size with the usual other axes."""
    for profile in profiles:
        yield {name: range_.min for name, range_ in profile.items()}
        yield {name: range_.max for name, range_ in profile.items()}
        ends = [(range_.min[0], range_.max[0]) for range_ in profile.values() if range_.min]
        least, most = max((low for low, _ in ends), default=1), min((high for _, high in ends), default=0)
        for size in range(least, min(most, largest) + 1):
            yield {
                name: (size if range_.min and range_.min[0] != range_.max[0] else range_.opt[0], *range_.opt[1:])
                if range_.opt else ()
                for name, range_ in profile.items()
            }  # fmt: skip
