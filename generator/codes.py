"""Every stable code of a problem, by number."""

from __future__ import annotations

from generator.config.codes import CODES as CONFIG
from generator.lint import CODES as LINT
from generator.load.codes import CODES as LOAD
from generator.pbtxt.codes import CODES as PBTXT
from generator.resolve.codes import CODES as RESOLVE
from generator.write.codes import CODES as WRITE

# Where a code comes from, and its meaning.
STAGES = {
    "Reading a spec": LOAD,
    "Resolving it on a target": RESOLVE,
    "Making a configuration of it": CONFIG,
    "Writing the repository": WRITE,
    "Checking configurations on disk": LINT,
    "Reading a config.pbtxt": PBTXT,
}
CODES = {code: title for stage in STAGES.values() for code, title in stage.items()}
