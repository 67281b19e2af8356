"""The Docker engine, through its SDK: every failure of it becomes one sentence.

The SDK builds with the engine's classic builder: BuildKit wants a session that the SDK does not speak. Nothing here
needs what BuildKit alone has, as packages come with the context; the Dockerfiles are written for both.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from deploy.docker.problem import refused
from generator.extras import remedy
from generator.problems import UserError

if TYPE_CHECKING:
    import docker

_ANSWER_S = 3600  # a step of a build may be silent for long
_LAST_LINES = 8
_LISTING_S = 300
_APPEARS_S, _LOOK_S = 2.0, 0.1  # a container whose creation was interrupted
_ITS_LOG = "its own log says why (`journalctl -u docker`)"
_FULL = ("no space left on device", "disk quota exceeded")


@dataclass(frozen=True)
class Image:
    """An image of the engine. `digests` are its names in registries, `name@sha256:…`; none of one made here."""

    id: str
    digests: tuple[str, ...]
    tags: tuple[str, ...]
    labels: dict[str, str]

    @property
    def reference(self) -> str:
        """A name that pins it."""
        return self.digests[0] if self.digests else f"{(self.tags or ('',))[0]}@{self.id}"


class Engine:
    """A connection to the engine that DOCKER_HOST names, or the machine's own."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client

    def image(self, name: str) -> Image | None:
        """The image of this name; None where the engine does not have it."""
        import docker.errors

        try:
            found = self.client.images.get(name)
        except docker.errors.ImageNotFound:
            return None
        about = found.attrs
        labels = (about.get("Config") or {}).get("Labels") or {}
        return Image(str(found.id), tuple(about.get("RepoDigests") or ()), tuple(about.get("RepoTags") or ()), labels)

    def pull(self, repository: str, tag: str) -> None:
        """Gets an image; `tag` may be a digest. Raises ProblemsError (TK462)."""
        import docker.errors

        name = f"{repository}{'@' if tag.startswith('sha256:') else ':'}{tag}"
        try:
            for event in self.client.api.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in event:
                    raise docker.errors.APIError(event["error"])
        except docker.errors.APIError as error:
            said = explanation(error)
            if is_full(said):
                raise disk_full(said) from error
            raise refused(
                "TK462",
                name,
                f"the base image `{name}` is not on this engine and cannot be pulled: {said}",
                "see that the name is right and the registry is reached from here (`docker login` if private); "
                "an image that is here already is named by its tag and its ID: --base NAME:TAG@sha256:ID",
            ) from error

    def build(
        self,
        context: IO[bytes],
        *,
        tag: str,
        arguments: dict[str, str],
        no_cache: bool,
        on_progress: Callable[[str], None],
    ) -> str:
        """Builds a context; the new image's ID. Raises ProblemsError (TK462, TK464, TK465)."""
        import docker.errors

        told = _Told(on_progress)
        try:
            events = self.client.api.build(
                fileobj=context,
                custom_context=True,
                tag=tag,
                buildargs=arguments,
                nocache=no_cache,
                rm=True,
                forcerm=True,
                decode=True,
            )
            for event in events:
                told.take(event)
        except docker.errors.APIError as error:
            raise _failed(told, explanation(error)) from error
        if told.error:
            raise _failed(told, told.error)
        found = self.image(tag)
        if found is None:
            raise _failed(told, "the engine ended the build without an image")
        return found.id

    def output(self, image: str, command: list[str], text: str) -> bytes:
        """What `command` prints in a container of the image that can do nothing; `text` is its last argument.

        Raises ProblemsError (TK475).
        """
        import docker.errors

        name = new_name()
        created = False
        try:
            container = self.client.containers.create(
                image,
                name=name,
                entrypoint=command[0],
                command=[*command[1:], text],
                network_mode="none",
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true"],
            )
            created = True
            container.start()
            status = container.wait(timeout=_LISTING_S)["StatusCode"]
            # Read when it has ended: a stream that is followed loses what is said before it is open.
            printed: bytes = container.logs(stdout=True, stderr=False)
            said = container.logs(stdout=False, stderr=True).decode(errors="replace")
        except docker.errors.APIError as error:
            status, said, printed = 1, explanation(error), b""
        finally:
            self.remove(name, may_appear=not created)
        if status:
            raise refused(
                "TK475",
                image,
                f"what is installed in `{image}` cannot be listed: {' '.join(said.split())[-300:]}",
                "the image has to have a Python 3, as Triton's Python backend needs one",
            )
        return printed

    def remove(self, name: str, *, may_appear: bool = False) -> None:
        """Ends and removes a container; an interrupt meanwhile is raised when that is done.

        `may_appear`: its creation was broken off, and the engine may still be at it. Raises ProblemsError (TK477).
        """
        try:
            self._remove(name, may_appear)
        except KeyboardInterrupt:
            self._remove(name, may_appear)
            raise

    def _remove(self, name: str, may_appear: bool) -> None:
        import docker.errors

        deadline = time.monotonic() + (_APPEARS_S if may_appear else 0.0)
        while True:
            try:
                self.client.api.remove_container(name, force=True, v=True)
            except docker.errors.NotFound:
                if time.monotonic() >= deadline:
                    return
                time.sleep(_LOOK_S)
            except docker.errors.APIError as error:
                if "already in progress" in explanation(error):  # somebody else removes it
                    return
                raise refused(
                    "TK477",
                    name,
                    f"the container `{name}` cannot be removed: {explanation(error)}",
                    f"docker rm -f {name}",
                ) from error
            else:
                return


def new_name() -> str:
    """Of a container that is still to be made: what has a name can be removed, however its creation ends."""
    return f"tritonkit-{secrets.token_hex(8)}"


class _Told:
    """What a build has said so far: the step it is at, its last lines, and its error."""

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self.step, self.lines, self.error = "", list[str](), ""
        self._report = on_progress

    def take(self, event: dict[str, Any]) -> None:
        """One event of the engine's stream."""
        if "error" in event:
            self.error = str(event["error"]).strip()
        for line in str(event.get("stream", "")).splitlines():
            if line.startswith("Step "):
                self.step, self.lines = line, []
                self._report(_shorter(line))
            elif line.strip() and not line.startswith((" --->", "Removing intermediate")):
                self.lines = [*self.lines, line.rstrip()][-_LAST_LINES:]


def _shorter(step: str) -> str:
    """`step 3/12: COPY wheels/ /tmp/wheels/` of the engine's `Step 3/12 : COPY …`."""
    number, _, what = step.removeprefix("Step ").partition(" : ")
    words = " ".join(what.split())
    return f"step {number}: {words[:80]}{'…' if len(words) > 80 else ''}"


def _failed(told: _Told, reason: str) -> Exception:
    if is_full(f"{reason} {' '.join(told.lines)}"):
        return disk_full(reason)
    if told.step.partition(" : ")[2].startswith("FROM"):
        return refused("TK462", "build", f"the base image cannot be had: {reason}", "`docker pull` of it says more")
    said = "".join(f"\n  {line}" for line in told.lines)
    where = f"`{_shorter(told.step)}`" if told.step else "the build"
    return refused("TK465", "build", f"{where} failed: {reason}{said}", "nothing was tagged; mend it and build again")


def is_full(said: str) -> bool:
    """Whether a program says that a disk is full."""
    return any(words in said.lower() for words in _FULL)


def disk_full(reason: str) -> Exception:
    """The one problem of the engine's disk."""
    return refused(
        "TK464",
        "docker",
        f"the disk is full: {reason}",
        "`docker system df` shows what images and builds take, `docker builder prune` frees some",
    )


def folder_full(reason: str) -> Exception:
    """The one problem of this machine's folder for what is on its way to the engine."""
    folder = tempfile.gettempdir()
    return refused(
        "TK464", folder, f"the disk is full: {reason}", f"free some of {folder}, or name another one: TMPDIR=/path"
    )


def explanation(error: Exception) -> str:
    """What the engine said, in one line."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())


@contextmanager
def connected() -> Iterator[Engine]:
    """The engine, once it has answered. Raises ProblemsError (TK460), and for what the engine no longer answers."""
    try:
        import docker
        import docker.errors
        import requests
        import urllib3.exceptions
    except ImportError as error:
        raise UserError(
            "building images needs the package `docker`, which is not installed here", remedy("deploy")
        ) from error
    try:
        client = docker.from_env(timeout=_ANSWER_S)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException, ValueError) as error:
        # ValueError: of a DOCKER_HOST that is no address
        raise _no_engine(_reason(error) or explanation(error)) from error
    try:
        yield Engine(client)
    except (requests.ConnectionError, urllib3.exceptions.HTTPError) as error:  # the latter from within an answer
        reason = _reason(error) or "it hung up within an answer"
        raise refused("TK460", "docker", f"the Docker engine went away: {reason}", _ITS_LOG) from error
    except docker.errors.APIError as error:  # that no one caller expects: HTTP 500, or a proxy in between
        raise refused("TK460", "docker", f"the Docker engine has failed: {explanation(error)}", _ITS_LOG) from error
    finally:
        client.close()


def _reason(error: Exception) -> str:
    """What the system said, from within what the SDK and two libraries beneath it have made of it; or nothing."""
    left: list[object] = [error]
    while left:
        one = left.pop()
        if isinstance(one, OSError) and one.errno is not None and one.strerror:
            return f"{one.strerror[:1].lower()}{one.strerror[1:]}"
        if isinstance(one, BaseException):
            left += [*one.args, getattr(one, "reason", None), one.__cause__]
    return ""


def _no_engine(reason: str) -> Exception:
    import os

    host = os.environ.get("DOCKER_HOST", "")
    where = f"at DOCKER_HOST={host}" if host else "on this machine"
    if "permission denied" in reason.lower() or "PermissionError" in reason:
        return refused(
            "TK460",
            "docker",
            f"this user may not speak to the Docker engine {where}",
            "sudo usermod -aG docker $USER, and log in again; or DOCKER_HOST=unix:///… of a rootless one",
        )
    return refused(
        "TK460",
        "docker",
        f"no Docker engine answers {where}: {' '.join(reason.split())[:300]}",
        "start it (`systemctl start docker`), or name another: DOCKER_HOST=unix:///path/to/docker.sock",
    )
