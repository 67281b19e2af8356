"""kubectl: its command lines, and the cluster's answers as data. Objects go in by standard input."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.tools.process import BrokenAnswerError, Completed, NoAnswerError, answer, find, run
from generator.problems import UserError

INSTALL = "install it from https://kubernetes.io/docs/tasks/tools"
Object = dict[str, Any]  # a Kubernetes object as the API speaks of it
_ANSWERS_WITHIN = "15s"
_NAME_ANOTHER = "name one with --kubeconfig, or in KUBECONFIG"
_TIMEOUT_S = 120.0
_ASK = "ask who runs the cluster for the role in deploy/rbac/deployer.yaml, or name another --context"
_LOG_IN = "the credentials of the kubeconfig may have expired: log in again"
_IN_TEXT = ("/healthz", "/livez", "/readyz")  # what the API answers there is no data
UNREACHABLE = re.compile(
    r"connection refused|was refused|no such host|i/o timeout|timeout awaiting|deadline exceeded"
    r"|network is unreachable|no route to host|x509|certificate|connection reset|TLS handshake"
    r"|ServiceUnavailable|Client\.Timeout|EOF",
)

_ANSWERED = re.compile(r"Error from server \((?!ServiceUnavailable)")
_PREFIX = re.compile(r"^(Error from server( \([A-Za-z]+\))?(: error when [a-z]+ \"[^\"]*\")?|error): ")


class KubectlError(UserError):
    """The cluster, or kubectl, refused; the message is its own."""


class UnreachableError(KubectlError, NoAnswerError):
    """Nobody answers where the cluster should be, or it is not the one that the kubeconfig knows."""


class KubectlBrokenError(KubectlError, BrokenAnswerError):
    """kubectl, or what is called so, printed no answer."""


class NoContextError(KubectlError):
    """The kubeconfig has no such context, or none at all."""


class ForbiddenError(KubectlError):
    """The user of the kubeconfig may not do this, or is not known to the cluster."""


@dataclass(frozen=True)
class Context:
    """Where kubectl's commands go: the context's name, the API server's URL, and the namespace it names."""

    name: str
    server: str
    namespace: str = "default"
    proxied: bool = False  # through a proxy: a server that looks near may be far


@dataclass(frozen=True)
class Kubectl:
    """One installed kubectl, and the cluster and namespace that it talks to (None: those of the kubeconfig)."""

    binary: Path
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None

    @classmethod
    def found(
        cls, *, kubeconfig: Path | None = None, context: str | None = None, namespace: str | None = None
    ) -> Kubectl:
        """The kubectl of this machine. Raises UserError when there is none."""
        return cls(find("kubectl", INSTALL), kubeconfig, context, namespace)

    def current(self) -> Context:
        """The context that commands go to; no cluster is asked. Raises NoContextError."""
        done = self._ask("config", "view", "--minify", "--output", "json")
        if not done.is_fine and self.kubeconfig is not None and not self.kubeconfig.exists():
            raise NoContextError(f"there is no kubeconfig {self.kubeconfig}", _NAME_ANOTHER)
        if not done.is_fine:
            raise NoContextError(f"{self._where()}: {complaint(done.stderr)}", self._other_contexts())
        told = answer(done, _mapping, KubectlBrokenError)
        name = told.get("current-context") or ""
        if not told.get("clusters"):
            raise NoContextError(f"{self._where()} names no cluster", self._other_contexts())
        cluster = told["clusters"][0].get("cluster") or {}
        context = ((told.get("contexts") or [{}])[0]).get("context") or {}
        if not cluster.get("server"):
            raise NoContextError(
                f"{self._where()}: the cluster of context `{name}` has no server",
                "write the API server's address there (`clusters[].cluster.server`), or name another --context",
            )
        return Context(name, cluster["server"], context.get("namespace") or "default", bool(cluster.get("proxy-url")))

    def _where(self) -> str:
        """The kubeconfig, as people look for it."""
        if self.kubeconfig is not None:
            return f"the kubeconfig {self.kubeconfig}"
        variable = os.environ.get("KUBECONFIG", "")
        return f"the kubeconfig of KUBECONFIG={variable}" if variable else "the kubeconfig ~/.kube/config"

    def contexts(self) -> list[str]:
        """The names of all contexts of the kubeconfig."""
        done = self._ask("config", "get-contexts", "--output", "name", anywhere=True)
        return done.stdout.split()

    def raw(self, path: str) -> Any:
        """What the API answers to a GET: data, and of its health the text; None for 404. Raises KubectlError."""
        done = self._ask("get", "--raw", path, f"--request-timeout={_ANSWERS_WITHIN}")
        if not done.is_fine and ("NotFound" in done.stderr or "could not find the requested" in done.stderr):
            return None
        self._ok(done)
        return done.stdout if path.startswith(_IN_TEXT) else answer(done, _mapping, KubectlBrokenError)

    def get(self, kinds: Sequence[str], *words: str, namespaced: bool = True) -> list[Object]:
        """Objects of these kinds; `words` select them (`--selector`, names). Raises KubectlError."""
        return self._objects("get", ",".join(kinds), *words, "--ignore-not-found", namespaced=namespaced)

    def live(self, objects: Sequence[Object]) -> list[Object]:
        """Those of the objects that are on the cluster, as they are there. Raises KubectlError."""
        return self._objects("get", "--ignore-not-found", "--filename", "-", given=objects) if objects else []

    def create(self, objects: Sequence[Object], *, dry_run: bool = False, strict: bool = True) -> list[Object]:
        """Creates them; what the cluster made of them. With `dry_run` it makes nothing. Raises KubectlError."""
        return self._write("create", objects, dry_run=dry_run, strict=strict)

    def replace(self, objects: Sequence[Object], *, dry_run: bool = False) -> list[Object]:
        """Puts them in the place of those that are there; what the cluster made of them. Raises KubectlError."""
        return self._write("replace", objects, dry_run=dry_run, strict=True)

    def annotate(self, kind: str, name: str, annotations: Mapping[str, str]) -> None:
        """Writes annotations of one object, in the place of those of the same names. Raises KubectlError."""
        pairs = [f"{key}={value}" for key, value in annotations.items()]
        self._ok(self._ask("annotate", kind, name, *pairs, "--overwrite", f"--request-timeout={_ANSWERS_WITHIN}"))

    def _write(self, verb: str, objects: Sequence[Object], *, dry_run: bool, strict: bool) -> list[Object]:
        if not objects:
            return []
        words = [f"--validate={'strict' if strict else 'false'}", *(["--dry-run=server"] if dry_run else [])]
        made = self._objects(verb, *words, "--filename", "-", given=objects)
        if len(made) != len(objects):
            raise KubectlBrokenError(
                f"`kubectl {verb}` was given {len(objects)} objects and told of {len(made)}",
                f"see which `kubectl` is on PATH ({self.binary}): it has to print every object that it is given",
            )
        return made

    def _objects(
        self, *words: str, given: Sequence[Object] | None = None, namespaced: bool = True
    ) -> list[Object]:  # fmt: skip
        text = None if given is None else json.dumps({"apiVersion": "v1", "kind": "List", "items": list(given)})
        asked = (*words, "--output", "json", f"--request-timeout={_ANSWERS_WITHIN}")
        done = self._ok(self._ask(*asked, text=text, namespaced=namespaced))
        return answer(done, lambda printed: list(documents(printed)), KubectlBrokenError)

    def _ask(
        self, *words: str, text: str | None = None, namespaced: bool = True, anywhere: bool = False
    ) -> Completed:
        cluster: list[tuple[str, object]] = [("--kubeconfig", self.kubeconfig)]
        cluster += [] if anywhere else [("--context", self.context)]
        cluster += [("--namespace", self.namespace)] if namespaced else []
        options = [word for name, value in cluster if value is not None for word in (name, str(value))]
        return run([self.binary, *words, *options], input=text, timeout_s=_TIMEOUT_S)

    def _ok(self, done: Completed) -> Completed:
        if not done.is_fine:
            raise self.error(done.stderr)
        return done

    def error(self, stderr: str) -> KubectlError:
        """What kubectl's error output means."""
        told = complaint(stderr) or "kubectl failed and said nothing"
        if "context" in told and ("does not exist" in told or "not found" in told or "no context" in told):
            return NoContextError(told, self._other_contexts())
        if "Forbidden" in stderr or "forbidden" in told or "Unauthorized" in stderr:
            return ForbiddenError(told, _LOG_IN if "Unauthorized" in stderr else _ASK)
        if not _ANSWERED.search(stderr) and UNREACHABLE.search(stderr):
            return UnreachableError(told)
        return KubectlError(told)

    def _other_contexts(self) -> str:
        known = self.contexts()
        if known:
            return f"contexts of the kubeconfig: {', '.join(known)}"
        return f"no context is in it, or it cannot be read; {_NAME_ANOTHER}"


def complaint(stderr: str) -> str:
    """What kubectl's error output says: its lines without what is put before each, each once."""
    lines = []
    for line in stderr.splitlines():
        if re.match(r"[EWI]\d{4} ", line) or line.startswith("Warning: "):
            continue  # its own log
        told = _PREFIX.sub("", line).strip()
        if told and told not in lines:
            lines.append(told)
    return "; ".join(lines)


def _mapping(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(found)
    return found


def documents(text: str) -> Iterable[Object]:
    """The objects of one or several JSON documents, those of a List each by itself.

    Raises ValueError, LookupError, TypeError or AttributeError for what is no object of the API.
    """
    decoder, position = json.JSONDecoder(), 0
    while (position := _next(text, position)) < len(text):
        found, position = decoder.raw_decode(text, position)
        for item in found["items"] if found["kind"].endswith("List") else [found]:
            if not isinstance(item["kind"], str) or not isinstance(item.get("metadata", {}), dict):
                raise TypeError(item)
            yield item


def _next(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def name_of(item: Mapping[str, Any]) -> str:
    """`Deployment digits`."""
    return f"{item.get('kind', '')} {item.get('metadata', {}).get('name', '')}"
