"""A Docker engine that says what a test wants it to; the real one is in tests/cluster/images/test_embedded_image.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import docker.errors

from deploy.docker.engine import Engine


@dataclass
class StandIn:
    """`images` by every name that they have; `events` of a build or a pull; `calls` that were made."""

    images: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, str]] = field(default_factory=list)
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def engine(self) -> Engine:
        api = SimpleNamespace(build=self._build, pull=self._pull)
        return Engine(SimpleNamespace(api=api, images=SimpleNamespace(get=self._get)))

    def _get(self, name: str) -> Any:
        if name not in self.images:
            raise docker.errors.ImageNotFound(f"no such image: {name}")
        return SimpleNamespace(id=self.images[name]["Id"], attrs=self.images[name])

    def _build(self, **told: Any) -> Iterator[dict[str, str]]:
        self.calls.append(("build", told))
        yield from self.events

    def _pull(self, repository: str, **told: Any) -> Iterator[dict[str, str]]:
        self.calls.append(("pull", {"repository": repository, **told}))
        yield from self.events


def image(number: int, *, digests: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the engine says of an image."""
    return {"Id": f"sha256:{number:064x}", "RepoDigests": list(digests), "RepoTags": list(tags), "Config": {}}
