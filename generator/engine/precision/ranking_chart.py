"""The ranking of layers as a picture."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from generator.engine.precision.sensitivity import Harm

MOST = 40  # bars that can still be read


def draw_ranking(ranking: Sequence[Harm], path: Path, quantised: Collection[str] | None = None) -> None:
    """One bar a layer, the most harmful on top; of more than 40 the most harmful ones. An .svg or .png.

    With `quantised` the layers that mixed precision left in FP32 have another colour.
    """
    import matplotlib as mpl

    mpl.rcParams["svg.hashsalt"] = "tritonkit"
    from matplotlib.figure import Figure

    shown = sorted(ranking, key=lambda harm: harm.harm)[-MOST:]
    positive = [harm.harm for harm in shown if 0 < harm.harm < float("inf")]
    least = min(positive, default=1e-6) / 3
    most = max(positive, default=1e-3) * 3
    left = [h.layer for h in shown if quantised is not None and h.layer not in quantised]
    figure = Figure(figsize=(8, 1.6 + 0.24 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for place, harm in enumerate(shown):
        colour = "#b3541e" if harm.layer in left else "#3a6ea5"
        end = min(max(harm.harm, least), most)
        axes.barh(place, end - least / 2, left=least / 2, color=colour, height=0.7)
        snr = "no harm" if harm.harm == 0 else "not finite" if harm.harm == float("inf") else f"{harm.snr_db:.0f} dB"
        axes.text(end * 1.06, place, snr, va="center", fontsize=7, color="0.3")
    axes.set_yticks(range(len(shown)), [_short(f"{h.layer} ({h.op})") for h in shown], fontsize=7)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xscale("log")
    axes.set_xlim(least / 2, most * 2)
    axes.set_xlabel("noise over signal at the outputs, with this layer alone in int8")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    more = f", the {len(shown)} most harmful of {len(ranking)}" if len(ranking) > len(shown) else ""
    axes.set_title(f"Harm of int8 by layer{more}", fontsize=11, loc="left")
    if quantised is not None:
        axes.barh(0, 0, color="#3a6ea5", label="int8")
        axes.barh(0, 0, color="#b3541e", label="left in FP32")
        axes.legend(frameon=False, loc="lower right", fontsize=8)
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(path, dpi=110, metadata=metadata)


def _short(text: str, longest: int = 48) -> str:
    return text if len(text) <= longest else "…" + text[1 - longest :]
