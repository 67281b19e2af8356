from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cnn import (
    Array,
    Conv3x3,
    Dense,
    Flatten,
    Layer,
    MaxPool2,
    Network,
    Relu,
    Schedule,
    cross_entropy,
    shifted_randomly,
    train,
    windows_of,
)
from sklearn.datasets import load_digits

STEP = 1e-6

LAYERS: dict[str, tuple[Callable[[np.random.Generator], Layer], tuple[int, ...]]] = {
    "conv": (lambda rng: Conv3x3(2, 3, rng), (2, 2, 5, 4)),
    "dense": (lambda rng: Dense(6, 4, rng), (3, 6)),
    "relu": (lambda _rng: Relu(), (3, 2, 4, 4)),
    "pool": (lambda _rng: MaxPool2(), (2, 3, 4, 6)),
    "flatten": (lambda _rng: Flatten(), (2, 3, 4, 4)),
}


def slope(loss: Callable[[], float], values: Array) -> Array:
    """Return the central difference of `loss` in each of `values`, which is moved in place and put back."""
    gradient = np.zeros_like(values)
    for index in np.ndindex(values.shape):
        kept = values[index]
        values[index] = kept + STEP
        above = loss()
        values[index] = kept - STEP
        gradient[index] = (above - loss()) / (2 * STEP)
        values[index] = kept
    return gradient


def small_network(rng: np.random.Generator) -> Network:
    return Network(
        [Conv3x3(1, 4, rng), Relu(), Conv3x3(4, 6, rng), Relu(), MaxPool2(), Flatten(), Dense(96, 10, rng)]
    )


@pytest.mark.parametrize("name", LAYERS)
def test_layer_gradients_are_the_slopes(name: str) -> None:
    build, shape = LAYERS[name]
    rng = np.random.default_rng(3)
    layer = build(rng)
    inputs = rng.standard_normal(shape)
    towards = rng.standard_normal(layer.forward(inputs).shape)

    def loss() -> float:
        return float((layer.forward(inputs) * towards).sum())

    layer.forward(inputs)
    gradient = layer.backward(towards)
    found = [parameter.gradient.copy() for parameter in layer.parameters()]
    assert np.allclose(gradient, slope(loss, inputs), atol=1e-6)
    for parameter, parameter_gradient in zip(layer.parameters(), found, strict=True):
        assert np.allclose(parameter_gradient, slope(loss, parameter.value), atol=1e-6)


def test_whole_network_gradients_are_the_slopes() -> None:
    rng = np.random.default_rng(5)
    network = small_network(rng)
    images, labels = rng.random((3, 1, 8, 8)), np.array([1, 9, 4])

    def loss() -> float:
        return cross_entropy(network.forward(images), labels)[0]

    network.backward(cross_entropy(network.forward(images), labels)[1])
    for parameter in network.parameters():
        assert np.allclose(parameter.gradient, slope(loss, parameter.value), atol=1e-6)
        assert np.abs(parameter.gradient).max() > 1e-4


def test_convolution_is_the_sum_over_the_neighbourhood() -> None:
    rng = np.random.default_rng(1)
    layer = Conv3x3(2, 3, rng)
    layer.bias.value[:] = [1, 2, 3]
    inputs = rng.standard_normal((1, 2, 4, 5))
    outputs = layer.forward(inputs)
    assert outputs.shape == (1, 3, 4, 5)
    inner = (inputs[0, :, 1:4, 2:5] * layer.weight.value[1]).sum() + 2
    assert outputs[0, 1, 2, 3] == pytest.approx(inner)
    corner = (inputs[0, :, :2, :2] * layer.weight.value[2][:, 1:, 1:]).sum() + 3
    assert outputs[0, 2, 0, 0] == pytest.approx(corner)


def test_cross_entropy_of_even_and_of_huge_logits() -> None:
    assert cross_entropy(np.zeros((2, 10)), np.array([3, 4]))[0] == pytest.approx(np.log(10))
    loss, gradient = cross_entropy(np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0]))
    assert loss == pytest.approx(5e3)
    assert np.allclose(gradient, np.array([[0, 0], [-0.5, 0.5]]))


def test_windows_count_the_border() -> None:
    images = np.arange(16.0).reshape(1, 1, 4, 4)
    windows = windows_of(images, 1, 3, 3)
    assert windows.shape == (1, 1, 4, 4, 3, 3)
    assert windows[0, 0, 0, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 4, 5]]


def test_shifts_reach_every_offset_and_keep_what_stays_inside() -> None:
    images = np.zeros((500, 1, 5, 5))
    images[:, 0, 2, 2] = 1
    moved = shifted_randomly(images, 1, np.random.default_rng(0))
    assert moved.shape == images.shape
    assert (moved.sum(axis=(1, 2, 3)) == 1).all()
    places = np.argwhere(moved[:, 0])[:, 1:]
    assert {tuple(place) for place in places.tolist()} == {(row, col) for row in (1, 2, 3) for col in (1, 2, 3)}
    assert np.array_equal(shifted_randomly(images, 0, np.random.default_rng(0)), images)


def test_a_short_training_lowers_the_loss_and_repeats_to_the_bit() -> None:
    values, labels = load_digits(return_X_y=True)
    images, labels = values[:320].reshape(-1, 1, 8, 8) / 16, labels[:320]

    def run() -> tuple[Network, float, list[float]]:
        rng = np.random.default_rng(11)
        network = small_network(rng)
        before = network.accuracy(images, labels)
        return network, before, train(network, images, labels, Schedule(epochs=10, rate=5e-3, shift_pixels=0), rng)

    network, before, losses = run()
    assert losses[-1] < 0.6 * losses[0]
    assert network.accuracy(images, labels) > before + 0.4
    again, _, losses_again = run()
    assert losses_again == losses
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert np.array_equal(one.value, other.value)
