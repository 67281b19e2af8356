"""Whether an engine from elsewhere takes what the spec asks for: names, types, and every shape of every batch."""

from __future__ import annotations

import pytest
from engine_projects import of_any_length

from generator.engine.build.elsewhere.face import ANY, Face, Range, face_of_graph, unlike
from generator.engine.compile.base import ShapeRange

IDS = {"ids": ShapeRange((1, 4), (8, 16), (32, 64))}


def face(*profiles: Range, dtype: str = "INT64", output: str = "FP32") -> Face:
    return Face({"ids": dtype}, {"scores": output}, [{"ids": one} for one in profiles])


WANTED = face(((0, 0), (ANY, ANY)))


@pytest.mark.parametrize(
    "profiles",
    [
        [((1, 4), (32, 64))],
        [((1, 1), (64, 512))],
        [((1, 4), (8, 64)), ((1, 1), (32, 64))],
        [((1, 4), (16, 64)), ((17, 4), (32, 64))],
    ],
)
def test_profiles_that_take_it_all(profiles: list[Range]) -> None:
    assert unlike(WANTED, face(*profiles), [IDS], 32) == []


@pytest.mark.parametrize(
    ("profiles", "refused"),
    [
        ([((1, 4), (16, 64))], "[32, 64]"),
        ([((2, 4), (32, 64))], "[1, 4]"),
        ([((1, 4), (32, 63))], "[32, 64]"),
        ([((1, 4), (8, 64)), ((10, 4), (32, 64))], "[9, 16]"),
        ([((1, 4, 1), (32, 64, 1))], "[1, 4]"),
    ],
)
def test_what_no_profile_takes(profiles: list[Range], refused: str) -> None:
    [said] = unlike(WANTED, face(*profiles), [IDS], 32)
    assert said == f"does not take `ids` {refused}, which the spec's batching and shapes ask for"


def test_names_and_types() -> None:
    other = Face({"ids": "INT32", "mask": "INT64"}, {}, [])
    assert unlike(WANTED, other, [IDS], 32) == [
        "has INT32 as input `ids`, which is INT64 in the spec's graph",
        "has the input `mask`, which the spec's graph has not",
        "has no output `scores`, which the spec's graph has",
    ]


def test_one_profile_has_to_take_all_inputs_at_once() -> None:
    both = {"a": ShapeRange((1, 2), (2, 2), (4, 2)), "b": ShapeRange((1,), (2,), (4,))}
    types = {"a": "FP32", "b": "FP32"}
    crossed = [{"a": ((1, 2), (4, 2)), "b": ((1,), (3,))}, {"a": ((1, 2), (3, 2)), "b": ((1,), (4,))}]
    whole = [{"a": ((1, 2), (4, 2)), "b": ((1,), (4,))}]
    wanted = Face(types, {}, [])
    assert unlike(wanted, Face(types, {}, whole), [both], 4) == []
    assert unlike(wanted, Face(types, {}, crossed), [both], 4) == [
        "does not take `a` [4, 2], `b` [4], which the spec's batching and shapes ask for"
    ]


def test_an_engine_without_a_batch_axis() -> None:
    fixed = {"ids": ShapeRange((3, 4), (3, 4), (3, 4))}
    assert unlike(WANTED, face(((3, 4), (3, 4))), [fixed], 0) == []
    assert unlike(WANTED, face(((1, 4), (2, 4))), [fixed], 0)
    scalar = {"ids": ShapeRange((), (), ())}
    assert unlike(WANTED, face(((), ())), [scalar], 0) == []


def test_of_a_graph_free_axes_take_every_length() -> None:
    import onnx

    found = face_of_graph(onnx.load_from_string(of_any_length()))
    assert (found.inputs, found.outputs) == ({"values": "FP32"}, {"mean": "FP32"})
    assert found.takes({"values": (7, 9000, 4)})
    assert not found.takes({"values": (7, 9000, 5)})
