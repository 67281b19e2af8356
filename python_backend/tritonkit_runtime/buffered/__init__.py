"""Engines whose tensors already lie in buffers, and a ring of such buffers that is filled while the engine computes.

`engine` is what every engine looks like, `tensorrt` and `onnxruntime` are two; nothing else knows which it is.
`shapes` and `buckets` say what is run, `slot` holds the buffers, `ring` keeps the slots busy, `requests` packs
requests into batches and their answers out of them. `loading` puts it all together.
"""
