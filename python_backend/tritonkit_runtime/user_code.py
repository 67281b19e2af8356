"""A user's own class: found, loaded and built, with a clear sentence for each way in which that can fail."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.parameters import ParameterError, PythonProgram


class UserClass:
    """An instance of the class that a program names; raises ParameterError.

    The class is built with the program's parameters (a dictionary) and has
    `run(tensors, fail) -> tensors`; a `close()` is called if there is one.
    """

    def __init__(self, program: PythonProgram, folder: Path, model: str) -> None:
        module, where = _load(program, folder, model)
        kind = getattr(module, program.class_name, None)
        if not isinstance(kind, type):
            classes = sorted(
                name
                for name, value in vars(module).items()
                if isinstance(value, type) and value.__module__ == module.__name__
            )
            raise ParameterError(
                f"{where} has no class {program.class_name!r}; it has {', '.join(classes) or 'no classes'}"
            )
        if not callable(getattr(kind, "run", None)):
            raise ParameterError(f"class {program.class_name} in {where} has no method run(tensors, fail)")
        try:
            self._instance = kind(dict(program.parameters))
        except Exception as error:
            raise ParameterError(f"{program.class_name}(parameters) in {where} failed: {_told(error)}") from error

    def run(self, tensors: Tensors, fail: Callable[[int, str], None]) -> Tensors:
        """What the class returns, as yet unchecked; raises what it raises."""
        found: Tensors = self._instance.run(tensors, fail)
        return found

    def close(self) -> None:
        """Calls the class's `close` if it has one."""
        close = getattr(self._instance, "close", None)
        if callable(close):
            close()


def _load(program: PythonProgram, folder: Path, model: str) -> tuple[ModuleType, str]:
    try:
        if program.module is not None:
            return importlib.import_module(program.module), f"module {program.module}"
        path = folder / str(program.file)
        if not path.is_file():
            raise ParameterError(f"the file {path} with class {program.class_name} does not exist")
        return _load_file(path, model), str(path)
    except ParameterError:
        raise
    except Exception as error:
        where = f"module {program.module}" if program.module else str(folder / str(program.file))
        raise ParameterError(f"{where} cannot be imported: {_told(error)}") from error


def _load_file(path: Path, model: str) -> ModuleType:
    """The file as a module with a name of its own, so that two models' `steps.py` do not meet."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"_tritonkit_user_{model}_{path.stem}_{digest}"
    if path.suffix != ".py":
        raise ParameterError(f"{path} is not a Python file: its name must end in .py")
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        # Not by an import: its cache tells a changed file by size and whole second, and a model may be loaded again
        # in the second in which its file was replaced.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
