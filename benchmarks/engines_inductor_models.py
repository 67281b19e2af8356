"""Torch factories of engines_inductor.py: the trained digits; a ResNet-50 with random weights, for speed only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import nn

ROOT = Path(__file__).parents[1]
SEED = 0


def digits() -> nn.Module:
    """The layers and weights of models/digits.onnx."""
    graph = onnx.load(ROOT / "models" / "digits.onnx").graph
    weights = {t.name: torch.tensor(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    layers: list[nn.Module] = []
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        layers.append(_layer(node.op_type, attributes, [weights[name] for name in node.input if name in weights]))
    return nn.Sequential(*layers).eval()


def resnet50() -> nn.Module:
    """He et al., "Deep Residual Learning for Image Recognition" (2016), with the stride in the 3×3 convolution."""
    torch.manual_seed(SEED)
    layers: list[nn.Module] = [*_conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)).eval()


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1, beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.long = nn.Sequential(
            *_conv(channels, width, 1, 1), nn.ReLU(), *_conv(width, width, 3, stride), nn.ReLU(),
            *_conv(width, 4 * width, 1, 1),
        )  # fmt: skip
        same = stride == 1 and channels == 4 * width
        self.short = nn.Identity() if same else nn.Sequential(*_conv(channels, 4 * width, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[items, channels, height, width]."""
        return torch.relu(self.long(x) + self.short(x))


def _conv(channels: int, width: int, size: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, width, size, stride, size // 2, bias=False), nn.BatchNorm2d(width)


def _layer(operator: str, attributes: dict[str, Any], weights: list[torch.Tensor]) -> nn.Module:
    if operator == "Conv":
        weight, bias = weights
        pads, strides = attributes.get("pads", [0, 0, 0, 0]), attributes.get("strides", [1, 1])
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), tuple(strides), tuple(pads[:2]))
        conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
        return conv
    if operator == "Gemm":
        weight, bias = weights
        weight = weight if attributes.get("transB") else weight.T.contiguous()
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
        return linear
    if operator == "MaxPool":
        return nn.MaxPool2d(tuple(attributes["kernel_shape"]), tuple(attributes.get("strides", [1, 1])))
    return {"Relu": nn.ReLU, "Flatten": nn.Flatten}[operator]()
