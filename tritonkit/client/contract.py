"""What a pipeline takes and gives: names, dtypes and dims, from a Plan or from the server's configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonkit.client.errors import ContractError

if TYPE_CHECKING:
    from generator.plan import Plan


@dataclass(frozen=True)
class TensorContract:
    """One input or output. `dtype` in Triton's words without TYPE_ (`STRING`, `FP32`, ...).

    `dims` has no batch axis; -1 is an axis of any length.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    optional: bool = False

    def describe(self) -> str:
        """`FP32 [1, 8, 8]`."""
        return f"{self.dtype} [{', '.join(map(str, self.dims))}]"

    @property
    def wire_dtype(self) -> str:
        """The dtype as requests spell it: a STRING travels as BYTES."""
        return "BYTES" if self.dtype == "STRING" else self.dtype

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether one item of this shape fits `dims`."""
        return len(shape) == len(self.dims) and all(
            want in (-1, found) for want, found in zip(self.dims, shape, strict=True)
        )


@dataclass(frozen=True)
class Contract:
    """The model that clients call, and its tensors. `max_batch_size` 0: requests have no batch axis."""

    name: str
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]
    max_batch_size: int = 0

    @classmethod
    def of_plan(cls, plan: Plan) -> Contract:
        """The contract of a resolved pipeline."""
        model = plan.ensemble or plan.models[0]
        inputs = tuple(TensorContract(t.name, t.dtype, t.dims, t.optional) for t in model.inputs)
        outputs = tuple(TensorContract(t.name, t.dtype, t.dims) for t in model.outputs)
        return cls(model.name, inputs, outputs, model.max_batch_size)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Contract:
        """From a ModelConfig as JSON, as either protocol of the server gives it."""
        return cls(
            str(config["name"]),
            tuple(map(_tensor_of_config, config.get("input", ()))),
            tuple(map(_tensor_of_config, config.get("output", ()))),
            int(config.get("max_batch_size", 0)),
        )

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Contract:
        """From a model's metadata, which do not tell a batch axis from another: one of any length is taken for it.

        They do not say either which inputs are optional, nor how large a batch may be: 1 stands for any.
        """
        every = [*metadata["inputs"], *metadata.get("outputs", ())]
        batched = bool(every) and all(list(map(int, tensor["shape"]))[:1] == [-1] for tensor in every)
        inputs, outputs = (
            tuple(_tensor_of_metadata(tensor, batched) for tensor in metadata.get(kind, ()))
            for kind in ("inputs", "outputs")
        )
        return cls(str(metadata["name"]), inputs, outputs, int(batched))

    @property
    def required_inputs(self) -> tuple[TensorContract, ...]:
        """The inputs without which no request is answered."""
        return tuple(t for t in self.inputs if not t.optional)

    def differences(self, server: Contract) -> list[str]:
        """What keeps a client of this contract from using the server's model; a sentence each.

        The size of the largest batch, further outputs and further optional inputs make no difference.
        """
        found: list[str] = []
        if self.name != server.name:
            found.append(f"the contract is of {self.name!r}, not of {server.name!r}")
        if bool(self.max_batch_size) != bool(server.max_batch_size):
            sizes = f"max_batch_size is {self.max_batch_size} here and {server.max_batch_size} on the server"
            found.append(f"{sizes}: only one of them has a batch axis")
        found += _compare("input", self.inputs, server.inputs)
        known = {t.name for t in self.inputs}
        missing = [t for t in server.required_inputs if t.name not in known]
        found += [f"the server also wants input {t.name!r} ({t.describe()})" for t in missing]
        return found + _compare("output", self.outputs, server.outputs)

    def check_against(self, server: Contract, address: str) -> None:
        """Raises ContractError that names every difference."""
        found = self.differences(server)
        if found:
            text = f"the server at {address} serves another {self.name!r} than expected: {'; '.join(found)}"
            raise ContractError(text, tuple(found))


def _tensor_of_config(entry: Mapping[str, Any]) -> TensorContract:
    dtype = str(entry["data_type"]).removeprefix("TYPE_")
    dims = tuple(int(d) for d in entry.get("dims", ()))
    return TensorContract(str(entry["name"]), dtype, dims, bool(entry.get("optional", False)))


def _tensor_of_metadata(entry: Mapping[str, Any], batched: bool) -> TensorContract:
    dtype = str(entry["datatype"])
    dims = tuple(int(d) for d in entry["shape"])[1 if batched else 0 :]
    return TensorContract(str(entry["name"]), "STRING" if dtype == "BYTES" else dtype, dims)


def _compare(kind: str, ours: Iterable[TensorContract], theirs: Iterable[TensorContract]) -> list[str]:
    by_name = {t.name: t for t in theirs}
    found = []
    for tensor in ours:
        other = by_name.get(tensor.name)
        if other is None:
            names = ", ".join(map(repr, by_name)) or "none"
            found.append(f"the server has no {kind} {tensor.name!r}; its {kind}s: {names}")
        elif (tensor.dtype, tensor.dims) != (other.dtype, other.dims):
            pair = f"{tensor.describe()} here and {other.describe()} on the server"
            found.append(f"{kind} {tensor.name!r} is {pair}")
    return found
