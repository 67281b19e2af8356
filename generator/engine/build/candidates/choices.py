"""Which engines are tried for a job."""

from __future__ import annotations

from dataclasses import dataclass

from generator.engine.build.jobs import Job
from generator.project import EMBEDDED

_ENVIRONMENT = "EXECUTION_ENV_PATH"


@dataclass(frozen=True)
class Choice:
    """An engine and a precision to try.

    `served`: whether there is something that can serve it on the target. `cuda`: on the GPU, of engines that also run
    on a CPU.
    """

    engine: str
    precision: str
    served: bool = True
    cuda: bool = False

    @property
    def title(self) -> str:
        """`onnxruntime int8`."""
        return f"{self.engine} {self.precision}"


def choices(job: Job) -> list[Choice]:
    """What the spec asks for; of `auto` every engine of the target, in FP32 and in the precision that it names."""
    program = job.program
    gpu = job.plan.target.gpu is not None
    if program.asked != "auto":
        # Without a GPU here the graph is made all the same, and judged on the CPU.
        cuda = gpu and (program.engine == "inductor" or (program.engine == "onnxruntime" and has_cuda()))
        return [Choice(program.engine, program.precision, cuda=cuda)]
    asked = program.asked_precision
    precisions = ["fp32"] if asked == "fp32" else ["fp32", asked]
    found = [
        Choice("onnxruntime", precision, cuda=gpu) for precision in precisions if precision not in {"tf32", "fp8"}
    ]
    if gpu and "tensorrt" in job.plan.target.backends:
        found += [Choice("tensorrt", precision) for precision in precisions]
    inductor = [precision for precision in precisions if precision not in {"int8", "fp8"}]
    served = _has_torch(job) and _is_fixed(job)
    return [*found, *(Choice("inductor", precision, served=served, cuda=gpu) for precision in inductor)]


def _has_torch(job: Job) -> bool:
    """Whether the server has the torch that is here: the embedded one runs in this Python, and others are told of an
    environment. No image of tritonkit's brings it.
    """
    return job.plan.target.name == EMBEDDED or _ENVIRONMENT in job.model.parameters


def _is_fixed(job: Job) -> bool:
    """Whether the tensors have one size an item, as buffers that are allocated once want them."""
    return all(-1 not in tensor.dims for tensor in (*job.model.inputs, *job.model.outputs))


def has_cuda() -> bool:
    """Whether ONNX Runtime runs on a GPU here."""
    from generator.engine.compile.onnxruntime import OnnxRuntimeCompiler

    return not OnnxRuntimeCompiler(cuda=True).missing()
