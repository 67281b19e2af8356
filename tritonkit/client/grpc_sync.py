"""gRPC for ordinary code, on tritonclient.grpc."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tritonkit.client.errors import ItemError
from tritonkit.client.exchange import Reply
from tritonkit.client.threaded import Job, ThreadedTransport
from tritonkit.client.values import Array, infer_inputs
from tritonkit.client.wire import grpc_channel, grpc_config, grpc_fault, names_in, versions_in


class GrpcTransport(ThreadedTransport):
    """The thread begins calls; gRPC's own threads bring the answers."""

    def config(self) -> Mapping[str, Any] | ItemError:
        """The model's configuration as JSON."""

        def work(client: Any, job: Job) -> None:
            limit_s = self._deadline_s
            job.reply(client.get_model_config(self._name, self._version, as_json=True, client_timeout=limit_s))

        reply = self._call(work)
        return reply if isinstance(reply, ItemError) else grpc_config(reply)

    def models(self) -> list[str]:
        """Names of the server's models; none if it does not tell."""

        def work(client: Any, job: Job) -> None:
            job.reply(client.get_inference_statistics(as_json=True, client_timeout=self._deadline_s))

        statistics = self._call(work)
        return [] if isinstance(statistics, ItemError) else names_in(statistics.get("model_stats", ()))

    def versions(self) -> list[str]:
        """Versions of the model that the server serves; none if it does not tell."""

        def work(client: Any, job: Job) -> None:
            job.reply(client.get_model_metadata(self._name, as_json=True, client_timeout=self._deadline_s))

        metadata = self._call(work)
        return [] if isinstance(metadata, ItemError) else versions_in(metadata)

    def send(self, arrays: Mapping[str, Array], done: Callable[[Reply], None]) -> Callable[[], None]:
        """Sends one request; `done` is called once, in a thread of gRPC."""

        def work(client: Any, job: Job) -> Any:
            def callback(result: Any, error: InferenceServerException | None) -> None:
                job.reply(result if error is None else grpc_fault(error, self._deadline_s))

            inputs = infer_inputs(triton.InferInput, arrays)
            limit_s = self._deadline_s
            return client.async_infer(
                self._name, inputs, callback, model_version=self._version, client_timeout=limit_s
            )

        return self._post(Job(work, done))

    def _run(self, started: threading.Event) -> None:
        client = triton.InferenceServerClient(self._address, channel_args=grpc_channel(self._address))
        started.set()
        while (job := self._inbox.get()) is not None:
            if job.handle is not None:
                job.handle.cancel()
            elif not job.cancelled:
                self._begin(client, job)
        client.close()

    def _begin(self, client: Any, job: Job) -> None:
        try:
            job.handle = job.work(client, job)
        except InferenceServerException as error:
            job.reply(grpc_fault(error, self._deadline_s))
        except Exception as error:  # noqa: BLE001 - whatever breaks is this request's error, not the thread's end
            job.reply(ItemError("internal", f"the client failed: {error!r}", repr(error)))
