"""What a person writes, typed: pydantic models of the YAML, strict, with unknown fields forbidden."""

from generator.spec.pipeline import Limits, Objective, Spec, Target

__all__ = ["Limits", "Objective", "Spec", "Target", "json_schema"]


def json_schema() -> dict[str, object]:
    """The JSON Schema of a spec, for editors."""
    schema = Spec.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "tritonkit spec"
    return schema
