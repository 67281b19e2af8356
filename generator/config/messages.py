"""Triton's ModelConfig as Python knows it, from tritonclient's generated module alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator.one_module import import_alone

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig
else:
    ModelConfig = import_alone("tritonclient.grpc.model_config_pb2").ModelConfig

__all__ = ["ModelConfig"]
