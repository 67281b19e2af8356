"""The go command: builds programs of the modules in go/ and scanner/, and downloads modules for what they hold."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.cluster_tools.folder import ToolsError

MODULE, SCANNER = Path(__file__).parent / "go", Path(__file__).parent / "scanner"
NEEDED = (1, 26)
SAY_EVERY_S = 30.0
ENDS_WITHIN_S = 1800.0
"""Of one command. The longest, a build of everything, takes eight minutes of a processor and its downloads."""
UNREACHABLE = ("dial tcp", "no such host", "i/o timeout", "TLS handshake", "connection re", "502 Bad", "503 Service")

# What makes a build quick: a compiler that collects garbage less often (a fifth of its time), no information for
# debuggers (a tenth) and no inlining (a sixth). The programs are a little slower for it. Nothing needs a C compiler.
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOGC": "400"}
COMPILER_FLAGS = "all=-dwarf=false -l"


class Go:
    """The command, with what it says while it works handed on to `say`. Raises ToolsError where there is none."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.command = shutil.which("go") or ""
        if not self.command:
            raise ToolsError(
                f"go is not on PATH, and the cluster's tools are built with it: install Go {NEEDED[0]}.{NEEDED[1]} or"
                " later (https://go.dev/dl)"
            )
        self.environment = {**os.environ, **ENVIRONMENT}
        found = self.output("env", "GOVERSION").strip()
        numbers = re.match(r"go(\d+)\.(\d+)", found)
        if numbers and (int(numbers[1]), int(numbers[2])) < NEEDED:
            raise ToolsError(
                f"{self.command} is {found}, and the cluster's tools need Go {NEEDED[0]}.{NEEDED[1]} or later:"
                " install it (https://go.dev/dl)"
            )

    def download(self, modules: Sequence[str]) -> dict[str, Path]:
        """Downloads modules (path@version) and checks them; where the source of each is."""
        text = self.output("mod", "download", "-json", *modules)
        decoder, places, position = json.JSONDecoder(), {}, 0
        while position < len(text.rstrip()):
            module, position = decoder.raw_decode(text, position)
            position += len(text[position:]) - len(text[position:].lstrip())
            places[f"{module['Path']}@{module['Version']}"] = Path(module["Dir"])
        return places

    def build(
        self,
        packages: Sequence[str],
        linker_flags: Sequence[str],
        out: Path,
        *,
        module: Path = MODULE,
        tags: str = "",
    ) -> None:
        """Builds programs into `out`, each named after its folder. What it compiles is told now and then."""
        flags = [f"-gcflags={COMPILER_FLAGS}", f"-ldflags={' '.join(['-s', '-w', *linker_flags])}", f"-tags={tags}"]
        command = [self.command, "build", "-v", *flags, "-o", f"{out}{os.sep}", *packages]
        start = said = time.monotonic()
        compiled, last = 0, list[str]()
        with subprocess.Popen(
            command,
            cwd=module,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # an interrupt reaches this process alone, which then ends all of Go's
        ) as process:
            over = threading.Event()

            def end() -> None:
                over.set()
                with contextlib.suppress(ProcessLookupError):  # it has ended at the same moment
                    os.killpg(process.pid, signal.SIGKILL)

            timer = threading.Timer(ENDS_WITHIN_S, end)
            timer.daemon = True
            timer.start()
            try:
                for line in process.stderr or ():
                    last = [*last[-20:], line.rstrip()]
                    compiled += not line.startswith("go: ")
                    if time.monotonic() - said >= SAY_EVERY_S:
                        said = time.monotonic()
                        self.say(f"{said - start:.0f} s: {compiled} packages; {line.strip()}")
                status = process.wait()
                if over.is_set():
                    raise ToolsError(too_long("build", "\n".join(last)))
                if status:
                    raise ToolsError(failure("build", "\n".join(last)))
            finally:
                timer.cancel()
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def output(self, *arguments: str) -> str:
        """What a command prints. Raises ToolsError with what it says when it fails or does not end."""
        name = " ".join(arguments[:2])
        with subprocess.Popen(
            [self.command, *arguments],
            cwd=MODULE,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # what it starts (git) ends with it
        ) as process:
            try:
                out, err = process.communicate(timeout=ENDS_WITHIN_S)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                raise ToolsError(too_long(name, "".join(process.communicate()[::-1]))) from error
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise ToolsError(failure(name, err + out))
        return out


def too_long(command: str, said: str) -> str:
    """A sentence on a command that did not end, with the last that it said and what to do."""
    last = said.strip()[-500:] or "it said nothing"
    return (
        f"go {command} did not end within {ENDS_WITHIN_S / 60:.0f} minutes, and was ended: see whether the proxy that"
        f" `go env GOPROXY` names answers and whether the machine is busy, and start again, which goes on from there"
        f"\n{last}"
    )


def failure(command: str, said: str) -> str:
    """A sentence on why Go failed, with its own words and what to do."""
    words = said.strip()[-1500:]
    if any(sign in said for sign in UNREACHABLE):
        last = words.splitlines()[-1]
        return f"go {command} could not download modules; is the proxy that `go env GOPROXY` names reachable?\n{last}"
    if "no space left" in said:
        return f"go {command}: the disk is full; the tools and Go's caches take about 5 GB.\n{words}"
    return f"go {command} failed:\n{words}"
