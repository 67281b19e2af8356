"""What an image is built on: an image named by its digest, so that the same build gives the same image tomorrow."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deploy.docker.problem import refused

if TYPE_CHECKING:
    from deploy.docker.engine import Engine, Image

TRITON, DEBIAN = "nvcr.io/nvidia/tritonserver", "debian:bookworm-slim"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d+)?/)?"
NAME = re.compile(
    rf"(?P<repository>{_HOST}{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?"
)


@dataclass(frozen=True)
class Base:
    """A reference to an image: `repository:tag@digest`, the last two may be empty.

    `local`: an image that this engine has and no registry; its digest is the image's own ID.
    """

    repository: str
    tag: str = ""
    digest: str = ""
    local: bool = False

    @property
    def name(self) -> str:
        """Without the digest."""
        return self.repository + (f":{self.tag}" if self.tag else "")

    def __str__(self) -> str:
        return self.name + (f"@{self.digest}" if self.digest else "")

    def arguments(self) -> dict[str, str]:
        """The Dockerfile's build arguments; an empty one is left out of the reference.

        A builder finds a local image by its name alone.
        """
        return {"REPOSITORY": self.repository, "TAG": self.tag, "DIGEST": "" if self.local else self.digest}


def parse(text: str, option: str = "--base") -> Base:
    """An image's name as it is written. Raises ProblemsError (TK470)."""
    found = NAME.fullmatch(text)
    if found is None:
        raise refused(
            "TK470",
            option,
            f"`{text}` is no name of an image",
            "names are of small letters and digits, with `.`, `_`, `-`, `/` between them; then `:TAG`, then "
            "`@sha256:` and 64 hex digits",
        )
    return Base(found["repository"], found["tag"] or "", found["digest"] or "")


def pinned(base: Base, engine: Engine, *, allow_unpinned: bool) -> Base:
    """The base as this engine has it, pulled where it does not.

    Raises ProblemsError: TK461 without a digest, TK462 where it is nowhere to be had, TK463 where it is another one.
    """
    here = engine.image(base.name)
    if not base.digest:
        if allow_unpinned:
            if here is None:
                engine.pull(base.repository, base.tag or "latest")
            return base
        message = f"the base image `{base}` is not pinned: its tag can be another image tomorrow"
        raise refused("TK461", str(base), message, _how_to_pin(base, here))
    if engine.image(f"{base.repository}@{base.digest}") is not None:
        return base
    if here is not None and here.id == base.digest:
        return replace(base, local=True)
    if here is not None and not here.digests:
        raise refused(
            "TK463",
            str(base),
            f"`{base.name}` is image {here.id} on this engine, which comes from no registry",
            f"is it the one that is meant? then: --base {base.name}@{here.id}",
        )
    engine.pull(base.repository, base.digest)
    return base


def _how_to_pin(base: Base, here: Image | None) -> str:
    if here is not None:
        # With its tag, if it may have one: the image's labels tell it.
        own = next((name for name in here.digests if name.rpartition("@")[0] == base.repository), "")
        known = f"{base.name}@{own.rpartition('@')[2]}" if own else here.reference
        return f"the one that is here is: --base {known}   (or --allow-unpinned, which is written into its labels)"
    return (
        f"docker pull {base.name} && docker inspect --format '{{{{index .RepoDigests 0}}}}' {base.name}   says its "
        f"digest: --base {base.name}@sha256:…   (or --allow-unpinned, which is written into its labels)"
    )
