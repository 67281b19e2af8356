"""A real control plane on 127.0.0.1: etcd, API server, controllers, scheduler, and kwok, which plays the nodes.

    .venv/bin/python tests/cluster/control_plane.py      one to look at; ends with Ctrl-C

Nothing of a container runs: kwok says that pods run and are ready, as kwok-stages.yaml has it.
"""

from __future__ import annotations

import ctypes
import json
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from cluster_calls import CallError, Calls, call, until
from cluster_nodes import MACHINES, PLAYED, node
from custom_metrics import GROUP, VERSION, CustomMetrics, api_service, serving

from scripts.cluster_tools.folder import Folder, folder

STAGES = Path(__file__).parent / "kwok-stages.yaml"
AUDITED = Path(__file__).parent / "audit-policy.yaml"
CONTEXT = "tritonkit-test"
HELM = Path(sys.executable).parent / "helm"
READY_S, GONE_S = 120.0, 15.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class EndedError(Exception):
    """A part of the control plane has ended by itself; the message has the end of its log."""


@dataclass
class Part:
    """A process of the control plane, its output in a file."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raises EndedError when it no longer runs."""
        if self.process.poll() is not None:
            end = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise EndedError(f"{self.name} ended with status {self.process.returncode}; {self.log}:\n{end}")

    def end(self) -> None:
        """Asks it to end, and makes it."""
        self.process.terminate()
        try:
            self.process.wait(GONE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class ControlPlane(Calls):
    """What runs. Its own calls are the administrator's, in the namespace `default`."""

    root: Path  # kubeconfig and logs/
    address: str  # of the API server
    metrics: CustomMetrics = field(repr=False)
    parts: list[Part] = field(repr=False)

    def within(self, namespace: str) -> Calls:
        """The administrator's calls in another namespace."""
        return Calls(self.kubectl_program, self.helm_program, self.kubeconfig, namespace, self.scratch)

    def as_service_account(self, namespace: str, name: str) -> Calls:
        """The calls of a service account in its namespace, by a token that the API server makes for it."""
        token = self.within(namespace).kubectl("create", "token", name).strip()
        path = self.root / f"{namespace}-{name}.kubeconfig"
        write_kubeconfig(path, self.address, self.root / "server.crt", token, namespace)
        return replace(self.within(namespace), kubeconfig=path)

    def check(self) -> None:
        """Raises EndedError when a part no longer runs."""
        for part in self.parts:
            part.check()


def write_kubeconfig(path: Path, address: str, certificate: Path, token: str, namespace: str = "default") -> None:
    """Writes the configuration of one user."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": address, "certificate-authority": str(certificate)}}],
        "users": [{"name": CONTEXT, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": namespace}}],
        "current-context": CONTEXT,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on, held together so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


class Starter:
    """Starts the parts one after another; `stack` ends them in the opposite order, however the test run ends."""

    def __init__(self, tools: Folder, root: Path, stack: ExitStack) -> None:
        self.tools, self.root, self.stack = tools, root, stack
        self.parts: list[Part] = []
        self.kubeconfig = root / "kubeconfig"
        self.certificate, self.key = root / "server.crt", root / "server.key"
        self.etcd, self.peer, self.port = free_ports(3)
        self.address = f"https://127.0.0.1:{self.port}"
        self.tokens = {name: secrets.token_hex(16) for name in ("admin", "controllers", "scheduler")}
        self.calls = Calls(tools.programs / "kubectl", HELM, self.kubeconfig, "default", root / "helm")
        (root / "logs").mkdir(parents=True)

    def start(self, name: str, *arguments: str) -> Part:
        """Starts a program of the tools. The system ends it should this process die without a word."""
        log = self.root / "logs" / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [self.tools.programs / name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this process alone
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509  no threads yet
            )
        part = Part(name, log, process)
        self.stack.callback(part.end)
        self.parts.append(part)
        return part

    def until(self, what: str, part: Part, *kubectl: str) -> None:
        """Waits until a kubectl command succeeds, as long as `part` runs."""

        def ask() -> bool:
            part.check()
            self.calls.kubectl(*kubectl)
            return True

        until(what, ask, within_s=READY_S)

    def credentials(self) -> None:
        """One certificate that everything trusts, and a token for each user."""
        call(self.tools.programs / "control-plane", "certificate", self.root)
        users = [
            (self.tokens["admin"], "admin", "system:masters"),
            (self.tokens["controllers"], "system:kube-controller-manager", ""),
            (self.tokens["scheduler"], "system:kube-scheduler", ""),
        ]
        text = "".join(f"{token},{user},{user},{group}\n" for token, user, group in users)
        (self.root / "tokens.csv").write_text(text, encoding="utf-8")
        write_kubeconfig(self.kubeconfig, self.address, self.certificate, self.tokens["admin"])
        for name in ("controllers", "scheduler"):
            write_kubeconfig(self.root / f"{name}.kubeconfig", self.address, self.certificate, self.tokens[name])

    def api_server(self) -> None:
        """etcd and the API server."""
        clients, peers = f"http://127.0.0.1:{self.etcd}", f"http://127.0.0.1:{self.peer}"
        self.start(
            "etcd",
            f"--data-dir={self.root / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # nothing outlives the tests
        )
        server = self.start(
            "kube-apiserver",
            f"--etcd-servers={clients}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--tls-cert-file={self.certificate}",
            f"--tls-private-key-file={self.key}",
            f"--token-auth-file={self.root / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.key}",
            f"--service-account-signing-key-file={self.key}",
            "--endpoint-reconciler-type=none",  # a loopback address cannot be an endpoint
            f"--audit-policy-file={AUDITED}",
            f"--audit-log-path={self.root / 'logs' / 'audit.log'}",
        )
        self.until("the API server is ready", server, "get", "--raw=/readyz")

    def controllers(self) -> None:
        """The controllers and the scheduler, in more of a hurry than on a cluster."""
        self.start(
            "kube-controller-manager",
            f"--kubeconfig={self.root / 'controllers.kubeconfig'}",
            "--secure-port=0",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.key}",
            f"--root-ca-file={self.certificate}",
            "--kube-api-qps=500",
            "--kube-api-burst=500",
            "--horizontal-pod-autoscaler-sync-period=1s",
        )
        self.start(
            "kube-scheduler",
            f"--kubeconfig={self.root / 'scheduler.kubeconfig'}",
            "--secure-port=0",
            "--leader-elect=false",
            "--kube-api-qps=500",
            "--kube-api-burst=500",
        )

    def nodes(self) -> None:
        """The nodes, and kwok to play them."""
        self.calls.apply(*(node(machine) for machine in MACHINES))
        kwok = self.start(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            f"--config={STAGES}",
            f"--manage-nodes-with-annotation-selector={PLAYED}=fake",
            "--node-lease-duration-seconds=40",
            "--node-ip=10.0.0.1",
            "--cidr=10.244.0.0/16",
        )
        self.until("the nodes are ready", kwok, "wait", "--for=condition=Ready", "node", "--all", "--timeout=1s")
        # Without it, pods of the namespace are refused.
        self.until("there is a service account", kwok, "get", "serviceaccount", "default")

    def custom_metrics(self) -> CustomMetrics:
        """The server of custom metrics, known to the API server."""
        server = serving(self.certificate, self.key, self.address, self.tokens["admin"])
        metrics = self.stack.enter_context(server)
        replace(self.calls, namespace="kube-system").apply(*api_service(metrics.port))
        return metrics


@contextmanager
def running(tools: Folder, root: Path) -> Iterator[ControlPlane]:
    """A control plane in a new folder. Every part is ended; the logs stay."""
    with ExitStack() as stack:
        starter = Starter(tools, root, stack)
        starter.credentials()
        starter.api_server()
        starter.calls.kubectl("create", "-f", tools.crds)
        starter.controllers()
        starter.nodes()
        metrics = starter.custom_metrics()
        ready = ("--for=condition=Available", f"apiservice/{VERSION}.{GROUP}", "--timeout=1s")
        starter.until("custom metrics are served", starter.parts[1], "wait", *ready)
        calls = starter.calls
        yield ControlPlane(
            calls.kubectl_program,
            calls.helm_program,
            calls.kubeconfig,
            calls.namespace,
            calls.scratch,
            root,
            starter.address,
            metrics,
            starter.parts,
        )


def main() -> None:
    """Runs one until Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as scratch, running(folder(), Path(scratch) / "cluster") as plane:
        print(f"export KUBECONFIG={plane.kubeconfig} PATH={folder().programs}:$PATH", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, EndedError, CallError) as error:
        sys.exit(str(error) or 130)
