"""A rollout that fails, and a command that is interrupted: what was there before is there again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cluster_calls import Calls
from deploy_calls import BROKEN, DIGITS, FROM_CONFIG_MAP, Deploy, deploying

pytestmark = pytest.mark.timeout(900)
APPLY = ("apply", DIGITS, *FROM_CONFIG_MAP, "--yes")
OURS = "--selector=app.kubernetes.io/instance=digits"


@pytest.fixture
def deploy(cluster: Calls, tmp_path: Path) -> Deploy:
    return deploying(tmp_path, cluster)


def annotations(cluster: Calls) -> dict[str, str]:
    [found] = cluster.items("deployments", OURS)
    return dict(found["spec"]["template"]["metadata"]["annotations"])


def statuses(cluster: Calls) -> list[str]:
    return [one["status"] for one in json.loads(cluster.helm("history", "digits", "--output=json"))]


def test_an_upgrade_that_does_not_come_up_is_rolled_back(deploy: Deploy, cluster: Calls) -> None:
    deploy.ok(*APPLY)
    before = annotations(cluster)
    pods = {pod["metadata"]["name"] for pod in cluster.items("pods", OURS)}
    ended = deploy.refused("TK452", "did not come up within 3 s", *APPLY, *BROKEN, "--timeout", "3")
    assert "the image nvcr.io/nvidia/tritonserver:26.07-py3 of `tritonserver` cannot be pulled" in ended.err
    assert "rolled back to revision 1" in ended.err
    assert "revision 1 serves again" in ended.err
    assert annotations(cluster) == before
    assert pods <= {pod["metadata"]["name"] for pod in cluster.items("pods", OURS)}  # they served all the while
    assert statuses(cluster) == ["superseded", "superseded", "deployed"]
    deploy.refused("TK453", "no revision before this one to go back to", "rollback", DIGITS, "--yes")
    deploy.ok(*APPLY, "--set", "server.logVerbose=1")
    served = deploy.ok("rollback", DIGITS, "--yes")
    assert "back to revision 1 " in served.err
    assert annotations(cluster) == before


def test_what_never_served_is_not_gone_back_to(deploy: Deploy, cluster: Calls) -> None:
    """To Helm it is deployed: it was left as it failed."""
    deploy.ok(*APPLY)
    before = annotations(cluster)
    deploy.refused("TK452", "left as it is", *APPLY, *BROKEN, "--timeout", "3", "--keep-failed")
    assert statuses(cluster) == ["superseded", "deployed"]
    again = ("--set", "workload.podAnnotations={tritonkit.test/broken: CrashLoopBackOff}")
    ended = deploy.refused("TK452", "did not come up", *APPLY, *again, "--timeout", "3")
    assert "rolled back to revision 1" in ended.err
    assert annotations(cluster) == before


def test_a_first_revision_that_never_served_is_not_gone_back_to(deploy: Deploy, cluster: Calls) -> None:
    deploy.refused("TK452", "left as it is", *APPLY, *BROKEN, "--timeout", "3", "--keep-failed")
    crash = ("--set", "workload.podAnnotations={tritonkit.test/broken: CrashLoopBackOff}")
    ended = deploy.refused("TK452", "nothing to go back to: revision 2 is left", *APPLY, *crash, "--timeout", "3")
    assert "`tritonkit deploy delete` removes all of it" in ended.err
    assert statuses(cluster) == ["superseded", "deployed"]
    assert annotations(cluster)["tritonkit.test/broken"] == "CrashLoopBackOff"
    deploy.refused("TK453", "1 is not known to have served", "rollback", DIGITS, "--yes")
    deploy.ok(*APPLY)
    assert deploy.ok("status", DIGITS).status == 0


def test_a_first_installation_that_does_not_come_up_is_removed(deploy: Deploy, cluster: Calls) -> None:
    ended = deploy.refused(
        "TK452", "cannot be scheduled: .*[Ii]nsufficient", *APPLY, "--timeout", "3",
        "--set", "resources.requests.cpu=500",
    )  # fmt: skip
    assert "it was the first installation, so all of it was removed" in ended.err
    assert cluster.items("deployments,services,configmaps,secrets", OURS) == []
    assert cluster.items("secrets", "--selector=owner=helm") == []


def test_what_is_kept_for_a_look_is_shown_by_status(deploy: Deploy, cluster: Calls) -> None:
    deploy.ok(*APPLY)
    crash = ("--set", "workload.podAnnotations={tritonkit.test/broken: CrashLoopBackOff}")
    ended = deploy.refused("TK452", "it was left as it is", *APPLY, *crash, "--timeout", "3", "--keep-failed")
    assert "rolled back" not in ended.err
    status = deploy.run("status", DIGITS)
    assert status.status == 1
    assert "0 of 2 pods of this revision are ready" in status.out
    assert "`tritonserver` ended, 3 times by now" in status.out
    told = json.loads(deploy.run("status", DIGITS, "--json").out)
    assert (told["ready"], told["rollout"]["done"]) == (False, False)
    deploy.ok("rollback", DIGITS, "--yes")
    assert deploy.ok("status", DIGITS).status == 0


def test_a_pod_that_may_not_be_made_says_why(deploy: Deploy, cluster: Calls) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "1"}},
    }
    cluster.apply(quota)
    deploy.refused("TK452", "no pod can be made: .*exceeded quota: small", *APPLY, "--timeout", "4")


def test_an_interrupted_upgrade_is_rolled_back(deploy: Deploy, cluster: Calls) -> None:
    deploy.ok(*APPLY)
    before = annotations(cluster)
    ended = deploy.interrupted(*APPLY, *BROKEN, when=lambda err: "cannot be pulled" in err)
    assert ended.status == 130
    assert "rolled back to revision 1" in ended.err
    assert "Traceback" not in ended.err
    assert annotations(cluster) == before
    assert deploy.ok("status", DIGITS).status == 0


def test_one_that_is_interrupted_while_it_is_sent_leaves_nothing_half_done(deploy: Deploy, cluster: Calls) -> None:
    """Wherever the interrupt falls, the release is as it was before or whole; never pending, never failed."""
    deploy.ok(*APPLY)
    before = annotations(cluster)
    for number in range(2):
        ended = deploy.interrupted(
            *APPLY, "--set", f"server.logVerbose={number + 1}", when=lambda err: "sending the release" in err
        )
        assert ended.status == 130, ended.err
        assert "rolled back to revision" in ended.err or "nothing was changed" in ended.err
        assert statuses(cluster)[-1] == "deployed"
        assert annotations(cluster) == before
    status = json.loads(deploy.ok("status", DIGITS, "--json").out)
    assert (status["status"], status["ready"]) == ("deployed", True)
    assert deploy.run("diff", DIGITS, *FROM_CONFIG_MAP).status == 0


def test_an_interrupted_first_installation_is_removed(deploy: Deploy, cluster: Calls) -> None:
    ended = deploy.interrupted(*APPLY, *BROKEN, when=lambda err: "cannot be pulled" in err)
    assert ended.status == 130
    assert "all of it was removed" in ended.err
    assert cluster.items("deployments,services,configmaps,secrets", OURS) == []
