"""The cluster that a release goes to: which it is, and whether it is on this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from deploy.tools.helm import Helm
from deploy.tools.kubectl import Context, Kubectl
from generator.problems import Place, Problem, ProblemsError, UserError

# Names of the loopback address: the second is Docker Desktop's.
_LOCAL_HOSTS = frozenset({"localhost", "kubernetes.docker.internal"})
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
CHART = "triton"  # its name
LONGEST_NAME = 48  # of an object, in the chart: more is put behind it, and Kubernetes takes 63
LONGEST_NAMESPACE = 63


@dataclass(frozen=True)
class Cluster:
    """helm and kubectl, both bound to one context and one namespace, whatever the kubeconfig says a minute later."""

    helm: Helm
    kubectl: Kubectl
    context: Context
    namespace: str

    @property
    def place(self) -> Place:
        """Where problems of the cluster are."""
        return Place(f"context {self.context.name}, namespace {self.namespace}")

    @property
    def is_local(self) -> bool:
        """Whether the API server is on this machine: what happens there is nobody else's."""
        return is_local(self.context)

    def stop(self, code: str, message: str, hint: str = "", field: str = "") -> ProblemsError:
        """The error that a problem of the cluster is."""
        return ProblemsError([Problem(code, self.place, field, message, hint)])


def connect(*, kubeconfig: Path | None = None, context: str | None = None, namespace: str | None = None) -> Cluster:
    """Finds the tools and the context; nobody is asked yet.

    Raises UserError when a tool is missing or the kubeconfig has no such context.
    """
    kubectl = Kubectl.found(kubeconfig=kubeconfig, context=context)
    helm = Helm.found(kubeconfig=kubeconfig)
    current = kubectl.current()
    name = context or current.name
    where = namespace or current.namespace
    check_namespace(where)
    bound = replace(current, name=name)
    return Cluster(
        replace(helm, context=name, namespace=where), replace(kubectl, context=name, namespace=where), bound, where
    )


def is_local(context: Context) -> bool:
    """Whether the context's API server is on this machine.

    A loopback address is, unless a proxy leads elsewhere. Nothing else proves it: a private address may be anywhere
    in a network, and anybody may call a context `kind-…`.
    """
    try:
        host = (urlsplit(context.server).hostname or "").lower()
    except ValueError:  # it is no address at all
        return False
    if context.proxied or not host:
        return False
    if host in _LOCAL_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_release(name: str) -> None:
    """Raises UserError when Kubernetes would not take the name, or the chart the names of its objects.

    The bound is the same for every command: what cannot be installed is not there to be looked at.
    """
    behind = 0 if CHART in name else len(CHART) + 1  # objects are called NAME-triton
    why = f" (its objects are called NAME-{CHART}, and may have {LONGEST_NAME})" if behind else ""
    _check("release", name, LONGEST_NAME - behind, "--release", why)


def check_namespace(name: str) -> None:
    """Raises UserError when Kubernetes would not take the name."""
    _check("namespace", name, LONGEST_NAMESPACE, "--namespace")


def _check(what: str, name: str, longest: int, option: str, why: str = "") -> None:
    if not _LABEL.fullmatch(name) or len(name) > longest:
        raise UserError(
            f"`{name}` cannot be the name of a {what}: it may have at most {longest} characters{why}, small letters, "
            "digits and dashes, and begins and ends with a letter or a digit",
            f"name another with {option}",
        )


def release_of(pipelines: Sequence[str]) -> str:
    """The release's name where none was given: the pipeline's. Raises UserError where there are several."""
    if len(pipelines) == 1:
        name = release_name(pipelines[0])
        check_release(name)
        return name
    listed = ", ".join(f"`{name}`" for name in pipelines[:5]) + (", ..." if len(pipelines) > 5 else "")
    raise UserError(
        f"{listed} would be one release, and nothing says its name",
        "name the SPEC that is meant, or the release, and the same each time: --release NAME",
    )


def release_name(pipeline: str) -> str:
    """A pipeline's name as a release's: Kubernetes has no capitals, underscores or dots in it.

    It may be longer than a release's can be, which `check_release` tells: two that are cut would be one release.
    """
    return re.sub(r"[^a-z0-9]+", "-", pipeline.lower()).strip("-") or "tritonkit"
