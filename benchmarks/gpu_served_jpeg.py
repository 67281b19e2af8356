"""JPEG files decoded by the GPU, for gpu_served.py: served, and nvImageCodec alone in one process and in several."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from engines_gpu_plans import interval
from gpu_served_models import as_json
from gpu_served_turns import Data, Load, Serving, middle

SIZES = (16, 32, 64, 128)  # batches that nvImageCodec alone is tried with
SERVED, ONE, SEVERAL = "served, decoded on the GPU", "nvImageCodec, 1 process", "nvImageCodec, as many as instances"


def absent() -> str:
    """Why nvImageCodec is not here; empty where it is."""
    from tritonkit_runtime.preprocess.errors import NotOnGpuError
    from tritonkit_runtime.preprocess.nvimgcodec import package

    try:
        package()
    except NotOnGpuError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Way:
    """Served models that decode on the GPU, by instances, and what they are asked."""

    names: Mapping[int, str]
    data: Data

    def swept(self, serving: Serving, levels: Sequence[int], seconds: float) -> tuple[list[dict[str, Any]], Any]:
        """Every setting once, and the loads by instances."""
        loads = {n: serving.load(served, "body", self.data, 1) for n, served in self.names.items()}
        turns = [
            {"instances": n, **serving.turn(load, level, seconds)} for n, load in loads.items() for level in levels
        ]
        return turns, loads


@contextmanager
def cases(
    serving: Serving, load: Load, chosen: Mapping[str, Any], files: Sequence[bytes], seconds: float
) -> Iterator[dict[str, Callable[[], Any]]]:
    """What is measured once a round; processes that decode alone are there meanwhile."""
    n = int(chosen["instances"])
    with get_context("spawn").Pool(n, _ready, (list(files),)) as pool:

        def alone(processes: int, size: int, seconds: float) -> float:
            return sum(pool.map(_rate, [(seconds, size)] * processes, 1))

        alone(n, SIZES[0], 0.3)
        best = {count: max(SIZES, key=partial(alone, count, seconds=0.3)) for count in {1, n}}
        yield {
            SERVED: partial(serving.turn, load, int(chosen["in_flight"]), seconds),
            ONE: partial(alone, 1, best[1], seconds / 2),
            SEVERAL: partial(alone, n, best[n], seconds / 2),
        }


def judged(
    rounds: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], sweep: Sequence[Mapping[str, Any]], answers: Any
) -> dict[str, Any]:
    """Served over the slower of the engine and the better of both ways to decode alone."""
    share = interval([one[SERVED]["items_per_s"] / min(one["engine"], max(one[ONE], one[SEVERAL])) for one in rounds])
    times = interval([one[SERVED]["items_per_s"] / one["served"]["items_per_s"] for one in rounds])
    return dict(as_json({
        "share_of_the_slower": share, "target": 0.85, "met": share["median"] >= 0.85,
        "instances": chosen["instances"], "in_flight": chosen["in_flight"],
        "served": interval([one[SERVED]["items_per_s"] for one in rounds]),
        "served_p99_us": interval([one[SERVED]["p99_us"] for one in rounds]),
        "times_decoded_on_the_cpu": times,
        "decoding_1_process": interval([one[ONE] for one in rounds]),
        "decoding_as_many_as_instances": interval([one[SEVERAL] for one in rounds]),
        "engine": interval([one["engine"] for one in rounds]),
        "served_split": middle(rounds, SERVED, "server"), "cores": middle(rounds, SERVED, "cores"),
        "sweep": sweep, "answers": answers,
    }))  # fmt: skip


_HERE: dict[str, Any] = {}


def _ready(files: list[bytes]) -> None:
    from tritonkit_runtime.device.cuda import Cuda
    from tritonkit_runtime.parameters import Limits
    from tritonkit_runtime.preprocess.nvimgcodec import NvImageCodec
    from tritonkit_runtime.steps.decode import Decode

    cuda = Cuda()
    decode = Decode(to="rgb", limits=Limits())
    _HERE.update(
        cuda=cuda, codec=NvImageCodec(cuda, 0, 3, print), stream=cuda.stream(), kept=[],
        files=[decode.checked(file) for file in files],
    )  # fmt: skip


def _rate(asked: tuple[float, int]) -> float:
    """Images a second of this process, in batches of one size, into memory that it has."""
    seconds, size = asked
    codec, stream, files = _HERE["codec"], _HERE["stream"], _HERE["files"]
    batch = [files[i % len(files)] for i in range(size)]
    if len(_HERE["kept"]) != size:
        _HERE["kept"] = []
        _HERE["kept"] = codec.images(batch, stream)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        if None in codec.images(batch, stream, _HERE["kept"]):
            raise ValueError("a file was not decoded")
        _HERE["cuda"].wait(stream)
        count += size
    return count / (time.perf_counter() - start)
