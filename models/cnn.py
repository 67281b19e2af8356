"""A small convolutional network in plain numpy: layers, their gradients, and a seeded training loop.

Everything is float64 and channels first: images are [N, C, H, W], features [N, F]. Double precision is not
for accuracy. Different CPUs round differently in the last bit and training amplifies it; in double precision
what is left of it after training is far below what float32 weights can show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ADAM_MEMORY = (0.9, 0.999)
ADAM_EPSILON = 1e-8


class Parameter:
    """A trained array `value` and the gradient of the loss in it, of the same shape."""

    def __init__(self, value: Array) -> None:
        self.value = value
        self.gradient = np.zeros_like(value)


class Layer(Protocol):
    """One step of a network. `backward` follows a `forward` of the same batch."""

    def forward(self, inputs: Array) -> Array:
        """Map a batch to the layer's output."""

    def backward(self, gradient: Array) -> Array:
        """Map the loss's gradient in the output to the one in the input; store those of the parameters."""

    def parameters(self) -> list[Parameter]:
        """Return what is trained: weight, then bias; empty for a layer without any."""


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Array:
    """Draw weights whose variance is 2 / fan_in, which keeps a signal's scale through ReLUs (He et al., 2015)."""
    drawn: Array = rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)
    return drawn


def windows_of(images: Array, border: int, height: int, width: int) -> Array:
    """View every height x width window of images [N, C, H, W] within a border of zeros.

    The shape is [N, C, H + 2*border - height + 1, W + 2*border - width + 1, height, width].
    """
    padded = np.pad(images, ((0, 0), (0, 0), (border, border), (border, border)))
    return np.lib.stride_tricks.sliding_window_view(padded, (1, 1, height, width))[:, :, :, :, 0, 0]


class Conv3x3:
    """3x3 convolution, stride 1, one zero of padding: [N, C, H, W] -> [N, filters, H, W]."""

    def __init__(self, channels: int, filters: int, rng: np.random.Generator) -> None:
        self.weight = Parameter(he_normal(rng, (filters, channels, 3, 3), channels * 9))
        self.bias = Parameter(np.zeros(filters))

    def forward(self, inputs: Array) -> Array:
        """Multiply every 3x3 neighbourhood, laid out as one row, by the filters."""
        batch, channels, height, width = self._shape = inputs.shape
        self._rows = windows_of(inputs, 1, 3, 3).transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * 9)
        flat: Array = self._rows @ self._filters().T + self.bias.value
        return flat.reshape(batch, height, width, -1).transpose(0, 3, 1, 2)

    def backward(self, gradient: Array) -> Array:
        """Spread each neighbourhood's gradient back over the nine pixels that it came from."""
        batch, channels, height, width = self._shape
        flat = gradient.transpose(0, 2, 3, 1).reshape(-1, gradient.shape[1])
        self.weight.gradient = (flat.T @ self._rows).reshape(self.weight.value.shape)
        self.bias.gradient = flat.sum(axis=0)
        windows = (flat @ self._filters()).reshape(batch, height, width, channels, 3, 3)
        windows = windows.transpose(0, 3, 1, 2, 4, 5)
        padded = np.zeros((batch, channels, height + 2, width + 2))
        for row in range(3):
            for column in range(3):
                padded[:, :, row : row + height, column : column + width] += windows[..., row, column]
        return padded[:, :, 1:-1, 1:-1]

    def parameters(self) -> list[Parameter]:
        """Return weight [filters, C, 3, 3] and bias [filters]."""
        return [self.weight, self.bias]

    def _filters(self) -> Array:
        return self.weight.value.reshape(len(self.weight.value), -1)


class Dense:
    """Linear layer: [N, features] -> [N, units]."""

    def __init__(self, features: int, units: int, rng: np.random.Generator) -> None:
        self.weight = Parameter(he_normal(rng, (features, units), features))
        self.bias = Parameter(np.zeros(units))

    def forward(self, inputs: Array) -> Array:
        """Multiply by the weight and add the bias."""
        self._inputs = inputs
        return inputs @ self.weight.value + self.bias.value

    def backward(self, gradient: Array) -> Array:
        """Return the gradient in the features."""
        self.weight.gradient = self._inputs.T @ gradient
        self.bias.gradient = gradient.sum(axis=0)
        return gradient @ self.weight.value.T

    def parameters(self) -> list[Parameter]:
        """Return weight [features, units] and bias [units]."""
        return [self.weight, self.bias]


class Relu:
    """max(x, 0), any shape."""

    def forward(self, inputs: Array) -> Array:
        """Zero what is negative."""
        self._positive = inputs > 0
        return np.where(self._positive, inputs, 0.0)

    def backward(self, gradient: Array) -> Array:
        """Pass the gradient where the input was positive."""
        return np.where(self._positive, gradient, 0.0)

    def parameters(self) -> list[Parameter]:
        """Nothing is trained."""
        return []


class MaxPool2:
    """Largest of each 2x2 block: [N, C, H, W] -> [N, C, H/2, W/2], for even H and W."""

    def forward(self, inputs: Array) -> Array:
        """Lay each block out as four values and take the largest."""
        batch, channels, height, width = self._shape = inputs.shape
        blocks = inputs.reshape(batch, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
        fours = blocks.reshape(batch, channels, height // 2, width // 2, 4)
        self._largest = fours.argmax(axis=-1)[..., None]
        pooled: Array = np.take_along_axis(fours, self._largest, axis=-1)[..., 0]
        return pooled

    def backward(self, gradient: Array) -> Array:
        """Give the whole gradient to the value that was the largest (the first of equals)."""
        fours = np.zeros((*gradient.shape, 4))
        np.put_along_axis(fours, self._largest, gradient[..., None], axis=-1)
        blocks = fours.reshape(*gradient.shape, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return blocks.reshape(self._shape)

    def parameters(self) -> list[Parameter]:
        """Nothing is trained."""
        return []


class Flatten:
    """[N, C, H, W] -> [N, C*H*W]."""

    def forward(self, inputs: Array) -> Array:
        """Join all but the batch axis."""
        self._shape = inputs.shape
        return inputs.reshape(len(inputs), -1)

    def backward(self, gradient: Array) -> Array:
        """Restore the shape."""
        return gradient.reshape(self._shape)

    def parameters(self) -> list[Parameter]:
        """Nothing is trained."""
        return []


class Network:
    """Layers, one after the other."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)

    def forward(self, inputs: Array) -> Array:
        """Map a batch to logits [N, classes]."""
        for layer in self.layers:
            inputs = layer.forward(inputs)
        return inputs

    def backward(self, gradient: Array) -> None:
        """Set every parameter's gradient from the loss's gradient in the logits."""
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)

    def parameters(self) -> list[Parameter]:
        """Return all that is trained, in the order of the layers."""
        return [parameter for layer in self.layers for parameter in layer.parameters()]

    def accuracy(self, images: Array, labels: Labels) -> float:
        """Return the share of images whose largest logit is their label's."""
        return float((self.forward(images).argmax(axis=1) == labels).mean())


def cross_entropy(logits: Array, labels: Labels) -> tuple[float, Array]:
    """Return the batch's mean softmax cross-entropy, in nats, and its gradient in the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_shares = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    gradient = np.exp(log_shares)
    gradient[rows, labels] -= 1
    return float(-log_shares[rows, labels].mean()), gradient / len(labels)


def shifted_randomly(images: Array, pixels: int, rng: np.random.Generator) -> Array:
    """Move each image by -pixels..pixels in both directions, independently; zeros come in at the edge."""
    windows = windows_of(images, pixels, images.shape[2], images.shape[3])
    rows, columns = rng.integers(0, 2 * pixels + 1, (2, len(images)))
    moved: Array = windows[np.arange(len(images)), :, rows, columns]
    return moved


class Adam:
    """Adam (Kingma and Ba, 2015) with weight decay apart from the gradient (Loshchilov and Hutter, 2019)."""

    def __init__(self, parameters: Sequence[Parameter], weight_decay: float) -> None:
        self._parameters = list(parameters)
        self._weight_decay = weight_decay
        self._means = [np.zeros_like(parameter.value) for parameter in self._parameters]
        self._squares = [np.zeros_like(parameter.value) for parameter in self._parameters]
        self._steps = 0

    def step(self, rate: float) -> None:
        """Move every parameter against its gradient."""
        self._steps += 1
        keep_mean, keep_square = ADAM_MEMORY
        for parameter, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            mean += (1 - keep_mean) * (parameter.gradient - mean)  # noqa: PLW2901 - in place
            square += (1 - keep_square) * (parameter.gradient**2 - square)  # noqa: PLW2901 - in place
            scale = np.sqrt(square / (1 - keep_square**self._steps)) + ADAM_EPSILON
            move = mean / (1 - keep_mean**self._steps) / scale
            parameter.value -= rate * (move + self._weight_decay * parameter.value)


@dataclass(frozen=True)
class Schedule:
    """How to train: passes over the data, the first learning rate (half a cosine takes it to 0), images a step,
    decay of the weights, and the largest random shift in pixels.
    """

    epochs: int
    rate: float
    batch: int = 64
    weight_decay: float = 1e-2
    shift_pixels: int = 1


def train(
    network: Network,
    images: Array,
    labels: Labels,
    schedule: Schedule,
    rng: np.random.Generator,
    *,
    report: Callable[[int, float], None] = lambda _epoch, _loss: None,
) -> list[float]:
    """Train in place on images [N, C, H, W] and labels [N]; return each epoch's mean loss in nats."""
    optimizer = Adam(network.parameters(), schedule.weight_decay)
    steps_per_epoch = -(-len(images) // schedule.batch)
    losses = []
    for epoch in range(schedule.epochs):
        order = rng.permutation(len(images))
        moved = shifted_randomly(images, schedule.shift_pixels, rng)
        total = 0.0
        for step in range(steps_per_epoch):
            chosen = order[step * schedule.batch : (step + 1) * schedule.batch]
            loss, gradient = cross_entropy(network.forward(moved[chosen]), labels[chosen])
            network.backward(gradient)
            done = (epoch + step / steps_per_epoch) / schedule.epochs
            optimizer.step(schedule.rate * (1 + np.cos(np.pi * done)) / 2)
            total += loss * len(chosen)
        losses.append(total / len(images))
        report(epoch, losses[-1])
    return losses
