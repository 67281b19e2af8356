"""The server's log, read for the causes of a failed start: the cause first, each once, in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cause:
    """Why a server or one of its models did not start.

    `model` is empty if it is not about one model, `hint` how to mend it (may be empty), `kind` is stable:
    config, model, python, crash, gpu, backend, libpython, shm, port, flag, stopped, server.
    """

    model: str
    sentence: str
    hint: str = ""
    kind: str = "model"

    def __str__(self) -> str:
        start = f"{self.model}: " if self.model else ""
        return f"{start}{self.sentence}" + (f"\n  {self.hint}" if self.hint else "")


_MESSAGE = re.compile(r'^[EWI]\d{4} \S+\s+\d+ \S+?\] +"?(?P<text>.*?)"?\s*$')
_PROTO = re.compile(r"Error parsing text-format \S+: (?P<line>\d+):(?P<column>\d+): (?P<text>.*)")
_POLL = re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<text>.*)")
_LOAD = re.compile(r"failed to load '(?P<model>[^']+)' version \d+: (?:[A-Z][A-Za-z ]+?: )?(?P<text>.*)")
_NO_VERSION = re.compile(r"failed to load model '(?P<model>[^']+)': (?P<text>.*)")
_SPECIFIC = re.compile(r"version \d+ is specified for model '(?P<model>[^']+)', but .*")
_DEPENDS = re.compile(
    r"ensemble '?(?P<model>[\w.-]+)'? "
    r"(?:depends on '(?P<one>[^']+)'|contains models that are not available[^:]*: (?P<many>.*))"
)
_ENSEMBLE = re.compile(r"Invalid argument: in ensemble (?P<model>[^,]+), (?P<text>.*)")
_PREINIT = re.compile(r"Failed to preinitialize Python stub: (?P<text>.*)")
_LOADER = re.compile(r"error while loading shared libraries: (?P<text>.*)")
_PORT = re.compile(r"failed to start (?P<service>\w+) service: .*Socket '[^']*:(?P<port>\d+)' already in use")
_FLAG = re.compile(r"(?:unrecognized option|unknown option|option .* requires an argument|unknown restricted api).*")
_NO_REPOSITORY = re.compile(r"^error: creating server: .*failed to stat file (?P<path>.+)")
_OTHER = re.compile(r"^error: (?P<text>.*)")
_FRAME = re.compile(r"^\s+(?P<file>/.*)\((?P<line>\d+)\): (?P<function>\S+)$")
_NO_FIELD = re.compile(r'Message type "[\w.]*?(?P<type>\w+)" has no field named "(?P<field>[^"]+)"')
_NO_VALUE = re.compile(r'Unknown enumeration value of "(?P<value>[^"]+)" for field "(?P<field>[^"]+)"')
_SHM = re.compile(r"Unable to initialize shared memory key .* to requested size \((?P<size>\d+) bytes\)")
_NO_MODULE = re.compile(r"No module named '(?P<module>[^']+)'")
# What pip has to install, where it is not called as the module is.
_PACKAGES = {"numpy": "'numpy>=1.26,<2'", "cv2": "opencv-python-headless", "tritonkit_runtime": "./python_backend"}

# Triton 2.51 waits for ever when a Python process ends this early, so these lines alone must end the start.
_HANGS = ("Failed to preinitialize Python stub", "error while loading shared libraries")


def hangs(text: str) -> bool:
    """True if the log shows a failure after which the server neither starts nor exits."""
    return any(mark in text for mark in _HANGS)


def progress(line: str) -> tuple[str, str] | None:
    """("loading" | "loaded", model) if the line says so."""
    for word, pattern in (("loading", r'"loading: ([^"]+?):\d+"'), ("loaded", r"\"successfully loaded '([^']+)'")):
        if match := re.search(pattern, line):
            return word, match[1]
    return None


_NOISE = re.compile(
    r"^\s*$|^[|+]"
    r"|\S+ \S+ +\d+ (?:server|tritonserver)\.cc:\d+\] (?:$|\"Timeout|\"Waiting|\"All models|\"CudaDriverHelper)"
    r"|.*(?:pinned|cuda)_memory_manager\.cc"
)
_PROTO_SOURCE = re.compile(r"\[libprotobuf ERROR \S+\]")
_LINE_CHARACTERS = 300


def read(path: Path, offset: int = 0) -> bytes:
    """The log from a position on (negative: from its end); empty if somebody removed it meanwhile."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size + offset) if offset < 0 else offset)
            return file.read()
    except OSError:
        return b""


def tail(path: Path, lines: int = 8) -> list[str]:
    """The last lines of a log that say something: without tables, blank lines and what every CPU start says."""
    text = read(path).decode(errors="replace")
    said = [_PROTO_SOURCE.sub("[libprotobuf ERROR]", line) for line in text.splitlines() if not _NOISE.match(line)]
    return [line if len(line) <= _LINE_CHARACTERS else line[:_LINE_CHARACTERS] + "..." for line in said[-lines:]]


def open_connections(path: Path) -> int:
    """How many HTTP connections a stopping server still waits for, by the last line that says so."""
    found = re.findall(rb"Timeout \d+: Found (\d+) HTTP service connections", read(path, -4096))
    return int(found[-1]) if found else 0


def causes(text: str) -> list[Cause]:
    """Every cause that the log names. Consequences (an ensemble whose member failed) come last, or not at all."""
    found: list[Cause] = []
    consequences: list[tuple[Cause, set[str]]] = []
    proto: re.Match[str] | None = None
    for line in text.splitlines():
        message = _MESSAGE.match(line)
        said = message["text"].replace("\\n", "\n").replace('\\"', '"') if message else line
        if match := _PROTO.search(said):
            proto = match
        elif match := _POLL.search(said):
            found.append(_poll_cause(match["model"], match["text"], proto))
            proto = None
        elif match := _DEPENDS.search(said):
            members = {match["one"]} if match["one"] else set(re.split(r"[,\s]+", match["many"].strip()))
            sentence = f"its member {', '.join(sorted(members))} is not in the repository or did not load"
            consequences.append((Cause(match["model"], sentence, kind="config"), members))
        else:
            found.extend(_simple_cause(said))
    failed = {cause.model for cause in found}
    found += [cause for cause, members in consequences if not members & failed]
    return list(_distinct(found))


def _distinct(found: list[Cause]) -> Iterator[Cause]:
    """The causes in order of how close to the root they are, one a model and kind, generic ones only if alone."""
    rank = {"flag": 0, "libpython": 0, "port": 1, "server": 9}
    seen: set[tuple[str, str]] = set()
    for cause in sorted(found, key=lambda cause: rank.get(cause.kind, 5)):
        key = (cause.model, cause.kind if not cause.model else "")
        if cause.kind == "server" and seen:
            continue
        if key not in seen:
            seen.add(key)
            yield cause


def _poll_cause(model: str, text: str, proto: re.Match[str] | None) -> Cause:
    if proto is not None and "text proto" in text:
        place = f"{model}/config.pbtxt:{proto['line']}:{proto['column']}"
        said = proto["text"].rstrip(".")
        if match := _NO_FIELD.search(said):
            said = f'there is no field "{match["field"]}" in {match["type"]}'
        elif match := _NO_VALUE.search(said):
            said = f'"{match["value"]}" is no value of {match["field"]}'
        return Cause(model, f"{place}: {said}", "mend that line, or render the file from its spec again", "config")
    if "No such file" in text and "config.pbtxt" in text:
        return Cause(model, "it has no config.pbtxt", "render the repository from its spec again", "config")
    return Cause(model, text.removesuffix(f" for {model}").rstrip("."), "", "config")


def _simple_cause(said: str) -> Iterator[Cause]:
    """The cause that one message names by itself, if it names one."""
    if match := _LOAD.search(said):
        yield _load_cause(match["model"], said[match.start("text") :])
    elif match := _SPECIFIC.search(said):
        yield Cause(match["model"], match[0], kind="config")
    elif match := _NO_VERSION.search(said):
        hint = "a model needs a numbered directory such as 1/ beside its config.pbtxt"
        yield Cause(match["model"], "it has no version that its version policy allows", hint, "config")
    elif match := _ENSEMBLE.search(said):
        yield Cause(match["model"], match["text"], kind="config")
    elif match := _PREINIT.search(said):
        yield _preinit_cause(match["text"])
    elif match := _LOADER.search(said):
        yield Cause(
            "",
            f"a library of the server's is missing: {match['text']}",
            "tritonkit doctor names the command",
            "libpython",
        )
    elif match := _PORT.search(said):
        sentence = f"port {match['port']}, wanted for {match['service']}, is taken"
        yield Cause("", sentence, "choose another port, 0 for a free one", "port")
    elif match := _FLAG.search(said):
        yield Cause("", f"the server refused its command line: {match[0].strip()}", "", "flag")
    elif match := _NO_REPOSITORY.search(said):
        yield Cause("", f"there is no model repository {match['path']}", "render it from its specs first", "config")
    elif match := _OTHER.search(said):
        yield Cause("", match["text"], "", "server")


def _preinit_cause(text: str) -> Cause:
    match = re.search(r"'(?P<path>.*)/(?P<model>[^/]+)/(?P<file>[^/]+/[^/]+)'", text)
    if match and "not found" in text:
        return Cause(
            match["model"], f"its {match['file']} is missing", "render the repository from its spec again", "python"
        )
    return Cause("", text, kind="python")


def _load_cause(model: str, text: str) -> Cause:
    """What a model's load error means. `text` may hold a Python error and, after "At:", its frames."""
    said, _, frames = text.partition("\n\nAt:\n")
    said = said.strip().strip('"').removeprefix("TritonModelException: ")  # what our own models raise
    for mark, make in _KNOWN:
        if mark in said:
            return make(model, said)
    place = ""
    for line in frames.splitlines():
        if match := _FRAME.match(line):
            place = f" ({'/'.join(match['file'].split('/')[-3:])}:{match['line']}, in {match['function']})"
            break
    kind = "python" if frames or re.match(r"\w+(Error|Exception|Exit)\b", said) else "model"
    return Cause(model, " / ".join(said.splitlines()) + place, _python_hint(said), kind)


def _python_hint(said: str) -> str:
    if match := _NO_MODULE.search(said):
        module = match["module"].split(".")[0]
        package = _PACKAGES.get(module, module)
        instead = ", or `tritonkit render --self-contained`" if module == "tritonkit_runtime" else ""
        return f"the server's Python environment lacks it: python3 -m pip install {package} there{instead}"
    if "has no attribute 'TritonPythonModel'" in said:
        return "a Python model's model.py has to define a class TritonPythonModel"
    return ""


def _gpu(model: str, _said: str) -> Cause:
    return Cause(
        model,
        "it asks for a GPU (KIND_GPU) and this machine has none that the server can see",
        "start a target without GPUs, for example --target embedded, or set the instances' kind to cpu",
        "gpu",
    )


def _no_backend(model: str, said: str) -> Cause:
    name = re.search(r"backend '([^']+)'", said)
    sentence = f"it needs the backend {name[1] if name else 'it names'}, which the embedded server does not have"
    return Cause(
        model,
        sentence,
        "the embedded server runs python models and ensembles; set the engine to onnxruntime",
        "backend",
    )


def _crash(model: str, _said: str) -> Cause:
    sentence = "its Python process ended while it started: a crash in native code, os._exit, or killed for memory"
    return Cause(model, sentence, "run its initialize() by itself to see it, and look at the free memory", "crash")


def _no_shm(model: str, said: str) -> Cause:
    match = _SHM.search(said)
    size = int(match["size"]) if match else 0
    sentence = f"the shared memory of this machine is too small: each instance takes {size >> 20} MiB of it"
    return Cause(
        model, sentence, "make /dev/shm larger (docker run --shm-size=1g), or ask for fewer instances", "shm"
    )


_KNOWN: tuple[tuple[str, Callable[[str, str], Cause]], ...] = (
    ("has kind KIND_GPU but no GPUs", _gpu),
    ("unable to find backend library", _no_backend),
    ("is not healthy", _crash),
    ("Unable to initialize shared memory", _no_shm),
)
