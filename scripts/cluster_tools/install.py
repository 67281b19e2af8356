"""Installs what is missing or of another version, one installation at a time."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.cluster_tools import crds, schemas
from scripts.cluster_tools.folder import Folder, ToolsError
from scripts.cluster_tools.go import COMPILER_FLAGS, ENVIRONMENT, MODULE, SCANNER, Go

PACKAGES = (
    "./control-plane",
    "github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
    "github.com/yannh/kubeconform/cmd/kubeconform",
    "k8s.io/kubernetes/cmd/kubectl",
    "sigs.k8s.io/kwok/cmd/kwok",
)
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
DOCKLE = "github.com/goodwithtech/dockle/cmd/dockle"
# What reads signatures and storage through libraries in C is left out: archives of images have neither.
DOCKLE_TAGS = "containers_image_openpgp,containers_image_storage_stub"
PARTS = ("bin", "scanner", "crds", "schemas")


def kubernetes_version() -> str:
    """Of the API server and all that belongs to it, such as 1.36.3."""
    required = (MODULE / "go.mod").read_text(encoding="utf-8")
    [version] = re.findall(r"^\s+k8s\.io/kubernetes v(\S+)$", required, re.MULTILINE)
    return str(version)


def linker_flags() -> list[str]:
    """The version that programs report, and that helm-unittest renders for; without, it is none or an old one."""
    version = kubernetes_version()
    major, minor, _ = version.split(".")
    return [
        f"-X k8s.io/component-base/version.gitVersion=v{version}",
        f"-X k8s.io/component-base/version.gitMajor={major}",
        f"-X k8s.io/component-base/version.gitMinor={minor}",
        f"-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={minor}",
        f"-X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={minor}",
    ]


def stamps() -> dict[str, str]:
    """What each part has to be made of."""
    settings = [*PACKAGES, *CONTROL_PLANE, *linker_flags(), COMPILER_FLAGS, *ENVIRONMENT.values()]
    digest = hashlib.sha256(" ".join(settings).encode())
    for file in sorted(file for file in MODULE.rglob("*") if file.is_file()):
        digest.update(file.read_bytes())
    scanner = hashlib.sha256(" ".join([DOCKLE, DOCKLE_TAGS, COMPILER_FLAGS, *ENVIRONMENT.values()]).encode())
    scanner.update((SCANNER / "go.mod").read_bytes() + (SCANNER / "go.sum").read_bytes())
    return {
        "bin": digest.hexdigest(),
        "scanner": scanner.hexdigest(),
        "crds": crds.stamp(),
        "schemas": f"{schemas.stamp()}\n{crds.stamp()}",
    }


def missing(folder: Folder) -> list[str]:
    """The parts that are not there, or of other versions."""
    return [part for part, stamp in stamps().items() if not folder.has(part, stamp)]


def build_programs(go: Go, out: Path) -> None:
    """Builds every program in one go, so that what two of them need is compiled once."""
    go.build(PACKAGES, linker_flags(), out)
    for name in CONTROL_PLANE:
        (out / name).symlink_to("control-plane")


def install(folder: Folder, say: Callable[[str], None]) -> None:
    """Makes every part that is missing. Raises ToolsError, and leaves what was whole, when one cannot be made."""
    if not missing(folder):
        return
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolsError(f"{folder.path} cannot be made: {error.strerror}") from error
    with folder.locked(lambda: say(f"waiting for another installation into {folder.path}")):
        wanted = stamps()
        for part in missing(folder):
            start = time.monotonic()
            say(f"{part}: {'built from source: five to ten minutes on two cores' if part == 'bin' else 'being made'}")
            folder.put(part, wanted[part], partial(make, part, folder, say))
            say(f"{part}: ready after {time.monotonic() - start:.0f} s")


def make(part: str, folder: Folder, say: Callable[[str], None], out: Path) -> None:
    """Fills `out` with one of PARTS."""
    match part:
        case "bin":
            build_programs(Go(say), out)
        case "scanner":  # a module of its own: it wants other versions of what it shares with the rest
            Go(say).build([DOCKLE], [], out, module=SCANNER, tags=DOCKLE_TAGS)
        case "crds":
            crds.copy_definitions(Go(say), out)
        case _:
            schemas.write_schemas(folder.crds, out)
