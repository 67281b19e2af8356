"""The real server of the configurations' tests, here too: in explicit mode, where a model is loaded in milliseconds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[2] / "config" / "live" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("pbtxt_live_server", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

server = _MODULE.server
