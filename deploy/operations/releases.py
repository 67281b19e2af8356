"""What is known of Triton's releases: which flag exists since when, and which have holes that are known."""

from __future__ import annotations

from dataclasses import dataclass

from generator.resolve import histogram

SOUND, REFUSED_BEFORE = "26.07", "25.07"
"""The first release without a known hole, and the first that is not refused."""

HISTOGRAMS_SINCE = histogram.HISTOGRAMS_SINCE
"""Before it, only decoupled models have the latency histogram."""

FLAGS_SINCE = {"--http-max-input-size": "25.07", "--allow-client-shm": "26.04"}
"""Flags of the server that an older one refuses. All others that are used here are older than 24.10."""


@dataclass(frozen=True)
class Hole:
    """A known hole. `clear_from` is the first release of which it is known that it does not have it."""

    cve: str
    clear_from: str
    what: str


_SHARED_MEMORY = "requests that name shared memory reach the Python backend's own, up to running code"
_OVERFLOW = "requests overflow the HTTP server's stack"
_CRASH = "malformed requests end the server"
_KEYS = "clients get past authentication"
HOLES = (
    Hole("CVE-2025-23319", "25.07", _SHARED_MEMORY),
    Hole("CVE-2025-23320", "25.07", _SHARED_MEMORY),
    Hole("CVE-2025-23334", "25.07", _SHARED_MEMORY),
    Hole("CVE-2025-23310", "25.07", _OVERFLOW),
    Hole("CVE-2025-23311", "25.07", _OVERFLOW),
    Hole("CVE-2025-33201", "26.07", "very large requests end the server"),
    Hole("CVE-2026-24146", "26.07", _CRASH),
    Hole("CVE-2026-24173", "26.07", _CRASH),
    Hole("CVE-2026-24206", "26.07", _KEYS),
    Hole("CVE-2026-24207", "26.07", _KEYS),
)
"""Of NVIDIA's security bulletins for Triton. Where the release of a fix is not known here, it stands as 26.07."""


def holes_of(release: str) -> tuple[Hole, ...]:
    """The known holes of a release, as in `25.03`. Releases compare as text: YY.MM."""
    return tuple(hole for hole in HOLES if release < hole.clear_from)


def is_refused(release: str) -> bool:
    """Whether a chart takes it only with `image.allowVulnerable`."""
    return release < REFUSED_BEFORE


def has_flag(release: str, flag: str) -> bool:
    """Whether a server of this release knows `flag` (its name, with the dashes)."""
    return release >= FLAGS_SINCE.get(flag, "")
