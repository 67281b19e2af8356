"""Whether the pools that a server is started with hold what its pipelines need, asked before anything starts.

What `needs_of` derives always holds it: this is for those who start an EmbeddedServer with needs of their own.
"""

from __future__ import annotations

from deploy.embedded.flags import ServerNeeds, on_gpu
from generator.problems import UserError


class PoolError(UserError):
    """A pool is too small; the message says how much it has and how much is needed."""


def check(needs: ServerNeeds) -> None:
    """Raises PoolError: a server with too small a pool starts, and answers with wrong data later."""
    if not needs.gpus:
        return
    cuda, wanted = needs.cuda_memory_pool_bytes, needs.cuda_pool_needed_bytes
    of_each = isinstance(cuda, int)
    for name, has, needed in (
        *(
            (f"CUDA pool of {'each GPU' if of_each else f'GPU {gpu}'}", on_gpu(cuda, gpu), on_gpu(wanted, gpu))
            for gpu in needs.gpus
        ),
        ("pinned pool", needs.pinned_pool_bytes, needs.pinned_pool_needed_bytes),
    ):
        if has < needed:
            from generator.memory.flags import WRONG_DATA

            raise PoolError(
                f"TK241: the {name} has {has:,} bytes, and the pipelines need {needed:,}: {WRONG_DATA}",
                "give it as many, or lower instances or the largest batch; `tritonkit memory` shows what needs them",
            )
