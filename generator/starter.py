"""A first spec for a model: filled in from the ONNX file where it is there."""

from __future__ import annotations

import json
import re

from generator.plan import Tensor
from generator.problems import UserError
from generator.project import Project
from generator.render.templates import template
from generator.resolve.onnx_graph import OnnxGraphError, read
from generator.spec.base import spec_dtype

# Text that needs no quotes, whatever YAML's version: words that begin with a letter, but for those with a meaning.
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
# What stands in a starter whose ONNX file is not there yet.
PLACEHOLDER_INPUTS: tuple[Tensor, ...] = (Tensor("x", "FP32", (3, 224, 224)),)
PLACEHOLDER_OUTPUTS: tuple[Tensor, ...] = (Tensor("y", "FP32", (1000,)),)


def starter(name: str, onnx: str, project: Project) -> str:
    """The text of `specs/<name>.yaml`. Raises UserError when the ONNX file is there and cannot be used."""
    inputs, outputs, max_batch_size = PLACEHOLDER_INPUTS, PLACEHOLDER_OUTPUTS, 8
    bare: tuple[str, ...] = ()
    if project.has_file(onnx):
        try:
            graph = read(project.path(onnx))
        except OnnxGraphError as error:
            raise UserError(f"`{onnx}` {error}") from error
        bare = () if graph.fixed_batch() else graph.bare()
        max_batch_size = 0 if graph.fixed_batch() or bare else 8
        inputs, outputs = (
            tuple(t.without_batch() if max_batch_size else t.whole() for t in tensors)
            for tensors in (graph.inputs, graph.outputs)
        )
    return template("spec.yaml.j2").render(
        title=name,
        name=scalar(name),
        onnx=scalar(onnx),
        schema="../docs/spec.schema.json",
        inputs=[_shown(t) for t in inputs],
        outputs=[_shown(t) for t in outputs],
        max_batch_size=max_batch_size,
        bare=", ".join(f"`{name}`" for name in bare),
    )


def scalar(text: str) -> str:
    """Text as YAML: quoted where YAML would read something else than this text."""
    return text if PLAIN.fullmatch(text) and text.lower() not in WORDS else json.dumps(text, ensure_ascii=False)


def _shown(tensor: Tensor) -> dict[str, str]:
    dims = ", ".join(map(str, tensor.dims or (1,)))
    return {"name": scalar(tensor.name), "declared": f"{{type: {spec_dtype(tensor.dtype)}, dims: [{dims}]}}"}
