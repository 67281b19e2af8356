"""Every field of ModelConfig can be set by some spec, and the text says it."""

from __future__ import annotations

import pytest

from generator.config import model_configs
from generator.config.build import ensemble_config, model_config
from generator.config.descriptors import is_map, map_fields
from generator.config.owners import ENSEMBLE_OWNERS, MODEL_OWNERS
from generator.config.values import scalar
from generator.problems import ProblemsError
from generator.spec.models import EngineModel, Model
from generator.spec.pipeline import Spec
from protobuf_text import parse

# What the friendly names always set, so that `config` cannot: leaf -> what the digits pipeline sets it to
# (its engine on production; its ensemble for the steps).
FRIENDLY = {
    "name": ["digits_engine"],
    "max_batch_size": [32],
    "input.name": ["pixels"],
    "input.data_type": [11],
    "input.dims": [[1, 8, 8]],
    "output.name": ["logits"],
    "output.data_type": [11],
    "output.dims": [[10]],
    "ensemble_scheduling.step.model_name": ["digits_preprocess", "digits_engine", "digits_postprocess"],
    "ensemble_scheduling.step.model_version": [-1, -1, -1],
    "ensemble_scheduling.step.input_map": ["image", "pixels", "logits"],
    "ensemble_scheduling.step.output_map": ["pixels", "logits", "label", "score"],
}


def build(make, leaf, config):
    """The config of a copied model, which sets little itself; of an ensemble for its own fields."""
    if leaf.path.startswith("ensemble_scheduling"):
        whole = make.ensemble(config=config)
        plan = make.pipeline(make.model(), ensemble=whole)
        return ensemble_config(plan, whole), model_configs(plan)[whole.name]
    model = make.files_model(config={"backend": "probe"} | config)
    plan = make.pipeline(model)
    return model_config(plan, model), model_configs(plan)[model.name]


def test_every_field_can_be_set(make, leaf):
    if leaf.path in FRIENDLY:
        configs = model_configs(make.digits(make.PRODUCTION))
        message = configs["digits" if leaf.path.startswith("ensemble") else "digits_engine"][0]
        assert leaf.values(message) == FRIENDLY[leaf.path]
        return
    config = leaf.words()
    message, (again, text) = build(make, leaf, config)
    assert message == again
    assert parse(text) == message
    assert leaf.values(parse(text)) == [in_message(leaf, make.sample)]


def in_message(leaf, sample):
    """The sample's value as a message holds it."""
    last = leaf.fields[-1]
    if is_map(last):
        last = map_fields(last)[1]
    if last.message_type is not None:
        return last.message_type._concrete_class()  # a message without fields
    value = sample(last)
    return [scalar(last, item) for item in value] if last.is_repeated else scalar(last, value)


def test_the_table_of_friendly_fields_is_not_stale(make):
    known = {leaf.path: leaf for leaf in make.leaves()}
    assert set(FRIENDLY) <= set(known)
    for path in FRIENDLY:
        leaf = known[path]
        if path.endswith("_map"):
            continue  # a map can get entries, which cannot change: test_extra
        with pytest.raises(ProblemsError):
            build(make, leaf, leaf.words(99) if path.endswith(("size", "version")) else leaf.words())


def test_owners_name_real_fields_of_both_sides(make):
    triton = {".".join(leaf.path.split(".")[:n]) for leaf in make.leaves() for n in range(1, 9)}
    for owners in (MODEL_OWNERS, ENSEMBLE_OWNERS):
        for field, friendly in owners.items():
            assert field in triton, field
            assert any(_has(top, friendly.split(".")) for top in (Model, EngineModel, Spec)), friendly


def _has(kind, names):
    """Whether a pydantic model has this path of fields."""
    if not names:
        return True
    field = getattr(kind, "model_fields", {}).get(names[0])
    if field is None:
        return False
    kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return len(names) == 1 or any(_has(inner, names[1:]) for inner in kinds)
