"""Text and message say the same, whatever is in them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig

from generator.config import model_configs, parse, render
from generator.config.descriptors import is_map, map_fields
from generator.config.extra import Merger
from generator.config.text import RenderMismatchError

Slow = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_INTS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}


def scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values of a scalar as `config:` has them."""
    if field.enum_type is not None:
        return st.sampled_from([value.name for value in field.enum_type.values])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.text(max_size=12)
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return st.floats(width=32)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return st.floats()
    return _INTS[field.cpp_type]


@st.composite
def words(draw: st.DrawFn, descriptor: Any) -> dict[str, Any]:
    """Any mapping that is a `config:` of this message."""
    chosen: list[FieldDescriptor] = draw(
        st.lists(st.sampled_from(list(descriptor.fields)), unique_by=_once, max_size=4)
    )
    return {field.name: draw(values(field)) for field in chosen}


def _once(field: FieldDescriptor) -> str:
    """Two members of a oneof exclude each other."""
    return field.full_name if field.containing_oneof is None else field.containing_oneof.full_name


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if is_map(field):
        key, value = map_fields(field)
        keys = st.text(max_size=8) if key.cpp_type == key.CPPTYPE_STRING else _INTS[key.cpp_type].map(str)
        return st.dictionaries(keys, _single(value), max_size=3)
    return st.lists(_single(field), max_size=3) if field.is_repeated else _single(field)


def _single(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is None:
        return scalars(field)
    if not field.message_type.fields:
        return st.just({})
    return st.deferred(lambda: words(field.message_type))


CONFIGS = words(ModelConfig.DESCRIPTOR)


def message_of(config: dict[str, Any]) -> ModelConfig:
    """Made by protobuf's own reader of plain data, which knows nothing of ours."""
    message = ModelConfig()
    _fill(message, config)
    return message


def _fill(message: Any, config: dict[str, Any]) -> None:
    for name, value in config.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if is_map(field):
            key, inner = map_fields(field)
            for k, v in value.items():
                real = k if key.cpp_type == key.CPPTYPE_STRING else int(k)
                if inner.message_type is None:
                    getattr(message, name)[real] = v
                else:
                    _fill(getattr(message, name)[real], v)
        elif field.is_repeated:
            for item in value:
                if field.message_type is not None:
                    _fill(getattr(message, name).add(), item)
                else:
                    getattr(message, name).append(_number(field, item))
        elif field.message_type is not None:
            getattr(message, name).SetInParent()
            _fill(getattr(message, name), value)
        else:
            setattr(message, name, _number(field, value))


def _number(field: FieldDescriptor, value: Any) -> Any:
    return value if field.enum_type is None else field.enum_type.values_by_name[value].number


def bytes_of(message: ModelConfig) -> bytes:
    return message.SerializeToString(deterministic=True)


@Slow
@given(CONFIGS)
def test_message_to_text_to_message(config):
    message = message_of(config)
    assert bytes_of(parse(render(message))) == bytes_of(message)


@Slow
@given(CONFIGS, st.dictionaries(st.sampled_from(["max_batch_size", "input", "parameters[x]"]), st.text()), st.text())
def test_comments_never_change_what_the_text_says(config, comments, header):
    message = message_of(config)
    assert bytes_of(parse(render(message, (header,), comments))) == bytes_of(message)


@Slow
@given(CONFIGS)
def test_plain_data_to_message(config):
    found: list[Any] = []
    merger, message = Merger(str), ModelConfig()
    merger.finish()
    merger.merge(message, config, lambda *problem: found.append(problem))
    assert found == []
    assert bytes_of(message) == bytes_of(message_of(config))


@Slow
@given(CONFIGS)
def test_saying_the_same_twice_changes_nothing(config):
    merger, message, found = Merger(str), ModelConfig(), []
    merger.merge(message, config, lambda *problem: found.append(problem))
    merger.finish()
    before = bytes_of(message)
    merger.merge(message, config, lambda *problem: found.append(problem))
    assert bytes_of(message) == before
    # A NaN differs from itself, a 32-bit float from what was written; entries of a name that is there twice, too.
    assert [p for p in found if p[0] not in {"TK306", "TK307"}] == []


def test_layout_of_the_less_usual(make):
    model = make.model(
        max_batch_size=0,
        config={
            "optimization": {"execution_accelerators": {"gpu_execution_accelerator": [
                {"name": "tensorrt", "parameters": {"precision_mode": "FP16", "a": "b"}}]}},
            "response_cache": {"enable": True},
            "version_policy": {"latest": {"num_versions": 2}},
            "metric_tags": {"team": 'a "quoted" ünit\n\x01'},
            "parameters": {"x": "y", "long": "z" * 120},
        },
    )  # fmt: skip
    text = model_configs(make.pipeline(model))["probe"][1]
    tail = text[text.index("\nversion_policy") :]
    assert "\n# No batch axis: a request is one item.\nmax_batch_size: 0\n" in text
    assert tail == (
        "\nversion_policy { latest { num_versions: 2 } }\n\n"
        "optimization {\n  execution_accelerators {\n    gpu_execution_accelerator [\n      {\n"
        '        name: "tensorrt"\n'
        '        parameters { key: "a" value: "b" }\n'
        '        parameters { key: "precision_mode" value: "FP16" }\n'
        "      }\n    ]\n  }\n}\n\n"
        "# Works where the server is started with --cache-config.\nresponse_cache { enable: true }\n\n"
        f'parameters {{\n  key: "long"\n  value {{\n    string_value: "{"z" * 120}"\n  }}\n}}\n'
        'parameters { key: "x" value { string_value: "y" } }\n\n'
        'metric_tags { key: "team" value: "a \\"quoted\\" ünit\\n\\001" }\n'
    )


def test_nothing_of_the_machine_is_in_the_text(make, tmp_path):
    from dataclasses import replace

    plan = replace(make.digits(make.EMBEDDED), spec_file=str(tmp_path / "digits.yaml"))
    for _, text in model_configs(plan).values():
        assert str(tmp_path) not in text
        assert text.startswith("# Rendered by tritonkit from digits.yaml for target `embedded` (Triton 24.10).\n")


def test_what_is_no_config_is_not_parsed():
    with pytest.raises(text_format.ParseError, match="no field named"):
        parse('name: "x"\nno_such_field: 1\n')


def test_a_text_that_says_something_else_is_never_returned(monkeypatch):
    from generator.config import printer

    monkeypatch.setattr(printer, "_scalar", lambda field, value: '"other"' if field.name != "max_batch_size" else "1")
    with pytest.raises(RenderMismatchError, match="says something else"):
        render(ModelConfig(name="probe", backend="python"))
    monkeypatch.setattr(printer, "_scalar", lambda field, value: "{")
    with pytest.raises(RenderMismatchError, match="cannot be parsed"):
        render(ModelConfig(name="probe"))
