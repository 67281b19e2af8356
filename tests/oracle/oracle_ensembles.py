"""Mutations of ensembles: what a step names, what it maps, what flows where."""

from __future__ import annotations

from random import Random

from oracle_mutations import DISK, MESSAGE, Change, mutation, on, pick
from oracle_repository import MODEL_PY, Model, Repository, message, value_of


def _steps(model: Model) -> list[object]:
    return list(model.config.ensemble_scheduling.step)


def _names(model: Model) -> list[str]:
    """All tensor names of an ensemble."""
    steps = model.config.ensemble_scheduling.step
    mapped = [name for step in steps for name in [*step.input_map.values(), *step.output_map.values()]]
    return sorted({tensor.name for tensor in [*model.config.input, *model.config.output]} | set(mapped))


@on(24, ensemble=True, weight=3)
def alien(random: Random, model: Model) -> str:
    """What an ensemble may not have."""
    way = random.choice(("instance_group", "optimization", "model_warmup", "backend", "dynamic_batching", "platform",
                         "sequence_batching", "parameters", "response_cache", "decoupled", "runtime", "batch_input",
                         "model_operations", "label"))  # fmt: skip
    config = model.config
    if way == "instance_group":
        config.instance_group.add(kind=random.choice((0, 2)), count=random.choice((0, 1)))
    elif way == "model_warmup":
        config.model_warmup.add(name="w", batch_size=random.choice((0, 1)))
    elif way == "backend":
        config.backend = random.choice(("python", "ensemble"))
    elif way == "platform":
        config.platform = random.choice(("", "Ensemble", "python"))
    elif way == "parameters":
        config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "maybe"
    elif way == "response_cache":
        config.response_cache.enable = True
    elif way == "decoupled":
        config.model_transaction_policy.decoupled = True
    elif way == "runtime":
        config.runtime = "libtriton_python.so"
    elif way == "batch_input":
        config.batch_input.add(target_name=["b"], data_type=value_of("TYPE_INT32"), source_input=[_names(model)[0]])
    elif way == "model_operations":
        config.model_operations.op_library_filename.append("x.so")
    elif way == "label":
        config.output[0].label_filename = random.choice(("none.txt", "../x")) if config.output else ""
    else:
        getattr(config, way).SetInParent()
    return f"{way} in an ensemble"


@on(24, 25, 26, ensemble=True, weight=2)
def step_list(random: Random, model: Model) -> str:
    steps = model.config.ensemble_scheduling.step
    if not steps:
        return ""
    at = random.randrange(len(steps))
    way = random.choice(("drop", "double", "move", "move", "clear", "empty", "name", "maps"))
    if way == "drop":
        del steps[at]
    elif way == "double":
        steps.add().CopyFrom(steps[at])
    elif way == "move":
        copies = [type(step)() for step in steps]
        for copy, step in zip(copies, random.sample(list(steps), len(steps)), strict=True):
            copy.CopyFrom(step)
        del steps[:]
        steps.extend(copies)
    elif way == "clear":
        model.config.ensemble_scheduling.ClearField("step")
        model.config.ensemble_scheduling.SetInParent()
    elif way == "empty":
        steps.add(model_name=steps[at].model_name if random.random() < 0.5 else "")
    elif way == "name":
        steps[at].model_name = ""
    else:
        steps[at].ClearField(random.choice(("input_map", "output_map")))
    return f"{way} step {at}"


@on(24, 25, 28, ensemble=True, weight=4)
def same_flow(random: Random, model: Model) -> str:
    """Another order of the steps, other names between them, an output more: the same ensemble all the same."""
    steps = model.config.ensemble_scheduling.step
    ends = {tensor.name for tensor in [*model.config.input, *model.config.output]}
    inner = [name for name in _names(model) if name not in ends]
    way = random.choice(("order", "names"))
    if way == "order":
        copies = [type(step).FromString(step.SerializeToString()) for step in steps]
        del steps[:]
        steps.extend(random.sample(copies, len(copies)))
        return "steps in another order"
    if not inner:
        return ""
    old, new = random.choice(inner), random.choice(("between", "é", "a b", "../t", "0"))
    for step in steps:
        for mapping in (step.input_map, step.output_map):
            for key in [key for key, value in mapping.items() if value == old]:
                mapping[key] = new
    return f"{old} is called {new!r}"


@on(26, ensemble=True, weight=2)
def step_model(random: Random, model: Model) -> str:
    steps = model.config.ensemble_scheduling.step
    if not steps:
        return ""
    step = random.choice(list(steps))
    if random.random() < 0.5:
        step.model_version = random.choice((0, 1, -1, -2, 2, 3, 7))
        return f"model_version {step.model_version}"
    step.model_name = random.choice(
        (model.config.name, "none", step.model_name.upper(), steps[0].model_name, steps[-1].model_name)
    )
    return f"model_name {step.model_name!r}"


@on(25, 28, 29, ensemble=True, weight=3)
def rewire(random: Random, model: Model) -> str:
    """One tensor of a map instead of another."""
    steps = model.config.ensemble_scheduling.step
    if not steps:
        return ""
    step = random.choice(list(steps))
    which = random.choice((step.input_map, step.input_map, step.output_map))
    if not which:
        return ""
    key = random.choice(sorted(which))
    which[key] = random.choice([*_names(model), *_names(model), "new", ""])
    return f"{key} to {which[key]!r}"


@on(28, ensemble=True, weight=2)
def map_keys(random: Random, model: Model) -> str:
    """A key that the step's model may not have."""
    steps = model.config.ensemble_scheduling.step
    if not steps:
        return ""
    step = random.choice(list(steps))
    which = random.choice((step.input_map, step.output_map))
    if not which:
        return ""
    key = random.choice(sorted(which))
    other = random.choice(("in0", "in1", "in2", "more1", "out0", "out1", key + "x"))
    value = which[key]
    way = random.choice(("rename", "drop", "add"))
    if way != "add":
        del which[key]
    if way != "drop":
        which[other] = value
    return f"{way} {key}"


@on(25, ensemble=True, weight=2)
def ends(random: Random, model: Model) -> str:
    """The ensemble's own inputs and outputs: one more, one less, another name."""
    side = random.choice((model.config.input, model.config.output))
    way = random.choice(("drop", "add", "add", "rename", "double"))
    if way == "add":
        names = _names(model)
        known = [*model.config.input, *model.config.output]
        new = side.add(name=random.choice([*names, *names, "new"]), data_type=value_of("TYPE_FP32"), dims=[2])
        if known and random.random() < 0.7:
            like = random.choice(known)
            new.data_type = like.data_type
            new.dims[:] = like.dims
    elif not side:
        return ""
    elif way == "drop":
        del side[random.randrange(len(side))]
    elif way == "double":
        side.add().CopyFrom(side[0])
    else:
        random.choice(list(side)).name = random.choice([*_names(model), "new", ""])
    return f"{way} an end"


@on(29, 8, 9, ensemble=True, weight=3)
def end_shapes(random: Random, model: Model) -> str:
    """Type, dims or reshape of an end."""
    known = [*model.config.input, *model.config.output]
    if not known:
        return ""
    tensor = random.choice(known)
    way = random.choice(("dims", "dims", "any", "any", "type", "reshape", "reshape", "rank", "batch"))
    if way == "type":
        tensor.data_type = random.randrange(15)
    elif way == "any" and tensor.dims:
        tensor.dims[random.randrange(len(tensor.dims))] = -1
    elif way == "rank":
        tensor.dims.append(random.choice((1, -1)))
    elif way == "batch":
        tensor.dims.insert(0, -1)
    elif way == "reshape":
        tensor.reshape.shape[:] = random.choice(
            (list(tensor.dims)[::-1], [*tensor.dims, 1], list(tensor.dims), [1, *tensor.dims])
        )
        tensor.reshape.SetInParent()
    elif tensor.dims:
        tensor.dims[random.randrange(len(tensor.dims))] = random.choice((1, 2, 3, 4, 0, -2))
    return f"{way} of {tensor.name}"


@on(27, 29, 7, ensemble=True, weight=2)
def ensemble_batch(random: Random, model: Model) -> str:
    size = model.config.max_batch_size
    model.config.max_batch_size = random.choice((0, 1, size - 1, size + 1, size + 3, size * 2, -1))
    return f"max_batch_size {model.config.max_batch_size} of an ensemble"


@mutation(MESSAGE, 4)
def decoupled_branches(random: Random, repository: Repository) -> Change | None:
    """One or two members of an ensemble answer as often as they like."""
    keys = [key for key, model in repository.models.items() if not model.is_ensemble]
    if repository.top != "ens":
        return None
    for key in random.sample(keys, min(len(keys), random.choice((1, 2)))):
        config = repository.models[key].config
        config.ClearField("response_cache")
        config.model_transaction_policy.decoupled = True
    return Change("ens", "decoupled members", (30,))


@mutation(MESSAGE, 3)
def member_batch(random: Random, repository: Repository) -> Change | None:
    """A member that takes batches just as large as the ensemble's, or not quite."""
    top = repository.models[repository.top]
    keys = [k for k, model in repository.models.items() if not model.is_ensemble and model.config.max_batch_size > 0]
    size = top.config.max_batch_size
    if not top.is_ensemble or not keys or size < 2:
        return None
    config = repository.models[random.choice(keys)].config
    config.max_batch_size = random.choice((size, size + 1, size - 1, size - 1, 1))
    return Change(
        repository.top, f"a member's max_batch_size is {config.max_batch_size}, the ensemble's {size}", (27,)
    )


@mutation(MESSAGE, 2)
def nest(random: Random, repository: Repository) -> Change | None:
    """An ensemble above the ensemble, or a circle of them."""
    key = pick(random, repository, ensemble=True)
    if not key or "above" in repository.models:
        return None
    inner = repository.models[key]
    name = inner.folder + "_above"
    step = {
        "model_name": inner.folder, "model_version": random.choice((-1, -1, 1)),
        "input_map": {tensor.name: tensor.name for tensor in inner.config.input},
        "output_map": {tensor.name: tensor.name for tensor in inner.config.output},
    }  # fmt: skip
    above = Model(
        name,
        message(name=name, platform="ensemble", ensemble_scheduling={"step": [step]}),
        {},
        {"1"},
        is_ensemble=True,
    )
    above.config.max_batch_size = max(0, inner.config.max_batch_size + random.choice((0, 0, 0, -1, 1)))
    for mine, its in ((above.config.input, inner.config.input), (above.config.output, inner.config.output)):
        for tensor in its:
            mine.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    what = "an ensemble above"
    if random.random() < 0.4 and inner.config.ensemble_scheduling.step:
        random.choice(list(inner.config.ensemble_scheduling.step)).model_name = name
        what = "a circle of ensembles"
    repository.models["above"] = above
    repository.top = "above"
    return Change("above", what, (26, 27))


@mutation(MESSAGE, 1.5)
def pinned(random: Random, repository: Repository) -> Change | None:
    """A step that names a version, of a model that has several: the check is against the latest."""
    key = pick(random, repository, ensemble=False)
    tops = [model for model in repository.models.values() if model.is_ensemble]
    if not key or not tops:
        return None
    model = repository.models[key]
    if any(name.endswith("other.py") for name in model.files):
        return None
    model.files["2/model.py"] = MODEL_PY
    model.config.ClearField("version_policy")
    way = random.choice(("latest", "all", "two", "one"))
    if way == "all":
        model.config.version_policy.all.SetInParent()
    elif way == "two":
        model.config.version_policy.latest.num_versions = 2
    elif way == "one":
        model.config.version_policy.specific.versions.append(1)
    version = random.choice((1, 2, -1, 3))
    for step in random.choice(tops).config.ensemble_scheduling.step:
        if step.model_name == model.folder:
            step.model_version = version
    return Change(repository.top, f"version {version} of a model with versions 1 and 2, policy {way}", (31, 26))


@mutation(DISK, 1.5)
def member_gone(random: Random, repository: Repository) -> Change | None:
    """A model that a step names is not there."""
    if len(repository.models) < 2 or random.random() < 0.5:
        return None
    key = random.choice([key for key in repository.models if key != repository.top])
    if repository.models[key].is_ensemble:
        return None
    del repository.models[key]
    return Change(repository.top, f"{key} removed", (26,))
