"""A server of custom metrics: what a test says is what the autoscaler reads of every pod."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

GROUP, VERSION = "custom.metrics.k8s.io", "v1beta2"
ROOT = f"/apis/{GROUP}/{VERSION}"


@dataclass
class CustomMetrics:
    """Values per pod, by namespace and metric, as quantities (`12`, `1500m`); and who asked for what."""

    port: int
    values: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def report(self, namespace: str, metric: str, value: str | None) -> None:
        """From now on every pod of the namespace has this value; None: there is no such metric."""
        if value is None:
            self.values.pop((namespace, metric), None)
        else:
            self.values[namespace, metric] = value

    def answer(self, path: str, pods: Callable[[str, str], list[str]]) -> dict[str, Any] | None:
        """What the API says to a GET; None: 404. `pods` gives the names of a namespace's pods that a selector selects."""
        url = urlsplit(path)
        match unquote(url.path).removeprefix(ROOT).strip("/").split("/"):
            case [""]:
                names = sorted({metric for _, metric in self.values})
                return {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": f"{GROUP}/{VERSION}",
                    "resources": [
                        {"name": f"pods/{name}", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
                        for name in names
                    ],
                }
            case ["namespaces", namespace, "pods", "*", metric] if (namespace, metric) in self.values:
                self.asked.append(url.path)
                selector = parse_qs(url.query).get("labelSelector", [""])[0]
                value, now = self.values[namespace, metric], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                items = [
                    {
                        "describedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod},
                        "metric": {"name": metric},
                        "timestamp": now,
                        "value": value,
                    }
                    for pod in pods(namespace, selector)
                ]
                return {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}
        return None


def api_service(port: int) -> list[dict[str, Any]]:
    """The objects that tell the API server to ask 127.0.0.1:PORT for custom metrics."""
    name, namespace = "custom-metrics", "kube-system"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    registered = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{VERSION}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": name, "namespace": namespace, "port": port},
            "insecureSkipTLSVerify": True,
        },
    }
    return [service, registered]


@contextmanager
def serving(certificate: Path, key: Path, api: str, token: str) -> Iterator[CustomMetrics]:
    """Serves on a free port of 127.0.0.1; pods are looked up at `api`, the API server's address."""
    trusted = ssl.create_default_context(cafile=str(certificate))

    def pods(namespace: str, selector: str) -> list[str]:
        query = urllib.parse.urlencode({"labelSelector": selector})
        request = urllib.request.Request(f"{api}/api/v1/namespaces/{namespace}/pods?{query}")
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, context=trusted, timeout=10) as answer:
            return [pod["metadata"]["name"] for pod in json.load(answer)["items"]]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = metrics.answer(self.path, pods)
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(missing if answer is None else answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the standard library's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # Without do_handshake_on_connect=False a client that only connects would keep all others waiting.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    metrics = CustomMetrics(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
