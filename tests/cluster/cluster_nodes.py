"""The machines of the control plane: with GPUs of two products, tainted as GPU nodes are, and one without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

H200, L4 = "NVIDIA-H200", "NVIDIA-L4"
GPU = "nvidia.com/gpu"
PLAYED = "kwok.x-k8s.io/node"  # kwok plays the nodes that have this annotation


@dataclass(frozen=True)
class Machine:
    """A node, its GPUs and their product as NVIDIA's operator labels it."""

    name: str
    gpus: int = 0
    product: str = ""


MACHINES = (
    Machine("h200-0", 4, H200),
    Machine("h200-1", 4, H200),
    Machine("l4-0", 1, L4),
    Machine("plain-0"),
)


def node(machine: Machine) -> dict[str, Any]:
    """The Node object of a machine."""
    labels = {"kubernetes.io/hostname": machine.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    resources = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    taints = []
    if machine.gpus:
        labels |= {f"{GPU}.present": "true", f"{GPU}.count": str(machine.gpus), f"{GPU}.product": machine.product}
        resources[GPU] = str(machine.gpus)
        taints = [{"key": GPU, "value": "present", "effect": "NoSchedule"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": machine.name, "labels": labels, "annotations": {PLAYED: "fake"}},
        "spec": {"taints": taints},
        "status": {"capacity": resources, "allocatable": resources},
    }
