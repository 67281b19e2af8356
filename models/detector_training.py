"""How the detector learns: anchors, what each of them should say of a canvas, the loss, and the training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cnn import Adam, Array, Conv3x3, MaxPool2, Network, Relu
from detector_canvas import ABSENT, SIDE, Canvases

CLASSES = 10
STRIDE = 4  # pixels from one cell of the head to the next
CELLS = SIDE // STRIDE
ANCHOR_SIDES = (10.5, 18.0)  # pixels; one anchor of each in the middle of every cell
VALUES = 4 + CLASSES + 1  # of an anchor: the box's four, a logit a class, and that of nothing
ANCHORS = CELLS * CELLS * len(ANCHOR_SIDES)
FILTERS = (12, 24, 32, 64)
RARE = -5.0  # the first logit of every class: most anchors show nothing
POSITIVE, UNCLEAR = 0.5, 0.3  # overlap with a digit from which an anchor shows it, and from which it is not asked
BOX_WEIGHT = 2.0  # of the boxes' loss beside that of the classes


def anchors() -> Array:
    """All anchors [288, 4] as centre x, centre y, width, height in pixels: by row, column, then side."""
    middles = (np.arange(CELLS) + 0.5) * STRIDE
    y, x, side = np.meshgrid(middles, middles, np.array(ANCHOR_SIDES), indexing="ij")
    return np.stack([x, y, side, side], axis=-1).reshape(-1, 4)


def build_network(rng: np.random.Generator) -> Network:
    """The network with its first weights: canvases [N, 1, 48, 48] of 0..1 → head [N, 30, 12, 12]."""
    a, b, c, d = FILTERS
    head = Conv3x3(d, VALUES * len(ANCHOR_SIDES), rng)
    head.weight.value *= 0.1
    head.bias.value.reshape(-1, VALUES)[:, 4:-1] = RARE
    return Network([
        Conv3x3(1, a, rng), Relu(), MaxPool2(),
        Conv3x3(a, b, rng), Relu(), Conv3x3(b, c, rng), Relu(), MaxPool2(),
        Conv3x3(c, d, rng), Relu(), head,
    ])  # fmt: skip


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union of boxes [..., n, 4] and [..., m, 4] of corners: [..., n, m]."""
    a, b = first[..., :, None, :], second[..., None, :, :]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (a, b)]
    shares: Array = common / np.maximum(areas[0] + areas[1] - common, 1e-9)
    return shares


@dataclass(frozen=True)
class Targets:
    """What the anchors of n canvases should say.

    `classes` [n, 288, 11] of 0 and 1, the last for nothing; `asked` [n, 288, 1]: 0 where an anchor is not asked;
    `boxes` [n, 288, 4] and `positive` [n, 288, 1]: the box's four values, where there is a digit.
    """

    classes: Array
    asked: Array
    boxes: Array
    positive: Array

    def of(self, chosen: npt.NDArray[np.int64]) -> Targets:
        """Those of some of the canvases."""
        return Targets(self.classes[chosen], self.asked[chosen], self.boxes[chosen], self.positive[chosen])


def targets(labels: npt.NDArray[np.float32]) -> Targets:
    """Of labels [n, 6, 5]: an anchor shows the digit it overlaps most; each digit has at least its best anchor."""
    all_anchors, truth = anchors(), labels.astype(np.float64)
    corners = np.concatenate(
        [all_anchors[:, :2] - all_anchors[:, 2:] / 2, all_anchors[:, :2] + all_anchors[:, 2:] / 2], axis=1
    )
    present = truth[:, :, 4] != ABSENT
    shared = np.where(present[:, None, :], overlaps(corners[None], truth[:, :, :4]), 0.0)
    nearest, most = shared.argmax(axis=2), shared.max(axis=2)
    positive = most >= POSITIVE
    items, rows = np.nonzero(present)
    best = shared.argmax(axis=1)[items, rows]
    positive[items, best] = True
    nearest[items, best] = rows
    digit = np.take_along_axis(truth, nearest[:, :, None], axis=1)  # [n, 288, 5]
    centre, size = (digit[..., :2] + digit[..., 2:4]) / 2, np.maximum(digit[..., 2:4] - digit[..., :2], 1.0)
    boxes = np.concatenate(
        [(centre - all_anchors[:, :2]) / all_anchors[:, 2:], np.log(size / all_anchors[:, 2:])], axis=2
    )
    classes = np.where(positive[..., None], digit[..., 4:], CLASSES) == np.arange(CLASSES + 1)
    asked = positive | (most < UNCLEAR)
    return Targets(
        classes.astype(np.float64), asked[..., None].astype(np.float64), boxes, positive[..., None].astype(np.float64)
    )


def loss_of(head: Array, wanted: Targets) -> tuple[float, Array]:
    """The loss a digit, cross-entropy of classes and Huber's of boxes, and its gradient in head [N, 30, 12, 12]."""
    values = head.transpose(0, 2, 3, 1).reshape(len(head), ANCHORS, VALUES)
    digits = max(float(wanted.positive.sum()), 1.0)
    logits, moves = values[..., 4:], (values[..., :4] - wanted.boxes) * wanted.positive
    logits = logits - logits.max(axis=2, keepdims=True)
    log_shares = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    entropy = -log_shares * wanted.classes
    bound = 0.1
    huber = np.where(np.abs(moves) < bound, moves**2 / (2 * bound), np.abs(moves) - bound / 2)
    loss = float((entropy * wanted.asked).sum() + BOX_WEIGHT * huber.sum()) / digits
    gradient = np.concatenate(
        [BOX_WEIGHT * np.clip(moves / bound, -1, 1), (np.exp(log_shares) - wanted.classes) * wanted.asked], axis=2
    )
    back = (gradient / digits).reshape(len(head), CELLS, CELLS, -1).transpose(0, 3, 1, 2)
    return loss, back


@dataclass(frozen=True)
class Schedule:
    """Passes over the canvases, canvases a step, and the greatest learning rate, which half a cosine takes to 0."""

    epochs: int
    batch: int
    rate: float
    weight_decay: float = 1e-3


def train(
    network: Network,
    data: Canvases,
    schedule: Schedule,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
) -> None:
    """Trains in place; `report` hears each epoch and its mean loss."""
    wanted = targets(data.labels)
    pixels = data.image[:, None].astype(np.float64) / 255
    optimizer = Adam(network.parameters(), schedule.weight_decay)
    steps = len(pixels) // schedule.batch
    warming = steps / 2  # steps until the rate is reached
    for epoch in range(schedule.epochs):
        order, total = rng.permutation(len(pixels)), 0.0
        for step in range(steps):
            chosen = order[step * schedule.batch : (step + 1) * schedule.batch]
            loss, gradient = loss_of(network.forward(pixels[chosen]), wanted.of(chosen))
            network.backward(gradient)
            number = epoch * steps + step
            rate = schedule.rate * min(1.0, (number + 1) / warming)
            optimizer.step(rate * (1 + np.cos(np.pi * number / (schedule.epochs * steps))) / 2)
            total += loss
        report(epoch, total / steps)
