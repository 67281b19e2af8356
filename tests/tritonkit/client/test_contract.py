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
