"""One generated module of a package, without all else that the package imports."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def import_alone(name: str) -> ModuleType:
    """The module `name`, which must need nothing of its package; imported later, the package takes it as it is.

    `tritonclient.grpc` and `onnx` import gRPC, asyncio and numpy: half of the time that a lint takes, for the
    descriptors of two messages. Raises ImportError where there is no such module.
    """
    package, _, last = name.rpartition(".")
    known = name in sys.modules or package in sys.modules
    found = None if known else importlib.util.find_spec(package)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    file = next((file for folder in folders if (file := Path(folder, f"{last}.py")).is_file()), None)
    spec = None if file is None else importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        return importlib.import_module(name)  # which is there already, or says what is missing
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
