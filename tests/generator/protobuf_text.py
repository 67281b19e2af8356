"""protobuf's own parser for Python: another reader than the one that rendered texts are read back with."""

from __future__ import annotations

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig


def parse(text: str) -> ModelConfig:
    """The ModelConfig that `text` says. Raises google.protobuf.text_format.ParseError."""
    return text_format.Parse(text, ModelConfig())
