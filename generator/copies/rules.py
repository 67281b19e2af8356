"""The rules that say what is copied where. docs/reference/copies.md has what was seen of each."""

from __future__ import annotations

from typing import NamedTuple

_SEEN = "seen, server 2.51"
_TRACED = "seen on a GPU, server 2.51"
_PROCESS = "tritonkit_runtime/engine_process"


class Rule(NamedTuple):
    """What happens at a hop, and where that was seen or read. `by` is who does it (empty: the model's backend)."""

    by: str
    title: str
    source: str

    @property
    def is_seen(self) -> bool:
        """Whether it was seen in a running server; else it was only read."""
        return self.source in (_SEEN, _TRACED)


RULES: dict[str, Rule] = {
    "http-in": Rule("front end", "the socket is read into the server's memory, and used there", _SEEN),
    "http-out": Rule("front end", "the response's memory is written to the socket", _SEEN),
    "grpc-in": Rule("front end", "the socket is read into pieces", _SEEN),
    "grpc-parse": Rule("front end", "protobuf puts the pieces together in the message", _SEEN),
    "grpc-serialise": Rule("front end", "protobuf writes the message into pieces", "grpc, protobuf"),
    "grpc-out": Rule("front end", "the pieces are written to the socket", _SEEN),
    "shm-in": Rule("front end", "the server has mapped the client's region, and reads it in place", _SEEN),
    "shm-out": Rule("front end", "the model's answer is written into the client's region itself", _SEEN),
    "cuda-shm-in": Rule("front end", "the server has mapped the region of the GPU", _TRACED),
    "cuda-shm-out": Rule("front end", "the answer is written into the region of the GPU", _TRACED),
    "stub-in": Rule("python backend", "the server copies the input into the shared memory of the stub", _SEEN),
    "as-numpy": Rule("stub", "the stub copies it into the process's own memory, for `as_numpy`", _SEEN),
    "text-in": Rule("stub", "the stub makes Python objects of the texts", "python_backend pb_tensor.cc"),
    "concatenate": Rule("runtime", "the requests of an execution become one array", "tritonkit_runtime/batch.py"),
    "own-copy": Rule("runtime", "a class of your own may write into its input: it gets a copy", _SEEN),
    "in-process": Rule("runtime", "the next stage takes the same array", "tritonkit_runtime/programs/flow.py"),
    "staged-in": Rule("runtime", "a batch is put into pinned memory that is kept", "tritonkit_runtime/buffered"),
    "buffer-in": Rule("runtime", "from there to the GPU, on the engine's stream", _TRACED),
    "pool-in": Rule("python backend", "the server copies it into its CUDA pool first, and waits",
                    _TRACED),
    "gpu-in": Rule("runtime", "the GPU copies rows that lie there to where the engine reads them", _TRACED),
    "file-in": Rule("runtime", "the decoder brings the encoded file to the GPU", "nvImageCodec"),
    "decoded": Rule("runtime", "the GPU decodes it where the kernel reads it", "tritonkit_runtime/preprocess"),
    "kernel": Rule("runtime", "a kernel makes the input where the engine reads it", _TRACED),
    "buffer-out": Rule("runtime", "from the GPU to pinned memory", _TRACED),
    "staged-out": Rule("runtime", "out of it, which the next batch needs", "tritonkit_runtime/buffered"),
    "shared-in": Rule("runtime", "a batch is put into memory that the engine process sees", _PROCESS),
    "shared-to-gpu": Rule("engine process", "from there to the GPU, each instance's batch by itself", _TRACED),
    "file-taken": Rule("engine process", "a file is taken out, so that nobody else writes to it", _PROCESS),
    "merged-in": Rule("engine process", "batches of all instances are put together", _PROCESS),
    "merged-out": Rule("engine process", "answers of all of them, from the GPU to its own pinned memory", _TRACED),
    "rows-out": Rule("engine process", "an instance's rows go back to where it sees them", _PROCESS),
    "shared-out": Rule("runtime", "out of it, which the next batch needs", _PROCESS),
    "gpu-left": Rule("runtime", "it stays where the engine wrote it, until the server has let go of it", _TRACED),
    "stub-from-engine": Rule("stub", "the stub copies the output from the GPU, where the server wants it, and waits",
                             _TRACED),
    "respond-from-pool": Rule("python backend", "and the server from its CUDA pool, in which no client's region is",
                              _TRACED),
    "stub-out": Rule("stub", "the stub copies the output into its shared memory", _SEEN),
    "respond": Rule("python backend", "the server copies the output from there into the response", _SEEN),
    "hand-over": Rule("ensemble", "the ensemble gives the next step the same memory", _SEEN),
    "hand-over-gpu": Rule("ensemble", "the same, in the CUDA pool", "core ensemble_scheduler"),
    "native": Rule("", "the backend runs in the server, and reads the request in place", "backend_input_collector"),
    "gather": Rule("", "the backend puts the requests of a batch together", "backend_input_collector"),
    "native-out": Rule("", "the backend copies the output into the response", "backend_output_responder"),
    "pinned-in": Rule("", "pageable memory goes through the pinned pool", "backend_input_collector"),
    "to-gpu": Rule("", "from host to GPU", "backend_input_collector"),
    "on-gpu": Rule("", "into the CUDA pool, for the next step", "backend_output_responder"),
    "from-gpu": Rule("", "from the GPU to the host", "backend_output_responder"),
    "stub-from-gpu": Rule("python backend", "a Python model takes its inputs from the host", _TRACED),
}  # fmt: skip
