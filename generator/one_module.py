"""One generated module of a package, without all else that the package imports."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def import_alone(name: str) -> ModuleType:
    """The module `name`, which must need nothing of its package; what it defines in protobuf is the package's too.

    `tritonclient.grpc` and `onnx` import gRPC, asyncio and numpy: half of the time that a lint takes, for the
    descriptors of two messages. The module is a copy under a name of its own, and protobuf has one class for one
    descriptor: where the package is imported later, its messages are the same. Raises ImportError where there is
    no such module.
    """
    if name in sys.modules:
        return sys.modules[name]
    package, _, last = name.rpartition(".")
    found = importlib.util.find_spec(package)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    file = next((file for folder in folders if (file := Path(folder, f"{last}.py")).is_file()), None)
    spec = None if file is None else importlib.util.spec_from_file_location(f"_alone_{last}", file)
    if spec is None or spec.loader is None:
        return importlib.import_module(name)  # which says what is missing
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
