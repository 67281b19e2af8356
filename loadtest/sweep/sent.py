"""What all turns of a sweep were sent alike, for its record."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.results.run import Traffic
from loadtest.sweep.bench import Seen

_OF_A_TURN = frozenset({"seed", "rate_rps", "duration_s", "part"})


def traffic_of(turns: Sequence[Seen], rate_rps: float | None) -> Traffic | None:
    """How arrivals were drawn and requests sent, without what differs from turn to turn; None before the first."""
    if not turns:
        return None
    traffic = turns[0].run.traffic
    drawn = {name: value for name, value in traffic.drawn.items() if name not in _OF_A_TURN}
    options = {name: value for name, value in traffic.options.items() if name != "segments"}
    return traffic.model_copy(update={"drawn": drawn, "options": options, "rate_rps": rate_rps})


def starts_of(turns: Sequence[Seen]) -> int:
    """Of the server, that finished turns ran on."""
    return len({seen.asked.start for seen in turns})
