"""The client: `Pipeline` and `AsyncPipeline` over gRPC or HTTP, and calls to paste. See `tritonkit.Pipeline`."""
