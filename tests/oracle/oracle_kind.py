"""The kinds of servers that are asked: as tritonkit starts it, with completion, and with --model-config-name."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.embedded.flags import ServerFlags


@dataclass(frozen=True)
class Kind:
    """A kind of server: whether it completes configurations, and the --model-config-name that it has."""

    complete: bool = False
    config_name: str = ""

    def flags(self) -> type[ServerFlags]:
        """The class of its command line."""
        kind = self

        class Flags(ServerFlags):
            def arguments(self) -> list[str]:
                words = super().arguments()
                if kind.complete:
                    words.remove("--disable-auto-complete-config")
                return [*words, *([f"--model-config-name={kind.config_name}"] if kind.config_name else [])]

        return Flags


PLAIN, COMPLETE, NAMED = Kind(), Kind(complete=True), Kind(config_name="small")
