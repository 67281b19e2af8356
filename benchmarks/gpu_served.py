"""Claim: what the server and the runtime add to an engine is small; by how much, on one GPU.

    python3.11 benchmarks/gpu_served.py --graph resnet50.fp32.onnx --out FILE
    python3.11 benchmarks/gpu_served.py --device cpu --out FILE      the same steps without a GPU, in half a minute

On a machine with a GPU and TensorRT. ResNet-50 with random weights takes UINT8 pixels and gives its five best: all in
the graph (as layout `folded` makes it), in layout `fused`: one Python model that the project renders. `--folded` is
the plan of that graph; where the file is not there it is built first (a minute or two, beside the budget), and kept.
Bounds, measured in the same interleaved rounds: the engine alone in its ring at its best size of batch, and a model
that does nothing but answer, on the same server with as many instances. Every distinct answer is compared with what
the plan answers by itself, and with the graph without steps (or its plan, `--plan`). FILE is written after each step;
the most wanted comes first, and it ends after --budget seconds (and what a last turn takes), whatever happens.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python_backend"))

import gpu_served_graphs as graphs
import gpu_served_jpeg as on_gpu
import gpu_served_rows as rows
import numpy as np
from engines_gpu_plans import Results
from gpu_served_choices import Choice, choices_of, finer, of_choice
from gpu_served_clients import Clients, default_count
from gpu_served_models import Model, fitting, make_repository, say, shared_memory_bytes
from gpu_served_reference import ANGLE, OTHER, OWN, Alone, Embedded, Labelled, largest_batch, run_alone
from gpu_served_turns import EVEN, TRANSPORTS, Data, Serving

from deploy.embedded.server import EmbeddedServer

IMAGES, SEED = 16, 15
PHOTOGRAPHS_SEED = 11
IMAGE_BYTES = graphs.SIDE * graphs.SIDE * 3
PIXELS = {"images": ("uint8", (graphs.SIDE, graphs.SIDE, 3))}
BEST = {"label_index": ("int32", (graphs.TOP,)), "score": ("fp32", (graphs.TOP,))}
TOKENS = dict.fromkeys(("input_ids", "attention_mask"), ("int32", (graphs.TOKENS,)))
EMBEDDING = {"embedding": ("fp32", (graphs.WIDTH,))}
ROWS_OF = {
    "image_rows": ("one_image", "eight_images", "latency", "open_loop", "profile"),
    "other_rows": ("embeddings", "three_models"),
    "jpeg_row": ("jpeg",),
}
ROWS = tuple(row for rows_ in ROWS_OF.values() for row in rows_)
# What a row needs of the budget at least, with the start of its server: those before it leave it that much.
LEAST_S = {"eight_images": 80, "latency": 20, "open_loop": 25, "profile": 4, "embeddings": 50, "three_models": 24,
           "jpeg": 90}  # fmt: skip
SHARED_FILES = (8,)  # what an instance decodes before it hands its batch over
DECODE = "preprocess:\n  - decode: {to: rgb}\n  - resize: {size: [224, 224], method: linear}\n"


@dataclass(frozen=True)
class Files:
    """What is served: graphs for rendering and the plans of them (on a CPU the graphs are both)."""

    images: Path
    images_plan: Path
    without_steps: Path | None
    texts: Path | None
    texts_plan: Path | None


class Run:
    """Everything that the rows need, made once. `waiting`: (instances, size of batch that the queue waits for);
    `shared`: (instances that share an engine, the largest batch of each).
    """

    def __init__(self, options: argparse.Namespace, results: Results, clients: Clients, folder: Path) -> None:
        self.on_gpu = options.device == "gpu"
        self.options, self.results, self.clients, self.folder = options, results, clients, folder
        self.counts = [int(count) for count in _words(options.instances)]
        self.waiting = [(int(n), int(size)) for n, size in (pair.split("x") for pair in _words(options.waiting))]
        self.asked = frozenset(options.rows.split(","))
        self.shared = [(int(n), int(size)) for n, size in (pair.split("x") for pair in _words(options.shared))]
        self.largest = options.largest
        self.most = 128 if self.on_gpu else options.largest  # of an engine, alone or shared
        self.pace = rows.Pace() if self.on_gpu else rows.Pace.short()
        self.files = self._files()
        self.pixels = graphs.images(IMAGES, SEED)
        self.images = Data("images", lambda of: {"images": ("UINT8", self.pixels[list(of)])}, IMAGES)

    def row(self, name: str, make: Callable[[], Any]) -> Any:
        """One line of the table, if it was asked for; None if not, or where it failed."""
        return self.results.step(name, make) if name in self.asked else None

    def left_s(self, row: str) -> Callable[[], float]:
        """What is left of the budget for this row, when those that were asked for after it get theirs."""
        kept = sum(LEAST_S[later] for later in ROWS[ROWS.index(row) + 1 :] if later in self.asked)
        return lambda: self.results.left_s() - kept

    def _files(self) -> Files:
        options, folder = self.options, self.folder
        if not self.on_gpu:
            graph, texts = graphs.small(), graphs.small_embeddings()
            made = {
                "small": graph.SerializeToString(),
                "folded": graphs.folded(graph),
                "texts": texts.SerializeToString(),
            }
            for name, data in made.items():
                (folder / f"{name}.onnx").write_bytes(data)
            plain, whole, tokens = (folder / f"{name}.onnx" for name in made)
            return Files(whole, whole, plain, tokens, tokens)
        folded = folder / "folded.onnx"
        folded.write_bytes(graphs.folded(_onnx(options.graph)))
        plan = folder / "folded.plan"
        shutil.copy(options.folded, plan)  # beside the repository, for links
        there = options.texts and options.texts_plan and options.texts.exists() and options.texts_plan.exists()
        words = graphs.with_tokens(options.texts, folder / "texts.onnx") if there else None
        words_plan = Path(shutil.copy(options.texts_plan, folder / "texts.plan")) if there else None
        return Files(folded, plan, options.plan or options.graph, words, words_plan)

    def model(self, name: str, instances: int, **more: Any) -> Model:
        """An image model of so many instances."""
        files = self.files
        return Model(name, files.images, files.images_plan, PIXELS, BEST, instances, self.largest, **more)

    def choices(self, word: str) -> list[Choice]:
        """What a row may choose from."""
        return choices_of(word, self.counts, self.waiting, self.shared, item_bytes=IMAGE_BYTES, largest=self.largest)

    def ways(self, serving: Serving, model: str) -> Sequence[str]:
        """How images get there; over even connections only where those could be made."""
        made = self.results.step("connections_even", lambda: serving.connect_evenly(model, self.pace.most))
        return ("body", EVEN, "shared memory") if made is not None else TRANSPORTS

    def reference(self) -> dict[str, Any]:
        """What the plan answers by itself; the checkers are made of it."""
        own = run_alone(self.files.images_plan, {"images": self.pixels}, self.on_gpu)
        scores = None
        if self.files.without_steps is not None:
            mean, std = np.array(graphs.MEAN, np.float32), np.array(graphs.STD, np.float32)
            scaled = (self.pixels.astype(np.float32) - mean) / std
            chw = np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
            other = self.files.without_steps
            logits = run_alone(other, {"images": chw}, other.suffix == ".plan")["logits"].astype(np.float64)
            raised = np.exp(logits - logits.max(axis=1, keepdims=True))
            scores = raised / raised.sum(axis=1, keepdims=True)
        checker = self.images.checker = Labelled(own, scores)
        found = {
            "images": IMAGES, "tolerance": {"own": OWN, "other": OTHER, "one_minus_cosine": ANGLE},
            "without_steps": self.files.without_steps and self.files.without_steps.name,
            "largest_score": float(own["score"].max()),
            "two_images_are_apart_by": checker.nearest(),
        }  # fmt: skip
        try:
            checker.check(own, range(IMAGES))
        except ValueError as error:  # the figures are still worth having, with the served plan's own answers
            self.images.checker = Labelled(own, None)
            return {**found, "steps_in_the_graph": {"wrong": str(error)}}
        return {**found, "steps_in_the_graph": dict(checker.worst)}

    def alone(
        self, file: Path, inputs: Any, outputs: Any, tensors: Mapping[str, Any], largest: int | None = None
    ) -> Alone:
        """An engine alone, at its best size of batch."""
        most = largest or self.largest
        sizes = finer(most)
        found = Alone(file, inputs, outputs, sizes, tensors=tensors, on_gpu=self.on_gpu)
        key = "images" if "images" in inputs else "texts"
        self.results.step(
            f"engine_alone|{key}", lambda: {"load_s": found.load_s, "items_per_s": found.find_best(0.15)}
        )
        return found

    @contextmanager
    def serving(self, word: str, models: Sequence[Model]) -> Iterator[Serving]:
        """A server with these models; how long it took to start is noted."""
        start, folder = time.monotonic(), self.folder / word
        made = make_repository(models, folder, self.on_gpu)
        rendered = time.monotonic()
        with ExitStack() as stack:
            server = EmbeddedServer(made.path, made.needs, ready_timeout_s=120, on_progress=say)
            stack.callback(server.stop, grace_s=0)
            server.start()
            facts = {"render_s": rendered - start, "start_s": time.monotonic() - rendered,
                     "models": {model.name: model.instances for model in models},
                     "shm_free_bytes": shared_memory_bytes()}  # fmt: skip
            self.results.step(f"server|{word}", lambda: facts)
            yield Serving(server, self.clients, stack, http_threads=made.needs.http_threads)


def _onnx(file: Path) -> Any:
    import onnx

    return onnx.load(str(file))


def build(options: argparse.Namespace) -> dict[str, Any]:
    """The plan of the graph with its steps, if it is not there. Raises StageError."""
    if options.folded.exists():
        return {"there": options.folded.name, "bytes": options.folded.stat().st_size}
    plan, told = graphs.build(graphs.folded(_onnx(options.graph)), options.largest, options.timing_cache, say)
    options.folded.write_bytes(plan)
    return {**told, "bytes": len(plan)}


def facts(options: argparse.Namespace, run: Run) -> dict[str, Any]:
    """What it takes to compare the figures with others."""
    from loadtest.machine import machine

    found: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)), "clients": run.clients.count, "python": platform.python_version(),
        "numpy": np.__version__, "largest_batch": run.largest, "shm_free_bytes": shared_memory_bytes(),
        "load_average": os.getloadavg(), "machine": machine(),
    }  # fmt: skip
    if run.on_gpu:
        from tritonkit_runtime.buffered.tensorrt_bindings import load
        from tritonkit_runtime.device.cuda import Cuda

        found |= {**Cuda().facts(), "tensorrt": str(load().__version__), "plan_bytes": options.folded.stat().st_size}
    return found


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def image_rows(run: Run, alone: Alone) -> None:
    """One image and eight a request, latency, the open loop, and a profile of the model's thread."""
    pace = run.pace
    choices = run.choices("")
    profiled = run.model("profiled", min([4, *run.counts]), kind="profiled")
    models = [of_choice(run.model(one.served, one.instances), one, run.most) for one in choices]
    models += [run.model(f"idle_{n}", n, kind="idle") for n in sorted({one.instances for one in choices})]
    late = run.model("late_at_once", 1, delay_us=0, kind="late", waits_us=rows.one_item_us(alone, pace))
    models += [run.model("at_once", 1, delay_us=0), run.model("idle_at_once", 1, delay_us=0, kind="idle")]
    models += [late, profiled]

    with run.serving("images", models) as serving:
        ways = run.ways(serving, choices[0].idle)
        bench = rows.Bench(serving, run.images, alone, pace, run.left_s("one_image"))
        row = run.row("one_image", lambda: rows.share_of_bounds(bench, rows.ONES, choices, ways))
        eights = replace(bench, left_s=run.left_s("eight_images"))
        run.row("eight_images", lambda: rows.share_of_bounds(eights, rows.EIGHTS, choices, ways))
        alike = replace(bench, left_s=run.left_s("latency"))
        run.row("latency", lambda: rows.latency(alike, "at_once", "idle_at_once", late))
        if row is not None:
            last, seconds = replace(bench, left_s=run.left_s("open_loop")), 1.5 if run.on_gpu else 0.6
            run.row("open_loop", lambda: rows.open_loop(last, row))
            run.row("profile", lambda: rows.profile(last, profiled, run.folder / "images", row, seconds))


def other_rows(run: Run) -> None:
    """Embeddings, and three models on one GPU."""
    pace, files = run.pace, run.files
    most = run.largest
    models = [run.model("images_a", 2), run.model("images_b", 2)]
    ids = graphs.texts(IMAGES, SEED)
    choices = run.choices("texts_")
    if files.texts is None or files.texts_plan is None:
        say("no embeddings were given: their row is left out, and three image models run together")
        models.append(run.model("images_c", 2))
    else:
        if run.on_gpu:
            most = largest_batch(files.texts_plan, ids, run.most)
        choices = [choice for choice in choices if choice.waits_for <= most]
        what = files.texts, files.texts_plan, TOKENS, EMBEDDING
        models += [of_choice(Model(one.served, *what, one.instances, run.largest), one, most) for one in choices]
        models += [
            Model(f"texts_idle_{n}", *what, n, run.largest, kind="idle")
            for n in sorted({choice.instances for choice in choices})
        ]
    texts = Data("texts", lambda of: {name: ("INT32", array[list(of)]) for name, array in ids.items()}, IMAGES)
    with run.serving("others", models) as serving:
        if files.texts_plan is not None:
            texts.checker = Embedded(run_alone(files.texts_plan, ids, run.on_gpu))
            alone = run.alone(files.texts_plan, TOKENS, EMBEDDING, ids, most)
            bench = rows.Bench(serving, texts, alone, pace, run.left_s("embeddings"))
            run.row("embeddings", lambda: rows.share_of_bounds(bench, rows.TEXTS, choices, ("body",)))
            alone.close()
        # Eight a request: a third of the clients has to saturate the GPU with one model alone.
        items, level = min(8, run.largest), 24 if run.on_gpu else 4
        third = ("images_c", run.images) if files.texts_plan is None else (choices[0].served, texts)
        asked = [("images_a", run.images), ("images_b", run.images), third]
        loads = [(serving.load(name, "shared memory", data, items), level) for name, data in asked]
        run.row("three_models", lambda: rows.together(serving, loads, pace, run.left_s("three_models")))


def jpeg_row(run: Run, alone: Alone) -> None:
    """JPEG files in."""
    pace = run.pace
    photographs = graphs.photographs(IMAGES, PHOTOGRAPHS_SEED)
    data = Data("jpeg", lambda of: {"image": ("BYTES", np.array([[photographs[i]] for i in of], np.object_))}, IMAGES)
    pixels = {"images": rows.decode(photographs)}
    own = run_alone(run.files.images_plan, pixels, run.on_gpu)
    data.checker = Labelled(own, None)
    # An instance decodes on one thread: up to as many as the machine has cores to spare. Each holds 2 GB of the GPU.
    wanted = [16, 28] if run.on_gpu else [2]
    counts = fitting([n for n in wanted if n < len(os.sched_getaffinity(0)) or n == wanted[0]], 1, 0, IMAGE_BYTES, 32)
    choices = [Choice(n, f"jpeg_{n}", "") for n in counts]
    choices += [Choice(n, f"jpeg_shared_{n}_{size}", "", 0, size) for n in counts for size in SHARED_FILES]
    models = []
    for one in choices:
        model = replace(run.model(one.served, one.instances), inputs={"image": ("bytes", ())}, before=DECODE)
        models.append(of_choice(replace(model, largest=min(32, run.largest)), one, run.most))
    way = None
    if run.on_gpu:
        why = on_gpu.absent()
        if why:
            run.results.step("jpeg_decoded_on_the_gpu", lambda: {"left out": why})
        else:
            # The GPU's engines are shared by all: few instances keep them busy, with large batches.
            decoders = {n: f"jpeg_gpu_{n}" for n in (2, 4, 6)}
            together = [Choice(n, f"jpeg_gpu_shared_{n}_16", "", 0, 16) for n in (8, 16, 24)]
            names = decoders | {one.instances: one.served for one in together}
            way = on_gpu.Way(names, replace(data, name="jpeg_gpu"))
            way.data.checker = Labelled(own, None)
            files, steps = {"image": ("bytes", ())}, {"preprocess": "gpu", "decode": "gpu"}
            models += [
                replace(run.model(name, n), inputs=files, before=DECODE, buffers=steps)
                for n, name in decoders.items()
            ]  # fmt: skip
            for one in together:
                model = of_choice(run.model(one.served, one.instances), one, run.most)
                models.append(replace(model, inputs=files, before=DECODE, buffers={"process": "shared", **steps}))
    with run.serving("jpeg", models) as serving:
        bench = rows.Bench(serving, data, alone, pace, run.left_s("jpeg"))
        run.row("jpeg", lambda: rows.jpeg(bench, choices, photographs, way))


def several(results: Results, name: str, make: Callable[[], None]) -> None:
    """Steps that write their own results; only how all of them failed is written under this name."""
    results.step(name, make)
    if results.data[name] is None:
        del results.data[name]


def main() -> int:
    """Everything, in order of how much it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--graph", type=Path, help="ResNet-50 in FP32, ONNX: images [n, 3, 224, 224] -> logits")
    parser.add_argument("--plan", type=Path, help="its plan in FP16, to compare with (else the graph, on the CPU)")
    parser.add_argument("--timing-cache", type=Path, help="timings of earlier builds; made if it is not there")
    parser.add_argument("--folded", type=Path, default=Path("/tmp/gpu/resnet50.folded.fp16.plan"))  # noqa: S108
    parser.add_argument("--texts", type=Path, help="embeddings, ONNX: input_ids, attention_mask [n, tokens]")
    parser.add_argument("--texts-plan", type=Path, help="their plan in FP16, for 128 tokens among others")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=240.0, help="seconds, building left out")
    parser.add_argument("--largest", type=int, default=64, help="largest batch that is served")
    parser.add_argument("--instances", default="", help="counts to try whose queue takes what there is")
    parser.add_argument("--waiting", default=None, help="counts to try whose queue waits for a whole batch, as 6x32")
    parser.add_argument("--shared", default=None, help="counts to try that share an engine, with batches of, as 8x32")
    parser.add_argument("--rows", default=",".join(ROWS), help="of the table; others are not measured")
    parser.add_argument("--clients", type=int, default=default_count(), help="client processes")
    parser.add_argument("--build-only", action="store_true", help="build the plan of --folded and end")
    options = parser.parse_args()
    if options.waiting is None:
        options.waiting = "8x64" if options.device == "gpu" else "2x8"
    if options.shared is None:
        options.shared = "12x32,16x16,24x16" if options.device == "gpu" else "2x8"
    options.out.unlink(missing_ok=True)
    if options.device == "gpu":
        built = Results(options.out, 1e9).step("build", lambda: build(options))
        if built is None or options.build_only:
            return 0 if built else 1
    # Ends the process with every thread's stack when something hangs, in a driver too; the server ends with it.
    faulthandler.dump_traceback_later(options.budget + 45, exit=True)
    results = Results(options.out, options.budget)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gpu-served-")))
        run = Run(options, results, stack.enter_context(Clients(options.clients, folder)), folder)
        results.step("facts", lambda: facts(options, run))
        if results.step("reference", run.reference) is not None:
            alone = run.alone(run.files.images_plan, PIXELS, BEST, {"images": run.pixels}, run.most)
            stack.callback(alone.close)
            servers = {"image_rows": (image_rows, alone), "other_rows": (other_rows,), "jpeg_row": (jpeg_row, alone)}
            for name, (make, *more) in servers.items():
                if run.asked.intersection(ROWS_OF[name]):
                    several(results, name, partial(make, run, *more))
        results.step("seconds", lambda: time.monotonic() - results.start)
    if "wrong" in results.data.get("reference", {}).get("steps_in_the_graph", {"wrong": "missing"}):
        return 1
    return 0 if all("failed" not in results.data.get(name, {"failed": "missing"}) for name in run.asked) else 1


if __name__ == "__main__":
    raise SystemExit(main())
