"""Text and message say the same, whatever is in them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelDynamicBatching, ModelInstanceGroup, ModelMetrics

from generator.config import printer, render
from generator.config.descriptors import fields_of, is_map, map_fields
from generator.config.printer import Printer
from generator.config.text import RenderMismatchError
from protobuf_text import parse

Slow = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])

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
def test_protobufs_own_parser_reads_the_same(config, comments, header):
    """What is returned was read back by this project's reader."""
    message = message_of(config)
    back = parse(render(message, (header,), comments))
    # In text there is one NaN, without a sign.
    assert bytes_of(back) == bytes_of(message) or text_format.MessageToString(back) == text_format.MessageToString(
        message
    )


def test_a_field_that_is_printed_twice_is_never_returned(monkeypatch):
    twice = Printer.field
    monkeypatch.setattr(
        Printer, "field", lambda self, name: twice(self, "name" if name in ("name", "input") else name)
    )
    with pytest.raises(RenderMismatchError, match="name"):
        render(ModelConfig(name="probe"))


SCALARS = [field for field in (
    *fields_of(ModelConfig.DESCRIPTOR).values(),
    *fields_of(ModelInstanceGroup.DESCRIPTOR).values(),
    *fields_of(ModelMetrics.MetricControl.HistogramOptions.DESCRIPTOR).values(),
    *fields_of(ModelDynamicBatching.DESCRIPTOR).values(),
) if not field.is_message]  # fmt: skip


@Slow
@given(st.data(), st.sampled_from(SCALARS))
def test_scalars_stand_as_protobuf_prints_them(data, field):
    value = _number(field.descriptor, data.draw(scalars(field.descriptor)))
    out = io.StringIO()
    text_format.PrintFieldValue(field.descriptor, value, out, as_utf8=True)
    assert printer._scalar(field, value) == out.getvalue()


def test_what_is_remembered_of_a_field_is_what_its_descriptor_says():
    waiting, seen = [ModelConfig.DESCRIPTOR], set()
    while waiting:
        kind = waiting.pop()
        fields = fields_of(kind)
        assert list(fields) == [field.name for field in kind.fields]
        for field in kind.fields:
            known = fields[field.name]
            assert known.descriptor.full_name == field.full_name
            assert (known.is_repeated, known.is_message) == (field.is_repeated, field.message_type is not None)
            assert (known.key is not None, known.value is not None) == (is_map(field), is_map(field))
            assert (field.name in known.oneof) == (field.containing_oneof is not None)
            assert known.choices == (
                {} if field.enum_type is None else {v.number: v.name for v in field.enum_type.values}
            )
            if field.message_type is not None and field.message_type.full_name not in seen:
                seen.add(field.message_type.full_name)
                waiting.append(field.message_type)
