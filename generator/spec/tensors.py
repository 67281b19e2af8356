"""Tensors as a spec declares them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from generator.spec.base import DataType, ProjectPath, Strict

# -1 is an axis of any length.
Dim = Annotated[int, Field(ge=-1)]


class TensorSpec(Strict):
    """One tensor: its element type and its shape without the batch axis."""

    type: DataType = Field(description="Element type; `bytes` is an encoded file (an image), one per item.")
    dims: list[Dim] | None = Field(
        None,
        description="Shape without the batch axis; -1 is any length. `bytes` and `string` default to [1].",
    )
    optional: bool = Field(False, description="Requests may leave this input out (Python models only).")
    ragged: bool = Field(False, description="Requests whose shapes differ may share a batch (allow_ragged_batch).")
    format: Literal["none", "nchw", "nhwc"] = Field("none", description="What Triton calls the input's format.")
    reshape: list[Dim] | None = Field(None, description="The shape that the backend sees, where it differs.")
    labels: ProjectPath | None = Field(None, description="A file of labels, one a line, for Triton's classification.")

    @model_validator(mode="after")
    def _dims_where_needed(self) -> Self:
        if self.dims is None and self.type not in {"bytes", "string"}:
            raise ValueError(f"a tensor of type `{self.type}` needs `dims`, its shape without the batch axis")
        if self.dims is not None and 0 in self.dims:
            raise ValueError("0 is no length of an axis; lengths are 1 or more, or -1 for any")
        if self.dims == []:
            raise ValueError("`dims` is empty; a tensor with one value an item has dims: [1]")
        return self

    def shape(self) -> tuple[int, ...]:
        """The dims, with the default of encoded bytes and text filled in."""
        return (1,) if self.dims is None else tuple(self.dims)
