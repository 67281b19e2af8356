"""`tritonkit deploy` at the command line, as far as it needs no cluster."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from cli_session import CLONE, At, Session

from deploy.release.cluster import Cluster
from deploy.tools.helm import Helm
from deploy.tools.kubectl import Context, Kubectl
from generator.problems import ProblemsError, UserError
from tritonkit.cli.commands.deploy import COMMANDS
from tritonkit.cli.deploy_options import confirmed, name_of, named

CONFIG_MAP = ("--set", "modelRepository.source=configMap")


@pytest.fixture
def digits(tmp_path: Path, at: At) -> Session:
    """A session in a project with the digits, whose target `production` needs no plan."""
    root = tmp_path / "project"
    (root / "specs").mkdir(parents=True)
    for name in ("models", "data"):
        (root / name).symlink_to(CLONE / name)
    text = (CLONE / "specs" / "digits.yaml").read_text(encoding="utf-8")
    (root / "specs" / "digits.yaml").write_text(
        text.replace("engine: tensorrt, precision: fp16, ", ""), encoding="utf-8"
    )
    return at(root)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(session: Session, name: str) -> None:
    ended = session.quietly("deploy", name, "-h")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: tritonkit deploy {name} ")


def test_manifests_are_data_and_no_secret_is_among_them(digits: Session) -> None:
    ended = digits.quietly("deploy", "render", "specs/digits.yaml", *CONFIG_MAP)
    assert (ended.status, ended.err) == (0, "")
    kinds = [item["kind"] for item in yaml.safe_load_all(ended.out)]
    assert "Deployment" in kinds
    assert "Secret" not in kinds
    as_json = digits.quietly("deploy", "render", *CONFIG_MAP, "--json")
    assert [item["kind"] for item in json.loads(as_json.out)] == kinds


def test_plain_manifests_say_how_the_secret_is_made(digits: Session) -> None:
    ended = digits.quietly("deploy", "kubectl", *CONFIG_MAP, "--namespace", "ml", "--release", "two")
    assert ended.status == 0
    assert {item["metadata"]["namespace"] for item in yaml.safe_load_all(ended.out)} == {"ml"}
    assert (
        "kubectl create secret generic two-triton-restricted --namespace ml --from-file=key=/dev/stdin" in ended.err
    )


def test_manifests_are_for_the_kubernetes_that_is_named(digits: Session) -> None:
    """The preStop sleep is the cluster's own from 1.30 on, and a program before."""

    def pre_stop(*more: str) -> dict[str, Any]:
        ended = digits.quietly("deploy", "kubectl", *CONFIG_MAP, "--json", *more)
        assert ended.status == 0, ended.err
        [found] = [item for item in json.loads(ended.out) if item["kind"] == "Deployment"]
        [container] = found["spec"]["template"]["spec"]["containers"]
        return dict(container["lifecycle"]["preStop"])

    assert list(pre_stop()) == ["sleep"]
    assert list(pre_stop("--kube-version", "1.29")) == ["exec"]
    for name in ("render", "kubectl"):
        ended = digits.quietly("deploy", name, *CONFIG_MAP, "--kube-version", "1.28.4")
        assert ended.status != 0
        assert "the chart needs Kubernetes 1.29 or later, and 1.28.4 is older" in ended.err
        assert "write it as 1.31" in digits.quietly("deploy", name, *CONFIG_MAP, "--kube-version", "new").err


def test_what_the_chart_warns_of_is_told_beside_the_manifests(digits: Session) -> None:
    ended = digits.quietly("deploy", "render", *CONFIG_MAP, "--set", "restrictedApis.enabled=false")
    assert ended.status == 0
    assert "warning[TK458]" in ended.err
    assert "No API is restricted" in ended.err
    assert "No API is restricted" not in ended.out


def test_what_people_read_when_the_models_source_is_not_said(digits: Session) -> None:
    digits.run("deploy", "render")
    digits.run("deploy", "render", *CONFIG_MAP, "--set", "workload.replica=3")
    digits.run("deploy", "render", *CONFIG_MAP, "--set", "workload.replicas=many", "--set", "ports.http=0")
    digits.run("deploy", "render", "--target", "nowhere")
    digits.run("deploy", "render", "--release", "Digits", *CONFIG_MAP)
    digits.run("deploy", "kubectl", "--namespace", "a b", *CONFIG_MAP)
    digits.matches("deploy_refused")


def test_without_the_tools(digits: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    for name in ("apply", "diff", "status", "rollback", "delete"):
        more = CONFIG_MAP if name in {"apply", "diff"} else ()
        ended = digits.quietly("deploy", name, *more)
        assert (ended.status, ended.out) == (1, "")
        assert "error: `kubectl` is not installed here" in ended.err
        assert "hint: install it from https://kubernetes.io" in ended.err


def wrappers(folder: Path, kubectl: str, helm: str) -> str:
    """A PATH with a kubectl and a helm that know their context and their version, and answer so to everything else."""
    config = {
        "current-context": "near", "clusters": [{"cluster": {"server": "https://127.0.0.1:6443"}}],
        "contexts": [{"context": {"cluster": "near"}}],
    }  # fmt: skip
    for name, word, fine, out in (
        ("kubectl", "config", json.dumps(config), kubectl), ("helm", "version", "v3.17.3", helm),
    ):  # fmt: skip
        program = folder / name
        program.write_text(f"#!/bin/sh\nif [ \"$1\" = {word} ]; then echo '{fine}'; else printf %s '{out}'; fi\n")
        program.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.parametrize(
    "command", [("status",), ("rollback", "--yes"), ("delete", "--yes")], ids=lambda words: words[0]
)
@pytest.mark.parametrize(
    ("kubectl", "helm", "said"),
    [
        ("", "[]", "`kubectl get --raw /version --request-timeout=15s --context …` ended well and printed nothing"),
        ('{"major": "1"}', "", "`helm history digits --output json --max …` ended well and printed nothing"),
        ('{"major": "1"}', '[{"revision": 1', "ended well and printed data that is cut short, or not of the kind"),
        ('{"major": "1"}', "a banner", "ended well and printed what is no data: a banner"),
    ],
)
def test_tools_that_print_something_else(
    digits: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...], kubectl: str,
    helm: str, said: str,
) -> None:  # fmt: skip
    """On PATH before the real ones: one sentence, with what was run and where it lies."""
    monkeypatch.setenv("PATH", wrappers(tmp_path, kubectl, helm))
    ended = digits.quietly("deploy", *command)
    assert (ended.status, ended.out) == (1, "")
    assert said in ended.err
    assert f"({tmp_path}/" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "command", [("render",), ("kubectl",), ("diff",), ("apply", "--yes")], ids=lambda words: words[0]
)
def test_a_helm_that_renders_nothing(
    digits: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PATH", wrappers(tmp_path, '{"major": "1"}', ""))
    ended = digits.quietly("deploy", *command, *CONFIG_MAP)
    assert (ended.status, ended.out) == (1, "")
    assert "`helm template` ended well and printed no object" in ended.err
    assert f"({tmp_path}/helm)" in ended.err


# Names and questions ---------------------------------------------------------------------------------------------


def test_the_name_of_a_release(digits: Session) -> None:
    assert name_of((), "production", None) == "digits"
    assert name_of((), "production", "mine") == "mine"
    (digits.folder / "specs" / "more.yaml").write_text(
        (CLONE / "specs" / "digits.yaml").read_text().replace("name: digits", "name: My_Digits"), encoding="utf-8"
    )
    with pytest.raises(UserError, match="`digits`, `My_Digits` would be one release") as caught:
        name_of((), "production", None)  # the checkout's folder may have another name elsewhere
    assert "--release" in caught.value.hint
    assert name_of((), "production", "both") == "both"
    assert name_of((Path("specs/more.yaml"),), "production", None) == "my-digits"
    with pytest.raises(ProblemsError):
        name_of((Path("specs/gone.yaml"),), "production", None)


def cluster(server: str) -> Cluster:
    return Cluster(Helm(Path("helm")), Kubectl(Path("kubectl")), Context("far", server), "ml")


FAR, NEAR = cluster("https://api.example.com"), cluster("https://127.0.0.1:6443")


def typing(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    stream = io.StringIO(text)
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", stream)


def options(**more: Any) -> dict[str, Any]:
    return {"context": None, "yes": False, **more}


def test_a_far_cluster_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    named(NEAR, options())
    named(FAR, options(context="far"))
    for given in (options(yes=True), options()):
        with pytest.raises(ProblemsError, match=r"TK445 .*`far` is of https://api.example.com, which is not on this"):
            named(FAR, given)
    typing(monkeypatch, "near\n")
    with pytest.raises(UserError, match="`near` is not its name: nothing was changed"):
        named(FAR, options())
    typing(monkeypatch, "far\n")
    named(FAR, options())
    typing(monkeypatch, "far\n")
    with pytest.raises(ProblemsError):
        named(FAR, options(yes=True))  # --yes answers questions, and does not name a cluster


def test_a_change_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    confirmed("Go?", options(yes=True))
    typing(monkeypatch, "y\n")
    confirmed("Go?", options())
    assert "Go?" in capsys.readouterr().err  # standard output is data
    typing(monkeypatch, "n\n")
    with pytest.raises(UserError, match="nothing was changed"):
        confirmed("Go?", options())
    typing(monkeypatch, "")
    with pytest.raises(click.Abort):
        confirmed("Go?", options())
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UserError, match="nobody can be asked"):
        confirmed("Go?", options())


@pytest.mark.parametrize("option", ["--context", "--namespace", "--target", "--kubeconfig", "--release"])
@pytest.mark.parametrize("name", ["apply", "diff", "status", "rollback", "delete"])
def test_an_option_without_a_name_names_nothing(digits: Session, name: str, option: str) -> None:
    """`--context "$UNSET"` must not count as a cluster that somebody named."""
    ended = digits.quietly("deploy", name, "specs/digits.yaml", option, "")
    assert (ended.status, ended.out) == (1, "")
    assert f"invalid value for '{option}'" in ended.err
    assert "it is empty" in ended.err


def test_an_empty_context_names_no_far_cluster() -> None:
    with pytest.raises(ProblemsError, match="not on this machine"):
        named(FAR, options(context="", yes=True))
