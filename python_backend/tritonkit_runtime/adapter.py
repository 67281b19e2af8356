"""Triton's side: `model.py` takes `TritonPythonModel` from here. The only module that knows the server's API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import triton_python_backend_utils as pb_utils

from tritonkit_runtime import kept_memory, parameters, stub_check
from tritonkit_runtime.batch import Tensors
from tritonkit_runtime.execution import ON_HOST, Failure, answered, execute, failure
from tritonkit_runtime.parameters import EngineProgram, FlowProgram, ParameterError, Parameters, TensorSpec
from tritonkit_runtime.programs import Program

if TYPE_CHECKING:
    from tritonkit_runtime.buffered.exchange import Exchange


class TritonPythonModel:
    """A model as Triton's Python backend wants it: its program runs once for all requests of an execution."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Builds the program from tritonkit.json beside model.py; the model does not load if that fails."""
        try:
            kept_memory.keep()  # the stub copies every tensor of a request, and frees it with the request
            stub_check.check(pb_utils.Tensor)
            folder = Path(args["model_repository"], args["model_version"])
            self._parameters = parameters.load(folder)
            config = json.loads(args["model_config"])
            check_config(config, self._parameters)
            self._anywhere = anywhere(config)
            self._batched = self._parameters.max_batch_size > 0
            self._ranks = {tensor.name: 1 + len(tensor.dims) for tensor in self._parameters.inputs}
            self._required = [tensor.name for tensor in self._parameters.inputs if not tensor.optional]
            self._exchange = exchange_of(self._parameters, gpu_of(args), anywhere=self._anywhere)
            self._program = Program(self._parameters, folder, pb_utils.Logger.log_error, gpu_of(args))
        except (ParameterError, RuntimeError) as error:
            # The server shows this exception's text; `from None` keeps a traceback out of it.
            raise pb_utils.TritonModelException(str(error)) from None

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response a request, in order."""
        # request.is_cancelled() is not asked: it is a round trip to the server for every request, which
        # costs more than most programs' work on one, and the server's queue drops what is cancelled there.
        # From here on there are loops where a comprehension would do, and what can be is found when loading: of one
        # request alone, which finds the caches cold, each function that is called counts (test_one_request.py).
        given: list[Any] = []
        if self._exchange is None:
            for request in requests:
                given.append(_inputs(request, self._anywhere))
            answers = answered(given, self._answers)
        else:
            for request in requests:
                given.append(request.inputs())
            answers = self._exchange.answers(given, self._answers)
        responses = []
        for request, answer in zip(requests, answers, strict=True):
            responses.append(_response(request, answer, self._exchange))
        return responses

    def _answers(self, tensors: list[Tensors]) -> list[Tensors | Failure]:
        return execute(self._program, tensors, self._batched, self._ranks, self._required)

    def finalize(self) -> None:
        """Frees the program."""
        self._program.close()


def gpu_of(args: Mapping[str, str]) -> int | None:
    """The number of the GPU that the server gave this instance, which does not make it the process's own."""
    return int(args["model_instance_device_id"]) if args.get("model_instance_kind") == "GPU" else None


def check_config(config: Mapping[str, Any], declared: Parameters) -> None:
    """ParameterError when config.pbtxt, as the server read it, and tritonkit.json are of different renderings."""
    found = {
        "max_batch_size": config["max_batch_size"],
        "inputs": [_tensor(tensor) for tensor in config["input"]],
        "outputs": [_tensor(tensor) for tensor in config["output"]],
    }
    expected = {
        "max_batch_size": declared.max_batch_size,
        "inputs": [str(tensor) for tensor in declared.inputs],
        "outputs": [str(tensor) for tensor in declared.outputs],
    }
    for field, value in expected.items():
        if found[field] != value:
            raise ParameterError(
                f"config.pbtxt and {parameters.FILE_NAME} of model {declared.model} differ in {field}: "
                f"{found[field]} and {value}; render the repository again"
            )


def _tensor(config: Mapping[str, Any]) -> str:
    # With `reshape` the server changes the shape on its way: the model sees the other one.
    seen = config["reshape"]["shape"] if "reshape" in config else config["dims"]
    dims = tuple(int(length) for length in seen)
    return str(TensorSpec(config["name"], config["data_type"].removeprefix("TYPE_"), dims))


def anywhere(config: Mapping[str, Any]) -> bool:
    """Whether the server leaves inputs where they are, on a GPU too, as config.pbtxt tells it."""
    said = config.get("parameters", {}).get("FORCE_CPU_ONLY_INPUT_TENSORS", {})
    return bool(said.get("string_value") == "no")


def _inputs(request: Any, anywhere: bool) -> Tensors | Failure:
    """The tensors of a request; a failure where one lies on a GPU, which the server may leave it on if `anywhere`."""
    found: Tensors = {}
    for tensor in request.inputs():
        if anywhere and not tensor.is_cpu():
            return failure(f"input {tensor.name()!r} {ON_HOST}", from_client=True)
        found[tensor.name()] = tensor.as_numpy()
    return found


def exchange_of(declared: Parameters, gpu: int | None, *, anywhere: bool = False) -> Exchange | None:
    """What takes tensors by DLPack, where some of an engine's may lie on a GPU or have no type of numpy's."""
    program = declared.program
    parts = [stage.program for stage in program.stages] if isinstance(program, FlowProgram) else [program]
    if not any(isinstance(part, EngineProgram) and part.buffers is not None for part in parts):
        return None
    # Models that carry the runtime have this part of it where they need it alone.
    from tritonkit_runtime.buffered.exchange import Exchange
    from tritonkit_runtime.programs.direct import direct

    found = direct(declared)
    return (
        Exchange(found, declared.inputs, batched=declared.max_batch_size > 0, gpu=gpu) if found or anywhere else None
    )


def _response(request: Any, answer: Tensors | Failure, exchange: Exchange | None) -> Any:
    if isinstance(answer, Failure):
        code = pb_utils.TritonError.INVALID_ARG if answer.from_client else pb_utils.TritonError.INTERNAL
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(answer.message, code))
    wanted = request.requested_output_names()
    made = []
    for name, array in answer.items():
        if name not in wanted:
            continue
        if exchange is None:
            made.append(pb_utils.Tensor(name, array))
        else:
            made.append(exchange.made(name, array, pb_utils.Tensor))
    return pb_utils.InferenceResponse(made)
