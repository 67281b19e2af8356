"""Plan → ModelConfigs: friendly names first, `config:` on top, then what the target's server knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.collector import Collector, field_path
from generator.config import codes, since
from generator.config.comments import comments_of, header_of
from generator.config.ensemble import ensemble_words
from generator.config.extra import Merger, Report, Slot
from generator.config.messages import ModelConfig
from generator.config.model import model_words
from generator.config.owners import ENSEMBLE_OWNERS, MODEL_OWNERS, find_place, owner
from generator.config.tensors import check_sides, model_files
from generator.config.text import render
from generator.plan import EnsemblePlan, FilesProgram, ModelPlan, Plan
from generator.problems import Place

Path = tuple[str | int, ...]


def build_all(plan: Plan) -> dict[str, tuple[ModelConfig, str]]:
    """Message and text of every model, by name. Raises ProblemsError with the problems of all of them."""
    collect = Collector(plan.places)
    models: list[ModelPlan | EnsemblePlan] = [*plan.models]
    if plan.ensemble is not None:
        models.append(plan.ensemble)
    messages = {model.name: _build(plan, model, collect) for model in models}
    collect.stop_on_errors()
    return {
        model.name: (
            messages[model.name],
            render(messages[model.name], header_of(plan, model), comments_of(plan, messages[model.name])),
        )
        for model in models
    }


def model_config(plan: Plan, model: ModelPlan) -> ModelConfig:
    """The ModelConfig of one model. Raises ProblemsError with all of its problems."""
    return _build_one(plan, model)


def ensemble_config(plan: Plan, ensemble: EnsemblePlan) -> ModelConfig:
    """The ModelConfig of the ensemble. Raises ProblemsError with all of its problems."""
    return _build_one(plan, ensemble)


def _build_one(plan: Plan, model: ModelPlan | EnsemblePlan) -> ModelConfig:
    collect = Collector(plan.places)
    message = _build(plan, model, collect)
    collect.stop_on_errors()
    return message


def _build(plan: Plan, model: ModelPlan | EnsemblePlan, collect: Collector) -> ModelConfig:
    is_ensemble = isinstance(model, EnsemblePlan)
    owners = ENSEMBLE_OWNERS if is_ensemble else MODEL_OWNERS
    words = ensemble_words(model) if isinstance(model, EnsemblePlan) else model_words(model)
    check_sides(model, collect)
    model_files(model, collect)
    message = ModelConfig()
    merger = Merger(lambda slot: _described_owner(plan, model.source, owners, slot))
    merger.merge(message, words, _of_friendly_names(model.source, owners, collect))
    merger.finish()
    merger.merge(message, model.config, _of_config(model.source, collect))
    _check_backend(model, message, collect)

    def locate(path: str) -> tuple[Place, str]:
        where = _written_at(model.source, owners, path, model.config)
        return plan.places(*where), field_path(where)

    collect.problems.extend(since.check(message, plan.target.server, locate))
    return message


def _check_backend(model: ModelPlan | EnsemblePlan, message: ModelConfig, collect: Collector) -> None:
    copied = isinstance(model, ModelPlan) and isinstance(model.program, FilesProgram)
    if copied and not (message.backend or message.platform or "backend" in model.config):
        collect.error(
            codes.NO_BACKEND,
            (*model.source, "config"),
            "nothing says which backend runs these `files`",
            "add it, as in `config: {backend: onnxruntime}`",
        )


def _described_owner(plan: Plan, source: Path, owners: dict[str, str], slot: Slot) -> str:
    name = owner(owners, slot) or ".".join(map(str, slot))
    place = find_place(plan, source, name)
    return f"`{name}` ({place})" if place is not None else f"`{name}`"


def _of_friendly_names(source: Path, owners: dict[str, str], collect: Collector) -> Report:
    """Problems of a friendly name's value stand at that name."""

    def report(code: str, at: Path, text: str, hint: str) -> None:
        name = owner(owners, at)
        path = tuple(name.split(".")) if name else at
        collect.error(code, (*source, *path), text, hint)

    return report


def _of_config(source: Path, collect: Collector) -> Report:
    def report(code: str, at: Path, text: str, hint: str) -> None:
        collect.error(code, (*source, "config", *at), text, hint)

    return report


def _written_at(source: Path, owners: dict[str, str], path: str, config: Mapping[str, Any]) -> Path:
    """The place in the spec of the field at `path`: inside `config`, else its friendly name."""
    words = path.split(".")
    inside: Any = config
    for word in words:
        inside = inside.get(word) if isinstance(inside, Mapping) else None
    name = owner(owners, words)
    if inside is not None or name is None:
        return (*source, "config", *words)
    return (*source, *name.split("."))
