"""The server's reasons by class: which of Triton's rules a message stands for, and which codes of lint say the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNCLASSIFIED = "unclassified"


@dataclass(frozen=True)
class Cause:
    """A class of messages. `rules` are Triton's (model-config), `codes` those of lint that name the same cause."""

    name: str
    rules: tuple[int, ...]
    codes: frozenset[str]
    pattern: re.Pattern[str]


def _cause(name: str, rules: tuple[int, ...], codes: str, *patterns: str) -> Cause:
    return Cause(name, rules, frozenset(codes.split()), re.compile("|".join(patterns), re.DOTALL))


# The first that matches counts: what an ensemble says of its members comes before what the member said.
# TK510, a lost bracket, is what makes a field unknown, doubled or of another type where it then stands.
CAUSES: tuple[Cause, ...] = (
    _cause("unknown field", (1,), "TK511 TK730 TK510",
        r"failed to read text proto.*(has no field named|[Cc]ould not find type)"),
    _cause("extension", (1,), "TK501", r"failed to read text proto.*Extension \""),
    _cause("field twice", (1,), "TK512 TK510", r"failed to read text proto.*is specified multiple times"),
    _cause("oneof twice", (1,), "TK513 TK510", r"failed to read text proto.*is specified along with field"),
    _cause("enum", (1,), "TK515 TK510", r"failed to read text proto.*Unknown enumeration value"),
    _cause("value", (1,), "TK510 TK514 TK515 TK516 TK501", r"failed to read text proto.*(out of range|Invalid value|Expected (integer|string|double|identifier or integer))"),
    _cause("grammar", (1,), "TK501 TK510 TK514 TK515 TK516 TK517 TK518 TK519 TK520 TK521", r"failed to read text proto"),
    _cause("no config", (2,), "TK600 TK670", r"failed to open text file for read \S*/config\.pbtxt"),
    _cause("name", (2,), "TK502", r"directory name must equal model name", r"unexpected directory name"),
    _cause("two repositories", (2,), "TK602", r"not unique across all model repositories", r"in two or more repositories"),
    _cause(
        "member", (26,), "TK690 TK792 TK691", r"contains models that are not available or ambiguous", r"depends on '.*' which has no loaded",
        r"depends on '.*' which is not valid",
    ),
    _cause("circle", (26,), "TK691 TK792", r"circular dependency", r"^failed to load '.*', no version is available"),
    _cause("member version", (26,), "TK692 TK693", r"whose required version -?\d+ is not loaded"),
    _cause("no version", (3,), "TK503 TK601", r"at least one version must be available"),
    _cause("platform", (6,), "TK610 TK611 TK612 TK614", r"unexpected 'platform' and 'backend' pair", r"unexpected platform type"),
    _cause("no backend", (6,), "TK610 TK614", r"must specify 'platform' or 'backend'", r"must specify 'backend'", r"Could not determine backend"),
    _cause("unknown backend", (6,), "TK731", r"unable to find backend library for backend"),
    _cause("ensemble platform", (6,), "TK613 TK614 TK615", r"must have platform type 'ensemble' and empty backend", r"whose platform is"),
    _cause("not an ensemble", (24,), "TK614 TK615", r"ensemble scheduling (cannot|must) be set"),
    _cause(
        "alien of ensembles", (24,), "TK680", r"should not be specified for ensemble", r"can not be specified for ensemble",
    ),
    _cause("max_batch_size", (7,), "TK616", r"'max_batch_size' must be non-negative"),
    _cause("tensor", (8,), "TK620 TK621 TK622", r"model (input|output).* must specify '(name|data_type|dims)'"),
    _cause("dims", (8,), "TK623 TK717", r"(?<!reshape )dimensions? must be integer >= 1"),
    _cause("reshape", (9,), "TK624 TK625 TK626", r"reshape dimensions must be", r"empty reshape", r"for dims and reshape"),
    _cause("format", (10,), "TK627 TK628 TK629", r"require 3 dims", r"Non-linear IO", r"shape tensors are only", r"requires 3 dims"),
    _cause("preferred", (12,), "TK630 TK631 TK781", r"preferred (batch )?size must be"),
    _cause("priority", (13,), "TK632 TK633", r"priority level must be in range", r"must have priority level in range"),
    _cause("ordering", (14,), "TK634 TK635", r"'preserve_ordering' is true"),
    _cause("cache", (15,), "TK640 TK641", r"Response Cache does not currently support"),
    _cause("slots", (16,), "TK780", r"minimum slot utilization"),
    _cause(
        "control", (16,), "TK645 TK646 TK647 TK648 TK649", r"sequence batching control", r"sequence batching (must|specifies)", r"data type for control",
        r"control data type",
    ),
    _cause(
        "state", (17,), "TK785 TK786 TK787 TK788", r"initial_state", r"is not a valid state name", r"'(in|out)put_name' in the state",
        r"to have state_data set", r"specified more than once", r"use_growable_memory",
    ),
    _cause("gpus", (18,), "TK650 TK651 TK652 TK776", r"has kind KIND_", r"invalid or unsupported gpu", r"unexpected kind KIND_AUTO"),
    _cause("profile", (18, 10), "TK653", r"specifies profile field", r"specifies invalid profile"),
    _cause(
        "batch input", (19,), "TK660 TK661 TK662 TK663", r"source input", r"batch input data type", r"unknown target output name",
        r"target output name .* can only be specified once", r"unexpected batch (in|out)put",
    ),
    _cause("state file", (17,), "TK787", r"failed to open text file for read \S*/initial_state/"),
    _cause("warm-up file", (22,), "TK678", r"failed to open text file for read \S*/warmup/"),
    _cause("labels", (21,), "TK670", r"failed to open text file for read", r"multiple label files"),
    _cause("batching strategy", (21,), "TK673", r"TRITON_BATCH_STRATEGY_PATH", r"Batching library path", r"batching strategy"),
    _cause("runtime", (21,), "TK672 TK731", r"unable to find .*backend library '", r"escapes backend directory", r"load shared library"),
    _cause("execute", (33,), "TK712", r"does not implement `execute`"),
    _cause(
        "warm-up", (22,), "TK675 TK676 TK677 TK678 TK679", r"warmup setting expects", r"warmup", r"expected \d+ inputs but got", r"expected number of inputs between",
        r"inference input",
        r"unexpected shape for input", r"input byte size mismatch",
    ),
    _cause("resources", (23,), "TK658", r"both global and device-specific", r"prevent scheduling of one or more model instances"),
    _cause("force cpu", (33,), "TK715", r"FORCE_CPU_ONLY_INPUT_TENSORS"),
    _cause("step", (24,), "TK681 TK682", r"must specify 'step'", r"must specify '(model_name|input_map|output_map)' in step"),
    _cause("nameless end", (8, 25), "TK620 TK684 TK685 TK686", r"ensemble (in|out)put '' for"),
    _cause("flow", (25,), "TK683 TK684 TK685 TK686 TK687 TK688", r"only once for ensemble", r"is not used", r"is not written", r"is unused in ensemble"),
    _cause("batch of step", (27,), "TK694", r"only allows maximum batch size", r"allows maximum batch size"),
    _cause(
        "maps", (28,), "TK695 TK696 TK697 TK790", r"mapping to non-existing input", r"mapped from non-existing output",
        r"is not mapped to any ensemble tensors", r"mapped to multiple ensemble tensors",
        r"are mapped to the same ensemble tensor",
    ),
    _cause("types and shapes", (29,), "TK698 TK699", r"inconsistent data type", r"inconsistent shape"),
    _cause("decoupled branches", (30,), "TK791", r"originated from different decoupled models"),
    _cause("code", (4,), "TK710 TK711 TK713 TK714 TK717", r"Internal: \w+Error: ", r"must return a valid pb\.ModelConfig", r"TritonModelException"),
    # Of a circle one of whose members is missing, the server gives this alone.
    _cause("circle without a member", (26,), "TK691", r"^failed to load '[^']*', failed to poll from model repository$"),
)  # fmt: skip


def classify(reason: str) -> Cause | None:
    """The class of a server's reason; None for one that is unknown."""
    return next((cause for cause in CAUSES if cause.pattern.search(reason)), None)


def agrees(reason: str, codes: set[str]) -> bool:
    """Whether lint named the cause that the server named: one of its codes is of the message's class."""
    cause = classify(reason)
    return cause is not None and bool(cause.codes & codes)
