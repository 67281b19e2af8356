"""What Locust's own users do: send the same request again as soon as it is answered."""

from __future__ import annotations

import os
from pathlib import Path

from locust import FastHttpUser, HttpUser, task

HEADERS = {"Content-Type": "application/octet-stream"}
BODY = Path(os.environ["BODY_FILE"]).read_bytes()


class Fast(FastHttpUser):
    """Locust's faster one, on geventhttpclient."""

    @task
    def infer(self) -> None:
        """One request."""
        self.client.post("/v2/models/model/infer", data=BODY, headers=HEADERS)  # type: ignore[arg-type]


class Plain(HttpUser):
    """Locust's first one, on requests."""

    @task
    def infer(self) -> None:
        """One request."""
        self.client.post("/v2/models/model/infer", data=BODY, headers=HEADERS)
