"""Plan → ModelConfig and its text: the friendly names and `config:` of every model, in Triton's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from generator.plan import Plan

__all__ = ["model_configs", "render"]


def model_configs(plan: Plan) -> dict[str, tuple[ModelConfig, str]]:
    """The ModelConfig and the text of `config.pbtxt` of every model of `plan`, by the model's name.

    Raises ProblemsError with the problems of all models.
    """
    from generator.config.build import build_all

    return build_all(plan)


def render(message: ModelConfig, header: tuple[str, ...] = (), comments: Mapping[str, str] | None = None) -> str:
    """The text of a `config.pbtxt`; see `generator.config.text.render`."""
    from generator.config import text

    return text.render(message, header, comments)
