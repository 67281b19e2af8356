"""Every stable code of a problem, by number."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from generator.adopt.codes import CODES as ADOPT
from generator.config.codes import CODES as CONFIG
from generator.engine.calibrate.codes import CODES as CALIBRATE
from generator.engine.compile.codes import CODES as COMPILE
from generator.engine.fold.codes import CODES as FOLD
from generator.engine.inspect.codes import CODES as INSPECT
from generator.engine.install.codes import CODES as INSTALL
from generator.engine.precision.codes import CODES as PRECISION
from generator.engine.profile.codes import CODES as PROFILE
from generator.engine.validate.codes import CODES as VALIDATE
from generator.lint import rules  # noqa: F401  (registers them)
from generator.lint.rule import RULES, Rule
from generator.lint.suppress import CODES as COMMENTS
from generator.load.codes import CODES as LOAD
from generator.pbtxt.codes import CODES as PBTXT
from generator.resolve.codes import CODES as RESOLVE
from generator.resolve.codes import PAGES as RESOLVE_PAGES
from generator.write.codes import CODES as WRITE

# Where a code comes from, and its meaning.
STAGES: dict[str, Mapping[str, str]] = {
    "Reading a spec": LOAD,
    "Resolving it on a target": RESOLVE,
    "Making a configuration of it": CONFIG,
    "Writing the repository": WRITE,
    "Reading a config.pbtxt": {"TK501": "A config.pbtxt cannot be parsed", **PBTXT},
    "Ignoring problems": COMMENTS,
    "Importing a repository": ADOPT,
    "Looking into a model": INSPECT,
    "Timing a model by layer": PROFILE,
    "Folding steps into an engine's graph": FOLD,
    "Lowering a precision": PRECISION,
    "Calibrating": CALIBRATE,
    "Compiling an engine": COMPILE,
    "Judging an engine": VALIDATE,
    "Building an engine": INSTALL,
}


def family_of(rule: Rule) -> str:
    """What the rules of its module are about: the beginning of the module's docstring."""
    text = " ".join((sys.modules[rule.check.__module__].__doc__ or "").split())
    return text.partition(":")[0].partition(". ")[0].rstrip(".")


_rules: dict[str, dict[str, str]] = {}
for _, _rule in sorted(RULES.items()):
    _rules.setdefault(family_of(_rule), {})[_rule.code] = _rule.title
STAGES.update(_rules)
PAGES: dict[str, str] = RESOLVE_PAGES  # code -> the page of docs/ that tells more
CODES: dict[str, str] = {code: title for stage in STAGES.values() for code, title in stage.items()}
