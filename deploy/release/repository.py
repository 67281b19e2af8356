"""Where the pods get their models from: what the values say, held against what was rendered."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploy.release.overrides import Overrides
from deploy.repository_hash import repository_hash
from generator.problems import Problem, Severity

STOCK = "nvcr.io/nvidia/tritonserver"
MODELS = "tritonkit/models"
CONFIG_MAP_BYTES = 1 << 20
_REQUEST = "engine.request.json"
_OF_A_BUILD = re.compile(r"[0-9a-f]{7,}")  # of a commit, a digest or a date: such a tag is not given a second time
_PATH_BYTES = 40  # of a file's key in the ConfigMap, about


def with_repository(
    values: Mapping[str, Any], files: Mapping[str, bytes], overrides: Overrides
) -> tuple[dict[str, Any], list[Problem]]:
    """The values with the rendered repository in them where they ask for a ConfigMap; and what is wrong with where
    the models are to come from. `files` is the self-contained repository, by path.

    Wherever it comes from, its hash is an annotation of the pods: other models under the same name roll them.
    """
    said = values.get("modelRepository") or {}
    source = said.get("source", "image")
    problems = list(_problems(values, said, source, files, overrides))
    workload = values.get("workload") or {}
    annotations = {MODELS: f"sha256:{repository_hash(files)}", **(workload.get("podAnnotations") or {})}
    result = {**values, "workload": {**workload, "podAnnotations": annotations}}
    if source == "configMap" and not (said.get("configMap") or {}).get("files"):
        packed = {path: base64.b64encode(data).decode() for path, data in sorted(files.items())}
        result["modelRepository"] = {**said, "configMap": {"files": packed}}
    return result, problems


def _problems(
    values: Mapping[str, Any], said: Mapping[str, Any], source: str, files: Mapping[str, bytes], overrides: Overrides
) -> Iterator[Problem]:
    place = overrides.place(("modelRepository", "source"))
    image = (values.get("image") or {}).get("repository", STOCK)
    field = "modelRepository.source"
    if source == "image" and image == STOCK:
        message = f"the models are to come from the image, and {STOCK} has none: say where they come from"
        yield Problem("TK440", place, field, message, _choices(files))
    elif source == "image":
        yield from _movable(values, overrides)
    if source == "persistentVolumeClaim" and not (said.get("persistentVolumeClaim") or {}).get("claimName"):
        message = "the models are to come from a PersistentVolumeClaim, and none is named"
        yield Problem("TK440", place, field, message, "set modelRepository.persistentVolumeClaim.claimName")
    if source == "objectStore":
        store = said.get("objectStore") or {}
        missing = [name for name in ("uri", "image") if not store.get(name)]
        if missing:
            listed = " and ".join(f"modelRepository.objectStore.{name}" for name in missing)
            message = "the models are to come from an object store, and it is not said which one, or what copies them"
            yield Problem("TK440", place, field, message, f"set {listed}")
    if source == "configMap" and (size := packed_bytes(files)) > CONFIG_MAP_BYTES:
        message = (
            f"a ConfigMap holds at most {CONFIG_MAP_BYTES:,} bytes, and the self-contained repository has {size:,}"
        )
        yield Problem("TK440", place, field, message, "take an image, a PersistentVolumeClaim or an object store")
    yield from _plans(values, source, unbuilt(files), overrides)


def _movable(values: Mapping[str, Any], overrides: Overrides) -> Iterator[Problem]:
    """Of an image with models whose name the next build may get too, where nobody says when it is pulled."""
    image = values.get("image") or {}
    tag = str(image.get("tag") or "")
    if image.get("digest") or image.get("pullPolicy") or _OF_A_BUILD.search(tag):
        return
    name = f"{image['repository']}:{tag}" if tag else str(image["repository"])
    message = (
        f"the models are in the image {name}, and a node that has an image of this name does not pull it again: "
        "after another build under the same name it serves the models of the one before, and the rollout succeeds"
    )
    hint = (
        "`image.digest` (a push prints it) names one build alone; else `image.pullPolicy`: `Always` asks the "
        "registry at each start, `IfNotPresent` is right where each build has a tag of its own"
    )
    said = "tag" if tag else "repository"
    yield Problem("TK459", overrides.place(("image", said)), f"image.{said}", message, hint, Severity.WARNING)


def _choices(files: Mapping[str, bytes]) -> str:
    fits = packed_bytes(files) <= CONFIG_MAP_BYTES and not unbuilt(files)
    small = "`--set modelRepository.source=configMap`: they are small enough; " if fits else ""
    return (
        f"{small}`--set image.repository=NAME --set image.tag=TAG`: an image of your own "
        "(`tritonkit deploy image build`); "
        "`--set modelRepository.source=persistentVolumeClaim` or `objectStore`, with what belongs to it"
    )


def _plans(
    values: Mapping[str, Any], source: str, models: Sequence[str], overrides: Overrides
) -> Iterator[Problem]:  # fmt: skip
    build = values.get("engineBuild") or {}
    if not models or (build.get("enabled") and source != "configMap"):
        return
    listed = ", ".join(f"`{model}`" for model in models)
    severity = Severity.ERROR if source == "configMap" else Severity.WARNING
    message = f"no TensorRT plan has been built here for {listed}"
    after = {
        "configMap": ", so the repository that would be sent lacks it",
        "image": ": the image has to have it",
        "persistentVolumeClaim": ": the claim has to have it",
        "objectStore": ": the object store has to have it",
    }[source]
    hint = (
        "`tritonkit build` where there is such a GPU, or let the cluster build it on a claim: `engineBuild.enabled`, "
        "`engineBuild.claimName`, and modelRepository.source persistentVolumeClaim of the same claim"
    )
    yield Problem("TK456", overrides.place(("modelRepository", "source")), "", message + after, hint, severity)


def unbuilt(files: Mapping[str, bytes]) -> list[str]:
    """The models of a rendered repository whose engine has to be built elsewhere."""
    return sorted({path.partition("/")[0] for path in files if path.endswith(_REQUEST)})


def packed_bytes(files: Mapping[str, bytes]) -> int:
    """What the API server counts of a ConfigMap with these files."""
    return sum(_PATH_BYTES + len(data) for data in files.values())
