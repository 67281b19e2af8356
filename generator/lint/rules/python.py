"""Python models: their parameters, and what can be read in model.py without running it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from generator import lfs
from generator.lint.model import Model
from generator.lint.python_completion import complete
from generator.lint.python_source import (
    Function,
    Mistake,
    Source,
    certain_calls,
    returns,
    sources,
    takes,
    unbound,
    yields,
)  # fmt: skip
from generator.lint.rule import ERROR, NOTE, WARNING, Finding, rule
from generator.lint.rules.layout import FILE_FIELDS, is_known
from generator.lint.server import EMBEDDED
from generator.problems import Place

BACKEND = "python"
_STUB = "python_backend pb_stub.cc"
_FORCE_CPU, _ENVIRONMENT = "FORCE_CPU_ONLY_INPUT_TENSORS", "EXECUTION_ENV_PATH"
# What NVIDIA's images have.
_OLD_PYTHON, _OLD_PYTHON_UP_TO, _NEW_PYTHON = (3, 10), "24.10", (3, 12)
_MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"


def _sources(model: Model) -> Iterator[Source]:
    """The files that can be parsed, and in which there may be something to find."""
    if not is_known(model, *FILE_FIELDS):
        return
    if model.backend == "python" or (not model.backend and model.completed.backend == "python"):
        for source in sources(model, model.completed):
            if source.parsed.mistake is None and not source.parsed.is_plain:
                yield source


@rule("TK710", ERROR, f"{_STUB}, StubSetup", local=True)
def no_python(model: Model) -> Iterator[Finding]:
    """A Python model's file is not valid Python.

    The server imports the file in a process of its own and refuses the model if that fails. It is judged by the
    Python that runs tritonkit, which is the one that the embedded server runs models with. NVIDIA's images have
    Python 3.10 up to 24.10 and 3.12 from 24.11 on: where the server's is newer, or not known, or the model brings
    an environment of its own, it is a warning.

    Bad:
        def initialize(self args):
    Good:
        def initialize(self, args):
    """
    if model.backend not in ("python", "") or not is_known(model, *FILE_FIELDS):
        return
    if model.completed.backend == "python":
        for source in sources(model, model.completed):
            mistake = source.parsed.mistake
            if mistake is not None:
                place = Place(source.file, mistake.line, mistake.column)
                yield _no_python(model, source, mistake, place)


def _no_python(model: Model, source: Source, mistake: Mistake, place: Place) -> Finding:
    if lfs.is_pointer(source.parsed.text):
        return Finding("", f"this {lfs.WHAT}", lfs.MEND, place)
    text = f"this is not valid Python: {mistake.message}"
    theirs, ours = _python_of(model), sys.version_info[:2]
    if theirs is not None and theirs <= ours:
        return Finding("", text, "mend the file", place)
    has = "of the server is not known" if theirs is None else f"of Triton {model.release} is {_dotted(theirs)}"
    has += "" if model.is_release_known else " (`--server RELEASE` tells it)"
    hint = f"judged by Python {_dotted(ours)}, and that {has}: mend the file, unless the server's knows this"
    return Finding("", text, hint, place, WARNING)


def _python_of(model: Model) -> tuple[int, int] | None:
    """The Python that runs the model's file; None where it is not known."""
    if _ENVIRONMENT in model.config.parameters or not model.is_release_known:
        return None
    if (model.server.release, model.server.backends) == (EMBEDDED.release, EMBEDDED.backends):
        return sys.version_info[:2]
    return _OLD_PYTHON if model.release <= _OLD_PYTHON_UP_TO else _NEW_PYTHON


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


@rule("TK711", ERROR, f"{_STUB}, StubSetup and Initialize", local=True)
def no_model_class(model: Model) -> Iterator[Finding]:
    """A Python model's file has no class TritonPythonModel that can be made.

    After the import the server makes an instance of `TritonPythonModel`, without arguments. It refuses the model if
    there is nothing of that name, or if the class wants arguments.

    Bad:
        class Doubler:
    Good:
        class TritonPythonModel:
    """
    for source in _sources(model):
        if not source.parsed.names_class:
            yield Finding("", "there is no class TritonPythonModel", "name the class so", source.place(None))
            continue
        method = source.parsed.method("__init__")
        if method is not None and not source.parsed.is_mixed and not takes(method, 1):
            text = "TritonPythonModel is made without arguments, and its __init__ wants some"
            yield Finding("", text, "give them defaults, or do it in initialize(self, args)", source.place(method))


@rule("TK712", WARNING, f"{_STUB}, ProcessRequests", local=True)
def no_execute(model: Model) -> Iterator[Finding]:
    """A Python model cannot execute requests.

    The server looks for `execute` when the first request comes, not at load: the model is ready, and every request
    fails. With a warm-up the first request comes at load, and the server refuses the model. `execute` gets the list
    of requests and nothing else.

    Bad:
        class TritonPythonModel:
            def excute(self, requests):
    Good:
        class TritonPythonModel:
            def execute(self, requests):
    """
    is_run = any(sample.batch_size for sample in model.config.model_warmup)
    severity, then = (ERROR, "its warm-up fails") if is_run else (WARNING, "the model loads, and every request fails")
    for source in _sources(model):
        parsed = source.parsed
        if parsed.model_class is None or parsed.is_mixed:
            continue
        method = parsed.method("execute")
        if method is not None and takes(method, unbound(method, 1)) is False:
            text = "execute is called with the list of requests alone, and takes something else"
            hint = "write `def execute(self, requests):`"
            yield Finding("", text, hint, source.place(method), severity)
        elif not parsed.may_have("execute") and not parsed.may_have("__getattr__"):
            text = f"class TritonPythonModel has no method execute: {then}"
            hint = "add `def execute(self, requests):`"
            yield Finding("", text, hint, source.place(parsed.model_class), severity)


@rule("TK713", ERROR, "python_backend pb_stub.cc, AutoCompleteModelConfig")
def wrong_completion(model: Model) -> Iterator[Finding]:
    """auto_complete_config cannot be called, or does not give the configuration back.

    With completion on, the server calls the class's `auto_complete_config` with one argument, the configuration, and
    takes what it returns. It refuses the model if the call fails or if something else, or nothing, comes back. With
    `--disable-auto-complete-config` the function is never called.

    Bad:
        @staticmethod
        def auto_complete_config(self, config):
    Good:
        @staticmethod
        def auto_complete_config(config):
    """
    if not model.server.auto_complete:
        return
    for source in _sources(model):
        method = source.parsed.method("auto_complete_config")
        if method is None or source.parsed.is_mixed:
            continue
        called = takes(method, 2 if unbound(method, 0) == 1 and _is(method, "classmethod") else 1)
        if called is False:
            text = "auto_complete_config is called with one argument, the configuration, and takes something else"
            hint = "write `@staticmethod` and `def auto_complete_config(config):`"
            yield Finding("", text, hint, source.place(method))
        elif called and (isinstance(method, ast.AsyncFunctionDef) or not returns(method) or yields(method)):
            text = "auto_complete_config does not return the configuration"
            yield Finding("", text, "end it with `return config`", source.place(method))


@rule("TK714", ERROR, f"{_STUB}, Initialize", local=True)
def wrong_initialize(model: Model) -> Iterator[Finding]:
    """initialize does not take the one argument that it is called with.

    The server calls `initialize` once for each instance with a dictionary: the configuration as JSON, the instance's
    kind and device, the version. A model whose method takes less or more is refused. It may be left out.

    Bad:
        def initialize(self):
    Good:
        def initialize(self, args):
    """
    for source in _sources(model):
        method = source.parsed.method("initialize")
        if method is not None and not source.parsed.is_mixed and takes(method, unbound(method, 1)) is False:
            text = "initialize is called with one argument, a dictionary, and takes something else"
            yield Finding("", text, "write `def initialize(self, args):`", source.place(method))


@rule("TK715", ERROR, "python_backend python_be.cc, ModelState")
def force_cpu(model: Model) -> Iterator[Finding]:
    """FORCE_CPU_ONLY_INPUT_TENSORS is neither `yes` nor `no`.

    The Python backend takes these two words, in small letters, and refuses a model with any other value. Without the
    parameter inputs are moved to the CPU, as with `yes`.

    Bad:
        parameters [ { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "No" } } ]
    Good:
        parameters [ { key: "FORCE_CPU_ONLY_INPUT_TENSORS" value { string_value: "no" } } ]
    """
    if _FORCE_CPU not in model.config.parameters or model.completed.backend != "python":
        return
    value = model.config.parameters[_FORCE_CPU].string_value
    if value not in ("yes", "no"):
        path = f"parameters[{_FORCE_CPU}].value.string_value"
        small = value.strip().lower()
        edits = model.replaced(path, f'"{small}"') if small in ("yes", "no") else ()
        yield model.found(path, f'{_FORCE_CPU} is "{value}"; valid: "yes", "no"', "write one of them", edits=edits)


@rule("TK716", ERROR, "python_backend stub_launcher.cc and pb_env.cc")
def no_environment(model: Model) -> Iterator[Finding]:
    """EXECUTION_ENV_PATH names nothing that the server can use.

    The server unpacks the archive, or goes into the directory, which needs a `bin/activate`, before it starts the
    model's process, and refuses the model if it cannot. A path that begins with neither `/` nor
    `$$TRITON_MODEL_DIRECTORY` counts from wherever the server was started, which is a warning. Paths outside of the
    model's directory are not looked at here: they are the server's.

    Bad:
        parameters [ { key: "EXECUTION_ENV_PATH" value { string_value: "$$TRITON_MODEL_DIRECTORY/enviroment" } } ]
    Good:
        parameters [ { key: "EXECUTION_ENV_PATH" value { string_value: "$$TRITON_MODEL_DIRECTORY/environment" } } ]
    """
    if _ENVIRONMENT not in model.config.parameters or model.completed.backend != "python":
        return
    value, path = model.config.parameters[_ENVIRONMENT].string_value, f"parameters[{_ENVIRONMENT}].value.string_value"
    if value and not value.startswith(("/", _MODEL_DIRECTORY)):
        text = f"`{value}` counts from the directory that the server was started in"
        hint = f"begin it with `{_MODEL_DIRECTORY}/`, or write the whole path"
        yield model.found(path, text, hint, severity=None if _MODEL_DIRECTORY in value else WARNING)
    if not value.startswith(_MODEL_DIRECTORY) or ".." in value.split("/"):
        return
    inside = value.removeprefix(_MODEL_DIRECTORY).strip("/")
    place = model.folder.find(inside) if inside else None
    if inside and place is None:
        yield model.found(path, f"there is no `{inside}` in the model's directory", "put the environment there")
        return
    folder = model.folder if place is None else place[0].folder(place[1]) if place[0].has_folder(place[1]) else None
    if folder is not None and folder.find("bin/activate") is None:
        text = f"`{inside or model.name}` has no `bin/activate`"
        yield model.found(path, text, "it has to be an unpacked environment")


@rule("TK717", ERROR, "python_backend triton_python_backend_utils.py, ModelConfig")
def forbidden_completion(model: Model) -> Iterator[Finding]:
    """auto_complete_config asks for what the server does not allow.

    It may not lower a max_batch_size that is written, add the dynamic batcher to a sequence model, give inputs and
    outputs properties beside name, data_type, dims (and `optional` of inputs), or contradict what is written. Each
    raises ValueError, and the model is refused. Calls that are made in any case, with literals, are read.

    Bad:
        config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [4], "format": "FORMAT_NONE"})
    Good:
        config.add_input({"name": "x", "data_type": "TYPE_FP32", "dims": [4]})
    """
    if not model.server.auto_complete:
        return
    for source in _sources(model):
        method = source.parsed.method("auto_complete_config")
        if method is None or source.parsed.is_mixed or isinstance(method, ast.AsyncFunctionDef):
            continue
        config = type(model.config)()
        config.CopyFrom(model.config)
        wrong = complete(config, certain_calls(method))
        if wrong is not None:
            yield Finding("", wrong[1], "the server refuses the model then", source.place(wrong[0]))


@rule("TK718", WARNING, f"{_STUB}, ProcessRequests")
def no_list(model: Model) -> Iterator[Finding]:
    """execute is a generator, and the model is not decoupled.

    A model that is not decoupled has to return a list with one answer for each request; a coroutine may, too. With a
    `yield` in it `execute` is a generator, which is no list: the model loads, and every request fails.

    Bad:
        for request in requests:
            yield request
    Good:
        def execute(self, requests):
            return [None for _ in requests]
    """
    if model.completed.model_transaction_policy.decoupled or model.is_open:
        return
    for source in _sources(model):
        method = source.parsed.method("execute")
        if method is None or source.parsed.is_mixed or takes(method, 1) is None:
            continue
        if source.parsed.execute_yields:
            text = "execute is a generator, and the model is not decoupled: every request fails"
            yield Finding("", text, "return a list, or set `model_transaction_policy`", source.place(method))


@rule("TK719", NOTE, "the Python backend gives execute a list of requests (measured)")
def one_by_one(model: Model) -> Iterator[Finding]:
    """execute runs the model once for each request of a batch.

    The dynamic batcher hands over a list of requests, and nothing puts their tensors together: a loop that runs the
    model for each of them is as slow as no batching at all. Put the inputs together, run once, split the outputs.

    Bad:
        for request in requests:
            answers.append(self.session.run(None, read(request)))
    Good:
        batch = numpy.concatenate([read(request) for request in requests])
        answers = self.session.run(None, batch)
    """
    config = model.completed
    if config.max_batch_size < 2 or not config.HasField("dynamic_batching"):
        return
    for source in _sources(model):
        call = source.parsed.run_in_loop
        if call is not None:
            text = "the model is run once for each request of a batch"
            yield Finding("", text, "concatenate the inputs, run once, split the outputs", source.place(call))


def _is(method: Function, decorator: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == decorator for each in method.decorator_list)
