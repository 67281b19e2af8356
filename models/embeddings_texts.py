"""The texts that the sentence embeddings are calibrated and gated with: sentences put together from a seed.

Each thing that is said is said twice, in two wordings, so that what the embeddings must do can be tested: two
wordings of one thing lie closer together than any two things of unlike topics.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

SEED = 384
PAIRS = 110  # things said twice, in each of the two sets
PARAGRAPHS = 48  # texts of several sentences, up to more tokens than the model takes


@dataclass(frozen=True)
class Topic:
    """Two wordings with two slots `{a}`, `{b}`, and what goes into them."""

    one: str
    other: str
    a: tuple[str, ...]
    b: tuple[str, ...]


TOPICS = (
    Topic("The chef cooked {a} with {b} for dinner.", "For the evening meal the cook prepared {a} and {b}.",
          ("roast chicken", "tomato soup", "grilled fish", "mushroom risotto", "a vegetable stew", "fresh pasta"),
          ("garlic bread", "green beans", "boiled potatoes", "a lemon sauce", "fried onions", "wild rice")),
    Topic("The forecast says that {a} will reach {b} tomorrow.", "Meteorologists expect {a} in {b} the next day.",
          ("heavy rain", "a snow storm", "thick fog", "strong wind", "a heat wave", "freezing drizzle"),
          ("the coast", "the mountains", "the northern valleys", "the capital", "the islands", "the eastern plains")),
    Topic("The team from {a} won the match {b}.", "{b}, the players of {a} beat their opponents.",
          ("the harbour town", "the university", "the mining town", "the capital", "the south", "the railway club"),
          ("in the last minute", "after extra time", "on Saturday", "despite the rain", "by two goals", "at home")),
    Topic("How do I repair {a} that {b}?", "What is the way to fix {a} which {b}?",
          ("a bicycle", "a washing machine", "an old radio", "a kitchen tap", "a door lock", "a petrol engine"),
          ("makes a loud noise", "no longer moves", "fell on the floor", "was left outside all winter",
           "is completely worn out", "stopped working yesterday")),
    Topic("The doctor told the patient to take {a} against {b}.", "Against {b}, the physician prescribed {a}.",
          ("a mild painkiller", "plenty of water", "an ointment", "two tablets a day", "a week of rest", "vitamins"),
          ("the headache", "a stubborn cough", "the swelling", "the fever", "back pain", "the rash on his arm")),
    Topic("Shares of {a} fell sharply after {b}.", "{b} made the stock price of {a} drop.",
          ("the bank", "the airline", "the steel maker", "the software company", "the retailer", "the car producer"),
          ("a weak quarterly report", "the chairman's resignation", "rising interest rates", "a lawsuit",
           "the failed merger", "news of a strike")),
    Topic("A {a} was sleeping {b}.", "{b} there lay a {a}, asleep.",
          ("small black cat", "brown dog", "tired horse", "young fox", "grey rabbit", "newborn lamb"),
          ("under the apple tree", "on the warm roof", "behind the barn", "in front of the fire",
           "next to the garden gate", "in the tall grass")),
    Topic("The programmer found that {a} caused {b}.", "{b} turned out to come from {a}, the developer noticed.",
          ("a missing index", "an integer overflow", "a race between two threads", "the wrong time zone",
           "a memory leak", "an expired certificate"),
          ("the slow query", "the crash at start", "the wrong totals", "the failed login", "the corrupt file",
           "the timeout of the server")),
    Topic("We travelled to {a} {b}.", "{b} our journey took us to {a}.",
          ("the desert", "a monastery in the hills", "the old harbour", "a volcano", "the great lakes", "the museum"),
          ("by night train", "on foot", "with three small children", "in an open boat", "in early spring",
           "without a map")),
    Topic("Astronomers observed {a} with {b}.", "With the help of {b}, scientists watched {a} in the sky.",
          ("a distant galaxy", "a comet", "the moons of Jupiter", "an exploding star", "a lunar eclipse",
           "a cloud of cold gas"),
          ("a new telescope", "a radio antenna", "an infrared camera", "a satellite", "old glass plates",
           "a pair of binoculars")),
    Topic("The pupils learned {a} from {b}.", "{b} taught the school children {a}.",
          ("long division", "the rivers of Europe", "a folk song", "how plants grow", "the alphabet", "good manners"),
          ("their new teacher", "a picture book", "an old sailor", "the head of the school", "a film",
           "a retired engineer")),
    Topic("The violinist played {a} {b}.", "{b}, {a} was performed on the violin.",
          ("a slow waltz", "a difficult sonata", "a lullaby", "a wedding march", "a folk dance", "her own piece"),
          ("before a silent audience", "in the old church", "at the street corner", "at the king's birthday",
           "without a single mistake", "for the very first time")),
)  # fmt: skip

# What users send as well: a word, a number, other scripts, code, letters and marks that are no sentence.
ODD = (
    "Hello", "ok", "?", "42", "3.14159265", "2024-02-29T23:59:59Z", "user@example.com", "SELECT name FROM users;",
    "def add(a, b): return a + b", "E = mc^2", "HTTP 404", "Wo ist der Bahnhof?", "¿Dónde está la biblioteca?",
    "Où est la gare ?", "Где находится вокзал?", "駅はどこですか。", "火车站在哪里?", "أين المحطة؟", "איפה התחנה?",
    "बहुत धन्यवाद", "🙂", "Thanks a lot 👍🏽🎉", "naïve café façade", "ALL CAPITAL LETTERS", "tHe MiXeD cAsE",
    "word " * 40, "one-two-three", "A. B. C. D.", "“quoted”", "100 % of 5 €", "tab\tand\nnew line", "x" * 120,
)  # fmt: skip


def _things() -> list[tuple[int, str, str]]:
    """Every thing that can be said, in an order drawn from SEED: topic, one wording, the other."""
    said = []
    for index, topic in enumerate(TOPICS):
        for a, b in itertools.product(topic.a, topic.b):
            said.append((index, *(_sentence(wording.format(a=a, b=b)) for wording in (topic.one, topic.other))))
    return [said[i] for i in np.random.default_rng(SEED).permutation(len(said))]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _set(number: int) -> list[tuple[int, str]]:
    """The texts of one of the two sets with their topics (-1: none): PAIRS pairs, then what stands alone."""
    things = _things()
    mine, rest = things[number * PAIRS : (number + 1) * PAIRS], things[2 * PAIRS :]
    texts = [(topic, text) for topic, *wordings in mine for text in wordings]
    rng = np.random.default_rng((SEED, number))
    for index in range(PARAGRAPHS):
        chosen = rng.permutation(len(rest))[: 2 + index // 2]
        texts.append((-1, " ".join(rest[i][1 + number] for i in chosen)))
    texts += [(-1, text) for text in ODD[number::2]]
    return texts


def calibration_texts() -> list[str]:
    """Texts to calibrate with; none of them is among `gate_texts`."""
    return [text for _, text in _set(0)]


def gate_texts() -> list[str]:
    """Texts to gate with. Texts 2i and 2i + 1 are two wordings of one thing, for i below PAIRS."""
    return [text for _, text in _set(1)]


def gate_topics() -> list[int]:
    """The topic of each of the gate's texts, by its number; -1 where it has none."""
    return [topic for topic, _ in _set(1)]
