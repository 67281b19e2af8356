"""Every stable code of a problem, of all folders: those of load tests and deployment are beyond what `generator`
may know."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.docker.codes import CODES as DOCKER
from deploy.operations.codes import CODES as OPERATIONS
from deploy.release.codes import CODES as RELEASE
from generator.codes import STAGES as OF_SPECS
from loadtest.report.codes import CODES as REPORT
from loadtest.run.codes import CODES as RUN
from loadtest.sender.codes import CODES as SENDER
from loadtest.sweep.codes import CODES as SWEEP
from loadtest.traffic.codes import CODES as TRAFFIC

STAGES: dict[str, Mapping[str, str]] = {
    **OF_SPECS,
    "Drawing a load test's traffic": TRAFFIC,
    "Sending requests": SENDER,
    "Running a load test": RUN,
    "Sweeping": SWEEP,
    "Reporting and comparing load tests": REPORT,
    "Deriving operations from an objective": OPERATIONS,
    "Releasing to a cluster": RELEASE,
    "Building and running an image": DOCKER,
}
CODES: dict[str, str] = {code: title for stage in STAGES.values() for code, title in stage.items()}
