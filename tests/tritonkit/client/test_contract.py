"""Contracts from a Plan and from configurations, and their differences."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from generator.plan import EnsemblePlan, ModelPlan, Places, Plan, StepsProgram, TargetPlan, Tensor
from generator.spec.pipeline import Limits
from tritonkit import Contract, ContractError, TensorContract

IMAGE = TensorContract("image", "STRING", (1,))
LABEL = TensorContract("label", "STRING", (3,))
SCORE = TensorContract("score", "FP32", (3,))
DIGITS = Contract("digits", (IMAGE,), (LABEL, SCORE), 32)


@pytest.mark.parametrize("number", [int, str])  # gRPC's JSON writes 64-bit integers as text
def test_of_config(number: Any) -> None:
    config = {
        "name": "digits",
        "max_batch_size": 32,
        "input": [{"name": "image", "data_type": "TYPE_STRING", "dims": [number(1)]}],
        "output": [
            {"name": "label", "data_type": "TYPE_STRING", "dims": [number(3)]},
            {"name": "score", "data_type": "TYPE_FP32", "dims": [number(3)]},
        ],
    }
    assert Contract.of_config(config) == DIGITS


def test_of_config_without_batch_axis_and_with_an_optional_input() -> None:
    entry = {"name": "x", "data_type": "TYPE_FP16", "dims": [-1, 2], "optional": True}
    contract = Contract.of_config({"name": "m", "input": [entry]})
    assert contract == Contract("m", (TensorContract("x", "FP16", (-1, 2), optional=True),), (), 0)
    assert contract.required_inputs == ()


@pytest.mark.parametrize("with_ensemble", [True, False])
def test_of_plan_is_of_the_model_that_clients_call(with_ensemble: bool) -> None:
    tensors = (Tensor("image", "STRING", (1,)),)
    outputs = (Tensor("label", "STRING", (3,)), Tensor("score", "FP32", (3,)))
    name = "digits_preprocess" if with_ensemble else "digits"
    model = ModelPlan(name, "m", "python", StepsProgram(()), tensors, outputs, 32, None, ())
    plan = Plan(
        name="digits",
        target=TargetPlan("embedded", "24.10", None, frozenset({"python"})),
        spec_file="specs/digits.yaml",
        objective=None,
        limits=Limits(),
        models=(model,),
        ensemble=EnsemblePlan("digits", tensors, outputs, 32, ()) if with_ensemble else None,
        accuracy_data=None,
        accuracy_floor=None,
        places=Places("specs/digits.yaml"),
    )
    assert Contract.of_plan(plan) == DIGITS


@pytest.mark.parametrize(
    ("server", "sentences"),
    [
        (DIGITS, []),
        (dataclasses.replace(DIGITS, max_batch_size=8), []),
        (dataclasses.replace(DIGITS, outputs=(SCORE, LABEL, TensorContract("more", "FP32", (1,)))), []),
        (dataclasses.replace(DIGITS, inputs=(IMAGE, TensorContract("hint", "FP32", (1,), optional=True))), []),
        (
            dataclasses.replace(DIGITS, max_batch_size=0),
            ["max_batch_size is 32 here and 0 on the server: only one of them has a batch axis"],
        ),
        (
            dataclasses.replace(
                DIGITS,
                name="digit",
                inputs=(TensorContract("picture", "UINT8", (-1,)),),
                outputs=(TensorContract("score", "FP16", (3,)),),
            ),
            [
                "the contract is of 'digits', not of 'digit'",
                "the server has no input 'image'; its inputs: 'picture'",
                "the server also wants input 'picture' (UINT8 [-1])",
                "the server has no output 'label'; its outputs: 'score'",
                "output 'score' is FP32 [3] here and FP16 [3] on the server",
            ],
        ),
    ],
)
def test_differences(server: Contract, sentences: list[str]) -> None:
    assert DIGITS.differences(server) == sentences


def test_check_against_names_all_differences_in_one_error() -> None:
    server = dataclasses.replace(DIGITS, outputs=(), inputs=(TensorContract("image", "UINT8", (8,)),))
    with pytest.raises(ContractError) as caught:
        DIGITS.check_against(server, "localhost:8001")
    assert len(caught.value.differences) == 3
    assert all(sentence in str(caught.value) for sentence in caught.value.differences)
    assert str(caught.value).startswith("the server at localhost:8001 serves another 'digits' than expected: ")


def metadata(*tensors: tuple[str, str, list[Any]]) -> dict[str, Any]:
    """What a server says of a model to everybody, the last tensor its output."""
    told = [{"name": name, "datatype": dtype, "shape": shape} for name, dtype, shape in tensors]
    return {"name": "digits", "versions": ["1"], "platform": "python", "inputs": told[:-1], "outputs": told[-1:]}


@pytest.mark.parametrize("as_text", [False, True], ids=["HTTP", "gRPC"])
def test_metadata_tell_a_contract_too(as_text: bool) -> None:
    def shape(*axes: int) -> list[Any]:
        return [str(axis) for axis in axes] if as_text else list(axes)

    batched = Contract.of_metadata(metadata(("image", "BYTES", shape(-1, 1)), ("score", "FP32", shape(-1, 3))))
    inputs, outputs = (TensorContract("image", "STRING", (1,)),), (TensorContract("score", "FP32", (3,)),)
    assert batched == Contract("digits", inputs, outputs, 1)
    assert batched.differences(Contract("digits", inputs, outputs, 32)) == []
    alone = Contract.of_metadata(metadata(("image", "UINT8", shape(-1, 3)), ("score", "FP32", shape(3))))
    assert alone.max_batch_size == 0
    assert [tensor.dims for tensor in (*alone.inputs, *alone.outputs)] == [(-1, 3), (3,)]
